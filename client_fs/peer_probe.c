/* SPDX-License-Identifier: Apache-2.0 */
/* peer_probe.c -- do the other ways answer; and the move to one that is better
 *
 * A probe is a connection that ends when the node has proved who it is: the session does not
 * notice. One at a time, only while the peer is connected.
 * A move loses nothing and repeats nothing: no new call goes out, what is out is answered, the
 * connection ends, the next one begins over the better way, and calls go on. When what is out takes
 * too long the move is put off.
 */
#include <errno.h>
#include <string.h>

#include "client_fs/peer_impl.h"
#include "common/err.h"
#include "common/log.h"

#define PROBE_CONNECT_MS 2000u
#define MOVE_PATIENCE_NS (2 * PW_NS_PER_S)

static bool is_probing(const struct pwc_peer *p)
{
	return p->probe && pw_conn_state(p->probe) != PW_CONN_DOWN;
}

/* Move ----------------------------------------------------------------------------------------- */

static void move_step(struct pw_ready *r)
{
	struct pwc_peer *p = pw_container_of(r, struct pwc_peer, move_ready);

	if (!p->draining || p->inflight || p->state != PWC_PEER_UP)
		return;
	p->draining = false;
	p->moving = true;
	pw_timer_cancel(p->loop, &p->move_patience);
	pw_conn_fail(p->conn, -ECONNRESET, "another way to the node is better");
}

static void move_put_off(struct pw_timer *t)
{
	struct pwc_peer *p = pw_container_of(t, struct pwc_peer, move_patience);

	p->draining = false;
	pwc_rails_put_off(&p->rails, p->move_to, pw_loop_now(p->loop));
	pwc_calls_go_on(p);
}

static void move_check(struct pwc_peer *p)
{
	uint64_t now = pw_loop_now(p->loop);

	if (p->state != PWC_PEER_UP || p->draining || p->moving ||
	    !pwc_rails_better(&p->rails, now, &p->move_to))
		return;
	p->draining = true;
	pw_timer_arm(p->loop, &p->move_patience, now + MOVE_PATIENCE_NS);
	pw_loop_ready(p->loop, &p->move_ready);
}

/* Probe ---------------------------------------------------------------------------------------- */

static void probed(struct pwc_peer *p, int err, const char *why)
{
	if (!p->probe_void)
		pwc_rails_probed(&p->rails, p->probing, pw_loop_now(p->loop), err, why);
	pwc_probe_arm(p);
	move_check(p);
}

static void on_probe_up(struct pw_conn *c, const struct pw_body_welcome *w)
{
	(void)w;
	pw_conn_fail(c, -EPROTO, "a probe was taken for a client");
}

static void *on_probe_payload(struct pw_conn *c, const struct pw_cmd *cmd)
{
	(void)c;
	(void)cmd;
	return NULL;
}

static void on_probe_msg(struct pw_conn *c, const struct pw_cmd *cmd, void *payload)
{
	(void)cmd;
	(void)payload;
	pw_conn_fail(c, -EPROTO, "an answer to a probe");
}

static void on_probe_down(struct pw_conn *c, int err, const char *why)
{
	struct pwc_peer *p = pw_conn_owner(c);

	if (p->state == PWC_PEER_STOPPING)
		pwc_peer_stopped_check(p);
	else
		probed(p, err == -ECANCELED ? 0 : err, why);
}

static const struct pw_conn_ops probe_ops = {
	.on_up = on_probe_up,
	.on_payload = on_probe_payload,
	.on_msg = on_probe_msg,
	.on_down = on_probe_down,
};

static int make_probe(struct pwc_peer *p)
{
	struct pw_conn_opts o = p->opts.conn;

	o.probe = true;
	if (!o.connect_timeout_ms)
		o.connect_timeout_ms = PROBE_CONNECT_MS;
	return pw_conn_new(p->loop, &probe_ops, p, p->id, &o, &p->probe);
}

static void on_probe_timer(struct pw_timer *t)
{
	struct pwc_peer *p = pw_container_of(t, struct pwc_peer, probe_timer);
	const struct pwc_rail *r;
	char why[256];
	uint64_t when;
	int err;

	if (p->state != PWC_PEER_UP || is_probing(p) ||
	    !pwc_rails_probe_next(&p->rails, &p->probing, &when))
		return;
	p->probe_void = false;
	r = &p->rails.rail[p->probing.rail];
	err = p->probe ? 0 : make_probe(p);
	if (!err) {
		pw_conn_set_transport(p->probe, pwc_pick_transport(p->probing));
		pw_conn_set_local(p->probe, r->local);
		pw_conn_set_node(p->probe, p->node_id);
		err = pw_conn_connect(p->probe, r->host, pwc_pick_port(p, p->probing),
				      p->incarnation);
	}
	if (err)
		probed(p, err, pwc_pick_why(p->probing, err, why, sizeof(why)));
}

void pwc_probe_arm(struct pwc_peer *p)
{
	struct pwc_pick pick;
	uint64_t when;

	if (p->state == PWC_PEER_UP && !is_probing(p) &&
	    pwc_rails_probe_next(&p->rails, &pick, &when))
		pw_timer_arm(p->loop, &p->probe_timer, PW_MAX(when, pw_loop_now(p->loop)));
}

void pwc_probe_away(struct pwc_peer *p)
{
	p->draining = false;
	pw_timer_cancel(p->loop, &p->move_patience);
	pw_timer_cancel(p->loop, &p->probe_timer);
}

void pwc_probe_stop(struct pwc_peer *p)
{
	pwc_probe_away(p);
	pw_timer_cancel(p->loop, &p->retry);
	if (is_probing(p))
		pw_conn_fail(p->probe, -ESHUTDOWN, "stopped");
}

bool pwc_probe_is_stopped(const struct pwc_peer *p)
{
	return !is_probing(p);
}

void pwc_probe_init(struct pwc_peer *p)
{
	pw_timer_init(&p->probe_timer, on_probe_timer);
	pw_timer_init(&p->move_patience, move_put_off);
	pw_ready_init(&p->move_ready, move_step);
}

void pwc_probe_fini(struct pwc_peer *p)
{
	pw_timer_cancel(p->loop, &p->probe_timer);
	pw_timer_cancel(p->loop, &p->move_patience);
	pw_ready_cancel(&p->move_ready);
	pw_conn_free(p->probe);
}
