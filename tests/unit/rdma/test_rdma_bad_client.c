/* SPDX-License-Identifier: Apache-2.0 */
/* test_rdma_bad_client.c -- a client that does what it wants harms nobody but itself
 *
 * It writes where it may not, says what it may not, ends what is not its own, dies at any step.
 * Each ends with its connection, and the device never meets an invalid request of ours.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "raw_rig.h"

/* A client that writes where it may not ------------------------------------------------------- */

static void expect_refused(void)
{
	run_until(raw_sent);
	assert_int_equal(raw.last.status, IBV_WC_REM_ACCESS_ERR);
	raw_node_ended(0);
}

static void test_write__outside_the_granted_slot_is_refused(void **state)
{
	raw_client();
	raw_write(&raw, raw_grants[2].addr - 1, raw_grants[2].rkey, 0, 1);
	expect_refused();
	raw_client();
	raw_write(&raw, raw_grants[2].addr + raw_grants[2].len, raw_grants[2].rkey, 0, 1);
	expect_refused();
	raw_client();
	raw_write(&raw, raw_grants[2].addr + raw_grants[2].len - 1, raw_grants[2].rkey, 0, 2);
	expect_refused();
	/* into the slot of nobody else by its key, though it is next to it */
	raw_client();
	raw_write(&raw, raw_grants[3].addr, raw_grants[2].rkey, 0, 1);
	expect_refused();
	raw_client();
	raw_write(&raw, raw_grants[2].addr, raw_grants[2].rkey, 0, raw_grants[2].len);
	run_until(raw_sent);
	assert_int_equal(raw.last.status, 0);
}

static void test_read__of_the_granted_slot_is_refused(void **state)
{
	raw_client();
	raw_read(&raw, raw_grants[2].addr, raw_grants[2].rkey, 0, 1);
	expect_refused();
}

static void test_write__with_a_guessed_key_is_refused(void **state)
{
	for (uint32_t i = 0; i < 8; i++) {
		raw_client();
		raw_write(&raw, raw_grants[2].addr, raw_grants[2].rkey + (i < 4 ? 1 + i : i << 8),
			  0, 1);
		run_until(raw_sent);
		/* the key of another slot's may exist, not for these bytes */
		assert_int_equal(raw.last.status, IBV_WC_REM_ACCESS_ERR);
		raw_node_ended(0);
	}
}

static void test_write__with_the_key_before_a_change_of_buffer_is_refused(void **state)
{
	struct pw_rdma_grant old;

	raw_client();
	old = raw_grants[2];
	pw_xprt_grant(node.x, 2, node.spare[0], RIG_BUF);
	raw_want_recv = raw.nr_recv + 1;
	run_until(raw_received);
	assert_true(raw_grants[2].rkey != old.rkey);
	assert_int_equal(raw_grants[2].addr, (uintptr_t)node.spare[0]);
	assert_false(fake_memory_exposed(node.slot[2], RIG_BUF, IBV_ACCESS_REMOTE_WRITE));
	raw_write(&raw, old.addr, old.rkey, 0, 1);
	expect_refused();
}

struct revoke {
	struct pw_revoke r;
	bool done, told_closed;
};

static void on_revoked(struct pw_revoke *r)
{
	struct revoke *v = pw_container_of(r, struct revoke, r);

	assert_false(v->done);
	v->done = true;
	v->told_closed = node.closed;
	assert_false(fake_memory_exposed(node.slot[2], RIG_BUF, IBV_ACCESS_REMOTE_WRITE));
}

static void begin_revoke(struct revoke *v)
{
	*v = (struct revoke){ .r.done = on_revoked };
	assert_true(pw_xprt_revoke(node.x, 2, &v->r));
	assert_false(v->done);
}

/* What it wrote is about to be committed: from here on it may not change it. */
static void test_write__behind_a_revoke_is_refused(void **state)
{
	struct pw_rdma_grant old;
	struct revoke v;

	raw_client();
	old = raw_grants[2];
	raw_write(&raw, old.addr, old.rkey, 0, 64);
	run_until(raw_sent);
	assert_int_equal(raw.last.status, 0);
	begin_revoke(&v);
	while (!v.done)
		run_turns(1);
	memset(node.slot[2], 0x11, 64);
	memset(raw.mem, 0x5a, 64);
	raw_write(&raw, old.addr, old.rkey, 0, 64);
	expect_refused();
	raw_client();
	/* the other way round: it writes all the time, and the proof holds when it is told */
	begin_revoke(&v);
	for (uint32_t i = 0; i < 40 && !node.closed; i++) {
		if (v.done)
			memset(node.slot[2], 0x11, 64);
		raw_write(&raw, raw_grants[2].addr, raw_grants[2].rkey, 0, 64);
		run_turns(1);
		for (uint32_t b = 0; v.done && b < 64; b++)
			assert_int_not_equal(node.slot[2][b], 0x5a);
	}
	assert_true(v.done);
	raw_node_ended(0);
}

