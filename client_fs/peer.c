/* SPDX-License-Identifier: Apache-2.0 */
/* peer.c -- calls, slots, replay
 *
 * Happy path: call -> slot -> POSTED -> answer and send both done -> done(). What can fail:
 *
 *	connection lost	POSTED -> PARKED; the same slot and seq go out again after the reconnect
 *	session lost	(lease over, or the node forgot us) a mutation that had gone out ends with
 *			-EIO: it may or may not have happened; again could be twice
 *	timeout, signal	PARKED or WAITING ends at once, and so does a brief call: its slot's next
 *			seq tells the node to forget it
 *
 * An answer is not enough to give a buffer back: the transport must have let go of the payload as
 * well.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client_fs/peer_impl.h"
#include "client_fs/runs_copy.h"
#include "common/err.h"
#include "common/log.h"

#define CONNECT_WAIT_MS 10000u
#define TIMEOUT_TICK_MS 100u

static void call_end(struct pwc_peer *p, struct pwc_call *c, int err, const struct pw_cmd *rsp)
{
	struct pwc_slot *s = c->slot ? &p->slots[c->slot] : NULL;
	uint32_t out_len = rsp ? rsp->payload_len : 0;

	pw_list_del(&c->node);
	if (pw_unlikely(c->runs) && !err && out_len && !pwc_call_is_direct(c, out_len)) {
		err = pwc_runs_fill(c->runs, c->out, out_len);
		p->stats.runs_copied += out_len;
	}
	if (s) {
		s->call = NULL;
		p->inflight--;
		pw_list_add_tail(&p->free_slots, &s->node);
	}
	c->state = PWC_CALL_IDLE;
	if (p->nr_waiting && p->state == PWC_PEER_UP)
		pw_loop_ready(p->loop, &p->ready);
	if (p->draining && !p->inflight)
		pw_loop_ready(p->loop, &p->move_ready);
	c->done(c, err, rsp, out_len);
}

static void answer_deliver(struct pwc_peer *p, struct pwc_slot *s)
{
	const struct pw_cmd rsp = s->rsp;
	int err = pw_err_from_wire(rsp.status);

	s->answered = false;
	call_end(p, s->call, err, &rsp);
}

static void call_sent(struct pw_send *send, int err)
{
	struct pwc_call *c = pw_container_of(send, struct pwc_call, send);
	struct pwc_slot *s = c->owner;

	s->sending = false;
	if (!err && s->answered && s->call == c)
		answer_deliver(s->peer, s);
}

static void call_post(struct pwc_peer *p, struct pwc_call *c)
{
	struct pwc_slot *s = &p->slots[c->slot];

	c->send.cmd.slot = c->slot;
	c->send.cmd.seq = s->seq;
	c->send.payload = c->payload;
	c->send.answer = c->out;
	c->send.answer_max = c->out_max;
	c->send.answer_direct = false;
	c->send.done = call_sent;
	c->send.runs = NULL;
	if (pw_unlikely(c->runs) && pw_conn_state(p->conn) == PW_CONN_UP)
		c->lost = pwc_call_runs_post(p, c);
	if (pw_unlikely(c->lost)) {
		c->state = PWC_CALL_PARKED;
		pw_list_add_tail(&p->parked, &c->node);
		pw_loop_ready(p->loop, &p->abort_ready);
		return;
	}
	c->owner = s;
	s->answered = false;
	if (pw_conn_send(p->conn, &c->send)) {
		c->state = PWC_CALL_PARKED; /* the connection is going down: on_down comes */
		pw_list_add_tail(&p->parked, &c->node);
		return;
	}
	s->sending = true;
	c->state = PWC_CALL_POSTED;
	pw_list_add_tail(&p->posted, &c->node);
}

