/* SPDX-License-Identifier: Apache-2.0 */
/* test_poller.c -- queues in memory: when they are polled, when they are armed */
#include <sys/sysinfo.h>

#include "loop_ctx.h"

#define POLL_US 2000
#define HOT 4 /* entries in a row before a queue is polled */

static int setup_poll(void **state)
{
	return setup_opts(state, &(struct pw_loop_opts){
					 .sq_entries = 8, .max_ios = 4, .poll_us = POLL_US });
}

/* A queue that is filled by a timer or from outside, and counts how it is asked. */
static struct {
	struct pw_poller p;
	struct pw_timer fill;
	uint64_t period_ns;
	uint32_t has, nr_polls, nr_arms, nr_taken, stop_after;
	uint32_t in_arming; /* comes between the last poll and the arming */
	bool armed, stop_when_hot;
} queue;

static uint32_t queue_poll(struct pw_poller *p)
{
	uint32_t n = queue.has;

	queue.nr_polls++;
	queue.has = 0;
	queue.nr_taken += n;
	if (queue.nr_taken >= queue.stop_after || (queue.stop_when_hot && p->streak == HOT))
		pw_loop_stop(cur->loop);
	return n;
}

static bool queue_arm(struct pw_poller *p)
{
	queue.nr_arms++;
	queue.armed = true;
	queue.has += queue.in_arming;
	queue.in_arming = 0;
	return !queue_poll(p);
}

/* As a device does: an entry, and an event if one was asked for. */
static void queue_fill(struct pw_timer *t)
{
	queue.has++;
	if (queue.armed)
		pw_poller_wake(cur->loop, &queue.p);
	queue.armed = false;
	if (queue.period_ns)
		pw_timer_arm(cur->loop, t, pw_loop_now(cur->loop) + queue.period_ns);
}

static void queue_start(uint64_t period_ns, uint32_t stop_after)
{
	memset(&queue, 0, sizeof(queue));
	queue.period_ns = period_ns;
	queue.stop_after = stop_after;
	pw_timer_init(&queue.fill, queue_fill);
	pw_poller_start(cur->loop, &queue.p, queue_poll, queue_arm);
	if (period_ns)
		pw_timer_arm(cur->loop, &queue.fill, pw_loop_now(cur->loop) + period_ns);
}

static void queue_end(void)
{
	pw_timer_cancel(cur->loop, &queue.fill);
	pw_poller_stop(&queue.p);
	pw_poller_stop(&queue.p);
}

static void test_poller__armed_at_once_where_nothing_comes(void **state)
{
	queue_start(0, UINT32_MAX);
	pw_timer_init(&cur->timer, stop_on_timer);
	pw_timer_arm(cur->loop, &cur->timer, pw_loop_now(cur->loop) + 3 * PW_NS_PER_MS);
	assert_int_equal(pw_loop_run(cur->loop), 0);
	assert_int_equal(queue.nr_arms, 1);
	assert_true(pw_list_empty(&queue.p.node));
	queue_end();
}

/* An entry that came before the arming brings no event: without a second look it waits for ever. */
static void test_poller__what_comes_while_it_is_armed_is_taken(void **state)
{
	queue_start(0, 1);
	queue.in_arming = 1;
	assert_int_equal(pw_loop_run(cur->loop), 0);
	assert_int_equal(queue.nr_taken, 1);
	assert_int_equal(queue.nr_arms, 1);
	queue_end();
}

static void test_poller__polled_while_entries_come_close_together(void **state)
{
	struct pw_loop_stats s;

	if (get_nprocs() < 2)
		skip();
	queue_start(POLL_US * PW_NS_PER_US / 10, 50);
	assert_int_equal(pw_loop_run(cur->loop), 0);
	pw_loop_get_stats(cur->loop, &s);
	assert_true(queue.nr_taken >= 50);
	/* a loaded machine may keep this thread from the CPU for longer than the window */
	assert_true(queue.nr_arms < 25);
	assert_true(s.idle_polls > 50);
	queue_end();
}

static void test_poller__armed_while_entries_come_far_apart(void **state)
{
	struct pw_loop_stats s;

	queue_start(2 * POLL_US * PW_NS_PER_US, 10);
	assert_int_equal(pw_loop_run(cur->loop), 0);
	pw_loop_get_stats(cur->loop, &s);
	assert_true(queue.nr_arms >= 10);
	assert_int_equal(s.idle_polls, 0);
	queue_end();
}

static void test_poller__armed_after_the_last_of_many(void **state)
{
	struct pw_loop_stats s;

	queue_start(POLL_US * PW_NS_PER_US / 10, 20);
	assert_int_equal(pw_loop_run(cur->loop), 0);
	pw_timer_cancel(cur->loop, &queue.fill);
	queue.nr_arms = 0;
	queue.stop_after = UINT32_MAX;
	pw_timer_init(&cur->timer, stop_on_timer);
	pw_timer_arm(cur->loop, &cur->timer,
		     pw_loop_now(cur->loop) + 20 * POLL_US * PW_NS_PER_US);
	assert_int_equal(pw_loop_run(cur->loop), 0);
	pw_loop_get_stats(cur->loop, &s);
	assert_int_equal(queue.nr_arms, 1);
	assert_true(pw_list_empty(&queue.p.node));
	assert_true(s.sleeps > 0);
	queue_end();
}

/* Completions are posted by our system calls: polling must make those that are needed. */
static void test_poller__others_are_served_while_it_is_hot(void **state)
{
	if (get_nprocs() < 2)
		skip();
	queue_start(POLL_US * PW_NS_PER_US / 10, UINT32_MAX);
	pw_ready_init(&cur->b, step_stop);
	assert_int_equal(pw_io_init(cur->loop, &cur->io, nop_done), 0);
	queue.stop_when_hot = true;
	assert_int_equal(pw_loop_run(cur->loop), 0);
	queue.stop_when_hot = false;
	start_nop(&cur->io);
	assert_int_equal(pw_loop_run(cur->loop), 0);
	assert_int_equal(cur->nr_done, 1);
	pw_io_fini(cur->loop, &cur->io);
	queue_end();
}

#define POLL(name) cmocka_unit_test_setup_teardown(name, setup_poll, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		POLL(test_poller__armed_at_once_where_nothing_comes),
		POLL(test_poller__what_comes_while_it_is_armed_is_taken),
		POLL(test_poller__polled_while_entries_come_close_together),
		POLL(test_poller__armed_while_entries_come_far_apart),
		POLL(test_poller__armed_after_the_last_of_many),
		POLL(test_poller__others_are_served_while_it_is_hot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
