/* SPDX-License-Identifier: Apache-2.0 */
/* entry.c -- see entry.h; nothing here can fail */
#include "client_fs/entry.h"

#include "client_fs/shard.h"

static uint32_t index_of(uint64_t ino)
{
	return (uint32_t)(ino * 0x9e3779b97f4a7c15ull >> 40) & (PWC_ENTRY_TOLD_NR - 1);
}

void pwc_entry_valid(const struct pwc_shard *sh, uint64_t *ret_sec, uint32_t *ret_nsec)
{
	*ret_sec = sh->o->attr_timeout_ms / 1000;
	*ret_nsec = sh->o->attr_timeout_ms % 1000 * 1000000u;
}

void pwc_entry_note(struct pwc_shard *sh, const struct pw_attr *attr)
{
	sh->told[index_of(attr->ino)] = *attr;
	pwc_gone_note(&sh->gone, attr);
}

const struct pw_attr *pwc_entry_last(const struct pwc_shard *sh, uint64_t ino)
{
	const struct pw_attr *t = &sh->told[index_of(ino)];

	return t->ino == ino ? t : NULL;
}

bool pwc_entry_is_told(const struct pwc_shard *sh, uint64_t ino, uint64_t change)
{
	const struct pw_attr *t = pwc_entry_last(sh, ino);

	return t && t->change >= change;
}

void pwc_entry_fill(struct pwc_shard *sh, const struct pw_attr *attr, struct fuse_entry_out *ret)
{
	*ret = (struct fuse_entry_out){ .nodeid = attr->ino, .generation = attr->generation };
	pwc_entry_valid(sh, &ret->entry_valid, &ret->entry_valid_nsec);
	pwc_entry_valid(sh, &ret->attr_valid, &ret->attr_valid_nsec);
	pwc_attr_to_fuse(attr, &ret->attr);
	pwc_entry_note(sh, attr);
}
