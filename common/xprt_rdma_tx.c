/* SPDX-License-Identifier: Apache-2.0 */
/* xprt_rdma_tx.c -- the sending half: one chain of work requests and one doorbell per turn
 *
 *	todo	windows to close, answers to read, "I have read it" to tell
 *	grants	slots whose memory has changed: end the old right, open the new one
 *	queue	messages: [open a window] [WRITE the payload] SEND (xprt_rdma_payload.c)
 *
 * in this order, as far as there is room on the send queue, a free message buffer, and credit of
 * the peer; what is missing comes with a completion or a message, and both kick the flush again.
 * One credit is kept for a message that gives credit: else two sides could wait for each other.
 *
 * What can fail: a post, a registration for a payload that lies in no announced memory, any
 * completion. All of it ends the connection.
 */
#include <errno.h>
#include <string.h>

#include "common/fault.h"
#include "common/xprt_rdma_impl.h"

/* Work requests ------------------------------------------------------------------------------- */

/* For what one item below needs, with a payload in @pieces. */
static bool has_room(const struct pw_rdma *x, uint32_t pieces)
{
	const struct pw_rdma_tx *tx = &x->tx;

	return tx->posted + tx->nr_wr - tx->completed + PW_RDMA_ROOM + pieces <= x->limits.sq;
}

/* A window's key is what its last bind made it, from the post of that bind on. */
static void note_keys(struct pw_rdma_tx *tx)
{
	for (uint32_t i = 0; i < tx->nr_wr; i++)
		if (tx->wr[i].opcode == IBV_WR_BIND_MW)
			tx->wr[i].bind_mw.mw->rkey = tx->wr[i].bind_mw.rkey;
}

/* Nobody waits for READs that the device did not take. */
static void reads_end_with_queue(struct pw_rdma_tx *tx)
{
	struct pw_list *pos, *tmp;

	pw_list_for_each_safe(pos, tmp, &tx->reading) {
		if (pw_list_entry(pos, struct pw_rdma_job, node)->last_wr <= tx->posted)
			continue;
		pw_list_del(pos);
		pw_list_add_tail(&tx->flying, pos);
	}
}

static void post(struct pw_rdma *x)
{
	struct pw_rdma_tx *tx = &x->tx;
	struct ibv_send_wr *bad = tx->wr;
	int err;

	if (!tx->nr_wr)
		return;
	tx->wr[tx->nr_wr - 1].send_flags |= IBV_SEND_SIGNALED;
	tx->wr[tx->nr_wr - 1].next = NULL;
	tx->unsignaled = 0;
	err = PW_FAULT_ERR("rdma.post_send", -ENOMEM);
	if (!err)
		err = -ibv_post_send(x->qp, tx->wr, &bad);
	note_keys(tx);
	tx->posted += err ? (uint64_t)(bad - tx->wr) : tx->nr_wr;
	tx->nr_wr = tx->nr_sge = 0;
	if (!err)
		return;
	/* the first ones are on the queue, without a signal behind them */
	x->unproved = bad != tx->wr;
	reads_end_with_queue(tx);
	pw_rdma_failf(x, err, "the device took no work: %s", strerror(-err));
}

int pw_rdma_post_last(struct pw_rdma *x)
{
	struct ibv_send_wr wr = {
		.wr_id = PW_RDMA_SEND_BIT | (x->tx.posted + 1),
		.opcode = IBV_WR_SEND,
		.send_flags = IBV_SEND_SIGNALED,
	};
	struct ibv_send_wr *bad;
	int err = -ibv_post_send(x->qp, &wr, &bad);

	if (!err)
		x->tx.posted++;
	return err;
}

struct ibv_send_wr *pw_rdma_wr(struct pw_rdma *x)
{
	struct pw_rdma_tx *tx = &x->tx;
	struct ibv_send_wr *wr;

