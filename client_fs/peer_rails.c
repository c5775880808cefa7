/* SPDX-License-Identifier: Apache-2.0 */
/* peer_rails.c -- which way to the node comes next, and when: from a lost connection to the next
 *
 *	lost	another rail at once; where there is none, the same after a back-off
 *	failed	the next way at once, until all were tried; then a back-off that grows with each
 *		round
 *	asked to come again	the node still drains what we had: the same way after a back-off
 *	moved	see peer_probe.c: the better way at once
 *
 * The table (rail.c) says what is next; this file connects, waits and tells the owner.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "client_fs/peer_impl.h"
#include "common/err.h"
#include "common/log.h"
#include "common/random.h"
#include "common/rdma_why.h"

#define BACKOFF_MIN_MS 50u
#define BACKOFF_MAX_MS 2000u
/* A connection that ends sooner after it came up is no reason for haste. */
#define HASTE_NS PW_NS_PER_S
/* Where there is another rail, patience with this one costs more than giving it up. */
#define CONNECT_MS 2000u
#define DEAD_MS 3000u
#define LOCALS_MAX 64u

static struct pwc_rail *rail_of(struct pwc_peer *p)
{
	return &p->rails.rail[p->rails.cur.rail];
}

enum pw_transport pwc_pick_transport(struct pwc_pick pick)
{
	return pick.way == PWC_WAY_RDMA ? PW_TRANSPORT_RDMA : PW_TRANSPORT_TCP;
}

uint16_t pwc_pick_port(const struct pwc_peer *p, struct pwc_pick pick)
{
	uint16_t port = p->rails.rail[pick.rail].port;

	return pick.way == PWC_WAY_RDMA ? PW_RDMA_PORT(port) : port;
}

const char *pwc_pick_why(struct pwc_pick pick, int err, char *buf, size_t len)
{
	if (pick.way == PWC_WAY_RDMA)
		return pw_rdma_why(err, buf, len);
	snprintf(buf, len, "%s", pw_err_text(err));
	return buf;
}

/* Over the way that the table has chosen. */
static void connect_cur(struct pwc_peer *p)
{
	bool many = p->rails.nr > 1;
	char why[256];
	int err;

	p->state = p->was_up ? PWC_PEER_WAITING : PWC_PEER_CONNECTING;
	pw_conn_set_transport(p->conn, pwc_pick_transport(p->rails.cur));
	pw_conn_set_local(p->conn, rail_of(p)->local);
	/* an address that was mistyped may be that of another node */
	pw_conn_set_node(p->conn, p->was_up && many ? p->node_id : NULL);
	pw_conn_set_patience(p->conn, many && !p->opts.conn.connect_timeout_ms ? CONNECT_MS : 0,
			     many && !p->opts.conn.dead_ms ? DEAD_MS : 0);
	err = pw_conn_connect(p->conn, rail_of(p)->host, pwc_pick_port(p, p->rails.cur),
			      ++p->incarnation);
	if (err)
		pwc_peer_lost(p, err, pwc_pick_why(p->rails.cur, err, why, sizeof(why)));
}

void pwc_peer_connect(struct pwc_peer *p)
{
	bool pause;

	p->again = false;
	if (pwc_rails_next(&p->rails, &pause))
		connect_cur(p);
}

static void on_retry(struct pw_timer *t)
{
	connect_cur(pw_container_of(t, struct pwc_peer, retry));
}

/* A node that answered, and said no: it says the same over the other transport. */
static bool is_refusal(int err)
{
	return err == -EKEYREJECTED || err == -ENOKEY || err == -EPROTONOSUPPORT ||
	       err == -EMEDIUMTYPE;
}

/* RDMA was demanded, and this host has none. */
static bool is_hopeless(const struct pwc_peer *p, int err)
{
	return p->opts.conn.transport == PW_TRANSPORT_RDMA &&
	       (err == -ENOSYS || err == -ENODEV || err == -ENOENT);
}

/* Refused for a reason that trying again does not change. @more: there are ways left to try. */
static bool is_final(const struct pwc_peer *p, int err, bool more)
{
	if (p->was_up)
		return false; /* somebody may be repairing it; the mount stays */
	if (is_refusal(err) || err == -EINVAL || (is_hopeless(p, err) && !more))
		return true;
	return !more &&
	       pw_loop_now(p->loop) >= p->start_ns + p->opts.connect_wait_ms * PW_NS_PER_MS;
}

static uint64_t backoff(struct pwc_peer *p)
{
	p->backoff_ms = p->backoff_ms ? PW_MIN(p->backoff_ms * 2, BACKOFF_MAX_MS) : BACKOFF_MIN_MS;
	return (p->backoff_ms * 3 / 4 + pw_random_below(p->backoff_ms / 2 + 1)) * PW_NS_PER_MS;
}

/* The table learns what has become of the way that was in use or was tried. */
static void note_end(struct pwc_peer *p, int err)
{
	uint64_t now = pw_loop_now(p->loop);

	p->again = false;
	if (p->moving && p->state == PWC_PEER_UP) {
		pwc_rails_leave(&p->rails, p->move_to);
	} else if (p->state == PWC_PEER_UP) {
		pwc_rails_lost(&p->rails, now, err, p->why_down);
	} else if (err == -EAGAIN) {
		p->again = true;
	} else {
		pwc_rails_failed(&p->rails, now, err, p->why_down, is_refusal(err));
		if (p->rails.cur.way == PWC_WAY_RDMA)
			pw_log_debug("peer %s: no RDMA, %s", pwc_peer_name(p), p->why_down);
	}
}

