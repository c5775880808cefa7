/* SPDX-License-Identifier: Apache-2.0 */
/* store_rig.h -- a store on fakes, and requests that do to it what the node's op_*.c do
 *
 * Time is virtual, the disk is fake_disk.c, the engine kv_mem.c, so a run depends on its seed
 * alone.
 */
#ifndef STORE_RIG_H
#define STORE_RIG_H

#include "storage_node/store/store.h"

#include "fake_disk.h"
#include "index_map.h"
#include "vloop.h"

#define RIG_MAX_IO (128u << 10)
#define RIG_INFLIGHT 32u
#define RIG_DATA_OFF (64u << 10)

enum rig_kind { RIG_CHUNK, RIG_MEMORY, RIG_NULL };

struct rig_opts {
	enum rig_kind kind;
	uint64_t seed;
	uint64_t disk_bytes, disk_max; /* 0: 64 MiB, as much */
	uint64_t memory_bytes;
	/* The journal engine on the same disk, in place of kv_mem: sr_crash() is possible. */
	bool journal;
	uint64_t interval_ns;
};

struct rig {
	struct rig_opts o;
	struct pw_loop *loop;
	struct pws_kv *kv;
	struct pws_kv_mem_faults faults;
	struct pws_disk *disk;
	struct index_store *index; /* of the journal engine */
	uint64_t data_off;
	struct pws_bufpool *bufs;
	struct pws_store *store;
	uint32_t nr_running;
	struct pw_list lent; /* rig_op.lent_node: reads that linger */
	/* media_seq() of the engine when held: as if nothing newer were flushed */
	bool hold_media;
	uint64_t media_seq;
	struct pw_list media_waiters; /* sync waiters that wait for sr_flush() */
	uint32_t nr_media_waits;
	/* last call of on_bad_block */
	uint32_t nr_bad;
	uint64_t bad_ino, bad_chunk;
	uint32_t bad_block;
};

enum rig_op_kind { RIG_WRITE, RIG_READ, RIG_TRUNC, RIG_RECLAIM };

struct rig_op {
	struct rig *rig;
	enum rig_op_kind kind;
	uint64_t ino, off; /* TRUNC: new size */
	uint32_t len;
	uint64_t pattern; /* payload */
	uint32_t room; /* TRUNC, RECLAIM: rows that fit the commit; 0: all */
	uint32_t head; /* WRITE: where the payload is staged; 0: where it belongs */
	uint64_t old_size; /* READ: the size that the caller saw, if it was larger than it is */
	bool orphan; /* TRUNC: of a file without a name, in as many commits as it takes */
	bool no_reply; /* WRITE: an attempt has no row that tells what an earlier one did */
	bool refuse; /* the transaction ends in -EPERM */
	bool blind; /* an outcome that is lost cannot be found out: -EIO */
	bool keep_lent; /* READ: release is the test's */
	bool linger; /* READ: as a slow transport does, releases some time after its end */
	struct rig_op *before_commit; /* WRITE: a read that runs when it is prepared */
	/* results */
	bool done, committed, more;
	int err;
	uint64_t seq; /* of the commit */
	uint64_t first_seq, last_seq; /* engine's at start and end */
	uint64_t seen_seq;
	uint8_t *data; /* READ: copy; freed by sr_op_free() */
	/* the machinery */
	struct pw_list lent_node;
	struct rig_op *resume; /* the write whose before_commit this is */
	struct pws_buf *buf;
	uint64_t id;
	struct pws_store_write w;
	struct pws_store_read r;
	struct pws_store_trunc t;
	struct pws_txn txn;
};

/* PW_FAULT is set: whatever fails may fail. */
bool sr_faults(void);
/* 0 or -errno of the store's open. */
int sr_new(struct rig **ret, const struct rig_opts *o);
/* Closes the store and opens it again over the same rows and disk. */
int sr_reopen(struct rig *rig);
void sr_free(struct rig *rig); /* NULL is fine */
/* The power goes now. Requests end in errors; then everything comes up on what the disk has kept.
 * 0 or -errno of the recovery. */
int sr_crash(struct rig *rig);
void sr_set_faults(struct rig *rig, const struct pws_kv_mem_faults *f);
/* An empty inode. */
void sr_make(struct rig *rig, uint64_t ino);
void sr_inode(struct rig *rig, uint64_t ino, struct pws_inode *ret);
/* A record as it is; 0, -ENOENT. */
int sr_row(struct rig *rig, const struct pws_key *k, struct pws_kv_rec *ret);
void sr_put(struct rig *rig, struct pws_slice key, struct pws_slice val);
uint64_t sr_journal_bytes(void);
/* Until everything that is committed is on media (journal). */
void sr_sync(struct rig *rig);
/* Held media only: everything up to now is flushed. */
void sr_flush(struct rig *rig);

struct rig_op *sr_op_new(struct rig *rig, enum rig_op_kind kind, uint64_t ino, uint64_t off,
			  uint32_t len, uint64_t pattern);
void sr_op_start(struct rig_op *op);
void sr_op_free(struct rig_op *op);
/* Until all requests have ended. */
void sr_run(struct rig *rig);
/* One request from start to end. Return: its error. */
int sr_write(struct rig *rig, uint64_t ino, uint64_t off, uint32_t len, uint64_t pattern);
int sr_trunc(struct rig *rig, uint64_t ino, uint64_t size);
/* Reads and compares with @want; fails the test on a difference. Return: the read's error. */
int sr_check(struct rig *rig, uint64_t ino, uint64_t off, uint32_t len, const uint8_t *want);

/* Bytes [from, from + len) of a payload. */
void sr_fill(uint8_t *to, uint64_t pattern, uint32_t from, uint32_t len);
/* Blocks: free, in limbo, all; chunk store only. */
void sr_blocks(struct rig *rig, uint64_t *ret_free, uint64_t *ret_limbo, uint64_t *ret_all);
/* Where a block of a file is on the disk, bytes; UINT64_MAX: a hole. */
uint64_t sr_where(struct rig *rig, uint64_t ino, uint64_t file_block);

#endif
