/* SPDX-License-Identifier: Apache-2.0 */
/* stats.h -- what a mount counts; shown by `pagewire status` and `pagewire stats`
 *
 * Thread: written by the loop's own; plain numbers that only grow.
 */
#ifndef PWC_STATS_H
#define PWC_STATS_H

#include "common/compiler.h"

/* How a payload travelled between the application and this daemon. */
enum pwc_path {
	PWC_PATH_POOL, /* FUSE ring: one copy by the kernel, into the arena */
	PWC_PATH_DEV, /* /dev/fuse: one copy by the kernel, into the arena */
	PWC_PATH_REG, /* it lay in a region of the application: no copy */
	PWC_NR_PATHS
};

/* Why a request did not take the ring although the mount may have one. */
enum pwc_fallback {
	PWC_FALLBACK_NO_RING, /* the mount has none: status says why */
	PWC_FALLBACK_EARLY, /* came before the ring was ready, or only comes by /dev/fuse */
	PWC_NR_FALLBACKS
};

#define PWC_NR_OPS 64u /* FUSE opcodes that are counted by themselves; the rest is 0 */

struct pwc_stats {
	uint64_t requests[PWC_NR_OPS];
	uint64_t errors[PWC_NR_OPS];
	uint64_t by_path[PWC_NR_PATHS]; /* requests */
	uint64_t bytes_read[PWC_NR_PATHS]; /* payload bytes to applications */
	uint64_t bytes_written[PWC_NR_PATHS];
	uint64_t fallbacks[PWC_NR_FALLBACKS];
	uint64_t interrupts; /* INTERRUPT messages */
	uint64_t aborted; /* of them: calls that were given up */
	uint64_t forgets;
	uint64_t bad_requests; /* malformed; the kernel's bug, answered with an error */
	/* opens: page cache kept, or dropped because the file changed */
	uint64_t cache_kept, cache_dropped;
};

#endif
