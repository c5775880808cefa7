/* SPDX-License-Identifier: Apache-2.0 */
/* rdma_dev.h -- an RDMA device, its protection domains, and the memory that is registered in them
 *
 * Who may touch what: areas of mem.h are registered without any remote right. With memory windows
 * (type 2) a peer gets one for exactly the bytes of a slot or of an answer; such a window works on
 * the queue pair alone that bound it, so connections share one domain and one registration of the
 * areas. A device without windows gives rights with registrations, which every queue pair of the
 * domain could use: there each connection of a node has a domain of its own.
 *
 * The shared domain outlives connections as long as areas are registered in it: a reconnect does
 * not pin everything again.
 * Thread: loop thread.      Allocates: at connect.      Must not know: messages.
 */
#ifndef PW_RDMA_DEV_H
#define PW_RDMA_DEV_H

#include "common/mem.h"
#include "common/verbs.h"

struct pw_rdma_pd;
struct pw_rdma_srq;

struct pw_rdma_dev {
	struct pw_list node; /* on the list of devices, until it is removed */
	uint32_t refs; /* domains */
	const struct pw_verbs *v;
	struct ibv_context *ctx; /* librdmacm's */
	struct ibv_device_attr attr;
	const char *name; /* "rxe0" */
	bool windows; /* type 2 */
	bool send_inv; /* a SEND can end the peer's window */
	bool iwarp; /* what is posted to a queue pair that has ended may never come back */
	bool soft_iwarp; /* siw: what a queue pair took from a shared queue comes back at its end */
	bool dead; /* removed */
	struct pw_rdma_pd *shared; /* NULL: none yet */
	struct pw_list conns; /* pw_rdma.dev_node: who is told what happens to it */
	/* receives of a node: rdma_srq.h */
	struct pw_rdma_srq *srq; /* for who comes next; NULL: none yet */
	struct pw_list srqs; /* pw_rdma_srq.node: those of all connections */
	const char *why_own; /* of the last connection that has receives of its own */
	uint32_t nr_own, own_receives; /* those connections, and what they have */
	uint64_t touched; /* times that the reserve was */
};

/* More would make every request of the queue larger, for those few that have so many. */
#define PW_RDMA_SGE_MAX 8

/* What one connection on a port of the device may use. */
struct pw_rdma_limits {
	uint32_t sq, rq; /* work requests each way; together they fit a completion queue */
	uint32_t send_sge; /* pieces of memory that one request gathers */
	uint32_t read_sge; /* ... that one READ scatters to */
	uint32_t max_msg; /* bytes that one request moves */
};

/* One area; a payload lies in one piece whole, because pieces overlap by the longest payload. */
struct pw_rdma_area {
	struct ibv_mr **mr; /* owns; nr_pieces of them; NULL: not registered */
	uint32_t nr_pieces, nr_wanted; /* fewer: it is being registered, see pw_mem_step() */
	bool refused; /* the device does not take it: not to be tried again */
	size_t piece_bytes; /* distance of their beginnings */
};

struct pw_rdma_pd {
	struct pw_rdma_dev *dev;
	struct ibv_pd *pd; /* owns */
	uint32_t refs; /* connections */
	bool shared;
	bool registers; /* pw_rdma_pd_register() was called: areas that come later, too */
	struct pw_mem_user user;
	struct pw_rdma_area area[PW_MEM_MAX_AREAS];
};

/**
 * pw_rdma_pd_get - the domain for a connection on the device of @ctx
 * @node: this end is the node's
 *
 * Return: 0; -ENOMEM; -errno of the device.
 */
int pw_rdma_pd_get(const struct pw_verbs *v, struct ibv_context *ctx, bool node,
		   struct pw_rdma_pd **ret);
/* Every queue pair, registration and window of the connection is gone. NULL is fine. */
void pw_rdma_pd_put(struct pw_rdma_pd *pd);

/* Registers the announced areas that are not registered yet, and those that are announced from now
 * on; one of those that cannot be registered is a warning in the log, and its payloads are copied
 * or registered one by one. Return: 0; -ENOMEM also: the limit of locked memory. */
int pw_rdma_pd_register(struct pw_rdma_pd *pd);

/* The registration that holds all of [@p, @p + @len); NULL: none does. */
struct ibv_mr *pw_rdma_pd_find(const struct pw_rdma_pd *pd, const void *p, size_t len);

/* Return: 0; -errno of the device. */
int pw_rdma_dev_limits(const struct pw_rdma_dev *dev, uint8_t port, struct pw_rdma_limits *ret);
/* Return: 0; -errno of the device. */
int pw_rdma_port_attr(const struct pw_verbs *v, struct ibv_context *ctx, uint8_t port,
		      struct ibv_port_attr *ret);

/* Every device that is in use. */
void pw_rdma_dev_each(void (*fn)(struct pw_rdma_dev *dev, void *arg), void *arg);

/* The device is gone: nobody new uses it. */
void pw_rdma_dev_removed(struct pw_rdma_dev *dev);

#endif
