/* SPDX-License-Identifier: Apache-2.0 */
/* test_conn.c -- messages, heartbeats, the error door, the end, and the listener's limits */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <cmocka.h>

#include "conn_fixture.h"

static const struct pw_conn_opts quick = { .heartbeat_ms = 100, .dead_ms = 500 };

static void make_send(struct pw_send *s)
{
	*s = (struct pw_send){ .done = count_done };
	make_write(&s->cmd, 0);
}

/* Messages ------------------------------------------------------------------------------------ */

static void test_messages__go_both_ways(void **state)
{
	struct pw_xprt *x = node_up(NULL);
	struct pw_send rsp = { .done = count_done };
	struct pw_cmd cmd;

	make_write(&cmd, 5);
	fake_deliver(x, &cmd, "hello");
	assert_int_equal(seen.nr_msg, 1);
	assert_memory_equal(&seen.msg, &cmd, sizeof(cmd));
	assert_memory_equal(seen.payload, "hello", 5);
	make_rsp(&rsp.cmd);
	assert_int_equal(pw_conn_send(seen.c, &rsp), 0);
	assert_int_equal(seen.nr_done, 0);
	fake_take(x, PW_MSG_RSP, &cmd);
	assert_int_equal(seen.nr_done, 1);
	assert_int_equal(seen.last_done, 0);
}

static void test_send__only_in_up(void **state)
{
	static struct pw_send s;
	struct pw_xprt *x;

	make_send(&s);
	assert_int_equal(pw_conn_new(&loop, &conn_ops, &seen, &client_id, NULL, &seen.c), 0);
	assert_int_equal(pw_conn_send(seen.c, &s), -ENOTCONN);
	assert_int_equal(pw_conn_connect(seen.c, "node", 7470, 7), 0);
	assert_int_equal(pw_conn_send(seen.c, &s), -ENOTCONN);
	x = fake.last;
	fake_connected(x);
	assert_int_equal(pw_conn_send(seen.c, &s), -ENOTCONN);
	pw_conn_fail(seen.c, -EIO, "test");
	assert_int_equal(pw_conn_send(seen.c, &s), -ENOTCONN);
	expect_down(-EIO, "test");
	assert_int_equal(seen.nr_done, 0);
}

static void test_payload__that_nobody_wants_ends(void **state)
{
	struct pw_xprt *x = node_up(NULL);
	struct pw_cmd cmd;

	seen.refuse_payload = true;
	make_write(&cmd, 5);
	fake_deliver(x, &cmd, "hello");
	expect_down(-EPROTO, "unwanted payload");
	assert_int_equal(seen.nr_msg, 0);
}

static void test_hand_shake_message_in_up__ends(void **state)
{
	struct pw_xprt *x = node_up(NULL);
	struct pw_cmd cmd;

	make_hello(&cmd);
	fake_deliver(x, &cmd, NULL);
	expect_down(-EPROTO, "after the hand-shake");
}

static void test_reject_in_up__ends(void **state)
{
	struct pw_xprt *x = client_up(NULL);
	struct pw_cmd cmd;

	pw_cmd_init(&cmd, PW_MSG_REJECT, 0);
	cmd.status = 5;
	fake_deliver(x, &cmd, NULL);
	expect_down(-EPROTO, "after the hand-shake");
}

/* Heartbeats ---------------------------------------------------------------------------------- */

static void test_silence__brings_a_ping_and_no_answer_the_end(void **state)
{
	struct pw_xprt *x = client_up(&quick);
	struct pw_cmd cmd;

	fake_pass(&loop, 99);
	assert_null(fake_first(x));
	fake_pass(&loop, 1);
	fake_take(x, PW_MSG_PING, &cmd);
	fake_pass(&loop, 399);
	assert_int_equal(seen.nr_down, 0);
	fake_pass(&loop, 1);
	expect_down(-ETIMEDOUT, "peer silent for 500 ms");
}

