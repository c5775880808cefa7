/* SPDX-License-Identifier: Apache-2.0 */
/* op_open.c -- OPEN, CREATE, RELEASE: where close-to-open is decided
 *
 *	OPEN:	[SETATTR size 0, set-id bits] -> OPEN at the node
 *		-> [kernel forgets old attributes] -> answer
 *
 * Every open asks the node. The page cache is kept when the inode's change counter is the one it
 * was filled under; otherwise the kernel drops it, and attributes that are older than the node's
 * answer first. An open with O_APPEND or O_DIRECT goes past the page cache: an appended write lands
 * where the node says, which need not be where this kernel believes the end of the file to be.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "client_fs/entry.h"
#include "client_fs/ops.h"
#include "client_fs/shard.h"

static bool may_write(uint32_t flags)
{
	return (flags & O_ACCMODE) != O_RDONLY;
}

static uint32_t fopen_flags(const struct pwc_shard *sh, uint32_t flags, bool keep)
{
	if (flags & (O_APPEND | O_DIRECT) || sh->o->cache == PWC_CACHE_NONE)
		return FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES;
	return keep ? FOPEN_KEEP_CACHE : 0;
}

static void answer_open(struct pwc_req *r)
{
	const struct fuse_open_in *in = r->op_in;
	uint32_t open_flags = fopen_flags(r->sh, in->flags, r->aux);

	*(struct fuse_open_out *)r->out = (struct fuse_open_out){
		.fh = in->flags, /* for op_ioctl.c */
		.open_flags = open_flags,
	};
	pwc_req_end(r, 0, sizeof(struct fuse_open_out));
}

static void on_forgotten(struct pwc_notify_job *job)
{
	answer_open(pw_container_of(job, struct pwc_req, notify));
}

static void on_open(struct pwc_call *c, int err, const struct pw_cmd *rsp, uint32_t out_len)
{
	struct pwc_req *r = pwc_req_of_call(c);
	const struct fuse_open_in *in = r->op_in;
	struct pwc_shard *sh = r->sh;
	uint64_t change;
	bool keep;

	(void)out_len;
	if (err) {
		pwc_opens_unreserve(&sh->opens);
		pwc_req_end(r, err, 0);
		return;
	}
	change = rsp->attr.attr.change;
	keep = pwc_opens_add(&sh->opens, r->nodeid, change);
	if (may_write(in->flags))
		pwc_opens_writer(&sh->opens, r->nodeid, true);
	if (keep)
		sh->stats.cache_kept++;
	else
		sh->stats.cache_dropped++;
	r->aux = keep;
	/* one change is this open's own, and the kernel knows what it means */
	if (in->flags & O_TRUNC)
		change--;
	if (keep || pwc_entry_is_told(sh, r->nodeid, change)) {
		answer_open(r);
		return;
	}
	r->notify.ino = r->nodeid;
	r->notify.done = on_forgotten;
	pwc_notify_inval_attr(&sh->notify, &r->notify);
}

static void send_open(struct pwc_req *r, bool trunc)
{
	const struct fuse_open_in *in = r->op_in;
	struct pw_cmd *cmd = pwc_req_cmd(r, PW_OP_OPEN);

	cmd->ino.ino = r->nodeid;
	cmd->ino.cred = (struct pw_cred){ r->uid, r->gid };
	if (trunc)
		cmd->ino.flags |= PW_OPEN_TRUNC;
	if (may_write(in->flags))
		cmd->ino.flags |= PW_OPEN_WRITE;
	pwc_req_call(r, on_open);
}

static void on_truncated(struct pwc_call *c, int err, const struct pw_cmd *rsp, uint32_t out_len)
{
	struct pwc_req *r = pwc_req_of_call(c);

	(void)out_len;
	if (err) {
		pwc_opens_unreserve(&r->sh->opens);
		pwc_req_end(r, err, 0);
		return;
	}
	pwc_opens_own_change(&r->sh->opens, r->nodeid, rsp->attr.attr.change);
	send_open(r, false);
}

/* O_TRUNC by somebody who may not keep set-id bits: OPEN has no word for that, SETATTR has. */
static void truncate_first(struct pwc_req *r)
{
	struct pw_body_setattr *b = &pwc_req_cmd(r, PW_OP_SETATTR)->setattr;

	b->ino = r->nodeid;
	b->cred = (struct pw_cred){ r->uid, r->gid };
	b->valid = PW_SET_SIZE | PW_SET_KILL_SUIDGID | PW_SET_MTIME_NOW;
	pwc_req_call(r, on_truncated);
}

void pwc_op_open_start(struct pwc_req *r)
{
	const struct fuse_open_in *in = r->op_in;
	int err = pwc_opens_reserve(&r->sh->opens);

	if (err) {
		pwc_req_end(r, err, 0);
		return;
	}
	if (in->flags & O_TRUNC && in->open_flags & FUSE_OPEN_KILL_SUIDGID)
		truncate_first(r);
	else
		send_open(r, in->flags & O_TRUNC);
}

static void on_created(struct pwc_call *c, int err, const struct pw_cmd *rsp, uint32_t out_len)
{
	struct pwc_req *r = pwc_req_of_call(c);
	struct fuse_entry_out *entry = (void *)r->out;
	struct fuse_open_out *open = (void *)(entry + 1);
	const struct fuse_create_in *in = r->op_in;
	bool keep;

	(void)out_len;
	if (err) {
		pwc_opens_unreserve(&r->sh->opens);
		pwc_req_end(r, err, 0);
		return;
	}
	keep = pwc_opens_add(&r->sh->opens, rsp->attr.attr.ino, rsp->attr.attr.change);
	if (may_write(in->flags))
		pwc_opens_writer(&r->sh->opens, rsp->attr.attr.ino, true);
	*open = (struct fuse_open_out){
		.fh = in->flags,
		.open_flags = fopen_flags(r->sh, in->flags, keep),
	};
	pwc_entry_fill(r->sh, &rsp->attr.attr, entry);
	pwc_req_end(r, 0, sizeof(*entry) + sizeof(*open));
}

void pwc_op_create_start(struct pwc_req *r)
{
	const struct fuse_create_in *in = r->op_in;
	int err = pwc_opens_reserve(&r->sh->opens);
	struct pw_cmd *cmd;

	if (err) {
		pwc_req_end(r, err, 0);
		return;
	}
	cmd = pwc_req_cmd(r, PW_OP_CREATE);
	cmd->mknode.parent = r->nodeid;
	cmd->mknode.cred = (struct pw_cred){ r->uid, r->gid };
	cmd->mknode.mode = S_IFREG | (in->mode & 07777);
	if (in->flags & O_EXCL)
		cmd->mknode.flags |= PW_CREATE_EXCL;
	cmd->mknode.name_len = (uint32_t)strlen(pwc_req_name(r));
	cmd->payload_len = cmd->mknode.name_len;
	r->call.payload = r->in;
	pwc_req_call(r, on_created);
}

/* Nobody waits for a close; the node is told behind it. */
void pwc_op_release_start(struct pwc_req *r)
{
	const struct fuse_release_in *in = r->op_in;

	if (may_write(in->flags))
		pwc_opens_writer(&r->sh->opens, r->nodeid, false);
	pwc_opens_put(&r->sh->opens, r->nodeid);
	pwc_req_end(r, 0, 0);
}