static void waiting_post(struct pwc_peer *p)
{
	struct pw_list *slot, *call;

	while (p->state == PWC_PEER_UP && !p->draining && p->nr_waiting &&
	       (slot = pw_list_pop(&p->free_slots))) {
		struct pwc_slot *s = pw_list_entry(slot, struct pwc_slot, node);
		struct pwc_call *c;

		call = pw_list_pop(&p->waiting);
		assert(call); /* nr_waiting */
		c = pw_list_entry(call, struct pwc_call, node);
		p->nr_waiting--;
		p->inflight++;
		s->call = c;
		s->seq++;
		c->slot = s->idx;
		call_post(p, c);
	}
}

static void peer_step(struct pw_ready *r)
{
	waiting_post(pw_container_of(r, struct pwc_peer, ready));
}

void pwc_peer_call(struct pwc_peer *p, struct pwc_call *c)
{
	c->slot = 0;
	c->aborted = false;
	c->lost = 0;
	c->start_ns = pw_loop_now(p->loop);
	c->state = PWC_CALL_WAITING;
	pw_list_init(&c->node);
	pw_list_add_tail(&p->waiting, &c->node);
	p->nr_waiting++;
	p->stats.calls++;
	if (p->state == PWC_PEER_UP && !pw_list_empty(&p->free_slots) && p->nr_waiting == 1) {
		waiting_post(p);
		return;
	}
	if (p->state == PWC_PEER_UP)
		p->stats.stall_slot++;
	if (p->given_up || p->state == PWC_PEER_DEAD || p->state == PWC_PEER_STOPPING ||
	    (c->brief && p->state != PWC_PEER_UP))
		pw_timer_arm(p->loop, &p->tick, 0);
	else if (p->opts.timeout_ms && !pw_timer_armed(&p->tick))
		pwc_peer_tick_arm(p);
}

/* ---- ends that are not answers ---- */

/* Ends what waits or is parked, as far as @want says; a posted call ends when its connection is
 * down. */
static void calls_end(struct pwc_peer *p, struct pw_list *list, int err,
		      bool (*want)(struct pwc_peer *p, struct pwc_call *c))
{
	struct pw_list *pos, ended;

	pw_list_init(&ended);
	for (pos = list->next; pos != list;) {
		struct pwc_call *c = pw_list_entry(pos, struct pwc_call, node);

		pos = pos->next;
		if (!want(p, c))
			continue;
		if (c->state == PWC_CALL_WAITING)
			p->nr_waiting--;
		pw_list_del(&c->node);
		pw_list_add_tail(&ended, &c->node);
	}
	/* done() may start new calls: they must not be seen by the walk above. */
	while (!pw_list_empty(&ended)) {
		struct pwc_call *c = pw_list_first(&ended, struct pwc_call, node);

		call_end(p, c, c->lost ? c->lost : err, NULL);
	}
}

static bool want_all(struct pwc_peer *p, struct pwc_call *c)
{
	(void)p;
	(void)c;
	return true;
}

static bool want_aborted(struct pwc_peer *p, struct pwc_call *c)
{
	(void)p;
	return c->aborted;
}

/* Its payload cannot be read. */
static bool want_unread(struct pwc_peer *p, struct pwc_call *c)
{
	(void)p;
	return c->lost;
}

static bool want_timed_out(struct pwc_peer *p, struct pwc_call *c)
{
	uint64_t since = PW_MAX(c->start_ns, p->stats.down_since_ns);

	if (pw_loop_now(p->loop) < since + p->opts.timeout_ms * PW_NS_PER_MS)
		return false;
	p->stats.timeouts++;
	return true;
}

static bool want_brief(struct pwc_peer *p, struct pwc_call *c)
{
	(void)p;
	return c->brief;
}

/* Fate unknown, and the node would take it for a new request. */
static bool want_lost(struct pwc_peer *p, struct pwc_call *c)
{
	(void)p;
	return pw_op_mutates(c->send.cmd.op);
}

/* The list of opens that a new session begins with says already what it would have said. A
 * session that lived on does not take that list: there the RELEASE is sent again. */
static bool want_release(struct pwc_peer *p, struct pwc_call *c)
{
	(void)p;
	return c->send.cmd.op == PW_OP_RELEASE;
}

