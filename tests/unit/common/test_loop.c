/* SPDX-License-Identifier: Apache-2.0 */
/* test_loop.c -- turns of the loop: order, timers, ready list, flush hooks, posts, pw_io, pw_fd */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/uring.h"

struct ctx {
	struct pw_loop *loop;
	struct pw_ready a, b;
	struct pw_timer timer, other;
	struct pw_flush flush;
	struct pw_io io;
	struct pw_fd fd;
	uint64_t armed_ns, fired_ns;
	int nr_steps, nr_done, nr_ready, nr_closed, last_res;
	uint32_t last_flags;
	char order[32];
};

static struct ctx *cur; /* of the test that runs */

static void mark(char c)
{
	size_t n = strlen(cur->order);

	assert_true(n + 1 < sizeof(cur->order));
	cur->order[n] = c;
}

static int setup_opts(void **state, const struct pw_loop_opts *o)
{
	int err;

	cur = calloc(1, sizeof(*cur));
	err = pw_loop_new(&cur->loop, o);
	if (err) {
		fprintf(stderr, "no io_uring here: %s\n", strerror(-err));
		return -1;
	}
	*state = cur;
	return 0;
}

static int setup(void **state)
{
	return setup_opts(state, &(struct pw_loop_opts){ .sq_entries = 8, .max_ios = 4 });
}

static int setup_sqe128(void **state)
{
	return setup_opts(state,
			  &(struct pw_loop_opts){ .sq_entries = 8, .max_ios = 4, .sqe128 = true });
}

static int setup_small_cq(void **state)
{
	return setup_opts(state,
			  &(struct pw_loop_opts){ .sq_entries = 8, .cq_entries = 8, .max_ios = 4 });
}

static int setup_spin(void **state)
{
	return setup_opts(state, &(struct pw_loop_opts){ .sq_entries = 8, .max_ios = 4, .spin_us = 2000 });
}

static int teardown(void **state)
{
	pw_loop_free(cur->loop);
	free(cur);
	cur = NULL;
	return 0;
}

static void stop_on_timer(struct pw_timer *t)
{
	mark('t');
	cur->fired_ns = pw_loop_now(cur->loop);
	pw_loop_stop(cur->loop);
}

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

static void nop_done(struct pw_io *io, int res, uint32_t flags)
{
	mark('c');
	cur->nr_done++;
	cur->last_res = res;
	cur->last_flags = flags;
	pw_loop_ready(cur->loop, &cur->b);
}

