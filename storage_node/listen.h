/* SPDX-License-Identifier: Apache-2.0 */
/* listen.h -- where a node can be reached: one address, over TCP, RDMA or both
 *
 * RDMA listens at the port number behind that of TCP: clients need to know one. A node without TCP
 * has a port number all the same, the one before that of its RDMA.
 * Thread: loop thread.
 */
#ifndef PWS_LISTEN_H
#define PWS_LISTEN_H

#include "common/compiler.h"

struct pw_listener;
struct pws_node;

enum pws_transports {
	PWS_TRANSPORT_TCP,
	PWS_TRANSPORT_AUTO, /* TCP, and RDMA where a device has the address */
	PWS_TRANSPORT_RDMA, /* RDMA or nothing */
};

struct pws_listen {
	struct pw_listener *tcp, *rdma; /* own; NULL: not open */
	char no_rdma[256]; /* AUTO, RDMA: why there is none; "" when there is */
};

/**
 * pws_listen_open - begin to accept connections
 *
 * Return: 0; as pw_listener_new(). With AUTO only TCP can fail. After a failure with RDMA,
 * no_rdma is the text for it.
 */
int pws_listen_open(struct pws_node *n);
void pws_listen_close(struct pws_node *n);
bool pws_listen_is_open(const struct pws_node *n);
/* Host order; open only. */
uint16_t pws_listen_port(const struct pws_node *n);

#endif
