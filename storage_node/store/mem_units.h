/* SPDX-License-Identifier: Apache-2.0 */
/* mem_units.h -- contents of files in buffers of the pool: one buffer for each unit of max_io bytes
 *
 * A unit is found by (inode, number). Which of its blocks were written, and which have defined
 * bytes (written, or zeroed because somebody read them), is kept beside it, so a new unit's memory
 * is not touched as a whole.
 * Thread: loop thread.      Allocates: only in new.
 */
#ifndef PWS_MEM_UNITS_H
#define PWS_MEM_UNITS_H

#include "common/list.h"
#include "storage_node/buf.h"
#include "storage_node/store/disk.h"

struct pws_mem_inode;

struct pws_mem_unit {
	struct pw_list node; /* in its bucket, or free */
	struct pw_list sibling; /* of its inode */
	struct pws_mem_inode *inode;
	uint64_t ino, nr;
	struct pws_buf *buf; /* owned; bytes of the unit begin at buf->mem */
	uint64_t *written, *defined; /* owned: bits by block */
};

struct pws_mem_inode {
	struct pw_list node; /* in its bucket, or free */
	struct pw_list units;
	uint64_t ino;
};

struct pws_mem_units {
	uint32_t nr_units, unit_blocks;
	uint32_t nr_free;
	uint32_t shift; /* of the hash */
	struct pw_list *unit_buckets, *inode_buckets; /* owned */
	struct pw_list free_units, free_inodes;
	struct pws_mem_unit *units; /* owned arrays */
	struct pws_mem_inode *inodes;
	uint64_t *bits;
};

/* 0; -ENOMEM */
int pws_mem_units_init(struct pws_mem_units *m, uint32_t nr_units, uint32_t unit_bytes);
void pws_mem_units_fini(struct pws_mem_units *m);
struct pws_mem_unit *pws_mem_unit_find(struct pws_mem_units *m, uint64_t ino, uint64_t nr);
/* A unit on no inode yet; NULL: all are in use. */
struct pws_mem_unit *pws_mem_unit_get(struct pws_mem_units *m);
/* Its buffer is the caller's to give back. */
void pws_mem_unit_put(struct pws_mem_units *m, struct pws_mem_unit *u);
/* Makes a unit from get findable. */
void pws_mem_unit_attach(struct pws_mem_units *m, struct pws_mem_unit *u, uint64_t ino,
			 uint64_t nr);
/* The inode's units; NULL: none. */
struct pw_list *pws_mem_units_of(struct pws_mem_units *m, uint64_t ino);
/* Bits [first, end) */
uint32_t pws_mem_bits_count(const uint64_t *bits, uint32_t first, uint32_t end);
void pws_mem_bits_set(uint64_t *bits, uint32_t first, uint32_t end, bool value);
static inline bool pws_mem_bit(const uint64_t *bits, uint32_t i)
{
	return bits[i / 64] & 1ull << i % 64;
}
/* Zeroes blocks [first, end) that have no defined bytes. */
void pws_mem_unit_define(struct pws_mem_unit *u, uint32_t first, uint32_t end);

#endif
