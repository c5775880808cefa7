/* SPDX-License-Identifier: Apache-2.0 */
/* kv_map.h -- ordered map in memory: the overlay of kv_lmdb.c, and all of kv_mem.c
 *
 * A skip list in memory of its own: blocks are cut from large pieces and reused by size, the pieces
 * are given back only by free(), so that dropping an overlay of a million records is cheap.
 * Deletions are kept as tombstones: an overlay must hide what the index below still has.
 * Thread: one at a time; a map that nobody changes may be read by another one (happens-before is
 * the caller's).      Allocates: in new() and reserve() only.      Must not know: journals, disks.
 */
#ifndef PWS_KV_MAP_H
#define PWS_KV_MAP_H

#include "storage_node/meta_kv/meta_kv.h"

struct pws_kv_map;

/* Owned by the map; changes when its key is put again, is gone when it is erased. */
struct pws_kv_ent {
	uint64_t seq; /* commit that put it */
	const void *key;
	void *val; /* NULL: a tombstone */
	uint32_t key_len, val_len;
};

static inline struct pws_slice pws_kv_ent_key(const struct pws_kv_ent *e)
{
	return (struct pws_slice){ e->key, e->key_len };
}

static inline struct pws_slice pws_kv_ent_val(const struct pws_kv_ent *e)
{
	return (struct pws_slice){ e->val, e->val_len };
}

/* Order of keys: bytes as unsigned, the shorter first. < 0, 0, > 0 */
int pws_slice_cmp(struct pws_slice a, struct pws_slice b);

int pws_kv_map_new(struct pws_kv_map **ret); /* -ENOMEM */
void pws_kv_map_free(struct pws_kv_map *m);  /* accepts NULL */

/**
 * pws_kv_map_reserve - memory for the puts to come
 * @nr: mutations
 * @bytes: of all their keys and values together
 *
 * Return: 0: that many pws_kv_map_put() cannot fail; -ENOMEM.
 */
int pws_kv_map_reserve(struct pws_kv_map *m, uint32_t nr, uint64_t bytes) PW_WARN_UNUSED;

/* Copies both. @val.p NULL puts a tombstone. Within what was reserved. */
void pws_kv_map_put(struct pws_kv_map *m, struct pws_slice key, struct pws_slice val, uint64_t seq);
/* Takes the record out, tombstone or not; nothing happens when there is none. */
void pws_kv_map_erase(struct pws_kv_map *m, struct pws_slice key);

/* NULL when there is none. Tombstones are found too. */
const struct pws_kv_ent *pws_kv_map_get(const struct pws_kv_map *m, struct pws_slice key);
/* The first one with a key >= @key. */
const struct pws_kv_ent *pws_kv_map_seek(const struct pws_kv_map *m, struct pws_slice key);
const struct pws_kv_ent *pws_kv_map_after(const struct pws_kv_ent *e);

uint64_t pws_kv_map_nr(const struct pws_kv_map *m);	    /* records, tombstones included */
uint64_t pws_kv_map_live_bytes(const struct pws_kv_map *m); /* keys and values of all records */
uint64_t pws_kv_map_mem_bytes(const struct pws_kv_map *m);  /* memory taken from the system */

#endif