static void start_nop(struct pw_io *io)
{
	struct io_uring_sqe *sqe = pw_io_sqe(cur->loop, io);

	io_uring_prep_nop(sqe);
	pw_io_sqe_data(sqe, io);
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
		assert_int_equal(pthread_create(&posters[i].thread, NULL, post_all, &posters[i]), 0);
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

/* Each round the loop may be anywhere between its last look and its sleep: a lost wake-up hangs here. */
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

static void step_stop(struct pw_ready *r)
{
	mark('b');
	pw_loop_stop(cur->loop);
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
	struct pw_loop_stats s;

	pw_loop_get_stats(cur->loop, &s);
	cur->nr_steps = (int)s.sleeps;
	pw_ready_init(&cur->b, step_stop);
	start_nop(&cur->io);
}

/* A completion that is there after the submission of a turn that did work is found without a sleep. */
static void test_turn__polls_once_more_before_it_sleeps(void **state)
{
	struct pw_loop_stats s;

	pw_ready_init(&cur->a, step_nop);
	assert_int_equal(pw_io_init(cur->loop, &cur->io, nop_done), 0);
	pw_loop_ready(cur->loop, &cur->a);
	assert_int_equal(pw_loop_run(cur->loop), 0);
	pw_loop_get_stats(cur->loop, &s);
	assert_int_equal(s.sleeps, cur->nr_steps);
	assert_int_equal(cur->nr_done, 1);
	pw_io_fini(cur->loop, &cur->io);
}

static void test_spin__polls_in_its_window(void **state)
{
	struct pw_loop_stats s;

	pw_timer_init(&cur->timer, rearm_into_past);
	cur->nr_steps = 1;
	pw_timer_arm(cur->loop, &cur->timer, 0);
	assert_int_equal(pw_loop_run(cur->loop), 0);
	pw_timer_init(&cur->timer, stop_on_timer);
	pw_timer_arm(cur->loop, &cur->timer, pw_loop_now(cur->loop) + PW_NS_PER_MS);
	assert_int_equal(pw_loop_run(cur->loop), 0);
	pw_loop_get_stats(cur->loop, &s);
	assert_true(s.sleeps <= 1);
	assert_true(s.turns > 10);
}

static void test_io_init__table_full(void **state)
{
	struct pw_io io[5];

	for (int i = 0; i < 4; i++)
		assert_int_equal(pw_io_init(cur->loop, &io[i], nop_done), 0);
	assert_int_equal(pw_io_init(cur->loop, &io[4], nop_done), -ENOSPC);
	pw_io_fini(cur->loop, &io[2]);
	assert_int_equal(pw_io_init(cur->loop, &io[4], nop_done), 0);
	assert_int_equal(io[4].id, io[2].id);
	assert_int_not_equal(io[4].gen, io[2].gen);
	for (int i = 0; i < 5; i++)
		if (i != 2)
			pw_io_fini(cur->loop, &io[i]);
}

static void queue_raw_nop(uint64_t user_data)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(pw_loop_ring(cur->loop));

	assert_non_null(sqe);
	io_uring_prep_nop(sqe);
	sqe->user_data = user_data;
}

static void test_cqe__stale_or_foreign_is_dropped_and_counted(void **state)
{
	struct pw_loop_stats s;
	struct pw_io old;

	pw_ready_init(&cur->b, step_stop);
	assert_int_equal(pw_io_init(cur->loop, &old, nop_done), 0);
	pw_io_fini(cur->loop, &old);
	assert_int_equal(pw_io_init(cur->loop, &cur->io, nop_done), 0);
	assert_int_equal(cur->io.id, old.id);
	queue_raw_nop((uint64_t)old.gen << 32 | old.id); /* an older generation */
	queue_raw_nop((uint64_t)cur->io.gen << 32 | 1000); /* no such slot */
	queue_raw_nop((uint64_t)cur->io.gen << 32 | cur->io.id); /* nothing was submitted by it */
	start_nop(&cur->io);
	assert_int_equal(pw_loop_run(cur->loop), 0);
	pw_loop_get_stats(cur->loop, &s);
	/* the third forged one, or the real one, is taken for it: never both */
	assert_int_equal(cur->nr_done, 1);
	assert_int_equal(s.stale_cqes, 3);
	pw_io_fini(cur->loop, &cur->io);
}

static void count_done(struct pw_io *io, int res, uint32_t flags)
{
	cur->last_res = res;
	if (++cur->nr_done == 20)
		pw_loop_stop(cur->loop);
	else if (cur->nr_done > 20)
		fail();
}

/* More submissions in one turn than the ring has entries. */
static void test_io_sqe__ring_full_submits(void **state)
{
	struct pw_loop *big;
	struct pw_io io[20];

	assert_int_equal(pw_loop_new(&big, &(struct pw_loop_opts){ .sq_entries = 4, .max_ios = 20 }), 0);
	for (int i = 0; i < 20; i++) {
		struct io_uring_sqe *sqe;

		assert_int_equal(pw_io_init(big, &io[i], count_done), 0);
		sqe = pw_io_sqe(big, &io[i]);
		io_uring_prep_nop(sqe);
	}
	/* count_done() stops cur->loop: run this one by hand */
	struct pw_loop *mine = cur->loop;

	cur->loop = big;
	assert_int_equal(pw_loop_run(big), 0);
	cur->loop = mine;
	assert_int_equal(cur->nr_done, 20);
	for (int i = 0; i < 20; i++)
		pw_io_fini(big, &io[i]);
	pw_loop_free(big);
}

