/* SPDX-License-Identifier: Apache-2.0 */
/* test_loop.c -- turns of the loop: order, timers, ready list, flush hooks, posts, sleep */
#include <pthread.h>

#include "loop_ctx.h"

static void test_timer__fires_after_its_deadline(void **state)
{
	pw_timer_init(&cur->timer, stop_on_timer);
	assert_false(pw_timer_armed(&cur->timer));
	cur->armed_ns = pw_loop_now(cur->loop) + 3 * PW_NS_PER_MS;
	pw_timer_arm(cur->loop, &cur->timer, cur->armed_ns);
	assert_true(pw_timer_armed(&cur->timer));
	assert_int_equal(pw_loop_run(cur->loop), 0);
	assert_true(cur->fired_ns >= cur->armed_ns);
	assert_false(pw_timer_armed(&cur->timer));
}

static void rearm_into_past(struct pw_timer *t)
{
	cur->nr_steps++;
	mark('p');
	if (cur->nr_steps < 3)
		pw_timer_arm(cur->loop, t, 0);
	else
		pw_loop_stop(cur->loop);
}

static void test_timer__armed_into_the_past_fires_in_the_next_turn(void **state)
{
	struct pw_loop_stats s;

	pw_timer_init(&cur->timer, rearm_into_past);
	pw_timer_arm(cur->loop, &cur->timer, 0);
	assert_int_equal(cur->nr_steps, 0);
	assert_int_equal(pw_loop_run(cur->loop), 0);
	pw_loop_get_stats(cur->loop, &s);
	assert_int_equal(cur->nr_steps, 3);
	assert_true(s.turns >= 3);
}

static void test_timer_cancel__does_not_fire(void **state)
{
	pw_timer_init(&cur->timer, stop_on_timer);
	pw_timer_init(&cur->other, rearm_into_past);
	pw_timer_arm(cur->loop, &cur->other, 0);
	pw_timer_arm(cur->loop, &cur->timer, pw_loop_now(cur->loop) + PW_NS_PER_MS);
	pw_timer_cancel(cur->loop, &cur->other);
	pw_timer_cancel(cur->loop, &cur->other);
	assert_int_equal(pw_loop_run(cur->loop), 0);
	assert_int_equal(cur->nr_steps, 0);
}

static void step_again(struct pw_ready *r)
{
	struct pw_loop_stats s;

	pw_loop_get_stats(cur->loop, &s);
	mark('a');
	/* each step in a turn of its own */
	assert_int_equal(s.turns, (uint64_t)++cur->nr_steps);
	if (cur->nr_steps < 3)
		pw_loop_ready(cur->loop, r);
	else
		pw_loop_stop(cur->loop);
}

static void test_ready__made_ready_in_its_step_is_for_the_next_turn(void **state)
{
	pw_ready_init(&cur->a, step_again);
	pw_loop_ready(cur->loop, &cur->a);
	pw_loop_ready(cur->loop, &cur->a);
	assert_int_equal(pw_loop_run(cur->loop), 0);
	assert_int_equal(cur->nr_steps, 3);
}

static void step_b(struct pw_ready *r)
{
	mark('b');
}

static void step_cancels_b(struct pw_ready *r)
{
	mark('a');
	pw_ready_cancel(&cur->b);
	pw_loop_stop(cur->loop);
}

static void test_ready_cancel__also_in_the_running_turn(void **state)
{
	pw_ready_init(&cur->a, step_cancels_b);
	pw_ready_init(&cur->b, step_b);
	pw_loop_ready(cur->loop, &cur->a);
	pw_loop_ready(cur->loop, &cur->b);
	assert_int_equal(pw_loop_run(cur->loop), 0);
	assert_string_equal(cur->order, "a");
}

static void flush_once(struct pw_flush *f)
{
	mark('f');
	pw_loop_stop(cur->loop);
}

static void step_dirty(struct pw_ready *r)
{
	mark('b');
	pw_loop_on_flush(cur->loop, &cur->flush);
	pw_loop_on_flush(cur->loop, &cur->flush);
}

static void test_turn__completion_then_ready_then_flush(void **state)
{
	pw_ready_init(&cur->b, step_dirty);
	pw_flush_init(&cur->flush, flush_once);
	assert_int_equal(pw_io_init(cur->loop, &cur->io, nop_done), 0);
	start_nop(&cur->io);
	assert_int_equal(cur->io.pending, 1);
	assert_int_equal(pw_loop_run(cur->loop), 0);
	assert_string_equal(cur->order, "cbf");
	assert_int_equal(cur->io.pending, 0);
	pw_io_fini(cur->loop, &cur->io);
}

static void test_flush_cancel__does_not_run(void **state)
{
	pw_flush_init(&cur->flush, flush_once);
	pw_timer_init(&cur->timer, stop_on_timer);
	pw_timer_arm(cur->loop, &cur->timer, 0);
	pw_loop_on_flush(cur->loop, &cur->flush);
	pw_flush_cancel(&cur->flush);
	assert_int_equal(pw_loop_run(cur->loop), 0);
	assert_string_equal(cur->order, "t");
}

#define NR_POSTS 2000
struct poster {
	pthread_t thread;
	struct pw_loop *loop;
	int id;
	struct post {
		struct pw_loop_msg msg;
		int poster, seq;
	} post[NR_POSTS];
};
static struct poster posters[2];
static int next_seq[2];

static void on_post(struct pw_loop_msg *m)
{
	struct post *p = pw_container_of(m, struct post, msg);

	assert_int_equal(p->seq, next_seq[p->poster]);
	next_seq[p->poster]++;
	if (next_seq[0] == NR_POSTS && next_seq[1] == NR_POSTS)
		pw_loop_stop(cur->loop);
}

