/* SPDX-License-Identifier: Apache-2.0 */
/* alloc.h -- which blocks of the disk are free, and when a freed one may be written again
 *
 *	free -> take -> used -> give (nobody ever saw it)          -> free
 *	                     -> retire (a commit took its row away) -> limbo -> free
 *
 * A block in limbo becomes free when the commit that retired it is flushed (before that a power cut
 * could bring the row back) and every read that may know the row has ended. Limbo is two sets: one
 * collects, one waits as a whole. The file grows ahead of need. A reserve is kept for work that
 * frees space and for the metadata that share the filesystem: writes get -ENOSPC before it is
 * touched.
 * Thread: loop thread.      Allocates: only in open (bitmaps are touched where they are used).
 */
#ifndef PWS_ALLOC_H
#define PWS_ALLOC_H

#include "storage_node/meta_kv/meta_kv.h"
#include "storage_node/store/disk.h"

struct pws_alloc;

struct pws_run { /* of blocks, side by side on the disk */
	uint64_t start;
	uint32_t nr;
};

struct pws_alloc_opts {
	struct pws_kv *kv; /* borrowed */
	struct pws_disk *disk; /* borrowed */
	uint64_t data_off, max_bytes; /* as in struct pws_store_opts */
};

/* One that waits for blocks; borrowed until it is made ready or pws_alloc_cancel(). */
struct pws_alloc_wait {
	struct pw_list node;
	struct pw_ready *ready;
};

/* One that reads blocks whose rows it looked up. */
struct pws_alloc_pin {
	struct pw_list node;
	uint64_t epoch;
};

/* Every block is free. 0; -ENOMEM; -EINVAL (the disk ends before data_off). */
int pws_alloc_open(struct pw_loop *loop, const struct pws_alloc_opts *o, struct pws_alloc **ret);
void pws_alloc_close(struct pws_alloc *a); /* idle; NULL is fine */
/* At start: these are in use. 0; -EBADMSG: they do not exist, or are in use already. */
int pws_alloc_claim(struct pws_alloc *a, uint64_t start, uint64_t nr);

/**
 * pws_alloc_take - @nr blocks, side by side where that can be found
 * @spare: the caller will free as much; may touch the reserve
 * @ret: room for @nr numbers
 *
 * Return: 0; -EAGAIN: blocks will become free, pws_alloc_wait() and try again; -ENOSPC; -EIO: the
 * engine cannot flush any more.
 */
int pws_alloc_take(struct pws_alloc *a, uint32_t nr, bool spare, uint64_t *ret);
void pws_alloc_wait(struct pws_alloc *a, struct pws_alloc_wait *w, struct pw_ready *ready);
void pws_alloc_cancel(struct pws_alloc_wait *w);
void pws_alloc_give(struct pws_alloc *a, uint64_t start, uint64_t nr);
void pws_alloc_retire(struct pws_alloc *a, uint64_t start, uint64_t nr);

void pws_alloc_pin(struct pws_alloc *a, struct pws_alloc_pin *p);
void pws_alloc_unpin(struct pws_alloc *a, struct pws_alloc_pin *p); /* if it is pinned */

/* No growth, no flush from now on. Return: true when idle, else @ready is made ready when it is. */
bool pws_alloc_stop(struct pws_alloc *a, struct pw_ready *ready);
/* Bytes: all that there may ever be, and what writes could still use of it. */
void pws_alloc_space(struct pws_alloc *a, uint64_t *ret_total, uint64_t *ret_free);
/* Blocks: free now, in limbo, and all that the file has now. */
void pws_alloc_counts(const struct pws_alloc *a, uint64_t *ret_free, uint64_t *ret_limbo,
		      uint64_t *ret_all);
uint64_t pws_alloc_stalls(const struct pws_alloc *a);

#endif