void pwc_peer_tick_arm(struct pwc_peer *p)
{
	pw_timer_arm(p->loop, &p->tick, pw_loop_now(p->loop) + TIMEOUT_TICK_MS * PW_NS_PER_MS);
}

/* What does not wait for a node that is away. */
static void brief_end(struct pwc_peer *p)
{
	calls_end(p, &p->waiting, -EHOSTDOWN, want_brief);
	calls_end(p, &p->parked, -EHOSTDOWN, want_brief);
}

static void timed_out_end(struct pwc_peer *p)
{
	calls_end(p, &p->waiting, -EIO, want_timed_out);
	calls_end(p, &p->parked, -EIO, want_timed_out);
	if (!pw_list_empty(&p->waiting) || !pw_list_empty(&p->parked))
		pwc_peer_tick_arm(p);
}

static void on_tick(struct pw_timer *t)
{
	struct pwc_peer *p = pw_container_of(t, struct pwc_peer, tick);

	if (p->state == PWC_PEER_UP || p->state == PWC_PEER_RECLAIMING)
		return;
	if (p->given_up || p->state == PWC_PEER_DEAD) {
		calls_end(p, &p->waiting, -EIO, want_all);
		calls_end(p, &p->parked, -EIO, want_all);
	} else if (p->state == PWC_PEER_STOPPING) {
		calls_end(p, &p->waiting, -ESHUTDOWN, want_all);
	} else {
		brief_end(p);
		if (p->opts.timeout_ms)
			timed_out_end(p);
	}
}

void pwc_call_abort(struct pwc_peer *p, struct pwc_call *c)
{
	if (c->state == PWC_CALL_IDLE || c->aborted)
		return;
	c->aborted = true;
	p->stats.aborted++;
	if (c->state == PWC_CALL_WAITING || c->state == PWC_CALL_PARKED)
		pw_loop_ready(p->loop, &p->abort_ready);
}

static void abort_step(struct pw_ready *r)
{
	struct pwc_peer *p = pw_container_of(r, struct pwc_peer, abort_ready);

	calls_end(p, &p->parked, 0, want_unread);
	calls_end(p, &p->waiting, -EINTR, want_aborted);
	/* Connected again meanwhile: a parked call is posted, and its answer ends it. */
	calls_end(p, &p->parked, -EINTR, want_aborted);
}

void pwc_peer_give_up(struct pwc_peer *p)
{
	if (p->state == PWC_PEER_UP || p->state == PWC_PEER_IDLE)
		return;
	p->given_up = true;
	pw_timer_arm(p->loop, &p->tick, 0);
	if (p->state == PWC_PEER_RECLAIMING)
		pw_conn_fail(p->conn, -EIO, "given up");
}

void pwc_calls_away(struct pwc_peer *p)
{
	calls_end(p, &p->parked, -EINTR, want_aborted);
	if (p->given_up || p->opts.timeout_ms)
		pwc_peer_tick_arm(p);
	brief_end(p);
}

void pwc_calls_stop(struct pwc_peer *p)
{
	calls_end(p, &p->parked, -ESHUTDOWN, want_all);
	calls_end(p, &p->waiting, -ESHUTDOWN, want_all);
}

void pwc_calls_go_on(struct pwc_peer *p)
{
	waiting_post(p);
}

/* ---- connection events ---- */

static void on_down(struct pw_conn *conn, int err, const char *why)
{
	struct pwc_peer *p = pw_conn_owner(conn);
	struct pw_list *pos;

	pwc_peer_stats_add_conn(p);
	/* Drained: the transport has let go of every buffer, so all of them may be parked. */
	pw_list_for_each(pos, &p->posted) {
		struct pwc_call *c = pw_list_entry(pos, struct pwc_call, node);

		c->state = PWC_CALL_PARKED;
		p->slots[c->slot].answered = false;
	}
	pw_list_splice_tail(&p->parked, &p->posted);
	pwc_peer_lost(p, err, why);
}

