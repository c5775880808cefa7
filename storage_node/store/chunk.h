/* SPDX-License-Identifier: Apache-2.0 */
/* chunk.h -- inside of the chunk store: the store, and one request on its way through it
 *
 * Files: chunk.c (open, requests in and out), chunk_io.c (rows and blocks in and out, checksums),
 * chunk_write.c, chunk_read.c, chunk_trunc.c (one step function each), scrub.c.
 */
#ifndef PWS_CHUNK_H
#define PWS_CHUNK_H

#include "storage_node/store/alloc.h"
#include "storage_node/store/range.h"
#include "storage_node/store/segment.h"
#include "storage_node/store/store.h"

#define PWS_CHUNK_IOS 16u /* of one request at once */
#define PWS_CHUNK_TRUNCS 16u /* truncations at once; more wait */
#define PWS_CHUNK_TRUNC_RUNS 4096u /* that one commit of a truncation may free */
#define PWS_HOLE UINT64_MAX

struct pws_chunk;
struct pws_chunk_op;
struct pws_scrub;

struct pws_chunk_io {
	struct pws_disk_io io;
	struct pws_chunk_op *op;
};

enum pws_chunk_state {
	PWS_CHUNK_FREE,
	PWS_CHUNK_RANGE, /* waits for earlier requests on the same blocks */
	PWS_CHUNK_ROWS, /* waits for the engine to fetch rows */
	PWS_CHUNK_OLD, /* waits for the old blocks that it completes */
	PWS_CHUNK_SPACE, /* waits for free blocks */
	PWS_CHUNK_DISK, /* waits for its blocks */
	PWS_CHUNK_AGAIN, /* reads a block again whose checksum was wrong */
	PWS_CHUNK_DONE, /* its owner has been told; finish or release ends it */
};

/* A block at one end of a write, or the last one of a truncation, that keeps some old bytes. */
struct pws_chunk_edge {
	uint32_t idx; /* in the request's blocks */
	uint32_t from, to; /* old bytes [from, to) are kept */
	uint64_t block; /* where the old block is, or PWS_HOLE: zeros */
	uint32_t crc;
	uint8_t *scratch; /* it is read into */
};

struct pws_chunk_op {
	struct pw_list node; /* free list, or pws_chunk.checking */
	struct pw_ready ready;
	void (*step)(struct pws_chunk_op *op);
	struct pws_chunk *c;
	union {
		struct pws_store_write *w;
		struct pws_store_read *r;
		struct pws_store_trunc *t;
	};
	enum pws_chunk_state state;
	uint64_t ino;
	uint64_t first; /* file block */
	uint32_t nr; /* blocks */
	uint8_t *mem; /* image of these blocks: borrowed from the request's buffer */
	uint64_t *blk; /* owned: where each is, or PWS_HOLE */
	uint32_t *crc; /* owned: of each */
	struct pws_run *old; /* owned: what the rows of this attempt replace */
	uint32_t nr_old, max_old;
	uint64_t resume; /* truncation: of this attempt */
	uint64_t probe_off, probe_block; /* truncation: first block that this attempt removed */
	uint64_t seen_seq;

	struct pws_range range;
	struct pws_alloc_pin pin;
	struct pws_alloc_wait wait;
	struct pws_kv_fetch fetch;

	struct pws_chunk_edge edges[2];
	uint32_t nr_edges;
	bool reread; /* edges, AGAIN: second and last attempt */
	uint8_t *scratch; /* owned: two blocks */

	/* ios */
	uint32_t next; /* first block that is not submitted */
	uint32_t inflight;
	int err;
	struct pw_list idle_ios;
	struct pws_chunk_io ios[PWS_CHUNK_IOS];
};

struct pws_chunk {
	struct pws_store base;
	struct pws_store_opts o;
	struct pws_alloc *alloc;
	struct pws_ranges *ranges;
	struct pws_scrub *scrub;
	struct pws_chunk_op *ops, *trunc_ops; /* owned arrays */
	uint32_t nr_ops, nr_trunc_ops;
	uint8_t *scratch; /* owned: all the ops' */
	struct pw_list free_ops, free_trunc_ops;
	struct pw_list wait_writes, wait_reads, wait_truncs; /* requests without an op */
	struct pw_list checking; /* large reads whose bytes are here */
	struct pw_ready check_ready;
	struct pws_store_stats stats;
	bool stopping;
	struct pw_ready stop_ready;
	void (*stop_done)(void *arg);
	void *stop_arg;
};

