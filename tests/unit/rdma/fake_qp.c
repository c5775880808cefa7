/* SPDX-License-Identifier: Apache-2.0 */
/* fake_qp.c -- queue pairs and what is posted to them; fake_nic.c does the work
 *
 * An entry of a queue is free again when its completion was taken, or a later one of the same
 * queue: the strictest of what providers do.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/crc32c.h"
#include "common/fault.h"
#include "fake_impl.h"

static struct fake_qp *qp_of(struct ibv_qp *qp)
{
	return pw_container_of(qp, struct fake_qp, ib);
}

static struct fake_srq *srq_of(struct ibv_srq *srq)
{
	return pw_container_of(srq, struct fake_srq, ib);
}

static void *must_calloc(size_t nr, size_t size)
{
	void *p = calloc(nr ? nr : 1, size);

	if (!p)
		abort();
	return p;
}

static void count_users(const struct ibv_qp *qp, int by)
{
	pw_container_of(qp->pd, struct fake_pd, ib)->users += (uint32_t)by;
	pw_container_of(qp->send_cq, struct fake_cq, ib)->users += (uint32_t)by;
	pw_container_of(qp->recv_cq, struct fake_cq, ib)->users += (uint32_t)by;
	if (qp->srq)
		srq_of(qp->srq)->users += (uint32_t)by;
}

/* Queue pairs -------------------------------------------------------------------------------- */

static int check_init(const struct ibv_qp_init_attr *a)
{
	const struct ibv_qp_cap *c = &a->cap;

	if (a->qp_type != IBV_QPT_RC || !a->send_cq || !a->recv_cq)
		return -EINVAL;
	if (!c->max_send_wr || c->max_send_wr > fake_opts.max_qp_wr ||
	    c->max_recv_wr > fake_opts.max_qp_wr || (!a->srq && !c->max_recv_wr))
		return -EINVAL;
	if (c->max_send_sge > fake_opts.max_sge || c->max_recv_sge > fake_opts.max_sge ||
	    c->max_inline_data > fake_opts.max_inline)
		return -EINVAL;
	return fake.count[FAKE_QP] >= fake_opts.max_qp ? -ENOMEM : 0;
}

struct ibv_qp *fake_create_qp(struct ibv_pd *pd, struct ibv_qp_init_attr *a)
{
	int err = PW_FAULT_ERR("fake.create_qp", -ENOMEM);
	struct fake_qp *qp;

	if (!err)
		err = check_init(a);
	if (err) {
		errno = -err;
		return NULL;
	}
	qp = must_calloc(1, sizeof(*qp));
	qp->ib.context = pd->context;
	qp->ib.qp_context = a->qp_context;
	qp->ib.pd = pd;
	qp->ib.send_cq = a->send_cq;
	qp->ib.recv_cq = a->recv_cq;
	qp->ib.srq = a->srq;
	qp->ib.qp_num = fake.next_qpn++;
	qp->ib.state = IBV_QPS_INIT; /* by librdmacm */
	qp->ib.qp_type = IBV_QPT_RC;
	qp->cap = a->cap;
	qp->all_signaled = a->sq_sig_all;
	qp->sq = must_calloc(a->cap.max_send_wr, sizeof(*qp->sq));
	qp->rq.size = a->srq ? 0 : a->cap.max_recv_wr;
	qp->rq.ring = must_calloc(qp->rq.size, sizeof(*qp->rq.ring));
	pw_list_init(&qp->arrivals);
	pw_list_add_tail(&fake.qps, &qp->node);
	count_users(&qp->ib, 1);
	fake.count[FAKE_QP]++;
	return &qp->ib;
}

static void check_proved(const struct fake_qp *qp)
{
	/* siw never flushes what was posted when its queue pair had ended already */
	if (qp->silent || qp->unreliable || fake.removed || fake_opts.iwarp)
		return;
	if (qp->sq_head != qp->sq_tail)
		fake_violation("QP %#x ends with %llu requests not proved done",
			       qp->ib.qp_num, (unsigned long long)(qp->sq_tail - qp->sq_head));
	if (qp->rq.head != qp->rq.tail || (qp->srq_taken && !fake_opts.no_last_wqe))
		fake_violation("QP %#x ends with %llu receives not proved done",
			       qp->ib.qp_num,
			       (unsigned long long)(qp->rq.tail - qp->rq.head + qp->srq_taken));
}

static void check_drained(const struct fake_qp *qp)
{
	struct pw_list *pos;

	check_proved(qp);
	pw_list_for_each(pos, &fake.mws)
		if (pw_list_entry(pos, struct fake_mw, node)->qp == qp)
			fake_violation("QP %#x is destroyed, a window is bound for it",
				       qp->ib.qp_num);
}

