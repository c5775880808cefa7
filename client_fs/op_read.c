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
	if (!err)
		r->sh->stats.bytes_read[r->path] += out_len;
	pwc_req_end(r, err, out_len);
}

void pwc_op_read_start(struct pwc_req *r)
{
	const struct fuse_read_in *in = r->op_in;
	struct pwc_leg leg[PWC_LEGS_MAX];
	struct pw_cmd *cmd;
	uint32_t len = in->size;
	int nr;

	if (in->offset >= PW_FILE_MAX || !len) {
		pwc_req_end(r, 0, 0);
		return;
	}
	len = (uint32_t)PW_MIN((uint64_t)len, PW_FILE_MAX - in->offset);
	if (len > r->out_max || len > pwc_shard_max_io(r->sh)) {
		pwc_req_end(r, -EIO, 0); /* more than INIT allowed: the kernel does not do it */
		return;
	}
	nr = pwc_placement_map(&r->sh->layout, r->nodeid, in->offset, len, leg);
	if (nr != 1) { /* UNTESTED: a mount has one node so far */
		pwc_req_end(r, nr < 0 ? nr : -EIO, 0);
		return;
	}
	cmd = pwc_req_cmd(r, PW_OP_READ);
	cmd->io.ino = r->nodeid;
	cmd->io.off = leg[0].off;
	cmd->io.len = leg[0].len;
	cmd->io.cred = (struct pw_cred){ r->uid, r->gid };
	r->call.out = r->out;
	r->call.out_max = len;
	pwc_req_call(r, on_read);
}