static void test_pong__keeps_it_alive(void **state)
{
	struct pw_xprt *x = client_up(&quick);
	struct pw_cmd cmd, pong;

	pw_cmd_init(&pong, PW_MSG_PONG, 0);
	for (uint32_t i = 0; i < 100; i++) {
		fake_pass(&loop, 100);
		fake_take(x, PW_MSG_PING, &cmd);
		fake_deliver(x, &pong, NULL);
	}
	assert_int_equal(seen.nr_down, 0);
	assert_int_equal(seen.nr_msg, 0);
}

static void test_ping__is_answered_once_per_queue(void **state)
{
	struct pw_xprt *x = node_up(&quick);
	struct pw_cmd cmd, ping;

	pw_cmd_init(&ping, PW_MSG_PING, 0);
	fake_deliver(x, &ping, NULL);
	fake_deliver(x, &ping, NULL);
	fake_take(x, PW_MSG_PONG, &cmd);
	assert_null(fake_first(x));
	fake_deliver(x, &ping, NULL);
	fake_take(x, PW_MSG_PONG, &cmd);
}

static void test_traffic__needs_no_ping(void **state)
{
	struct pw_xprt *x = node_up(&quick);
	struct pw_cmd cmd;

	make_write(&cmd, 1);
	for (uint32_t i = 0; i < 50; i++) {
		fake_pass(&loop, 60);
		fake_deliver(x, &cmd, "x");
		assert_null(fake_first(x));
	}
}

static void test_part_of_a_message__is_a_sign_of_life(void **state)
{
	struct pw_xprt *x = client_up(&quick);

	for (uint32_t i = 0; i < 20; i++) {
		fake_pass(&loop, 400);
		fake_rx_bytes(x, 1);
		fake_pass(&loop, 100);
		while (fake_first(x))
			fake_sent(x);
	}
	assert_int_equal(seen.nr_down, 0);
	fake_pass(&loop, 600);
	expect_down(-ETIMEDOUT, "silent");
}

/* The peer talks but does not read: what we send stays in the transport. */
static void test_peer_that_does_not_read__ends(void **state)
{
	struct pw_xprt *x = client_up(&quick);
	struct pw_cmd pong;
	static struct pw_send s;

	make_send(&s);
	assert_int_equal(pw_conn_send(seen.c, &s), 0);
	pw_cmd_init(&pong, PW_MSG_PONG, 0);
	for (uint32_t i = 0; i < 11 && !seen.nr_down; i++) {
		fake_deliver(x, &pong, NULL);
		fake_pass(&loop, 50);
	}
	assert_int_equal(seen.nr_down, 0);
	for (uint32_t i = 0; i < 11 && !seen.nr_down; i++) {
		fake_deliver(x, &pong, NULL);
		fake_pass(&loop, 50);
	}
	expect_down(-ETIMEDOUT, "took no byte for 500 ms");
	assert_int_equal(seen.nr_done, 1);
	assert_int_equal(seen.last_done, -ETIMEDOUT);
}

static void test_peer_that_reads_slowly__lives(void **state)
{
	struct pw_xprt *x = client_up(&quick);
	struct pw_cmd pong;
	static struct pw_send s;

	make_send(&s);
	assert_int_equal(pw_conn_send(seen.c, &s), 0);
	pw_cmd_init(&pong, PW_MSG_PONG, 0);
	for (uint32_t i = 0; i < 50; i++) {
		fake_deliver(x, &pong, NULL);
		fake_pass(&loop, 80);
		x->stats.bytes_tx++;
	}
	assert_int_equal(seen.nr_down, 0);
}

static void test_welcome__can_shorten_the_heartbeat(void **state)
{
	struct pw_xprt *x = client_start(NULL);
	struct pw_cmd hello, cmd;

	fake_take(x, PW_MSG_HELLO, &hello);
	make_challenge(&cmd, &hello, node_id.key);
	fake_deliver(x, &cmd, NULL);
	fake_take(x, PW_MSG_PROOF, &cmd);
	make_welcome(&cmd);
	cmd.welcome.heartbeat_ms = 20;
	fake_deliver(x, &cmd, NULL);
	fake_pass(&loop, 20);
	fake_take(x, PW_MSG_PING, &cmd);
}

/* The end ------------------------------------------------------------------------------------- */

