/* SPDX-License-Identifier: Apache-2.0 */
/* conn.c -- a connection's states, messages, heartbeats and its one error door
 *
 * Happy path (client): pw_conn_connect() -> the transport connects -> hand-shake (conn_hello.c) ->
 * UP -> messages both ways, PING after silence -> GOODBYE -> DOWN.
 * What can fail: the transport (it reports once, through on_closed), the hand-shake, the peer
 * (silence, a message that makes no sense). All of it ends in pw_conn_fail(): the transport is told
 * to close, it drains, on_closed() comes, and only then does the owner hear on_down(). Until then
 * every buffer stays borrowed.
 */
#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/conn_impl.h"
#include "common/err.h"
#include "common/fault.h"

/* How long a GOODBYE may take to leave before the connection ends without it. */
#define GOODBYE_NS (500 * PW_NS_PER_MS)

/* A node's connection begins with HELLO: its transport is there already. */
static const struct pw_sm_state states[PW_CONN_NR_STATES] = {
	[PW_CONN_DOWN] = { "down", PW_SM_TO(PW_CONN_CONNECTING) | PW_SM_TO(PW_CONN_HELLO) },
	[PW_CONN_CONNECTING] = { "connecting",
				 PW_SM_TO(PW_CONN_HELLO) | PW_SM_TO(PW_CONN_DRAINING) },
	[PW_CONN_HELLO] = { "hello", PW_SM_TO(PW_CONN_UP) | PW_SM_TO(PW_CONN_DRAINING) },
	[PW_CONN_UP] = { "up", PW_SM_TO(PW_CONN_DRAINING) },
	[PW_CONN_DRAINING] = { "draining", PW_SM_TO(PW_CONN_DOWN) },
};
static const struct pw_sm_type conn_type = PW_SM_TYPE("conn", states);

static enum pw_conn_state state_of(const struct pw_conn *c)
{
	return (enum pw_conn_state)c->sm.state;
}

/* First reason wins. */
static void set_reason(struct pw_conn *c, int err, const char *why)
{
	c->err = err;
	if (why != c->why)
		snprintf(c->why, sizeof(c->why), "%s", why);
}

/* Errors ------------------------------------------------------------------------------------ */

void pw_conn_fail(struct pw_conn *c, int err, const char *why)
{
	assert(err < 0);
	if (state_of(c) == PW_CONN_DOWN || (state_of(c) == PW_CONN_DRAINING && !c->leaving))
		return;
	if (!c->leaving) {
		set_reason(c, err, why);
		pw_sm_move(&c->sm, PW_CONN_DRAINING, (uint32_t)-err);
	}
	c->leaving = false;
	pw_timer_cancel(c->loop, &c->timer);
	pw_listener_forget(c);
	pw_xprt_close(c->x, c->err, c->why);
}

