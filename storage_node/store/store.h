/* SPDX-License-Identifier: Apache-2.0 */
/* store.h -- file contents of one node: aligned buffers in, checked bytes out
 *
 * Three kinds: "chunk" (copy-on-write blocks on a disk, CRC32C per 4 KiB block), "memory" (buffers
 * change owners, nothing is copied for full units), "null" (accepts and forgets; reads zeros). The
 * last two are for benchmarks and `status` says so.
 *
 * A store never touches inodes. Its caller (op_write.c, op_read.c, op_truncate.c) runs the
 * transaction and lets the store add its rows to it, so data, size and the reply row become visible
 * in one commit:
 *
 *	write:    prepare -> (ready) -> transaction { inode, store rows, reply row } -> finish
 *	truncate: prepare -> (ready) -> transaction { inode, store rows } -> finish
 *	read:     read -> (done) -> send @data -> release
 *
 * prepare takes the range for this write: overlapping writes and truncations of the same inode wait
 * in line until finish. finish(DONE) frees what was replaced once that is durable and no reader
 * uses it; finish(UNDONE) frees what was prepared; finish(UNSURE) frees neither: rows may refer to
 * either of them, and the next start finds out to which.
 * Thread: loop thread.      Hot path: no allocation.
 */
#ifndef PWS_STORE_H
#define PWS_STORE_H

#include "common/list.h"
#include "common/loop.h"
#include "storage_node/buf.h"
#include "storage_node/meta/records.h"
#include "storage_node/meta_kv/txn.h"
#include "storage_node/store/disk.h"

struct pws_store;

/* One write, embedded in the node's request. */
struct pws_store_write {
	struct pw_list node; /* store's */
	uint64_t ino, off;
	uint32_t len; /* bytes, > 0, <= max_io */
	/* Staged bytes: data at buf->mem + head where head = off % PWS_BLOCK unless @head says
	 * otherwise. Slot buffers have room for max_io + 2 blocks so that the partial blocks at
	 * both ends can be completed in place. The memory store may take the buffer and put another
	 * in its place. */
	struct pws_buf *buf;
	uint32_t head; /* where the payload starts in buf: set by the caller to off % PWS_BLOCK */
	/* Result, with ready: finish(DONE) takes @buf. Nobody but the store may be able to write to
	 * it when the commit begins. */
	bool takes_buf;
	int err;
	/* Prepared, or @err set (-ENOSPC, -EIO, -EBADMSG, -ESTALE no such inode, -EFBIG): then
	 * nothing is held any more and finish is not needed, but harmless. From the loop, never
	 * from within prepare. */
	void (*ready)(struct pws_store_write *w);
	void *priv; /* store's, from its pool, between prepare and finish */
};

struct pws_store_read {
	struct pw_list node;
	uint64_t ino, off;
	/* Clamped to the file's size by the caller; > 0. The store makes it shorter (down to 0)
	 * when the file was cut in the meantime. */
	uint32_t len;
	struct pws_buf *buf; /* scratch with room for max_io + 2 blocks; may stay unused */
	const void *data; /* result: len bytes, valid until release */
	/* Result: newest commit that was seen; wait until it is durable before the answer goes
	 * out. */
	uint64_t seen_seq;
	/* -EBADMSG: media returned wrong bytes (logged with file, chunk, block); -EIO; -ESTALE no
	 * such inode */
	int err;
	void (*done)(struct pws_store_read *r); /* from the loop; release is due after errors too */
	void *priv;
};

/* To a smaller size, or away altogether: everything at or after @from goes. */
struct pws_store_trunc {
	struct pw_list node;
	uint64_t ino, from;
	struct pws_buf *buf; /* scratch of at least 2 blocks: the last block is cut in a copy */
	/* Reclaim of what an earlier truncation left over: only rows that dead_from and dead_gen of
	 * the inode (as in the transaction) make dead go; waits for no write; @from is not used. */
	bool reclaim;
	/* When the work takes several commits: what is before this offset was seen to by an earlier
	 * one. Start with 0; finish(DONE) moves it on. */
	uint64_t resume;
	int err;
	void (*ready)(struct pws_store_trunc *t); /* as for a write */
	void *priv;
};

struct pws_store_space {
	uint64_t total, free; /* bytes */
};

struct pws_store_stats {
	uint64_t reads, writes, bytes_read, bytes_written;
	uint64_t rmw_blocks; /* partial blocks completed by reading */
	uint64_t copied_bytes; /* payload bytes that the CPU moved, beyond checksums */
	uint64_t crc_errors, scrubbed_blocks, scrub_errors, scrub_passes;
	uint64_t stall_space, stall_range, stall_disk;
};

