/* SPDX-License-Identifier: Apache-2.0 */
/* op_meta.c -- LOOKUP, GETATTR, SETATTR, FSYNC, FLUSH: what a running program asks for all the time
 *
 * Each is one call to the node; its answer is turned into the kernel's structure in the request's
 * memory. Permissions were checked by the kernel (default_permissions) on attributes that are at
 * most a second old.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "client_fs/entry.h"
#include "client_fs/ops.h"
#include "client_fs/shard.h"

static void on_entry(struct pwc_call *c, int err, const struct pw_cmd *rsp, uint32_t out_len)
{
	struct pwc_req *r = pwc_req_of_call(c);
	struct fuse_entry_out *out = (void *)r->out;

	(void)out_len;
	if (!err)
		pwc_entry_fill(r->sh, &rsp->attr.attr, out);
	pwc_req_end(r, err, sizeof(*out));
}

void pwc_op_lookup_start(struct pwc_req *r)
{
	struct pw_cmd *cmd = pwc_req_cmd(r, PW_OP_LOOKUP);

	cmd->name.parent = r->nodeid;
	cmd->name.cred = (struct pw_cred){ r->uid, r->gid };
	cmd->payload_len = (uint32_t)strlen(pwc_req_name(r));
	r->call.payload = r->in;
	pwc_req_call(r, on_entry);
}

static void fill_attr(struct pwc_req *r, const struct pw_attr *attr)
{
	struct fuse_attr_out *out = (void *)r->out;

	*out = (struct fuse_attr_out){ 0 };
	pwc_entry_valid(r->sh, &out->attr_valid, &out->attr_valid_nsec);
	pwc_attr_to_fuse(attr, &out->attr);
	pwc_entry_note(r->sh, attr);
	if (r->nodeid == FUSE_ROOT_ID)
		r->sh->last.root = *attr;
}

static void answer_attr(struct pwc_req *r, const struct pw_attr *attr)
{
	fill_attr(r, attr);
	pwc_req_end(r, 0, sizeof(struct fuse_attr_out));
}

static void on_forgotten(struct pwc_notify_job *job)
{
	pwc_req_end(pw_container_of(job, struct pwc_req, notify), 0, sizeof(struct fuse_attr_out));
}

/* Another machine has changed a file that is only read here: its pages go before stat(2) says
 * so. */
static void answer_attr_after_pages(struct pwc_req *r, const struct pw_attr *attr)
{
	fill_attr(r, attr);
	r->notify.ino = r->nodeid;
	r->notify.done = on_forgotten;
	pwc_notify_inval_all(&r->sh->notify, &r->notify);
}

/* Not for the kernel to keep: it asks again, and waits for nothing. */
static void answer_last_root(struct pwc_req *r)
{
	struct fuse_attr_out *out = (void *)r->out;

	*out = (struct fuse_attr_out){ 0 };
	pwc_attr_to_fuse(&r->sh->last.root, &out->attr);
	pwc_req_end(r, 0, sizeof(*out));
}

static void on_attr(struct pwc_call *c, int err, const struct pw_cmd *rsp, uint32_t out_len)
{
	struct pwc_req *r = pwc_req_of_call(c);
	struct pw_attr last;

	(void)out_len;
	if (err == -EHOSTDOWN)
		answer_last_root(r);
	else if (err == -ESTALE && pwc_gone_last(&r->sh->gone, r->nodeid, &last))
		answer_attr(r, &last);
	else if (err)
		pwc_req_end(r, err, 0);
	else if (pwc_opens_outdated(&r->sh->opens, r->nodeid, rsp->attr.attr.change))
		answer_attr_after_pages(r, &rsp->attr.attr);
	else
		answer_attr(r, &rsp->attr.attr);
}

void pwc_op_getattr_start(struct pwc_req *r)
{
	struct pw_cmd *cmd = pwc_req_cmd(r, PW_OP_GETATTR);

	cmd->ino.ino = r->nodeid;
	cmd->ino.cred = (struct pw_cred){ r->uid, r->gid };
	/* umount(8) looks at the mount point first: it must not hang on a node that is away */
	r->call.brief = r->nodeid == FUSE_ROOT_ID;
	pwc_req_call(r, on_attr);
}

/* The write that follows will clear the bits, and only then is it known that it may: but the
 * kernel, which runs programs by what it has cached, hears it now. */
static void on_attr_of_writer(struct pwc_call *c, int err, const struct pw_cmd *rsp,
			      uint32_t out_len)
{
	struct pwc_req *r = pwc_req_of_call(c);
	struct pw_attr a;

	(void)out_len;
	if (err) {
		pwc_req_end(r, err, 0);
		return;
	}
	a = rsp->attr.attr;
	a.mode &= ~(uint32_t)S_ISUID;
	if (a.mode & S_IXGRP)
		a.mode &= ~(uint32_t)S_ISGID;
	answer_attr(r, &a);
}

