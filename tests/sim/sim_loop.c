/* SPDX-License-Identifier: Apache-2.0 */
/* sim_loop.c -- the virtual clock: world events, loops of processes; also randomness and the log
 *
 * Whatever is due first happens: an event of the world (a message arrives, an io ends, a fault
 * strikes) or a turn of a process. Within a turn the order is that of common/loop.c: timers, then
 * the ready list.
 */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/random.h"
#include "common/sm.h"
#include "tests/sim/sim.h"

#define TAIL_LINES 60u
#define TAIL_WIDTH 200u

struct sim sim;

struct event {
	uint64_t when_ns, seq;
	void (*fn)(void *arg, uint64_t aux);
	void *arg;
	uint64_t aux;
};

static struct {
	struct event *heap; /* owns */
	size_t nr, cap;
	uint64_t next_seq;
} events;

static uint64_t rnd_state[SIM_RND_NR];
static char tail[TAIL_LINES][TAIL_WIDTH];
static uint64_t nr_lines;

/* Randomness --------------------------------------------------------------------------------- */

static uint64_t splitmix(uint64_t *s)
{
	uint64_t z = (*s += 0x9e3779b97f4a7c15ull);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

uint64_t sim_rnd(enum sim_stream s)
{
	return splitmix(&rnd_state[s]);
}

uint64_t sim_below(enum sim_stream s, uint64_t n)
{
	return n ? sim_rnd(s) % n : 0;
}

void pw_random_bytes(void *buf, size_t len)
{
	uint8_t *p = buf;

	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)sim_rnd(SIM_RND_PRODUCT);
}

uint64_t pw_random_u64(void)
{
	return sim_rnd(SIM_RND_PRODUCT);
}

uint64_t pw_random_below(uint64_t n)
{
	return sim_below(SIM_RND_PRODUCT, n);
}

/* Trace and log ------------------------------------------------------------------------------ */

static void add_line(const char *fmt, va_list ap)
{
	char *line = tail[nr_lines++ % TAIL_LINES];
	int n = snprintf(line, TAIL_WIDTH, "%llu %llu.%06llu ", (unsigned long long)sim.steps,
			 (unsigned long long)(sim.now_ns / PW_NS_PER_S),
			 (unsigned long long)(sim.now_ns % PW_NS_PER_S / PW_NS_PER_US));

	vsnprintf(line + n, TAIL_WIDTH - (size_t)n, fmt, ap);
	if (sim.verbose)
		fprintf(stderr, "%s\n", line);
	for (const char *p = line; *p; p++)
		sim.hash = (sim.hash ^ (uint8_t)*p) * 0x100000001b3ull;
}

void sim_trace(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add_line(fmt, ap);
	va_end(ap);
}

void sim_dump_tail(void)
{
	uint64_t from = nr_lines > TAIL_LINES ? nr_lines - TAIL_LINES : 0;

	for (uint64_t i = from; i < nr_lines; i++)
		fprintf(stderr, "  %s\n", tail[i % TAIL_LINES]);
}

void sim_fail(const char *fmt, ...)
{
	va_list ap;

	if (sim.failed)
		return;
	sim.failed = true;
	va_start(ap, fmt);
	vsnprintf(sim.why, sizeof(sim.why), fmt, ap);
	va_end(ap);
	sim_trace("FAILED: %s", sim.why);
}

void pw_log_init(const char *name)
{
	(void)name;
}

void pw_log_set_level(enum pw_log_level level)
{
	(void)level;
}

enum pw_log_level pw_log_level(void)
{
	return PW_LOG_INFO;
}

void pw_log_at(enum pw_log_level level, const char *fmt, ...)
{
	char text[TAIL_WIDTH];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	sim_trace("%s<%d> %s", sim.cur ? sim.cur->name : "", (int)level, text);
}

/* By the virtual clock, else the trace would depend on the real one. */
bool pw_log_rate_ok(struct pw_log_rate *r)
{
	(void)r;
	return true;
}

void pw_log_last_errors(void (*fn)(void *arg, uint64_t when_ns, const char *line), void *arg)
{
	(void)fn;
	(void)arg;
}

/* The product's loop ------------------------------------------------------------------------- */

uint64_t pw_loop_now(const struct pw_loop *loop)
{
	(void)loop;
	return sim.now_ns;
}

uint64_t pw_loop_realtime(const struct pw_loop *loop)
{
	(void)loop;
	return sim.now_ns + 1600000000 * PW_NS_PER_S;
}

void pw_timer_init(struct pw_timer *t, void (*fn)(struct pw_timer *t))
{
	t->deadline_ns = 0;
	t->heap_idx = UINT32_MAX;
	t->fn = fn;
}

