/* SPDX-License-Identifier: Apache-2.0 */
/* test_conn_hello.c -- the hand-shake: order, proofs, versions, refusals, deadlines */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <cmocka.h>

#include "common/auth.h"
#include "common/err.h"
#include "conn_fixture.h"

static const uint8_t zero_key[32];

static void test_client__proves_and_comes_up(void **state)
{
	const struct pw_conn_opts o = { .want_slots = 5, .channel = 3 };
	struct pw_xprt *x = client_start(&o);
	struct pw_cmd hello, challenge, proof, expect, cmd;

	fake_take(x, PW_MSG_HELLO, &hello);
	assert_memory_equal(hello.hello.client_id, client_id.id, 16);
	assert_int_equal(hello.hello.incarnation, 7);
	assert_int_equal(hello.hello.want_slots, 5);
	assert_int_equal(hello.hello.channel, 3);
	make_challenge(&challenge, &hello, node_id.key);
	fake_deliver(x, &challenge, NULL);
	fake_take(x, PW_MSG_PROOF, &proof);
	make_proof(&expect, &hello, &challenge, client_id.key);
	assert_memory_equal(&proof, &expect, sizeof(proof));
	assert_int_equal(seen.nr_up, 0);
	make_welcome(&cmd);
	fake_deliver(x, &cmd, NULL);

	assert_int_equal(seen.nr_up, 1);
	assert_int_equal(seen.welcome.boot, 77);
	assert_memory_equal(pw_conn_peer_id(seen.c), node_id.id, 16);
	assert_memory_equal(pw_conn_peer_fsid(seen.c), node_id.fsid, 16);
	assert_string_equal(pw_conn_peer_name(seen.c), "10.0.0.1:7470");
	assert_null(fake_first(x));
}

static void test_node__checks_asks_and_comes_up(void **state)
{
	struct pw_xprt *x = node_start(NULL);
	struct pw_cmd hello, challenge, cmd;
	uint8_t expect[32];

	make_hello(&hello);
	fake_deliver(x, &hello, NULL);
	fake_take(x, PW_MSG_CHALLENGE, &challenge);
	pw_auth_proof(expect, node_id.key, "node", &hello.hello, &challenge.challenge);
	assert_memory_equal(challenge.challenge.proof, expect, 32);
	assert_int_equal(seen.nr_hello, 0);
	make_proof(&cmd, &hello, &challenge, client_id.key);
	fake_deliver(x, &cmd, NULL);
	assert_int_equal(seen.nr_hello, 1);
	assert_memory_equal(&seen.hello, &hello.hello, sizeof(seen.hello));
	fake_take(x, PW_MSG_WELCOME, &cmd);
	assert_int_equal(cmd.welcome.version, PW_WIRE_VERSION);
	assert_int_equal(cmd.welcome.nr_slots, 9);
	assert_int_equal(seen.nr_up, 1);
	assert_memory_equal(pw_conn_peer_id(seen.c), client_id.id, 16);
	assert_string_equal(pw_conn_peer_name(seen.c), "10.1.2.3:999");
}

static void test_nonces__differ_between_connections(void **state)
{
	struct pw_cmd first, second;

	fake_take(client_start(NULL), PW_MSG_HELLO, &first);
	pw_conn_fail(seen.c, -ECANCELED, "next");
	fake_run(&loop);
	pw_conn_free(seen.c);
	fake_take(client_start(NULL), PW_MSG_HELLO, &second);
	assert_memory_not_equal(first.hello.nonce, second.hello.nonce, 32);
}

static void test_keyless_on_both_sides__works(void **state)
{
	client_id.have_key = false;
	memset(node_id.key, 0, 32);
	client_up(NULL);
}

/* What the client says about a node that proves with @node_key; it must not have sent its own
 * proof. */
static void check_refused_node(const uint8_t node_key[32], const char *text)
{
	struct pw_xprt *x = client_start(NULL);
	struct pw_cmd hello, cmd;

	fake_take(x, PW_MSG_HELLO, &hello);
	make_challenge(&cmd, &hello, node_key);
	fake_deliver(x, &cmd, NULL);
	assert_null(fake_first(x));
	expect_down(-EKEYREJECTED, text);
	assert_int_equal(seen.nr_up, 0);
}