/* Slots beyond what is granted now would never be answered. */
static int slots_adopt(struct pwc_peer *p, const struct pw_body_welcome *w)
{
	if (w->nr_slots < 2 || w->nr_slots > PW_MAX_SLOTS || !w->max_io || w->max_io > PW_MAX_IO)
		return -EPROTO;
	if (p->slots)
		return w->nr_slots >= p->nr_slots && w->max_io >= p->max_io ? 0 : -EPROTO;
	p->slots = calloc(w->nr_slots, sizeof(*p->slots));
	if (!p->slots)
		return -ENOMEM;
	p->nr_slots = w->nr_slots;
	p->max_io = w->max_io;
	for (uint32_t i = 0; i < p->nr_slots; i++) {
		struct pwc_slot *s = &p->slots[i];

		s->peer = p;
		s->idx = (uint16_t)i;
		pw_list_init(&s->node);
		if (i)
			pw_list_add_tail(&p->free_slots, &s->node);
	}
	return 0;
}

static void session_lost(struct pwc_peer *p)
{
	for (uint32_t i = 0; i < p->nr_slots; i++)
		p->slots[i].seq = p->slots[i].call ? 1 : 0;
	calls_end(p, &p->parked, -EIO, want_lost);
	calls_end(p, &p->parked, 0, want_release);
}

static void on_up(struct pw_conn *conn, const struct pw_body_welcome *w)
{
	struct pwc_peer *p = pw_conn_owner(conn);
	int err = slots_adopt(p, w);

	if (!pwc_lineage_follow(&p->lineage, w)) {
		pw_conn_fail(conn, -EMEDIUMTYPE, PWC_LINEAGE_WHY);
		return;
	}
	if (err) {
		pw_conn_fail(conn, err, "the node granted unusable or fewer slots than before");
		return;
	}
	memcpy(p->id->fsid, pw_conn_peer_fsid(conn), sizeof(p->id->fsid));
	if (p->was_up)
		p->stats.reconnects++;
	if (!(w->flags & PW_WELCOME_SESSION_KNOWN)) {
		if (p->was_up)
			pw_log_warn("peer %s: the node no longer knew this session, changes in "
				    "flight end with EIO", pwc_peer_name(p));
		session_lost(p);
	}
	p->state = PWC_PEER_RECLAIMING;
	pwc_reclaim_start(p);
}

void pwc_peer_usable(struct pwc_peer *p)
{
	bool first = !p->was_up;
	struct pw_list again;

	p->state = PWC_PEER_UP;
	p->was_up = true;
	p->given_up = false;
	p->stats.down_since_ns = 0;
	p->why_down[0] = 0;
	pw_timer_cancel(p->loop, &p->tick);
	pw_list_init(&again);
	pw_list_splice_tail(&again, &p->parked);
	while (!pw_list_empty(&again)) {
		struct pwc_call *c = pw_list_first(&again, struct pwc_call, node);

		pw_list_del(&c->node);
		p->stats.replays++;
		call_post(p, c);
	}
	pwc_rails_on_usable(p);
	waiting_post(p);
	p->ops->on_up(p, first);
}

/* The call that an answer is for; NULL if it answers nothing that was asked. */
static struct pwc_slot *answer_slot(struct pwc_peer *p, const struct pw_cmd *cmd)
{
	struct pwc_slot *s;

	if (!cmd->slot || cmd->slot >= p->nr_slots)
		return NULL;
	s = &p->slots[cmd->slot];
	if (!s->call || s->call->state != PWC_CALL_POSTED || s->answered ||
	    cmd->seq != s->seq || cmd->op != s->call->send.cmd.op)
		return NULL;
	return s;
}

static void *on_payload(struct pw_conn *conn, const struct pw_cmd *cmd)
{
	struct pwc_peer *p = pw_conn_owner(conn);
	struct pwc_slot *s = answer_slot(p, cmd);

	if (!s || cmd->payload_len > s->call->out_max)
		return NULL;
	return pwc_call_out(s->call, cmd->payload_len);
}