	if (tx->nr_wr)
		tx->nr_sge += (uint32_t)tx->wr[tx->nr_wr - 1].num_sge;
	if (tx->nr_wr == PW_RDMA_POST_MAX || tx->nr_sge + PW_RDMA_SGE_MAX > PW_RDMA_POST_SGES)
		post(x);
	wr = &tx->wr[tx->nr_wr];
	memset(wr, 0, sizeof(*wr));
	wr->sg_list = tx->sge + tx->nr_sge;
	if (tx->nr_wr)
		tx->wr[tx->nr_wr - 1].next = wr;
	tx->nr_wr++;
	wr->wr_id = PW_RDMA_SEND_BIT | (tx->posted + tx->nr_wr);
	if (++tx->unsignaled >= PW_RDMA_SIGNAL_EVERY) {
		wr->send_flags = IBV_SEND_SIGNALED;
		tx->unsignaled = 0;
	}
	return wr;
}

/* Everything that was prepared last belongs to @j. */
static void fly(struct pw_rdma *x, struct pw_rdma_job *j)
{
	j->last_wr = x->tx.posted + x->tx.nr_wr;
	pw_list_add_tail(&x->tx.flying, &j->node);
}

/* Messages ------------------------------------------------------------------------------------ */

static void finish(struct pw_rdma *x, struct pw_send *s, int err)
{
	if (!err) {
		x->stats.msgs_tx++;
		x->stats.bytes_tx += sizeof(s->cmd) + s->cmd.payload_len;
	}
	if (s->done)
		s->done(s, err);
}

static void out_done(struct pw_rdma *x, struct pw_rdma_job *j, int err)
{
	struct pw_rdma_out *out = pw_container_of(j, struct pw_rdma_out, job);
	struct pw_send *s = out->s;

	if (out->mr)
		x->v->dereg_mr(out->mr);
	out->mr = NULL;
	out->s = NULL;
	if (out->slot && out->slot->out == out)
		out->slot->out = NULL;
	pw_list_add_tail(&x->tx.free, &out->free_node);
	if (s)
		finish(x, s, err);
}

/* A free message buffer with a head, if @spare more credits than one are there, and room for its
 * payload. */
static struct pw_rdma_out *out_get(struct pw_rdma *x, enum pw_rdma_type type, uint32_t spare,
				   uint32_t pieces)
{
	struct pw_rdma_head *h;
	struct pw_rdma_out *out;

	if (!has_room(x, pieces) || pw_list_empty(&x->tx.free) ||
	    (int32_t)(x->tx.limit - x->tx.sent) < 1 + (int32_t)spare)
		return NULL;
	out = pw_list_entry(pw_list_pop(&x->tx.free), struct pw_rdma_out, free_node);
	out->slot = NULL;
	out->awaited = false;
	h = pw_rdma_head_of(out);
	*h = (struct pw_rdma_head){ .magic = PW_RDMA_MAGIC, .type = (uint8_t)type };
	return out;
}

/* As many grants as fit beside @behind bytes. Return: the length so far. */
static uint32_t put_grants(struct pw_rdma *x, struct pw_rdma_out *out, uint32_t behind)
{
	struct pw_rdma_head *h = pw_rdma_head_of(out);
	struct pw_rdma_grant *g = (struct pw_rdma_grant *)(h + 1);
	uint32_t room = PW_RDMA_MSG_BYTES - (uint32_t)sizeof(*h) - behind;

	while (!pw_list_empty(&x->tx.tell) && room >= sizeof(*g)) {
		struct pw_rdma_slot *s = pw_list_first(&x->tx.tell, struct pw_rdma_slot,
						       grant_node);

		pw_list_del(&s->grant_node);
		*g++ = (struct pw_rdma_grant){
			.slot = s->idx,
			.rkey = s->grant.rkey,
			.addr = (uintptr_t)s->grant.base,
			.len = s->grant.len,
		};
		h->nr_grants++;
		room -= (uint32_t)sizeof(*g);
	}
	return (uint32_t)((uint8_t *)g - out->buf);
}

