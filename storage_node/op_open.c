/* SPDX-License-Identifier: Apache-2.0 */
/* op_open.c -- OPEN, RELEASE and RECLAIM: who has what open
 *
 * Opens are counts in memory: a client gives them back with RECLAIM before its other requests, on
 * every connection. The answer to its last page says that the session is recorded: whatever the
 * client sends afterwards, a later life of the node will know whose replay it is. An OPEN that
 * truncates cuts first (op_truncate.c), then opens; of an empty file it only moves the times. A
 * mark in the reply row keeps the replay from doing it again.
 */
#include <errno.h>
#include <string.h>

#include "common/plant.h"
#include "storage_node/channel.h"
#include "storage_node/node.h"
#include "storage_node/node_req.h"

enum {
	OPEN_BEGIN,
	OPEN_COMMIT,
	OPEN_CUT
};

enum {
	RECLAIM_BEGIN,
	RECLAIM_RECORDED
};

struct reclaim_record { /* one of RECLAIM's payload */
	uint64_t ino;
	uint32_t opens, reserved;
};
static_assert(sizeof(struct reclaim_record) == PW_RECLAIM_BYTES, "wire format");

/* Counted inside the attempt: the reclaimer sees it before anybody can take the last name away. */
void pws_req_count_open(struct pws_req *r, uint64_t ino)
{
	uint64_t old = r->opened_ino;

	if (ino)
		pws_session_open(r->ch->session, ino);
	r->opened_ino = ino;
	if (old)
		pws_session_release(r->ch->session, old, 1);
}

static int attempt(struct pws_txn *t)
{
	struct pws_req *r = pws_req_of_txn(t);
	int err;

	r->op.now_ns = pws_req_now(r);
	if (r->cmd.ino.flags & PW_OPEN_TRUNC) {
		err = pws_req_get_reply(r, t);
		if (err < 0)
			return err;
	}
	err = pws_meta_attempt(&r->op, t);
	/* an empty file was truncated right here: neither a replay nor another attempt does it
	 * again */
	if (!err && r->cmd.ino.flags & PW_OPEN_TRUNC && !r->op.truncate)
		pws_req_put_mark(r, t);
	if (err != -EAGAIN)
		pws_req_count_open(r, err ? 0 : r->op.opened_ino);
	return err;
}

static void look(struct pws_req *r)
{
	r->op.payload = r->payload;
	r->op.out_max = 0;
	r->phase = OPEN_COMMIT;
	pws_txn_start(&r->txn, attempt, pws_req_txn_done);
}

static void refuse(struct pws_req *r, int err)
{
	pws_req_count_open(r, 0);
	pws_req_reply(r, err);
}

void pws_op_open_step(struct pws_req *r)
{
	int err = 0;

	switch (r->phase) {
	case OPEN_BEGIN:
		/* two: the count moves before the old one is given back */
		err = pws_session_opens_reserve(r->ch->session, 2);
		if (err)
			pws_req_reply(r, err);
		else
			look(r);
		return;
	case OPEN_COMMIT:
		if (r->err) {
			refuse(r, r->err);
		} else if (r->op.truncate) {
			r->phase = OPEN_CUT;
			pws_cut_start(r, r->cmd.ino.ino, 0);
		} else {
			pws_req_reply(r, 0);
		}
		return;
	default:
		if (!pws_cut_step(r, OPEN_CUT, &err))
			return;
		if (err && err != PWS_CUT_CHANGED) {
			refuse(r, err);
			return;
		}
		if (!err)
			r->cmd.ino.flags &= ~PW_OPEN_TRUNC;
		look(r);
		return;
	}
}

void pws_op_release_step(struct pws_req *r)
{
	pws_session_release(r->ch->session, r->cmd.ino.ino, r->cmd.ino.flags);
	pws_req_reply(r, 0);
}

static int record_attempt(struct pws_txn *t)
{
	return pws_session_record(pws_req_of_txn(t)->ch->session, t);
}

static int take_page(struct pws_req *r)
{
	const struct pw_body_reclaim *b = &r->cmd.reclaim;
	int err = 0;

	/* A session that lived on knows better than the client, whose last answers may be on their
	 * way. */
	if (PW_PLANT("forget-reclaim"))
		r->ch->reclaimed = true;
	if (!r->ch->reclaimed)
		err = pws_session_opens_reserve(r->ch->session, b->nr);
	for (uint32_t i = 0; !err && !r->ch->reclaimed && i < b->nr; i++) {
		struct reclaim_record rec;

		memcpy(&rec, r->payload + i * sizeof(rec), sizeof(rec));
		pws_session_reclaim(r->ch->session, rec.ino, rec.opens);
	}
	if (!err && b->last)
		r->ch->reclaimed = true;
	return err;
}

void pws_op_reclaim_step(struct pws_req *r)
{
	int err;

	if (r->phase == RECLAIM_RECORDED) {
		/* Not recorded is no reason to refuse: a full disk needs clients that delete. Such
		 * a session is unknown after a restart, and its client then repeats nothing. */
		if (r->err)
			pws_session_warn_unrecorded(r->err);
		pws_req_reply(r, 0);
		return;
	}
	err = take_page(r);
	if (err || !r->cmd.reclaim.last) {
		pws_req_reply(r, err);
		return;
	}
	r->phase = RECLAIM_RECORDED;
	pws_txn_start(&r->txn, record_attempt, pws_req_txn_done);
}
