/* SPDX-License-Identifier: Apache-2.0 */
/* kv_map.c -- skip list over pooled blocks
 *
 * A node is one block: entry, tower, key, room for the first value. A value that outgrows its room
 * moves to a block of its own. Blocks come in size classes (steps of 16 bytes up to 1 KiB, then
 * powers of two); a free block waits in the list of its class. The height of towers comes from a
 * generator with a fixed seed: a simulated run repeats.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/fault.h"
#include "storage_node/meta_kv/kv_map.h"

#define MAX_LEVEL   16u /* with one in four: 4 G records */
#define PIECE_BYTES (256u << 10)
#define SMALL_STEP  16u
#define SMALL_MAX   1024u
#define NR_SMALL    (SMALL_MAX / SMALL_STEP)
#define NR_CLASSES  (NR_SMALL + 7u) /* 2 KiB ... 128 KiB */

struct map_node {
	struct pws_kv_ent ent;
	uint32_t block_bytes;	 /* of this node's block */
	uint32_t val_bytes;	 /* room that ent.val or, for a tombstone, @room points to */
	void *room;		 /* of the value: in this block or in one of its own */
	struct map_node *next[]; /* as many as the tower is high */
};

struct map_piece { /* from malloc; blocks follow */
	struct map_piece *next;
	uint8_t mem[];
};

struct free_block {
	struct free_block *next;
};

struct cut { /* memory not handed out yet */
	uint8_t *p;
	size_t left;
};

struct pws_kv_map {
	struct map_piece *pieces; /* owns */
	struct cut fresh;	  /* of the newest piece; what reserve() promises comes from here */
	struct cut rest;	  /* of an older piece; used up first */
	struct free_block *free[NR_CLASSES];
	uint64_t nr, live_bytes, mem_bytes;
	uint64_t rnd;
	uint32_t level; /* of the highest tower */
	struct map_node *head[MAX_LEVEL];
};

int pws_slice_cmp(struct pws_slice a, struct pws_slice b)
{
	int c = memcmp(a.p, b.p, PW_MIN(a.n, b.n));

	if (c)
		return c;
	return a.n < b.n ? -1 : a.n > b.n;
}

static uint32_t class_of(size_t bytes)
{
	uint32_t c = NR_SMALL;

	if (bytes <= SMALL_MAX)
		return bytes ? (uint32_t)((bytes - 1) / SMALL_STEP) : 0;
	for (size_t s = 2 * SMALL_MAX; s < bytes; s *= 2)
		c++;
	assert(c < NR_CLASSES);
	return c;
}

static size_t class_bytes(uint32_t c)
{
	return c < NR_SMALL ? (c + 1) * SMALL_STEP : 2 * SMALL_MAX << (c - NR_SMALL);
}

static void *block_get(struct pws_kv_map *m, size_t bytes, uint32_t *ret_bytes)
{
	uint32_t c = class_of(bytes);
	struct free_block *b = m->free[c];
	struct cut *cut;
	void *p;

	*ret_bytes = (uint32_t)class_bytes(c);
	if (b) {
		m->free[c] = b->next;
		return b;
	}
	cut = m->rest.left >= *ret_bytes ? &m->rest : &m->fresh;
	assert(cut->left >= *ret_bytes); /* reserve() was called */
	p = cut->p;
	cut->p += *ret_bytes;
	cut->left -= *ret_bytes;
	return p;
}

static void block_put(struct pws_kv_map *m, void *p, uint32_t bytes)
{
	struct free_block *b = p;
	uint32_t c = class_of(bytes);

	b->next = m->free[c];
	m->free[c] = b;
}

/* Becomes free blocks, each of the largest class that fits. */
static void shelve(struct pws_kv_map *m, struct cut *cut)
{
	while (cut->left >= SMALL_STEP) {
		uint32_t c = NR_CLASSES - 1;

		while (class_bytes(c) > cut->left)
			c--;
		block_put(m, cut->p, (uint32_t)class_bytes(c));
		cut->p += class_bytes(c);
		cut->left -= class_bytes(c);
	}
}

int pws_kv_map_reserve(struct pws_kv_map *m, uint32_t nr, uint64_t bytes)
{
	/* worst case: every put makes a node and moves a value, each rounded up to twice its size
	 */
	size_t per_node = sizeof(struct map_node) + MAX_LEVEL * sizeof(struct map_node *);
	size_t need = 2 * (bytes + nr * (per_node + 2 * SMALL_STEP));
	struct map_piece *p;
	size_t size;

	if (m->fresh.left >= need)
		return 0;
	if (PW_FAULT_ERR("kv.map.reserve", -ENOMEM))
		return -ENOMEM;
	size = PW_MAX(need, (size_t)PIECE_BYTES);
	p = malloc(sizeof(*p) + size);
	if (!p)
		return -ENOMEM;
	if (m->fresh.left > m->rest.left) {
		shelve(m, &m->rest);
		m->rest = m->fresh;
	} else {
		shelve(m, &m->fresh);
	}
	p->next = m->pieces;
	m->pieces = p;
	m->mem_bytes += sizeof(*p) + size;
	m->fresh = (struct cut){ p->mem, size };
	return 0;
}

int pws_kv_map_new(struct pws_kv_map **ret)
{
	struct pws_kv_map *m = calloc(1, sizeof(*m));

	if (!m)
		return -ENOMEM;
	m->rnd = 0x9e3779b97f4a7c15ull;
	m->level = 1;
	m->mem_bytes = sizeof(*m);
	*ret = m;
	return 0;
}

