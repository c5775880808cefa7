/* SPDX-License-Identifier: Apache-2.0 */
/* node_req.c -- life, order and answers of requests; replay is in req_reply.c
 *
 * Happy path: the command arrives and is judged -> its payload lands in the slot's buffer -> the
 * operation runs in steps -> the answer is queued -> the transport is done with it -> the slot is
 * free.
 *
 * What can fail:
 *	connection, before all is here		the slot is free again, as if nothing had come
 *	connection, while it runs		it goes on; the answer is kept for the replay
 *	connection, with the answer queued	the answer is kept for the replay
 *	the node				the client replays; a reply row tells what was done
 *	the client is wrong			its connection fails; what runs ends by itself
 */
#include "storage_node/node_req.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "common/err.h"
#include "common/plant.h"
#include "storage_node/channel.h"
#include "storage_node/node.h"

static const struct pw_sm_state states[PWS_REQ_NR_STATES] = {
	[PWS_REQ_FREE] = { "free", PW_SM_TO(PWS_REQ_RECEIVED) | PW_SM_TO(PWS_REQ_REPLY_QUEUED) },
	[PWS_REQ_RECEIVED] = { "received", PW_SM_TO(PWS_REQ_RUNNING) | PW_SM_TO(PWS_REQ_FREE) },
	[PWS_REQ_RUNNING] = { "running", PW_SM_TO(PWS_REQ_REPLY_QUEUED) | PW_SM_TO(PWS_REQ_FREE) },
	[PWS_REQ_REPLY_QUEUED] = { "reply_queued", PW_SM_TO(PWS_REQ_FREE) },
};
static const struct pw_sm_type req_type = PW_SM_TYPE("req", states);

static const struct {
	void (*step)(struct pws_req *r);
	bool reads; /* has no effect: a replay runs it again */
} ops[PW_OP_NR] = {
	[PW_OP_LOOKUP] = { pws_op_meta_step, true },
	[PW_OP_GETATTR] = { pws_op_meta_step, true },
	[PW_OP_SETATTR] = { pws_op_setattr_step, false },
	[PW_OP_MKNODE] = { pws_op_meta_step, false },
	[PW_OP_CREATE] = { pws_op_meta_step, false },
	[PW_OP_UNLINK] = { pws_op_meta_step, false },
	[PW_OP_RMDIR] = { pws_op_meta_step, false },
	[PW_OP_RENAME] = { pws_op_meta_step, false },
	[PW_OP_LINK] = { pws_op_meta_step, false },
	[PW_OP_READLINK] = { pws_op_meta_step, true },
	[PW_OP_READDIR] = { pws_op_meta_step, true },
	[PW_OP_OPEN] = { pws_op_open_step, false },
	[PW_OP_RELEASE] = { pws_op_release_step, false },
	[PW_OP_STATFS] = { pws_op_meta_step, true },
	[PW_OP_FSYNC] = { pws_op_fsync_step, true },
	[PW_OP_READ] = { pws_op_read_step, true },
	[PW_OP_WRITE] = { pws_op_write_step, false },
	[PW_OP_RECLAIM] = { pws_op_reclaim_step, true },
};

/* Life -------------------------------------------------------------------------------------- */

static void set_busy(struct pws_req *r)
{
	r->ch->nr_busy++;
	r->ch->session->nr_busy++;
	r->n->nr_busy++;
}

static void set_idle(struct pws_req *r)
{
	r->ch->nr_busy--;
	r->ch->session->nr_busy--;
	r->n->nr_busy--;
}

static void run(struct pws_req *r)
{
	r->n->stats.reqs[r->cmd.op]++;
	r->phase = 0;
	r->err = 0;
	r->replayed = r->applied = false;
	r->opened_ino = 0;
	r->seen_seq = 0;
	pw_cmd_init(&r->send.cmd, PW_MSG_RSP, r->cmd.op);
	r->send.payload = NULL;
	pw_sm_move(&r->sm, PWS_REQ_RUNNING, r->cmd.op);
	ops[r->cmd.op].step(r);
}

static void accept(struct pws_req *r, const struct pw_cmd *cmd, uint8_t *payload)
{
	r->maybe_replay = !r->has_seq || cmd->seq == r->seq;
	if (r->has_seq && cmd->seq == r->seq)
		r->n->stats.replays++;
	r->cmd = *cmd;
	r->payload = payload;
	r->seq = cmd->seq;
	r->has_seq = true;
	r->cached = false;
	if (cmd->op != PW_OP_RECLAIM)
		r->ch->reclaimed = true;
}

