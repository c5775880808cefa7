/* SPDX-License-Identifier: Apache-2.0 */
/* blockset.c -- word-wise operations on the three levels
 *
 * level[0] holds the members; bit i of level[k + 1] is set when word i of level[k] is not zero.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "storage_node/store/blockset.h"

#define WORD_BITS 64u

int pws_blockset_init(struct pws_blockset *s, uint64_t capacity)
{
	uint64_t words = 0, nr = capacity;
	uint64_t *map;

	memset(s, 0, sizeof(*s));
	for (uint32_t k = 0; k < 3; k++) {
		nr = PW_ROUND_UP(nr, WORD_BITS) / WORD_BITS;
		s->nr_words[k] = nr ? nr : 1;
		words += s->nr_words[k];
	}
	s->map_bytes = words * sizeof(uint64_t);
	map = mmap(NULL, s->map_bytes, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (map == MAP_FAILED)
		return -ENOMEM;
	s->level[0] = map;
	s->level[1] = map + s->nr_words[0];
	s->level[2] = s->level[1] + s->nr_words[1];
	s->capacity = capacity;
	return 0;
}

void pws_blockset_fini(struct pws_blockset *s)
{
	if (s->level[0])
		munmap(s->level[0], s->map_bytes);
	memset(s, 0, sizeof(*s));
}

/* Bits of word @word that lie in [start, end). */
static uint64_t word_mask(uint64_t word, uint64_t start, uint64_t end)
{
	uint64_t lo = word * WORD_BITS, mask = ~0ull;

	if (start > lo)
		mask &= ~0ull << (start - lo);
	if (end < lo + WORD_BITS)
		mask &= ~0ull >> (lo + WORD_BITS - end);
	return mask;
}

static void summary_set(struct pws_blockset *s, uint64_t word)
{
	s->level[1][word / WORD_BITS] |= 1ull << word % WORD_BITS;
	word /= WORD_BITS;
	s->level[2][word / WORD_BITS] |= 1ull << word % WORD_BITS;
}

static void summary_clear(struct pws_blockset *s, uint64_t word)
{
	uint64_t up = word / WORD_BITS;

	s->level[1][up] &= ~(1ull << word % WORD_BITS);
	if (!s->level[1][up])
		s->level[2][up / WORD_BITS] &= ~(1ull << up % WORD_BITS);
}

uint64_t pws_blockset_add(struct pws_blockset *s, uint64_t start, uint64_t nr)
{
	uint64_t end = start + nr, changed = 0;

	assert(end >= start && end <= s->capacity);
	for (uint64_t w = start / WORD_BITS; w * WORD_BITS < end; w++) {
		uint64_t mask = word_mask(w, start, end);

		changed += (uint64_t)__builtin_popcountll(mask & ~s->level[0][w]);
		if (!s->level[0][w] && mask)
			summary_set(s, w);
		s->level[0][w] |= mask;
	}
	s->count += changed;
	return changed;
}

uint64_t pws_blockset_remove(struct pws_blockset *s, uint64_t start, uint64_t nr)
{
	uint64_t end = start + nr, changed = 0;

	assert(end >= start && end <= s->capacity);
	for (uint64_t w = start / WORD_BITS; w * WORD_BITS < end; w++) {
		uint64_t mask = word_mask(w, start, end);

		/* do not touch memory that was never used */
		if (!(s->level[0][w] & mask))
			continue;
		changed += (uint64_t)__builtin_popcountll(mask & s->level[0][w]);
		s->level[0][w] &= ~mask;
		if (!s->level[0][w])
			summary_clear(s, w);
	}
	s->count -= changed;
	return changed;
}

bool pws_blockset_has(const struct pws_blockset *s, uint64_t nr)
{
	return nr < s->capacity && s->level[0][nr / WORD_BITS] & 1ull << nr % WORD_BITS;
}

/* First set bit >= @from in the first word that it may be in, else UINT64_MAX. */
static uint64_t next_in_word(const uint64_t *level, uint64_t nr_words, uint64_t from)
{
	uint64_t w = from / WORD_BITS, bits;

	if (w >= nr_words)
		return UINT64_MAX;
	bits = level[w] & ~0ull << from % WORD_BITS;
	return bits ? w * WORD_BITS + (uint64_t)__builtin_ctzll(bits) : UINT64_MAX;
}

uint64_t pws_blockset_next(const struct pws_blockset *s, uint64_t from)
{
	uint64_t i, w1, w2;

	i = next_in_word(s->level[0], s->nr_words[0], from);
	if (i != UINT64_MAX)
		return i;
	w1 = next_in_word(s->level[1], s->nr_words[1], from / WORD_BITS + 1);
	if (w1 == UINT64_MAX) {
		from = (from / WORD_BITS + 1) / WORD_BITS + 1;
		w2 = next_in_word(s->level[2], s->nr_words[2], from);
		for (uint64_t w = from / WORD_BITS + 1; w2 == UINT64_MAX && w < s->nr_words[2]; w++)
			w2 = next_in_word(s->level[2], s->nr_words[2], w * WORD_BITS);
		if (w2 == UINT64_MAX)
			return PWS_BLOCKSET_NONE;
		w1 = next_in_word(s->level[1], s->nr_words[1], w2 * WORD_BITS);
	}
	return next_in_word(s->level[0], s->nr_words[0], w1 * WORD_BITS);
}

uint64_t pws_blockset_run(const struct pws_blockset *s, uint64_t start, uint64_t max)
{
	uint64_t end = start + max < s->capacity ? start + max : s->capacity;
	uint64_t w = start / WORD_BITS, gap;

	if (start >= s->capacity)
		return 0;
	gap = ~s->level[0][w] & ~0ull << start % WORD_BITS;
	while (!gap && (w + 1) * WORD_BITS < end)
		gap = ~s->level[0][++w];
	if (gap && w * WORD_BITS + (uint64_t)__builtin_ctzll(gap) < end)
		end = w * WORD_BITS + (uint64_t)__builtin_ctzll(gap);
	return end - start;
}
