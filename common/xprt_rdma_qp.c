/* SPDX-License-Identifier: Apache-2.0 */
/* xprt_rdma_qp.c -- queues and message buffers of one connection: made when a device is known,
 * enlarged when the peer has proved itself, drained and destroyed at the end
 *
 * The end: the queue pair is told to end -> everything that was posted comes back as a completion
 * -> windows go -> it is destroyed. Where completions cannot be relied on (iWARP; the device was
 * removed; its completion queue is broken) destroying it is the proof that the device touches
 * nothing any more, and before that a reset the one that it binds no window any more.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "common/fault.h"
#include "common/xprt_rdma_impl.h"

#define BUF_ALIGN 4096u
/* A head and a command without payload: what the device may copy itself. */
#define INLINE_WANTED (sizeof(struct pw_rdma_head) + PW_CMD_BYTES)
/* A head with a grant. Without it soft-iWARP fetches messages of up to 32 bytes by their address,
 * and until kernel/patches/0012 it can do that in a thread that has the memory of another process:
 * the connection ends with "local QP operation error" then. */
#define INLINE_LEAST (sizeof(struct pw_rdma_head) + sizeof(struct pw_rdma_grant))

/* Message buffers ----------------------------------------------------------------------------- */

static void bufs_fini(struct pw_rdma *x, struct pw_rdma_bufs *b)
{
	if (b->nr_in && x->node) {
		x->pd->dev->own_receives -= b->nr_in;
		x->pd->dev->nr_own -= b == &x->few;
	}
	if (b->mr)
		x->v->dereg_mr(b->mr);
	free(b->mem);
	free(b->in);
	free(b->out);
	*b = (struct pw_rdma_bufs){ .mem = NULL };
}

/* @nr each way; receives are posted, so they may come in from now on. */
static int bufs_init(struct pw_rdma *x, struct pw_rdma_bufs *b, uint32_t nr, uint32_t first_id)
{
	uint32_t nr_in = x->share.srq ? 0 : nr;
	size_t size = (size_t)(nr_in + nr) * PW_RDMA_MSG_BYTES;
	int err = PW_FAULT_ERR("rdma.bufs", -ENOMEM);

	if (err)
		return err;
	b->mem = aligned_alloc(BUF_ALIGN, PW_ROUND_UP(size, BUF_ALIGN));
	b->in = calloc(nr_in + 1, sizeof(*b->in));
	b->out = calloc(nr, sizeof(*b->out));
	if (!b->mem || !b->in || !b->out)
		return -ENOMEM;
	/* what a command does not fill is never sent, but checkers of memory cannot know */
	memset(b->mem, 0, size);
	b->mr = x->v->reg_mr(x->pd->pd, b->mem, size, IBV_ACCESS_LOCAL_WRITE);
	if (!b->mr)
		return pw_verbs_err();
	b->nr_in = nr_in;
	b->nr_out = nr;
	for (uint32_t i = 0; i < nr_in; i++) {
		b->in[i].buf = b->mem + (size_t)i * PW_RDMA_MSG_BYTES;
		b->in[i].lkey = b->mr->lkey;
		b->in[i].id = first_id + i;
	}
	for (uint32_t i = 0; i < nr; i++) {
		b->out[i].buf = b->mem + (size_t)(nr_in + i) * PW_RDMA_MSG_BYTES;
		b->out[i].lkey = b->mr->lkey;
		pw_rdma_out_init(x, &b->out[i]);
	}
	if (x->share.srq)
		return pw_rdma_share_open(x, x->few.nr_out + x->many.nr_out);
	x->rx.depth += nr;
	if (x->node) {
		x->pd->dev->own_receives += nr;
		x->pd->dev->nr_own += b == &x->few;
	}
	return pw_rdma_rx_post(x, b->in, nr);
}

static const char *advice(int err)
{
	return err == -ENOMEM ? " (raise the limit of locked memory: ulimit -l, LimitMEMLOCK=)" :
				"";
}

static int slots_new(struct pw_rdma *x, uint32_t nr)
{
	int err = PW_FAULT_ERR("rdma.slots", -ENOMEM);

	x->slots = err ? NULL : calloc(nr, sizeof(*x->slots));
	if (!x->slots)
		return -ENOMEM;
	x->nr_slots = nr;
	for (uint32_t i = 0; i < nr; i++) {
		x->slots[i].idx = (uint16_t)i;
		pw_list_init(&x->slots[i].grant_node);
		pw_list_init(&x->slots[i].todo_node);
		pw_list_init(&x->slots[i].job.node);
		pw_list_init(&x->slots[i].grant_job.node);
	}
	return 0;
}

