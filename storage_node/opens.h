/* SPDX-License-Identifier: Apache-2.0 */
/* opens.h -- who has which inode open: a count per inode, in an open-addressed table
 *
 * One table per session, and one for the node that sums them: an orphan may be reclaimed when the
 * node's table does not hold it. Growth happens in pws_opens_reserve(), before a request has any
 * effect. Thread: loop thread. Allocates: only in reserve.
 */
#ifndef PWS_OPENS_H
#define PWS_OPENS_H

#include "common/compiler.h"

struct pws_open_count {
	uint64_t ino; /* 0: free place */
	uint64_t opens;
};

struct pws_opens {
	struct pws_open_count *places; /* owns; a power of two of them, or NULL */
	uint32_t nr_places;
	uint32_t nr;	/* inodes in it */
	uint64_t total; /* opens of all of them */
};

void pws_opens_init(struct pws_opens *o);
void pws_opens_fini(struct pws_opens *o);
void pws_opens_clear(struct pws_opens *o); /* empty, with the room that it has */

/* Room for @more inodes beyond those that are in it. 0 or -ENOMEM. */
int pws_opens_reserve(struct pws_opens *o, uint32_t more);

/* Needs room reserved if @ino is not in it. */
void pws_opens_add(struct pws_opens *o, uint64_t ino, uint64_t nr);
/* Takes back at most what is there; returns how many that were. */
uint64_t pws_opens_sub(struct pws_opens *o, uint64_t ino, uint64_t nr);
uint64_t pws_opens_get(const struct pws_opens *o, uint64_t ino);

/* Walk: *pos starts at 0; false at the end. Nothing may be added or taken back in between. */
bool pws_opens_next(const struct pws_opens *o, uint32_t *pos, uint64_t *ret_ino, uint64_t *ret_nr);

#endif