static const struct pw_runs *on_runs(struct pw_conn *conn, const struct pw_cmd *cmd)
{
	struct pwc_peer *p = pw_conn_owner(conn);
	struct pwc_slot *s = answer_slot(p, cmd);

	const struct pwc_call *c = s ? s->call : NULL;

	if (!c || !pwc_call_is_direct(c, cmd->payload_len) || cmd->payload_len > c->out_max)
		return NULL;
	return c->runs->nr > 1 || c->runs->foreign ? c->runs : NULL;
}

static void *guess_payload(struct pw_conn *conn, uint32_t *ret_len)
{
	struct pwc_peer *p = pw_conn_owner(conn);
	struct pwc_call *c;

	if (pw_list_empty(&p->posted))
		return NULL;
	c = pw_list_first(&p->posted, struct pwc_call, node);
	if (!c->out_max || p->slots[c->slot].answered)
		return NULL;
	*ret_len = c->out_max;
	/* What comes in place of a guess is somebody else's, and an application can look at its
	 * memory at any time. */
	return pwc_call_is_direct(c, c->out_max) ? NULL : c->out;
}

static void on_msg(struct pw_conn *conn, const struct pw_cmd *cmd, void *payload)
{
	struct pwc_peer *p = pw_conn_owner(conn);
	struct pwc_slot *s;

	(void)payload;
	if (!cmd->slot) {
		pwc_reclaim_answer(p, cmd);
		return;
	}
	s = answer_slot(p, cmd);
	if (!s) {
		pw_conn_fail(conn, -EPROTO, "an answer to nothing that was asked");
		return;
	}
	s->rsp = *cmd;
	s->answered = true;
	if (!s->sending)
		answer_deliver(p, s);
}

static const struct pw_conn_ops conn_ops = {
	.on_up = on_up,
	.on_payload = on_payload,
	.on_runs = on_runs,
	.guess_payload = guess_payload,
	.on_msg = on_msg,
	.on_rails = pwc_rails_on_offer,
	.on_down = on_down,
};

/* ---- life ---- */

int pwc_peer_new(struct pw_loop *loop, const struct pwc_peer_opts *o,
		 const struct pwc_peer_ops *ops, void *owner, struct pw_identity *id,
		 struct pwc_peer **ret)
{
	struct pwc_peer *p = calloc(1, sizeof(*p));
	int err;

	if (!p)
		return -ENOMEM;
	p->loop = loop;
	p->ops = ops;
	p->owner = owner;
	p->id = id;
	p->opts = *o;
	if (!p->opts.connect_wait_ms)
		p->opts.connect_wait_ms = CONNECT_WAIT_MS;
	pw_list_init(&p->waiting);
	pw_list_init(&p->posted);
	pw_list_init(&p->parked);
	pw_list_init(&p->free_slots);
	pw_timer_init(&p->tick, on_tick);
	pw_ready_init(&p->ready, peer_step);
	pw_ready_init(&p->abort_ready, abort_step);
	err = pw_conn_new(loop, &conn_ops, p, id, &p->opts.conn, &p->conn);
	if (!err)
		err = pwc_peer_rails_init(p);
	if (err) {
		pwc_peer_free(p);
		return err;
	}
	*ret = p;
	return 0;
}

void pwc_peer_free(struct pwc_peer *p)
{
	if (!p)
		return;
	pwc_peer_rails_fini(p);
	pw_timer_cancel(p->loop, &p->tick);
	pw_ready_cancel(&p->ready);
	pw_ready_cancel(&p->abort_ready);
	pw_conn_free(p->conn);
	free(p->reclaim);
	free(p->slots);
	free(p);
}

void pwc_peer_start(struct pwc_peer *p)
{
	p->start_ns = pw_loop_now(p->loop);
	pwc_peer_connect(p);
}

void pwc_peer_stop(struct pwc_peer *p)
{
	enum pwc_peer_state was = p->state;

	p->state = PWC_PEER_STOPPING;
	p->was_dead = was == PWC_PEER_DEAD;
	pwc_probe_stop(p);
	if (pw_conn_state(p->conn) != PW_CONN_DOWN)
		pw_conn_goodbye(p->conn);
	else
		pwc_peer_lost(p, -ESHUTDOWN, "stopped");
}
