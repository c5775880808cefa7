/* SPDX-License-Identifier: Apache-2.0 */
/* sim_net.c -- common/xprt.h over a seeded network: links between each client and the node
 *
 * A link has a queue for each direction. A message is on its way for a while, in order; a stalled
 * direction holds everything back, as TCP does; a cut link delivers a prefix of what was on its
 * way, the last message perhaps in part. A payload is either copied when it is sent or, as with
 * zero copy, read from the sender's memory when it arrives: then the sender gets it back only
 * afterwards.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim_net.h"

#define GUESS_MAX 8192u

struct sim_net sim_net;

static uint32_t client_idx(const struct link *l)
{
	return (uint32_t)(l->client - sim.client);
}

/* Nothing of this direction gets through before. */
static uint64_t held_until(const struct link *l, int dir)
{
	return PW_MAX(sim_net.stall_until_ns[client_idx(l)][dir],
		      sim_net.pulled_until_ns[l->rail]);
}

void sim_net_msg_free(struct msg *m)
{
	pw_list_del(&m->node);
	sim_free(m->payload);
	sim_free(m);
}

/* Nobody knows it any more: it goes. */
void sim_net_link_check(struct link *l)
{
	struct pw_list *pos, *tmp;

	for (int d = 0; d < NR_DIRS; d++)
		pw_list_for_each_safe(pos, tmp, &l->queue[d]) {
			struct msg *m = pw_list_entry(pos, struct msg, node);

			if (!m->s && (m->delivered || m->lost) && m->arrived)
				sim_net_msg_free(m);
		}
	if (l->end[0] || l->end[1] || l->events || l->accepting)
		return;
	for (int d = 0; d < NR_DIRS; d++)
		while (!pw_list_empty(&l->queue[d]))
			sim_net_msg_free(pw_list_first(&l->queue[d], struct msg, node));
	pw_list_del(&l->node);
	sim_free(l);
}

static uint64_t draw_delay(void)
{
	uint64_t ns = 5 * PW_NS_PER_US + sim_below(SIM_RND_WORLD, 40 * PW_NS_PER_US);

	if (sim.sw.delays && !sim.quiet_phase && sim_chance(SIM_RND_WORLD, 100))
		ns += sim_below(SIM_RND_WORLD, sim.sw.delay_max_ns);
	return ns;
}

static void on_arrival(void *arg, uint64_t aux);

static struct msg *push(struct link *l, int dir, enum kind kind)
{
	struct msg *m = sim_alloc(sizeof(*m));
	uint64_t when = sim.now_ns + draw_delay();

	m->link = l;
	m->kind = kind;
	m->dir = (uint8_t)dir;
	pw_list_add_tail(&l->queue[dir], &m->node);
	l->last_arrival_ns[dir] = PW_MAX(l->last_arrival_ns[dir], when);
	l->events++;
	sim_at(l->last_arrival_ns[dir], on_arrival, m, 0);
	return m;
}

void sim_net_push_end(struct link *l, int dir, int err)
{
	if (l->over[dir])
		return;
	l->over[dir] = true;
	push(l, dir, END)->err = err;
}

static void take_payload(struct msg *m)
{
	if (m->payload || !m->cmd.payload_len || !m->s)
		return;
	m->payload = sim_alloc(m->cmd.payload_len);
	memcpy(m->payload, m->s->payload, m->cmd.payload_len);
}

static void on_arrival(void *arg, uint64_t aux)
{
	struct msg *m = arg;
	struct link *l = m->link;
	uint64_t until = held_until(l, m->dir);
	struct pw_xprt *from = l->end[!m->dir], *to = l->end[m->dir];
	bool up = m->dir == TO_NODE ? sim.node.alive : l->client->alive;

	(void)aux;
	if (until > sim.now_ns && !m->lost) {
		sim_at(until + draw_delay(), on_arrival, m, 0);
		return;
	}
	l->events--;
	m->arrived = true;
	if (!m->lost)
		take_payload(m);
	m->released = true;
	if (from && m->s)
		pw_loop_ready(from->loop, &from->ready);
	if (to && !m->lost) {
		to->stats.bytes_rx += m->kind == DATA ? sizeof(m->cmd) + m->cmd.payload_len : 0;
		pw_loop_ready(to->loop, &to->ready);
	} else {
		m->delivered = true;
		/* a machine that is up and knows nothing of this connection says so */
		if (!to && from && up && m->kind == DATA && !l->accepting)
			sim_net_push_end(l, !m->dir, -ECONNRESET);
	}
	sim_net_link_check(l);
}

