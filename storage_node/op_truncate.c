/* SPDX-License-Identifier: Apache-2.0 */
/* op_truncate.c -- SETATTR with a size, and the cut that it shares with OPEN
 *
 * Growing is a change of the inode alone: what is beyond the old end reads as zeros. A cut takes
 * the range from the new end on (store: prepare), then one commit changes the inode and removes
 * store rows. Rows that do not fit that commit are named dead by dead_from and dead_gen, and the
 * reclaimer removes them later.
 *
 * What can fail:
 *	the size changed meanwhile	back to the start
 *	an earlier dead tail is in the	the reclaimer finishes it first (EBUSY of the store)
 *	way
 *	no space for the copy of the	waits for space that is being freed, else ENOSPC
 *	last block
 */
#include <errno.h>
#include <sys/stat.h>

#include "common/log.h"
#include "common/plant.h"
#include "storage_node/node.h"
#include "storage_node/node_req.h"

/* Steps of a cut, counted from the phase that its caller gives it. */
enum {
	CUT_BEGIN,
	CUT_PREPARE,
	CUT_COMMIT,
	CUT_NR_STEPS
};
enum {
	SETATTR_BEGIN,
	SETATTR_REPLAYED,
	SETATTR_GROW,
	SETATTR_CUT
};

static bool is_setattr(const struct pws_req *r)
{
	return r->cmd.op == PW_OP_SETATTR;
}

/* The cut ----------------------------------------------------------------------------------- */

static void on_prepared(struct pws_store_trunc *tr)
{
	pws_req_step(pw_container_of(tr, struct pws_req, tr), tr->err);
}

void pws_cut_start(struct pws_req *r, uint64_t ino, uint64_t from)
{
	struct pws_store *s = r->n->store;

	r->tr = (struct pws_store_trunc){
		.ino = ino,
		.from = from,
		.buf = r->buf,
		.ready = on_prepared,
	};
	pw_list_init(&r->tr.node);
	r->phase += CUT_PREPARE;
	r->cut_more = false;
	s->ops->trunc_prepare(s, &r->tr);
}

/* Size, times and whatever else was asked for. */
static int change_inode(struct pws_req *r, struct pws_txn *t, struct pws_inode *i)
{
	if (is_setattr(r))
		return pws_meta_setattr(&r->op, t, i);
	i->size = 0;
	pws_meta_wrote(i, 0, r->op.now_ns, r->cmd.ino.cred.uid != 0);
	return 0;
}

static void put_orphan(struct pws_txn *t, uint64_t ino, int64_t now_ns)
{
	struct pws_orphan o = { .version = PWS_RECORD_VERSION, .since_ns = (uint64_t)now_ns };
	struct pws_key k;

	pws_key_orphan(&k, ino);
	pws_txn_put(t, pws_key_slice(&k), (struct pws_slice){ &o, sizeof(o) });
}

static int cut_rows(struct pws_req *r, struct pws_txn *t, struct pws_inode *i)
{
	struct pws_store *s = r->n->store;
	int64_t blocks = 0;
	int err = s->ops->trunc_rows(s, &r->tr, t, i, &blocks, &r->cut_more);

	if (err)
		return err;
	i->blocks += (uint64_t)blocks;
	i->trunc_gen++;
	if (r->cut_more) {
		i->dead_from = r->tr.from;
		i->dead_gen = i->trunc_gen;
		put_orphan(t, r->tr.ino, r->op.now_ns);
	} else if (i->dead_gen && i->dead_from >= r->tr.from) {
		i->dead_from = i->dead_gen = 0;
	}
	return 0;
}

static int cut_attempt(struct pws_txn *t)
{
	struct pws_req *r = pws_req_of_txn(t);
	struct pws_inode i;
	int err;

	r->op.now_ns = pws_req_now(r);
	err = pws_req_get_reply(r, t);
	if (err)
		return err < 0 ? err : 0;
	if (!is_setattr(r) && !(r->cmd.ino.flags & PW_OPEN_TRUNC))
		return 0; /* the mark was there */
	err = pws_meta_inode_get(t, r->tr.ino, &i, NULL);
	if (!err && i.size <= r->tr.from)
		err = PWS_CUT_CHANGED;
	if (!err)
		err = cut_rows(r, t, &i);
	if (!err)
		err = change_inode(r, t, &i);
	if (err)
		return err;
	pws_meta_inode_put(t, r->tr.ino, &i, (struct pws_slice){ NULL, 0 });
	if (is_setattr(r)) {
		pws_inode_attr(r->tr.ino, &i, &r->send.cmd.attr.attr);
		pws_req_put_reply(r, t, 0);
	} else {
		pws_req_put_mark(r, t);
		r->applied = true;
	}
	return 0;
}

