/* SPDX-License-Identifier: Apache-2.0 */
/* timer_heap.c -- see timer_heap.h; children of i are 2i + 1 and 2i + 2 */
#include "common/timer_heap.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "common/log.h"

/* One timer per request and connection: 4096 pointers hold more than a shard's slots. */
#define START_CAP 4096u

static void put(struct pw_timer_heap *h, uint32_t i, struct pw_timer *t)
{
	h->slot[i] = t;
	t->heap_idx = i;
}

static void sift_up(struct pw_timer_heap *h, uint32_t i, struct pw_timer *t)
{
	while (i > 0) {
		uint32_t parent = (i - 1) / 2;

		if (h->slot[parent]->deadline_ns <= t->deadline_ns)
			break;
		put(h, i, h->slot[parent]);
		i = parent;
	}
	put(h, i, t);
}

static void sift_down(struct pw_timer_heap *h, uint32_t i, struct pw_timer *t)
{
	for (;;) {
		uint32_t child = 2 * i + 1;

		if (child >= h->nr)
			break;
		if (child + 1 < h->nr &&
		    h->slot[child + 1]->deadline_ns < h->slot[child]->deadline_ns)
			child++;
		if (t->deadline_ns <= h->slot[child]->deadline_ns)
			break;
		put(h, i, h->slot[child]);
		i = child;
	}
	put(h, i, t);
}

/* Position @i has lost its timer; @t goes there, or where it belongs. */
static void settle(struct pw_timer_heap *h, uint32_t i, struct pw_timer *t)
{
	if (i > 0 && h->slot[(i - 1) / 2]->deadline_ns > t->deadline_ns)
		sift_up(h, i, t);
	else
		sift_down(h, i, t);
}

static void grow(struct pw_timer_heap *h)
{
	struct pw_timer **slot = reallocarray(h->slot, 2 * (size_t)h->cap, sizeof(void *));

	if (!slot) {
		/* UNTESTED: a lost deadline would hang a request for ever, so this ends the process
		 * */
		pw_log_err("timers: out of memory with %u armed", h->nr);
		abort();
	}
	h->slot = slot;
	h->cap *= 2;
}

int pw_timer_heap_init(struct pw_timer_heap *h)
{
	h->nr = 0;
	h->cap = START_CAP;
	h->slot = calloc(h->cap, sizeof(void *));
	return h->slot ? 0 : -ENOMEM;
}

void pw_timer_heap_fini(struct pw_timer_heap *h)
{
	for (uint32_t i = 0; i < h->nr; i++)
		h->slot[i]->heap_idx = UINT32_MAX;
	free(h->slot);
	h->slot = NULL;
	h->nr = h->cap = 0;
}

void pw_timer_heap_arm(struct pw_timer_heap *h, struct pw_timer *t, uint64_t deadline_ns,
		       uint64_t now_ns)
{
	t->deadline_ns = PW_MAX(deadline_ns, now_ns + 1);
	if (pw_timer_armed(t)) {
		settle(h, t->heap_idx, t);
		return;
	}
	if (h->nr == h->cap)
		grow(h);
	sift_up(h, h->nr++, t);
}

void pw_timer_heap_cancel(struct pw_timer_heap *h, struct pw_timer *t)
{
	uint32_t i = t->heap_idx;
	struct pw_timer *last;

	if (i == UINT32_MAX)
		return;
	assert(i < h->nr && h->slot[i] == t);
	t->heap_idx = UINT32_MAX;
	last = h->slot[--h->nr];
	if (last != t)
		settle(h, i, last);
}

struct pw_timer *pw_timer_heap_pop_due(struct pw_timer_heap *h, uint64_t now_ns)
{
	struct pw_timer *t;

	if (pw_timer_heap_next(h) > now_ns || !h->nr)
		return NULL;
	t = h->slot[0];
	pw_timer_heap_cancel(h, t);
	return t;
}