/* The node will not take another's set-id bits for chown(path, -1, -1). A kernel asks for the same
 * before a write into its page cache, and that must not fail; without a handle that may write it
 * was none. */
static bool is_before_write(const struct pwc_req *r)
{
	return r->call.send.cmd.setattr.valid == PW_SET_KILL_SUIDGID &&
	       pwc_opens_has_writer(&r->sh->opens, r->nodeid);
}

static void on_setattr(struct pwc_call *c, int err, const struct pw_cmd *rsp, uint32_t out_len)
{
	struct pwc_req *r = pwc_req_of_call(c);

	(void)out_len;
	if (err == -EPERM && is_before_write(r)) {
		struct pw_cmd *cmd = pwc_req_cmd(r, PW_OP_GETATTR);

		cmd->ino.ino = r->nodeid;
		cmd->ino.cred = (struct pw_cred){ r->uid, r->gid };
		pwc_req_call(r, on_attr_of_writer);
		return;
	}
	if (err) {
		pwc_req_end(r, err, 0);
		return;
	}
	pwc_opens_own_change(&r->sh->opens, r->nodeid, rsp->attr.attr.change);
	answer_attr(r, &rsp->attr.attr);
}

static uint32_t set_flags(uint32_t valid)
{
	static const struct {
		uint32_t fuse, wire;
	} map[] = {
		{ FATTR_MODE, PW_SET_MODE },
		{ FATTR_UID, PW_SET_UID },
		{ FATTR_GID, PW_SET_GID },
		{ FATTR_SIZE, PW_SET_SIZE },
		{ FATTR_CTIME, PW_SET_CTIME },
		{ FATTR_KILL_SUIDGID, PW_SET_KILL_SUIDGID },
	};
	uint32_t flags = 0;

	for (size_t i = 0; i < PW_ARRAY_SIZE(map); i++)
		if (valid & map[i].fuse)
			flags |= map[i].wire;
	/* "now" is the node's clock; the kernel sets both bits */
	if (valid & FATTR_ATIME)
		flags |= valid & FATTR_ATIME_NOW ? PW_SET_ATIME_NOW : PW_SET_ATIME;
	if (valid & FATTR_MTIME)
		flags |= valid & FATTR_MTIME_NOW ? PW_SET_MTIME_NOW : PW_SET_MTIME;
	/* With HANDLE_KILLPRIV_V2 a change of owner is the file system's to clear set-id bits
	 * for; chown(path, -1, -1) is one too, and comes as a request to set nothing. */
	if ((valid & (FATTR_UID | FATTR_GID) && !(valid & FATTR_MODE)) || !flags)
		flags |= PW_SET_KILL_SUIDGID;
	return flags;
}

void pwc_op_setattr_start(struct pwc_req *r)
{
	const struct fuse_setattr_in *in = r->op_in;
	struct pw_body_setattr *b;

	if (in->valid & FATTR_SIZE && in->size > PW_FILE_MAX) {
		pwc_req_end(r, -EFBIG, 0);
		return;
	}
	b = &pwc_req_cmd(r, PW_OP_SETATTR)->setattr;
	b->ino = r->nodeid;
	b->cred = (struct pw_cred){ r->uid, r->gid };
	b->valid = set_flags(in->valid);
	if (b->valid & PW_SET_MODE)
		b->mode = in->mode & (S_IFMT | 07777);
	if (b->valid & PW_SET_UID)
		b->uid = in->uid;
	if (b->valid & PW_SET_GID)
		b->gid = in->gid;
	if (b->valid & PW_SET_SIZE)
		b->size = in->size;
	if (b->valid & PW_SET_ATIME)
		b->atime_ns = pwc_attr_time((int64_t)in->atime, in->atimensec);
	if (b->valid & PW_SET_MTIME)
		b->mtime_ns = pwc_attr_time((int64_t)in->mtime, in->mtimensec);
	if (b->valid & PW_SET_CTIME)
		b->ctime_ns = pwc_attr_time((int64_t)in->ctime, in->ctimensec);
	pwc_req_call(r, on_setattr);
}

void pwc_op_fsync_start(struct pwc_req *r)
{
	const struct fuse_fsync_in *in = r->op_in;
	struct pw_cmd *cmd = pwc_req_cmd(r, PW_OP_FSYNC);

	cmd->ino.ino = r->nodeid;
	cmd->ino.cred = (struct pw_cred){ r->uid, r->gid };
	cmd->ino.flags = in->fsync_flags & FUSE_FSYNC_FDATASYNC ? 1 : 0;
	pwc_req_call(r, pwc_req_done_plain);
}

/* close(2). Every write was acknowledged by the node before it was by us, so there is nothing left
 * to do; after this answer the kernel does not ask any more. Also a close never waits for a node
 * that is away. */
void pwc_op_flush_start(struct pwc_req *r)
{
	pwc_req_end(r, -ENOSYS, 0);
}
