/* SPDX-License-Identifier: Apache-2.0 */
/* vloop.h -- loop.h with a clock that the test moves, and random.h with a seed */
#ifndef VLOOP_H
#define VLOOP_H

#include "common/loop.h"

struct pw_loop *vloop_new(void);
void vloop_free(struct pw_loop *l);
/* One turn: timers that are due, then what is ready. Return: how much was done. */
uint32_t vloop_turn(struct pw_loop *l);
/* Turns until nothing is left to do at this time; at most 100000. */
void vloop_settle(struct pw_loop *l);
/* Moves the clock, timer by timer, settling at each. */
void vloop_advance(struct pw_loop *l, uint64_t ns);
/* Turns, and time where needed, until *flag; false when nothing moves any more. */
bool vloop_run_until(struct pw_loop *l, const bool *flag);
void vrandom_seed(uint64_t seed);

#endif
