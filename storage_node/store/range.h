/* SPDX-License-Identifier: Apache-2.0 */
/* range.h -- who may work on which blocks of a file: ranges are granted in the order of their
 * coming
 *
 * A range waits for every earlier range of the same inode that it overlaps, granted or waiting, so
 * nobody starves. Shared ranges do not wait for each other.
 * Thread: loop thread.      Allocates: only in new.      Must not know: what the work is.
 */
#ifndef PWS_RANGE_H
#define PWS_RANGE_H

#include "common/list.h"
#include "common/loop.h"

struct pws_ranges;
struct pws_range_inode;

struct pws_range {
	struct pw_list node; /* on its inode, in the order of their coming */
	struct pws_range_inode *inode; /* NULL: not taken */
	struct pw_ready *ready; /* borrowed until it is granted */
	uint64_t first, last; /* inclusive, in units of the caller */
	bool shared, granted;
};

/* For at most @nr ranges at once. 0; -ENOMEM. */
int pws_ranges_new(struct pw_loop *loop, uint32_t nr, struct pws_ranges **ret);
void pws_ranges_free(struct pws_ranges *rs); /* none is taken; NULL is fine */
/* Return: true when it was granted at once; else @ready is made ready when it is. */
bool pws_range_take(struct pws_ranges *rs, struct pws_range *r, uint64_t ino, uint64_t first,
		    uint64_t last, bool shared, struct pw_ready *ready);
/* Granted or waiting; nothing if it was not taken. Grants what waited for it. */
void pws_range_drop(struct pws_ranges *rs, struct pws_range *r);

#endif