static void test_client__refuses_a_node_with_another_key(void **state)
{
	static const uint8_t other[32] = "another";

	check_refused_node(other, "did not prove our cluster key");
}

static void test_client__refuses_a_node_without_a_key(void **state)
{
	check_refused_node(zero_key, "the node has no cluster key");
}

static void test_client__without_a_key_says_so(void **state)
{
	client_id.have_key = false;
	check_refused_node(node_id.key, "this client has none");
}

static void test_client__refuses_a_challenge_for_another_hello(void **state)
{
	struct pw_xprt *x = client_start(NULL);
	struct pw_cmd hello, cmd;

	fake_take(x, PW_MSG_HELLO, &hello);
	hello.hello.nonce[0] ^= 1;
	make_challenge(&cmd, &hello, node_id.key);
	fake_deliver(x, &cmd, NULL);
	assert_null(fake_first(x));
	expect_down(-EKEYREJECTED, "did not prove");
}

static void test_client__refuses_every_flipped_bit_of_the_challenge(void **state)
{
	for (uint32_t bit = 0; bit < sizeof(struct pw_body_challenge) * 8; bit++) {
		struct pw_xprt *x = client_start(NULL);
		struct pw_cmd hello, cmd;

		fake_take(x, PW_MSG_HELLO, &hello);
		make_challenge(&cmd, &hello, node_id.key);
		cmd.raw[bit / 8] ^= (uint8_t)(1u << bit % 8);
		fake_deliver(x, &cmd, NULL);
		assert_null(fake_first(x));
		expect_down(-EKEYREJECTED, "did not prove");
		pw_conn_free(seen.c);
		memset(&seen, 0, sizeof(seen));
	}
}

/* The node answers REJECT(AUTH), ends after it is out, and never asks its owner. */
static void check_refused_proof(struct pw_xprt *x, const struct pw_cmd *proof)
{
	struct pw_cmd cmd;

	fake_deliver(x, proof, NULL);
	fake_run(&loop);
	assert_int_equal(seen.nr_down, 0);
	fake_take(x, PW_MSG_REJECT, &cmd);
	assert_int_equal(cmd.status, PW_WERR_AUTH);
	expect_down(-EKEYREJECTED, "client did not prove");
	assert_int_equal(seen.nr_hello, 0);
	assert_int_equal(seen.nr_up, 0);
}

static void test_node__refuses_a_forged_proof(void **state)
{
	struct pw_xprt *x = node_start(NULL);
	struct pw_cmd hello, challenge, cmd;

	make_hello(&hello);
	fake_deliver(x, &hello, NULL);
	fake_take(x, PW_MSG_CHALLENGE, &challenge);
	make_proof(&cmd, &hello, &challenge, zero_key);
	check_refused_proof(x, &cmd);
}

static void test_node__refuses_its_own_proof_sent_back(void **state)
{
	struct pw_xprt *x = node_start(NULL);
	struct pw_cmd hello, challenge, cmd;

	make_hello(&hello);
	fake_deliver(x, &hello, NULL);
	fake_take(x, PW_MSG_CHALLENGE, &challenge);
	pw_cmd_init(&cmd, PW_MSG_PROOF, 0);
	memcpy(cmd.proof.proof, challenge.challenge.proof, 32);
	check_refused_proof(x, &cmd);
}

static void test_node__refuses_a_proof_for_another_identity(void **state)
{
	struct pw_xprt *x = node_start(NULL);
	struct pw_cmd hello, challenge, cmd;

	make_hello(&hello);
	fake_deliver(x, &hello, NULL);
	fake_take(x, PW_MSG_CHALLENGE, &challenge);
	hello.hello.client_id[3] ^= 1;
	make_proof(&cmd, &hello, &challenge, client_id.key);
	check_refused_proof(x, &cmd);
}