static void drop_arrivals(struct fake_qp *qp)
{
	qp->unnoticed = NULL;
	while (!pw_list_empty(&qp->arrivals))
		free(pw_list_entry(pw_list_pop(&qp->arrivals), struct fake_arrival, node));
}

int fake_destroy_qp(struct ibv_qp *ib)
{
	struct fake_qp *qp = qp_of(ib);

	check_drained(qp);
	/* what was received is on the completion queue when siw lets go of a queue pair */
	if (fake_opts.iwarp && ib->srq && !qp->silent)
		fake_report_received(qp);
	if (qp->async_got != ib->events_completed)
		fake_violation("destroying a QP waits for ever for an ack of its async event");
	if (qp->peer)
		qp->peer->peer = NULL;
	fake_cq_forget(ib->send_cq, qp);
	fake_cq_forget(ib->recv_cq, qp);
	for (uint32_t i = 0; i < qp->cap.max_send_wr; i++)
		free(qp->sq[i].copy);
	drop_arrivals(qp);
	for (struct pw_list *pos = fake.async.next; pos != &fake.async;) {
		struct fake_async *a = pw_list_entry(pos, struct fake_async, node);

		pos = pos->next;
		if (a->ev.element.qp != ib)
			continue;
		pw_list_del(&a->node);
		free(a);
		fake_event_take(ib->context->async_fd, "an event of a dead QP");
	}
	pw_list_del(&qp->node);
	count_users(ib, -1);
	fake.count[FAKE_QP]--;
	free(qp->sq);
	free(qp->rq.ring);
	free(qp);
	return 0;
}

/* What was posted is forgotten and brings no completion; a window that is bound stays so. For its
 * peer it has ended with an error: nobody here connects it again. */
static void reset(struct fake_qp *qp)
{
	check_proved(qp);
	fake_qp_error(qp);
	qp->sq_head = qp->sq_reported = qp->sq_exec = qp->sq_tail;
	qp->rq.head = qp->rq.taken = qp->rq.tail;
	qp->srq_taken = 0;
	drop_arrivals(qp);
	fake_cq_forget(qp->ib.send_cq, qp);
	fake_cq_forget(qp->ib.recv_cq, qp);
}

int fake_modify_qp(struct ibv_qp *ib, struct ibv_qp_attr *attr, int attr_mask)
{
	int err = PW_FAULT("fake.modify_qp");

	if (attr_mask == IBV_QP_STATE && attr->qp_state == IBV_QPS_RESET) {
		if (!err)
			reset(qp_of(ib));
		return -err;
	}
	if (attr_mask != IBV_QP_STATE || attr->qp_state != IBV_QPS_ERR)
		return EINVAL; /* the rest is librdmacm's */
	/* also when it says that it failed: as from a device that is on its way out */
	fake_qp_error(qp_of(ib));
	qp_of(ib)->unreliable |= err != 0;
	return -err;
}

int fake_query_qp(struct ibv_qp *ib, struct ibv_qp_attr *attr, int attr_mask,
		  struct ibv_qp_init_attr *init_attr)
{
	int err = PW_FAULT("fake.query_qp");
	const struct fake_qp *qp = qp_of(ib);

	if (err)
		return -err;
	*attr = (struct ibv_qp_attr){
		.qp_state = ib->state,
		.cur_qp_state = ib->state,
		.path_mtu = IBV_MTU_1024,
		.cap = qp->cap,
		.port_num = 1,
		.dest_qp_num = qp->peer ? qp->peer->ib.qp_num : 0,
		.max_rd_atomic = qp->may_read,
		.max_dest_rd_atomic = qp->lets_read,
	};
	*init_attr = (struct ibv_qp_init_attr){
		.qp_context = ib->qp_context,
		.send_cq = ib->send_cq,
		.recv_cq = ib->recv_cq,
		.srq = ib->srq,
		.cap = qp->cap,
		.qp_type = ib->qp_type,
		.sq_sig_all = qp->all_signaled,
	};
	return 0;
}

/* Sending ------------------------------------------------------------------------------------ */

uint32_t fake_swr_hash(const struct fake_swr *s)
{
	uint32_t crc = 0;

	for (int i = 0; i < s->wr.num_sge; i++)
		crc = pw_crc32c(crc, (const void *)(uintptr_t)s->sge[i].addr, s->sge[i].length);
	return crc;
}