/* The product's side ------------------------------------------------------------------------- */

static void ask_guess(struct pw_xprt *x)
{
	x->guess_len = 0;
	x->guess = x->ops->guess_payload ? x->ops->guess_payload(x->owner, &x->guess_len) : NULL;
}

/* What a receive with a guessed buffer may do to it. */
static void scribble(struct pw_xprt *x)
{
	uint32_t n = PW_MIN(x->guess_len, GUESS_MAX);

	if (!x->guess || !n || !sim_chance(SIM_RND_WORLD, 200))
		return;
	n = 1 + (uint32_t)sim_below(SIM_RND_WORLD, n);
	memset(x->guess, 0xa5, n);
}

static void deliver(struct pw_xprt *x, struct msg *m)
{
	void *dest = NULL;
	char name[32];

	m->delivered = true;
	switch (m->kind) {
	case CONNECTED:
		snprintf(name, sizeof(name), "10.0.%u.1:7470", x->link->rail);
		x->ops->on_connected(x->owner, name);
		break;
	case END:
		pw_xprt_close(x, m->err,
			      m->err == -ECONNREFUSED ? "refused" : "closed by the peer");
		return;
	case DATA:
		scribble(x);
		if (pw_cmd_check(&m->cmd, x->rx == TO_NODE)) {
			sim_fail("%s got a malformed message: type %u, %s, status %u",
				 x->proc->name, m->cmd.type, pw_op_name(m->cmd.op), m->cmd.status);
			return;
		}
		if (m->cmd.payload_len) {
			uint32_t n = m->cmd.payload_len;

			dest = x->ops->on_payload(x->owner, &m->cmd);
			if (!dest) {
				pw_xprt_close(x, -EPROTO, "unexpected payload");
				return;
			}
			if (x->closing)
				return;
			if (m->cut)
				n = (uint32_t)sim_below(SIM_RND_WORLD, n);
			memcpy(dest, m->payload, n);
		}
		if (m->cut)
			return;
		x->stats.msgs_rx++;
		x->ops->on_msg(x->owner, &m->cmd, dest);
		break;
	}
	if (!x->closing)
		ask_guess(x);
}

static void deliver_all(struct pw_xprt *x)
{
	struct link *l = x->link;
	struct pw_list *pos;

	for (pos = l->queue[x->rx].next; pos != &l->queue[x->rx] && !x->closing; pos = pos->next) {
		struct msg *m = pw_list_entry(pos, struct msg, node);

		if (m->delivered || m->lost)
			continue;
		if (!m->arrived)
			return;
		deliver(x, m);
	}
}

static void tell_sent(struct pw_xprt *x, bool all)
{
	struct link *l = x->link;
	struct pw_list *pos;

	for (pos = l->queue[x->tx].next; pos != &l->queue[x->tx]; pos = pos->next) {
		struct msg *m = pw_list_entry(pos, struct msg, node);
		struct pw_send *s = m->s;

		if (!s)
			continue;
		if (!m->released && !all)
			return;
		x->stats.msgs_tx++;
		x->stats.bytes_tx += sizeof(m->cmd) + m->cmd.payload_len;
		if (!m->released)
			m->lost = true; /* its bytes are not to be had any more */
		m->s = NULL;
		if (s->done)
			s->done(s, m->lost || x->closing ? x->err : 0);
	}
}

