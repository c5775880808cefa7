/* SPDX-License-Identifier: Apache-2.0 */
/* journal.h -- write-ahead ring on the node's disk: commits in batches, in order, flushes shared
 *
 * One batch is being written while the next one fills; an idle journal writes a commit at once. A
 * flush that somebody wants starts when what it is wanted for is written, and covers everything
 * that was written by then; meanwhile further batches are written and share the next flush. Data
 * blocks are on the same disk, so the flush covers them too.
 * A failed write or flush is for ever: nothing is tried again, because the kernel may have dropped
 * what it could not write and would report the next flush as good.
 * The ring does not know what may be overwritten: its user keeps the distance between the oldest
 * mark that replay could start from and pws_journal_end() within the ring.
 * Thread: loop thread.      Allocates: a batch buffer when three are not enough.
 * Depends: disk.h.      Must not know: overlays, the index.
 */
#ifndef PWS_JOURNAL_H
#define PWS_JOURNAL_H

#include "storage_node/meta_kv/journal_batch.h"
#include "storage_node/store/disk.h"

struct pws_journal;

/* A place between two batches: where replay begins. Kept in the index with what the index holds. */
struct pws_journal_mark {
	uint64_t salt;	/* random; tells our batches from older ones on the same blocks */
	uint64_t epoch; /* of the batches behind this mark; changes with every start */
	uint64_t seq;	/* of the last commit before it */
	uint64_t pos;	/* in bytes since the ring was new */
	uint32_t crc;	/* of the batch before it */
};

struct pws_journal_opts {
	struct pws_disk *disk;
	uint64_t off, bytes;	     /* the ring; multiples of PWS_BLOCK */
	void (*progress)(void *arg); /* written_seq, flushed_seq or err changed; from the loop */
	void *arg;
};

struct pws_journal_end {	      /* what replay found */
	struct pws_journal_mark mark; /* behind the last batch that stands */
	uint64_t flushed_seq;	      /* known to be on media: nothing up to here can be missing */
	uint64_t nr_batches, nr_commits;
};

/* Return: 0 goes on; -errno ends the replay with that error. @muts: borrowed during the call. */
typedef int (*pws_journal_commit_fn)(void *arg, uint64_t seq, const struct pws_kv_mut *muts,
				     uint32_t nr);

/**
 * pws_journal_replay - read the batches behind a mark, blocking, in order
 * @limit_seq: no batch with commits after this; UINT64_MAX: all
 *
 * Ends before the first batch that is torn, missing or not the successor of the one before.
 * Return: 0; -EBADMSG when a batch is damaged that a later one says had been flushed; -EINVAL a
 * batch of another version; -EIO; what @fn returned.
 */
int pws_journal_replay(const struct pws_journal_opts *o, const struct pws_journal_mark *from,
		       uint64_t limit_seq, pws_journal_commit_fn fn, void *arg,
		       struct pws_journal_end *ret);

/**
 * pws_journal_erase - write zeros all over a new ring, blocking
 *
 * A file that was only allocated has its blocks marked as never written: each first write of one
 * makes the filesystem commit that change at the next flush, which takes nearly twice as long.
 */
int pws_journal_erase(const struct pws_journal_opts *o);

/* Is there any batch, of whatever filesystem? 1, 0 or -errno. Blocking. */
int pws_journal_in_use(const struct pws_journal_opts *o);

/* Ready to write behind @from. 0; -ENOMEM; -EINVAL the ring is too small. */
int pws_journal_new(const struct pws_journal_opts *o, const struct pws_journal_mark *from,
		    struct pws_journal **ret);
void pws_journal_free(struct pws_journal *j); /* nothing in flight; accepts NULL */

/* Where the ring would end if @bytes of commits were appended and the batch closed. */
uint64_t pws_journal_end_after(const struct pws_journal *j, uint32_t bytes);
/* Room for a commit of @bytes, so that append cannot fail. 0 or -ENOMEM. */
int pws_journal_reserve(struct pws_journal *j, uint32_t bytes) PW_WARN_UNUSED;
/* Appends commit @seq, the successor of the last one; starts writing when idle. */
void pws_journal_append(struct pws_journal *j, uint64_t seq, const struct pws_kv_mut *muts,
			uint32_t nr);
/* Everything up to @seq is to be flushed, soon. */
void pws_journal_want_flush(struct pws_journal *j, uint64_t seq);
/* Writes a seal, if the journal is idle: a batch without commits, to say that what stands before it
 * is on media. Without it nobody could tell damage of the last batches from a power cut. */
void pws_journal_seal(struct pws_journal *j);
/* Is anything flushed that no batch says is? */
bool pws_journal_unsealed(const struct pws_journal *j);
/* Closes the batch that fills, if there is one: @ret is behind everything that was appended. */
void pws_journal_cut(struct pws_journal *j, struct pws_journal_mark *ret);

uint64_t pws_journal_written_seq(const struct pws_journal *j);
uint64_t pws_journal_flushed_seq(const struct pws_journal *j);
int pws_journal_err(const struct pws_journal *j);   /* 0, or why nothing will be written any more */
bool pws_journal_busy(const struct pws_journal *j); /* a write or flush is in flight */

struct pws_journal_stats {
	uint64_t batches, flushes, bytes; /* batches: seals included */
	uint64_t seals;
};
void pws_journal_get_stats(const struct pws_journal *j, struct pws_journal_stats *ret);

#endif
