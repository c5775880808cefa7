/* SPDX-License-Identifier: Apache-2.0 */
/* op_read.c -- the life of a READ
 *
 * Happy path: NEW -> one call to the node of the range, its answer lands in the request's own
 * memory, which the kernel copies to the application's pages -> REPLYING. A short answer is the end
 * of the file. Can fail: whatever the node or the peer says; nothing is retried here.
 */
#include <errno.h>

#include "client_fs/ops.h"
#include "client_fs/shard.h"

static void on_read(struct pwc_call *c, int err, const struct pw_cmd *rsp, uint32_t out_len)
{
	struct pwc_req *r = pwc_req_of_call(c);

	(void)rsp;
	if (!err) {
		r->sh->stats.bytes_read[pwc_req_path(r)] += out_len;
		pwc_req_count_region(r, out_len, 0);
	}
	pwc_req_end(r, err, out_len);
}

int pwc_op_read_send(struct pwc_req *r, const struct pwc_data *d, pwc_call_done_fn *done)
{
	struct pwc_leg leg[PWC_LEGS_MAX];
	struct pw_cmd *cmd;
	uint32_t len = d->len;
	int nr;

	if (d->off >= PW_FILE_MAX || !len)
		return -ENODATA;
	len = (uint32_t)PW_MIN((uint64_t)len, PW_FILE_MAX - d->off);
	nr = pwc_placement_map(&r->sh->layout, r->nodeid, d->off, len, leg);
	if (nr != 1) /* UNTESTED: a mount has one node so far */
		return nr < 0 ? nr : -EIO;
	cmd = pwc_req_cmd(r, PW_OP_READ);
	cmd->io.ino = r->nodeid;
	cmd->io.off = leg[0].off;
	cmd->io.len = leg[0].len;
	cmd->io.cred = (struct pw_cred){ r->uid, r->gid };
	r->call.out = d->mem;
	r->call.out_max = len;
	r->call.runs = d->runs;
	pwc_req_call(r, done);
	return 0;
}

void pwc_op_read_start(struct pwc_req *r)
{
	const struct fuse_read_in *in = r->op_in;
	struct pwc_data d = { in->offset, in->size, 0, r->out, r->runs };
	int err;

	/* more than INIT allowed: the kernel does not do it */
	if (in->offset < PW_FILE_MAX &&
	    (in->size > r->out_max || in->size > pwc_shard_max_io(r->sh)))
		err = -EIO;
	else
		err = pwc_op_read_send(r, &d, on_read);
	if (err)
		pwc_req_end(r, err == -ENODATA ? 0 : err, 0);
}
