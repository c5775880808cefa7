/* SPDX-License-Identifier: Apache-2.0 */
/* xprt_rdma_share.c -- a node's connection that takes its receives from the device's shared queue
 *
 * How many credits the peer has follows what it uses: it begins with the guaranteed ones, has twice
 * as many whenever it is about to run out, and its credits are not renewed beyond its share while
 * others ask for more. An idle peer answers a PING now and then: that is how it gives them back.
 *
 * Completions come to a queue of this connection alone, so nobody has to look up whose they are.
 *
 * The end: the device says LAST_WQE_REACHED when the queue pair takes no more receives, and what it
 * took is on the completion queue then. That is not needed for anybody's memory, which the end of
 * the queue pair proves, but to know which receives come back: a provider may throw away the
 * completions of a queue pair that is destroyed. So a device that does not say it is not waited for
 * for ever. Soft-iWARP never says it, and its completions outlive the queue pair.
 */
#include <errno.h>
#include <string.h>

#include "common/xprt_rdma_impl.h"

#define PATIENCE_MS 1000u
#define POLL_BATCH 32

int pw_rdma_share_begin(struct pw_rdma *x)
{
	return x->node ? pw_rdma_srq_join(x->pd->dev, &x->share, PW_RDMA_FEW) : 0;
}

static void renew(struct pw_rdma *x)
{
	struct pw_rdma_rx *rx = &x->rx;

	rx->depth = pw_rdma_srq_share(&x->share, rx->depth);
	while (x->share.out < rx->depth && pw_rdma_srq_give(&x->share))
		rx->given++;
	/* who gets no more asks again when it runs out, not with every message */
	rx->depth = PW_MAX(PW_MIN(rx->depth, x->share.out), x->share.guaranteed);
}

int pw_rdma_share_open(struct pw_rdma *x, uint32_t depth_max)
{
	int err = pw_rdma_srq_raise(&x->share, PW_MIN(depth_max, PW_RDMA_GUARANTEED));

	if (err)
		return err;
	x->rx.depth_max = depth_max;
	x->rx.depth = x->share.guaranteed;
	renew(x);
	return x->share.out < x->share.guaranteed ? -ENOMEM : 0;
}

struct pw_rdma_in *pw_rdma_share_take(struct pw_rdma *x, uint64_t id)
{
	struct pw_rdma_in *in = pw_rdma_srq_take(&x->share, id);

	if (!in)
		pw_rdma_failf(x, -EIO, "the device reports a receive that it does not have");
	return in;
}

void pw_rdma_share_back(struct pw_rdma *x, struct pw_rdma_in *in)
{
	struct pw_rdma_rx *rx = &x->rx;

	pw_rdma_srq_back(x->share.srq, in);
	if (x->closing)
		return;
	if ((rx->told - rx->got) * 4 <= rx->depth)
		rx->depth = PW_MIN(2 * rx->depth, rx->depth_max);
	renew(x);
	/* one is kept by the peer for a message that gives credit */
	if (x->share.out < 2)
		pw_rdma_failf(x, -ENOMEM, "the device took no receive");
	else if (pw_rdma_owes_credit(x))
		pw_rdma_kick(x);
}

/* The end ------------------------------------------------------------------------------------- */

static void on_patience(struct pw_timer *t)
{
	struct pw_rdma *x = pw_container_of(t, struct pw_rdma, patience);

	x->impatient = true;
	pw_loop_ready(x->loop, &x->ready);
}

void pw_rdma_share_init(struct pw_rdma *x)
{
	pw_timer_init(&x->patience, on_patience);
}

bool pw_rdma_share_is_drained(struct pw_rdma *x)
{
	/* what was never connected has received nothing */
	if (x->state < PW_RDMA_CONNECTING || x->impatient)
		return true;
	if (!x->last_wqe) {
		if (!pw_timer_armed(&x->patience))
			pw_timer_arm(x->loop, &x->patience,
				     pw_loop_now(x->loop) + PATIENCE_MS * PW_NS_PER_MS);
		return false;
	}
	while (pw_rdma_poll(x))
		;
	return true;
}

void pw_rdma_share_collect(struct pw_rdma *x)
{
	struct ibv_wc wc[POLL_BATCH];
	struct pw_rdma_in *in;
	int n;

	if (!x->share.srq || x->cq_failed || x->pd->dev->dead)
		return;
	while ((n = ibv_poll_cq(x->cq, POLL_BATCH, wc)) > 0) {
		for (int i = 0; i < n; i++) {
			if (wc[i].wr_id & PW_RDMA_SEND_BIT)
				continue;
			in = pw_rdma_srq_take(&x->share, wc[i].wr_id);
			if (in)
				pw_rdma_srq_back(x->share.srq, in);
		}
	}
	x->cq_failed |= n < 0;
}

void pw_rdma_share_end(struct pw_rdma *x)
{
	uint32_t lost;

	pw_timer_cancel(x->loop, &x->patience);
	if (!x->share.srq)
		return;
	if (x->state < PW_RDMA_CONNECTING)
		lost = 0;
	else if (x->cq_failed || (!x->last_wqe && !x->pd->dev->soft_iwarp))
		lost = (uint32_t)x->cq->cqe + 1;
	else
		lost = x->pd->dev->soft_iwarp ? 0 : 1;
	pw_rdma_srq_leave(&x->share, lost);
}