static void test_fail__ends_every_send_once_and_is_idempotent(void **state)
{
	struct pw_xprt *x = client_up(NULL);
	static struct pw_send s[3];

	for (uint32_t i = 0; i < 3; i++) {
		make_send(&s[i]);
		assert_int_equal(pw_conn_send(seen.c, &s[i]), 0);
	}
	fake_sent(x);
	pw_conn_fail(seen.c, -EIO, "first reason");
	pw_conn_fail(seen.c, -EPROTO, "second reason");
	pw_conn_goodbye(seen.c);
	/* nothing comes back from within the call */
	assert_int_equal(seen.nr_done, 1);
	assert_int_equal(seen.nr_down, 0);
	assert_int_equal(pw_conn_state(seen.c), PW_CONN_DRAINING);
	expect_down(-EIO, "first reason");
	assert_int_equal(seen.nr_done, 3);
	assert_int_equal(seen.last_done, -EIO);
	pw_conn_fail(seen.c, -EPROTO, "third reason");
	fake_run(&loop);
	assert_int_equal(seen.nr_down, 1);
}

static void test_fail_in_a_callback__ends(void **state)
{
	struct pw_xprt *x = node_up(NULL);
	struct pw_cmd cmd;

	seen.fail_in_msg = true;
	make_write(&cmd, 5);
	fake_deliver(x, &cmd, "hello");
	expect_down(-ENOLCK, "failed in on_msg");
}

static void test_fail_in_on_up__ends(void **state)
{
	struct pw_xprt *x = client_start(NULL);
	struct pw_cmd hello, cmd;

	seen.fail_in_up = true;
	fake_take(x, PW_MSG_HELLO, &hello);
	make_challenge(&cmd, &hello, node_id.key);
	fake_deliver(x, &cmd, NULL);
	make_welcome(&cmd);
	fake_deliver(x, &cmd, NULL);
	expect_down(-ENOLCK, "failed in on_up");
}

static void test_broken_transport__in_every_state(void **state)
{
	for (uint32_t i = 0; i < 3; i++) {
		struct pw_xprt *x;

		memset(&seen, 0, sizeof(seen));
		if (i == 2) {
			x = client_up(NULL);
		} else {
			assert_int_equal(pw_conn_new(&loop, &conn_ops, &seen, &client_id, NULL,
						     &seen.c),
					 0);
			assert_int_equal(pw_conn_connect(seen.c, "node", 7470, 7), 0);
			x = fake.last;
			if (i == 1)
				fake_connected(x);
		}
		fake_broken(x, -ECONNRESET, "cable");
		expect_down(-ECONNRESET, "cable");
		assert_int_equal(loop.nr_timers, 0);
		pw_conn_free(seen.c);
	}
	seen.c = NULL;
}

static void test_owner_may_free_in_on_down(void **state)
{
	client_up(NULL);
	seen.free_in_down = true;
	pw_conn_fail(seen.c, -EIO, "free me");
	expect_down(-EIO, "free me");
	assert_null(seen.c);
}

static void test_owner_may_connect_again_in_on_down(void **state)
{
	struct pw_xprt *x = client_up(NULL);
	struct pw_conn_stats stats;
	struct pw_cmd hello, cmd;

	seen.reconnect_in_down = true;
	pw_conn_fail(seen.c, -EIO, "again");
	expect_down(-EIO, "again");
	assert_int_equal(pw_conn_state(seen.c), PW_CONN_CONNECTING);
	x = fake.last;
	fake_connected(x);
	fake_take(x, PW_MSG_HELLO, &hello);
	assert_int_equal(hello.hello.incarnation, 8);
	make_challenge(&cmd, &hello, node_id.key);
	fake_deliver(x, &cmd, NULL);
	fake_take(x, PW_MSG_PROOF, &cmd);
	make_welcome(&cmd);
	fake_deliver(x, &cmd, NULL);
	assert_int_equal(seen.nr_up, 2);
	/* counters go on over the reconnect */
	pw_conn_get_stats(seen.c, &stats);
	assert_int_equal(stats.msgs_rx, 4);
	assert_int_equal(stats.msgs_tx, 4);
}

