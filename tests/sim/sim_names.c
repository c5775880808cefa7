/* SPDX-License-Identifier: Apache-2.0 */
/* sim_names.c -- is the history of names linearizable?
 *
 * The whole namespace is one object with a small state. The history is walked in the order of its
 * ticks with the set of all states that it allows. An operation takes effect at some point between
 * its begin and its end: when one ends, every state in which it has not happened yet is led there
 * through all sequences of operations that are under way. Results are known when this runs, so
 * wrong guesses die at once. An empty set is a violation.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim_names.h"

#define MAX_STATES 8000u

enum event_kind { EV_BEGIN, EV_END, EV_SYNCED, EV_POWER };

struct event {
	uint64_t tick;
	enum event_kind kind;
	uint32_t op;
	uint64_t inv; /* SYNCED */
};

struct set {
	struct sim_ns_state *s; /* owns */
	uint32_t nr, cap;
	uint32_t *bucket; /* owns; index + 1 */
	uint32_t nr_buckets;
};

static struct {
	struct sim_ns_op **op; /* owns, each of them too */
	uint32_t nr, cap;
	struct event *ev; /* owns */
	uint32_t nr_ev, cap_ev;
	uint32_t pending[64]; /* op + 1 of each bit of state.done; 0: free */
	struct set now, past; /* past: states since the last fsync, for durability = interval */
	/* owns: when each state of past was last the one; as many as past.cap */
	uint64_t *past_tick;
	uint32_t cap_past_tick;
	bool past_full;
} h;

static void *grow(void *p, uint32_t nr, uint32_t *cap, size_t size)
{
	if (nr < *cap)
		return p;
	*cap = *cap ? 2 * *cap : 64;
	return sim_realloc(p, *cap * size);
}

/* Sets of states ----------------------------------------------------------------------------- */

static uint64_t hash_of(const struct sim_ns_state *s)
{
	const uint64_t *w = (const uint64_t *)s;
	uint64_t v = 0;

	for (size_t i = 0; i < sizeof(*s) / sizeof(*w); i++)
		v = (v ^ w[i]) * 0x9e3779b97f4a7c15ull, v ^= v >> 29;
	return v;
}

static void rehash(struct set *set)
{
	set->nr_buckets = set->nr_buckets ? 2 * set->nr_buckets : 64;
	sim_free(set->bucket);
	set->bucket = sim_alloc(set->nr_buckets * sizeof(*set->bucket));
	for (uint32_t i = 0; i < set->nr; i++) {
		uint64_t at = hash_of(&set->s[i]);

		while (set->bucket[at & (set->nr_buckets - 1)])
			at++;
		set->bucket[at & (set->nr_buckets - 1)] = i + 1;
	}
}

/* Where it is in the set; added when it was not there. */
static uint32_t set_find(struct set *set, const struct sim_ns_state *s)
{
	uint64_t at;
	uint32_t i;

	if (2 * (set->nr + 1) > set->nr_buckets)
		rehash(set);
	for (at = hash_of(s); (i = set->bucket[at & (set->nr_buckets - 1)]); at++)
		if (!memcmp(&set->s[i - 1], s, sizeof(*s)))
			return i - 1;
	set->s = grow(set->s, set->nr, &set->cap, sizeof(*set->s));
	set->s[set->nr++] = *s;
	set->bucket[at & (set->nr_buckets - 1)] = set->nr;
	return set->nr - 1;
}

/* false: it was there already. */
static bool set_add(struct set *set, const struct sim_ns_state *s)
{
	uint32_t nr = set->nr;

	return set_find(set, s) == nr;
}

static void set_fini(struct set *set)
{
	sim_free(set->s);
	sim_free(set->bucket);
	*set = (struct set){ .nr = 0 };
}

/* History ------------------------------------------------------------------------------------ */

struct sim_ns_op *sim_names_begin(void)
{
	struct sim_ns_op *op = sim_alloc(sizeof(*op));

	h.op = grow(h.op, h.nr, &h.cap, sizeof(*h.op));
	h.op[h.nr++] = op;
	return op;
}

