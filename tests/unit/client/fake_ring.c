/* SPDX-License-Identifier: Apache-2.0 */
/* fake_ring.c -- see fake_ring.h */
#include "fake_ring.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

struct fake_ring fake_ring;

/* Nobody looks into it here. */
static uint64_t a_loop;

struct pw_loop *fake_ring_reset(void)
{
	memset(&fake_ring, 0, sizeof(fake_ring));
	return (struct pw_loop *)(void *)&a_loop;
}

void fake_ring_complete(uint32_t idx, int res)
{
	struct fake_sqe *f = &fake_ring.q[idx];

	assert(idx < fake_ring.nr && !f->done);
	f->done = true;
	f->io->pending = 0;
	f->io->done(f->io, res, 0);
}

int pw_io_init(struct pw_loop *loop, struct pw_io *io, void (*done)(struct pw_io *, int, uint32_t))
{
	(void)loop;
	if (fake_ring.max_ios && fake_ring.nr_ios == fake_ring.max_ios)
		return -ENOSPC;
	*io = (struct pw_io){ .id = fake_ring.nr_ios++, .done = done };
	return 0;
}

void pw_io_fini(struct pw_loop *loop, struct pw_io *io)
{
	(void)loop;
	assert(!io->pending);
	fake_ring.nr_ios--;
}

struct io_uring_sqe *pw_io_sqe(struct pw_loop *loop, struct pw_io *io)
{
	struct fake_sqe *f = &fake_ring.q[fake_ring.nr++];

	(void)loop;
	assert(fake_ring.nr <= FAKE_SQES);
	assert(!io->pending);
	io->pending = 1;
	f->io = io;
	return &f->sqe;
}

/* Time stands still: a test calls @t->fn itself. */

uint64_t pw_loop_now(const struct pw_loop *loop)
{
	(void)loop;
	return 1;
}

void pw_timer_init(struct pw_timer *t, void (*fn)(struct pw_timer *t))
{
	*t = (struct pw_timer){ .heap_idx = UINT32_MAX, .fn = fn };
}

void pw_timer_arm(struct pw_loop *loop, struct pw_timer *t, uint64_t deadline_ns)
{
	(void)loop;
	t->deadline_ns = deadline_ns;
	t->heap_idx = 0;
}

void pw_timer_cancel(struct pw_loop *loop, struct pw_timer *t)
{
	(void)loop;
	t->heap_idx = UINT32_MAX;
}
