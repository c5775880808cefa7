/* SPDX-License-Identifier: Apache-2.0 */
/* ll_readdir.c -- a page of a directory
 *
 * The node does not know "." and "..": they are made here, with offsets 1 and 2. Any other offset
 * is the node's cookie of the last entry that was seen; two names may share a cookie, so a page
 * never ends between them. Can fail: the node's answer is malformed (-EIO).
 */
#include "client_fs/ll_readdir.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "client_fs/entry.h"
#include "client_fs/ll_ops.h"
#include "client_fs/shard.h"

#define OFF_DOT 1u
#define OFF_DOTDOT 2u
/* libfuse's own word for an inode number that nobody knows */
#define INO_UNKNOWN 0xffffffffu

struct page {
	struct pwc_req *r;
	char *buf;
	size_t len, max; /* bytes */
	bool plus;
	double valid;
};

static bool add(struct page *p, const char *name, const struct pw_attr *attr, uint64_t off,
		bool dot)
{
	struct fuse_entry_param e = { .attr_timeout = p->valid, .entry_timeout = p->valid };
	fuse_req_t ll = p->r->ll;
	size_t room = p->max - p->len, n;

	pwc_attr_to_stat(attr, &e.attr);
	if (p->plus) {
		/* ino 0: the kernel takes no reference, as it should for "." and ".." */
		e.ino = dot ? 0 : attr->ino;
		e.generation = attr->generation;
		n = fuse_add_direntry_plus(ll, p->buf + p->len, room, name, &e, (off_t)off);
	} else {
		n = fuse_add_direntry(ll, p->buf + p->len, room, name, &e.attr, (off_t)off);
	}
	if (n > room)
		return false;
	p->len += n;
	return true;
}

static bool add_dots(struct page *p, const struct pw_attr *dir, uint64_t off)
{
	struct pw_attr up = { .ino = INO_UNKNOWN, .mode = S_IFDIR | 0755, .nlink = 2 };

	if (dir->ino == FUSE_ROOT_ID)
		up = *dir;
	if (off < OFF_DOT && !add(p, ".", dir, OFF_DOT, true))
		return false;
	return off >= OFF_DOTDOT || add(p, "..", &up, OFF_DOTDOT, true);
}

/* Return: 0, also when the page is full; -EPROTO. */
static int add_entries(struct page *p, const uint8_t *wire, uint32_t wire_len)
{
	const struct pw_dirent *d;
	const char *name;
	char copy[PW_NAME_MAX + 1];
	uint64_t group = 0;
	size_t pos = 0, group_len = p->len;
	int more;

	while ((more = pw_dirent_next(wire, wire_len, &pos, &d, &name)) == 1) {
		if (d->cookie != group) {
			group = d->cookie;
			group_len = p->len;
		}
		memcpy(copy, name, d->name_len);
		copy[d->name_len] = '\0';
		if (!add(p, copy, &d->attr, d->cookie, false)) {
			p->len = group_len;
			return 0;
		}
		if (p->plus)
			pwc_entry_note(p->r->sh, &d->attr);
	}
	return more;
}

static void on_page(struct pwc_call *c, int err, const struct pw_cmd *rsp, uint32_t out_len)
{
	struct pwc_req *r = pwc_req_of_call(c);
	const struct fuse_read_in *in = r->op_in;
	struct page p = {
		.r = r,
		.buf = (char *)r->sh->dir_page,
		.max = PW_MIN(in->size, pwc_shard_max_io(r->sh)),
		.plus = r->aux,
		.valid = r->sh->o->attr_timeout_ms / 1000.0,
	};

	/* as of any directory that was removed; readdir(3) takes it for the end */
	if (err == -ESTALE && pwc_gone_find(&r->sh->gone, r->nodeid))
		err = -ENOENT;
	if (!err && (in->offset >= OFF_DOTDOT || add_dots(&p, &rsp->readdir_rsp.dir, in->offset)))
		err = add_entries(&p, r->out, out_len);
	if (err)
		fuse_reply_err(r->ll, err == -EPROTO ? EIO : -err);
	else
		fuse_reply_buf(r->ll, p.buf, p.len);
}

/* A wire record is larger than the kernel's plain one and smaller than its "plus" one: ask for what
 * fills the kernel's page with names of usual length; what does not fit is asked for again. */
static uint32_t wire_bytes(const struct pwc_req *r, size_t size, bool plus)
{
	uint64_t want = plus ? size : 3 * size;
	uint32_t max = PW_MIN(r->out_max, pwc_shard_max_io(r->sh));

	return (uint32_t)PW_MIN(PW_MAX(want, 4096u), max);
}

void pwc_ll_readdir(struct pwc_req *r, uint64_t ino, size_t size, uint64_t off, bool plus)
{
	struct pw_cmd *cmd = pwc_req_cmd(r, PW_OP_READDIR);

	r->aux = plus;
	cmd->readdir.ino = ino;
	cmd->readdir.cookie = off > OFF_DOTDOT ? off : 0;
	cmd->readdir.max_bytes = wire_bytes(r, size, plus);
	r->call.out = r->out;
	r->call.out_max = cmd->readdir.max_bytes;
	pwc_req_call(r, on_page);
}
