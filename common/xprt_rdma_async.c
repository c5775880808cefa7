/* SPDX-License-Identifier: Apache-2.0 */
/* xprt_rdma_async.c -- what a device says about itself: a port that is down, an address that is
 * gone, a queue pair or the device that has failed
 *
 * The events of a device are one stream, shared by all of its connections. Each of them watches it,
 * whoever comes first takes what there is and tells all. A connection that an event is about fails
 * at once and with that reason, not by the silence of its peer some seconds later.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "common/fault.h"
#include "common/xprt_rdma_impl.h"

/* The address that the queue pair sends from is not the port's any more. */
static bool has_lost_gid(struct pw_rdma *x)
{
	struct ibv_qp_init_attr init;
	struct ibv_qp_attr a;
	union ibv_gid gid;

	/* iWARP's are of no use: its addresses are those of TCP */
	if (!x->qp || x->state != PW_RDMA_UP || x->pd->dev->iwarp)
		return false;
	if (x->v->query_qp(x->qp, &a, IBV_QP_AV, &init))
		return false;
	if (x->v->query_gid(x->id->verbs, x->id->port_num, a.ah_attr.grh.sgid_index, &gid))
		return true;
	return memcmp(&gid, &x->id->route.addr.addr.ibaddr.sgid, sizeof(gid)) != 0;
}

static void on_event(struct pw_rdma *x, const struct ibv_async_event *e)
{
	const char *dev = x->pd->dev->name;

	switch (e->event_type) {
	case IBV_EVENT_DEVICE_FATAL:
		/* what it still owes comes as flushed completions, or its removal follows */
		pw_rdma_dev_removed(x->pd->dev);
		pw_rdma_failf(x, -ENODEV, "the RDMA device %s has failed", dev);
		return;
	case IBV_EVENT_CQ_ERR:
		if (e->element.cq != x->cq)
			return;
		x->broken = x->cq_failed = true;
		pw_rdma_failf(x, -EIO, "a completion queue of %s has failed", dev);
		pw_loop_ready(x->loop, &x->ready);
		return;
	case IBV_EVENT_QP_FATAL:
	case IBV_EVENT_QP_REQ_ERR:
	case IBV_EVENT_QP_ACCESS_ERR:
		if (e->element.qp == x->qp)
			pw_rdma_failf(x, -EIO, "a queue pair of %s has failed (event %d)", dev,
				      e->event_type);
		return;
	case IBV_EVENT_QP_LAST_WQE_REACHED:
		if (e->element.qp != x->qp)
			return;
		x->last_wqe = true;
		/* else nothing tells it: no receive of its own comes back with an error */
		if (!x->closing)
			pw_rdma_poll(x);
		pw_rdma_failf(x, -ECONNRESET, "the queue pair has ended");
		pw_loop_ready(x->loop, &x->ready);
		return;
	case IBV_EVENT_SRQ_ERR:
		if (!x->share.srq || e->element.srq != x->share.srq->srq)
			return;
		pw_rdma_srq_retire(x->pd->dev);
		pw_rdma_failf(x, -EIO, "the shared receives of %s have failed", dev);
		return;
	case IBV_EVENT_PORT_ERR:
		if (e->element.port_num == x->id->port_num)
			pw_rdma_failf(x, -ENETDOWN, "port %d of %s is down", e->element.port_num,
				      dev);
		return;
	case IBV_EVENT_GID_CHANGE:
		if (e->element.port_num == x->id->port_num && has_lost_gid(x))
			pw_rdma_failf(x, -EADDRNOTAVAIL, "port %d of %s has lost the address of "
				      "the connection", e->element.port_num, dev);
		return;
	default:
		return; /* a port that is up again, paths, limits: nothing to do */
	}
}

static void on_async_fd(struct pw_fd *f)
{
	struct pw_rdma *x = pw_container_of(f, struct pw_rdma, async_fd);
	struct pw_rdma_dev *dev = x->pd->dev;
	struct ibv_async_event e;
	struct pw_list *pos;

	while (!x->v->get_async_event(dev->ctx, &e)) {
		if (e.event_type == IBV_EVENT_SRQ_LIMIT_REACHED)
			pw_rdma_srq_touched(dev, e.element.srq);
		pw_list_for_each(pos, &dev->conns)
			on_event(pw_list_entry(pos, struct pw_rdma, dev_node), &e);
		x->v->ack_async_event(&e);
	}
}

int pw_rdma_watch_device(struct pw_rdma *x)
{
	struct pw_rdma_dev *dev = x->pd->dev;
	int fd = dev->ctx->async_fd, err = PW_FAULT_ERR("rdma.async", -ENOMEM);

	if (!err && fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0)
		err = -errno;
	if (!err)
		err = pw_fd_start(x->loop, &x->async_fd, fd, on_async_fd);
	if (err)
		return err;
	x->async_watched = true;
	pw_list_add_tail(&dev->conns, &x->dev_node);
	return 0;
}

static void on_unwatched(struct pw_fd *f)
{
	struct pw_rdma *x = pw_container_of(f, struct pw_rdma, async_fd);

	x->async_watched = false;
	pw_loop_ready(x->loop, &x->ready);
}

void pw_rdma_unwatch_device(struct pw_rdma *x)
{
	pw_list_del(&x->dev_node);
	if (x->async_watched)
		pw_fd_stop(&x->async_fd, on_unwatched);
}
