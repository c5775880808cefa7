/* SPDX-License-Identifier: Apache-2.0 */
/* vloop.c -- a loop of timers and ready objects on a virtual clock */
#include <stdlib.h>
#include <string.h>

#include "common/random.h"
#include "common/timer_heap.h"

#include "vloop.h"

#define TURNS_MAX 100000u

struct pw_loop {
	uint64_t now_ns;
	struct pw_timer_heap timers;
	struct pw_list ready, running;
};

static uint64_t seed_state = 1;

void vrandom_seed(uint64_t seed)
{
	seed_state = seed * 0x9e3779b97f4a7c15ull + 1;
}

uint64_t pw_random_u64(void)
{
	uint64_t z = seed_state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

uint64_t pw_random_below(uint64_t n)
{
	return n ? pw_random_u64() % n : 0;
}

void pw_random_bytes(void *buf, size_t len)
{
	for (size_t i = 0; i < len; i++)
		((uint8_t *)buf)[i] = (uint8_t)pw_random_u64();
}

uint64_t pw_loop_now(const struct pw_loop *loop)
{
	return loop->now_ns;
}

uint64_t pw_loop_realtime(const struct pw_loop *loop)
{
	return loop->now_ns;
}

void pw_timer_init(struct pw_timer *t, void (*fn)(struct pw_timer *t))
{
	*t = (struct pw_timer){ .heap_idx = UINT32_MAX, .fn = fn };
}

void pw_timer_arm(struct pw_loop *loop, struct pw_timer *t, uint64_t deadline_ns)
{
	pw_timer_heap_arm(&loop->timers, t, deadline_ns, loop->now_ns);
}

void pw_timer_cancel(struct pw_loop *loop, struct pw_timer *t)
{
	pw_timer_heap_cancel(&loop->timers, t);
}

void pw_ready_init(struct pw_ready *r, void (*step)(struct pw_ready *r))
{
	pw_list_init(&r->node);
	r->step = step;
}

void pw_loop_ready(struct pw_loop *loop, struct pw_ready *r)
{
	if (pw_list_empty(&r->node))
		pw_list_add_tail(&loop->ready, &r->node);
}

void pw_ready_cancel(struct pw_ready *r)
{
	pw_list_del(&r->node);
}

struct pw_loop *vloop_new(void)
{
	struct pw_loop *l = calloc(1, sizeof(*l));

	if (!l || pw_timer_heap_init(&l->timers))
		abort();
	l->now_ns = PW_NS_PER_S;
	pw_list_init(&l->ready);
	pw_list_init(&l->running);
	return l;
}

void vloop_free(struct pw_loop *l)
{
	pw_timer_heap_fini(&l->timers);
	free(l);
}

uint32_t vloop_turn(struct pw_loop *l)
{
	struct pw_timer *t;
	struct pw_list *n;
	uint32_t done = 0;

	while ((t = pw_timer_heap_pop_due(&l->timers, l->now_ns))) {
		t->fn(t);
		done++;
	}
	pw_list_splice_tail(&l->running, &l->ready);
	while ((n = pw_list_pop(&l->running))) {
		struct pw_ready *r = pw_list_entry(n, struct pw_ready, node);

		r->step(r);
		done++;
	}
	return done;
}

void vloop_settle(struct pw_loop *l)
{
	for (uint32_t i = 0; vloop_turn(l); i++)
		if (i == TURNS_MAX)
			abort();
}

void vloop_advance(struct pw_loop *l, uint64_t ns)
{
	uint64_t end = l->now_ns + ns;

	vloop_settle(l);
	while (pw_timer_heap_next(&l->timers) <= end) {
		l->now_ns = PW_MAX(l->now_ns, pw_timer_heap_next(&l->timers));
		vloop_settle(l);
	}
	l->now_ns = end;
}

bool vloop_run_until(struct pw_loop *l, const bool *flag)
{
	for (uint32_t i = 0; i < TURNS_MAX && !*flag; i++) {
		uint64_t next;

		if (vloop_turn(l))
			continue;
		next = pw_timer_heap_next(&l->timers);
		if (next == UINT64_MAX)
			break;
		l->now_ns = PW_MAX(l->now_ns, next);
	}
	return *flag;
}
