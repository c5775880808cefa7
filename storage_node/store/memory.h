/* SPDX-License-Identifier: Apache-2.0 */
/* memory.h -- inside of the memory store: the store, and one request on its way through it
 *
 * Files: memory.c (open, requests in and out), memory_write.c, memory_read.c, memory_trunc.c,
 * mem_units.c.
 */
#ifndef PWS_MEMORY_H
#define PWS_MEMORY_H

#include "storage_node/store/mem_units.h"
#include "storage_node/store/range.h"
#include "storage_node/store/store.h"

struct pws_mem;

struct pws_mem_op {
	struct pw_list node; /* free list, or waiting for a buffer */
	struct pw_ready ready;
	void (*step)(struct pws_mem_op *op);
	struct pws_mem *m;
	union {
		struct pws_store_write *w;
		struct pws_store_read *r;
		struct pws_store_trunc *t;
	};
	struct pws_range range;
	bool waited, prepared;
	/* write: for each of the one or two units */
	uint64_t unit_nr[2];
	uint32_t unit_off[2], unit_len[2];
	uint32_t nr_units;
	struct pws_mem_unit *new_unit[2]; /* owned until finish */
	struct pws_buf *spare[2]; /* owned until finish */
	/* read */
	struct pws_buf *lent; /* has a reference */
	struct pws_kv_fetch fetch;
};

struct pws_mem {
	struct pws_store base;
	struct pws_store_opts o;
	struct pws_mem_units units;
	struct pws_ranges *ranges;
	struct pws_mem_op *ops; /* owned */
	uint32_t nr_lent;
	struct pw_list free_ops, wait_buf;
	struct pw_list wait_writes, wait_reads, wait_truncs; /* requests without an op */
	uint8_t *zeros; /* owned */
	struct pws_store_stats stats;
	struct pw_ready stop_ready;
	void (*stop_done)(void *arg);
	void *stop_arg;
};

static inline struct pws_mem *pws_mem_of(struct pws_store *s)
{
	return pw_container_of(s, struct pws_mem, base);
}

/* memory.c */
/* Drops the range, and starts a request that waited for an op. */
void pws_mem_op_put(struct pws_mem_op *op);
/* Makes the op ready when the range is its own. */
void pws_mem_take_range(struct pws_mem_op *op, uint64_t ino, uint64_t first, uint64_t last,
			bool shared);
/* No unit has it any more: it goes back, now or with its last reader. */
void pws_mem_buf_drop(struct pws_mem *m, struct pws_buf *b);

/* memory_write.c, memory_read.c, memory_trunc.c: struct pws_store_ops */
void pws_mem_write_start(struct pws_mem_op *op, struct pws_store_write *w);
int pws_mem_write_rows(struct pws_store *s, struct pws_store_write *w, struct pws_txn *t,
		       const struct pws_inode *inode, int64_t *blocks_delta);
void pws_mem_write_finish(struct pws_store *s, struct pws_store_write *w,
			  enum pws_outcome outcome);
void pws_mem_read_start(struct pws_mem_op *op, struct pws_store_read *r);
void pws_mem_read_release(struct pws_store *s, struct pws_store_read *r);
void pws_mem_trunc_start(struct pws_mem_op *op, struct pws_store_trunc *t);
int pws_mem_trunc_rows(struct pws_store *s, struct pws_store_trunc *t, struct pws_txn *txn,
		       const struct pws_inode *inode, int64_t *blocks_delta, bool *ret_more);
void pws_mem_trunc_finish(struct pws_store *s, struct pws_store_trunc *t,
			  enum pws_outcome outcome);

#endif
