/* SPDX-License-Identifier: Apache-2.0 */
/* listen.c -- listeners of a node */
#include "storage_node/listen.h"

#include "common/log.h"
#include "common/rdma_why.h"
#include "storage_node/channel.h"
#include "storage_node/node.h"

static int open_one(struct pws_node *n, enum pw_transport transport, uint16_t port,
		    struct pw_listener **ret)
{
	struct pw_conn_opts o = n->conn_opts;

	o.transport = transport;
	return pw_listener_new(n->loop, n->host, port, &pws_channel_listener_ops,
			       &pws_channel_conn_ops, n, &n->id, &o, ret);
}

static int open_rdma(struct pws_node *n, uint16_t port)
{
	struct pws_listen *l = &n->listen;
	int err = open_one(n, PW_TRANSPORT_RDMA, port ? PW_RDMA_PORT(port) : 0, &l->rdma);

	if (err)
		pw_rdma_why(err, l->no_rdma, sizeof(l->no_rdma));
	else
		pw_log_info("RDMA: listening, too");
	return err;
}

int pws_listen_open(struct pws_node *n)
{
	struct pws_listen *l = &n->listen;
	int err;

	if (n->transports == PWS_TRANSPORT_RDMA)
		return open_rdma(n, n->port);
	err = open_one(n, PW_TRANSPORT_TCP, n->port, &l->tcp);
	if (!err && n->transports == PWS_TRANSPORT_AUTO && open_rdma(n, pw_listener_port(l->tcp)))
		pw_log_info("RDMA: not in use, %s", l->no_rdma);
	return err;
}

void pws_listen_close(struct pws_node *n)
{
	pw_listener_free(n->listen.tcp);
	pw_listener_free(n->listen.rdma);
	n->listen.tcp = n->listen.rdma = NULL;
}

bool pws_listen_is_open(const struct pws_node *n)
{
	return n->listen.tcp || n->listen.rdma;
}

uint16_t pws_listen_port(const struct pws_node *n)
{
	if (n->listen.tcp)
		return pw_listener_port(n->listen.tcp);
	return (uint16_t)(pw_listener_port(n->listen.rdma) - PW_RDMA_PORT(0));
}
