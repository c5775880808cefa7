/* SPDX-License-Identifier: Apache-2.0 */
/* conn_listen.c -- a listening address, and the connections that have not proved the key yet
 *
 * What a stranger can cost is bounded: at most MAX_STRANGERS connections wait in the hand-shake,
 * each with one small receive buffer; when one more comes, the oldest of them has to go.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/conn_impl.h"
#include "common/fault.h"

#define MAX_STRANGERS 64u

struct pw_listener {
	struct pw_loop *loop;
	const struct pw_listener_ops *lops; /* borrowed for life, as the four below */
	const struct pw_conn_ops *cops;
	void *owner;
	const struct pw_identity *id;
	struct pw_conn_opts o;
	struct pw_xprt_listener *xl; /* owns */
	/* pw_conn.hs_node, oldest first; the connections' owners own them */
	struct pw_list strangers;
	uint32_t nr_strangers;
};

void pw_listener_forget(struct pw_conn *c)
{
	if (!c->listener)
		return;
	pw_list_del(&c->hs_node);
	c->listener->nr_strangers--;
	c->listener = NULL;
}

static int on_accept(void *arg, struct pw_xprt *x, const char *peer_name,
		     const struct pw_xprt_ops **ret_ops, void **ret_owner)
{
	struct pw_listener *l = arg;
	struct pw_conn *c;
	int err;

	if (l->nr_strangers >= MAX_STRANGERS) {
		struct pw_conn *oldest = pw_list_first(&l->strangers, struct pw_conn, hs_node);

		pw_conn_fail(oldest, -EBUSY, "oldest of too many connections in the hand-shake");
	}
	err = pw_conn_alloc(l->loop, l->cops, NULL, l->id, &l->o, &c);
	if (err)
		return err;
	c->listener = l;
	pw_list_add_tail(&l->strangers, &c->hs_node);
	l->nr_strangers++;
	pw_conn_accepted(c, x, peer_name);
	*ret_ops = &pw_conn_xprt_ops;
	*ret_owner = c;
	l->lops->on_accept(l, c);
	return 0;
}

/* By what is written, not by what a name resolves to: a resolver must not decide about security. */
static bool is_loopback(const char *host)
{
	struct in6_addr v6;
	struct in_addr v4;

	if (!strcmp(host, "localhost"))
		return true;
	if (inet_pton(AF_INET, host, &v4) == 1)
		return ntohl(v4.s_addr) >> 24 == 127;
	return inet_pton(AF_INET6, host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

int pw_listener_new(struct pw_loop *loop, const char *host, uint16_t port,
		    const struct pw_listener_ops *lops, const struct pw_conn_ops *cops, void *owner,
		    const struct pw_identity *id, const struct pw_conn_opts *o,
		    struct pw_listener **ret)
{
	struct pw_listener *l;
	int err;

	if (!id->have_key && !is_loopback(host))
		return -ENOKEY;
	err = PW_FAULT_ERR("listener.alloc", -ENOMEM);
	l = err ? NULL : calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	l->loop = loop;
	l->lops = lops;
	l->cops = cops;
	l->owner = owner;
	l->id = id;
	if (o)
		l->o = *o;
	pw_list_init(&l->strangers);
	err = pw_xprt_listen(loop, host, port, l->o.transport, on_accept, l, &l->xl);
	if (err) {
		free(l);
		return err;
	}
	*ret = l;
	return 0;
}

void *pw_listener_owner(const struct pw_listener *l)
{
	return l->owner;
}

uint16_t pw_listener_port(const struct pw_listener *l)
{
	return pw_xprt_listener_port(l->xl);
}

void pw_listener_free(struct pw_listener *l)
{
	if (!l)
		return;
	/* the strangers belong to their owners and live on */
	while (!pw_list_empty(&l->strangers))
		pw_listener_forget(pw_list_first(&l->strangers, struct pw_conn, hs_node));
	pw_xprt_listener_free(l->xl);
	free(l);
}