/* From the first message that is lost on, the direction is over. */
void sim_net_lose_rest(struct link *l, int dir)
{
	struct pw_list *pos;
	bool lost = false;

	pw_list_for_each(pos, &l->queue[dir]) {
		struct msg *m = pw_list_entry(pos, struct msg, node);

		if (m->kind == END)
			continue;
		lost |= m->lost;
		m->lost |= lost && !m->arrived;
	}
}

static void step_close(struct pw_xprt *x)
{
	struct link *l = x->link;

	x->closed = true;
	tell_sent(x, true);
	sim_net_lose_rest(l, x->tx);
	sim_net_push_end(l, x->tx, -ECONNRESET);
	l->over[x->rx] = true;
	l->end[x->rx] = NULL;
	x->link = NULL;
	sim_net_link_check(l);
	x->ops->on_closed(x->owner, x->err, x->why);
}

static void step(struct pw_ready *r)
{
	struct pw_xprt *x = pw_container_of(r, struct pw_xprt, ready);

	if (x->closed)
		return;
	if (!x->closing)
		tell_sent(x, false);
	if (!x->closing)
		deliver_all(x);
	if (x->closing)
		step_close(x);
	else
		sim_net_link_check(x->link);
}

static struct pw_xprt *xprt_new(struct sim_proc *p, struct link *l, int rx)
{
	struct pw_xprt *x = calloc(1, sizeof(*x));

	if (!x)
		abort();
	x->proc = p;
	x->loop = &p->loop;
	x->link = l;
	x->rx = (uint8_t)rx;
	x->tx = (uint8_t)!rx;
	pw_ready_init(&x->ready, step);
	l->end[rx] = x;
	return x;
}

static void on_syn(void *arg, uint64_t aux)
{
	struct link *l = arg;
	uint64_t until = held_until(l, TO_NODE);

	(void)aux;
	if (until > sim.now_ns) {
		sim_at(until + draw_delay(), on_syn, l, 0);
		return;
	}
	l->events--;
	if (!l->end[TO_CLIENT]) {
		sim_net_link_check(l);
		return;
	}
	if (sim.node.alive && sim_net.listener &&
	    !(sim.sw.refuse && !sim.quiet_phase && sim_chance(SIM_RND_WORLD, 100))) {
		l->accepting = true;
		pw_list_add_tail(&sim_net.listener->accepts, &l->accept_node);
		pw_loop_ready(sim_net.listener->loop, &sim_net.listener->ready);
	} else if (!sim_net.node_silent) {
		sim_net_push_end(l, TO_CLIENT, -ECONNREFUSED);
	}
}

int pw_xprt_connect(struct pw_loop *loop, const char *host, uint16_t port, const char *local,
		    enum pw_transport transport, const struct pw_xprt_ops *ops, void *owner,
		    struct pw_xprt **ret)
{
	struct link *l = sim_alloc(sizeof(*l));
	struct pw_xprt *x;

	(void)loop;
	(void)port;
	(void)local;
	(void)transport;
	l->client = sim.cur;
	l->rail = (uint32_t)(host[strlen("10.0.")] - '0') % SIM_RAILS;
	for (int d = 0; d < NR_DIRS; d++)
		pw_list_init(&l->queue[d]);
	pw_list_init(&l->accept_node);
	pw_list_add_tail(&sim_net.links, &l->node);
	x = xprt_new(sim.cur, l, TO_CLIENT);
	x->ops = ops;
	x->owner = owner;
	l->events++;
	sim_after(draw_delay(), on_syn, l, 0);
	*ret = x;
	return 0;
}

void pw_xprt_send(struct pw_xprt *x, struct pw_send *s)
{
	struct link *l = x->link;
	struct msg *m = push(l, x->tx, DATA);

	m->s = s;
	m->cmd = s->cmd;
	/* l->over: the other end is gone, or the link was cut: nothing gets through any more */
	m->lost = l->over[x->tx];
	if (!m->lost && sim_chance(SIM_RND_WORLD, 500)) {
		take_payload(m);
		m->released = true;
		pw_loop_ready(x->loop, &x->ready);
	}
}