void pw_conn_failf(struct pw_conn *c, int err, const char *fmt, ...)
{
	char why[sizeof(c->why)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	pw_conn_fail(c, err, why);
}

static void on_closed(void *owner, int err, const char *why)
{
	struct pw_conn *c = owner;
	struct pw_conn_stats last;

	if (state_of(c) != PW_CONN_DRAINING) {
		/* the transport failed of itself */
		set_reason(c, err, why);
		pw_sm_move(&c->sm, PW_CONN_DRAINING, (uint32_t)-err);
		pw_listener_forget(c);
	}
	c->leaving = false;
	pw_timer_cancel(c->loop, &c->timer);
	pw_xprt_get_stats(c->x, &last);
	pw_conn_stats_add(&c->past, &last);
	pw_xprt_free(c->x);
	c->x = NULL;
	assert(!c->ping.busy && !c->pong.busy);
	c->hs = PW_HS_NONE;
	pw_sm_move(&c->sm, PW_CONN_DOWN, 0);
	/* may free @c, or connect again */
	c->ops->on_down(c, c->err, c->why);
}

/* Messages ---------------------------------------------------------------------------------- */

static void hand_over(struct pw_conn *c, struct pw_send *s)
{
	c->queued++;
	pw_xprt_send(c->x, s);
}

int pw_conn_send(struct pw_conn *c, struct pw_send *s)
{
	if (state_of(c) != PW_CONN_UP)
		return -ENOTCONN;
	hand_over(c, s);
	return 0;
}

void pw_conn_grant(struct pw_conn *c, uint16_t slot, void *buf, uint32_t len)
{
	if (state_of(c) == PW_CONN_UP)
		pw_xprt_grant(c->x, slot, buf, len);
}

bool pw_conn_revoke(struct pw_conn *c, uint16_t slot, struct pw_revoke *r)
{
	return c->x && pw_xprt_revoke(c->x, slot, r);
}

bool pw_conn_places(const struct pw_conn *c)
{
	return state_of(c) == PW_CONN_UP && pw_xprt_places(c->x);
}

enum pw_gather pw_conn_gathers(const struct pw_conn *c, const struct pw_runs *runs, bool in)
{
	return state_of(c) == PW_CONN_UP ? pw_xprt_gathers(c->x, runs, in) : PW_GATHER_NEVER;
}

/* Its connection: the array's place in it tells which element @s is. */
static struct pw_conn *conn_of_last(struct pw_send *s)
{
	return pw_container_of(s, struct pw_conn, ctl[PW_CTL_LAST]);
}

/* REJECT or GOODBYE is out: now the connection may end. */
static void last_sent(struct pw_send *s, int err)
{
	struct pw_conn *c = conn_of_last(s);

	if (err)
		return;
	if (c->leaving)
		pw_conn_fail(c, c->err, c->why);
	else if (c->hs == PW_HS_REJECTED)
		pw_conn_fail(c, c->reject_err, c->why);
}

struct pw_cmd *pw_conn_ctl_cmd(struct pw_conn *c, uint32_t which, enum pw_msg_type type)
{
	struct pw_send *s = &c->ctl[which];

	pw_cmd_init(&s->cmd, type, 0);
	s->payload = NULL;
	s->done = which == PW_CTL_LAST ? last_sent : NULL;
	return &s->cmd;
}

void pw_conn_ctl_send(struct pw_conn *c, uint32_t which)
{
	hand_over(c, &c->ctl[which]);
}

void pw_conn_tell_rails(struct pw_conn *c, const struct pw_rail_addr *list, uint32_t nr)
{
	if (state_of(c) != PW_CONN_UP || c->hello.version < PW_WIRE_VERSION_RAILS)
		return;
	assert(nr <= PW_RAILS_MAX);
	for (uint32_t first = 0; first < nr; first += PW_RAILS_PER_MSG) {
		uint32_t which = PW_CTL_RAILS + first / PW_RAILS_PER_MSG;
		struct pw_body_rails *b = &pw_conn_ctl_cmd(c, which, PW_MSG_RAILS)->rails;

		b->total = (uint16_t)nr;
		b->first = (uint16_t)first;
		memcpy(b->rail, list + first,
		       PW_MIN(nr - first, PW_RAILS_PER_MSG) * sizeof(*list));
		pw_conn_ctl_send(c, which);
	}
}

static void *on_payload(void *owner, const struct pw_cmd *cmd)
{
	struct pw_conn *c = owner;

	if (state_of(c) != PW_CONN_UP && !c->leaving)
		return NULL;
	return c->ops->on_payload(c, cmd);
}

static const struct pw_runs *on_runs(void *owner, const struct pw_cmd *cmd)
{
	struct pw_conn *c = owner;

	if ((state_of(c) != PW_CONN_UP && !c->leaving) || !c->ops->on_runs)
		return NULL;
	return c->ops->on_runs(c, cmd);
}

static void *guess_payload(void *owner, uint32_t *ret_len)
{
	struct pw_conn *c = owner;

	if (state_of(c) != PW_CONN_UP || !c->ops->guess_payload)
		return NULL;
	return c->ops->guess_payload(c, ret_len);
}

static void beat_sent(struct pw_send *s, int err)
{
	struct pw_conn_beat *b = pw_container_of(s, struct pw_conn_beat, send);

	(void)err;
	b->busy = false;
}

static void beat(struct pw_conn *c, struct pw_conn_beat *b, enum pw_msg_type type)
{
	/* one of a kind in the queue is enough: it tells the peer the same */
	if (b->busy)
		return;
	b->busy = true;
	pw_cmd_init(&b->send.cmd, type, 0);
	b->send.payload = NULL;
	b->send.done = beat_sent;
	hand_over(c, &b->send);
}

static void on_rails(struct pw_conn *c, const struct pw_body_rails *part)
{
	uint32_t end = part->first + PW_RAILS_PER_MSG;

	if (part->first && part->first != c->rails_seen) {
		pw_conn_fail(c, -EPROTO, "a part of the list of addresses is missing");
		return;
	}
	c->rails_seen = end >= part->total ? 0 : end;
	if (c->ops->on_rails && !c->leaving)
		c->ops->on_rails(c, part);
}

/* UP, or leaving. pw_cmd_check() has let only the types of this direction through. */
static void on_up_msg(struct pw_conn *c, const struct pw_cmd *cmd, void *payload)
{
	switch (cmd->type) {
	case PW_MSG_REQ:
	case PW_MSG_RSP:
		c->ops->on_msg(c, cmd, payload);
		return;
	case PW_MSG_PING:
		beat(c, &c->pong, PW_MSG_PONG);
		return;
	case PW_MSG_PONG:
		return;
	case PW_MSG_RAILS:
		on_rails(c, &cmd->rails);
		return;
	case PW_MSG_GOODBYE:
		pw_conn_fail(c, -ESHUTDOWN, "peer said goodbye");
		return;
	default:
		pw_conn_failf(c, -EPROTO, "message type %u after the hand-shake", cmd->type);
	}
}

static void on_msg(void *owner, const struct pw_cmd *cmd, void *payload)
{
	struct pw_conn *c = owner;

	c->last_rx_ns = pw_loop_now(c->loop);
	c->msg_rx_bytes += sizeof(*cmd) + cmd->payload_len;
	if (pw_likely(state_of(c) == PW_CONN_UP || c->leaving))
		on_up_msg(c, cmd, payload);
	else if (state_of(c) == PW_CONN_HELLO)
		pw_hello_on_msg(c, cmd);
}

/* Time -------------------------------------------------------------------------------------- */

/* The transport asks the kernel: a large message moves for long before it is complete. */
static void note_progress(struct pw_conn *c, uint64_t now, bool *ret_tx_waits)
{
	struct pw_conn_stats s;

	pw_xprt_get_stats(c->x, &s);
	/* part of a message has come in since the last look */
	if (s.bytes_rx > PW_MAX(c->seen_rx_bytes, c->msg_rx_bytes))
		c->last_rx_ns = now;
	c->seen_rx_bytes = s.bytes_rx;
	*ret_tx_waits = s.msgs_tx != c->queued;
	if (!*ret_tx_waits || s.bytes_tx != c->seen_tx_bytes) {
		c->last_tx_ns = now;
		c->seen_tx_bytes = s.bytes_tx;
	}
}

static void heartbeat(struct pw_conn *c)
{
	uint64_t now = pw_loop_now(c->loop);
	uint64_t beat_ns = c->o.heartbeat_ms * PW_NS_PER_MS, dead_ns = c->o.dead_ms * PW_NS_PER_MS;
	uint64_t next;
	bool tx_waits;

	note_progress(c, now, &tx_waits);
	if (now - c->last_rx_ns >= dead_ns) {
		pw_conn_failf(c, -ETIMEDOUT, "peer silent for %u ms", c->o.dead_ms);
		return;
	}
	if (tx_waits && now - c->last_tx_ns >= dead_ns) {
		pw_conn_failf(c, -ETIMEDOUT, "peer took no byte for %u ms", c->o.dead_ms);
		return;
	}
	if (now - c->last_rx_ns >= beat_ns)
		beat(c, &c->ping, PW_MSG_PING);
	/* The next silence to notice; after a PING was needed, look again in one period. */
	next = c->last_rx_ns + beat_ns > now ? c->last_rx_ns + beat_ns : now + beat_ns;
	next = PW_MIN(next, c->last_rx_ns + dead_ns);
	if (tx_waits)
		next = PW_MIN(next, c->last_tx_ns + dead_ns);
	pw_timer_arm(c->loop, &c->timer, next);
}

static void on_timer(struct pw_timer *t)
{
	struct pw_conn *c = pw_container_of(t, struct pw_conn, timer);

	switch (state_of(c)) {
	case PW_CONN_CONNECTING:
		pw_conn_failf(c, -ETIMEDOUT, "no connection within %u ms", c->o.connect_timeout_ms);
		return;
	case PW_CONN_HELLO:
		if (c->hs == PW_HS_REJECTED)
			pw_conn_fail(c, c->reject_err, c->why);
		else
			pw_conn_failf(c, -ETIMEDOUT, "no hand-shake within %u ms",
				      c->o.connect_timeout_ms);
		return;
	case PW_CONN_UP:
		heartbeat(c);
		return;
	case PW_CONN_DRAINING:
		pw_conn_fail(c, c->err, c->why); /* GOODBYE did not get out */
		return;
	case PW_CONN_DOWN:
	case PW_CONN_NR_STATES:
		return;
	}
}

void pw_conn_set_up(struct pw_conn *c, const struct pw_body_welcome *w)
{
	uint64_t now = pw_loop_now(c->loop);

	c->hs = PW_HS_DONE;
	pw_listener_forget(c);
	pw_sm_move(&c->sm, PW_CONN_UP, 0);
	pw_xprt_set_up(c->x, w->nr_slots);
	c->last_rx_ns = c->last_tx_ns = now;
	pw_timer_arm(c->loop, &c->timer, now + c->o.heartbeat_ms * PW_NS_PER_MS);
	c->ops->on_up(c, w);
}

/* Life -------------------------------------------------------------------------------------- */

static void start_clock(struct pw_conn *c)
{
	pw_timer_arm(c->loop, &c->timer,
		     pw_loop_now(c->loop) + c->o.connect_timeout_ms * PW_NS_PER_MS);
	c->last_rx_ns = c->last_tx_ns = pw_loop_now(c->loop);
	c->msg_rx_bytes = c->seen_rx_bytes = c->seen_tx_bytes = 0;
	c->queued = 0;
	c->err = c->reject_err = 0;
	c->leaving = false;
	c->rails_seen = 0;
}

static void on_connected(void *owner, const char *peer_name)
{
	struct pw_conn *c = owner;

	if (state_of(c) != PW_CONN_CONNECTING)
		return; /* failed meanwhile: on_closed() is on its way */
	snprintf(c->peer, sizeof(c->peer), "%s", peer_name);
	pw_sm_move(&c->sm, PW_CONN_HELLO, 0);
	pw_hello_start(c, c->hello.incarnation);
}

const struct pw_xprt_ops pw_conn_xprt_ops = {
	.on_connected = on_connected,
	.on_payload = on_payload,
	.on_runs = on_runs,
	.guess_payload = guess_payload,
	.on_msg = on_msg,
	.on_closed = on_closed,
};

int pw_conn_alloc(struct pw_loop *loop, const struct pw_conn_ops *ops, void *owner,
		  const struct pw_identity *id, const struct pw_conn_opts *o, struct pw_conn **ret)
{
	int err = PW_FAULT_ERR("conn.alloc", -ENOMEM);
	struct pw_conn *c = err ? NULL : calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->loop = loop;
	c->ops = ops;
	c->owner = owner;
	c->id = id;
	if (o)
		c->o = *o;
	if (!c->o.connect_timeout_ms)
		c->o.connect_timeout_ms = 5000;
	if (!c->o.heartbeat_ms)
		c->o.heartbeat_ms = 1000;
	if (!c->o.dead_ms)
		c->o.dead_ms = 5000;
	if (!c->o.want_slots)
		c->o.want_slots = 64;
	pw_sm_init(&c->sm, &conn_type, PW_CONN_DOWN);
	pw_timer_init(&c->timer, on_timer);
	pw_list_init(&c->hs_node);
	*ret = c;
	return 0;
}

int pw_conn_new(struct pw_loop *loop, const struct pw_conn_ops *ops, void *owner,
		const struct pw_identity *id, const struct pw_conn_opts *o, struct pw_conn **ret)
{
	return pw_conn_alloc(loop, ops, owner, id, o, ret);
}

void pw_conn_free(struct pw_conn *c)
{
	if (!c)
		return;
	assert(state_of(c) == PW_CONN_DOWN);
	free(c);
}

int pw_conn_connect(struct pw_conn *c, const char *host, uint16_t port, uint64_t incarnation)
{
	struct pw_xprt *x;
	int err;

	if (state_of(c) != PW_CONN_DOWN)
		return -EBUSY;
	if (!host || !*host || !port)
		return -EINVAL;
	err = pw_xprt_connect(c->loop, host, port, c->local, c->o.transport, &pw_conn_xprt_ops, c,
			      &x);
	if (err)
		return err;
	c->x = x;
	c->hello.incarnation = incarnation;
	snprintf(c->peer, sizeof(c->peer), strchr(host, ':') ? "[%.48s]:%u" : "%.48s:%u", host,
		 port);
	pw_sm_move(&c->sm, PW_CONN_CONNECTING, 0);
	start_clock(c);
	return 0;
}

void pw_conn_accepted(struct pw_conn *c, struct pw_xprt *x, const char *peer_name)
{
	c->node = true;
	c->x = x;
	snprintf(c->peer, sizeof(c->peer), "%s", peer_name);
	pw_sm_move(&c->sm, PW_CONN_HELLO, 0);
	c->hs = PW_HS_HELLO;
	start_clock(c);
}

void pw_conn_goodbye(struct pw_conn *c)
{
	if (c->leaving)
		return;
	if (state_of(c) != PW_CONN_UP) {
		pw_conn_fail(c, -ESHUTDOWN, "closed by this side");
		return;
	}
	set_reason(c, -ESHUTDOWN, "closed by this side");
	pw_sm_move(&c->sm, PW_CONN_DRAINING, 0);
	c->leaving = true;
	pw_conn_ctl_cmd(c, PW_CTL_LAST, PW_MSG_GOODBYE);
	pw_conn_ctl_send(c, PW_CTL_LAST);
	pw_timer_arm(c->loop, &c->timer, pw_loop_now(c->loop) + GOODBYE_NS);
}

void *pw_conn_owner(const struct pw_conn *c)
{
	return c->owner;
}

void pw_conn_set_owner(struct pw_conn *c, void *owner)
{
	c->owner = owner;
}

void pw_conn_set_transport(struct pw_conn *c, enum pw_transport transport)
{
	c->o.transport = transport;
}

void pw_conn_set_local(struct pw_conn *c, const char *local)
{
	snprintf(c->local, sizeof(c->local), "%s", local ? local : "");
}

void pw_conn_set_node(struct pw_conn *c, const uint8_t *node)
{
	c->want_node = node;
	if (node)
		memcpy(c->node_id, node, sizeof(c->node_id));
}

void pw_conn_set_patience(struct pw_conn *c, uint32_t connect_timeout_ms, uint32_t dead_ms)
{
	if (connect_timeout_ms)
		c->o.connect_timeout_ms = connect_timeout_ms;
	if (dead_ms)
		c->o.dead_ms = dead_ms;
}

enum pw_conn_state pw_conn_state(const struct pw_conn *c)
{
	return state_of(c);
}

const char *pw_conn_peer_name(const struct pw_conn *c)
{
	return c->peer;
}

const uint8_t *pw_conn_peer_id(const struct pw_conn *c)
{
	return c->peer_id;
}

const uint8_t *pw_conn_peer_fsid(const struct pw_conn *c)
{
	return c->peer_fsid;
}

void pw_conn_get_stats(const struct pw_conn *c, struct pw_conn_stats *ret)
{
	struct pw_conn_stats now = { 0 };

	if (c->x)
		pw_xprt_get_stats(c->x, &now);
	*ret = c->past;
	pw_conn_stats_add(ret, &now);
}

const char *pw_conn_transport(const struct pw_conn *c)
{
	return c->x ? pw_xprt_name(c->x) : "none";
}
