/* SPDX-License-Identifier: Apache-2.0 */
/* test_xprt.c -- what every transport does: calls of any size, every way to begin and to end
 *
 * The rig checks on each of them: every message was done exactly once, nothing was done after
 * on_closed(), nothing was written into a buffer after it, no right of a peer outlives a delivery.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "xprt_rig.h"

static bool client_closed(void)
{
	return client.closed;
}

static bool node_closed(void)
{
	return node.closed;
}

static bool client_settled(void)
{
	return client.connected || client.closed;
}

static void expect_closed(int err, const char *text)
{
	run_until(client_closed);
	assert_int_equal(client.err, err);
	if (!strstr(client.why, text))
		fail_msg("'%s' is not in '%s'", text, client.why);
}

/* Calls --------------------------------------------------------------------------------------- */

static uint32_t random_len(void)
{
	switch (random_below(8)) {
	case 0:
		return 0;
	case 1:
		return 1 + random_below(200);
	case 2:
		return 4096 - 4 + random_below(8);
	case 3:
		return 1 + random_below(1u << 20);
	case 4:
		return random_below(16) ? 4096 : 3u << 20;
	default:
		return 1 + random_below(20000);
	}
}

static uint32_t want_calls;

/* A few at a time, so that queues grow and run empty. */
static bool exchange(void)
{
	uint16_t slot;

	for (uint32_t n = random_below(5); rig_nr_calls < want_calls && n; n--) {
		slot = rig_free_slot();
		if (!slot)
			break;
		if (random_below(2))
			rig_call(slot, random_below(1u << 20), 1 + random_len(), 0);
		else
			rig_call(slot, 0, 0, random_len());
	}
	for (uint32_t n = random_below(4); n && rig_answer(); n--)
		;
	return (rig_nr_answered == want_calls && client.nr_done == want_calls &&
		node.nr_done == want_calls) ||
	       client.closed || node.closed;
}

static void do_calls(uint32_t nr)
{
	want_calls += nr;
	run_until(exchange);
	if (client.closed || node.closed)
		fail_msg("client: '%s', node: '%s'", client.why, node.why);
	assert_int_equal(rig_nr_answered, want_calls);
}

static void test_calls__of_any_size(void **state)
{
	want_calls = 0;
	rig_connect_pair();
	rig_hold_answers = true;
	client.guess = GUESS_RANDOM;
	node.guess = GUESS_RANDOM;
	do_calls(200);
	assert_int_equal(side_stats(&client).msgs_tx, 200);
	assert_int_equal(side_stats(&client).msgs_rx, 200);
	assert_int_equal(side_stats(&node).msgs_rx, 200);
	assert_int_equal(strncmp(pw_xprt_name(client.x), xprt_world.name, strlen(xprt_world.name)),
			 0);
}

/* Payloads in a few runs, and in as many as there can be. */
static void test_calls__in_runs(void **state)
{
	want_calls = 0;
	rig_connect_pair();
	rig_hold_answers = true;
	/* of another call: the owner has none for runs */
	client.guess = GUESS_WRONG;
	rig_max_runs = 4;
	do_calls(100);
	client.guess = GUESS_NONE;
	rig_max_runs = PW_RUNS_MAX;
	do_calls(100);
	assert_true(rig_nr_gathered > 50);
}

static void test_calls__whose_buffers_go_elsewhere(void **state)
{
	want_calls = 0;
	rig_connect_pair();
	rig_take_buffers = true;
	do_calls(100);
}

/* Nothing but events wakes the loop: none may be missed. */
static void test_calls__while_the_loop_sleeps(void **state)
{
	want_calls = 0;
	rig_connect_pair();
	rig_sleepy = true;
	do_calls(40);
}

/* This side ends ------------------------------------------------------------------------------ */

/* One call in each of the first @nr slots: every second one a write, the others reads. */
static void call_some(uint32_t nr, uint32_t len)
{
	for (uint32_t slot = 1; slot <= nr; slot++)
		rig_call((uint16_t)slot, slot * 700, slot & 1 ? len : 0, slot & 1 ? 0 : len);
}

static void drop(struct side *s)
{
	if (s->x) {
		side_close(s, -ECANCELED);
		assert_int_equal(s->nr_done + s->nr_failed, s->nr_sent);
	}
	s->connected = s->closed = false;
	s->nr_msgs = 0;
	s->close_after_msgs = 0;
}

/* Closed after each number of turns, with messages of this size on their way in both directions. */
static void close_in_the_middle(uint32_t nr, uint32_t len)
{
	for (uint32_t turns = 0; turns < 40; turns++) {
		rig_connect_pair();
		client.nr_sent = client.nr_done = client.nr_failed = 0;
		node.nr_sent = node.nr_done = node.nr_failed = 0;
		client.guess = node.guess = GUESS_RANDOM;
		call_some(nr, len);
		run_turns(turns);
		drop(turns & 1 ? &client : &node);
		drop(turns & 1 ? &node : &client);
	}
}

static void test_close__in_the_middle_of_small_messages(void **state)
{
	close_in_the_middle(RIG_SLOTS - 1, 500);
}

static void test_close__in_the_middle_of_large_messages(void **state)
{
	close_in_the_middle(4, 3 << 20);
}

