/* SPDX-License-Identifier: Apache-2.0 */
/* sm.c -- moves, their trace ring, and its printer
 *
 * The ring is written by every thread: each move takes its own record with one atomic add. A record
 * that is being overwritten while it is printed comes out mixed; that is accepted for a trace.
 */
#include "common/sm.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#ifdef PW_TRACE
#include "common/log.h"
#endif

#define TRACE_RECORDS 8192u /* power of two */

struct trace_record {
	uint64_t when_ns;
	const struct pw_sm *object; /* a name only: never followed */
	const struct pw_sm_type *type;
	uint8_t from, to;
	uint16_t reserved;
	uint32_t arg;
};
static_assert(sizeof(struct trace_record) == 32, "two records per cache line");
static_assert((TRACE_RECORDS & (TRACE_RECORDS - 1)) == 0, "masked");

static struct trace_record trace[TRACE_RECORDS];
static uint64_t nr_traced;
static _Thread_local uint64_t turn_ns;

void pw_sm_set_now(uint64_t now_ns)
{
	turn_ns = now_ns;
}

void pw_sm_init(struct pw_sm *sm, const struct pw_sm_type *type, uint32_t state)
{
	assert(type->nr_states <= PW_SM_MAX_STATES && state < type->nr_states);
	sm->type = type;
	sm->state = state;
	sm->moves = 0;
	sm->since_ns = turn_ns;
}

static void record(const struct pw_sm *sm, uint32_t to, uint32_t arg)
{
	uint64_t i = __atomic_fetch_add(&nr_traced, 1, __ATOMIC_RELAXED);
	struct trace_record *r = &trace[i & (TRACE_RECORDS - 1)];

	__atomic_store_n(&r->when_ns, turn_ns, __ATOMIC_RELAXED);
	__atomic_store_n(&r->object, sm, __ATOMIC_RELAXED);
	__atomic_store_n(&r->type, sm->type, __ATOMIC_RELAXED);
	__atomic_store_n(&r->from, (uint8_t)sm->state, __ATOMIC_RELAXED);
	__atomic_store_n(&r->to, (uint8_t)to, __ATOMIC_RELAXED);
	__atomic_store_n(&r->arg, arg, __ATOMIC_RELAXED);
}

void pw_sm_move(struct pw_sm *sm, uint32_t to, uint32_t arg)
{
	/* recorded first: the move that is refused is the last line of the dump */
	record(sm, to, arg);
	assert(pw_sm_can(sm, to));
#ifdef PW_TRACE
	pw_log_debug("sm %s %p: %s -> %s (%u)", sm->type->name, (void *)sm, pw_sm_state_name(sm),
		     sm->type->states[to].name, arg);
#endif
	sm->state = to;
	sm->moves++;
	sm->since_ns = turn_ns;
}

/* A line under construction; stdio is not allowed in a signal handler. */
struct line {
	char buf[256];
	size_t len;
};

static void add_text(struct line *l, const char *s)
{
	size_t n = PW_MIN(strlen(s), sizeof(l->buf) - l->len);

	memcpy(l->buf + l->len, s, n);
	l->len += n;
}

static void add_number(struct line *l, uint64_t v, unsigned int base)
{
	char digits[24];
	size_t i = sizeof(digits);

	digits[--i] = '\0';
	do
		digits[--i] = "0123456789abcdef"[v % base];
	while (v /= base);
	add_text(l, digits + i);
}

static const char *state_name(const struct pw_sm_type *type, uint32_t state)
{
	return state < type->nr_states ? type->states[state].name : "?";
}

static void dump_record(int fd, const struct trace_record *src)
{
	const struct pw_sm_type *type = __atomic_load_n(&src->type, __ATOMIC_RELAXED);
	struct line l = { .len = 0 };

	if (!type)
		return;
	add_number(&l, __atomic_load_n(&src->when_ns, __ATOMIC_RELAXED), 10);
	add_text(&l, " ");
	add_text(&l, type->name);
	add_text(&l, " 0x");
	add_number(&l, (uintptr_t)__atomic_load_n(&src->object, __ATOMIC_RELAXED), 16);
	add_text(&l, " ");
	add_text(&l, state_name(type, __atomic_load_n(&src->from, __ATOMIC_RELAXED)));
	add_text(&l, " -> ");
	add_text(&l, state_name(type, __atomic_load_n(&src->to, __ATOMIC_RELAXED)));
	add_text(&l, " ");
	add_number(&l, __atomic_load_n(&src->arg, __ATOMIC_RELAXED), 10);
	add_text(&l, "\n");
	(void)!write(fd, l.buf, l.len);
}

void pw_sm_dump(int fd, uint32_t max)
{
	uint64_t end = __atomic_load_n(&nr_traced, __ATOMIC_RELAXED);
	uint64_t n = PW_MIN(end, (uint64_t)TRACE_RECORDS);

	if (max && n > max)
		n = max;
	for (uint64_t i = end - n; i < end; i++)
		dump_record(fd, &trace[i & (TRACE_RECORDS - 1)]);
}

static void on_abort(int sig)
{
	pw_sm_dump(STDERR_FILENO, 200);
	/* SA_RESETHAND: the second one kills */
	raise(sig);
}

void pw_sm_dump_on_abort(void)
{
	struct sigaction sa = { .sa_handler = on_abort, .sa_flags = (int)SA_RESETHAND };

	sigaction(SIGABRT, &sa, NULL);
}