static void add_event(uint64_t tick, enum event_kind kind, uint32_t op, uint64_t inv)
{
	h.ev = grow(h.ev, h.nr_ev, &h.cap_ev, sizeof(*h.ev));
	h.ev[h.nr_ev++] = (struct event){ tick, kind, op, inv };
}

void sim_names_power_cut(void)
{
	add_event(++sim.tick, EV_POWER, 0, 0);
}

void sim_names_synced(uint64_t inv)
{
	add_event(++sim.tick, EV_SYNCED, 0, inv);
}

/* The walk ----------------------------------------------------------------------------------- */

static void remember(const struct sim_ns_state *s, uint64_t tick)
{
	uint32_t i;

	if (!sim.sw.interval)
		return;
	h.past_full |= h.past.nr >= MAX_STATES;
	if (h.past_full)
		return;
	i = set_find(&h.past, s);
	h.past_tick = grow(h.past_tick, i, &h.cap_past_tick, sizeof(*h.past_tick));
	h.past_tick[i] = tick;
}

static void begin(uint32_t op, uint64_t tick)
{
	for (uint32_t bit = 0; bit < 64; bit++) {
		if (h.pending[bit])
			continue;
		h.pending[bit] = op + 1;
		return;
	}
	/* one that never ends makes room: it has had its time */
	for (uint32_t bit = 0; bit < 64; bit++) {
		const struct sim_ns_op *old = h.op[h.pending[bit] - 1];

		if (old->resp && !old->unknown)
			continue;
		for (uint32_t i = 0; i < h.now.nr; i++)
			h.now.s[i].done &= ~(1ull << bit);
		h.pending[bit] = op + 1;
		return;
	}
	sim_fail("names: more than 64 operations under way at tick %llu", (unsigned long long)tick);
}

/* With this result it changes nothing in one state (two names of one file) and something in
 * another: when it happens matters either way. */
static bool may_change(const struct sim_ns_op *op)
{
	return op->op == PW_OP_RENAME && op->resp && !op->unknown && !op->err &&
	       (op->parent != op->parent2 || op->name != op->name2);
}

/* What has its known result here and changes nothing happens at once: nothing is lost by that. */
static void normalize(struct sim_ns_state *s)
{
	for (uint32_t bit = 0; bit < 64; bit++) {
		struct sim_ns_state t = *s;
		const struct sim_ns_op *op;

		if (!h.pending[bit] || s->done & 1ull << bit)
			continue;
		op = h.op[h.pending[bit] - 1];
		if (may_change(op))
			continue;
		if (op->resp && !op->unknown && sim_ns_apply(&t, op) && !memcmp(&t, s, sizeof(t)))
			s->done |= 1ull << bit;
	}
}

/* All states that can be reached from @from until operation @last_bit has happened. */
static void explore(const struct sim_ns_state *from, uint32_t last_bit, struct set *seen,
		    struct set *out, uint64_t tick)
{
	uint32_t first = seen->nr;

	if (!set_add(seen, from))
		return;
	for (uint32_t i = first; i < seen->nr && seen->nr < MAX_STATES; i++) {
		struct sim_ns_state s = seen->s[i];

		remember(&s, tick);
		if (s.done & 1ull << last_bit) {
			s.done &= ~(1ull << last_bit);
			set_add(out, &s);
			continue;
		}
		for (uint32_t bit = 0; bit < 64; bit++) {
			const struct sim_ns_op *op;
			struct sim_ns_state t = s;

			if (!h.pending[bit] || s.done & 1ull << bit)
				continue;
			op = h.op[h.pending[bit] - 1];
			if (!sim_ns_apply(&t, op) ||
			    (!memcmp(&t, &s, sizeof(t)) && !may_change(op)))
				continue;
			t.done |= 1ull << bit;
			normalize(&t);
			set_add(seen, &t);
		}
	}
}

static uint32_t bit_of(uint32_t op)
{
	for (uint32_t bit = 0; bit < 64; bit++)
		if (h.pending[bit] == op + 1)
			return bit;
	return 64;
}

