/* SPDX-License-Identifier: Apache-2.0 */
/* kv_commit.c -- limits of a commit, statistics of whatever engine it is */
#include "storage_node/meta_kv/kv_commit.h"

static bool key_is_good(struct pws_slice key)
{
	return key.p && key.n && key.n <= PWS_KV_KEY_MAX &&
	       *(const uint8_t *)key.p != PWS_KV_OWN_PREFIX;
}

int pws_kv_commit_check(const struct pws_kv_commit *c, uint64_t *ret_bytes)
{
	uint64_t bytes = 0;

	if (c->nr_muts > PWS_KV_MUTS_MAX)
		return -E2BIG;
	for (uint32_t i = 0; i < c->nr_checks; i++)
		if (!key_is_good(c->checks[i].key))
			return -EINVAL;
	for (uint32_t i = 0; i < c->nr_muts; i++) {
		const struct pws_kv_mut *m = &c->muts[i];

		if (!key_is_good(m->key) || (m->val.p && m->val.n > PWS_KV_VAL_MAX))
			return -EINVAL;
		bytes += m->key.n + (m->val.p ? m->val.n : 0);
	}
	if (bytes > PWS_KV_COMMIT_MAX)
		return -E2BIG;
	*ret_bytes = bytes;
	return 0;
}

void pws_kv_get_stats(const struct pws_kv *kv, struct pws_kv_stats *ret)
{
	kv->ops->get_stats(kv, ret);
}