static void *post_all(void *arg)
{
	struct poster *p = arg;

	for (int i = 0; i < NR_POSTS; i++) {
		p->post[i].poster = p->id;
		p->post[i].seq = i;
		p->post[i].msg.fn = on_post;
		pw_loop_post(p->loop, &p->post[i].msg);
	}
	return NULL;
}

static void test_post__from_other_threads_in_order_and_none_lost(void **state)
{
	memset(next_seq, 0, sizeof(next_seq));
	for (int i = 0; i < 2; i++) {
		posters[i].id = i;
		posters[i].loop = cur->loop;
		assert_int_equal(pthread_create(&posters[i].thread, NULL, post_all, &posters[i]),
				 0);
	}
	assert_int_equal(pw_loop_run(cur->loop), 0);
	for (int i = 0; i < 2; i++)
		pthread_join(posters[i].thread, NULL);
	assert_int_equal(next_seq[0], NR_POSTS);
	assert_int_equal(next_seq[1], NR_POSTS);
}

static struct post ping;

static void *post_one(void *arg)
{
	pw_loop_post(cur->loop, &ping.msg);
	return NULL;
}

static int nr_pings;

static void on_ping(struct pw_loop_msg *m)
{
	nr_pings++;
	pw_loop_stop(cur->loop);
}

/* Each round the loop may be anywhere on its way to sleep: a lost wake-up hangs here. */
static void test_post__races_with_going_to_sleep(void **state)
{
	nr_pings = 0;
	ping.msg.fn = on_ping;
	for (int i = 0; i < 300; i++) {
		pthread_t t;

		assert_int_equal(pthread_create(&t, NULL, post_one, NULL), 0);
		assert_int_equal(pw_loop_run(cur->loop), 0);
		pthread_join(t, NULL);
	}
	assert_int_equal(nr_pings, 300);
}

/* Work that was queued before the first turn is submitted by the sleep itself. */
static void test_sleep__submits_what_is_queued(void **state)
{
	struct pw_loop_stats s;

	pw_ready_init(&cur->b, step_stop);
	assert_int_equal(pw_io_init(cur->loop, &cur->io, nop_done), 0);
	start_nop(&cur->io);
	assert_int_equal(pw_loop_run(cur->loop), 0);
	pw_loop_get_stats(cur->loop, &s);
	assert_int_equal(cur->nr_done, 1);
	assert_int_equal(s.sleeps, 1);
	pw_io_fini(cur->loop, &cur->io);
}

static void step_nop(struct pw_ready *r)
{
	pw_ready_init(&cur->b, step_stop);
	start_nop(&cur->io);
}

/* What completes with the submission that the sleep makes is found, or this hangs. */
static void test_sleep__looks_once_more_after_submitting(void **state)
{
	struct pw_loop_stats s;

	pw_ready_init(&cur->a, step_nop);
	assert_int_equal(pw_io_init(cur->loop, &cur->io, nop_done), 0);
	pw_loop_ready(cur->loop, &cur->a);
	assert_int_equal(pw_loop_run(cur->loop), 0);
	pw_loop_get_stats(cur->loop, &s);
	assert_int_equal(cur->nr_done, 1);
	assert_int_equal(s.turns, 2);
	assert_int_equal(s.submits, 2);
	pw_io_fini(cur->loop, &cur->io);
}

static void step_ready_again(struct pw_ready *r)
{
	if (++cur->nr_steps == 5)
		pw_loop_stop(cur->loop);
	else if (cur->nr_steps == 3)
		pw_timer_arm(cur->loop, &cur->timer, 0);
	else
		pw_loop_ready(cur->loop, r);
}

static void timer_makes_ready(struct pw_timer *t)
{
	pw_loop_ready(cur->loop, &cur->a);
}

/* No completion will ever come: only the ready list and a timer in the past keep it going. */
static void test_turn__does_not_sleep_with_work_in_hand(void **state)
{
	struct pw_loop_stats s;

	pw_timer_init(&cur->timer, timer_makes_ready);
	pw_ready_init(&cur->a, step_ready_again);
	pw_loop_ready(cur->loop, &cur->a);
	assert_int_equal(pw_loop_run(cur->loop), 0);
	pw_loop_get_stats(cur->loop, &s);
	assert_int_equal(s.sleeps, 0);
}

static void test_run__again_after_stop(void **state)
{
	pw_ready_init(&cur->b, step_stop);
	for (int i = 0; i < 3; i++) {
		pw_loop_ready(cur->loop, &cur->b);
		assert_int_equal(pw_loop_run(cur->loop), 0);
	}
	assert_string_equal(cur->order, "bbb");
	pw_loop_stop(cur->loop);
	assert_int_equal(pw_loop_run(cur->loop), 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_timer__fires_after_its_deadline),
		T(test_timer__armed_into_the_past_fires_in_the_next_turn),
		T(test_timer_cancel__does_not_fire),
		T(test_ready__made_ready_in_its_step_is_for_the_next_turn),
		T(test_ready_cancel__also_in_the_running_turn),
		T(test_turn__completion_then_ready_then_flush),
		T(test_flush_cancel__does_not_run),
		T(test_post__from_other_threads_in_order_and_none_lost),
		T(test_post__races_with_going_to_sleep),
		T(test_sleep__submits_what_is_queued),
		T(test_sleep__looks_once_more_after_submitting),
		T(test_turn__does_not_sleep_with_work_in_hand),
		T(test_run__again_after_stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
