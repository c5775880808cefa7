/* SPDX-License-Identifier: Apache-2.0 */
/* uring.c -- ring set-up, submission, the pw_io table, file descriptors that become readable
 *
 * What can fail: the kernel refuses the ring (reported by pw_loop_new()), the table is full
 * (pw_io_init()), or io_uring_enter() breaks while running: that is kept in ring_err and ends
 * pw_loop_run().
 */
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/err.h"
#include "common/fault.h"
#include "common/log.h"
#include "common/loop_impl.h"

#define REAP_BATCH 64u
#define REAP_BUDGET 256u

/* Slots that the loop itself needs: the eventfd. */
#define OWN_SLOTS 1u

static void keep_from_fork(struct io_uring *ring)
{
	size_t sqe_size = sizeof(struct io_uring_sqe) << !!(ring->flags & IORING_SETUP_SQE128);

	/* liburing 2.3's io_uring_ring_dontfork() counts 64 bytes per entry also for SQE128 */
	madvise(ring->sq.sqes, ring->sq.ring_entries * sqe_size, MADV_DONTFORK);
	madvise(ring->sq.ring_ptr, ring->sq.ring_sz, MADV_DONTFORK);
	if (ring->cq.ring_ptr != ring->sq.ring_ptr)
		madvise(ring->cq.ring_ptr, ring->cq.ring_sz, MADV_DONTFORK);
}

static int init_table(struct pw_loop *loop, uint32_t nr)
{
	loop->slot = calloc(nr, sizeof(*loop->slot));
	if (!loop->slot)
		return -ENOMEM;
	loop->nr_slots = nr;
	for (uint32_t i = 0; i < nr; i++) {
		loop->slot[i].gen = 1;
		loop->slot[i].next_free = i + 1 < nr ? i + 1 : UINT32_MAX;
	}
	return 0;
}

int pw_ring_init(struct pw_loop *loop, const struct pw_loop_opts *o)
{
	/* The best first; older kernels refuse what they do not know with -EINVAL.
	 * UNTESTED: all but the first, on a kernel that takes it. */
	static const unsigned int flags[] = {
		IORING_SETUP_SUBMIT_ALL | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SINGLE_ISSUER |
			IORING_SETUP_DEFER_TASKRUN,
		IORING_SETUP_SUBMIT_ALL | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_COOP_TASKRUN,
		0,
	};
	int err = PW_FAULT_ERR("loop.ring", -ENOMEM);

	if (!err)
		err = init_table(loop, o->max_ios + OWN_SLOTS);
	if (err)
		return err;
	for (size_t i = 0; i < PW_ARRAY_SIZE(flags); i++) {
		struct io_uring_params p = {
			.flags = flags[i] | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP |
				 (o->sqe128 ? IORING_SETUP_SQE128 : 0),
			.cq_entries = o->cq_entries ? o->cq_entries : 4 * o->sq_entries,
		};

		err = io_uring_queue_init_params(o->sq_entries, &loop->ring, &p);
		if (err != -EINVAL)
			break;
	}
	if (!err && !(loop->ring.features & IORING_FEAT_EXT_ARG)) {
		/* UNTESTED: kernels before 5.11; a timed sleep needs it */
		io_uring_queue_exit(&loop->ring);
		err = -ENOSYS;
	}
	if (err) {
		free(loop->slot);
		return err;
	}
	keep_from_fork(&loop->ring);
	return 0;
}

void pw_ring_fini(struct pw_loop *loop)
{
	io_uring_queue_exit(&loop->ring);
	free(loop->slot);
}

/* Submission: -EAGAIN, -EBUSY (no memory, completions first) and -EINTR pass; the rest means a dead
 * ring. */
static int check_enter(struct pw_loop *loop, int res)
{
	loop->stats.submits++;
	if (res >= 0 || res == -EINTR || res == -EAGAIN || res == -EBUSY || res == -ETIME)
		return res;
	/* UNTESTED: the kernel gives no other error for a ring that it accepted */
	if (!loop->ring_err)
		pw_log_err("loop: io_uring_enter failed, %s", pw_err_text(res));
	loop->ring_err = res;
	return res;
}

void pw_ring_poll(struct pw_loop *loop)
{
	check_enter(loop, io_uring_submit_and_get_events(&loop->ring));
}

/* With DEFER_TASKRUN a completion is posted by a system call of ours: the kernel says in the flags
 * that one waits for that, or that completions found no room (io_uring_setup(2)). */
bool pw_ring_wants_enter(const struct pw_loop *loop)
{
	return io_uring_sq_ready(&loop->ring) ||
	       __atomic_load_n(loop->ring.sq.kflags, __ATOMIC_RELAXED) &
		       (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW);
}

void pw_ring_sleep(struct pw_loop *loop, uint64_t deadline_ns)
{
	struct __kernel_timespec ts, *tsp = NULL;
	struct io_uring_cqe *cqe;

	if (deadline_ns != UINT64_MAX) {
		uint64_t left = deadline_ns > loop->now_ns ? deadline_ns - loop->now_ns : 0;

		ts.tv_sec = (int64_t)(left / PW_NS_PER_S);
		ts.tv_nsec = (long long)(left % PW_NS_PER_S);
		tsp = &ts;
	}
	loop->stats.sleeps++;
	check_enter(loop, io_uring_submit_and_wait_timeout(&loop->ring, &cqe, 1, tsp, NULL));
}