/* The SEND of @len bytes, and of @more from where it is; @inv: a key to end there. */
static void put_send(struct pw_rdma *x, struct pw_rdma_out *out, uint32_t len,
		     const struct pw_rdma_more *more, uint32_t inv)
{
	struct pw_rdma_head *h = pw_rdma_head_of(out);
	struct ibv_send_wr *wr = pw_rdma_wr(x);

	h->credits = x->rx.given;
	x->rx.told = x->rx.given;
	x->tx.sent++;
	wr->opcode = inv ? IBV_WR_SEND_WITH_INV : IBV_WR_SEND;
	wr->invalidate_rkey = inv;
	wr->send_flags |= IBV_SEND_SOLICITED;
	/* who waits for its memory does not wait for what comes behind it */
	if (h->flags & PW_RDMA_PLACED)
		wr->send_flags |= IBV_SEND_SIGNALED;
	pw_rdma_add_sge(wr, out->buf, len, out->lkey);
	for (uint32_t i = 0; i < more->nr; i++)
		wr->sg_list[wr->num_sge++] = more->sge[i];
	if (len + more->bytes <= x->max_inline)
		wr->send_flags |= IBV_SEND_INLINE;
	fly(x, &out->job);
}

static bool send_internal(struct pw_rdma *x, enum pw_rdma_type type, uint16_t slot)
{
	struct pw_rdma_out *out = out_get(x, type, 0, 0);

	if (!out)
		return false;
	pw_rdma_head_of(out)->slot = slot;
	put_send(x, out, put_grants(x, out, 0), &(struct pw_rdma_more){ .nr = 0 }, 0);
	return true;
}

/* The queue ------------------------------------------------------------------------------------ */

static bool send_first(struct pw_rdma *x)
{
	struct pw_send *s = pw_list_first(&x->tx.queue, struct pw_send, node);
	bool in_slot = s->cmd.type == PW_MSG_REQ || s->cmd.type == PW_MSG_RSP;
	struct pw_rdma_slot *sl = in_slot ? &x->slots[s->cmd.slot] : NULL;
	struct pw_rdma_more more;
	struct pw_rdma_out *out;
	uint32_t len, inv = 0, behind = PW_CMD_BYTES, pieces = 0;
	bool in_line = pw_rdma_is_inline(x, sl, s);
	int err = 0;

	if (sl && !pw_rdma_is_placeable(x, sl, s))
		return false;
	if (!in_line)
		pieces = PW_MAX(1, pw_rdma_pieces(x, s->runs, s->cmd.payload_len, false));
	out = out_get(x, PW_RDMA_MSG, 1, pieces);
	if (!out)
		return false;
	pw_list_del(&s->node);
	out->s = s;
	out->slot = sl;
	if (sl)
		sl->out = out;
	more.nr = more.bytes = 0;
	if (in_line)
		behind += s->cmd.payload_len;
	len = put_grants(x, out, behind);
	memcpy(out->buf + len, &s->cmd, sizeof(s->cmd));
	len += PW_CMD_BYTES;
	if (in_line)
		pw_rdma_put_inline(x, s, out->buf + len, &len, &more);
	if (sl)
		err = pw_rdma_place(x, sl, out, s, &inv);
	put_send(x, out, len, &more, inv);
	if (err)
		pw_rdma_failf(x, err, "memory of a message not registered: %s", strerror(-err));
	return !err;
}

/* What slots have to do ------------------------------------------------------------------------ */

static void pull_closed(struct pw_rdma *x, struct pw_rdma_job *j, int err)
{
	struct pw_rdma_slot *sl = pw_container_of(j, struct pw_rdma_slot, job);
	struct pw_send *s = sl->pulled;

	if (err)
		return; /* pw_rdma_qp_fini() goes on */
	pw_rdma_right_end(x, &sl->pull);
	sl->pulled = NULL;
	if (s)
		finish(x, s, 0);
}

