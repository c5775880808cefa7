/* SPDX-License-Identifier: Apache-2.0 */
/* peer_status.c -- what `status` and `stats` want to know of a peer */
#include "client_fs/peer_impl.h"

void *pwc_peer_owner(const struct pwc_peer *p)
{
	return p->owner;
}

enum pwc_peer_state pwc_peer_state(const struct pwc_peer *p)
{
	return p->state;
}

uint32_t pwc_peer_max_io(const struct pwc_peer *p)
{
	return p->max_io;
}

/* Called once per connection, when it is down. */
void pwc_peer_stats_add_conn(struct pwc_peer *p)
{
	struct pw_conn_stats s = { .msgs_tx = 0 };

	pw_conn_get_stats(p->conn, &s);
	pw_conn_stats_add(&p->stats.conn, &s);
}

void pwc_peer_get_stats(const struct pwc_peer *p, struct pwc_peer_stats *ret)
{
	struct pw_conn_stats s = { .msgs_tx = 0 };

	*ret = p->stats;
	if (p->state == PWC_PEER_UP || p->state == PWC_PEER_RECLAIMING) {
		pw_conn_get_stats(p->conn, &s);
		pw_conn_stats_add(&ret->conn, &s);
	}
	ret->inflight = p->inflight;
	ret->waiting = p->nr_waiting;
	ret->nr_slots = p->nr_slots;
}

const char *pwc_peer_why_down(const struct pwc_peer *p)
{
	return p->why_down;
}

const char *pwc_peer_name(const struct pwc_peer *p)
{
	return pw_conn_peer_name(p->conn);
}

const struct pwc_rails *pwc_peer_rails(const struct pwc_peer *p)
{
	return &p->rails;
}

bool pwc_peer_is_moving(const struct pwc_peer *p)
{
	return p->moving;
}

const char *pwc_peer_no_rdma(const struct pwc_peer *p)
{
	const struct pwc_rail_way *w = &p->rails.rail[p->rails.cur.rail].way[PWC_WAY_RDMA];

	if (p->rails.cur.way == PWC_WAY_RDMA)
		return "";
	if (p->opts.conn.transport == PW_TRANSPORT_TCP)
		return "transport=tcp was asked for";
	if (w->state == PWC_RAIL_NOT_OFFERED)
		return "the node does not listen for RDMA at this address";
	return w->why;
}

const char *pwc_peer_transport(const struct pwc_peer *p)
{
	return pw_conn_transport(p->conn);
}
