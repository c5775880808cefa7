/* SPDX-License-Identifier: Apache-2.0 */
/* xprt_rdma_rx.c -- the receiving half: completions, messages, where their payloads are
 *
 * A message is judged, gives credit and grants, and is delivered; then its buffer goes back to the
 * device. An answer on the client may have to wait: for the end of the window that its request had
 * opened (unless the node's SEND has ended it), and for a read of its payload. Its buffer is held
 * until then.
 *
 * A client's completion queue is armed for the node's messages only (they are all solicited) as
 * long as nobody waits for more: that a request has arrived is not worth a wake-up, its answer is.
 * soft-RoCE brings no event then for a send that failed and for receives that are flushed
 * (rxe_comp.c, rxe_resp.c of Linux 7.3), so a timer has a look while something is under way.
 * soft-iWARP has no event for the node's messages either: it is armed for all. A busy connection is
 * polled (poller.c) and has no events at all.
 *
 * What can fail: a malformed message, a payload where none was allowed, a completion with an error.
 * All of it ends the connection.
 */
#include <errno.h>
#include <string.h>

#include "common/fault.h"
#include "common/xprt_rdma_impl.h"

#define POLL_BATCH 32
#define POLL_BUDGET 256u
#define ACK_BATCH 64u
#define LOOK_NS (10 * PW_NS_PER_MS)

int pw_rdma_rx_post(struct pw_rdma *x, struct pw_rdma_in *in, uint32_t nr)
{
	for (uint32_t i = 0; i < nr; i++) {
		struct ibv_sge sge = {
			.addr = (uintptr_t)in[i].buf,
			.length = PW_RDMA_MSG_BYTES,
			.lkey = in[i].lkey,
		};
		struct ibv_recv_wr wr = { .wr_id = in[i].id, .sg_list = &sge, .num_sge = 1 }, *bad;
		int err = PW_FAULT_ERR("rdma.post_recv", -ENOMEM);

		if (!err)
			err = -ibv_post_recv(x->qp, &wr, &bad);
		if (err)
			return err;
		x->rx.out++;
		x->rx.given++;
	}
	return 0;
}

static struct pw_rdma_in *in_of(struct pw_rdma *x, uint64_t id)
{
	return id < x->few.nr_in ? &x->few.in[id] : &x->many.in[id - x->few.nr_in];
}

static void give_back(struct pw_rdma *x, struct pw_rdma_in *in)
{
	int err;

	if (x->share.srq) {
		pw_rdma_share_back(x, in);
		return;
	}
	if (x->closing)
		return;
	err = pw_rdma_rx_post(x, in, 1);
	if (err)
		pw_rdma_failf(x, err, "the device took no receive: %s", strerror(-err));
	else if (pw_rdma_owes_credit(x))
		pw_rdma_kick(x);
}

/* Deliver ------------------------------------------------------------------------------------- */

static void deliver(struct pw_rdma *x, const struct pw_cmd *cmd, void *payload)
{
	x->stats.msgs_rx++;
	x->ops->on_msg(x->owner, cmd, payload);
}

/* Where the owner wants the payload; NULL, and the connection has failed. */
static void *ask_dest(struct pw_rdma *x, const struct pw_cmd *cmd, const struct pw_runs **ret_runs)
{
	void *dest;

	*ret_runs = x->ops->on_runs ? x->ops->on_runs(x->owner, cmd) : NULL;
	dest = *ret_runs ? (*ret_runs)->v->iov_base : x->ops->on_payload(x->owner, cmd);
	if (!dest)
		pw_rdma_failf(x, -EPROTO, "unexpected payload in slot %u", cmd->slot);
	return x->closing ? NULL : dest;
}

static void put(uint8_t *dest, const struct pw_runs *runs, const uint8_t *from, uint32_t len)
{
	if (runs)
		pw_runs_fill(runs, from, len);
	else
		memmove(dest, from, len);
}

/* The payload is at @at, which the peer could write. The owner may want it elsewhere. */
static bool take_placed(struct pw_rdma *x, const struct pw_cmd *cmd, uint8_t *at, void **ret)
{
	const struct pw_runs *runs;
	uint8_t *dest = ask_dest(x, cmd, &runs);

	if (!dest)
		return false;
	if (runs || dest != at) {
		put(dest, runs, at, cmd->payload_len);
		x->stats.copied_bytes += cmd->payload_len;
	}
	*ret = dest;
	return true;
}

static bool take_inline(struct pw_rdma *x, const struct pw_rdma_view *v, void **ret)
{
	const struct pw_runs *runs;
	uint8_t *dest = ask_dest(x, v->cmd, &runs);

	if (!dest)
		return false;
	put(dest, runs, v->payload, v->cmd->payload_len);
	x->stats.copied_bytes += v->cmd->payload_len;
	*ret = dest;
	return true;
}

