/* SPDX-License-Identifier: Apache-2.0 */
/* loop_impl.h -- what loop.c (turns) and uring.c (ring, pw_io table) share; for them only */
#ifndef PW_LOOP_IMPL_H
#define PW_LOOP_IMPL_H

#include "common/timer_heap.h"
#include "common/uring.h"

/* Completions that belong to nobody: of cancel requests. */
#define PW_UD_NOBODY UINT64_MAX

struct pw_io_slot {
	struct pw_io *io; /* borrowed until pw_io_fini(); NULL: free */
	uint32_t gen;
	uint32_t next_free; /* UINT32_MAX ends the list */
};

struct pw_loop {
	struct io_uring ring;
	uint64_t now_ns;
	struct pw_timer_heap timers;
	struct pw_list ready, running; /* running: of this turn, not stepped yet */
	struct pw_list flush, flushing;

	struct pw_io_slot *slot; /* owns */
	uint32_t nr_slots, first_free;
	uint32_t nr_pending; /* pw_ios with completions to come */
	int ring_err; /* 0, or why the ring is of no use any more */
	union {
		struct io_uring_sqe sqe;
		uint8_t raw[128];
	} spare; /* what pw_io_sqe() returns on a broken ring */

	bool stop;
	uint64_t poll_ns;
	uint64_t yielded_ns; /* when others were let in last */
	uint64_t shared_until_ns; /* the CPU is somebody else's, too: no window until then */
	bool yielded; /* ... in the turn before */
	struct pw_list hot, polling; /* pw_poller.node; polling: of this turn, not polled yet */
	struct pw_fd wake; /* eventfd of pw_loop_post() */
	struct pw_loop_msg *posted; /* atomic; newest first */
	struct pw_loop_stats stats;
};

/* poller.c */
/* Polls the hot ones. Return: what they found. */
uint32_t pw_pollers_run(struct pw_loop *loop);
/* Arms those whose window is over. Return: false, one of them has more. */
bool pw_pollers_settle(struct pw_loop *loop);
/* A turn found nothing, and the next one polls: who else is ready for this CPU may have it. */
void pw_pollers_give_way(struct pw_loop *loop);

/* uring.c */
int pw_ring_init(struct pw_loop *loop, const struct pw_loop_opts *o);
void pw_ring_fini(struct pw_loop *loop);
/* Return: completions that were handled, at most a budget. */
uint32_t pw_ring_reap(struct pw_loop *loop);
/* Submits what is queued and lets the kernel post completions, without sleeping. */
void pw_ring_poll(struct pw_loop *loop);
/* Is there anything to submit, or anything that the kernel posts only on a system call? */
bool pw_ring_wants_enter(const struct pw_loop *loop);
/* The only sleep: until a completion or the deadline (UINT64_MAX: none). */
void pw_ring_sleep(struct pw_loop *loop, uint64_t deadline_ns);

#endif
