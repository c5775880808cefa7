/* SPDX-License-Identifier: Apache-2.0 */
/* opens.h -- the inodes that this mount has open, and what its page cache knows of them
 *
 * The node counts the opens of each client, so that an unlinked file lives as long as somebody
 * reads it. After a reconnect the counts are given back to it (RECLAIM). Closing is answered at
 * once and told to the node behind the application's back, several closes of one inode in one
 * RELEASE: neither close(2) nor umount(8) ever waits for a node that is away.
 *
 * The page cache of an inode is good over a new open when the inode's change counter is the one
 * that is known here: that of the last open, moved on by each change that was our own as long as
 * there is no gap, and answers that overtake each other make none. Closed inodes are remembered
 * for that, up to a limit, oldest dropped first.
 * Thread: the loop's own.      Allocates: in reserve.      Must not know: FUSE.
 */
#ifndef PWC_OPENS_H
#define PWC_OPENS_H

#include "client_fs/peer.h"

#define PWC_OPENS_CLOSED_MAX 65536u
#define PWC_OPENS_LOOKS	     6u

struct pwc_open {
	struct pw_list hash; /* in its bucket; on the spare list while unused */
	struct pw_list closed; /* oldest first, while nothing refers to it */
	struct pw_list look; /* on one of pwc_opens.look, while it is open only to be read */
	uint64_t look_ns; /* when it is due */
	uint64_t ino;
	uint64_t known; /* change counter that the page cache matches; 0: unknown */
	uint64_t ahead; /* bit i: known + 1 + i was our own, too; bit 0 never stays */
	uint32_t slot; /* in pwc_opens.slot */
	uint32_t opens; /* file handles of the kernel */
	uint32_t writers; /* of them, those that may write */
	uint32_t to_release; /* closed, the node was not told yet */
	uint32_t releasing; /* told by the RELEASE that is out; 0: none is */
	struct pwc_opens *owner;
	struct pwc_call call;
};

struct pwc_opens {
	struct pwc_peer *peer; /* borrowed for life */
	struct pw_list *bucket; /* owns; nr_buckets is a power of two */
	uint32_t nr_buckets;
	struct pwc_open **slot; /* owns; holes are NULL: RECLAIM walks it by index */
	uint32_t nr_slots, max_slots, hole; /* hole: no free index below it */
	struct pw_list spare, closed;
	/* what stays open to be read: each waits twice as long as the one before, so the first one
	 * of a list is the next that is due */
	struct pw_list look[PWC_OPENS_LOOKS];
	uint64_t look_every_ns; /* of the first list */
	uint64_t now_ns; /* of the last pwc_opens_due() */
	uint32_t nr_spare, nr_reserved, nr_closed, nr_inodes;
	uint64_t nr_opens; /* file handles now */
	uint32_t nr_releasing; /* RELEASE calls out */
};

int pwc_opens_init(struct pwc_opens *o, struct pwc_peer *peer);
/* No call may be out any more. Accepts all zero. */
void pwc_opens_fini(struct pwc_opens *o);

/* Before an OPEN or CREATE goes out: its success can then be kept. Return: 0 or -ENOMEM. */
int pwc_opens_reserve(struct pwc_opens *o);
/* Ends a reservation without an open. */
void pwc_opens_unreserve(struct pwc_opens *o);

/**
 * pwc_opens_add - the node has opened @ino for us; ends a reservation
 * @change: the inode's counter in the node's answer
 * Return: true when the page cache still matches it.
 */
bool pwc_opens_add(struct pwc_opens *o, uint64_t ino, uint64_t change);

/* Of the handles of an open inode, one more may write, or one less. */
void pwc_opens_writer(struct pwc_opens *o, uint64_t ino, bool more);
bool pwc_opens_has_writer(const struct pwc_opens *o, uint64_t ino);

/* A file handle is gone. Unknown inodes are ignored (the kernel's bug, not ours to die of). */
void pwc_opens_put(struct pwc_opens *o, uint64_t ino);

/* A change of ours was answered; @change: the counter after it. */
void pwc_opens_own_change(struct pwc_opens *o, uint64_t ino, uint64_t change);

/**
 * pwc_opens_outdated - the node has told the counter of an inode
 * Return: true once when it is open here only to be read, and the page cache does not match
 * @change. While it may be written here that cannot be told: a change may be our own, whose answer
 * is still to come.
 */
bool pwc_opens_outdated(struct pwc_opens *o, uint64_t ino, uint64_t change);

/**
 * pwc_opens_due - the next inode to ask the node about: open here only to be read, and not asked
 * about for a while. The time begins with look_every_ns, doubles with each call up to 32 times
 * that, and begins anew when pwc_opens_outdated() has found a change.
 * Return: 0 when nothing is due at @now_ns.
 */
uint64_t pwc_opens_due(struct pwc_opens *o, uint64_t now_ns);

/* The kernel has dropped the inode, and with it its pages. */
void pwc_opens_forget(struct pwc_opens *o, uint64_t ino);

/* For RECLAIM: see pwc_peer_ops.next_open. */
bool pwc_opens_next(const struct pwc_opens *o, uint64_t *iter, uint64_t *ret_ino,
		    uint32_t *ret_opens);

#endif