/* The memory that the payload of @cmd was written to, if the peer was allowed to. */
static uint8_t *placed_at(const struct pw_rdma *x, const struct pw_rdma_slot *sl,
			  const struct pw_cmd *cmd)
{
	const struct pw_rdma_right *r = x->node ? &sl->grant : &sl->window;
	uint32_t head = x->node ? pw_cmd_head(cmd) : 0;

	/* what was revoked is somebody else's */
	if (x->node && (!r->open || sl->revoke))
		return NULL;
	/* the client's window itself may be closed by now; its place is still known */
	if (!r->base || head + cmd->payload_len > r->len)
		return NULL;
	return r->base + head;
}

/* The message of @in, whose slot is @sl if it has one; one without has its payload behind it
 * (pw_rdma_parse()). Return: true, its buffer is free. */
static bool take_msg(struct pw_rdma *x, struct pw_rdma_in *in, struct pw_rdma_slot *sl)
{
	const struct pw_rdma_view *v = &in->view;
	void *dest = NULL;

	if (sl && v->head->flags & PW_RDMA_PULL) {
		in->dest = ask_dest(x, v->cmd, &in->runs);
		if (!in->dest)
			return true;
		sl->held = in;
		pw_rdma_todo(x, sl, PW_RDMA_TODO_READ);
		return false;
	}
	if (sl && v->head->flags & PW_RDMA_PLACED) {
		uint8_t *at = placed_at(x, sl, v->cmd);

		if (!at) {
			pw_rdma_failf(x, -EPROTO, "a payload in slot %u that was not allowed",
				      sl->idx);
			return true;
		}
		x->stats.bytes_rx += v->cmd->payload_len;
		if (!take_placed(x, v->cmd, at, &dest))
			return true;
	} else if (v->payload && !take_inline(x, v, &dest)) {
		return true;
	}
	if (!x->node && sl)
		sl->window.base = NULL;
	/* it has overtaken the completion of what it follows */
	if (sl && sl->out)
		sl->out->awaited = true;
	deliver(x, v->cmd, dest);
	return true;
}

/* Jobs of the client's slots ------------------------------------------------------------------- */

static void go_on(struct pw_rdma *x, struct pw_rdma_slot *sl)
{
	struct pw_rdma_in *in = sl->held;

	sl->held = NULL;
	if (take_msg(x, in, sl))
		give_back(x, in);
}

void pw_rdma_window_closed(struct pw_rdma *x, struct pw_rdma_job *j, int err)
{
	struct pw_rdma_slot *sl = pw_container_of(j, struct pw_rdma_slot, job);

	if (err)
		return; /* pw_rdma_qp_fini() goes on */
	pw_rdma_right_end(x, &sl->window);
	if (!x->closing)
		go_on(x, sl);
}

void pw_rdma_read_done(struct pw_rdma *x, struct pw_rdma_job *j, int err)
{
	struct pw_rdma_slot *sl = pw_container_of(j, struct pw_rdma_slot, job);
	struct pw_rdma_in *in = sl->held;

	pw_rdma_right_end(x, &sl->pull);
	if (err || x->closing)
		return;
	sl->held = NULL;
	x->stats.bytes_rx += in->view.cmd->payload_len;
	pw_rdma_todo(x, sl, PW_RDMA_TODO_TELL_PULLED);
	deliver(x, in->view.cmd, in->dest);
	give_back(x, in);
}

/* Judge --------------------------------------------------------------------------------------- */

/* Did the peer's SEND end a window of ours, and which? The completions of soft-RoCE have the flag
 * of the kernel, which is the one for checksums in user space (rdma-core 44, Linux 7.3). Ending a
 * window twice is not an error to soft-RoCE, but the end of the kernel. */
static bool has_ended_key(const struct ibv_wc *wc)
{
	return wc->wc_flags & (IBV_WC_WITH_INV | IBV_WC_IP_CSUM_OK);
}

/* The slot of a request or answer, NULL for other messages; false: there is no such slot. */
static bool slot_of(struct pw_rdma *x, const struct pw_cmd *cmd, struct pw_rdma_slot **ret)
{
	*ret = NULL;
	if (cmd->type != PW_MSG_REQ && cmd->type != PW_MSG_RSP)
		return true;
	if (cmd->slot >= x->nr_slots)
		return false;
	*ret = &x->slots[cmd->slot];
	return true;
}

