/* SPDX-License-Identifier: Apache-2.0 */
/* op_read.c -- READ: size, bytes, and the wait until what was seen cannot be taken back
 *
 * Happy path: inode -> clamp to its size -> store -> (durable already) -> answer, sent from where
 * the store has the bytes -> release when the transport is done with them.
 */
#include <errno.h>
#include <sys/stat.h>

#include "common/plant.h"
#include "storage_node/node.h"
#include "storage_node/node_req.h"

enum {
	READ_BEGIN,
	READ_STORE,
	READ_DURABLE
};

static void on_read(struct pws_store_read *rd)
{
	pws_req_step(pw_container_of(rd, struct pws_req, rd), rd->err);
}

static void durable_then_reply(struct pws_req *r)
{
	r->phase = READ_DURABLE;
	if (!PW_PLANT("read-undurable") && !pws_req_durable(r, r->seen_seq, false))
		return;
	r->err = 0;
	pws_op_read_step(r);
}

static void begin(struct pws_req *r)
{
	const struct pw_body_io *io = &r->cmd.io;
	struct pws_store *s = r->n->store;
	int err = pws_req_inode(r, io->ino, &r->inode, &r->seen_seq);

	if (err == -EINPROGRESS)
		return;
	if (!err && !S_ISREG(r->inode.mode))
		err = S_ISDIR(r->inode.mode) ? -EISDIR : -EINVAL;
	if (!err && io->len > r->n->max_io)
		err = -EINVAL;
	if (err) {
		pws_req_reply(r, err);
		return;
	}
	if (io->off >= r->inode.size) {
		durable_then_reply(r);
		return;
	}
	r->rd = (struct pws_store_read){
		.ino = io->ino,
		.off = io->off,
		.len = (uint32_t)PW_MIN(io->len, r->inode.size - io->off),
		.buf = r->buf,
		.done = on_read,
	};
	pw_list_init(&r->rd.node);
	r->reading = true;
	r->phase = READ_STORE;
	s->ops->read(s, &r->rd);
}

void pws_op_read_step(struct pws_req *r)
{
	switch (r->phase) {
	case READ_BEGIN:
		begin(r);
		return;
	case READ_STORE:
		if (r->err) {
			pws_req_reply(r, r->err);
			return;
		}
		/* only what the store saw counts: it may have read an older state than this inode's
		 * row */
		r->seen_seq = PW_MAX(r->seen_seq, r->rd.seen_seq);
		durable_then_reply(r);
		return;
	case READ_DURABLE:
		if (r->reading && !r->err) {
			r->n->stats.bytes_read += r->rd.len;
			pws_req_reply_payload(r, r->rd.data, r->rd.len);
		}
		pws_req_reply(r, r->err);
		return;
	}
}
