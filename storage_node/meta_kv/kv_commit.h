/* SPDX-License-Identifier: Apache-2.0 */
/* kv_commit.h -- what every engine does with a commit: limits, checks; and how a record is told
 *
 * Depends: kv_map.h.      Must not know: where records are kept.
 */
#ifndef PWS_KV_COMMIT_H
#define PWS_KV_COMMIT_H

#include <errno.h>

#include "storage_node/meta_kv/kv_map.h"

/* Keys that begin with this byte belong to the engines. */
#define PWS_KV_OWN_PREFIX 0

/**
 * pws_kv_commit_check - is the commit within the contract of meta_kv.h
 * @ret_bytes: of all keys and values of its mutations
 *
 * Return: 0; -E2BIG too much in one commit; -EINVAL a key or value that no engine takes.
 */
int pws_kv_commit_check(const struct pws_kv_commit *c, uint64_t *ret_bytes) PW_WARN_UNUSED;

/* @e: the newest record of the key, a tombstone, or NULL: there is none. */
static inline bool pws_kv_check_holds(const struct pws_kv_check *c, const struct pws_kv_ent *e)
{
	if (!c->seq)
		return !e || !e->val;
	return e && e->seq == c->seq;
}

/* Fills @rec from a record, a tombstone or NULL. Return: 0; -ENOENT with the versions set. */
static inline int pws_kv_rec_set(struct pws_kv_rec *rec, const struct pws_kv_ent *e)
{
	if (!e) {
		*rec = (struct pws_kv_rec){ 0 };
		return -ENOENT;
	}
	rec->key = pws_kv_ent_key(e);
	rec->val = pws_kv_ent_val(e);
	rec->seq = rec->seen_seq = e->seq;
	return e->val ? 0 : -ENOENT;
}

#endif