/* What comes first: the client has allowed a place for the answer, or its window must end. */
static bool take_cmd(struct pw_rdma *x, struct pw_rdma_in *in, const struct ibv_wc *wc)
{
	const struct pw_rdma_view *v = &in->view;
	struct pw_rdma_slot *sl;

	if (!slot_of(x, v->cmd, &sl)) {
		pw_rdma_failf(x, -EPROTO, "a message in slot %u, which was not granted",
			      v->cmd->slot);
		return true;
	}
	if (!sl)
		return take_msg(x, in, NULL);
	if (x->node) {
		sl->window.open = v->head->flags & PW_RDMA_WINDOW;
		sl->window.rkey = v->head->rkey;
		sl->window.len = v->head->len;
		sl->window_addr = v->head->addr;
		return take_msg(x, in, sl);
	}
	if (sl->held || sl->todo != PW_RDMA_TODO_NONE) {
		pw_rdma_failf(x, -EPROTO, "two answers in slot %u", sl->idx);
		return true;
	}
	if (has_ended_key(wc) &&
	    (!sl->window.open || wc->invalidated_rkey != sl->window.rkey)) {
		pw_rdma_failf(x, -EPROTO, "the node ended a right that is not of this answer");
		return true;
	}
	if (!sl->window.open)
		return take_msg(x, in, sl);
	if (has_ended_key(wc)) {
		pw_rdma_right_end(x, &sl->window);
		return take_msg(x, in, sl);
	}
	sl->held = in;
	pw_rdma_todo(x, sl, PW_RDMA_TODO_CLOSE_WINDOW);
	return false;
}

static void take_grants(struct pw_rdma *x, const struct pw_rdma_view *v)
{
	for (uint32_t i = 0; i < v->head->nr_grants; i++) {
		const struct pw_rdma_grant *g = &v->grants[i];
		struct pw_rdma_slot *sl;

		if (g->slot >= x->nr_slots) {
			pw_rdma_failf(x, -EPROTO, "memory for slot %u, which was not granted",
				      g->slot);
			return;
		}
		sl = &x->slots[g->slot];
		sl->remote_addr = g->addr;
		sl->grant.rkey = g->rkey;
		sl->grant.len = g->len;
		sl->grant.open = true;
	}
	if (v->head->nr_grants)
		pw_rdma_kick(x);
}

static void on_pulled(struct pw_rdma *x, uint16_t slot)
{
	if (slot >= x->nr_slots || !x->slots[slot].pulled ||
	    x->slots[slot].todo != PW_RDMA_TODO_NONE ||
	    !pw_list_empty(&x->slots[slot].job.node)) {
		pw_rdma_failf(x, -EPROTO, "no answer was offered in slot %u", slot);
		return;
	}
	pw_rdma_todo(x, &x->slots[slot], PW_RDMA_TODO_CLOSE_PULL);
}

/* Return: true, the buffer is free. */
static bool take(struct pw_rdma *x, struct pw_rdma_in *in, const struct ibv_wc *wc)
{
	const struct pw_rdma_view *v = &in->view;
	bool free = true;

	x->stats.bytes_rx += wc->byte_len;
	if (x->node && has_ended_key(wc)) {
		pw_rdma_failf(x, -EPROTO, "the client ended a right that is not its own");
		return true;
	}
	if (pw_rdma_parse(in->buf, wc->byte_len, x->node, &in->view) ||
	    v->head->credits - x->tx.limit > 2 * PW_RDMA_DEPTH_MAX) {
		pw_rdma_failf(x, -EPROTO, "malformed message");
		return true;
	}
	if (v->head->credits != x->tx.limit) {
		x->tx.limit = v->head->credits;
		if (!pw_list_empty(&x->tx.queue) || !pw_list_empty(&x->tx.todo))
			pw_rdma_kick(x);
	}
	if (v->cmd)
		free = take_cmd(x, in, wc);
	else if (v->head->type == PW_RDMA_PULLED)
		on_pulled(x, v->head->slot);
	/* behind the command: WELCOME makes the slots that its grants are for */
	if (!x->closing)
		take_grants(x, v);
	return free;
}

/* Is it to be read? If not, the connection is over. */
static bool is_allowed(struct pw_rdma *x, const struct ibv_wc *wc)
{
	if (x->closing)
		return false;
	if (wc->status)
		pw_rdma_failf(x, wc->status == IBV_WC_WR_FLUSH_ERR ? -ECONNRESET : -EIO,
			      "receive: %s", x->v->wc_status_str(wc->status));
	else if (x->rx.told == x->rx.got++)
		/* where receives are shared, it was somebody else's */
		pw_rdma_failf(x, -EPROTO, "a message without credit");
	return !x->closing;
}

