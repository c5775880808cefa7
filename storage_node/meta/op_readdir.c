/* SPDX-License-Identifier: Apache-2.0 */
/* op_readdir.c -- READDIR: one page of a directory, in cookie order, with attributes
 *
 * The cookie is the hash of the name, so it stays valid whatever is added or removed meanwhile.
 * Names with equal hashes are never parted: a page ends before them or after all of them.
 */
#include <errno.h>
#include <string.h>

#include "storage_node/meta/ops.h"

struct page {
	struct pws_meta_op *op;
	size_t pos, group_pos; /* bytes; end of the last complete group of equal cookies */
	uint32_t nr, group_nr, limit;
	uint64_t cookie; /* of the group that is being filled */
};

/* 1: added; 0: the page is full (and was cut back to whole groups); -errno */
static int page_add(struct page *p, struct pws_txn *t, struct pws_slice key, struct pws_slice val)
{
	struct pws_dirent_val d;
	struct pws_inode i;
	struct pw_attr attr;
	const char *name;
	uint32_t name_len;
	uint64_t cookie;
	int err;

	if (!pws_key_dirent_parse(key, &cookie, &name, &name_len) || val.n != sizeof(d))
		return -EBADMSG;
	if (cookie != p->cookie) {
		p->cookie = cookie;
		p->group_pos = p->pos;
		p->group_nr = p->nr;
	}
	memcpy(&d, val.p, sizeof(d));
	err = pws_meta_inode_get(t, d.ino, &i, NULL);
	if (err)
		return err == -ESTALE ? -EBADMSG : err;
	pws_inode_attr(d.ino, &i, &attr);
	err = pw_dirent_put(p->op->out, p->limit, &p->pos, cookie, &attr, name, name_len);
	if (!err) {
		p->nr++;
		return 1;
	}
	p->pos = p->group_pos;
	p->nr = p->group_nr;
	return 0;
}

int pws_meta_op_readdir(struct pws_meta_op *op, struct pws_txn *t)
{
	const struct pw_body_readdir *b = &op->cmd->readdir;
	struct page p = { .op = op, .limit = PW_MIN(b->max_bytes, op->out_max) };
	struct pw_body_readdir_rsp *rsp = &op->rsp->readdir_rsp;
	struct pws_slice key, val;
	struct pws_key begin, end;
	struct pws_inode dir;
	int err;

	err = pws_meta_dir_get(t, b->ino, &dir);
	if (err)
		return err;
	pws_key_dirent_range(&begin, &end, b->ino, b->cookie);
	for (;;) {
		err = pws_txn_next(t, pws_key_slice(&begin), pws_key_slice(&end), &key, &val);
		if (err)
			break;
		/* The first key after this one. */
		memcpy(begin.b, key.p, key.n);
		begin.b[key.n] = 0;
		begin.n = key.n + 1;
		err = page_add(&p, t, key, val);
		if (err <= 0)
			break;
	}
	if (err && err != -ENOENT)
		return err;
	if (!err && !p.nr)
		return -EINVAL; /* the caller's buffer cannot hold one entry */
	rsp->nr = p.nr;
	rsp->eof = err == -ENOENT;
	pws_inode_attr(b->ino, &dir, &rsp->dir);
	op->rsp->payload_len = (uint32_t)p.pos;
	return 0;
}