void pw_rdma_set_up(struct pw_xprt *base, uint32_t nr_slots)
{
	struct pw_rdma *x = pw_rdma_of(base);
	uint32_t nr = PW_MIN(nr_slots + PW_RDMA_BESIDE, x->limits.rq) - PW_RDMA_FEW;
	int err;

	if (x->closing)
		return;
	err = slots_new(x, nr_slots);
	if (!err)
		err = bufs_init(x, &x->many, nr, x->few.nr_in);
	if (err) {
		pw_rdma_failf(x, err, "no message buffers: %s%s", strerror(-err), advice(err));
		return;
	}
	/* a node without windows gives rights to single buffers, and sends from nowhere else */
	if (!x->node || x->pd->dev->windows)
		err = pw_rdma_pd_register(x->pd);
	if (err)
		pw_rdma_failf(x, err, "memory not registered with %s: %s%s", x->pd->dev->name,
			      strerror(-err), advice(err));
	pw_rdma_kick(x);
}

/* Queues -------------------------------------------------------------------------------------- */

static int make_cq(struct pw_rdma *x, uint32_t depth)
{
	int err = PW_FAULT_ERR("rdma.cq", -ENOMEM);

	if (err)
		return err;
	x->channel = x->v->create_comp_channel(x->id->verbs);
	if (!x->channel)
		return pw_verbs_err();
	if (fcntl(x->channel->fd, F_SETFL, fcntl(x->channel->fd, F_GETFL) | O_NONBLOCK) < 0)
		return -errno;
	x->cq = x->v->create_cq(x->id->verbs, (int)depth, NULL, x->channel, 0);
	if (!x->cq)
		return pw_verbs_err();
	return pw_rdma_watch_cq(x);
}

static int make_qp(struct pw_rdma *x)
{
	struct ibv_qp_init_attr a = {
		.send_cq = x->cq,
		.recv_cq = x->cq,
		.srq = x->share.srq ? x->share.srq->srq : NULL,
		.qp_type = IBV_QPT_RC,
		.cap = {
			.max_send_wr = x->limits.sq,
			.max_recv_wr = x->share.srq ? 0 : x->limits.rq,
			.max_send_sge = x->limits.send_sge,
			.max_recv_sge = x->share.srq ? 0 : 1,
			.max_inline_data = INLINE_WANTED,
		},
	};
	struct ibv_qp_init_attr ask = a;
	int err = PW_FAULT_ERR("rdma.qp", -ENOMEM);

	if (err)
		return err;
	err = x->v->cm_create_qp(x->id, x->pd->pd, &ask);
	if (err) {
		/* a device that copies less into its queue */
		ask = a;
		ask.cap.max_inline_data = INLINE_LEAST;
		err = x->v->cm_create_qp(x->id, x->pd->pd, &ask);
	}
	if (err) {
		/* nothing then; nor more than it must */
		ask = a;
		ask.cap.max_inline_data = 0;
		ask.cap.max_send_sge = x->limits.send_sge = PW_MIN(x->limits.send_sge, 2u);
		x->limits.read_sge = PW_MIN(x->limits.read_sge, x->limits.send_sge);
		err = x->v->cm_create_qp(x->id, x->pd->pd, &ask);
	}
	if (err)
		return pw_verbs_err();
	x->qp = x->id->qp;
	x->max_inline = ask.cap.max_inline_data;
	return 0;
}

static int make_queues(struct pw_rdma *x)
{
	struct pw_rdma_limits *l = &x->limits;
	int err = pw_rdma_pd_get(x->v, x->id->verbs, x->node, &x->pd);

	if (!err)
		err = pw_rdma_watch_device(x);
	if (!err)
		err = pw_rdma_dev_limits(x->pd->dev, x->id->port_num, l);
	if (err)
		return err;
	l->sq = PW_MIN(l->sq, PW_RDMA_SQ_MAX);
	l->rq = PW_MIN(l->rq, PW_RDMA_DEPTH_MAX);
	/* a node's payloads have one piece */
	if (x->node)
		l->send_sge = PW_MIN(l->send_sge, 2u);
	if (l->rq < PW_RDMA_FEW + PW_RDMA_BESIDE ||
	    l->sq < PW_RDMA_ROOM + pw_rdma_pieces(x, NULL, PW_MAX_IO, false))
		return -EOPNOTSUPP;
	err = make_cq(x, l->sq + l->rq);
	if (!err)
		err = pw_rdma_share_begin(x);
	if (!err)
		err = make_qp(x);
	if (err && x->share.srq && !x->qp) {
		pw_rdma_srq_leave(&x->share, 0);
		x->pd->dev->why_own = "the device has made no queue pair for shared receives";
		err = make_qp(x);
	}
	if (!err)
		err = bufs_init(x, &x->few, PW_RDMA_FEW, 0);
	return err;
}

