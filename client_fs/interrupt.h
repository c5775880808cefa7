/* SPDX-License-Identifier: Apache-2.0 */
/* interrupt.h -- a caller has a signal: when is that a reason to give up
 *
 * The kernel sends INTERRUPT once, for any signal, also for a timer that the program handles.
 * Giving up for each would show programs errors that no disk shows (EINTR from write(2)), so a call
 * is given up when the signal is one that ends programs (KILL, TERM, INT, QUIT, HUP); until then
 * the caller is looked at again. While the node answers, an operation is over before that matters.
 * Thread: the loop's own.
 */
#ifndef PWC_INTERRUPT_H
#define PWC_INTERRUPT_H

#include "client_fs/req.h"

#define PWC_INTERRUPT_EARLY 16u

struct pwc_interrupts {
	struct pwc_shard *sh;
	struct pw_timer timer; /* looks at interrupted requests again */
	/* INTERRUPTs whose request has not been seen: it may still be in the completion queue */
	struct {
		uint64_t unique, when_ns;
	} early[PWC_INTERRUPT_EARLY];
	uint32_t nr_early;
};

void pwc_interrupt_init(struct pwc_interrupts *i, struct pwc_shard *sh);
void pwc_interrupt_fini(struct pwc_interrupts *i);
/* An INTERRUPT for the request @unique was read. */
void pwc_interrupt_on(struct pwc_interrupts *i, uint64_t unique);
/* A request has arrived; called when nr_early is not 0. */
void pwc_interrupt_check_early(struct pwc_interrupts *i, struct pwc_req *r);

/* Does the text of /proc/PID/status show a pending signal that ends programs? */
bool pwc_interrupt_is_fatal(const char *status_text);

#endif