static inline struct pws_chunk *pws_chunk_of(struct pws_store *s)
{
	return pw_container_of(s, struct pws_chunk, base);
}

/* chunk.c */
/* NULL when all are in use. */
struct pws_chunk_op *pws_chunk_op_get(struct pws_chunk *c, struct pw_list *pool,
				      void (*step)(struct pws_chunk_op *op));
/* Drops range and pin, and starts a request that waited for an op. */
void pws_chunk_op_put(struct pws_chunk_op *op);

/* chunk_io.c */
/* Reads the inode. 0; -EINPROGRESS: the op is made ready, try again; -ESTALE; -EBADMSG; -EIO */
int pws_chunk_load_inode(struct pws_chunk_op *op, struct pws_inode *ret);
/* Reads the row at byte @off of the file; no row, or a dead one: present is 0. Same returns. */
int pws_chunk_load_row(struct pws_chunk_op *op, uint64_t off, const struct pws_inode *inode,
		       struct pws_segment *ret);
/* Transfers op->blk[op->next ...] <-> op->mem as far as ios are free; the op is made ready as they
 * end. */
void pws_chunk_transfer(struct pws_chunk_op *op, enum pws_disk_op dir);
/* One block; as above. */
void pws_chunk_read_block(struct pws_chunk_op *op, uint64_t block, uint8_t *mem);
/* One log line, one count, one call of on_bad_block. */
void pws_chunk_bad_block(struct pws_chunk *c, uint64_t ino, uint64_t file_block, uint32_t stored,
			 uint32_t computed);
/* Adds a block to op->old, which has room for it. */
void pws_chunk_push_old(struct pws_chunk_op *op, uint64_t block);

/* Edges, for writes and truncations */
/* Looks up where the old blocks of the edges are. Returns as pws_chunk_load_inode(). */
int pws_chunk_edges_load(struct pws_chunk_op *op);
/* Starts to read them. Return: false when there are none. */
bool pws_chunk_edges_read(struct pws_chunk_op *op);
/* They are in: checks and fills them in. 0; -EAGAIN: being read once more; -EBADMSG; -EIO */
int pws_chunk_edges_fill(struct pws_chunk_op *op);
/* The states SPACE and DISK: op->mem goes to new blocks, @spare: also those kept for this. 0: it is
 * there, DONE; -EINPROGRESS, also in any other state; -ENOSPC; -EIO: no block is held. */
int pws_chunk_place(struct pws_chunk_op *op, bool spare);
/* Gives back what place took: nothing refers to it. */
void pws_chunk_give_new(struct pws_chunk_op *op);

/* chunk_write.c, chunk_read.c, chunk_trunc.c: struct pws_store_ops */
void pws_chunk_write_start(struct pws_chunk_op *op, struct pws_store_write *w);
void pws_chunk_write_step(struct pws_chunk_op *op);
int pws_chunk_write_rows(struct pws_store *s, struct pws_store_write *w, struct pws_txn *t,
			 const struct pws_inode *inode, int64_t *blocks_delta);
void pws_chunk_write_finish(struct pws_store *s, struct pws_store_write *w,
			    enum pws_outcome outcome);
void pws_chunk_read_start(struct pws_chunk_op *op, struct pws_store_read *r);
void pws_chunk_read_step(struct pws_chunk_op *op);
/* pws_chunk.check_ready: a piece of what large reads have to check */
void pws_chunk_check(struct pw_ready *ready);
void pws_chunk_read_release(struct pws_store *s, struct pws_store_read *r);
void pws_chunk_trunc_start(struct pws_chunk_op *op, struct pws_store_trunc *t);
void pws_chunk_trunc_step(struct pws_chunk_op *op);
int pws_chunk_trunc_rows(struct pws_store *s, struct pws_store_trunc *t, struct pws_txn *txn,
			 const struct pws_inode *inode, int64_t *blocks_delta, bool *ret_more);
void pws_chunk_trunc_finish(struct pws_store *s, struct pws_store_trunc *t,
			    enum pws_outcome outcome);

#endif