static void adopt_next_buf(struct pws_req *r)
{
	if (!r->next_buf)
		return;
	pws_buf_put(r->n->bufs, r->buf);
	r->buf = r->next_buf;
	r->next_buf = NULL;
}

static void start_parked(struct pws_req *r)
{
	adopt_next_buf(r);
	r->parked = false;
	accept(r, &r->next, r->next_payload);
	pw_sm_move(&r->sm, PWS_REQ_RECEIVED, 0);
	run(r);
}

static void drop_parked(struct pws_req *r)
{
	r->parked = false;
	if (r->next_buf)
		pws_buf_put(r->n->bufs, r->next_buf);
	r->next_buf = NULL;
}

/* The answer is out, or kept for the replay. May free the channel: nothing may touch @r
 * afterwards. */
static void finish(struct pws_req *r)
{
	struct pws_session *s = r->ch->session;
	struct pws_node *n = r->n;

	if (r->reading) {
		n->store->ops->read_release(n->store, &r->rd);
		r->reading = false;
	}
	r->send.payload = NULL;
	pw_sm_move(&r->sm, PWS_REQ_FREE, 0);
	if (r->parked) {
		start_parked(r);
		return;
	}
	adopt_next_buf(r);
	set_idle(r);
	if (!r->ch->conn) {
		pws_buf_put(n->bufs, r->buf);
		r->buf = NULL;
	}
	pws_session_idle_check(s);
	pws_node_idle_check(n);
}

static void reply_done(struct pw_send *s, int err)
{
	(void)err;
	finish(pw_container_of(s, struct pws_req, send));
}

/* Where the slot's next payload lands. */
static void grant(struct pws_req *r)
{
	const struct pws_buf *b = r->next_buf ? r->next_buf : r->buf;

	pw_conn_grant(r->ch->conn, r->slot, b->mem, b->size);
}

void pws_req_on_up(struct pws_req *r)
{
	if (!pw_conn_places(r->ch->conn))
		return;
	/* what runs since an earlier connection goes on using its buffer */
	if (!pws_req_is_free(r) && !r->next_buf)
		r->next_buf = pws_buf_get(r->n->bufs);
	if (pws_req_is_free(r) || r->next_buf) {
		grant(r);
		return;
	}
	r->n->stats.no_buf++;
	pw_conn_fail(r->ch->conn, -ENOBUFS, "no buffer for a slot whose last request still runs");
}

static void queue_reply(struct pws_req *r)
{
	/* A newer request of this slot is here: its client does not wait for this answer any
	 * more. */
	bool wanted = pws_channel_is_up(r->ch) && !r->parked;

	if (wanted)
		grant(r);
	if (wanted && !pw_conn_send(r->ch->conn, &r->send))
		pw_sm_move(&r->sm, PWS_REQ_REPLY_QUEUED, r->send.cmd.status);
	else
		finish(r);
}

void pws_req_reply_payload(struct pws_req *r, const void *payload, uint32_t len)
{
	r->send.payload = len ? payload : NULL;
	r->send.cmd.payload_len = len;
}

void pws_req_reply(struct pws_req *r, int err)
{
	struct pw_cmd *rsp = &r->send.cmd;

	assert(r->sm.state == PWS_REQ_RUNNING);
	rsp->magic = PW_WIRE_MAGIC;
	rsp->type = PW_MSG_RSP;
	rsp->op = r->cmd.op;
	rsp->slot = r->slot;
	rsp->seq = r->seq;
	if (err) {
		r->n->stats.errs[r->cmd.op]++;
		rsp->status = pw_err_to_wire(err);
		memset(rsp->raw, 0, sizeof(rsp->raw));
		pws_req_reply_payload(r, NULL, 0);
	}
	r->cached = !ops[r->cmd.op].reads;
	queue_reply(r);
}

/* Messages ---------------------------------------------------------------------------------- */

static enum pws_req_verdict judge(const struct pws_req *r, const struct pw_cmd *cmd)
{
	/* Usually by one. A request that its client gave up while we were away may never have come
	 * here, and slot 0 has no replays: RECLAIM begins anew with the next number. */
	bool is_next = cmd->seq > r->seq;