/* Were the rows of a request committed? */
enum pws_outcome {
	PWS_UNDONE,
	PWS_DONE,
	PWS_UNSURE, /* the engine lost the outcome, and nobody could find out */
};

/* Of @t, when done() is called. @done: its rows are in it. */
static inline enum pws_outcome pws_outcome(const struct pws_txn *t, bool done)
{
	return done ? PWS_DONE : t->unsure ? PWS_UNSURE : PWS_UNDONE;
}

struct pws_store_ops {
	const char *name; /* "chunk", "memory", "null" */
	void (*write_prepare)(struct pws_store *s, struct pws_store_write *w);
	/* Inside the caller's attempt; may return -EAGAIN. @blocks_delta: change of
	 * inode->blocks */
	int (*write_rows)(struct pws_store *s, struct pws_store_write *w, struct pws_txn *t,
			  const struct pws_inode *inode, int64_t *blocks_delta);
	void (*write_finish)(struct pws_store *s, struct pws_store_write *w,
			     enum pws_outcome outcome);
	void (*read)(struct pws_store *s, struct pws_store_read *r);
	void (*read_release)(struct pws_store *s, struct pws_store_read *r);
	void (*trunc_prepare)(struct pws_store *s, struct pws_store_trunc *t);
	/* Removes rows, as many as fit (pws_txn_room); the rest is told by *ret_more: the caller
	 * records dead_from = @from, dead_gen = the new trunc_gen in the inode and an O record;
	 * truncations with reclaim set finish it later. A row at or after dead_from is dead if its
	 * trunc_gen is below dead_gen.
	 * -EBUSY: a dead tail begins before @from already and this cut does not fit one commit: one
	 * pair of fields cannot tell both; reclaim first, then try again. */
	int (*trunc_rows)(struct pws_store *s, struct pws_store_trunc *t, struct pws_txn *txn,
			  const struct pws_inode *inode, int64_t *blocks_delta, bool *ret_more);
	void (*trunc_finish)(struct pws_store *s, struct pws_store_trunc *t,
			     enum pws_outcome outcome);
	void (*space)(struct pws_store *s, struct pws_store_space *ret);
	void (*get_stats)(struct pws_store *s, struct pws_store_stats *ret);
	/* Background scrub at @bytes_per_s (0 stops). No-op for memory and null. */
	void (*scrub)(struct pws_store *s, uint64_t bytes_per_s);
	/* Ends scrub and growth of the file; @done from the loop when the store has nothing in
	 * flight (requests are the caller's to end first). Then close. */
	void (*stop)(struct pws_store *s, void (*done)(void *arg), void *arg);
	void (*close)(struct pws_store *s); /* stopped, or never used */
};

struct pws_store {
	const struct pws_store_ops *ops;
	struct pw_loop *loop;
	struct pws_kv *kv;
};

struct pws_store_opts {
	struct pws_kv *kv;
	struct pws_bufpool *bufs; /* slot buffers; also for the store's own scratch */
	uint32_t max_io;
	uint32_t max_inflight; /* reads and writes at once: all made at open */
	/* chunk */
	struct pws_disk *disk;
	uint64_t data_off; /* blocks begin here on the disk; PWS_BLOCK aligned */
	uint64_t max_bytes; /* 0: as far as the disk can grow */
	/* memory */
	uint64_t memory_bytes;
	/* Called when media returned wrong bytes, after the store's own log line; may be NULL. */
	void (*on_bad_block)(void *arg, uint64_t ino, uint64_t chunk, uint32_t block);
	void *arg;
};

/* Blocking part at start: builds the free map from the rows. 0 or -errno (-EBADMSG: rows
 * overlap). */
int pws_store_open_chunk(struct pw_loop *loop, const struct pws_store_opts *o,
			 struct pws_store **ret);
int pws_store_open_memory(struct pw_loop *loop, const struct pws_store_opts *o,
			  struct pws_store **ret);
int pws_store_open_null(struct pw_loop *loop, const struct pws_store_opts *o,
			struct pws_store **ret);
/* For pws_kv_lmdb_opts.verify, before the store is open: reads the blocks that a B row names
 * (blocking) and checks their CRC. Other rows are fine. */
bool pws_store_verify_row(struct pws_disk *disk, uint64_t data_off,
			  const struct pws_kv_mut *mut);

#endif
