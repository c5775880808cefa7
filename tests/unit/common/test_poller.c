/* SPDX-License-Identifier: Apache-2.0 */
/* test_poller.c -- queues in memory: when they are polled, when they are armed */
#include <pthread.h>
#include <sched.h>

#include "common/loop_impl.h"
#include "loop_ctx.h"

#define POLL_US 2000
#define PERIOD_NS (200 * PW_NS_PER_US) /* close together */
/* no machine is so loaded that it keeps a thread from the CPU for so long */
#define LONG_US 500000
#define HOT 4 /* entries in a row before a queue is polled */

static int setup_poll_us(void **state, uint32_t poll_us)
{
	return setup_opts(state, &(struct pw_loop_opts){
					 .sq_entries = 8, .max_ios = 4, .poll_us = poll_us });
}

static int setup_poll(void **state)
{
	return setup_poll_us(state, POLL_US);
}

static int setup_long(void **state)
{
	return setup_poll_us(state, LONG_US);
}

/* With one CPU. */
static bool never_polls(void)
{
	return !cur->loop->poll_ns;
}

static uint64_t idle_polls(void)
{
	struct pw_loop_stats s;

	pw_loop_get_stats(cur->loop, &s);
	return s.idle_polls;
}

/* A queue that is filled by a timer or from outside, and counts how it is asked. */
static struct {
	struct pw_poller p;
	struct pw_timer fill;
	uint64_t period_ns;
	uint32_t has, nr_polls, nr_arms, nr_taken, stop_after;
	uint32_t in_arming; /* comes between the last poll and the arming */
	bool armed, stop_when_hot, stop_when_idle;
} queue;

static uint32_t queue_poll(struct pw_poller *p)
{
	uint32_t n = __atomic_exchange_n(&queue.has, 0, __ATOMIC_ACQ_REL);

	queue.nr_polls++;
	queue.nr_taken += n;
	if (queue.nr_taken >= queue.stop_after || (queue.stop_when_hot && p->streak == HOT) ||
	    (queue.stop_when_idle && cur->loop->yielded_ns > cur->loop->shared_until_ns))
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
	if (never_polls())
		skip();
	queue_start(PERIOD_NS, 50);
	assert_int_equal(pw_loop_run(cur->loop), 0);
	assert_true(queue.nr_taken >= 50);
	/* twice for an entry that comes before the arming */
	assert_in_range(queue.nr_arms, 1, 2 * HOT + 2);
	assert_true(idle_polls() > 50);
	queue_end();
}

static void test_poller__armed_while_entries_come_far_apart(void **state)
{
	queue_start(2 * POLL_US * PW_NS_PER_US, 10);
	assert_int_equal(pw_loop_run(cur->loop), 0);
	assert_true(queue.nr_arms >= 10);
	assert_int_equal(idle_polls(), 0);
	queue_end();
}

static void test_poller__armed_after_the_last_of_many(void **state)
{
	struct pw_loop_stats s;

	queue_start(PERIOD_NS, 20);
	assert_int_equal(pw_loop_run(cur->loop), 0);
	pw_timer_cancel(cur->loop, &queue.fill);
	queue.nr_arms = 0;
	queue.stop_after = UINT32_MAX;
	pw_timer_init(&cur->timer, stop_on_timer);
	pw_timer_arm(cur->loop, &cur->timer,
		     pw_loop_now(cur->loop) + 2ull * LONG_US * PW_NS_PER_US);
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
	if (never_polls())
		skip();
	queue_start(PERIOD_NS, UINT32_MAX);
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

/* The CPU ------------------------------------------------------------------------------------- */

#define EXCHANGES 50u

static void run_until_hot(void)
{
	queue_start(PERIOD_NS, UINT32_MAX);
	queue.stop_when_hot = true;
	assert_int_equal(pw_loop_run(cur->loop), 0);
	queue.stop_when_hot = false;
	pw_timer_cancel(cur->loop, &queue.fill);
	__atomic_store_n(&queue.has, 0, __ATOMIC_RELEASE);
	queue.nr_taken = 0;
}

/* One entry after the other, each when the one before has been taken. */
static void *fill_by_turns(void *arg)
{
	for (uint32_t i = 0; i < EXCHANGES; i++) {
		__atomic_store_n(&queue.has, 1, __ATOMIC_RELEASE);
		while (__atomic_load_n(&queue.has, __ATOMIC_ACQUIRE))
			sched_yield();
	}
	return NULL;
}

static void bind_to(pthread_t t, const cpu_set_t *set)
{
	assert_int_equal(pthread_setaffinity_np(t, sizeof(*set), set), 0);
}

/* Regression: whoever polled kept the CPU to the end of a time slice from a thread that was about
 * to give it what it polled for. */
static void test_poller__lets_in_who_waits_for_its_cpu(void **state)
{
	cpu_set_t all, one;
	uint64_t before;
	pthread_t t;
	int cpu = 0;

	if (never_polls())
		skip();
	run_until_hot();
	assert_int_equal(pthread_getaffinity_np(pthread_self(), sizeof(all), &all), 0);
	while (!CPU_ISSET(cpu, &all))
		cpu++;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	bind_to(pthread_self(), &one);
	before = idle_polls();
	queue.stop_after = EXCHANGES;
	assert_int_equal(pthread_create(&t, NULL, fill_by_turns, NULL), 0);
	assert_int_equal(pw_loop_run(cur->loop), 0);
	pthread_join(t, NULL);
	bind_to(pthread_self(), &all);
	/* some 40 for each with optimization; a time slice is tens of thousands */
	assert_in_range(idle_polls() - before, 0, EXCHANGES * 1000);
	queue_end();
}

/* The CPU comes back late: somebody computes on it. */
static void test_poller__polls_no_more_for_a_while_on_a_shared_cpu(void **state)
{
	uint64_t before;

	if (never_polls())
		skip();
	run_until_hot();
	cur->loop->yielded = true;
	cur->loop->yielded_ns = pw_loop_now(cur->loop) - 2ull * LONG_US * PW_NS_PER_US;
	before = idle_polls();
	queue.nr_arms = 0;
	queue.stop_after = 20;
	queue.period_ns = PERIOD_NS;
	pw_timer_arm(cur->loop, &queue.fill, pw_loop_now(cur->loop) + PERIOD_NS);
	assert_int_equal(pw_loop_run(cur->loop), 0);
	assert_int_equal(idle_polls(), before);
	assert_true(queue.nr_arms >= 20);
	/* only for a while */
	queue.stop_after = UINT32_MAX;
	queue.stop_when_idle = true;
	assert_int_equal(pw_loop_run(cur->loop), 0);
	queue_end();
}

#define POLL(name) cmocka_unit_test_setup_teardown(name, setup_poll, teardown)
#define LONG(name) cmocka_unit_test_setup_teardown(name, setup_long, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		POLL(test_poller__armed_at_once_where_nothing_comes),
		POLL(test_poller__what_comes_while_it_is_armed_is_taken),
		LONG(test_poller__polled_while_entries_come_close_together),
		POLL(test_poller__armed_while_entries_come_far_apart),
		LONG(test_poller__armed_after_the_last_of_many),
		LONG(test_poller__others_are_served_while_it_is_hot),
		LONG(test_poller__lets_in_who_waits_for_its_cpu),
		LONG(test_poller__polls_no_more_for_a_while_on_a_shared_cpu),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