	if (!cmd->seq)
		return PWS_REQ_BAD;
	if (!r->has_seq || is_next) {
		if (pws_req_is_free(r))
			return PWS_REQ_RUN;
		return r->parked ? PWS_REQ_BAD : PWS_REQ_PARK;
	}
	if (cmd->seq != r->seq || cmd->op != r->cmd.op)
		return PWS_REQ_BAD;
	if (!pws_req_is_free(r))
		return PWS_REQ_IGNORE;
	return r->cached && !PW_PLANT("run-replay-again") ? PWS_REQ_RESEND : PWS_REQ_RUN;
}

/* A payload that the granted limit allows: names and lists have the whole buffer, data has
 * max_io. */
static bool fits(const struct pws_node *n, const struct pw_cmd *cmd)
{
	if (cmd->op == PW_OP_WRITE && cmd->payload_len > n->max_io)
		return false;
	return pw_cmd_head(cmd) + cmd->payload_len <= n->sink->size;
}

static void *fail_bad(struct pws_req *r, int err, const char *why)
{
	r->n->stats.bad_msgs++;
	pw_conn_fail(r->ch->conn, err, why);
	return NULL;
}

/* The payload may be there already, where channel.c guessed. */
static void take_spare(struct pws_req *r)
{
	struct pws_buf *own = r->buf;

	r->buf = r->ch->spare;
	r->ch->spare = own;
}

/* The client wrote the payload where the slot was granted. The last answer is with it then: what
 * the transport still keeps of that answer nobody reads any more. */
static void *placed_early(struct pws_req *r, uint32_t head)
{
	if (r->next_buf)
		return r->next_buf->mem + head;
	if (r->sm.state == PWS_REQ_REPLY_QUEUED)
		return r->buf->mem + head;
	return fail_bad(r, -EPROTO, "request in a slot whose last one still runs");
}

void *pws_req_on_payload(struct pws_req *r, const struct pw_cmd *cmd)
{
	uint32_t head = pw_cmd_head(cmd);

	r->verdict = judge(r, cmd);
	if (!fits(r->n, cmd))
		return fail_bad(r, -EPROTO, "payload larger than max_io");
	switch (r->verdict) {
	case PWS_REQ_RUN:
		pw_sm_move(&r->sm, PWS_REQ_RECEIVED, cmd->op);
		if (r->ch->spare && !head)
			take_spare(r);
		return r->buf->mem + head;
	case PWS_REQ_PARK:
		if (pw_conn_places(r->ch->conn))
			return placed_early(r, head);
		r->next_buf = pws_buf_get(r->n->bufs);
		if (!r->next_buf) {
			r->n->stats.no_buf++;
			return fail_bad(r, -ENOBUFS, "no buffer for a request that came early");
		}
		return r->next_buf->mem + head;
	case PWS_REQ_IGNORE:
	case PWS_REQ_RESEND:
		return r->n->sink->mem;
	case PWS_REQ_BAD:
		break;
	}
	return fail_bad(r, -EPROTO, "request out of sequence");
}

void pws_req_on_msg(struct pws_req *r, const struct pw_cmd *cmd, uint8_t *payload)
{
	if (!cmd->payload_len) {
		r->verdict = judge(r, cmd);
		if (r->verdict == PWS_REQ_RUN)
			pw_sm_move(&r->sm, PWS_REQ_RECEIVED, cmd->op);
	}
	switch (r->verdict) {
	case PWS_REQ_RUN:
		if (r->n->stopping) {
			/* the client replays it to the next life */
			pw_sm_move(&r->sm, PWS_REQ_FREE, 0);
			return;
		}
		accept(r, cmd, payload);
		set_busy(r);
		run(r);
		return;
	case PWS_REQ_PARK:
		r->n->stats.parked++;
		r->next = *cmd;
		r->next_payload = payload;
		r->parked = true;
		if (pws_req_is_free(r)) {
			/* what it waited for ended while the payload came in */
			set_busy(r);
			start_parked(r);
		}
		return;
	case PWS_REQ_IGNORE:
		r->n->stats.replays++;
		return;
	case PWS_REQ_RESEND:
		r->n->stats.replays++;
		r->n->stats.replays_answered++;
		set_busy(r);
		queue_reply(r);
		return;
	case PWS_REQ_BAD:
		fail_bad(r, -EPROTO, "request out of sequence");
		return;
	}
}

