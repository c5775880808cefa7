/* SPDX-License-Identifier: Apache-2.0 */
/* fake_nic.c -- executes what is posted, in order on each queue pair, when chance says so
 *
 * A request is executed (memory is read and written) and reported (a completion, unless it is
 * unsignaled and went well) in different turns; so is what it causes at the peer. The peer looks at
 * the memory of a READ later than at requests that come after it, unless they have a fence. What
 * was executed and not reported when a queue pair breaks may be reported as flushed all the same:
 * an error says nothing about what the peer has seen.
 */
#include <stdlib.h>
#include <string.h>

#include "common/fault.h"
#include "fake_impl.h"

/* Errors ------------------------------------------------------------------------------------- */

void fake_qp_error(struct fake_qp *qp)
{
	if (qp->ib.state == IBV_QPS_ERR)
		return;
	qp->ib.state = IBV_QPS_ERR;
	qp->ended_turn = fake.turn;
	if (fake_opts.iwarp && qp->id)
		fake_cm_qp_error(qp->id);
}

static void fail_request(struct fake_qp *qp, struct fake_swr *s, enum ibv_wc_status status)
{
	s->status = status;
	fake_qp_error(qp);
}

/* The peer's device refuses: both ends meet an error. */
static void refuse(struct fake_qp *qp, struct fake_swr *s, enum ibv_wc_status status,
		   enum ibv_event_type event)
{
	struct fake_qp *peer = qp->peer;

	fail_request(qp, s, status);
	if (peer->ib.state == IBV_QPS_RTS) {
		fake_qp_error(peer);
		fake_async_put(event, &peer->ib);
	}
}

/* Arrivals ----------------------------------------------------------------------------------- */

/* Told once for each arming. */
static void check_limit(struct fake_srq *srq)
{
	if (srq->rq.tail - srq->rq.taken >= srq->limit)
		return;
	srq->limit = 0;
	fake_stats.srq_limits++;
	fake_async_put_srq(IBV_EVENT_SRQ_LIMIT_REACHED, &srq->ib);
}

static struct fake_rwr *take_recv(struct fake_qp *qp, uint64_t *ret_idx)
{
	struct fake_rq *rq = &qp->rq;

	if (qp->ib.srq)
		rq = &pw_container_of(qp->ib.srq, struct fake_srq, ib)->rq;
	if (rq->taken == rq->tail)
		return NULL;
	*ret_idx = rq->taken++;
	if (qp->ib.srq) {
		rq->head = rq->taken;
		qp->srq_taken++;
		fake_stats.srq_recvs++;
		check_limit(pw_container_of(qp->ib.srq, struct fake_srq, ib));
	}
	return &rq->ring[*ret_idx % rq->size];
}

/* soft-RoCE looks in the domain of the queue pair, soft-iWARP in that of the queue. */
static bool recv_ok(const struct fake_qp *qp, const struct fake_rwr *r)
{
	const struct ibv_pd *pd = qp->ib.srq && fake_opts.iwarp ? qp->ib.srq->pd : qp->ib.pd;

	return fake_pd_ok(pd, r->sge, r->nr_sge, true);
}

static struct fake_arrival *arrive(struct fake_qp *qp, const struct fake_rwr *r, uint64_t idx)
{
	struct fake_arrival *a = calloc(1, sizeof(*a));

	if (!a)
		abort();
	a->wc.wr_id = r->wr_id;
	a->wc.qp_num = qp->ib.qp_num;
	a->wc.opcode = IBV_WC_RECV;
	a->idx = idx;
	a->report_turn = fake_later();
	if (qp->unnoticed) {
		qp->unnoticed->report_turn = fake_later();
		qp->unnoticed = NULL;
	}
	/* who has posted nothing yet is the accepting end */
	if (fake_opts.first_unnoticed && !qp->heard && !qp->sq_tail) {
		a->report_turn = UINT64_MAX;
		qp->unnoticed = a;
	}
	qp->heard = true;
	pw_list_add_tail(&qp->arrivals, &a->node);
	return a;
}