static void test_goodbye__goes_out_first(void **state)
{
	struct pw_xprt *x = client_up(NULL);
	struct pw_cmd cmd;
	static struct pw_send s;

	pw_conn_goodbye(seen.c);
	make_send(&s);
	assert_int_equal(pw_conn_send(seen.c, &s), -ENOTCONN);
	fake_run(&loop);
	assert_int_equal(seen.nr_down, 0);
	fake_take(x, PW_MSG_GOODBYE, &cmd);
	expect_down(-ESHUTDOWN, "closed by this side");
}

static void test_goodbye__that_does_not_get_out_ends_all_the_same(void **state)
{
	client_up(NULL);
	pw_conn_goodbye(seen.c);
	pw_conn_goodbye(seen.c);
	fake_pass(&loop, 499);
	assert_int_equal(seen.nr_down, 0);
	fake_pass(&loop, 1);
	expect_down(-ESHUTDOWN, "closed by this side");
}

static void test_goodbye__keeps_its_reason_when_the_transport_breaks(void **state)
{
	struct pw_xprt *x = client_up(NULL);

	pw_conn_goodbye(seen.c);
	fake_broken(x, -ECONNRESET, "cable");
	expect_down(-ESHUTDOWN, "closed by this side");
}

static void test_goodbye__before_up_just_ends(void **state)
{
	client_start(NULL);
	pw_conn_goodbye(seen.c);
	expect_down(-ESHUTDOWN, "closed by this side");
}

static void test_goodbye__answers_still_arrive_while_it_waits(void **state)
{
	struct pw_xprt *x = client_up(NULL);
	struct pw_cmd cmd;

	pw_conn_goodbye(seen.c);
	make_rsp(&cmd);
	fake_deliver(x, &cmd, NULL);
	assert_int_equal(seen.nr_msg, 1);
	fake_take(x, PW_MSG_GOODBYE, &cmd);
	expect_down(-ESHUTDOWN, "closed by this side");
}

static void test_node__hears_goodbye(void **state)
{
	struct pw_xprt *x = node_up(NULL);
	struct pw_cmd cmd;

	pw_cmd_init(&cmd, PW_MSG_GOODBYE, 0);
	fake_deliver(x, &cmd, NULL);
	expect_down(-ESHUTDOWN, "goodbye");
}

/* Start --------------------------------------------------------------------------------------- */

static void test_connect__reports_what_it_cannot_do(void **state)
{
	assert_int_equal(pw_conn_new(&loop, &conn_ops, &seen, &client_id, NULL, &seen.c), 0);
	assert_int_equal(pw_conn_connect(seen.c, "", 7470, 1), -EINVAL);
	assert_int_equal(pw_conn_connect(seen.c, NULL, 7470, 1), -EINVAL);
	assert_int_equal(pw_conn_connect(seen.c, "node", 0, 1), -EINVAL);
	fake.connect_err = -ENOMEM;
	assert_int_equal(pw_conn_connect(seen.c, "node", 7470, 1), -ENOMEM);
	assert_int_equal(pw_conn_state(seen.c), PW_CONN_DOWN);
	fake.connect_err = 0;
	assert_int_equal(pw_conn_connect(seen.c, "fe80::1", 7470, 1), 0);
	assert_string_equal(pw_conn_peer_name(seen.c), "[fe80::1]:7470");
	assert_int_equal(pw_conn_connect(seen.c, "node", 7470, 2), -EBUSY);
	assert_int_equal(seen.nr_down, 0);
}

static int try_listen(const char *host)
{
	static const struct pw_listener_ops lops;
	struct pw_listener *l = NULL;
	int err = pw_listener_new(&loop, host, 7470, &lops, &conn_ops, NULL, &node_id, NULL, &l);

	pw_listener_free(l);
	return err;
}

