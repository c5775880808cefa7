/* SPDX-License-Identifier: Apache-2.0 */
/* req_reply.c -- reply rows: what makes a replay to the next life of the node apply once
 *
 * A mutation writes its answer into the R row of its slot, in its own commit. So either both are
 * there after a crash or none, and the replay finds out which. One row per slot is enough: a client
 * that sends seq + 1 has seen the answer to seq.
 */
#include <errno.h>
#include <string.h>

#include "common/err.h"
#include "common/plant.h"
#include "storage_node/channel.h"
#include "storage_node/node.h"
#include "storage_node/node_req.h"

static void reply_key(const struct pws_req *r, struct pws_key *k)
{
	uint16_t slot = (uint16_t)(r->ch->nr * PW_MAX_SLOTS + r->slot);

	pws_key_reply(k, r->ch->session->client_id, slot);
}

/* 1: it is the answer to this request, now in send.cmd; 0: it is not. */
static int take_reply(struct pws_req *r, struct pws_slice val)
{
	struct pws_reply row;
	struct pw_cmd *rsp = &r->send.cmd;

	if (val.n != sizeof(row))
		return -EBADMSG;
	memcpy(&row, val.p, sizeof(row));
	if (row.version != PWS_RECORD_VERSION)
		return -EBADMSG;
	if (row.seq != r->seq || PW_PLANT("skip-reply-row"))
		return 0;
	if (row.op != r->cmd.op)
		return -EPROTO; /* the same number for something else: no client of ours */
	if (row.mark) {
		r->cmd.ino.flags &= ~PW_OPEN_TRUNC;
		return 0;
	}
	rsp->status = row.status;
	memcpy(rsp->raw, row.body, sizeof(rsp->raw));
	r->replayed = true;
	return 1;
}

int pws_req_find_reply(struct pws_req *r)
{
	struct pws_kv *kv = r->n->kv;
	struct pws_kv_rec rec;
	struct pws_key k;
	int err;

	reply_key(r, &k);
	err = kv->ops->get(kv, pws_key_slice(&k), &rec, &r->fetch);
	if (err)
		return err == -ENOENT ? 0 : err;
	r->seen_seq = PW_MAX(r->seen_seq, rec.seen_seq);
	return take_reply(r, rec.val);
}

int pws_req_get_reply(struct pws_req *r, struct pws_txn *t)
{
	struct pws_slice val;
	struct pws_key k;
	int err;

	reply_key(r, &k);
	err = pws_txn_get(t, pws_key_slice(&k), &val);
	if (err && err != -ENOENT)
		return err;
	pws_txn_sure(t);
	return err ? 0 : take_reply(r, val);
}

static void put_row(struct pws_req *r, struct pws_txn *t, struct pws_reply *row, bool keep)
{
	struct pws_slice val = { row, sizeof(*row) };
	struct pws_key k;

	row->version = PWS_RECORD_VERSION;
	row->op = r->cmd.op;
	row->seq = r->seq;
	reply_key(r, &k);
	if (keep)
		pws_txn_keep(t, pws_key_slice(&k), val);
	else
		pws_txn_put(t, pws_key_slice(&k), val);
}

void pws_req_put_reply(struct pws_req *r, struct pws_txn *t, int err)
{
	struct pws_reply row = { .status = pw_err_to_wire(err) };

	if (!err) {
		memcpy(row.body, r->send.cmd.raw, sizeof(row.body));
		r->applied = true;
	}
	put_row(r, t, &row, err != 0);
}

void pws_req_put_mark(struct pws_req *r, struct pws_txn *t)
{
	struct pws_reply row = { .mark = 1 };

	put_row(r, t, &row, false);
}
