/* SPDX-License-Identifier: Apache-2.0 */
/* blockset.h -- a set of block numbers: a bitmap with two levels of summary
 *
 * One bit per block, one per 64 blocks that says "some", one per 4096. Finding the next member of a
 * set that covers 1 TiB reads at most a few dozen words. Memory is reserved for the largest number
 * at init and touched only where the set was ever not empty.
 * Thread: the owner's.      Allocates: only in init.
 */
#ifndef PWS_BLOCKSET_H
#define PWS_BLOCKSET_H

#include "common/compiler.h"

#define PWS_BLOCKSET_NONE UINT64_MAX

struct pws_blockset {
	uint64_t *level[3]; /* owned: one mapping */
	uint64_t nr_words[3];
	uint64_t capacity; /* numbers below this fit */
	uint64_t count; /* members */
	size_t map_bytes;
};

/* 0; -ENOMEM. An empty set for numbers in [0, capacity). */
int pws_blockset_init(struct pws_blockset *s, uint64_t capacity);
void pws_blockset_fini(struct pws_blockset *s);
/* Adds or removes [start, start + nr), which must fit. Return: how many of them were new or
 * there. */
uint64_t pws_blockset_add(struct pws_blockset *s, uint64_t start, uint64_t nr);
uint64_t pws_blockset_remove(struct pws_blockset *s, uint64_t start, uint64_t nr);
bool pws_blockset_has(const struct pws_blockset *s, uint64_t nr);
/* First member >= @from, or PWS_BLOCKSET_NONE. */
uint64_t pws_blockset_next(const struct pws_blockset *s, uint64_t from);
/* Length of the run of members that begins at @start, at most @max. */
uint64_t pws_blockset_run(const struct pws_blockset *s, uint64_t start, uint64_t max);

#endif