void pw_rdma_close_right(struct pw_rdma *x, struct pw_rdma_job *j, struct pw_rdma_right *r,
			 void (*done)(struct pw_rdma *, struct pw_rdma_job *, int))
{
	j->done = done;
	if (pw_rdma_right_close(x, r))
		fly(x, j);
	else
		done(x, j, 0);
}

static bool do_todo(struct pw_rdma *x)
{
	struct pw_rdma_slot *sl = pw_list_first(&x->tx.todo, struct pw_rdma_slot, todo_node);
	int todo = sl->todo, err;
	uint32_t pieces = 0;

	if (todo == PW_RDMA_TODO_READ)
		pieces = pw_rdma_pieces(x, sl->held->runs, sl->held->view.head->len, true);
	if (!has_room(x, pieces))
		return false;
	if (todo == PW_RDMA_TODO_TELL_PULLED && !send_internal(x, PW_RDMA_PULLED, sl->idx))
		return false;
	pw_list_del(&sl->todo_node);
	sl->todo = PW_RDMA_TODO_NONE;
	if (todo == PW_RDMA_TODO_CLOSE_WINDOW) {
		pw_rdma_close_right(x, &sl->job, &sl->window, pw_rdma_window_closed);
	} else if (todo == PW_RDMA_TODO_CLOSE_PULL) {
		pw_rdma_close_right(x, &sl->job, &sl->pull, pull_closed);
	} else if (todo == PW_RDMA_TODO_READ) {
		err = pw_rdma_put_read(x, sl);
		if (err)
			pw_rdma_failf(x, err, "memory of an answer not registered: %s",
				      strerror(-err));
	}
	return !x->closing;
}

void pw_rdma_todo(struct pw_rdma *x, struct pw_rdma_slot *s, int todo)
{
	s->todo = todo;
	pw_list_add_tail(&x->tx.todo, &s->todo_node);
	pw_rdma_kick(x);
}

/* Flush --------------------------------------------------------------------------------------- */

bool pw_rdma_owes_credit(const struct pw_rdma *x)
{
	return x->rx.given - x->rx.told >= PW_MAX(x->rx.depth / 2, 2u);
}

static void on_flush(struct pw_flush *f)
{
	struct pw_rdma *x = pw_container_of(f, struct pw_rdma, tx.flush);
	struct pw_rdma_tx *tx = &x->tx;

	if (x->closing || x->state < (x->node ? PW_RDMA_CONNECTING : PW_RDMA_UP))
		return;
	while (!pw_list_empty(&tx->todo) && do_todo(x))
		;
	while (!x->closing && !pw_list_empty(&tx->grants) && has_room(x, 0))
		pw_rdma_bind_grant(x, pw_list_first(&tx->grants, struct pw_rdma_slot, grant_node));
	while (!x->closing && !pw_list_empty(&tx->queue) && send_first(x))
		;
	while (!x->closing && (!pw_list_empty(&tx->tell) || pw_rdma_owes_credit(x) || tx->nudge) &&
	       send_internal(x, PW_RDMA_CREDIT, 0))
		tx->nudge = false;
	if (x->closing)
		return;
	post(x);
	pw_rdma_watch_sent(x);
}

void pw_rdma_kick(struct pw_rdma *x)
{
	if (!x->closing)
		pw_loop_on_flush(x->loop, &x->tx.flush);
}

void pw_rdma_send(struct pw_xprt *base, struct pw_send *s)
{
	struct pw_rdma *x = pw_rdma_of(base);

	pw_list_add_tail(&x->tx.queue, &s->node);
	pw_rdma_kick(x);
	/* in closing, the last step gives it back */
}