static void test_request__placed_in_a_revoked_slot(void **state)
{
	struct raw_msg m;
	struct revoke v;

	raw_client();
	begin_revoke(&v);
	raw_make(&m, PW_RDMA_MSG);
	m.head.flags = PW_RDMA_PLACED;
	make_req(&m.cmd, 1, 8192);
	m.cmd.slot = 2;
	raw_send_message(&m, 0);
	raw_node_ended(-EPROTO);
	assert_true(v.done);
}

static void test_revoke__ends_with_the_connection_and_by_a_grant(void **state)
{
	struct pw_rdma_grant old;
	struct revoke v;

	raw_client();
	old = raw_grants[2];
	begin_revoke(&v);
	/* asked for at once, told behind it */
	pw_xprt_grant(node.x, 2, node.slot[2], RIG_BUF);
	raw_want_recv = raw.nr_recv + 1;
	v.r.done = on_revoked;
	run_until(raw_received);
	assert_true(v.done);
	assert_true(raw_grants[2].rkey != old.rkey);
	raw_write(&raw, raw_grants[2].addr, raw_grants[2].rkey, 0, 64);
	run_until(raw_sent);
	assert_int_equal(raw.last.status, 0);
	/* nothing to wait for, twice: nothing was granted since */
	begin_revoke(&v);
	while (!v.done)
		run_turns(1);
	assert_false(pw_xprt_revoke(node.x, 2, &v.r));
	pw_xprt_grant(node.x, 2, node.slot[2], RIG_BUF);
	raw_want_recv = raw.nr_recv + 1;
	run_until(raw_received);
	/* the connection ends: before or behind the question */
	for (uint32_t i = 0; i < 2; i++) {
		if (i)
			pw_xprt_close(node.x, -ECANCELED, "test");
		begin_revoke(&v);
		if (!i)
			pw_xprt_close(node.x, -ECANCELED, "test");
		raw_node_ended(-ECANCELED);
		assert_true(v.done);
		assert_false(v.told_closed);
		raw_client();
	}
}

/* Another client's connection does not notice. */
static void test_hostile_client__ends_alone(void **state)
{
	struct raw_end other;

	raw_client();
	/* the rig has one node's end: what it drops is another's connection attempt */
	raw_open(&other);
	other.data_len = 3;
	raw_connect(&other, pw_xprt_listener_port(rig_listener));
	while (!other.ended) {
		run_turns(1);
		raw_poll(&other);
	}
	assert_int_equal(other.end_event, RDMA_CM_EVENT_REJECTED);
	raw_close(&other, raw_turn);
	raw_write(&raw, raw_grants[2].addr, raw_grants[2].rkey, 0, 1);
	run_until(raw_sent);
	assert_int_equal(raw.last.status, 0);
	assert_false(node.closed);
}

/* A client that says what it may not ---------------------------------------------------------- */

static void node_refuses(struct raw_msg *m, uint32_t payload_len)
{
	raw_send_message(m, payload_len);
	raw_node_ended(-EPROTO);
}

static void test_request__in_a_slot_that_does_not_exist(void **state)
{
	struct raw_msg m;

	raw_client();
	raw_make(&m, PW_RDMA_MSG);
	make_req(&m.cmd, 1, 0);
	m.cmd.slot = RIG_SLOTS;
	node_refuses(&m, 0);
}

static void test_request__placed_beyond_the_grant(void **state)
{
	struct raw_msg m;

	raw_client();
	raw_make(&m, PW_RDMA_MSG);
	m.head.flags = PW_RDMA_PLACED;
	make_req(&m.cmd, 1, RIG_BUF + 1);
	node_refuses(&m, 0);
}

static void test_request__shorter_than_it_says(void **state)
{
	struct raw_msg m;

	raw_client();
	raw_make(&m, PW_RDMA_MSG);
	make_req(&m.cmd, 1, 300);
	node_refuses(&m, 299);
}

static void test_pulled__what_was_not_offered(void **state)
{
	struct raw_msg m;

	raw_client();
	raw_make(&m, PW_RDMA_PULLED);
	m.head.slot = 1;
	node_refuses(&m, 0);
}

static void test_credits__out_of_the_blue(void **state)
{
	struct raw_msg m;

	raw_client();
	raw_make(&m, PW_RDMA_CREDIT);
	m.head.credits = 1u << 31;
	node_refuses(&m, 0);
}