void pws_kv_map_free(struct pws_kv_map *m)
{
	if (!m)
		return;
	while (m->pieces) {
		struct map_piece *p = m->pieces;

		m->pieces = p->next;
		free(p);
	}
	free(m);
}

static uint32_t draw_level(struct pws_kv_map *m)
{
	uint64_t r;
	uint32_t level = 1;

	m->rnd ^= m->rnd << 13;
	m->rnd ^= m->rnd >> 7;
	m->rnd ^= m->rnd << 17;
	r = m->rnd * 0x2545f4914f6cdd1dull >> 32;
	for (; level < MAX_LEVEL && (r & 3) == 0; r >>= 2)
		level++;
	return level;
}

/* The first node with a key >= @key; @ret_prev (may be NULL): the links that lead to it. */
static struct map_node *find(const struct pws_kv_map *m, struct pws_slice key,
			     struct map_node ***ret_prev)
{
	struct map_node *const *links = m->head;
	struct map_node *last = NULL;

	for (uint32_t l = m->level; l-- > 0;) {
		struct map_node *n = links[l];

		/* @last ended the search one level up: known to be >= @key */
		while (n && n != last && pws_slice_cmp(pws_kv_ent_key(&n->ent), key) < 0) {
			links = n->next;
			n = links[l];
		}
		last = n;
		if (ret_prev)
			ret_prev[l] = (struct map_node **)&links[l];
	}
	return links[0];
}

static struct map_node *find_equal(const struct pws_kv_map *m, struct pws_slice key,
				   struct map_node ***ret_prev)
{
	struct map_node *n = find(m, key, ret_prev);

	return n && !pws_slice_cmp(pws_kv_ent_key(&n->ent), key) ? n : NULL;
}

static struct map_node *add_node(struct pws_kv_map *m, struct pws_slice key, uint32_t val_len,
				 struct map_node **prev[])
{
	uint32_t level = draw_level(m);
	size_t head = sizeof(struct map_node) + level * sizeof(struct map_node *);
	uint32_t bytes;
	struct map_node *n = block_get(m, head + key.n + val_len, &bytes);
	uint8_t *mem = (uint8_t *)n + head;

	while (m->level < level) {
		prev[m->level] = &m->head[m->level];
		m->level++;
	}
	for (uint32_t l = 0; l < level; l++) {
		n->next[l] = *prev[l];
		*prev[l] = n;
	}
	memcpy(mem, key.p, key.n);
	n->ent.key = mem;
	n->ent.key_len = key.n;
	n->ent.val = NULL;
	n->ent.val_len = 0;
	n->block_bytes = bytes;
	n->room = mem + key.n;
	n->val_bytes = bytes - (uint32_t)(head + key.n);
	m->nr++;
	m->live_bytes += key.n;
	return n;
}

static bool room_is_own(const struct map_node *n)
{
	const uint8_t *room = n->room, *mem = (const uint8_t *)n;

	return room < mem || room >= mem + n->block_bytes;
}

static void drop_room(struct pws_kv_map *m, struct map_node *n)
{
	/* room of no bytes at the very end of the node's block is not a block */
	if (n->val_bytes && room_is_own(n))
		block_put(m, n->room, n->val_bytes);
	n->val_bytes = 0;
}

void pws_kv_map_put(struct pws_kv_map *m, struct pws_slice key, struct pws_slice val, uint64_t seq)
{
	struct map_node **prev[MAX_LEVEL];
	struct map_node *n = find_equal(m, key, prev);

	if (!n)
		n = add_node(m, key, val.p ? val.n : 0, prev);
	m->live_bytes -= n->ent.val_len;
	n->ent.seq = seq;
	if (!val.p) {
		n->ent.val = NULL;
		n->ent.val_len = 0;
		return;
	}
	if (val.n > n->val_bytes) {
		drop_room(m, n);
		n->room = block_get(m, val.n, &n->val_bytes);
	}
	memcpy(n->room, val.p, val.n);
	n->ent.val = n->room;
	n->ent.val_len = val.n;
	m->live_bytes += val.n;
}

void pws_kv_map_erase(struct pws_kv_map *m, struct pws_slice key)
{
	struct map_node **prev[MAX_LEVEL];
	struct map_node *n = find_equal(m, key, prev);

	if (!n)
		return;
	for (uint32_t l = 0; l < m->level && *prev[l] == n; l++)
		*prev[l] = n->next[l];
	m->nr--;
	m->live_bytes -= n->ent.key_len + n->ent.val_len;
	drop_room(m, n);
	block_put(m, n, n->block_bytes);
}

const struct pws_kv_ent *pws_kv_map_get(const struct pws_kv_map *m, struct pws_slice key)
{
	struct map_node *n = find_equal(m, key, NULL);

	return n ? &n->ent : NULL;
}

const struct pws_kv_ent *pws_kv_map_seek(const struct pws_kv_map *m, struct pws_slice key)
{
	struct map_node *n = find(m, key, NULL);

	return n ? &n->ent : NULL;
}

const struct pws_kv_ent *pws_kv_map_after(const struct pws_kv_ent *e)
{
	const struct map_node *n = pw_container_of(e, struct map_node, ent);

	return n->next[0] ? &n->next[0]->ent : NULL;
}

uint64_t pws_kv_map_nr(const struct pws_kv_map *m)
{
	return m->nr;
}

uint64_t pws_kv_map_live_bytes(const struct pws_kv_map *m)
{
	return m->live_bytes;
}

uint64_t pws_kv_map_mem_bytes(const struct pws_kv_map *m)
{
	return m->mem_bytes;
}