static void test_close__from_within_on_msg(void **state)
{
	for (uint32_t after = 1; after < RIG_SLOTS; after++) {
		rig_connect_pair();
		client.nr_sent = client.nr_done = client.nr_failed = 0;
		node.nr_sent = node.nr_done = node.nr_failed = 0;
		node.guess = after % NR_GUESSES;
		node.close_after_msgs = after;
		call_some(RIG_SLOTS - 1, after & 1 ? 700 : 70000);
		run_until(node_closed);
		assert_int_equal(node.nr_msgs, after);
		assert_int_equal(node.err, -ECANCELED);
		pw_xprt_free(node.x);
		node.x = NULL;
		drop(&node);
		drop(&client);
	}
}

/* Connecting ---------------------------------------------------------------------------------- */

static uint16_t unused_port(void)
{
	struct sockaddr_in sa = { .sin_family = AF_INET };
	socklen_t len = sizeof(sa);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
	close(fd);
	return ntohs(sa.sin_port);
}

static void test_connect__nobody_listens(void **state)
{
	rig_client_connect("127.0.0.1", unused_port());
	expect_closed(-ECONNREFUSED, "connecting to 127.0.0.1:");
}

static void test_connect__an_address_that_cannot_be_reached(void **state)
{
	/* port 0 and a broadcast address: the kernel refuses at once */
	rig_client_connect("255.255.255.255", 7470);
	run_until(client_closed);
	assert_true(client.err < 0);
}

static void test_connect__a_name_resolves_in_a_thread(void **state)
{
	rig_connect_pair();
	drop(&client);
	drop(&node);
	rig_client_connect("localhost", pw_xprt_listener_port(rig_listener));
	run_until(client_settled);
	assert_true(client.connected);
}

static void test_connect__a_name_that_does_not_exist(void **state)
{
	rig_client_connect("no-such-host.invalid", 7470);
	expect_closed(-EHOSTUNREACH, "name not resolved");
}

/* Closed at once, or after any number of turns: the resolver's thread finds us gone or is waited
 * for. */
static void test_connect__closed_while_a_name_resolves(void **state)
{
	for (uint32_t turns = 0; turns < 60; turns++) {
		rig_client_connect("localhost", 1);
		run_turns(turns * 5);
		drop(&client);
	}
}

static void test_connect__closed_while_connecting(void **state)
{
	for (uint32_t turns = 0; turns < 10; turns++) {
		rig_connect_pair();
		drop(&client);
		drop(&node);
		rig_client_connect("127.0.0.1", pw_xprt_listener_port(rig_listener));
		run_turns(turns);
		drop(&client);
		run_turns(20);
		drop(&node);
	}
}

static void test_connect__ipv6(void **state)
{
	struct pw_xprt_listener *l;

	if (rig_listen("::1", 0, &l))
		skip();
	rig_client_connect("::1", pw_xprt_listener_port(l));
	run_until(client_settled);
	assert_true(client.connected);
	pw_xprt_listener_free(l);
}

/* Listening ----------------------------------------------------------------------------------- */

static void test_listen__reports_what_it_cannot_do(void **state)
{
	struct pw_xprt_listener *l;

	rig_connect_pair();
	assert_int_equal(rig_listen("127.0.0.1", pw_xprt_listener_port(rig_listener), &l),
			 -EADDRINUSE);
	assert_int_equal(rig_listen("203.0.113.77", 0, &l), -EADDRNOTAVAIL);
	assert_int_equal(rig_listen("no-such-host.invalid", 0, &l), -EADDRNOTAVAIL);
	assert_int_equal(rig_listen("", 0, &l), -EINVAL);
}

static void test_listen__localhost_is_loopback(void **state)
{
	struct pw_xprt_listener *l;

	assert_int_equal(rig_listen("localhost", 0, &l), 0);
	rig_client_connect("127.0.0.1", pw_xprt_listener_port(l));
	run_until(client_settled);
	assert_true(client.connected);
	pw_xprt_listener_free(l);
}

static void test_listen__a_dropped_connection_is_closed(void **state)
{
	uint16_t port;

	rig_connect_pair();
	port = pw_xprt_listener_port(rig_listener);
	drop(&client);
	/* the rig's node takes one connection at a time */
	rig_client_connect("127.0.0.1", port);
	run_until(client_closed);
	/* before it was there, or after */
	assert_true(client.err == -ECONNRESET || client.err == -ECONNREFUSED);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_set_up, rig_tear_down)

int main(void)
{
	const struct CMUnitTest once[] = {
		TEST(test_connect__nobody_listens),
		TEST(test_connect__an_address_that_cannot_be_reached),
		TEST(test_connect__a_name_resolves_in_a_thread),
		TEST(test_connect__a_name_that_does_not_exist),
		TEST(test_connect__closed_while_a_name_resolves),
		TEST(test_connect__ipv6),
		TEST(test_listen__reports_what_it_cannot_do),
		TEST(test_listen__localhost_is_loopback),
		TEST(test_listen__a_dropped_connection_is_closed),
	};
	const struct CMUnitTest tests[] = {
		TEST(test_calls__of_any_size),
		TEST(test_calls__in_runs),
		TEST(test_calls__whose_buffers_go_elsewhere),
		TEST(test_calls__while_the_loop_sleeps),
		TEST(test_close__in_the_middle_of_small_messages),
		TEST(test_close__in_the_middle_of_large_messages),
		TEST(test_close__from_within_on_msg),
		TEST(test_connect__closed_while_connecting),
	};
	int failed = cmocka_run_group_tests(once, NULL, NULL);

	for (uint64_t seed = 0; seed < xprt_world.nr_seeds && !failed; seed++) {
		char name[32];

		snprintf(name, sizeof(name), "seed %llu", (unsigned long long)seed);
		rig_set_seed(seed);
		failed = cmocka_run_group_tests_name(name, tests, NULL, NULL);
	}
	return failed;
}