static void test_node__names_both_versions(void **state)
{
	struct pw_xprt *x = node_start(NULL);
	struct pw_cmd cmd;

	make_hello(&cmd);
	cmd.hello.version = PW_WIRE_VERSION + 9;
	cmd.hello.version_min = PW_WIRE_VERSION + 2;
	fake_deliver(x, &cmd, NULL);
	fake_take(x, PW_MSG_REJECT, &cmd);
	assert_int_equal(cmd.status, PW_WERR_VERSION);
	assert_int_equal(cmd.reject.version, PW_WIRE_VERSION);
	assert_int_equal(cmd.reject.version_min, PW_WIRE_VERSION_MIN);
	expect_down(-EPROTONOSUPPORT, "client speaks protocol version 4 to 11, we 1 to 2");
}

static void test_node__takes_a_newer_client_that_also_speaks_ours(void **state)
{
	struct pw_xprt *x = node_start(NULL);
	struct pw_cmd hello, challenge, cmd;

	make_hello(&hello);
	hello.hello.version = PW_WIRE_VERSION + 9;
	hello.hello.version_min = PW_WIRE_VERSION;
	fake_deliver(x, &hello, NULL);
	fake_take(x, PW_MSG_CHALLENGE, &challenge);
	make_proof(&cmd, &hello, &challenge, client_id.key);
	fake_deliver(x, &cmd, NULL);
	fake_take(x, PW_MSG_WELCOME, &cmd);
	assert_int_equal(cmd.welcome.version, PW_WIRE_VERSION);
}

static void test_node__refuses_a_role_of_the_future(void **state)
{
	struct pw_xprt *x = node_start(NULL);
	struct pw_cmd cmd;

	make_hello(&cmd);
	cmd.hello.version = PW_WIRE_VERSION + 1;
	cmd.hello.version_min = PW_WIRE_VERSION;
	cmd.hello.role = 4;
	fake_deliver(x, &cmd, NULL);
	fake_take(x, PW_MSG_REJECT, &cmd);
	assert_int_equal(cmd.status, PW_WERR_PROTO);
	expect_down(-EPROTO, "role");
}

static void test_client__names_both_versions(void **state)
{
	struct pw_xprt *x = client_start(NULL);
	struct pw_cmd cmd;

	pw_cmd_init(&cmd, PW_MSG_REJECT, 0);
	cmd.status = PW_WERR_VERSION;
	cmd.reject.version = 12;
	cmd.reject.version_min = 8;
	fake_deliver(x, &cmd, NULL);
	expect_down(-EPROTONOSUPPORT, "node speaks protocol version 8 to 12, we 1 to 2");
}

static void test_client__refuses_another_filesystem(void **state)
{
	struct pw_xprt *x;
	struct pw_cmd hello, cmd;

	client_id.fsid[0] = 1;
	x = client_start(NULL);
	fake_take(x, PW_MSG_HELLO, &hello);
	make_challenge(&cmd, &hello, node_id.key);
	fake_deliver(x, &cmd, NULL);
	assert_null(fake_first(x));
	expect_down(-EMEDIUMTYPE, "another filesystem");
}

static void test_client__takes_the_filesystem_that_it_wants(void **state)
{
	memcpy(client_id.fsid, node_id.fsid, 16);
	client_up(NULL);
}

static void test_client__gets_the_reason_of_every_refusal(void **state)
{
	for (uint32_t werr = 1; werr < PW_WERR_NR + 2; werr++) {
		struct pw_xprt *x = client_start(NULL);
		struct pw_cmd cmd;

		pw_cmd_init(&cmd, PW_MSG_REJECT, 0);
		cmd.status = werr;
		fake_deliver(x, &cmd, NULL);
		expect_down(pw_err_from_wire(werr),
			    werr == PW_WERR_VERSION ? "version" : "refused");
		pw_conn_free(seen.c);
		memset(&seen, 0, sizeof(seen));
	}
}

static void test_node__passes_the_refusal_of_its_owner_on(void **state)
{
	struct pw_xprt *x = node_start(NULL);
	struct pw_cmd hello, challenge, cmd;

	seen.hello_answer = -ESTALE;
	make_hello(&hello);
	fake_deliver(x, &hello, NULL);
	fake_take(x, PW_MSG_CHALLENGE, &challenge);
	make_proof(&cmd, &hello, &challenge, client_id.key);
	fake_deliver(x, &cmd, NULL);
	fake_take(x, PW_MSG_REJECT, &cmd);
	assert_int_equal(cmd.status, PW_WERR_STALE);
	expect_down(-ESTALE, "client refused");
	assert_int_equal(seen.nr_up, 0);
}