void pws_req_on_down(struct pws_req *r)
{
	drop_parked(r);
	if (r->sm.state == PWS_REQ_RECEIVED)
		pw_sm_move(&r->sm, PWS_REQ_FREE, 0);
	if (pws_req_is_free(r) && r->buf) {
		pws_buf_put(r->n->bufs, r->buf);
		r->buf = NULL;
	}
}

/* Steps ------------------------------------------------------------------------------------- */

void pws_req_step(struct pws_req *r, int err)
{
	r->err = err;
	ops[r->cmd.op].step(r);
}

void pws_req_txn_done(struct pws_txn *t, int err)
{
	pws_req_step(pws_req_of_txn(t), err);
}

static void on_fetched(struct pws_kv_fetch *f)
{
	pws_req_step(pw_container_of(f, struct pws_req, fetch), 0);
}

static void on_durable(struct pws_kv_waiter *w)
{
	pws_req_step(pw_container_of(w, struct pws_req, waiter), w->err);
}

static void on_revoked(struct pw_revoke *revoke)
{
	pws_req_step(pw_container_of(revoke, struct pws_req, revoke), 0);
}

static void on_space(struct pws_reclaim_waiter *w)
{
	pws_req_step(pw_container_of(w, struct pws_req, space_waiter), 0);
}

static void on_ready(struct pw_ready *ready)
{
	pws_req_step(pw_container_of(ready, struct pws_req, ready), 0);
}

int pws_req_inode(struct pws_req *r, uint64_t ino, struct pws_inode *ret, uint64_t *ret_seq)
{
	struct pws_kv_rec rec;
	struct pws_key k;
	int err;

	pws_key_inode(&k, ino);
	err = r->n->kv->ops->get(r->n->kv, pws_key_slice(&k), &rec, &r->fetch);
	if (err == -EINPROGRESS)
		return err;
	*ret_seq = rec.seq;
	if (err)
		return err == -ENOENT ? -ESTALE : err;
	return pws_inode_decode(rec.val, ret, NULL);
}

bool pws_req_durable(struct pws_req *r, uint64_t seq, bool sync)
{
	struct pws_kv *kv = r->n->kv;

	if (seq <= (sync ? kv->ops->media_seq(kv) : kv->ops->durable_seq(kv)))
		return true;
	r->waiter.seq = seq;
	r->waiter.sync = sync;
	r->waiter.done = on_durable;
	kv->ops->wait(kv, &r->waiter);
	return false;
}

bool pws_req_wait_space(struct pws_req *r)
{
	r->space_waiter.done = on_space;
	if (!pws_reclaim_wait(&r->n->reclaim, &r->space_waiter))
		return false;
	r->n->stats.space_waits++;
	return true;
}

bool pws_req_revoke(struct pws_req *r)
{
	struct pw_conn *c = r->ch->conn;

	/* next_buf: this connection has not brought the request, and was granted that */
	if (!c || r->next_buf)
		return true;
	r->revoke.done = on_revoked;
	return !pw_conn_revoke(c, r->slot, &r->revoke);
}

int64_t pws_req_now(const struct pws_req *r)
{
	return (int64_t)pw_loop_realtime(r->n->loop);
}

void pws_req_init(struct pws_req *r, struct pws_channel *ch, uint16_t slot)
{
	memset(r, 0, sizeof(*r));
	pw_sm_init(&r->sm, &req_type, PWS_REQ_FREE);
	r->ch = ch;
	r->n = ch->n;
	r->slot = slot;
	r->send.done = reply_done;
	r->fetch.done = on_fetched;
	pw_list_init(&r->fetch.node);
	r->op.meta = &r->n->meta;
	r->op.cmd = &r->cmd;
	r->op.rsp = &r->send.cmd;
	pw_list_init(&r->append_node);
	pw_list_init(&r->space_waiter.node);
	pw_ready_init(&r->ready, on_ready);
	pws_txn_init(&r->txn, r->n->kv);
}

void pws_req_fini(struct pws_req *r)
{
	assert(pws_req_is_free(r) && !r->buf && !r->next_buf);
	pw_ready_cancel(&r->ready);
	pws_txn_fini(&r->txn);
}
