/* SPDX-License-Identifier: Apache-2.0 */
/* rdma_srq.h -- receives that the connections of a node share: one queue for each device
 *
 * A message meets no receive only when somebody sends more than he may. The books, in receives:
 *
 *	promised = sum over the members of max(guaranteed, out)
 *	promised + in doubt + reserve <= posted
 *
 * A member may always have its guaranteed ones out; what it has beyond comes from a pool that all
 * share, as far as there is some: never at the cost of what was guaranteed to another. The reserve
 * is what a peer can take that does not keep to its credits, until its connection ends.
 *
 * In doubt is what may be lost. A queue pair that ends while a message comes in keeps the receive
 * of that message (soft-RoCE of Linux 7.3 never reports it), and one whose completions cannot be
 * relied on keeps as many as its completion queue holds. Nobody can ask a device what is on the
 * queue. So each end costs one receive, and when too many are in doubt the queue is retired: its
 * members stay, new connections get another one, and the last member destroys it, which is the
 * proof for all of them. The same happens when it is full.
 *
 * Its domain has no remote rights: that of all connections on a device with windows (soft-RoCE
 * looks for a receive's key in the domain of the queue pair), a common one on a device without
 * (soft-iWARP looks in the domain of the queue).
 * Thread: loop thread.      Allocates: when members come and when the pool grows.
 * Must not know: what a message says.
 */
#ifndef PW_RDMA_SRQ_H
#define PW_RDMA_SRQ_H

#include "common/rdma_dev.h"
#include "common/rdma_wire.h"

/* Receives of a connection whatever the others do, once its peer has proved the key. */
#define PW_RDMA_GUARANTEED 16u
#define PW_RDMA_POOL 1024u
#define PW_RDMA_RESERVE 64u
#define PW_RDMA_DOUBT_MAX 64u

/* A message that came in. */
struct pw_rdma_in {
	uint8_t *buf;
	uint32_t lkey;
	uint32_t id; /* its number: wr_id */
	bool posted; /* to the shared queue */
	struct pw_list free_node; /* of the shared queue, when it is not posted */
	struct pw_rdma_view view;
	void *dest; /* where its payload is */
	const struct pw_runs *runs; /* it lies in these, from dest on; borrowed, or NULL */
};

struct pw_rdma_srq {
	struct pw_list node; /* of dev->srqs */
	struct pw_rdma_pd *pd; /* a reference */
	struct ibv_srq *srq; /* owns */
	struct pw_rdma_chunk **chunks; /* owns; nr_chunks of max_chunks */
	uint32_t nr_chunks, max_chunks;
	struct pw_list free; /* pw_rdma_in.free_node */
	uint32_t ring; /* the device takes so many */
	uint32_t nr; /* members */
	uint32_t posted, promised, guaranteed, doubt;
	uint32_t spare; /* beside the reserve, since that was touched */
	bool contended; /* somebody got less from the pool than he asked for */
};

/* A connection's part in it. */
struct pw_rdma_member {
	struct pw_rdma_srq *srq; /* NULL: the connection has receives of its own */
	uint32_t guaranteed;
	uint32_t out; /* credits that the peer has not used, as far as we know */
};

/**
 * pw_rdma_srq_join - take part in the shared queue of a device
 * @m: zeroed
 * @guaranteed: receives, which are posted when this returns
 *
 * Makes the queue if there is none. A device that has none leaves @m->srq NULL and says why in
 * @dev->why_own.
 * Return: 0; -ENOMEM no memory for receives; -errno of the device.
 */
int pw_rdma_srq_join(struct pw_rdma_dev *dev, struct pw_rdma_member *m, uint32_t guaranteed);
/* From now on @guaranteed, not less than before. Return: as pw_rdma_srq_join(); -ENOSPC full. */
int pw_rdma_srq_raise(struct pw_rdma_member *m, uint32_t guaranteed);
/* The queue pair is destroyed, its completions were taken. @lost: receives that it may have kept.
 */
void pw_rdma_srq_leave(struct pw_rdma_member *m, uint32_t lost);

/* One more credit for the peer of @m. Return: false, there is no receive for it. */
bool pw_rdma_srq_give(struct pw_rdma_member *m);
/* The most that @m should have out while others ask for more, if it wants @want. */
uint32_t pw_rdma_srq_share(const struct pw_rdma_member *m, uint32_t want);
/* What a completion says that was received; one credit of @m is used. Return: NULL, no such
 * receive is posted. */
struct pw_rdma_in *pw_rdma_srq_take(struct pw_rdma_member *m, uint64_t id);
/* Its message was read: it is posted again, or kept for whoever needs it. */
void pw_rdma_srq_back(struct pw_rdma_srq *srq, struct pw_rdma_in *in);

/* The device says that the reserve was touched. */
void pw_rdma_srq_touched(struct pw_rdma_dev *dev, const struct ibv_srq *srq);
/* Nobody new gets the queue of this device. */
void pw_rdma_srq_retire(struct pw_rdma_dev *dev);

/* For `status`; sums over all queues of a device. */
struct pw_rdma_receives {
	const char *device; /* borrowed until the next turn */
	uint32_t sharing, own; /* connections */
	uint32_t posted, reserve, doubt; /* of the shared ones */
	uint64_t touched; /* times that the reserve was */
	uint64_t bytes; /* memory for messages that come in */
	const char *why_own; /* of the last one that has receives of its own */
};
/* Return: how many devices there are; the first @max are filled in. */
uint32_t pw_rdma_receives(struct pw_rdma_receives *ret, uint32_t max);

#endif
