/* SPDX-License-Identifier: Apache-2.0 */
/* op_meta.c -- operations that are one transaction over names and inodes: all but data, size and
 * opens
 *
 * What they mean is in meta/; here they get their names checked, their reply row, and what follows
 * from their commit: an open of CREATE is counted, an inode that lost its last name goes to the
 * reclaimer. What adds an inode waits, as a write does, for space that is being freed.
 */
#include <errno.h>

#include "common/err.h"
#include "storage_node/channel.h"
#include "storage_node/node.h"
#include "storage_node/node_req.h"

enum {
	META_BEGIN,
	META_COMMIT
};

/* pw_cmd_check() has judged the lengths, before the bytes were here. */
static int check_names(const struct pws_req *r)
{
	const struct pw_cmd *c = &r->cmd;
	const char *p = (const char *)r->payload;
	int err;

	switch (c->op) {
	case PW_OP_LOOKUP:
	case PW_OP_UNLINK:
	case PW_OP_RMDIR:
	case PW_OP_LINK:
		return pw_name_check(p, c->payload_len);
	case PW_OP_MKNODE:
	case PW_OP_CREATE:
		return pw_name_check(p, c->mknode.name_len);
	case PW_OP_RENAME:
		err = pw_name_check(p, c->rename.old_len);
		if (err)
			return err;
		return pw_name_check(p + c->rename.old_len, c->payload_len - c->rename.old_len);
	default:
		return 0;
	}
}

static int attempt(struct pws_txn *t)
{
	struct pws_req *r = pws_req_of_txn(t);
	bool mutates = pw_op_mutates(r->cmd.op);
	int err;

	r->op.now_ns = pws_req_now(r);
	r->op.orphan_ino = r->op.opened_ino = 0;
	if (mutates) {
		err = pws_req_get_reply(r, t);
		if (err < 0)
			return err;
		if (err) {
			if (r->cmd.op == PW_OP_CREATE && !r->send.cmd.status)
				pws_req_count_open(r, r->send.cmd.attr.attr.ino);
			return 0;
		}
	}
	err = pws_meta_attempt(&r->op, t);
	if (err == -EAGAIN)
		return err;
	if (mutates)
		pws_req_put_reply(r, t, err);
	if (r->cmd.op == PW_OP_CREATE)
		pws_req_count_open(r, err ? 0 : r->op.opened_ino);
	return err;
}

static bool adds_inode(const struct pws_req *r)
{
	return r->cmd.op == PW_OP_MKNODE || r->cmd.op == PW_OP_CREATE;
}

static void begin(struct pws_req *r)
{
	int err = check_names(r);

	if (!err && adds_inode(r) && !r->n->meta.has_room(r->n->meta.arg) && pws_req_wait_space(r))
		return;
	if (!err && r->cmd.op == PW_OP_CREATE)
		err = pws_session_opens_reserve(r->ch->session, 2);
	if (err) {
		pws_req_reply(r, err);
		return;
	}
	r->op.payload = r->payload;
	r->op.out = r->buf->mem;
	r->op.out_max = PW_MIN(r->n->max_io, r->buf->size);
	r->phase = META_COMMIT;
	pws_txn_start(&r->txn, attempt, pws_req_txn_done);
}

void pws_op_meta_step(struct pws_req *r)
{
	if (r->phase == META_BEGIN) {
		begin(r);
		return;
	}
	if (r->err) {
		if (r->cmd.op == PW_OP_CREATE)
			pws_req_count_open(r, 0);
		pws_req_reply(r, r->err);
		return;
	}
	if (r->replayed)
		r->n->stats.replays_answered++;
	else if (r->op.orphan_ino)
		pws_reclaim_kick(&r->n->reclaim, r->op.orphan_ino);
	pws_req_reply_payload(r, r->op.out, r->send.cmd.payload_len);
	pws_req_reply(r, 0);
}