/* Return: what did not fit. */
static uint32_t scatter(const struct ibv_sge *sge, int nr, const uint8_t *from, uint32_t len)
{
	for (int i = 0; i < nr && len; i++) {
		uint32_t n = PW_MIN(len, sge[i].length);

		memcpy((void *)(uintptr_t)sge[i].addr, from, n);
		from += n;
		len -= n;
	}
	return len;
}

static void gather(const struct fake_swr *s, uint8_t *to)
{
	if (s->wr.send_flags & IBV_SEND_INLINE) {
		memcpy(to, s->copy, s->len);
		return;
	}
	for (int i = 0; i < s->wr.num_sge; i++) {
		memcpy(to, (const void *)(uintptr_t)s->sge[i].addr, s->sge[i].length);
		to += s->sge[i].length;
	}
}

/* Requests: each returns false when it has to wait ------------------------------------------- */

static bool no_receive(void)
{
	fake_stats.rnr++;
	if (!fake_opts.rnr_allowed)
		fake_violation("a message meets no receive buffer");
	return false;
}

static bool exec_send(struct fake_qp *qp, struct fake_swr *s)
{
	struct fake_qp *peer = qp->peer;
	struct fake_arrival *a;
	struct fake_rwr *r;
	uint8_t *data;
	uint64_t idx;

	r = take_recv(peer, &idx);
	if (!r)
		return no_receive();
	data = malloc(s->len ? s->len : 1);
	if (!data)
		abort();
	gather(s, data);
	a = arrive(peer, r, idx);
	a->solicited = s->wr.send_flags & IBV_SEND_SOLICITED;
	if (!recv_ok(peer, r)) {
		a->wc.status = IBV_WC_LOC_PROT_ERR;
		refuse(qp, s, IBV_WC_REM_OP_ERR, IBV_EVENT_QP_FATAL);
	} else if (scatter(r->sge, r->nr_sge, data, s->len)) {
		a->wc.status = IBV_WC_LOC_LEN_ERR;
		refuse(qp, s, IBV_WC_REM_INV_REQ_ERR, IBV_EVENT_QP_REQ_ERR);
	} else if (s->wr.opcode == IBV_WR_SEND_WITH_INV &&
		   !fake_invalidate(peer, s->wr.invalidate_rkey)) {
		a->wc.status = IBV_WC_LOC_QP_OP_ERR;
		refuse(qp, s, IBV_WC_REM_OP_ERR, IBV_EVENT_QP_REQ_ERR);
	} else if (s->wr.opcode == IBV_WR_SEND_WITH_INV) {
		a->wc.wc_flags = IBV_WC_WITH_INV;
		a->wc.invalidated_rkey = s->wr.invalidate_rkey;
		fake_stats.wr_send_inv++;
	}
	a->wc.byte_len = s->len;
	fake_stats.wr_send++;
	fake_stats.bytes_send += s->len;
	free(data);
	return true;
}

static bool exec_write(struct fake_qp *qp, struct fake_swr *s)
{
	if (!fake_remote_ok(qp->peer, s->wr.wr.rdma.remote_addr, s->wr.wr.rdma.rkey, s->len,
			    IBV_ACCESS_REMOTE_WRITE)) {
		fake_stats.access_errs++;
		refuse(qp, s, IBV_WC_REM_ACCESS_ERR, IBV_EVENT_QP_ACCESS_ERR);
		return true;
	}
	gather(s, (void *)(uintptr_t)s->wr.wr.rdma.remote_addr);
	fake_stats.wr_write++;
	fake_stats.bytes_write += s->len;
	return true;
}

static bool exec_read(struct fake_qp *qp, struct fake_swr *s)
{
	if (!qp->may_read || !qp->peer->lets_read) {
		refuse(qp, s, IBV_WC_REM_INV_REQ_ERR, IBV_EVENT_QP_REQ_ERR);
		return true;
	}
	s->fetch_turn = fake_later();
	return true;
}

