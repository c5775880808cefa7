/* SPDX-License-Identifier: Apache-2.0 */
/* test_rdma_cq.c -- what a completion queue wakes its connection for, and one that breaks under it
 *
 * The rig and its world check that each message is done once, that no work request and no right of
 * the peer refers to memory that was given back, and that nothing leaks.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/conn/xprt_rig.h"
#include "common/xprt_rdma_impl.h"
#include "world_rdma.h"

/* Turns of the world: some for the end of a connection, and far fewer than in a second, after which
 * patience with a device ends. */
#define AT_ONCE 400u

static bool both_closed(void)
{
	return client.closed && node.closed;
}

static bool client_closed(void)
{
	return client.closed;
}

static bool node_closed(void)
{
	return node.closed;
}

static void call_all(void)
{
	for (uint16_t slot = 1; slot < RIG_SLOTS; slot++)
		rig_call(slot, slot * 100, slot & 1 ? 30000 : 0, slot & 1 ? 0 : 30000);
}

/* Events -------------------------------------------------------------------------------------- */

#define CALLS 50u

/* The client's requests end, which is one completion each, and have answers, which is another. The
 * node is woken by requests, and by the end of its answers. */
static void test_client__is_woken_by_answers_only(void **state)
{
	uint64_t before;

	if (fake_opts.iwarp)
		skip(); /* siw has no event for answers alone */
	fake_opts.max_delay = 0;
	rig_connect_pair();
	run_turns(100);
	before = fake_stats.cq_events;
	for (uint32_t i = 0; i < CALLS; i++) {
		rig_call(1, 0, 30000, 0);
		rig_finish_calls();
		run_turns(10);
	}
	assert_in_range(fake_stats.cq_events - before, CALLS, 3 * CALLS + 5);
}

/* A soft device has no event for that. */
static void test_request__that_nobody_takes_is_noticed(void **state)
{
	rig_connect_pair();
	run_turns(100);
	fake_power_off(pw_rdma_of(node.x)->id);
	rig_call(1, 0, 30000, 0);
	run_until(client_closed);
	assert_true(client.err == -ETIMEDOUT || client.err == -ECONNRESET);
	pw_xprt_close(node.x, -ECANCELED, "closed");
	run_until(both_closed);
}

/* Ends ---------------------------------------------------------------------------------------- */

static void check_counts(uint32_t *count, bool first)
{
	for (uint32_t o = 0; o < FAKE_NR_OBJECTS; o++) {
		if (first)
			count[o] = fake_count(o);
		assert_int_equal(fake_count(o), count[o]);
	}
}

/* Under @victim, after so many turns of calls; with runs and in one piece. */
static void breaks_under(struct side *victim, struct side *other)
{
	uint32_t count[FAKE_NR_OBJECTS];
	uint64_t began;

	for (uint32_t turns = 0; turns < 60; turns += 3) {
		rig_connect_pair();
		rig_max_runs = turns & 1 ? 6 : 0;
		call_all();
		run_turns(turns);
		began = fake_stats.turns;
		fake_break_cq(pw_rdma_of(victim->x)->cq);
		run_until(both_closed);
		assert_in_range(fake_stats.turns - began, 1, AT_ONCE);
		assert_int_equal(victim->err, -EIO);
		assert_string_equal(victim->why, "a completion queue of fake0 has failed");
		assert_true(other->err < 0);
		rig_forget();
		check_counts(count, !turns);
	}
	/* the next one is as good as any */
	rig_connect_pair();
	call_all();
	run_until(rig_all_answered);
	assert_false(client.closed || node.closed);
}

static void test_client__ends_at_once_with_the_reason(void **state)
{
	breaks_under(&client, &node);
}

static void test_node__ends_at_once_with_the_reason(void **state)
{
	breaks_under(&node, &client);
}

/* The device has still to bind the windows of its slots. */
static void test_node__ends_while_its_grants_are_bound(void **state)
{
	uint64_t binds;

	rig_connect_pair();
	binds = fake_stats.wr_bind;
	fake_opts.stall = true;
	run_turns(2);
	fake_break_cq(pw_rdma_of(node.x)->cq);
	run_until(node_closed);
	assert_int_equal(fake_stats.wr_bind, binds);
	fake_opts.stall = false;
	run_until(both_closed);
}

/* Nobody else's connection has anything to do with it. */
static void test_close__the_queue_breaks_while_it_is_drained(void **state)
{
	for (uint32_t turns = 0; turns < 12; turns++) {
		struct ibv_cq *cq;
		uint64_t began;

		rig_connect_pair();
		call_all();
		run_turns(20);
		cq = pw_rdma_of(client.x)->cq;
		pw_xprt_close(client.x, -ECANCELED, "closed");
		run_turns(turns);
		began = fake_stats.turns;
		if (!client.closed)
			fake_break_cq(cq);
		run_until(both_closed);
		assert_in_range(fake_stats.turns - began, 0, AT_ONCE);
		assert_int_equal(client.err, -ECANCELED);
		rig_forget();
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_set_up, rig_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_client__is_woken_by_answers_only),
		TEST(test_request__that_nobody_takes_is_noticed),
		TEST(test_client__ends_at_once_with_the_reason),
		TEST(test_node__ends_at_once_with_the_reason),
		TEST(test_node__ends_while_its_grants_are_bound),
		TEST(test_close__the_queue_breaks_while_it_is_drained),
	};

	rig_set_seed(3);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
