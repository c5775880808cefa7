/* SPDX-License-Identifier: Apache-2.0 */
/* xprt_rdma_text.c -- a connection over RDMA in words: "rdma rxe0 port 1, GID ::ffff:10.0.0.1, MTU
 * 4096"
 *
 * The first word is the transport, the rest is for `status`: which device, and what to look at when
 * it is slow (an MTU of 1024 is what a device makes of Ethernet's 1500).
 */
#include <arpa/inet.h>
#include <stdio.h>

#include "common/xprt_rdma_impl.h"

static uint32_t mtu_of(const struct pw_rdma *x)
{
	struct ibv_port_attr attr;

	if (pw_rdma_port_attr(x->v, x->id->verbs, x->id->port_num, &attr))
		return 0;
	return attr.active_mtu >= IBV_MTU_256 && attr.active_mtu <= IBV_MTU_4096 ?
		       128u << attr.active_mtu : 0;
}

void pw_rdma_describe(struct pw_rdma *x)
{
	const struct ibv_device *dev = x->id->verbs->device;
	char gid[INET6_ADDRSTRLEN];
	uint32_t mtu = mtu_of(x);
	int n;

	n = snprintf(x->text, sizeof(x->text), "rdma %s port %u", dev->name, x->id->port_num);
	/* iWARP has no GID to speak of: its addresses are those of TCP */
	if (dev->transport_type == IBV_TRANSPORT_IB &&
	    inet_ntop(AF_INET6, &x->id->route.addr.addr.ibaddr.sgid, gid, sizeof(gid)))
		n += snprintf(x->text + n, sizeof(x->text) - (size_t)n, ", GID %s", gid);
	else
		n += snprintf(x->text + n, sizeof(x->text) - (size_t)n, ", iWARP");
	if (mtu)
		snprintf(x->text + n, sizeof(x->text) - (size_t)n, ", MTU %u", mtu);
}
