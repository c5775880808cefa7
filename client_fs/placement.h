/* SPDX-License-Identifier: Apache-2.0 */
/* placement.h -- pure: which node serves which bytes of a file; no I/O, no clock
 *
 * A file is striped in chunks over the nodes of its layout. Legs that are neighbours on one node
 * are one leg, so that with one node a request is always one message.
 */
#ifndef PWC_PLACEMENT_H
#define PWC_PLACEMENT_H

#include "common/compiler.h"

#define PWC_CHUNK_BYTES (4u << 20)
#define PWC_LEGS_MAX 8u

struct pwc_layout {
	uint32_t nr_nodes; /* >= 1 */
	uint32_t chunk_bytes; /* power of two */
};

struct pwc_leg {
	uint64_t off; /* in the file */
	uint32_t len;
	uint32_t buf_off; /* in the request's payload */
	uint32_t node; /* index in the layout */
};

/**
 * pwc_placement_map - cut [off, off+len) of a file into legs
 * @ret: room for PWC_LEGS_MAX
 * Return: number of legs (1..PWC_LEGS_MAX); -EINVAL for len 0, or more legs than fit.
 */
int pwc_placement_map(const struct pwc_layout *l, uint64_t ino, uint64_t off, uint32_t len,
		      struct pwc_leg *ret);
/* Node that holds the inode's metadata. */
uint32_t pwc_placement_meta(const struct pwc_layout *l, uint64_t ino);

#endif