static void dispatch(struct pw_loop *loop, uint64_t ud, int res, uint32_t flags)
{
	uint32_t id = (uint32_t)ud, gen = (uint32_t)(ud >> 32);
	struct pw_io *io;

	if (ud == PW_UD_NOBODY)
		return;
	io = id < loop->nr_slots ? loop->slot[id].io : NULL;
	if (!io || loop->slot[id].gen != gen || !io->pending) {
		loop->stats.stale_cqes++;
		return;
	}
	if (!(flags & IORING_CQE_F_MORE)) {
		io->pending--;
		loop->nr_pending--;
	}
	io->done(io, res, flags);
}

uint32_t pw_ring_reap(struct pw_loop *loop)
{
	struct {
		uint64_t ud;
		int res;
		uint32_t flags;
	} batch[REAP_BATCH];
	uint32_t total = 0;

	while (total < REAP_BUDGET) {
		struct io_uring_cqe *cqe;
		unsigned int head, n = 0;

		/* Copied first: a handler may submit, and what it submits may complete at once. */
		io_uring_for_each_cqe(&loop->ring, head, cqe) {
			batch[n].ud = cqe->user_data;
			batch[n].res = cqe->res;
			batch[n].flags = cqe->flags;
			if (++n == REAP_BATCH)
				break;
		}
		if (!n)
			break;
		io_uring_cq_advance(&loop->ring, n);
		for (unsigned int i = 0; i < n; i++)
			dispatch(loop, batch[i].ud, batch[i].res, batch[i].flags);
		total += n;
		if (n < REAP_BATCH)
			break;
	}
	loop->stats.cqes += total;
	return total;
}

struct io_uring *pw_loop_ring(struct pw_loop *loop)
{
	return &loop->ring;
}

int pw_io_init(struct pw_loop *loop, struct pw_io *io, void (*done)(struct pw_io *, int, uint32_t))
{
	uint32_t id = loop->first_free;

	if (id == UINT32_MAX)
		return -ENOSPC;
	loop->first_free = loop->slot[id].next_free;
	loop->slot[id].io = io;
	io->id = id;
	io->gen = ++loop->slot[id].gen;
	io->pending = 0;
	io->done = done;
	return 0;
}

void pw_io_fini(struct pw_loop *loop, struct pw_io *io)
{
	struct pw_io_slot *s = &loop->slot[io->id];

	assert(s->io == io && s->gen == io->gen);
	assert(!io->pending);
	s->io = NULL;
	s->gen++;
	s->next_free = loop->first_free;
	loop->first_free = io->id;
}

static struct io_uring_sqe *get_sqe(struct pw_loop *loop)
{
	size_t size = sizeof(struct io_uring_sqe) << !!(loop->ring.flags & IORING_SETUP_SQE128);
	struct io_uring_sqe *sqe;

	while (!(sqe = io_uring_get_sqe(&loop->ring)) && !loop->ring_err)
		if (check_enter(loop, io_uring_submit(&loop->ring)) < 0)
			pw_ring_poll(loop);
	if (!sqe)
		sqe = &loop->spare.sqe;
	memset(sqe, 0, size);
	return sqe;
}

void pw_io_sqe_data(struct io_uring_sqe *sqe, const struct pw_io *io)
{
	sqe->user_data = (uint64_t)io->gen << 32 | io->id;
}

struct io_uring_sqe *pw_io_sqe(struct pw_loop *loop, struct pw_io *io)
{
	struct io_uring_sqe *sqe = get_sqe(loop);

	assert(!io->pending);
	io->pending = 1;
	loop->nr_pending++;
	pw_io_sqe_data(sqe, io);
	return sqe;
}

void pw_io_cancel(struct pw_loop *loop, struct pw_io *io)
{
	struct io_uring_sqe *sqe;

	if (!io->pending)
		return;
	sqe = get_sqe(loop);
	io_uring_prep_cancel64(sqe, (uint64_t)io->gen << 32 | io->id, 0);
	sqe->user_data = PW_UD_NOBODY;
}

static void arm_fd(struct pw_fd *f)
{
	struct io_uring_sqe *sqe = pw_io_sqe(f->loop, &f->io);

	io_uring_prep_poll_multishot(sqe, f->fd, POLLIN);
	pw_io_sqe_data(sqe, &f->io);
}

static void on_fd(struct pw_io *io, int res, uint32_t flags)
{
	struct pw_fd *f = pw_container_of(io, struct pw_fd, io);

	if (f->closing) {
		if (!io->pending) {
			pw_io_fini(f->loop, io);
			f->closed(f);
		}
		return;
	}
	/* The kernel ends a multishot when the completion queue is full, some versions with
	 * -ECANCELED. Armed before the owner drains: an edge in between is a completion more, not
	 * one less. */
	if (!io->pending && (res >= 0 || res == -ECANCELED))
		arm_fd(f);
	/* A descriptor that cannot be polled is handed to its owner once: the read will tell. */
	f->ready(f);
}

int pw_fd_start(struct pw_loop *loop, struct pw_fd *f, int fd, void (*ready)(struct pw_fd *f))
{
	int err = pw_io_init(loop, &f->io, on_fd);

	if (err)
		return err;
	f->loop = loop;
	f->fd = fd;
	f->closing = false;
	f->ready = ready;
	f->closed = NULL;
	arm_fd(f);
	return 0;
}

void pw_fd_stop(struct pw_fd *f, void (*closed)(struct pw_fd *f))
{
	if (f->closing)
		return;
	f->closing = true;
	f->closed = closed;
	if (f->io.pending) {
		pw_io_cancel(f->loop, &f->io);
		return;
	}
	/* no poll is out: a no-op brings the last completion */
	io_uring_prep_nop(pw_io_sqe(f->loop, &f->io));
}
