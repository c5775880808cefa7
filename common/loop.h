/* SPDX-License-Identifier: Apache-2.0 */
/* loop.h -- the one loop of a shard: clock, timers, ready list
 *
 * One thread = one shard = one loop. The loop sleeps at one place (io_uring, see uring.h) and calls
 * ready objects from there, once per turn, never recursively: a completion stores its result and
 * makes its owner ready. This header is the link-time seam of the simulation: loop.c implements it
 * with the monotonic clock and io_uring, tests/sim/lib with a virtual clock. Code that decides uses
 * nothing else.
 * Thread: the loop's own, but for pw_loop_wake().
 */
#ifndef PW_LOOP_H
#define PW_LOOP_H

#include "common/compiler.h"
#include "common/list.h"

struct pw_loop;

/* How long queues of devices are polled. A queue depth of one over RDMA brings something every 30
 * to 50 us, of which FUSE takes the most. */
#define PW_POLL_US_DEFAULT 50
#define PW_POLL_US_MAX 1000000

/* A deadline inside the object that it guards; that object's fini cancels it. */
struct pw_timer {
	uint64_t deadline_ns; /* on pw_loop_now()'s clock */
	uint32_t heap_idx; /* UINT32_MAX: not armed */
	void (*fn)(struct pw_timer *t);
};

/* An object whose step is due; it may make itself ready again, for the next turn. */
struct pw_ready {
	struct pw_list node;
	void (*step)(struct pw_ready *r);
};

/* Time of this turn: monotonic nanoseconds, constant within a turn. */
uint64_t pw_loop_now(const struct pw_loop *loop);

/* Wall clock, nanoseconds since 1970; only for what users see (mtime). Never for a decision. */
uint64_t pw_loop_realtime(const struct pw_loop *loop);

void pw_timer_init(struct pw_timer *t, void (*fn)(struct pw_timer *t));
/* (Re)arms; a deadline in the past fires in the next turn. Never calls @t->fn before returning. */
void pw_timer_arm(struct pw_loop *loop, struct pw_timer *t, uint64_t deadline_ns);
void pw_timer_cancel(struct pw_loop *loop, struct pw_timer *t);
static inline bool pw_timer_armed(const struct pw_timer *t)
{
	return t->heap_idx != UINT32_MAX;
}

void pw_ready_init(struct pw_ready *r, void (*step)(struct pw_ready *r));
/* Idempotent until the step has run. */
void pw_loop_ready(struct pw_loop *loop, struct pw_ready *r);
void pw_ready_cancel(struct pw_ready *r);

#endif