void pw_timer_arm(struct pw_loop *loop, struct pw_timer *t, uint64_t deadline_ns)
{
	pw_timer_heap_arm(&loop->timers, t, deadline_ns, sim.now_ns);
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

/* Processes ---------------------------------------------------------------------------------- */

struct sim_proc *sim_enter(struct sim_proc *p)
{
	struct sim_proc *old = sim.cur;

	sim.cur = p;
	return old;
}

void sim_leave(struct sim_proc *old)
{
	sim.cur = old;
}

void sim_proc_start(struct sim_proc *p, const char *name)
{
	struct sim_proc *old = sim_enter(p);

	assert(!p->alive);
	*p = (struct sim_proc){ .name = name, .alive = true };
	pw_list_init(&p->loop.ready);
	pw_list_init(&p->loop.running);
	if (pw_timer_heap_init(&p->loop.timers))
		abort();
	sim_leave(old);
}

void sim_proc_kill(struct sim_proc *p)
{
	assert(p->alive);
	p->alive = false;
	sim_heap_drop(&p->heap);
}

void sim_proc_end(struct sim_proc *p)
{
	struct sim_proc *old = sim_enter(p);
	uint32_t nr_timers = p->loop.timers.nr;

	pw_timer_heap_fini(&p->loop.timers);
	sim_leave(old);
	if (nr_timers)
		sim_fail("%s: %u timers are armed after its end", p->name, nr_timers);
	if (p->heap.nr || p->heap.maps)
		sim_fail("%s: leaked %zu allocations%s", p->name, p->heap.nr,
			 p->heap.maps ? " and a mapping" : "");
	sim_proc_kill(p);
}

static uint64_t due(const struct sim_proc *p)
{
	uint64_t timer;

	if (!p->alive)
		return SIM_NEVER;
	if (!pw_list_empty(&p->loop.ready))
		return p->loop.busy_until_ns;
	timer = pw_timer_heap_next(&p->loop.timers);
	return timer == SIM_NEVER ? SIM_NEVER : PW_MAX(timer, p->loop.busy_until_ns);
}

/* The process may be killed by its own doing: nothing of it is touched after that. */
static void turn(struct sim_proc *p)
{
	struct pw_list *node;
	struct pw_timer *t;

	sim.cur = p;
	p->loop.busy_until_ns = sim.now_ns + SIM_NS_PER_TURN;
	pw_sm_set_now(sim.now_ns);
	while (p->alive && (t = pw_timer_heap_pop_due(&p->loop.timers, sim.now_ns)))
		t->fn(t);
	if (p->alive)
		pw_list_splice_tail(&p->loop.running, &p->loop.ready);
	while (p->alive && (node = pw_list_pop(&p->loop.running))) {
		struct pw_ready *r = pw_list_entry(node, struct pw_ready, node);

		r->step(r);
	}
	sim.cur = NULL;
}

/* World events ------------------------------------------------------------------------------- */

static bool is_before(const struct event *a, const struct event *b)
{
	return a->when_ns != b->when_ns ? a->when_ns < b->when_ns : a->seq < b->seq;
}

void sim_at(uint64_t when_ns, void (*fn)(void *arg, uint64_t aux), void *arg, uint64_t aux)
{
	struct event e = { PW_MAX(when_ns, sim.now_ns), events.next_seq++, fn, arg, aux };
	size_t i;

	if (events.nr == events.cap) {
		events.cap = events.cap ? 2 * events.cap : 256;
		events.heap = sim_realloc(events.heap, events.cap * sizeof(e));
	}
	for (i = events.nr++; i && is_before(&e, &events.heap[(i - 1) / 2]); i = (i - 1) / 2)
		events.heap[i] = events.heap[(i - 1) / 2];
	events.heap[i] = e;
}

static struct event pop_event(void)
{
	struct event first = events.heap[0], last = events.heap[--events.nr];
	size_t i = 0, child;

	for (; (child = 2 * i + 1) < events.nr; i = child) {
		if (child + 1 < events.nr &&
		    is_before(&events.heap[child + 1], &events.heap[child]))
			child++;
		if (!is_before(&events.heap[child], &last))
			break;
		events.heap[i] = events.heap[child];
	}
	events.heap[i] = last;
	return first;
}

static struct sim_proc *next_proc(uint64_t *ret_when)
{
	struct sim_proc *best = &sim.node;
	uint64_t when = due(best);

	for (uint32_t i = 0; i < SIM_CLIENTS; i++) {
		uint64_t d = due(&sim.client[i]);

		if (d < when) {
			when = d;
			best = &sim.client[i];
		}
	}
	*ret_when = when;
	return best;
}

bool sim_run(bool (*until)(void))
{
	while (!sim.failed && !until()) {
		uint64_t when;
		struct sim_proc *p = next_proc(&when);
		bool world = events.nr && events.heap[0].when_ns <= when;

		if (!world && when == SIM_NEVER) {
			sim_fail("nothing can happen any more");
			break;
		}
		if (sim.steps >= sim.max_steps)
			return false;
		sim.steps++;
		if (world)
			when = events.heap[0].when_ns;
		sim.now_ns = PW_MAX(sim.now_ns, when);
		if (world) {
			struct event e = pop_event();

			e.fn(e.arg, e.aux);
		} else {
			turn(p);
		}
	}
	return !sim.failed;
}

void sim_init(uint64_t seed)
{
	bool verbose = sim.verbose;
	uint64_t s = seed;

	memset(&sim, 0, sizeof(sim));
	sim.verbose = verbose;
	sim.seed = seed;
	sim.now_ns = 1000 * PW_NS_PER_S;
	sim.hash = 0xcbf29ce484222325ull;
	for (uint32_t i = 0; i < SIM_RND_NR; i++)
		rnd_state[i] = splitmix(&s);
	nr_lines = 0;
	events.nr = 0;
	events.next_seq = 0;
}

void sim_fini(void)
{
	if (sim.node.alive)
		sim_proc_kill(&sim.node);
	for (uint32_t i = 0; i < SIM_CLIENTS; i++)
		if (sim.client[i].alive)
			sim_proc_kill(&sim.client[i]);
	sim_free(events.heap);
	events.heap = NULL;
	events.nr = events.cap = 0;
}
