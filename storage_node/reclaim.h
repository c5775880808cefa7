/* SPDX-License-Identifier: Apache-2.0 */
/* reclaim.h -- deletes in the background what nobody can reach any more
 *
 * Two kinds of work, both found by their O row, so that a crash loses none of it: inodes without a
 * name that nobody has open, and tails that a truncation cut off and could not delete in its own
 * commit. A few jobs run side by side, so that their commits share flushes; each works in several
 * small transactions. After a start nothing without a name is touched for one lease, if there are
 * clients of the life before: its opens may still be claimed. Thread: loop thread. Allocates: at
 * start.
 */
#ifndef PWS_RECLAIM_H
#define PWS_RECLAIM_H

#include "common/list.h"
#include "common/loop.h"
#include "storage_node/meta_kv/txn.h"
#include "storage_node/store/store.h"

#define PWS_RECLAIM_JOBS  8u
#define PWS_RECLAIM_QUEUE 4096u

struct pws_node;

enum pws_reclaim_kind {
	PWS_RECLAIM_NOTHING, /* no O row, or not yet: somebody has it open */
	PWS_RECLAIM_ORPHAN,  /* a file without a name: rows, then the inode */
	PWS_RECLAIM_TAIL,    /* rows that dead_from and dead_gen name */
};

struct pws_reclaim_job {
	struct pws_reclaim *rc;
	uint64_t ino; /* 0: idle */
	enum pws_reclaim_kind kind;
	struct pws_txn txn;
	struct pws_store_trunc trunc;
	struct pws_buf *buf; /* owns, for life */
	bool more;	     /* rows were left over by the last transaction */
	bool deleted; /* an attempt has deleted the inode; whether it stands, the next one sees */
	bool again;   /* kicked while it ran */
};

struct pws_reclaim_waiter {
	struct pw_list node;
	void (*done)(struct pws_reclaim_waiter *w);
};

struct pws_reclaim {
	struct pws_node *n;
	bool stopping, grace;
	struct pw_timer grace_timer;
	struct pw_ready ready;
	/* Inodes to look at: a ring; when it is full, the O rows are walked instead. */
	uint64_t *queue; /* owns */
	uint32_t head, nr;
	bool scan; /* walk the O rows from scan_after on */
	uint64_t scan_after;
	struct pws_kv_fetch fetch;
	bool fetching;
	struct pws_reclaim_job jobs[PWS_RECLAIM_JOBS];
	uint32_t nr_running;
	struct pw_list waiters; /* for space */
	uint64_t reclaimed_inodes, reclaimed_tails, failed;
};

/* 0 or -ENOMEM. */
int pws_reclaim_init(struct pws_reclaim *rc, struct pws_node *n);
void pws_reclaim_fini(struct pws_reclaim *rc);
/* Begins with a walk over all O rows; inodes without a name wait for @grace_ms, 0: they need not.
 */
void pws_reclaim_start(struct pws_reclaim *rc, uint32_t grace_ms);
/* @ino has an O row, or may have one: look at it soon. */
void pws_reclaim_kick(struct pws_reclaim *rc, uint64_t ino);
/* Nothing new begins; pws_node_idle_check() when the last job has ended. */
void pws_reclaim_stop(struct pws_reclaim *rc);
bool pws_reclaim_idle(const struct pws_reclaim *rc); /* no job runs */

/* For somebody without space: true if work is going on, then @w is called after some of it is
 * done. */
bool pws_reclaim_wait(struct pws_reclaim *rc, struct pws_reclaim_waiter *w);

#endif
