/* SPDX-License-Identifier: Apache-2.0 */
/* test_uring.c -- the pw_io table, submission, completions that are stale, pw_fd */
#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "loop_ctx.h"

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

	assert_int_equal(
		pw_loop_new(&big, &(struct pw_loop_opts){ .sq_entries = 4, .max_ios = 20 }), 0);
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

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_io_init__table_full),
		T(test_cqe__stale_or_foreign_is_dropped_and_counted),
		T(test_io_sqe__ring_full_submits),
		cmocka_unit_test_setup_teardown(test_io_sqe__zeroes_all_128_bytes, setup_sqe128,
						teardown),
		T(test_io_cancel__last_completion_still_comes),
		T(test_fd__every_edge_then_closed_once),
		T(test_fd__rearmed_when_the_poll_is_cancelled),
		cmocka_unit_test_setup_teardown(test_fd__rearmed_when_the_queue_was_full,
						setup_small_cq, teardown),
		T(test_fd__stopped_in_its_own_handler),
		T(test_fd__that_cannot_be_polled_is_told_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