/* Chooses the next way. Return: how long to wait before it is tried, ns. */
static uint64_t choose_next(struct pwc_peer *p, bool *ret_more)
{
	struct pwc_pick last = p->rails.cur;
	bool pause;

	*ret_more = true;
	if (p->again)
		return backoff(p);
	if (p->moving && p->state == PWC_PEER_UP) {
		p->stats.moves++;
		return 0;
	}
	if (pwc_rails_next(&p->rails, &pause)) {
		p->stats.failovers += p->was_up && (last.rail != p->rails.cur.rail ||
						    last.way != p->rails.cur.way);
		if (p->state == PWC_PEER_UP && pw_loop_now(p->loop) < p->up_ns + HASTE_NS)
			pause = true;
		return pause ? backoff(p) : 0;
	}
	*ret_more = false;
	pwc_rails_round(&p->rails);
	(void)pwc_rails_next(&p->rails, &pause);
	return backoff(p);
}

void pwc_peer_stopped_check(struct pwc_peer *p)
{
	if (p->state != PWC_PEER_STOPPING || pw_conn_state(p->conn) != PW_CONN_DOWN ||
	    !pwc_probe_is_stopped(p))
		return;
	p->state = PWC_PEER_IDLE;
	p->ops->on_stopped(p);
}

void pwc_peer_lost(struct pwc_peer *p, int err, const char *why)
{
	bool more;
	uint64_t wait;

	snprintf(p->why_down, sizeof(p->why_down), "%s", why);
	if (!p->stats.down_since_ns)
		p->stats.down_since_ns = pw_loop_now(p->loop);
	if (p->state == PWC_PEER_STOPPING) {
		if (!p->was_dead)
			pwc_calls_stop(p);
		pwc_peer_stopped_check(p);
		return;
	}
	pwc_probe_away(p);
	note_end(p, err);
	wait = choose_next(p, &more);
	if (is_final(p, err, more)) {
		p->state = PWC_PEER_DEAD;
		pw_timer_arm(p->loop, &p->tick, 0);
		p->ops->on_dead(p, err, p->why_down);
		return;
	}
	pw_timer_arm(p->loop, &p->retry, pw_loop_now(p->loop) + wait);
	if (p->was_up && (p->state == PWC_PEER_UP || p->state == PWC_PEER_RECLAIMING))
		p->ops->on_down(p, err, p->why_down);
	p->moving = false;
	p->state = p->was_up ? PWC_PEER_WAITING : PWC_PEER_CONNECTING;
	pwc_calls_away(p);
}

void pwc_rails_on_usable(struct pwc_peer *p)
{
	p->backoff_ms = 0;
	p->up_ns = pw_loop_now(p->loop);
	memcpy(p->node_id, pw_conn_peer_id(p->conn), sizeof(p->node_id));
	pwc_rails_up(&p->rails, p->up_ns, pwc_peer_name(p));
	pwc_probe_arm(p);
}

void pwc_rails_on_offer(struct pw_conn *conn, const struct pw_body_rails *part)
{
	struct pwc_peer *p = pw_conn_owner(conn);
	uint32_t left = (uint32_t)(part->total - part->first), nr_locals = 0;
	uint32_t nr = PW_MIN(left, PW_RAILS_PER_MSG);
	struct pw_local_addr locals[LOCALS_MAX];

	memcpy(p->offer + part->first, part->rail, nr * sizeof(part->rail[0]));
	if (part->first + nr < part->total)
		return;
	if (p->ops->locals)
		nr_locals = p->ops->locals(p, locals, LOCALS_MAX);
	pwc_rails_offer(&p->rails, p->offer, part->total, locals, nr_locals);
	p->probe_void = true;
	if (p->rails.nr > 1 && !p->opts.conn.dead_ms)
		pw_conn_set_patience(conn, 0, DEAD_MS);
	pwc_probe_arm(p);
}

/* Different for each client, and the same for all of its life. */
static uint32_t spread_of(const struct pw_identity *id)
{
	uint32_t h = 2166136261u;

	for (size_t i = 0; i < sizeof(id->id); i++)
		h = (h ^ id->id[i]) * 16777619u;
	return h ^ h >> 16;
}

int pwc_peer_rails_init(struct pwc_peer *p)
{
	const struct pwc_peer_opts *o = &p->opts;
	int err;

	pw_timer_init(&p->retry, on_retry);
	pwc_probe_init(p);
	pwc_rails_init(&p->rails, o->conn.transport, spread_of(p->id));
	err = pwc_rails_add(&p->rails, o->host, o->port, NULL, PWC_RAIL_OF_MOUNT);
	for (uint32_t i = 0; i < o->nr_rails && !err; i++)
		err = pwc_rails_add(&p->rails, o->rails[i].host, o->rails[i].port,
				    o->rails[i].local, PWC_RAIL_OF_OPTION);
	return err;
}

void pwc_peer_rails_fini(struct pwc_peer *p)
{
	pw_timer_cancel(p->loop, &p->retry);
	pwc_probe_fini(p);
}