static int check_send(const struct fake_qp *qp, const struct ibv_send_wr *wr)
{
	bool inv = wr->opcode == IBV_WR_LOCAL_INV || wr->opcode == IBV_WR_BIND_MW;
	uint64_t len = 0;

	if (qp->ib.state != IBV_QPS_RTS && qp->ib.state != IBV_QPS_ERR)
		return -EINVAL;
	if (wr->num_sge < 0 || (uint32_t)wr->num_sge > qp->cap.max_send_sge || (inv && wr->num_sge))
		return -EINVAL;
	for (int i = 0; i < wr->num_sge; i++)
		len += wr->sg_list[i].length;
	if (len > fake_opts.max_msg ||
	    ((wr->send_flags & IBV_SEND_INLINE) && len > qp->cap.max_inline_data))
		return -EINVAL;
	switch (wr->opcode) {
	case IBV_WR_SEND:
	case IBV_WR_RDMA_WRITE:
	case IBV_WR_SEND_WITH_INV:
	case IBV_WR_LOCAL_INV:
		return 0;
	case IBV_WR_RDMA_READ:
		return wr->send_flags & IBV_SEND_INLINE ||
				       (uint32_t)wr->num_sge > fake_opts.max_sge_rd ?
			       -EINVAL : 0;
	case IBV_WR_BIND_MW:
		return wr->bind_mw.mw && wr->bind_mw.bind_info.mr ? 0 : -EINVAL;
	default:
		return -EOPNOTSUPP;
	}
}

static void take_inline(struct fake_swr *s)
{
	uint32_t at = 0;

	s->copy = must_calloc(s->len, 1);
	for (int i = 0; i < s->wr.num_sge; i++) {
		memcpy(s->copy + at, (const void *)(uintptr_t)s->sge[i].addr, s->sge[i].length);
		at += s->sge[i].length;
	}
}

static void put_send(struct fake_qp *qp, const struct ibv_send_wr *wr)
{
	struct fake_swr *s = fake_swr_at(qp, qp->sq_tail++);
	uint32_t used = (uint32_t)(qp->sq_tail - qp->sq_head);

	free(s->copy);
	memset(s, 0, sizeof(*s));
	s->wr = *wr;
	s->wr.next = NULL;
	s->wr.sg_list = s->sge;
	for (int i = 0; i < wr->num_sge; i++) {
		s->sge[i] = wr->sg_list[i];
		s->len += wr->sg_list[i].length;
	}
	if (wr->send_flags & IBV_SEND_INLINE)
		take_inline(s);
	else if (wr->opcode == IBV_WR_BIND_MW)
		s->mw_rkey = wr->bind_mw.mw->rkey;
	else if (wr->opcode != IBV_WR_RDMA_READ)
		s->hash = fake_swr_hash(s);
	if (used > fake_stats.max_sq_used)
		fake_stats.max_sq_used = used;
}

int fake_post_send(struct ibv_qp *ib, struct ibv_send_wr *wr, struct ibv_send_wr **bad)
{
	struct fake_qp *qp = qp_of(ib);

	fake_stats.doorbells++;
	for (; wr; wr = wr->next) {
		int err = PW_FAULT_ERR("fake.post_send", -ENOMEM);

		if (!err)
			err = check_send(qp, wr);
		if (!err && qp->sq_tail - qp->sq_head >= qp->cap.max_send_wr) {
			fake_stats.sq_full++;
			err = -ENOMEM;
		}
		if (err) {
			qp->unreliable = true;
			*bad = wr;
			return -err;
		}
		put_send(qp, wr);
	}
	return 0;
}

/* Everything up to @idx is done now: what was sent had to stay as it was until here. */
void fake_sq_polled(struct fake_qp *qp, uint64_t idx)
{
	for (; qp->sq_head <= idx; qp->sq_head++) {
		struct fake_swr *s = fake_swr_at(qp, qp->sq_head);

		if (s->hash && !s->status && s->hash != fake_swr_hash(s))
			fake_violation("QP %#x: what was sent has changed before it was done",
				       qp->ib.qp_num);
		free(s->copy);
		s->copy = NULL;
	}
}

/* Receiving ---------------------------------------------------------------------------------- */

static int put_recv(struct fake_rq *rq, const struct ibv_recv_wr *wr, uint32_t max_sge)
{
	struct fake_rwr *r;

	if (wr->num_sge < 0 || (uint32_t)wr->num_sge > max_sge)
		return -EINVAL;
	if (rq->tail - rq->head >= rq->size)
		return -ENOMEM;
	r = &rq->ring[rq->tail++ % rq->size];
	r->wr_id = wr->wr_id;
	r->nr_sge = wr->num_sge;
	memcpy(r->sge, wr->sg_list, (size_t)wr->num_sge * sizeof(r->sge[0]));
	return 0;
}

