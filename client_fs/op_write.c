/* SPDX-License-Identifier: Apache-2.0 */
/* op_write.c -- the life of a WRITE
 *
 * Happy path: the kernel has copied the application's page into the request's memory, or the
 * request names a region of the application, or several runs in one -> placement says where the
 * bytes go -> one call, whose payload is that memory (nothing is copied here) -> the node has it on
 * media (or as durable as it was told to) -> REPLYING. Can fail: whatever the node or the peer
 * says. A write is all or nothing: there are no short writes.
 */
#include <errno.h>
#include <fcntl.h>

#include "client_fs/ops.h"
#include "client_fs/shard.h"

static void on_written(struct pwc_call *c, int err, const struct pw_cmd *rsp, uint32_t out_len)
{
	struct pwc_req *r = pwc_req_of_call(c);
	struct fuse_write_out *out = (void *)r->out;
	uint32_t len = c->send.cmd.io.len;

	(void)out_len;
	if (err) {
		pwc_req_end(r, err, 0);
		return;
	}
	r->sh->stats.bytes_written[pwc_req_path(r)] += len;
	pwc_req_count_region(r, 0, len);
	pwc_opens_own_change(&r->sh->opens, r->nodeid, rsp->attr.attr.change);
	*out = (struct fuse_write_out){ .size = len };
	pwc_req_end(r, 0, sizeof(*out));
}

/* The flags of the open file travel with each write, so that no state per handle is needed. */
uint32_t pwc_op_write_flags(uint32_t open_flags)
{
	uint32_t flags = 0;

	if (open_flags & O_DSYNC) /* O_SYNC contains it */
		flags |= PW_IO_SYNC;
	if (open_flags & O_APPEND)
		flags |= PW_IO_APPEND;
	return flags;
}

int pwc_op_write_send(struct pwc_req *r, const struct pwc_data *d, pwc_call_done_fn *done)
{
	struct pwc_leg leg[PWC_LEGS_MAX];
	struct pw_cmd *cmd;
	int nr;

	if (d->off > PW_FILE_MAX || d->len > PW_FILE_MAX - d->off)
		return -EFBIG;
	nr = pwc_placement_map(&r->sh->layout, r->nodeid, d->off, d->len, leg);
	/* length 0, which the kernel does not send; more nodes than one are to come */
	if (nr != 1)
		return nr < 0 ? nr : -EIO;
	cmd = pwc_req_cmd(r, PW_OP_WRITE);
	cmd->payload_len = leg[0].len;
	cmd->io.ino = r->nodeid;
	cmd->io.off = leg[0].off;
	cmd->io.len = leg[0].len;
	cmd->io.flags = d->flags;
	cmd->io.cred = (struct pw_cred){ r->uid, r->gid };
	r->call.payload = d->mem + leg[0].buf_off;
	r->call.runs = d->runs;
	r->call.spare = d->mem;
	pwc_req_call(r, done);
	return 0;
}

void pwc_op_write_start(struct pwc_req *r)
{
	const struct fuse_write_in *in = r->op_in;
	struct pwc_data d = { in->offset, in->size, pwc_op_write_flags(in->flags), r->in, r->runs };
	int err;

	if (in->size != r->in_len || in->size > pwc_shard_max_io(r->sh)) {
		r->sh->stats.bad_requests++;
		pwc_req_end(r, -EIO, 0);
		return;
	}
	if (in->write_flags & FUSE_WRITE_KILL_SUIDGID)
		d.flags |= PW_IO_KILLPRIV;
	err = pwc_op_write_send(r, &d, on_written);
	if (err)
		pwc_req_end(r, err, 0);
}
