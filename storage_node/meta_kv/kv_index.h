/* SPDX-License-Identifier: Apache-2.0 */
/* kv_index.h -- the checkpointed index below the journal and the overlay
 *
 * Link-time seam: kv_index_lmdb.c in the programs, a map in tests. Holds records up to a journal
 * mark; apply moves it to a later mark in one durable step: after a power cut it is at the old mark
 * or at the new one. Nothing blocks the loop but open and apply_now; reads go on while an apply
 * runs and see the old state until its done.
 * Thread: loop thread.      Must not know: commits, batches.
 */
#ifndef PWS_KV_INDEX_H
#define PWS_KV_INDEX_H

#include "storage_node/meta_kv/journal.h"
#include "storage_node/meta_kv/kv_map.h"

struct pws_kv_index;

struct pws_kv_index_state { /* kept with the records, replaced with every apply */
	struct pws_journal_mark mark;
	uint64_t ring_off, ring_bytes; /* where the journal is: it must be there next time, too */
};

/**
 * pws_kv_index_open - open the index, or make an empty one
 * @dir: made, 0700, when it is missing
 * @ret_new: it was empty: no state yet
 *
 * Return: 0; -EINVAL not ours or of another version; -EBADMSG damaged; -errno.
 */
int pws_kv_index_open(struct pw_loop *loop, const char *dir, uint64_t map_bytes,
		      struct pws_kv_index **ret, bool *ret_new);
void pws_kv_index_close(struct pws_kv_index *x); /* no apply is running; accepts NULL */
void pws_kv_index_get_state(const struct pws_kv_index *x, struct pws_kv_index_state *ret);

/* As pws_kv_ops; values are borrowed until the next apply is done. 0; -ENOENT; -EIO. */
int pws_kv_index_get(struct pws_kv_index *x, struct pws_slice key, struct pws_kv_rec *ret);
int pws_kv_index_next(struct pws_kv_index *x, struct pws_slice begin, struct pws_slice end,
		      struct pws_kv_rec *ret);

struct pws_kv_index_apply {
	const struct pws_kv_map *map; /* borrowed until done; nobody changes it meanwhile */
	struct pws_kv_index_state state;
	int err; /* 0; -ENOSPC no room on the disk, may be tried again; -errno for ever */
	void (*done)(struct pws_kv_index_apply *a); /* from the loop */
};
/* One at a time. */
void pws_kv_index_apply(struct pws_kv_index *x, struct pws_kv_index_apply *a);
/* The same, blocking: start-up only. Return: a->err. */
int pws_kv_index_apply_now(struct pws_kv_index *x, struct pws_kv_index_apply *a);

/* Bytes that the index may still grow by. */
uint64_t pws_kv_index_room(const struct pws_kv_index *x);

#endif