static void test_listener__without_a_key_only_on_loopback(void **state)
{
	static const char *const open_to_others[] = { "0.0.0.0",  "::",	    "10.0.0.1", "128.0.0.1",
						      "fe80::1",  "node1",  "127.0.0.1.example",
						      "127.1",	  "",	    "::ffff:10.0.0.1" };
	static const char *const loopback[] = { "127.0.0.1", "127.9.9.9", "::1", "localhost" };

	for (uint32_t i = 0; i < PW_ARRAY_SIZE(open_to_others); i++) {
		node_id.have_key = false;
		assert_int_equal(try_listen(open_to_others[i]), -ENOKEY);
		node_id.have_key = true;
		assert_int_equal(try_listen(open_to_others[i]), 0);
	}
	node_id.have_key = false;
	for (uint32_t i = 0; i < PW_ARRAY_SIZE(loopback); i++)
		assert_int_equal(try_listen(loopback[i]), 0);
	fake.listen_err = -EADDRINUSE;
	assert_int_equal(try_listen("::1"), -EADDRINUSE);
}

/* Strangers ----------------------------------------------------------------------------------- */

static void test_strangers__the_oldest_makes_room(void **state)
{
	const struct pw_conn_opts slow = { .connect_timeout_ms = 1000000 };
	struct pw_conn *c[70];

	seen.free_in_down = true;
	node_start(&slow);
	c[0] = seen.c;
	for (uint32_t i = 1; i < 64; i++) {
		assert_non_null(fake_accept());
		c[i] = seen.c;
	}
	fake_run(&loop);
	assert_int_equal(seen.nr_down, 0);
	assert_non_null(fake_accept());
	c[64] = seen.c;
	assert_int_equal(pw_conn_state(c[0]), PW_CONN_DRAINING);
	assert_int_equal(pw_conn_state(c[1]), PW_CONN_HELLO);
	expect_down(-EBUSY, "too many");
	assert_int_equal(fake.nr_xprts, 64);
	for (uint32_t i = 1; i < 65; i++)
		pw_conn_fail(c[i], -ECANCELED, "test over");
	fake_run(&loop);
	assert_int_equal(seen.nr_down, 65);
}

static void test_strangers__who_proved_the_key_does_not_count(void **state)
{
	struct pw_conn *known, *c[64];

	node_up(NULL);
	known = seen.c;
	for (uint32_t i = 0; i < 64; i++) {
		assert_non_null(fake_accept());
		c[i] = seen.c;
	}
	fake_run(&loop);
	assert_int_equal(pw_conn_state(known), PW_CONN_UP);
	assert_int_equal(seen.nr_down, 0);
	seen.free_in_down = true;
	for (uint32_t i = 0; i < 64; i++)
		pw_conn_fail(c[i], -ECANCELED, "test over");
	fake_run(&loop);
	seen.c = known;
	seen.free_in_down = false;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_set_up, fixture_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_messages__go_both_ways),
		TEST(test_send__only_in_up),
		TEST(test_payload__that_nobody_wants_ends),
		TEST(test_hand_shake_message_in_up__ends),
		TEST(test_reject_in_up__ends),
		TEST(test_silence__brings_a_ping_and_no_answer_the_end),
		TEST(test_pong__keeps_it_alive),
		TEST(test_ping__is_answered_once_per_queue),
		TEST(test_traffic__needs_no_ping),
		TEST(test_part_of_a_message__is_a_sign_of_life),
		TEST(test_peer_that_does_not_read__ends),
		TEST(test_peer_that_reads_slowly__lives),
		TEST(test_welcome__can_shorten_the_heartbeat),
		TEST(test_fail__ends_every_send_once_and_is_idempotent),
		TEST(test_fail_in_a_callback__ends),
		TEST(test_fail_in_on_up__ends),
		TEST(test_broken_transport__in_every_state),
		TEST(test_owner_may_free_in_on_down),
		TEST(test_owner_may_connect_again_in_on_down),
		TEST(test_goodbye__goes_out_first),
		TEST(test_goodbye__that_does_not_get_out_ends_all_the_same),
		TEST(test_goodbye__keeps_its_reason_when_the_transport_breaks),
		TEST(test_goodbye__before_up_just_ends),
		TEST(test_goodbye__answers_still_arrive_while_it_waits),
		TEST(test_node__hears_goodbye),
		TEST(test_connect__reports_what_it_cannot_do),
		TEST(test_listener__without_a_key_only_on_loopback),
		TEST(test_strangers__the_oldest_makes_room),
		TEST(test_strangers__who_proved_the_key_does_not_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
