/* SPDX-License-Identifier: Apache-2.0 */
/* fake_ring.h -- the loop's io_uring, scripted: what was submitted can be looked at and completed
 *
 * Replaces loop.c and uring.c at link time for files that only submit and get completions.
 */
#ifndef FAKE_RING_H
#define FAKE_RING_H

#include "common/uring.h"

#define FAKE_SQES 256u

struct fake_sqe {
	union {
		struct io_uring_sqe sqe;
		uint8_t raw[128];
	};
	struct pw_io *io;
	bool done;
};

extern struct fake_ring {
	struct fake_sqe q[FAKE_SQES]; /* in the order of submission */
	uint32_t nr;
	uint32_t nr_ios; /* initialised */
	uint32_t max_ios; /* pw_io_init() fails beyond it; 0: no limit */
} fake_ring;

struct pw_loop;
struct pw_loop *fake_ring_reset(void);
/* Completes a submission. */
void fake_ring_complete(uint32_t idx, int res);

#endif
