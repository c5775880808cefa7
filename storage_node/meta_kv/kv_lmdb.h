/* SPDX-License-Identifier: Apache-2.0 */
/* kv_lmdb.h -- what the files of the "lmdb" engine share; nobody else includes it
 *
 *	kv_lmdb.c      open and recovery, reads, stop, the ops table
 *	kv_admit.c     commits: checks, room, the line of those that wait; who is told when
 *	kv_ckpt.c      overlay -> index
 *
 * Records are looked for in the active overlay, then in the frozen one, then in the index. A commit
 * goes to the active overlay and to the journal. A checkpoint freezes the active overlay, waits
 * until all of it is flushed (the index must not hold what a power cut can take from the journal:
 * its rows may name data blocks that are not there), and has the index apply it. Then the frozen
 * overlay and its part of the ring are free.
 *
 * Room in the ring: each of the two overlays may fill half of it, so a batch never waits for room.
 * A commit that would make the active one larger than its half freezes it, or, while the frozen one
 * is still there, waits in line, unapplied, as a copy.
 */
#ifndef PWS_KV_LMDB_H
#define PWS_KV_LMDB_H

#include "storage_node/meta_kv/kv_commit.h"
#include "storage_node/meta_kv/kv_index.h"

struct kv_lmdb {
	struct pws_kv kv;
	struct pws_kv_lmdb_opts o;
	struct pws_kv_index *index;  /* owns */
	struct pws_journal *journal; /* owns */
	struct pws_kv_map *active;   /* owns */
	struct pws_kv_map *frozen;   /* owns; NULL: no checkpoint is under way */
	uint64_t half_bytes;	     /* of the ring, for each overlay */
	uint64_t active_pos;	     /* where the active overlay's first batch begins */

	struct pw_timer seal; /* of a journal that has nothing to do */
	uint64_t last_seq;
	int err; /* the engine is dead: -EIO for every commit */
	bool stopping;

	/* kv_admit.c */
	struct pw_list line; /* pws_kv_commit.node: copies that wait for a checkpoint, in order */
	struct pw_list for_write, for_flush;   /* pws_kv_commit.node by seq; told when that far */
	struct pw_list wait_write, wait_flush; /* pws_kv_waiter.node by seq */
	struct pw_list over;		       /* pws_kv_commit.node: err is set, told next turn */
	struct pw_ready ready;
	struct pw_timer interval; /* durability = interval: the next flush */

	/* kv_ckpt.c */
	struct pws_kv_index_apply apply;
	uint64_t frozen_end_seq;
	bool applying;
	struct pw_timer ckpt_timer; /* first change + 30 s; or a failed checkpoint's next try */

	void (*stopped)(void *arg, int err); /* NULL: nobody waits for the end */
	void *stopped_arg;
	struct pws_kv_stats stats;
};

static inline struct kv_lmdb *kv_to_lmdb(struct pws_kv *kv)
{
	return pw_container_of(kv, struct kv_lmdb, kv);
}

/* The engine cannot go on: logs once, everybody who waits is told. */
void kv_lmdb_fail(struct kv_lmdb *k, int err, const char *why);
/* Is everything on media and in the index, or will it never be? */
void kv_lmdb_step_stop(struct kv_lmdb *k);
/* The newest record, deletions included, wherever it is. 0; -ENOENT; -EIO. */
int kv_lmdb_find(struct kv_lmdb *k, struct pws_slice key, struct pws_kv_rec *ret);

/* kv_admit.c */
void kv_admit_init(struct kv_lmdb *k);
void kv_admit_fini(struct kv_lmdb *k);
void kv_admit_commit(struct pws_kv *kv, struct pws_kv_commit *c);
void kv_admit_wait(struct pws_kv *kv, struct pws_kv_waiter *w);
bool kv_admit_has_room(const struct pws_kv *kv);
uint64_t kv_admit_durable_seq(const struct pws_kv *kv);
/* Nobody stands in any line. */
bool kv_admit_idle(const struct kv_lmdb *k);
/* Something moved: the engine looks at all its lists, next turn at the latest. */
void kv_admit_kick(struct kv_lmdb *k);

/* kv_ckpt.c */
void kv_ckpt_init(struct kv_lmdb *k);
void kv_ckpt_fini(struct kv_lmdb *k);
/* Freezes the active overlay if it has anything and none is frozen. */
void kv_ckpt_start(struct kv_lmdb *k);
/* The first change after a checkpoint was made: there will be another one in time. */
void kv_ckpt_arm(struct kv_lmdb *k);
/* The journal got further, or failed. */
void kv_ckpt_step(struct kv_lmdb *k);

#endif
