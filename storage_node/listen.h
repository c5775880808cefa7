/* SPDX-License-Identifier: Apache-2.0 */
/* listen.h -- where a node can be reached: one or more addresses, each over TCP, RDMA or both
 *
 * RDMA listens at the port number behind that of TCP: clients need to know one. A node without TCP
 * has a port number all the same, the one before that of its RDMA.
 * Clients are told all addresses (RAILS), so that they can use another when one fails.
 * Thread: loop thread.
 */
#ifndef PWS_LISTEN_H
#define PWS_LISTEN_H

#include "common/compiler.h"

struct pw_conn;
struct pw_listener;
struct pws_node;

#define PWS_LISTEN_MAX 8u
#define PWS_HOST_MAX 200u

enum pws_transports {
	PWS_TRANSPORT_TCP,
	PWS_TRANSPORT_AUTO, /* TCP, and RDMA where a device has the address */
	PWS_TRANSPORT_RDMA, /* RDMA or nothing */
};

/* As configured. */
struct pws_listen_at {
	char host[PWS_HOST_MAX];
	uint16_t port; /* 0: any */
};

struct pws_listen_addr {
	struct pws_listen_at at;
	struct pw_listener *tcp, *rdma; /* own; NULL: not open */
	char no_rdma[256]; /* AUTO, RDMA: why there is none; "" when there is */
};

struct pws_listen {
	struct pws_listen_addr addr[PWS_LISTEN_MAX];
	uint32_t nr;
	uint32_t failed; /* after a failure of open: the address that it was about */
};

/**
 * pws_listen_open - begin to accept connections
 *
 * Return: 0; as pw_listener_new(). With AUTO only TCP can fail. After a failure nothing is open;
 * with RDMA, no_rdma of the address is the text for it.
 */
int pws_listen_open(struct pws_node *n);
void pws_listen_close(struct pws_node *n);
bool pws_listen_is_open(const struct pws_node *n);
/* Of an address, host order; open only. */
uint16_t pws_listen_addr_port(const struct pws_listen_addr *a);
/* Of the first one. */
uint16_t pws_listen_port(const struct pws_node *n);
/* "10.0.0.1:7470, 10.0.1.1:7470" */
void pws_listen_text(const struct pws_node *n, char *buf, size_t len);
/* The client learns all of it; @c is up. */
void pws_listen_tell(const struct pws_node *n, struct pw_conn *c);

#endif