/* The peer answers a READ now. */
static void fetch(struct fake_qp *qp, struct fake_swr *s)
{
	s->fetch_turn = 0;
	s->report_turn = fake_later();
	if (!qp->peer || qp->peer->ib.state != IBV_QPS_RTS) {
		fail_request(qp, s, IBV_WC_RETRY_EXC_ERR);
		return;
	}
	if (!fake_remote_ok(qp->peer, s->wr.wr.rdma.remote_addr, s->wr.wr.rdma.rkey, s->len,
			    IBV_ACCESS_REMOTE_READ)) {
		fake_stats.access_errs++;
		refuse(qp, s, IBV_WC_REM_ACCESS_ERR, IBV_EVENT_QP_ACCESS_ERR);
		return;
	}
	s->copy = malloc(s->len ? s->len : 1);
	if (!s->copy)
		abort();
	memcpy(s->copy, (const void *)(uintptr_t)s->wr.wr.rdma.remote_addr, s->len);
	fake_stats.wr_read++;
	fake_stats.bytes_read += s->len;
}

static void exec_local(struct fake_qp *qp, struct fake_swr *s)
{
	if (s->wr.opcode == IBV_WR_BIND_MW) {
		if (!fake_bind(qp, s))
			fail_request(qp, s, IBV_WC_MW_BIND_ERR);
		fake_stats.wr_bind++;
		return;
	}
	if (!fake_invalidate(qp, s->wr.invalidate_rkey)) {
		fake_violation("QP %#x invalidates a key that is not valid", qp->ib.qp_num);
		fail_request(qp, s, IBV_WC_LOC_QP_OP_ERR);
	}
	fake_stats.wr_inv++;
}

/* Nobody answers: after some tries that is an error of the request. */
static bool peer_answers(struct fake_qp *qp, struct fake_swr *s)
{
	bool gone = !qp->peer || qp->peer->ib.state == IBV_QPS_ERR || qp->peer->silent;

	if (!gone && !fake_opts.hold && qp->peer->ib.state == IBV_QPS_RTS) {
		s->stuck_since = 0;
		return true;
	}
	if (!s->stuck_since)
		s->stuck_since = fake.turn;
	if (fake.turn - s->stuck_since > fake_opts.retry_turns && fake_opts.retry_turns)
		fail_request(qp, s, IBV_WC_RETRY_EXC_ERR);
	return false;
}

static bool exec_remote(struct fake_qp *qp, struct fake_swr *s)
{
	if (!peer_answers(qp, s))
		return s->status;
	if (!(s->wr.send_flags & IBV_SEND_INLINE) &&
	    !fake_local_ok(qp, s->sge, s->wr.num_sge, s->wr.opcode == IBV_WR_RDMA_READ)) {
		fake_violation("QP %#x sends from or reads to memory that it may not use",
			       qp->ib.qp_num);
		fail_request(qp, s, IBV_WC_LOC_PROT_ERR);
		return true;
	}
	if (s->hash && s->hash != fake_swr_hash(s))
		fake_violation("QP %#x: what is to be sent has changed", qp->ib.qp_num);
	switch (s->wr.opcode) {
	case IBV_WR_RDMA_WRITE:
		return exec_write(qp, s);
	case IBV_WR_RDMA_READ:
		return exec_read(qp, s);
	default:
		return exec_send(qp, s);
	}
}

static bool read_is_under_way(struct fake_qp *qp)
{
	for (uint64_t i = qp->sq_reported; i != qp->sq_exec; i++)
		if (fake_swr_at(qp, i)->wr.opcode == IBV_WR_RDMA_READ)
			return true;
	return false;
}

