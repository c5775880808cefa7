/* SPDX-License-Identifier: Apache-2.0 */
/* buf.h -- the node's staging buffers: what a slot receives into and the disk writes from
 *
 * One arena, mapped once, registered with io_uring once (and with each NIC, later). Every buffer
 * holds max_io + 2 blocks: a payload is placed at its offset within a block, so that both partial
 * blocks at the ends can be completed in place and the whole is written with O_DIRECT from where it
 * arrived. Buffers change owners (slot <-> memory store) instead of being copied.
 */
#ifndef PWS_BUF_H
#define PWS_BUF_H

#include "common/compiler.h"
#include "common/list.h"

struct pw_arena;

struct pws_buf {
	struct pw_list node; /* free list */
	uint8_t *mem; /* 4 KiB aligned, @size bytes */
	uint32_t size;
	uint32_t idx;
	uint32_t refs; /* readers that still send from it (memory store) */
	bool stored; /* a unit of the memory store owns it */
};

struct pws_bufpool;

/* @size of each, rounded up to 4 KiB. -ENOMEM. */
int pws_bufpool_new(uint32_t nr, uint32_t size, struct pws_bufpool **ret);
void pws_bufpool_free(struct pws_bufpool *p);
struct pws_buf *pws_buf_get(struct pws_bufpool *p); /* NULL when none is free */
void pws_buf_put(struct pws_bufpool *p, struct pws_buf *b);
uint32_t pws_bufpool_nr_free(const struct pws_bufpool *p);
/* The whole area, for registration. */
void pws_bufpool_area(const struct pws_bufpool *p, void **ret_base, size_t *ret_len);

#endif