static void test_node__owner_may_fail_the_connection_in_on_hello(void **state)
{
	struct pw_xprt *x = node_start(NULL);
	struct pw_cmd hello, challenge, cmd;

	seen.fail_in_hello = true;
	make_hello(&hello);
	fake_deliver(x, &hello, NULL);
	fake_take(x, PW_MSG_CHALLENGE, &challenge);
	make_proof(&cmd, &hello, &challenge, client_id.key);
	fake_deliver(x, &cmd, NULL);
	expect_down(-ENOLCK, "failed in on_hello");
	assert_int_equal(seen.nr_up, 0);
}

static void test_node__says_nothing_more_after_a_reject(void **state)
{
	struct pw_xprt *x = node_start(NULL);
	struct pw_cmd cmd;

	make_hello(&cmd);
	cmd.hello.version = cmd.hello.version_min = PW_WIRE_VERSION + 1;
	fake_deliver(x, &cmd, NULL);
	make_hello(&cmd);
	fake_deliver(x, &cmd, NULL);
	fake_take(x, PW_MSG_REJECT, &cmd);
	assert_null(fake_first(x));
	expect_down(-EPROTONOSUPPORT, "version");
}

/* Every message that may come this way, in every step of the hand-shake that it does not belong to.
 *  */

static void make_any(struct pw_cmd *cmd, uint32_t type)
{
	pw_cmd_init(cmd, type, 0);
	if (type == PW_MSG_HELLO)
		make_hello(cmd);
	if (type == PW_MSG_WELCOME)
		make_welcome(cmd);
	if (type == PW_MSG_REQ)
		make_write(cmd, 16);
	if (type == PW_MSG_RSP)
		make_rsp(cmd);
	if (type == PW_MSG_REJECT)
		cmd->status = PW_WERR_BUSY;
}

static void check_out_of_order(struct pw_xprt *x, const struct pw_cmd *cmd)
{
	fake_deliver(x, cmd, seen.payload);
	expect_down(-EPROTO, cmd->payload_len ? "payload" : "hand-shake");
	assert_int_equal(seen.nr_up, 0);
	assert_int_equal(seen.nr_msg, 0);
	pw_conn_free(seen.c);
}

static void test_client__ends_on_a_message_out_of_order(void **state)
{
	static const uint8_t types[] = { PW_MSG_CHALLENGE, PW_MSG_WELCOME, PW_MSG_PING, PW_MSG_PONG,
					 PW_MSG_RSP };

	for (uint32_t step = 0; step < 2; step++) {
		for (uint32_t i = 0; i < PW_ARRAY_SIZE(types); i++) {
			struct pw_xprt *x;
			struct pw_cmd hello, cmd;

			if (types[i] == (step ? PW_MSG_WELCOME : PW_MSG_CHALLENGE))
				continue;
			memset(&seen, 0, sizeof(seen));
			x = client_start(NULL);
			if (step) {
				fake_take(x, PW_MSG_HELLO, &hello);
				make_challenge(&cmd, &hello, node_id.key);
				fake_deliver(x, &cmd, NULL);
			}
			make_any(&cmd, types[i]);
			check_out_of_order(x, &cmd);
		}
	}
	seen.c = NULL;
}

static void test_node__ends_on_a_message_out_of_order(void **state)
{
	static const uint8_t types[] = { PW_MSG_HELLO, PW_MSG_PROOF, PW_MSG_PING, PW_MSG_PONG,
					 PW_MSG_REQ, PW_MSG_GOODBYE };
	struct pw_xprt *x = node_start(NULL);

	for (uint32_t step = 0; step < 2; step++) {
		for (uint32_t i = 0; i < PW_ARRAY_SIZE(types); i++) {
			struct pw_cmd cmd;

			if (types[i] == (step ? PW_MSG_PROOF : PW_MSG_HELLO))
				continue;
			if (!x)
				x = fake_accept();
			if (step) {
				make_hello(&cmd);
				fake_deliver(x, &cmd, NULL);
			}
			make_any(&cmd, types[i]);
			check_out_of_order(x, &cmd);
			memset(&seen, 0, sizeof(seen));
			x = NULL;
		}
	}
}