/* false: too many states, nothing can be said. */
static bool end(uint32_t nr, uint64_t tick)
{
	const struct sim_ns_op *op = h.op[nr];
	uint32_t bit = bit_of(nr);
	struct set out = { .nr = 0 }, seen = { .nr = 0 };

	if (op->unknown || bit == 64)
		return true; /* stays under way: it may happen later, or never */
	for (uint32_t i = 0; i < h.now.nr; i++)
		explore(&h.now.s[i], bit, &seen, &out, tick);
	h.pending[bit] = 0;
	if (!out.nr && seen.nr < MAX_STATES)
		sim_ns_explain(op, &h.now.s[0]);
	set_fini(&h.now);
	h.now = out;
	if (seen.nr >= MAX_STATES || out.nr >= MAX_STATES)
		h.now.nr = 0;
	set_fini(&seen);
	return h.now.nr;
}

static void synced(uint64_t inv)
{
	struct set kept = { .nr = 0 };

	for (uint32_t i = 0; i < h.past.nr; i++) {
		if (h.past_tick[i] < inv)
			continue;
		h.past_tick[kept.nr] = h.past_tick[i];
		set_add(&kept, &h.past.s[i]);
	}
	set_fini(&h.past);
	h.past = kept;
	h.past_full = h.past_full && kept.nr;
}

/* false: too many states. */
static bool power_cut(void)
{
	struct set out = { .nr = 0 };

	for (uint32_t i = 0; i < h.now.nr; i++)
		set_add(&out, &h.now.s[i]);
	for (uint32_t i = 0; i < h.past.nr; i++) {
		struct sim_ns_state s = h.past.s[i];

		for (uint32_t bit = 0; bit < 64; bit++)
			if (!h.pending[bit] || h.op[h.pending[bit] - 1]->inv > h.past_tick[i])
				s.done &= ~(1ull << bit);
		set_add(&out, &s);
	}
	/* an answer that was on its way tells what was, not what is */
	for (uint32_t bit = 0; bit < 64; bit++)
		if (h.pending[bit])
			h.op[h.pending[bit] - 1]->unknown = true;
	set_fini(&h.now);
	h.now = out;
	return !h.past_full;
}

static int by_tick(const void *a, const void *b)
{
	const struct event *x = a, *y = b;

	return x->tick < y->tick ? -1 : x->tick > y->tick;
}

void sim_names_check(void)
{
	struct sim_ns_state s;
	bool sure = true;

	for (uint32_t i = 0; i < h.nr; i++) {
		add_event(h.op[i]->inv, EV_BEGIN, i, 0);
		if (h.op[i]->resp)
			add_event(h.op[i]->resp, EV_END, i, 0);
	}
	qsort(h.ev, h.nr_ev, sizeof(*h.ev), by_tick);
	sim_ns_start(&s);
	set_add(&h.now, &s);
	remember(&s, 0);
	for (uint32_t i = 0; i < h.nr_ev && !sim.failed && sure; i++) {
		const struct event *e = &h.ev[i];

		switch (e->kind) {
		case EV_BEGIN:
			begin(e->op, e->tick);
			for (uint32_t j = 0; j < h.now.nr; j++)
				normalize(&h.now.s[j]);
			break;
		case EV_END:
			sure = end(e->op, e->tick);
			break;
		case EV_SYNCED:
			synced(e->inv);
			break;
		case EV_POWER:
			sure = power_cut();
			break;
		}
		/* what an fsync that begins later will make durable is at least this */
		for (uint32_t j = 0; sim.sw.interval && j < h.now.nr; j++)
			remember(&h.now.s[j], e->tick + 1);
	}
	if (!sure && !sim.failed)
		sim_trace("names: too many possible states, not judged to the end");
}

void sim_names_init(void)
{
	memset(&h, 0, sizeof(h));
}

void sim_names_fini(void)
{
	for (uint32_t i = 0; i < h.nr; i++)
		sim_free(h.op[i]);
	sim_free(h.op);
	sim_free(h.ev);
	sim_free(h.past_tick);
	set_fini(&h.now);
	set_fini(&h.past);
}
