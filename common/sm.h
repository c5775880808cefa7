/* SPDX-License-Identifier: Apache-2.0 */
/* sm.h -- state machines: a table of states with the moves that are allowed, and a trace of every
 * move
 *
 *	static const struct pw_sm_state states[] = {
 *		[WR_FREE] = { "free", PW_SM_TO(WR_NEW) },
 *		[WR_NEW] = { "new", PW_SM_TO(WR_POSTED) | PW_SM_TO(WR_FREE) },
 *		...
 *	};
 *	static const struct pw_sm_type write_type = PW_SM_TYPE("write", states);
 *
 * Only the object's own step() calls pw_sm_move(); others ask predicates. Every move leaves a
 * 32-byte record in a ring of the process: pw_sm_dump() prints it on SIGUSR1, on a failed assert,
 * and from a failed test.
 * Thread: the owner's; the ring is shared by all threads without a lock.      Allocates: never.
 */
#ifndef PW_SM_H
#define PW_SM_H

#include <assert.h>

#include "common/compiler.h"

#define PW_SM_MAX_STATES 32u
#define PW_SM_TO(state) (1u << (state))
#define PW_SM_ANY UINT32_MAX

struct pw_sm_state {
	const char *name;
	uint32_t allowed; /* PW_SM_TO() of the states that may follow */
};

struct pw_sm_type {
	const char *name;
	const struct pw_sm_state *states;
	uint32_t nr_states;
};
#define PW_SM_TYPE(name_, states_)                                                                 \
	{                                                                                          \
		.name = (name_), .states = (states_), .nr_states = PW_ARRAY_SIZE(states_)          \
	}

/* Embedded in the object; its address names the object in the trace. */
struct pw_sm {
	const struct pw_sm_type *type; /* borrowed for ever: a static table */
	uint32_t state;
	uint32_t moves;
	uint64_t since_ns; /* turn in which the state was entered */
};

void pw_sm_init(struct pw_sm *sm, const struct pw_sm_type *type, uint32_t state);

static inline bool pw_sm_can(const struct pw_sm *sm, uint32_t to)
{
	if (to >= sm->type->nr_states)
		return false;
	return sm->type->states[sm->state].allowed >> to & 1;
}

/* Asserts that the table allows it. @arg: what helps to read the trace (an error, a slot). */
void pw_sm_move(struct pw_sm *sm, uint32_t to, uint32_t arg);

static inline const char *pw_sm_state_name(const struct pw_sm *sm)
{
	return sm->type->states[sm->state].name;
}

/* Time of this thread's turn, for the trace; the loop or the simulation calls it once per turn. */
void pw_sm_set_now(uint64_t now_ns);

/**
 * pw_sm_dump - print the trace, oldest record first
 * @fd: where to
 * @max: at most so many of the newest records; 0: all that are kept
 *
 * Safe in a signal handler. Lines: "<ns> <machine> <address> <from> -> <to> <arg>".
 */
void pw_sm_dump(int fd, uint32_t max);

/* Called by main(): on SIGABRT (a failed assert) the trace goes to stderr before the end. */
void pw_sm_dump_on_abort(void);

#endif
