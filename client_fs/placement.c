/* SPDX-License-Identifier: Apache-2.0 */
/* placement.c -- chunk i of an inode lives on node (first + i) mod n, where first comes from the
 * inode */
#include <errno.h>

#include "client_fs/placement.h"

static uint32_t node_of(const struct pwc_layout *l, uint64_t ino, uint64_t off)
{
	return (uint32_t)((ino + off / l->chunk_bytes) % l->nr_nodes);
}

uint32_t pwc_placement_meta(const struct pwc_layout *l, uint64_t ino)
{
	/* One metadata node until shards are assigned by the cluster manager. */
	(void)l;
	(void)ino;
	return 0;
}

int pwc_placement_map(const struct pwc_layout *l, uint64_t ino, uint64_t off, uint32_t len,
		      struct pwc_leg *ret)
{
	uint64_t end = off + len;
	uint32_t nr = 0;

	if (!len || !l->nr_nodes || end < off)
		return -EINVAL;
	while (off < end) {
		uint64_t cut = PW_MIN(end, PW_ROUND_DOWN(off, l->chunk_bytes) + l->chunk_bytes);
		uint32_t node = node_of(l, ino, off);

		if (nr && ret[nr - 1].node == node) {
			ret[nr - 1].len += (uint32_t)(cut - off);
		} else {
			if (nr == PWC_LEGS_MAX)
				return -EINVAL;
			ret[nr++] = (struct pwc_leg){
				.off = off,
				.len = (uint32_t)(cut - off),
				.buf_off = len - (uint32_t)(end - off),
				.node = node,
			};
		}
		off = cut;
	}
	return (int)nr;
}