/* Return: whether the next request of @qp was executed. */
static bool exec_one(struct fake_qp *qp)
{
	struct fake_swr *s = fake_swr_at(qp, qp->sq_exec);

	if (qp->ib.state != IBV_QPS_RTS || qp->sq_exec == qp->sq_tail)
		return false;
	if ((s->wr.send_flags & IBV_SEND_FENCE) && read_is_under_way(qp))
		return false;
	if (PW_FAULT("fake.wr"))
		fail_request(qp, s, IBV_WC_GENERAL_ERR);
	else if (s->wr.opcode == IBV_WR_BIND_MW || s->wr.opcode == IBV_WR_LOCAL_INV)
		exec_local(qp, s);
	else if (!exec_remote(qp, s))
		return false;
	s->state = FAKE_WR_EXECUTED;
	s->report_turn = fake_later();
	qp->sq_exec++;
	return true;
}

/* soft-RoCE keeps the receive of a message that was coming in, and says that it takes no more;
 * perhaps twice. soft-iWARP keeps none and says nothing. */
static void end_shared(struct fake_qp *qp)
{
	uint64_t idx;

	qp->last_told = true;
	if (fake_opts.iwarp)
		return;
	if (!fake_below(3) && take_recv(qp, &idx)) {
		qp->srq_taken--;
		fake_stats.srq_lost++;
	}
	for (uint32_t i = fake_opts.no_last_wqe ? 2 : fake_below(2); i < 2; i++)
		fake_async_put(IBV_EVENT_QP_LAST_WQE_REACHED, &qp->ib);
}

/* What is left of a broken queue pair, in both directions. */
static void flush(struct fake_qp *qp)
{
	struct fake_rwr *r;
	uint64_t idx;

	for (; qp->sq_exec != qp->sq_tail; qp->sq_exec++) {
		struct fake_swr *s = fake_swr_at(qp, qp->sq_exec);

		if (!s->status)
			s->status = IBV_WC_WR_FLUSH_ERR;
		s->state = FAKE_WR_EXECUTED;
		s->report_turn = fake_later();
		fake_stats.wr_flushed++;
	}
	while (!qp->ib.srq && (r = take_recv(qp, &idx)))
		arrive(qp, r, idx)->wc.status = IBV_WC_WR_FLUSH_ERR;
}

/* Reports ------------------------------------------------------------------------------------ */

static enum ibv_wc_opcode wc_opcode(enum ibv_wr_opcode op)
{
	switch (op) {
	case IBV_WR_RDMA_WRITE:
		return IBV_WC_RDMA_WRITE;
	case IBV_WR_RDMA_READ:
		return IBV_WC_RDMA_READ;
	case IBV_WR_BIND_MW:
		return IBV_WC_BIND_MW;
	case IBV_WR_LOCAL_INV:
		return IBV_WC_LOCAL_INV;
	default:
		return IBV_WC_SEND;
	}
}

static void report_arrivals(struct fake_qp *qp, bool now)
{
	while (!pw_list_empty(&qp->arrivals)) {
		struct fake_arrival *a = pw_list_first(&qp->arrivals, struct fake_arrival, node);

		if (a->report_turn > fake.turn && !now)
			break;
		pw_list_del(&a->node);
		/* siw forgets what it has read in the header: siw_rqe_complete(), Linux 7.3 */
		fake_cq_put(qp->ib.recv_cq, qp, &a->wc, true, a->idx,
			    a->solicited && !fake_opts.iwarp);
		free(a);
	}
}

void fake_report_received(struct fake_qp *qp)
{
	report_arrivals(qp, true);
}