bool pw_rdma_awaits_sent(const struct pw_rdma *x)
{
	const struct pw_rdma_tx *tx = &x->tx;
	const struct pw_list *pos;

	/* what a client sends need not be solicited, and siw forgets that a message is
	 * (siw_rqe_complete(), Linux 7.3): it must not lie here unseen */
	if (x->node || x->pd->dev->soft_iwarp)
		return true;
	if (x->closing || !pw_list_empty(&tx->queue) || !pw_list_empty(&tx->reading) ||
	    !pw_list_empty(&tx->todo) || !pw_list_empty(&tx->grants) || !pw_list_empty(&tx->tell))
		return true;
	pw_list_for_each(pos, &tx->flying) {
		const struct pw_rdma_job *j = pw_list_entry(pos, struct pw_rdma_job, node);

		if (j->done != out_done || pw_container_of(j, struct pw_rdma_out, job)->awaited)
			return true;
	}
	return false;
}

/* Done ---------------------------------------------------------------------------------------- */

/* One piece of a READ. The others of one that failed come back, too: the queue pair has ended. */
static void read_done(struct pw_rdma *x, uint32_t slot, int err)
{
	struct pw_rdma_slot *sl = &x->slots[slot];

	if (--sl->nr_reads)
		return;
	pw_list_del(&sl->job.node);
	sl->job.done(x, &sl->job, err);
}

void pw_rdma_on_sent(struct pw_rdma *x, const struct ibv_wc *wc)
{
	struct pw_rdma_tx *tx = &x->tx;

	if (wc->status && !x->closing) {
		int err = wc->status == IBV_WC_RETRY_EXC_ERR ? -ETIMEDOUT : -EIO;

		pw_rdma_failf(x, err, "send: %s", x->v->wc_status_str(wc->status));
	}
	/* soft-iWARP reports a READ behind what was posted after it; all else is in order */
	tx->completed = PW_MAX(tx->completed, wc->wr_id & PW_RDMA_NUMBER_MASK);
	if (wc->wr_id & PW_RDMA_READ_BIT)
		read_done(x, (uint32_t)(wc->wr_id >> PW_RDMA_READ_SLOT_SHIFT) & (PW_MAX_SLOTS - 1),
			  wc->status ? x->err : 0);
	while (!pw_list_empty(&tx->flying)) {
		struct pw_rdma_job *j = pw_list_first(&tx->flying, struct pw_rdma_job, node);

		if (j->last_wr > tx->completed)
			break;
		pw_list_del(&j->node);
		j->done(x, j, wc->status ? x->err : 0);
	}
	if (!pw_list_empty(&tx->queue) || !pw_list_empty(&tx->todo) || !pw_list_empty(&tx->grants))
		pw_rdma_kick(x);
}

void pw_rdma_tx_end(struct pw_rdma *x)
{
	struct pw_list *node;

	pw_list_splice_tail(&x->tx.flying, &x->tx.reading);
	while ((node = pw_list_pop(&x->tx.flying))) {
		struct pw_rdma_job *j = pw_list_entry(node, struct pw_rdma_job, node);

		j->done(x, j, x->err);
	}
	for (uint32_t i = 0; i < x->nr_slots; i++) {
		if (x->slots[i].pulled) {
			finish(x, x->slots[i].pulled, x->err);
			x->slots[i].pulled = NULL;
		}
		pw_rdma_revoked(x, &x->slots[i]);
	}
	while ((node = pw_list_pop(&x->tx.queue)))
		finish(x, pw_list_entry(node, struct pw_send, node), x->err);
}

void pw_rdma_tx_init(struct pw_rdma *x)
{
	struct pw_rdma_tx *tx = &x->tx;

	pw_flush_init(&tx->flush, on_flush);
	pw_list_init(&tx->queue);
	pw_list_init(&tx->flying);
	pw_list_init(&tx->reading);
	pw_list_init(&tx->free);
	pw_list_init(&tx->grants);
	pw_list_init(&tx->tell);
	pw_list_init(&tx->todo);
}

void pw_rdma_out_init(struct pw_rdma *x, struct pw_rdma_out *out)
{
	pw_list_init(&out->job.node);
	out->job.done = out_done;
	pw_list_init(&out->free_node);
	pw_list_add_tail(&x->tx.free, &out->free_node);
}