static void test_io_sqe__zeroes_all_128_bytes(void **state)
{
	uint8_t zero[128] = { 0 };
	struct io_uring_sqe *sqe;

	pw_ready_init(&cur->b, step_stop);
	assert_int_equal(pw_io_init(cur->loop, &cur->io, nop_done), 0);
	for (int i = 0; i < 20; i++) {
		sqe = pw_io_sqe(cur->loop, &cur->io);
		assert_int_equal(sqe->user_data >> 32, cur->io.gen);
		sqe->user_data = 0;
		assert_memory_equal(sqe, zero, 128);
		memset(sqe, 0xff, 128);
		memset(sqe, 0, 64);
		io_uring_prep_nop(sqe);
		pw_io_sqe_data(sqe, &cur->io);
		assert_int_equal(pw_loop_run(cur->loop), 0);
		memset(cur->order, 0, sizeof(cur->order));
	}
	assert_int_equal(cur->nr_done, 20);
	pw_io_fini(cur->loop, &cur->io);
}

static void test_io_cancel__last_completion_still_comes(void **state)
{
	int p[2];
	char c;
	struct io_uring_sqe *sqe;

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	pw_ready_init(&cur->b, step_stop);
	assert_int_equal(pw_io_init(cur->loop, &cur->io, nop_done), 0);
	pw_io_cancel(cur->loop, &cur->io); /* nothing is out: nothing happens */
	sqe = pw_io_sqe(cur->loop, &cur->io);
	io_uring_prep_read(sqe, p[0], &c, 1, 0);
	pw_io_sqe_data(sqe, &cur->io);
	pw_io_cancel(cur->loop, &cur->io);
	assert_int_equal(pw_loop_run(cur->loop), 0);
	assert_int_equal(cur->last_res, -ECANCELED);
	assert_int_equal(cur->io.pending, 0);
	pw_io_fini(cur->loop, &cur->io);
	close(p[0]);
	close(p[1]);
}

static void fd_closed(struct pw_fd *f)
{
	cur->nr_closed++;
	pw_loop_stop(cur->loop);
}

static void fd_ready(struct pw_fd *f)
{
	eventfd_t v;

	cur->nr_ready++;
	while (eventfd_read(f->fd, &v) == 0)
		;
	assert_int_equal(errno, EAGAIN);
	pw_loop_stop(cur->loop);
}

static void test_fd__every_edge_then_closed_once(void **state)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	assert_int_equal(pw_fd_start(cur->loop, &cur->fd, fd, fd_ready), 0);
	for (int i = 1; i <= 5; i++) {
		eventfd_write(fd, 1);
		assert_int_equal(pw_loop_run(cur->loop), 0);
		assert_int_equal(cur->nr_ready, i);
	}
	pw_fd_stop(&cur->fd, fd_closed);
	pw_fd_stop(&cur->fd, fd_closed);
	assert_int_equal(cur->nr_closed, 0);
	eventfd_write(fd, 1);
	assert_int_equal(pw_loop_run(cur->loop), 0);
	assert_int_equal(cur->nr_closed, 1);
	assert_int_equal(cur->nr_ready, 5);
	close(fd);
}

static void (*real_done)(struct pw_io *io, int res, uint32_t flags);

/* Sees the completions of a pw_fd before the loop does. */
static void spy_done(struct pw_io *io, int res, uint32_t flags)
{
	if (!(flags & IORING_CQE_F_MORE))
		cur->nr_done++;
	real_done(io, res, flags);
}

static void start_spied_fd(int fd)
{
	assert_int_equal(pw_fd_start(cur->loop, &cur->fd, fd, fd_ready), 0);
	real_done = cur->fd.io.done;
	cur->fd.io.done = spy_done;
}

