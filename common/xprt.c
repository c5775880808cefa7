/* SPDX-License-Identifier: Apache-2.0 */
/* xprt.c -- the transports of the programs: chosen once, at connect or listen, by a const table
 *
 * The simulation and some tests link functions of their own in place of this file.
 */
#include <errno.h>

#include "common/xprt_impl.h"

static const struct pw_xprt_type *const types[PW_TRANSPORT_NR] = {
	[PW_TRANSPORT_AUTO] = &pw_tcp_type,
	[PW_TRANSPORT_TCP] = &pw_tcp_type,
	[PW_TRANSPORT_RDMA] = &pw_rdma_type,
};

int pw_xprt_connect(struct pw_loop *loop, const char *host, uint16_t port, const char *local,
		    enum pw_transport transport, const struct pw_xprt_ops *ops, void *owner,
		    struct pw_xprt **ret)
{
	return types[transport]->connect(loop, host, port, local, ops, owner, ret);
}

void pw_xprt_send(struct pw_xprt *x, struct pw_send *s)
{
	x->type->send(x, s);
}

void pw_xprt_set_up(struct pw_xprt *x, uint32_t nr_slots)
{
	if (x->type->set_up)
		x->type->set_up(x, nr_slots);
}

void pw_xprt_grant(struct pw_xprt *x, uint16_t slot, void *buf, uint32_t len)
{
	if (x->type->grant)
		x->type->grant(x, slot, buf, len);
}

bool pw_xprt_revoke(struct pw_xprt *x, uint16_t slot, struct pw_revoke *r)
{
	return x->type->revoke && x->type->revoke(x, slot, r);
}

bool pw_xprt_places(const struct pw_xprt *x)
{
	return x->type->grant;
}

enum pw_gather pw_xprt_gathers(const struct pw_xprt *x, const struct pw_runs *runs, bool in)
{
	return x->type->gathers ? x->type->gathers(x, runs, in) : PW_GATHER_NEVER;
}

void pw_xprt_close(struct pw_xprt *x, int err, const char *why)
{
	x->type->close(x, err, why);
}

void pw_xprt_free(struct pw_xprt *x)
{
	x->type->free(x);
}

void pw_xprt_get_stats(const struct pw_xprt *x, struct pw_conn_stats *ret)
{
	x->type->get_stats(x, ret);
}

const char *pw_xprt_name(const struct pw_xprt *x)
{
	return x->type->name(x);
}

int pw_xprt_listen(struct pw_loop *loop, const char *host, uint16_t port,
		   enum pw_transport transport, pw_xprt_accept_fn *on_accept, void *arg,
		   struct pw_xprt_listener **ret)
{
	return types[transport]->listen(loop, host, port, on_accept, arg, ret);
}

uint16_t pw_xprt_listener_port(const struct pw_xprt_listener *l)
{
	return l->type->listener_port(l);
}

void pw_xprt_listener_free(struct pw_xprt_listener *l)
{
	if (l)
		l->type->listener_free(l);
}