bool pw_rdma_make_queues(struct pw_rdma *x)
{
	int err = make_queues(x);

	if (err == -EOPNOTSUPP)
		pw_rdma_failf(x, err, "%s has too short queues for a connection (%u, %u; messages "
			      "of %u bytes)", x->pd->dev->name, x->limits.sq, x->limits.rq,
			      x->limits.max_msg);
	else if (err)
		pw_rdma_failf(x, err, "no queue pair: %s%s", strerror(-err), advice(err));
	return !err;
}

/* End ----------------------------------------------------------------------------------------- */

bool pw_rdma_qp_drain(struct pw_rdma *x)
{
	struct ibv_qp_attr a = { .qp_state = IBV_QPS_ERR };

	if (!x->flushed) {
		x->flushed = true;
		/* tells the peer; fails where there is no connection */
		if (x->state >= PW_RDMA_CONNECTING)
			x->v->cm_disconnect(x->id);
		if (x->v->modify_qp(x->qp, &a, IBV_QP_STATE) ||
		    (x->unproved && pw_rdma_post_last(x)))
			x->broken = true;
		/* The peer's end ends the queue pair at any time, and soft-iWARP flushes it once:
		 * what we post behind that stays there without an error. */
		if (x->pd->dev->iwarp)
			x->broken = true;
		pw_rdma_poll(x);
		pw_poller_wake(x->loop, &x->cq_poller);
	}
	if (x->broken)
		return true;
	if (x->rx.out || x->tx.completed != x->tx.posted || !pw_list_empty(&x->tx.reading))
		return false;
	return !x->share.srq || pw_rdma_share_is_drained(x);
}

/* Without completions nobody knows which binds the device has still to do, and their windows
 * cannot outlive the queue pair. Reset, it has forgotten them (InfiniBand specification, volume 1,
 * 10.3.1); a device that refuses is on its way out. */
static void forget_binds(struct pw_rdma *x)
{
	struct ibv_qp_attr a = { .qp_state = IBV_QPS_RESET };

	if (x->qp && x->broken && x->pd->dev->windows)
		x->v->modify_qp(x->qp, &a, IBV_QP_STATE);
}

void pw_rdma_qp_fini(struct pw_rdma *x)
{
	const struct pw_verbs *v = x->v;

	forget_binds(x);
	/* a window that is bound holds the queue pair */
	for (uint32_t i = 0; i < x->nr_slots; i++) {
		pw_rdma_right_forget(&x->slots[i].grant);
		pw_rdma_right_forget(&x->slots[i].window);
		pw_rdma_right_forget(&x->slots[i].pull);
	}
	if (x->qp) {
		pw_rdma_share_collect(x);
		v->cm_destroy_qp(x->id);
		pw_rdma_share_collect(x);
	}
	x->qp = NULL;
	pw_rdma_share_end(x);
	pw_rdma_tx_end(x);
	for (uint32_t i = 0; i < x->nr_slots; i++) {
		pw_rdma_right_end(x, &x->slots[i].grant);
		pw_rdma_right_end(x, &x->slots[i].window);
		pw_rdma_right_end(x, &x->slots[i].pull);
	}
	free(x->slots);
	x->slots = NULL;
	x->nr_slots = 0;
	if (x->cq) {
		if (x->unacked)
			v->ack_cq_events(x->cq, x->unacked);
		v->destroy_cq(x->cq);
	}
	x->cq = NULL;
	if (x->channel)
		v->destroy_comp_channel(x->channel);
	x->channel = NULL;
	bufs_fini(x, &x->few);
	bufs_fini(x, &x->many);
	pw_rdma_pd_put(x->pd);
	x->pd = NULL;
}