static void on_received(struct pw_rdma *x, const struct ibv_wc *wc)
{
	struct pw_rdma_in *in;

	if (x->share.srq) {
		in = pw_rdma_share_take(x, wc->wr_id);
		if (!in)
			return;
	} else {
		in = in_of(x, wc->wr_id);
		x->rx.out--;
	}
	if (!is_allowed(x, wc) || take(x, in, wc))
		give_back(x, in);
}

/* Completions --------------------------------------------------------------------------------- */

/* A close that waits for completions has nothing to wait for any more. */
static void cq_is_broken(struct pw_rdma *x, const char *why)
{
	x->broken = true;
	pw_rdma_failf(x, -EIO, "%s", why);
	pw_loop_ready(x->loop, &x->ready);
}

static uint32_t poll_batch(struct pw_rdma *x)
{
	struct ibv_wc wc[POLL_BATCH];
	int n = ibv_poll_cq(x->cq, POLL_BATCH, wc);

	if (n < 0) {
		x->cq_failed = true;
		cq_is_broken(x, "the completion queue is broken");
		return 0;
	}
	for (int i = 0; i < n; i++) {
		if (wc[i].wr_id & PW_RDMA_SEND_BIT)
			pw_rdma_on_sent(x, &wc[i]);
		else
			on_received(x, &wc[i]);
	}
	return (uint32_t)n;
}

/* To find out that there is none more is a system call; it is one for each arming at most. One that
 * was missed costs nothing but an arming: it is there with the next. */
static void take_events(struct pw_rdma *x)
{
	struct ibv_cq *cq;
	void *ctx;

	do {
		if (x->v->get_cq_event(x->channel, &cq, &ctx)) {
			x->expected = 0;
			break;
		}
		x->unacked++;
		x->armed = PW_RDMA_UNARMED;
	} while (x->expected && --x->expected);
	if (x->unacked >= ACK_BATCH) {
		x->v->ack_cq_events(x->cq, x->unacked);
		x->unacked = 0;
	}
}

uint32_t pw_rdma_poll(struct pw_rdma *x)
{
	uint32_t total = 0, n;

	/* other connections have their turn, too */
	do {
		n = x->broken ? 0 : poll_batch(x);
		total += n;
	} while (n == POLL_BATCH && total < POLL_BUDGET);
	return total;
}

static uint32_t on_poll(struct pw_poller *p)
{
	struct pw_rdma *x = pw_container_of(p, struct pw_rdma, cq_poller);
	uint32_t n = pw_rdma_poll(x);

	if (n && x->closing)
		pw_loop_ready(x->loop, &x->ready);
	return n;
}

/* Something is under way, and its failure may bring no event. */
static void look_later(struct pw_rdma *x)
{
	if (x->armed == PW_RDMA_ARMED_FOR_PEER && !pw_list_empty(&x->tx.flying) &&
	    !pw_timer_armed(&x->look))
		pw_timer_arm(x->loop, &x->look, pw_loop_now(x->loop) + LOOK_NS);
}

static bool on_arm(struct pw_poller *p)
{
	struct pw_rdma *x = pw_container_of(p, struct pw_rdma, cq_poller);
	enum pw_rdma_armed want;

	if (x->broken)
		return true;
	want = pw_rdma_awaits_sent(x) ? PW_RDMA_ARMED_FOR_ALL : PW_RDMA_ARMED_FOR_PEER;
	if (x->armed < want) {
		if (ibv_req_notify_cq(x->cq, want == PW_RDMA_ARMED_FOR_PEER)) {
			cq_is_broken(x, "the completion queue brings no events");
			return true;
		}
		x->armed = want;
		x->expected++;
	}
	if (on_poll(p))
		return false;
	look_later(x);
	return true;
}

void pw_rdma_watch_sent(struct pw_rdma *x)
{
	if (x->armed != PW_RDMA_ARMED_FOR_PEER || x->closing)
		return;
	if (pw_rdma_awaits_sent(x))
		pw_poller_wake(x->loop, &x->cq_poller);
	else
		look_later(x);
}

void pw_rdma_on_look(struct pw_timer *t)
{
	struct pw_rdma *x = pw_container_of(t, struct pw_rdma, look);

	if (!x->closing)
		pw_poller_wake(x->loop, &x->cq_poller);
}

static void on_cq_fd(struct pw_fd *f)
{
	struct pw_rdma *x = pw_container_of(f, struct pw_rdma, cq_fd);

	take_events(x);
	pw_poller_wake(x->loop, &x->cq_poller);
}

int pw_rdma_watch_cq(struct pw_rdma *x)
{
	int err = pw_fd_start(x->loop, &x->cq_fd, x->channel->fd, on_cq_fd);

	if (err)
		return err;
	x->cq_watched = true;
	pw_poller_start(x->loop, &x->cq_poller, on_poll, on_arm);
	return 0;
}