/* The answer goes to a window that the client did not open. */
static void test_window__that_does_not_exist(void **state)
{
	struct raw_msg m;

	raw_client();
	rig_hold_answers = true;
	raw_make(&m, PW_RDMA_MSG);
	make_req(&m.cmd, 1, 0);
	m.head.flags = PW_RDMA_WINDOW;
	m.head.addr = (uintptr_t)node.slot[3];
	m.head.rkey = raw_grants[3].rkey;
	m.head.len = 65536;
	raw_send_message(&m, 0);
	while (!node.nr_msgs)
		run_turns(1);
	make_rsp(&m.cmd, 1, 65536);
	side_send(&node, &m.cmd);
	if (!fake_opts.max_mw) {
		run_turns(50);
		return;
	}
	raw_node_ended(0);
	assert_int_equal(fake_stats.access_errs, 1);
}

static void test_garbage__ends_the_connection(void **state)
{
	uint8_t junk[PW_RDMA_MSG_BYTES];

	for (uint32_t round = 0; round < 40; round++) {
		uint32_t len = 1 + random_below(round & 1 ? 256 : sizeof(junk));
		struct raw_msg m;

		raw_client();
		for (uint32_t i = 0; i < sizeof(junk); i++)
			junk[i] = (uint8_t)random_below(256);
		/* half of them begin like a message of ours */
		raw_make(&m, PW_RDMA_MSG);
		make_req(&m.cmd, 1, 200);
		if (round & 2)
			memcpy(junk, &m, random_below(offsetof(struct raw_msg, payload)));
		raw_send(&raw, junk, len);
		raw_node_ended(-EPROTO);
	}
}

static void test_too_long__ends_the_connection(void **state)
{
	static const uint8_t junk[RAW_MSG];

	raw_client();
	raw_send(&raw, junk, PW_RDMA_MSG_BYTES + 1);
	raw_node_ended(0);
}

static void test_connect__with_private_data_of_others(void **state)
{
	assert_int_equal(rig_listen("127.0.0.1", 0, &rig_listener), 0);
	raw.data[0]++;
	raw_connect(&raw, pw_xprt_listener_port(rig_listener));
	run_until(raw_ended);
	assert_int_equal(raw.end_event, RDMA_CM_EVENT_REJECTED);
	assert_null(node.x);
}

/* Keys that a peer ends ----------------------------------------------------------------------- */

/* It must not be ended a second time by us: a device may not survive that. */
static void test_invalidate__its_own_grant(void **state)
{
	struct raw_msg m;

	if (!fake_opts.max_mw)
		skip();
	raw_client();
	raw_make(&m, PW_RDMA_MSG);
	make_req(&m.cmd, 1, 0);
	raw_send_inv(&m, raw_grants[2].rkey);
	run_until(raw_sent);
	run_turns(50);
	if (!node.closed)
		pw_xprt_grant(node.x, 2, node.spare[0], RIG_BUF);
	raw_node_ended(-EPROTO);
}

/* Death at each step -------------------------------------------------------------------------- */

static void test_client_without_power__at_each_turn(void **state)
{
	struct raw_msg m;

	for (uint32_t turns = 0; turns < 40; turns++) {
		bool asked = false;

		if (!rig_listener)
			assert_int_equal(rig_listen("127.0.0.1", 0, &rig_listener), 0);
		raw_connect(&raw, pw_xprt_listener_port(rig_listener));
		for (uint32_t i = 0; i < turns; i++) {
			run_turns(1);
			raw_poll(&raw);
			if (raw.up && node.connected && !asked) {
				asked = true;
				rig_grant_slots();
				raw_make(&m, PW_RDMA_MSG);
				make_req(&m.cmd, 1, 64);
				fill(m.payload, 1, 64);
				raw_send_message(&m, 64);
			}
		}
		raw_power_off(&raw);
		run_turns(5);
		if (node.x)
			side_close(&node, -ECANCELED);
		node.connected = node.closed = false;
		node.nr_msgs = 0;
		raw_begin();
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, raw_set_up, raw_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_write__outside_the_granted_slot_is_refused),
		TEST(test_read__of_the_granted_slot_is_refused),
		TEST(test_write__with_a_guessed_key_is_refused),
		TEST(test_write__with_the_key_before_a_change_of_buffer_is_refused),
		TEST(test_write__behind_a_revoke_is_refused),
		TEST(test_request__placed_in_a_revoked_slot),
		TEST(test_revoke__ends_with_the_connection_and_by_a_grant),
		TEST(test_hostile_client__ends_alone),
		TEST(test_request__in_a_slot_that_does_not_exist),
		TEST(test_request__placed_beyond_the_grant),
		TEST(test_request__shorter_than_it_says),
		TEST(test_pulled__what_was_not_offered),
		TEST(test_credits__out_of_the_blue),
		TEST(test_window__that_does_not_exist),
		TEST(test_garbage__ends_the_connection),
		TEST(test_too_long__ends_the_connection),
		TEST(test_connect__with_private_data_of_others),
		TEST(test_invalidate__its_own_grant),
		TEST(test_client_without_power__at_each_turn),
	};

	rig_set_seed(3);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
