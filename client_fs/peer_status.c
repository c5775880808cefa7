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

const char *pwc_peer_transport(const struct pwc_peer *p)
{
	return pw_conn_transport(p->conn);
}
