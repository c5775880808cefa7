/* SPDX-License-Identifier: Apache-2.0 */
/* listen.c -- listeners of a node, and what clients are told of them */
#include "storage_node/listen.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "common/addr.h"
#include "common/local_addr.h"
#include "common/log.h"
#include "common/rdma_why.h"
#include "storage_node/channel.h"
#include "storage_node/node.h"

static int open_one(struct pws_node *n, const char *host, enum pw_transport transport,
		    uint16_t port, struct pw_listener **ret)
{
	struct pw_conn_opts o = n->conn_opts;

	o.transport = transport;
	return pw_listener_new(n->loop, host, port, &pws_channel_listener_ops,
			       &pws_channel_conn_ops, n, &n->id, &o, ret);
}

static int open_rdma(struct pws_node *n, struct pws_listen_addr *a, uint16_t port)
{
	int err = open_one(n, a->at.host, PW_TRANSPORT_RDMA, port ? PW_RDMA_PORT(port) : 0,
			   &a->rdma);

	if (err)
		pw_rdma_why(err, a->no_rdma, sizeof(a->no_rdma));
	else
		pw_log_info("RDMA: listening at %s, too", a->at.host);
	return err;
}

static int open_addr(struct pws_node *n, struct pws_listen_addr *a)
{
	int err;

	if (n->transports == PWS_TRANSPORT_RDMA)
		return open_rdma(n, a, a->at.port);
	err = open_one(n, a->at.host, PW_TRANSPORT_TCP, a->at.port, &a->tcp);
	if (!err && n->transports == PWS_TRANSPORT_AUTO &&
	    open_rdma(n, a, pw_listener_port(a->tcp)))
		pw_log_info("RDMA: not in use at %s, %s", a->at.host, a->no_rdma);
	return err;
}

int pws_listen_open(struct pws_node *n)
{
	struct pws_listen *l = &n->listen;

	for (uint32_t i = 0; i < l->nr; i++) {
		int err = open_addr(n, &l->addr[i]);

		if (err) {
			l->failed = i;
			pws_listen_close(n);
			return err;
		}
	}
	return 0;
}

void pws_listen_close(struct pws_node *n)
{
	for (uint32_t i = 0; i < n->listen.nr; i++) {
		struct pws_listen_addr *a = &n->listen.addr[i];

		pw_listener_free(a->tcp);
		pw_listener_free(a->rdma);
		a->tcp = a->rdma = NULL;
	}
}

bool pws_listen_is_open(const struct pws_node *n)
{
	return n->listen.addr[0].tcp || n->listen.addr[0].rdma;
}

uint16_t pws_listen_addr_port(const struct pws_listen_addr *a)
{
	if (a->tcp)
		return pw_listener_port(a->tcp);
	return (uint16_t)(pw_listener_port(a->rdma) - PW_RDMA_PORT(0));
}

uint16_t pws_listen_port(const struct pws_node *n)
{
	return pws_listen_addr_port(&n->listen.addr[0]);
}

void pws_listen_text(const struct pws_node *n, char *buf, size_t len)
{
	bool open = pws_listen_is_open(n);
	char one[PWS_HOST_MAX + 16];
	size_t pos = 0;

	*buf = 0;
	for (uint32_t i = 0; i < n->listen.nr && pos < len; i++) {
		const struct pws_listen_addr *a = &n->listen.addr[i];

		pw_addr_host_port(a->at.host, open ? pws_listen_addr_port(a) : a->at.port, one,
				  sizeof(one));
		pos += (size_t)snprintf(buf + pos, len - pos, "%s%s", i ? ", " : "", one);
	}
}

/* What clients are told ----------------------------------------------------------------------- */

struct rail_list {
	struct pw_rail_addr rail[PW_RAILS_MAX];
	uint32_t nr;
};

static void add(struct rail_list *list, const struct pws_listen_addr *a, const uint8_t addr[16])
{
	struct pw_rail_addr *r = &list->rail[list->nr];

	if (list->nr == PW_RAILS_MAX)
		return;
	list->nr++;
	*r = (struct pw_rail_addr){ .port = pws_listen_addr_port(a) };
	memcpy(r->addr, addr, sizeof(r->addr));
	r->transports = (uint16_t)((a->tcp ? PW_RAIL_TCP : 0) | (a->rdma ? PW_RAIL_RDMA : 0));
}

/* A listener on all addresses is reached at each of them, but for loopback, which is another
 * machine's own. */
static void add_all(struct rail_list *list, const struct pws_listen_addr *a, bool v4_only)
{
	struct pw_local_addr local[64];
	uint32_t nr = pw_local_addrs(local, PW_ARRAY_SIZE(local));

	for (uint32_t i = 0; i < nr; i++) {
		const uint8_t *b = local[i].addr;
		bool v4 = IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)b);

		if ((v4 ? b[12] == 127 : v4_only) || IN6_IS_ADDR_LOOPBACK((const void *)b))
			continue;
		add(list, a, b);
	}
}

/* A host that was given as a name is not told: what it means here need not be what it means
 * there. */
static void add_host(struct rail_list *list, const struct pws_listen_addr *a)
{
	const char *host = strcmp(a->at.host, "localhost") ? a->at.host : "127.0.0.1";
	uint8_t addr[16] = { [10] = 0xff, [11] = 0xff };
	bool v4 = inet_pton(AF_INET, host, addr + 12) == 1;

	if (!v4 && inet_pton(AF_INET6, host, addr) != 1)
		return;
	if (v4 ? !strcmp(host, "0.0.0.0") : IN6_IS_ADDR_UNSPECIFIED((const void *)addr))
		add_all(list, a, v4);
	else if (v4 || !IN6_IS_ADDR_LINKLOCAL((const void *)addr))
		add(list, a, addr);
}

void pws_listen_tell(const struct pws_node *n, struct pw_conn *c)
{
	struct rail_list list = { .nr = 0 };

	if (!pws_listen_is_open(n))
		return;
	for (uint32_t i = 0; i < n->listen.nr; i++)
		add_host(&list, &n->listen.addr[i]);
	pw_conn_tell_rails(c, list.rail, list.nr);
}
