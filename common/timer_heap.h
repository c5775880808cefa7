/* SPDX-License-Identifier: Apache-2.0 */
/* timer_heap.h -- binary heap of struct pw_timer by deadline; shared by loop.c and the simulation
 *
 * The order depends on nothing but the calls, so that a simulated run repeats by its seed.
 * Thread: the loop's own.      Allocates: grows by doubling, never shrinks.
 */
#ifndef PW_TIMER_HEAP_H
#define PW_TIMER_HEAP_H

#include "common/loop.h"

struct pw_timer_heap {
	/* owns the array; borrows the timers until they fired or were cancelled */
	struct pw_timer **slot;
	uint32_t nr, cap;
};

/* Return: 0 or -ENOMEM. */
int pw_timer_heap_init(struct pw_timer_heap *h);
/* Timers that are still armed are forgotten (not armed any more). */
void pw_timer_heap_fini(struct pw_timer_heap *h);

/* (Re)arms. A deadline that is not after @now_ns becomes @now_ns + 1: a timer that arms itself into
 * the past fires in the next turn, not for ever in this one. */
void pw_timer_heap_arm(struct pw_timer_heap *h, struct pw_timer *t, uint64_t deadline_ns,
		       uint64_t now_ns);
/* Safe on a timer that is not armed. */
void pw_timer_heap_cancel(struct pw_timer_heap *h, struct pw_timer *t);

/* UINT64_MAX: none is armed. */
static inline uint64_t pw_timer_heap_next(const struct pw_timer_heap *h)
{
	return h->nr ? h->slot[0]->deadline_ns : UINT64_MAX;
}

/* Takes off the first timer that is due at @now_ns, NULL when none is. The caller calls its fn. */
struct pw_timer *pw_timer_heap_pop_due(struct pw_timer_heap *h, uint64_t now_ns);

#endif
