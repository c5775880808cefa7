/* SPDX-License-Identifier: Apache-2.0 */
/* meta_kv.h -- ordered key-value engine below names, inodes and the chunk index
 *
 * Engines: "lmdb" (kv_lmdb.c: a write-ahead journal on the node's disk, an overlay in memory, LMDB
 * as the checkpointed index) and "memory" (kv_mem.c: volatile; also the one that tests make fail:
 * injected conflicts, unknown outcomes, delays). Callers use txn.h, which sits on this.
 *
 * Contract of every engine: keys <= 300 bytes, values <= 64 KiB, <= 4096 mutations and <= 1 MiB per
 * commit, never split; commits are atomic and ordered; a commit is visible to reads at once and
 * *durable* later. Versions (seq) grow with every commit; absent keys have version 0 or that of
 * their deletion. Nobody may rely on phantom protection: "the directory is empty" is guarded by the
 * directory's inode key.
 * Thread: loop thread.
 */
#ifndef PWS_META_KV_H
#define PWS_META_KV_H

#include "common/list.h"
#include "common/loop.h"

struct pws_kv;
struct pws_disk;

#define PWS_KV_KEY_MAX 300u
#define PWS_KV_VAL_MAX (64u << 10)
#define PWS_KV_MUTS_MAX 4096u
#define PWS_KV_COMMIT_MAX (1u << 20)

struct pws_slice {
	const void *p;
	uint32_t n;
};

struct pws_kv_rec {
	struct pws_slice key; /* set by ranges */
	struct pws_slice val; /* borrowed until the next commit or the end of the turn */
	uint64_t seq; /* commit that wrote it */
	uint64_t seen_seq; /* newest version met, deletions that a range passed over included: an
			    * answer that rests on this read must not leave before it is durable */
};

struct pws_kv_check { /* the key must still have this version (0: be absent) */
	struct pws_slice key;
	uint64_t seq;
};

struct pws_kv_mut {
	struct pws_slice key, val; /* val.p == NULL: delete; keys unique inside one commit */
};

struct pws_kv_commit {
	struct pw_list node; /* engine's until done */
	const struct pws_kv_check *checks;
	const struct pws_kv_mut *muts;
	uint32_t nr_checks, nr_muts;
	bool sync; /* durable on media before done, also with durability = interval */
	/* Set by the engine */
	uint64_t seq;
	int err; /* 0; -EAGAIN a check failed; -EINPROGRESS outcome unknown; -ENOSPC; -EIO */
	/* From the loop, never from within pws_kv_commit(). With err 0: durable as configured.
	 * Checks, mutations and what they point to are borrowed only during the call of
	 * pws_kv_commit(). */
	void (*done)(struct pws_kv_commit *c);
};

/* Waits until everything up to seq is durable as configured (or on media with sync). */
struct pws_kv_waiter {
	struct pw_list node;
	uint64_t seq;
	bool sync;
	int err;
	void (*done)(struct pws_kv_waiter *w);
};

/* Asynchronous engines (PostgreSQL, a later issue) answer a read with -EINPROGRESS and call @done
 * when the read can be tried again; the engines of this issue never do, but txn.c handles it and
 * tests inject it. */
struct pws_kv_fetch {
	struct pw_list node;
	void (*done)(struct pws_kv_fetch *f);
};

struct pws_kv_stats {
	uint64_t commits, batches, seals, flushes, checkpoints, replayed;
	uint64_t journal_bytes, overlay_bytes;
};

struct pws_kv_ops {
	const char *name;
	/* Return: 0 found; -ENOENT (rec->seq set); -EINPROGRESS (@f queued); -EIO. */
	int (*get)(struct pws_kv *kv, struct pws_slice key, struct pws_kv_rec *rec,
		   struct pws_kv_fetch *f);
	/* First record with begin <= key < end. Same returns. Walk with begin = key + '\0'. */
	int (*next)(struct pws_kv *kv, struct pws_slice begin, struct pws_slice end,
		    struct pws_kv_rec *rec, struct pws_kv_fetch *f);
	void (*commit)(struct pws_kv *kv, struct pws_kv_commit *c);
	/* Queues @w; done comes from the loop. A waiter for what is durable already is ready next
	 * turn. */
	void (*wait)(struct pws_kv *kv, struct pws_kv_waiter *w);
	uint64_t (*last_seq)(const struct pws_kv *kv);
	uint64_t (*durable_seq)(const struct pws_kv *kv); /* as configured */
	uint64_t (*media_seq)(const struct pws_kv *kv); /* flushed */
	/* Free space for metadata: false when only deletes should be let in. */
	bool (*has_room)(const struct pws_kv *kv);
	void (*get_stats)(const struct pws_kv *kv, struct pws_kv_stats *ret);
	/* Everything to media and the index, then @done; the engine may be closed then. */
	void (*stop)(struct pws_kv *kv, void (*done)(void *arg, int err), void *arg);
	void (*close)(struct pws_kv *kv);
};

/* Every engine struct begins with this. */
struct pws_kv {
	const struct pws_kv_ops *ops;
	struct pw_loop *loop;
};

void pws_kv_get_stats(const struct pws_kv *kv, struct pws_kv_stats *ret);

/* "memory". Never durable; durable_seq == last_seq. */
int pws_kv_mem_open(struct pw_loop *loop, struct pws_kv **ret);
struct pws_kv_mem_faults { /* rates in 1/1000; drawn from pw_random_below() */
	uint32_t conflict, unknown_applied, unknown_lost, read_async;
	uint64_t delay_ns_max;
};
void pws_kv_mem_set_faults(struct pws_kv *kv, const struct pws_kv_mem_faults *f);

/* "lmdb": journal in [0, journal_bytes) of @disk, index in directory @index_dir. */
struct pws_kv_lmdb_opts {
	const char *index_dir;
	struct pws_disk *disk;
	uint64_t journal_off, journal_bytes;
	uint64_t interval_ns; /* 0: durability = always; else flush this long after a commit */
	uint64_t map_bytes; /* LMDB's map: the largest index */
	/* Recovery: may this record stand? Called for every record that the replay of batches
	 * written after the last known flush would leave in place: the chunk store checks that the
	 * data blocks that a row names are there (CRC). false ends the replay before the batch that
	 * wrote it; that one was never acknowledged as durable. Not called for what a later batch
	 * replaced: the blocks that only the older record named may be in use for something else by
	 * then. */
	bool (*verify)(void *arg, const struct pws_kv_mut *mut);
	void *verify_arg;
};
/* Blocking (start-up): recovers. 0; -EBADMSG damaged; -EINVAL not ours or another version; -errno.
 */
int pws_kv_lmdb_open(struct pw_loop *loop, const struct pws_kv_lmdb_opts *o, struct pws_kv **ret);

#endif