static int post_recvs(struct fake_rq *rq, struct ibv_recv_wr *wr, uint32_t max_sge,
		      struct ibv_recv_wr **bad)
{
	for (; wr; wr = wr->next) {
		int err = PW_FAULT_ERR("fake.post_recv", -ENOMEM);

		if (!err)
			err = put_recv(rq, wr, max_sge);
		if (err) {
			*bad = wr;
			return -err;
		}
	}
	return 0;
}

int fake_post_recv(struct ibv_qp *ib, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad)
{
	struct fake_qp *qp = qp_of(ib);
	int err;

	if (ib->srq || ib->state == IBV_QPS_RESET) {
		*bad = wr;
		return EINVAL;
	}
	err = post_recvs(&qp->rq, wr, qp->cap.max_recv_sge, bad);
	qp->unreliable |= err != 0;
	return err;
}

void fake_rq_polled(struct fake_qp *qp, uint64_t idx)
{
	if (qp->ib.srq)
		qp->srq_taken--;
	else
		qp->rq.head = idx + 1;
}

/* Shared receive queues ---------------------------------------------------------------------- */

struct ibv_srq *fake_create_srq(struct ibv_pd *pd, struct ibv_srq_init_attr *attr)
{
	int err = PW_FAULT_ERR("fake.create_srq", -ENOMEM);
	struct fake_srq *srq;

	if (!err && (!attr->attr.max_wr || attr->attr.max_wr > fake_opts.max_srq_wr ||
		     attr->attr.max_sge > fake_opts.max_sge))
		err = -EINVAL;
	if (!err && fake.count[FAKE_SRQ] >= fake_opts.max_srq)
		err = -ENOMEM;
	if (err) {
		errno = -err;
		return NULL;
	}
	srq = must_calloc(1, sizeof(*srq));
	srq->ib.context = pd->context;
	srq->ib.srq_context = attr->srq_context;
	srq->ib.pd = pd;
	srq->rq.size = attr->attr.max_wr;
	srq->rq.ring = must_calloc(srq->rq.size, sizeof(*srq->rq.ring));
	pw_list_add_tail(&fake.srqs, &srq->node);
	pw_container_of(pd, struct fake_pd, ib)->users++;
	fake.count[FAKE_SRQ]++;
	return &srq->ib;
}

int fake_destroy_srq(struct ibv_srq *ib)
{
	struct fake_srq *srq = srq_of(ib);

	if (srq->users) {
		fake_violation("a shared receive queue is destroyed that %u QPs use", srq->users);
		return EBUSY;
	}
	pw_list_del(&srq->node);
	pw_container_of(ib->pd, struct fake_pd, ib)->users--;
	fake.count[FAKE_SRQ]--;
	free(srq->rq.ring);
	free(srq);
	return 0;
}

/* A buffer is with the device once, until its completion was taken. */
static void check_once(const struct fake_srq *srq, const struct ibv_recv_wr *wr)
{
	struct pw_list *pos, *a;

	for (uint64_t i = srq->rq.head; i != srq->rq.tail; i++)
		if (srq->rq.ring[i % srq->rq.size].wr_id == wr->wr_id)
			fake_violation("receive %llu is posted twice",
				       (unsigned long long)wr->wr_id);
	pw_list_for_each(pos, &fake.qps) {
		struct fake_qp *qp = pw_list_entry(pos, struct fake_qp, node);

		if (qp->ib.srq != &srq->ib)
			continue;
		pw_list_for_each(a, &qp->arrivals)
			if (pw_list_entry(a, struct fake_arrival, node)->wc.wr_id == wr->wr_id)
				fake_violation("receive %llu is posted with a message in it",
					       (unsigned long long)wr->wr_id);
	}
}

int fake_post_srq_recv(struct ibv_srq *ib, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad)
{
	struct fake_srq *srq = srq_of(ib);

	for (const struct ibv_recv_wr *r = wr; r; r = r->next)
		check_once(srq, r);
	return post_recvs(&srq->rq, wr, fake_opts.max_sge, bad);
}

int fake_modify_srq(struct ibv_srq *ib, struct ibv_srq_attr *attr, int attr_mask)
{
	int err = PW_FAULT("fake.modify_srq");
	struct fake_srq *srq = srq_of(ib);

	if (err)
		return -err;
	if (attr_mask != IBV_SRQ_LIMIT || attr->srq_limit > srq->rq.size)
		return EINVAL;
	srq->limit = attr->srq_limit;
	return 0;
}