void pw_xprt_set_up(struct pw_xprt *x, uint32_t nr_slots)
{
	(void)x;
	(void)nr_slots;
}

void pw_xprt_grant(struct pw_xprt *x, uint16_t slot, void *buf, uint32_t len)
{
	(void)x;
	(void)slot;
	(void)buf;
	(void)len;
}

bool pw_xprt_revoke(struct pw_xprt *x, uint16_t slot, struct pw_revoke *r)
{
	(void)x;
	(void)slot;
	(void)r;
	return false;
}

enum pw_gather pw_xprt_gathers(const struct pw_xprt *x, const struct pw_runs *runs, bool in)
{
	(void)x;
	(void)runs;
	(void)in;
	return PW_GATHER_NEVER;
}

bool pw_xprt_places(const struct pw_xprt *x)
{
	(void)x;
	return false;
}

void pw_xprt_close(struct pw_xprt *x, int err, const char *why)
{
	if (x->closing)
		return;
	x->closing = true;
	x->err = err;
	snprintf(x->why, sizeof(x->why), "%s", why);
	pw_loop_ready(x->loop, &x->ready);
}

void pw_xprt_free(struct pw_xprt *x)
{
	assert(x->closed);
	pw_ready_cancel(&x->ready);
	free(x);
}

void pw_xprt_get_stats(const struct pw_xprt *x, struct pw_conn_stats *ret)
{
	*ret = x->stats;
}

const char *pw_xprt_name(const struct pw_xprt *x)
{
	(void)x;
	return "sim";
}

static void accept_one(struct pw_xprt_listener *ln, struct link *l)
{
	struct pw_xprt *x;

	l->accepting = false;
	if (!l->end[TO_CLIENT]) {
		sim_net_link_check(l);
		return;
	}
	x = xprt_new(&sim.node, l, TO_NODE);
	if (ln->on_accept(ln->arg, x, l->client->name, &x->ops, &x->owner)) {
		l->end[TO_NODE] = NULL;
		sim_net_push_end(l, TO_CLIENT, -ECONNRESET);
		free(x);
		return;
	}
	push(l, TO_CLIENT, CONNECTED);
	ask_guess(x);
}

static void step_listener(struct pw_ready *r)
{
	struct pw_xprt_listener *ln = pw_container_of(r, struct pw_xprt_listener, ready);
	struct pw_list *n;

	while ((n = pw_list_pop(&ln->accepts)))
		accept_one(ln, pw_list_entry(n, struct link, accept_node));
}

int pw_xprt_listen(struct pw_loop *loop, const char *host, uint16_t port,
		   enum pw_transport transport, pw_xprt_accept_fn *on_accept, void *arg,
		   struct pw_xprt_listener **ret)
{
	struct pw_xprt_listener *ln = calloc(1, sizeof(*ln));

	(void)host;
	(void)port;
	(void)transport;
	if (!ln)
		abort();
	ln->loop = loop;
	ln->on_accept = on_accept;
	ln->arg = arg;
	pw_ready_init(&ln->ready, step_listener);
	pw_list_init(&ln->accepts);
	sim_net.listener = ln;
	sim_net.node_silent = false;
	*ret = ln;
	return 0;
}

uint16_t pw_xprt_listener_port(const struct pw_xprt_listener *ln)
{
	(void)ln;
	return PW_DEFAULT_PORT;
}

void sim_net_refuse_all(struct pw_xprt_listener *ln)
{
	struct pw_list *n;

	while ((n = pw_list_pop(&ln->accepts))) {
		struct link *l = pw_list_entry(n, struct link, accept_node);

		l->accepting = false;
		sim_net_push_end(l, TO_CLIENT, -ECONNREFUSED);
		sim_net_link_check(l);
	}
}

void pw_xprt_listener_free(struct pw_xprt_listener *ln)
{
	sim_net_refuse_all(ln);
	pw_ready_cancel(&ln->ready);
	sim_net.listener = NULL;
	free(ln);
}