static bool cut_committed(struct pws_req *r, uint32_t base, int *ret_err)
{
	struct pws_store *s = r->n->store;
	bool ok = !r->err && r->applied;

	s->ops->trunc_finish(s, &r->tr, pws_outcome(&r->txn, ok));
	if (r->err == -EBUSY) {
		pws_reclaim_kick(&r->n->reclaim, r->tr.ino);
		if (pws_req_wait_space(r)) {
			r->phase = base;
			return false;
		}
	}
	if (ok && r->cut_more)
		pws_reclaim_kick(&r->n->reclaim, r->tr.ino);
	*ret_err = r->err;
	return true;
}

/* True: over, with *ret_err; PWS_CUT_CHANGED when the file is not longer than that (any more). */
bool pws_cut_step(struct pws_req *r, uint32_t base, int *ret_err)
{
	switch (r->phase - base) {
	case CUT_BEGIN:
		pws_cut_start(r, r->tr.ino, r->tr.from);
		return false;
	case CUT_PREPARE:
		if (r->err == -ENOSPC && pws_req_wait_space(r)) {
			r->phase = base;
			return false;
		}
		if (r->err) {
			*ret_err = r->err;
			return true;
		}
		r->phase = base + CUT_COMMIT;
		pws_txn_start(&r->txn, cut_attempt, pws_req_txn_done);
		return false;
	default:
		return cut_committed(r, base, ret_err);
	}
}

/* SETATTR ----------------------------------------------------------------------------------- */

static int grow_attempt(struct pws_txn *t)
{
	struct pws_req *r = pws_req_of_txn(t);
	uint64_t ino = r->cmd.setattr.ino;
	struct pws_inode i;
	int err;

	r->op.now_ns = pws_req_now(r);
	err = pws_req_get_reply(r, t);
	if (err)
		return err < 0 ? err : 0;
	err = pws_meta_inode_get(t, ino, &i, NULL);
	if (!err && i.size > r->cmd.setattr.size)
		return PWS_CUT_CHANGED;
	if (!err)
		err = pws_meta_setattr(&r->op, t, &i);
	if (err == -EAGAIN)
		return err;
	if (!err) {
		if (!PW_PLANT("lost-setattr"))
			pws_meta_inode_put(t, ino, &i, (struct pws_slice){ NULL, 0 });
		pws_inode_attr(ino, &i, &r->send.cmd.attr.attr);
	}
	pws_req_put_reply(r, t, err);
	return err;
}

static void setattr_begin(struct pws_req *r)
{
	const struct pw_body_setattr *b = &r->cmd.setattr;
	uint64_t seq;
	int err;

	r->phase = SETATTR_BEGIN;
	err = r->maybe_replay ? pws_req_find_reply(r) : 0;
	if (err == 1) {
		r->phase = SETATTR_REPLAYED;
		if (pws_req_durable(r, r->seen_seq, false))
			pws_req_reply(r, 0);
		return;
	}
	if (!err)
		err = pws_req_inode(r, b->ino, &r->inode, &seq);
	if (err == -EINPROGRESS)
		return;
	if (!err && !S_ISREG(r->inode.mode))
		err = S_ISDIR(r->inode.mode) ? -EISDIR : -EINVAL;
	if (err) {
		pws_req_reply(r, err);
	} else if (b->size >= r->inode.size) {
		r->phase = SETATTR_GROW;
		pws_txn_start(&r->txn, grow_attempt, pws_req_txn_done);
	} else {
		r->phase = SETATTR_CUT;
		pws_cut_start(r, b->ino, b->size);
	}
}

void pws_op_setattr_step(struct pws_req *r)
{
	int err = r->err;

	if (!(r->cmd.setattr.valid & PW_SET_SIZE)) {
		pws_op_meta_step(r);
		return;
	}
	if (r->phase >= SETATTR_CUT && !pws_cut_step(r, SETATTR_CUT, &err))
		return;
	if (r->phase == SETATTR_BEGIN || err == PWS_CUT_CHANGED) {
		setattr_begin(r);
		return;
	}
	if (r->replayed && !r->applied)
		r->n->stats.replays_answered++;
	pws_req_reply(r, err);
}