static void check_edges_then_stop(int fd)
{
	for (int i = 0; i < 3; i++) {
		cur->nr_ready = 0;
		eventfd_write(fd, 1);
		assert_int_equal(pw_loop_run(cur->loop), 0);
		assert_true(cur->nr_ready >= 1);
	}
	pw_fd_stop(&cur->fd, fd_closed);
	while (!cur->nr_closed)
		assert_int_equal(pw_loop_run(cur->loop), 0);
	close(fd);
}

static void test_fd__rearmed_when_the_poll_is_cancelled(void **state)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct io_uring_sqe *sqe;

	start_spied_fd(fd);
	sqe = io_uring_get_sqe(pw_loop_ring(cur->loop));
	io_uring_prep_cancel64(sqe, (uint64_t)cur->fd.io.gen << 32 | cur->fd.io.id, 0);
	sqe->user_data = UINT64_MAX;
	assert_int_equal(pw_loop_run(cur->loop), 0);
	assert_int_equal(cur->nr_done, 1);
	assert_int_equal(cur->fd.io.pending, 1);
	check_edges_then_stop(fd);
}

static void step_fill_cq(struct pw_ready *r)
{
	for (int i = 0; i < 8; i++)
		queue_raw_nop(UINT64_MAX);
	eventfd_write(cur->fd.fd, 1);
}

/* Eight entries, eight no-ops, and then the poll has something to say. */
static void test_fd__rearmed_when_the_queue_was_full(void **state)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	start_spied_fd(fd);
	eventfd_write(fd, 1);
	assert_int_equal(pw_loop_run(cur->loop), 0); /* the poll is armed now */
	pw_ready_init(&cur->a, step_fill_cq);
	pw_loop_ready(cur->loop, &cur->a);
	assert_int_equal(pw_loop_run(cur->loop), 0);
	assert_int_equal(cur->nr_ready, 2);
	assert_int_equal(cur->nr_done, 1);
	check_edges_then_stop(fd);
}

static void fd_ready_stops(struct pw_fd *f)
{
	cur->nr_ready++;
	pw_fd_stop(f, fd_closed);
}

static void test_fd__stopped_in_its_own_handler(void **state)
{
	int fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);

	assert_int_equal(pw_fd_start(cur->loop, &cur->fd, fd, fd_ready_stops), 0);
	assert_int_equal(pw_loop_run(cur->loop), 0);
	assert_int_equal(cur->nr_ready, 1);
	assert_int_equal(cur->nr_closed, 1);
	close(fd);
}

static void test_fd__that_cannot_be_polled_is_told_once(void **state)
{
	int fd = eventfd(0, EFD_CLOEXEC);

	close(fd);
	assert_int_equal(pw_fd_start(cur->loop, &cur->fd, fd, fd_ready_stops), 0);
	assert_int_equal(pw_loop_run(cur->loop), 0);
	assert_int_equal(cur->nr_ready, 1);
	assert_int_equal(cur->nr_closed, 1);
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
		T(test_turn__polls_once_more_before_it_sleeps),
		cmocka_unit_test_setup_teardown(test_spin__polls_in_its_window, setup_spin, teardown),
		T(test_io_init__table_full),
		T(test_cqe__stale_or_foreign_is_dropped_and_counted),
		T(test_io_sqe__ring_full_submits),
		cmocka_unit_test_setup_teardown(test_io_sqe__zeroes_all_128_bytes, setup_sqe128, teardown),
		T(test_io_cancel__last_completion_still_comes),
		T(test_fd__every_edge_then_closed_once),
		T(test_fd__rearmed_when_the_poll_is_cancelled),
		cmocka_unit_test_setup_teardown(test_fd__rearmed_when_the_queue_was_full, setup_small_cq,
						teardown),
		T(test_fd__stopped_in_its_own_handler),
		T(test_fd__that_cannot_be_polled_is_told_once),
		T(test_run__again_after_stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
