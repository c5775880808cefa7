/* SPDX-License-Identifier: Apache-2.0 */
/* fake_cq.c -- completion queues and channels: armed or not, one event for each arming */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/fault.h"
#include "fake_impl.h"

static struct fake_cq *cq_of(struct ibv_cq *cq)
{
	return pw_container_of(cq, struct fake_cq, ib);
}

/* Channels ----------------------------------------------------------------------------------- */

struct ibv_comp_channel *fake_create_comp_channel(struct ibv_context *context)
{
	int err = PW_FAULT_ERR("fake.create_comp_channel", -EMFILE);
	struct fake_channel *ch = err ? NULL : calloc(1, sizeof(*ch));

	if (!ch) {
		errno = err ? -err : ENOMEM;
		return NULL;
	}
	ch->ib.context = context;
	ch->ib.fd = fake_event_fd();
	if (ch->ib.fd < 0) {
		free(ch);
		return NULL;
	}
	pw_list_init(&ch->events);
	fake.count[FAKE_COMP_CHANNEL]++;
	return &ch->ib;
}

int fake_destroy_comp_channel(struct ibv_comp_channel *ib)
{
	struct fake_channel *ch = pw_container_of(ib, struct fake_channel, ib);

	if (ib->refcnt) {
		fake_violation("a completion channel is destroyed that %d queues use", ib->refcnt);
		return EBUSY;
	}
	close(ib->fd);
	fake.count[FAKE_COMP_CHANNEL]--;
	free(ch);
	return 0;
}

int fake_get_cq_event(struct ibv_comp_channel *ib, struct ibv_cq **ret_cq, void **ret_context)
{
	struct fake_channel *ch = pw_container_of(ib, struct fake_channel, ib);
	struct fake_cq *cq;

	if (!fake_event_take(ib->fd, "ibv_get_cq_event"))
		return -1;
	cq = pw_list_first(&ch->events, struct fake_cq, event_node);
	if (!--cq->nr_events)
		pw_list_del(&cq->event_node);
	cq->nr_got++;
	*ret_cq = &cq->ib;
	*ret_context = cq->ib.cq_context;
	return 0;
}

void fake_ack_cq_events(struct ibv_cq *ib, unsigned int nevents)
{
	ib->comp_events_completed += nevents;
	if (ib->comp_events_completed > cq_of(ib)->nr_got)
		fake_violation("more completion events are acked than there were");
}

/* Queues ------------------------------------------------------------------------------------- */

struct ibv_cq *fake_create_cq(struct ibv_context *context, int cqe, void *cq_context,
			      struct ibv_comp_channel *channel, int comp_vector)
{
	int err = PW_FAULT_ERR("fake.create_cq", -ENOMEM);
	struct fake_cq *cq;

	if (!err && (cqe < 1 || (uint32_t)cqe > fake_opts.max_cqe || comp_vector))
		err = -EINVAL;
	if (!err && fake.count[FAKE_CQ] >= fake_opts.max_cq)
		err = -ENOMEM;
	cq = err ? NULL : calloc(1, sizeof(*cq));
	if (!cq) {
		errno = err ? -err : ENOMEM;
		return NULL;
	}
	cq->ring = calloc((size_t)cqe, sizeof(*cq->ring));
	if (!cq->ring)
		abort();
	cq->ib.context = context;
	cq->ib.channel = channel;
	cq->ib.cq_context = cq_context;
	cq->ib.cqe = cqe;
	pw_list_init(&cq->event_node);
	pw_list_add_tail(&fake.cqs, &cq->node);
	if (channel)
		channel->refcnt++;
	fake.count[FAKE_CQ]++;
	return &cq->ib;
}

/* The kernel tells nobody about what is gone. */
static void forget_async(const struct ibv_cq *ib)
{
	struct pw_list *pos, *tmp;

	pw_list_for_each_safe(pos, tmp, &fake.async) {
		struct fake_async *a = pw_list_entry(pos, struct fake_async, node);

		if (a->ev.event_type != IBV_EVENT_CQ_ERR || a->ev.element.cq != ib)
			continue;
		pw_list_del(&a->node);
		free(a);
		fake_event_take(ib->context->async_fd, "an event of a dead queue");
	}
}