static void report_request(struct fake_qp *qp, struct fake_swr *s)
{
	struct ibv_wc wc = {
		.wr_id = s->wr.wr_id,
		.qp_num = qp->ib.qp_num,
		.opcode = wc_opcode(s->wr.opcode),
		.byte_len = s->len,
	};

	/* done at the peer, and yet */
	if (qp->ib.state == IBV_QPS_ERR && !s->status && !fake_below(4))
		qp->lossy = true;
	if (qp->lossy && !s->status)
		s->status = IBV_WC_WR_FLUSH_ERR;
	qp->lossy |= s->status != IBV_WC_SUCCESS;
	wc.status = s->status;
	if (!s->status && s->wr.opcode == IBV_WR_RDMA_READ)
		scatter(s->sge, s->wr.num_sge, s->copy, s->len);
	s->state = FAKE_WR_REPORTED;
	/* a message that was acknowledged is on the queue of the peer */
	if (!s->status && qp->peer)
		report_arrivals(qp->peer, true);
	if (s->status || qp->all_signaled || (s->wr.send_flags & IBV_SEND_SIGNALED))
		fake_cq_put(qp->ib.send_cq, qp, &wc, false, qp->sq_reported, false);
	else
		fake_stats.unsignaled++;
	qp->sq_reported++;
}

/* Acknowledgements are packets as well. */
static bool is_cut_off(const struct fake_qp *qp)
{
	return fake_opts.hold && qp->ib.state == IBV_QPS_RTS;
}

static void report(struct fake_qp *qp, bool send, bool recv, bool now)
{
	while (send && !is_cut_off(qp) && qp->sq_reported != qp->sq_exec) {
		struct fake_swr *s = fake_swr_at(qp, qp->sq_reported);

		if (s->fetch_turn && now)
			fetch(qp, s);
		if (s->fetch_turn || (s->report_turn > fake.turn && !now))
			break;
		report_request(qp, s);
	}
	if (recv)
		report_arrivals(qp, now);
}

void fake_report_now(struct ibv_cq *cq)
{
	struct pw_list *pos;

	pw_list_for_each(pos, &fake.qps) {
		struct fake_qp *qp = pw_list_entry(pos, struct fake_qp, node);

		if (!qp->silent)
			report(qp, qp->ib.send_cq == cq, qp->ib.recv_cq == cq, true);
	}
}

/* Turns -------------------------------------------------------------------------------------- */

static void fetch_due(struct fake_qp *qp)
{
	for (uint64_t i = qp->sq_reported; i != qp->sq_exec; i++) {
		struct fake_swr *s = fake_swr_at(qp, i);

		if (s->fetch_turn && !is_cut_off(qp) &&
		    (s->fetch_turn <= fake.turn || qp->ib.state != IBV_QPS_RTS))
			fetch(qp, s);
	}
}

static void qp_turn(struct fake_qp *qp)
{
	uint32_t budget = 1 + fake_below(8);

	if (qp->silent || fake_opts.stall)
		return;
	while (budget-- && exec_one(qp))
		;
	fetch_due(qp);
	if (qp->ib.state == IBV_QPS_ERR)
		flush(qp);
	report(qp, true, true, false);
	if (qp->ib.state == IBV_QPS_ERR && qp->ib.srq && !qp->last_told &&
	    pw_list_empty(&qp->arrivals) &&
	    fake.turn >= qp->ended_turn + fake_opts.last_wqe_turns)
		end_shared(qp);
}

void fake_nic_turn(void)
{
	/* begin somewhere, and then let chance skip some */
	for (uint32_t i = fake_below(fake.count[FAKE_QP] + 1); i; i--) {
		struct pw_list *first = pw_list_pop(&fake.qps);

		pw_list_add_tail(&fake.qps, first);
	}
	for (struct pw_list *pos = fake.qps.next; pos != &fake.qps; pos = pos->next)
		if (!fake_opts.max_delay || fake_below(4))
			qp_turn(pw_list_entry(pos, struct fake_qp, node));
}

bool fake_nic_is_idle(void)
{
	struct pw_list *pos;

	pw_list_for_each(pos, &fake.qps) {
		const struct fake_qp *qp = pw_list_entry(pos, struct fake_qp, node);

		if (qp->silent)
			continue;
		if (qp->sq_reported != qp->sq_tail || !pw_list_empty(&qp->arrivals) ||
		    (qp->ib.state == IBV_QPS_ERR && qp->rq.taken != qp->rq.tail))
			return false;
	}
	return true;
}