static void test_client__hand_shake_has_a_deadline(void **state)
{
	const struct pw_conn_opts o = { .connect_timeout_ms = 300 };
	struct pw_xprt *x = client_start(&o);
	struct pw_cmd hello, cmd;

	fake_take(x, PW_MSG_HELLO, &hello);
	fake_pass(&loop, 200);
	make_challenge(&cmd, &hello, node_id.key);
	fake_deliver(x, &cmd, NULL);
	/* bytes do not move the deadline */
	fake_pass(&loop, 99);
	assert_int_equal(seen.nr_down, 0);
	fake_pass(&loop, 1);
	expect_down(-ETIMEDOUT, "no hand-shake within 300 ms");
}

static void test_client__connecting_has_a_deadline(void **state)
{
	const struct pw_conn_opts o = { .connect_timeout_ms = 300 };

	assert_int_equal(pw_conn_new(&loop, &conn_ops, &seen, &client_id, &o, &seen.c), 0);
	assert_int_equal(pw_conn_connect(seen.c, "node", 7470, 7), 0);
	fake_pass(&loop, 299);
	assert_int_equal(seen.nr_down, 0);
	fake_pass(&loop, 1);
	expect_down(-ETIMEDOUT, "no connection within 300 ms");
}

static void test_node__a_silent_stranger_has_a_deadline(void **state)
{
	node_start(NULL);
	fake_pass(&loop, 4999);
	assert_int_equal(seen.nr_down, 0);
	fake_pass(&loop, 1);
	expect_down(-ETIMEDOUT, "no hand-shake within 5000 ms");
}

static void test_node__a_reject_that_does_not_get_out_has_a_deadline(void **state)
{
	struct pw_xprt *x = node_start(NULL);
	struct pw_cmd cmd;

	make_hello(&cmd);
	cmd.hello.version = cmd.hello.version_min = PW_WIRE_VERSION + 1;
	fake_deliver(x, &cmd, NULL);
	fake_pass(&loop, 5000);
	expect_down(-EPROTONOSUPPORT, "version");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_set_up, fixture_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_client__proves_and_comes_up),
		TEST(test_node__checks_asks_and_comes_up),
		TEST(test_nonces__differ_between_connections),
		TEST(test_keyless_on_both_sides__works),
		TEST(test_client__refuses_a_node_with_another_key),
		TEST(test_client__refuses_a_node_without_a_key),
		TEST(test_client__without_a_key_says_so),
		TEST(test_client__refuses_a_challenge_for_another_hello),
		TEST(test_client__refuses_every_flipped_bit_of_the_challenge),
		TEST(test_node__refuses_a_forged_proof),
		TEST(test_node__refuses_its_own_proof_sent_back),
		TEST(test_node__refuses_a_proof_for_another_identity),
		TEST(test_node__names_both_versions),
		TEST(test_node__takes_a_newer_client_that_also_speaks_ours),
		TEST(test_node__refuses_a_role_of_the_future),
		TEST(test_client__names_both_versions),
		TEST(test_client__refuses_another_filesystem),
		TEST(test_client__takes_the_filesystem_that_it_wants),
		TEST(test_client__gets_the_reason_of_every_refusal),
		TEST(test_node__passes_the_refusal_of_its_owner_on),
		TEST(test_node__owner_may_fail_the_connection_in_on_hello),
		TEST(test_node__says_nothing_more_after_a_reject),
		TEST(test_client__ends_on_a_message_out_of_order),
		TEST(test_node__ends_on_a_message_out_of_order),
		TEST(test_client__hand_shake_has_a_deadline),
		TEST(test_client__connecting_has_a_deadline),
		TEST(test_node__a_silent_stranger_has_a_deadline),
		TEST(test_node__a_reject_that_does_not_get_out_has_a_deadline),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