int fake_destroy_cq(struct ibv_cq *ib)
{
	struct fake_cq *cq = cq_of(ib);

	if (cq->users) {
		fake_violation("a completion queue is destroyed that %u queues use", cq->users);
		return EBUSY;
	}
	if (ib->comp_events_completed != cq->nr_got)
		fake_violation("destroying a completion queue waits for ever for %u acks",
			       cq->nr_got - ib->comp_events_completed);
	if (ib->async_events_completed != cq->async_got)
		fake_violation("destroying a completion queue waits for ever for an ack of its "
			       "asynchronous event");
	for (; cq->nr_events; cq->nr_events--)
		fake_event_take(ib->channel->fd, "an event of a dead queue");
	forget_async(ib);
	pw_list_del(&cq->event_node);
	pw_list_del(&cq->node);
	if (ib->channel)
		ib->channel->refcnt--;
	fake.count[FAKE_CQ]--;
	free(cq->ring);
	free(cq);
	return 0;
}

/* A queue that fails says nothing any more about what was posted. */
static int broken(const struct ibv_cq *cq, int err)
{
	struct pw_list *pos;

	pw_list_for_each(pos, &fake.qps) {
		struct fake_qp *qp = pw_list_entry(pos, struct fake_qp, node);

		qp->unreliable |= qp->ib.send_cq == cq || qp->ib.recv_cq == cq;
	}
	return err;
}

void fake_break_cq(struct ibv_cq *ib)
{
	struct fake_cq *cq = cq_of(ib);

	broken(ib, 0);
	cq->dead = true;
	cq->head = cq->tail;
	fake_async_put_cq(IBV_EVENT_CQ_ERR, ib);
}

/* What comes between the last look and the arming is not announced; whoever arms looks again. */
int fake_req_notify_cq(struct ibv_cq *ib, int solicited_only)
{
	int err = PW_FAULT("fake.req_notify_cq");
	struct fake_cq *cq = cq_of(ib);

	if (err)
		return broken(ib, -err);
	if (!fake_below(3))
		fake_report_now(ib);
	cq->armed_solicited = solicited_only && (!cq->armed || cq->armed_solicited);
	cq->armed = true;
	return 0;
}

int fake_poll_cq(struct ibv_cq *ib, int num_entries, struct ibv_wc *wc)
{
	int err = PW_FAULT("fake.poll_cq");
	struct fake_cq *cq = cq_of(ib);
	int n = 0;

	if (err)
		return broken(ib, err);
	for (; n < num_entries && cq->head != cq->tail; n++) {
		struct fake_cqe *e = &cq->ring[cq->head++ % (uint32_t)ib->cqe];

		wc[n] = e->wc;
		if (e->qp && e->recv)
			fake_rq_polled(e->qp, e->idx);
		else if (e->qp)
			fake_sq_polled(e->qp, e->idx);
	}
	return n;
}

static void notify(struct fake_cq *cq)
{
	struct fake_channel *ch = pw_container_of(cq->ib.channel, struct fake_channel, ib);

	cq->armed = false;
	if (!cq->nr_events++)
		pw_list_add_tail(&ch->events, &cq->event_node);
	fake_event_put(ch->ib.fd);
	fake_stats.cq_events++;
}

void fake_cq_put(struct ibv_cq *ib, struct fake_qp *qp, const struct ibv_wc *wc, bool recv,
		 uint64_t idx, bool solicited)
{
	struct fake_cq *cq = cq_of(ib);
	struct fake_cqe *e = &cq->ring[cq->tail % (uint32_t)ib->cqe];

	if (cq->dead)
		return;
	if (cq->tail - cq->head >= (uint32_t)ib->cqe) {
		fake_violation("a completion queue of %d entries overflows", ib->cqe);
		return;
	}
	*e = (struct fake_cqe){ .wc = *wc, .qp = qp, .recv = recv, .idx = idx };
	if (wc->status) {
		/* the rest is not valid then */
		e->wc.opcode = (enum ibv_wc_opcode)fake_below(256);
		e->wc.byte_len = fake_below(UINT32_MAX);
		e->wc.wc_flags = 0;
	}
	cq->tail++;
	fake_stats.cqes++;
	/* soft devices have none for what failed, against the specification */
	if (cq->armed && ib->channel && (!cq->armed_solicited || solicited))
		notify(cq);
}

void fake_cq_forget(struct ibv_cq *ib, const struct fake_qp *qp)
{
	struct fake_cq *cq = cq_of(ib);

	for (uint64_t i = cq->head; i != cq->tail; i++) {
		struct fake_cqe *e = &cq->ring[i % (uint32_t)ib->cqe];

		if (e->qp == qp)
			e->qp = NULL;
	}
}
