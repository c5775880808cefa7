/* SPDX-License-Identifier: Apache-2.0 */
/* mem_units.c -- two hashes over preallocated objects */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "storage_node/store/mem_units.h"

static struct pw_list *bucket(const struct pws_mem_units *m, struct pw_list *buckets, uint64_t ino,
			      uint64_t nr)
{
	uint64_t h = (ino * 0x9e3779b97f4a7c15ull) ^ (nr * 0xc2b2ae3d27d4eb4full);

	return &buckets[h * 0x9e3779b97f4a7c15ull >> m->shift];
}

static struct pw_list *new_buckets(size_t nr)
{
	struct pw_list *b = calloc(nr, sizeof(*b));

	for (size_t i = 0; b && i < nr; i++)
		pw_list_init(&b[i]);
	return b;
}

int pws_mem_units_init(struct pws_mem_units *m, uint32_t nr_units, uint32_t unit_bytes)
{
	uint32_t words, order = 1;

	memset(m, 0, sizeof(*m));
	m->nr_units = m->nr_free = nr_units;
	m->unit_blocks = unit_bytes / PWS_BLOCK;
	words = (m->unit_blocks + 63) / 64;
	while (order < 31 && 1u << order < nr_units)
		order++;
	m->shift = 64 - order;
	m->unit_buckets = new_buckets((size_t)1 << order);
	m->inode_buckets = new_buckets((size_t)1 << order);
	m->units = calloc(nr_units, sizeof(*m->units));
	m->inodes = calloc(nr_units, sizeof(*m->inodes));
	m->bits = calloc((size_t)nr_units * 2, words * sizeof(*m->bits));
	if (!m->unit_buckets || !m->inode_buckets || !m->units || !m->inodes || !m->bits) {
		pws_mem_units_fini(m);
		return -ENOMEM;
	}
	pw_list_init(&m->free_units);
	pw_list_init(&m->free_inodes);
	for (uint32_t i = 0; i < nr_units; i++) {
		struct pws_mem_unit *u = &m->units[i];

		u->written = m->bits + (size_t)i * 2 * words;
		u->defined = u->written + words;
		pw_list_init(&u->sibling);
		pw_list_add_tail(&m->free_units, &u->node);
		pw_list_add_tail(&m->free_inodes, &m->inodes[i].node);
	}
	return 0;
}

void pws_mem_units_fini(struct pws_mem_units *m)
{
	free(m->unit_buckets);
	free(m->inode_buckets);
	free(m->units);
	free(m->inodes);
	free(m->bits);
	memset(m, 0, sizeof(*m));
}

struct pws_mem_unit *pws_mem_unit_find(struct pws_mem_units *m, uint64_t ino, uint64_t nr)
{
	struct pw_list *head = bucket(m, m->unit_buckets, ino, nr), *pos;

	pw_list_for_each(pos, head) {
		struct pws_mem_unit *u = pw_list_entry(pos, struct pws_mem_unit, node);

		if (u->ino == ino && u->nr == nr)
			return u;
	}
	return NULL;
}

struct pws_mem_unit *pws_mem_unit_get(struct pws_mem_units *m)
{
	struct pw_list *n = pw_list_pop(&m->free_units);

	if (!n)
		return NULL;
	m->nr_free--;
	return pw_list_entry(n, struct pws_mem_unit, node);
}

static struct pws_mem_inode *find_inode(struct pws_mem_units *m, uint64_t ino)
{
	struct pw_list *head = bucket(m, m->inode_buckets, ino, 0), *pos;

	pw_list_for_each(pos, head) {
		struct pws_mem_inode *i = pw_list_entry(pos, struct pws_mem_inode, node);

		if (i->ino == ino)
			return i;
	}
	return NULL;
}

void pws_mem_unit_put(struct pws_mem_units *m, struct pws_mem_unit *u)
{
	struct pws_mem_inode *i = u->inode;

	pws_mem_bits_set(u->written, 0, m->unit_blocks, false);
	pws_mem_bits_set(u->defined, 0, m->unit_blocks, false);
	u->buf = NULL;
	pw_list_del(&u->node);
	pw_list_add_head(&m->free_units, &u->node);
	m->nr_free++;
	if (!i)
		return;
	u->inode = NULL;
	pw_list_del(&u->sibling);
	if (pw_list_empty(&i->units)) {
		pw_list_del(&i->node);
		pw_list_add_head(&m->free_inodes, &i->node);
	}
}

void pws_mem_unit_attach(struct pws_mem_units *m, struct pws_mem_unit *u, uint64_t ino, uint64_t nr)
{
	struct pws_mem_inode *i = find_inode(m, ino);

	if (!i) {
		struct pw_list *n = pw_list_pop(&m->free_inodes);

		assert(n); /* as many as units */
		i = pw_list_entry(n, struct pws_mem_inode, node);
		i->ino = ino;
		pw_list_init(&i->units);
		pw_list_add_head(bucket(m, m->inode_buckets, ino, 0), &i->node);
	}
	u->inode = i;
	u->ino = ino;
	u->nr = nr;
	pw_list_add_tail(&i->units, &u->sibling);
	pw_list_add_head(bucket(m, m->unit_buckets, ino, nr), &u->node);
}

struct pw_list *pws_mem_units_of(struct pws_mem_units *m, uint64_t ino)
{
	struct pws_mem_inode *i = find_inode(m, ino);

	return i ? &i->units : NULL;
}

/* Bits of word @w that lie in [first, end) */
static uint64_t word_mask(uint32_t w, uint32_t first, uint32_t end)
{
	uint64_t mask = ~0ull;

	if (first > w * 64)
		mask &= ~0ull << (first - w * 64);
	if (end < (w + 1) * 64)
		mask &= ~0ull >> ((w + 1) * 64 - end);
	return mask;
}

uint32_t pws_mem_bits_count(const uint64_t *bits, uint32_t first, uint32_t end)
{
	uint32_t nr = 0;

	for (uint32_t w = first / 64; w * 64 < end; w++)
		nr += (uint32_t)__builtin_popcountll(bits[w] & word_mask(w, first, end));
	return nr;
}

void pws_mem_bits_set(uint64_t *bits, uint32_t first, uint32_t end, bool value)
{
	for (uint32_t w = first / 64; w * 64 < end; w++) {
		if (value)
			bits[w] |= word_mask(w, first, end);
		else
			bits[w] &= ~word_mask(w, first, end);
	}
}

void pws_mem_unit_define(struct pws_mem_unit *u, uint32_t first, uint32_t end)
{
	if (pws_mem_bits_count(u->defined, first, end) == end - first)
		return;
	for (uint32_t i = first; i < end; i++) {
		if (!pws_mem_bit(u->defined, i))
			memset(u->buf->mem + (size_t)i * PWS_BLOCK, 0, PWS_BLOCK);
	}
	pws_mem_bits_set(u->defined, first, end, true);
}
