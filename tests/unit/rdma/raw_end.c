/* SPDX-License-Identifier: Apache-2.0 */
/* raw_end.c -- see raw_end.h */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "raw_end.h"

static const struct pw_verbs *const v = &fake_table;

static struct sockaddr *address(struct sockaddr_in *sa, uint16_t port)
{
	*sa = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(port) };
	sa->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return (struct sockaddr *)sa;
}

void raw_open(struct raw_end *r)
{
	memset(r, 0, sizeof(*r));
	r->mem = calloc(1, RAW_MEM + RAW_NR_RECV * RAW_MSG);
	assert_non_null(r->mem);
	r->ch = v->cm_create_event_channel();
	assert_non_null(r->ch);
	fcntl(r->ch->fd, F_SETFL, O_NONBLOCK);
}

uint16_t raw_listen(struct raw_end *r, uint16_t port)
{
	struct sockaddr_in sa;

	assert_int_equal(v->cm_create_id(r->ch, &r->listener, r, RDMA_PS_TCP), 0);
	assert_int_equal(v->cm_bind_addr(r->listener, address(&sa, port)), 0);
	assert_int_equal(v->cm_listen(r->listener, 8), 0);
	return ntohs(v->cm_get_src_port(r->listener));
}

void raw_connect(struct raw_end *r, uint16_t port)
{
	struct sockaddr_in sa;

	assert_int_equal(v->cm_create_id(r->ch, &r->id, r, RDMA_PS_TCP), 0);
	assert_int_equal(v->cm_resolve_addr(r->id, NULL, address(&sa, port), 1000), 0);
}

static void post_recv(struct raw_end *r, uint32_t idx)
{
	struct ibv_sge sge = { .addr = (uintptr_t)raw_message(r, idx),
			       .length = RAW_MSG,
			       .lkey = r->mr->lkey };
	struct ibv_recv_wr wr = { .wr_id = idx, .sg_list = &sge, .num_sge = 1 }, *bad;

	assert_int_equal(ibv_post_recv(r->id->qp, &wr, &bad), 0);
	r->nr_recv_posted++;
}

static void make_qp(struct raw_end *r)
{
	struct ibv_qp_init_attr a = {
		.qp_type = IBV_QPT_RC,
		.cap = { .max_send_wr = 64,
			 .max_recv_wr = RAW_NR_RECV,
			 .max_send_sge = 1,
			 .max_recv_sge = 1 },
	};

	r->pd = v->alloc_pd(r->id->verbs);
	r->mr = v->reg_mr(r->pd, r->mem, RAW_MEM + RAW_NR_RECV * RAW_MSG,
			  IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE |
				  IBV_ACCESS_REMOTE_READ | IBV_ACCESS_MW_BIND);
	r->cc = v->create_comp_channel(r->id->verbs);
	r->cq = v->create_cq(r->id->verbs, 256, r, r->cc, 0);
	assert_non_null(r->cq);
	a.send_cq = a.recv_cq = r->cq;
	assert_int_equal(v->cm_create_qp(r->id, r->pd, &a), 0);
	for (uint32_t i = 0; i < RAW_NR_RECV; i++)
		post_recv(r, i);
}

static void on_request(struct raw_end *r, const struct rdma_cm_event *e)
{
	struct rdma_conn_param p = e->param.conn;

	if (r->id || r->want_reject) {
		assert_int_equal(v->cm_reject(e->id, r->data, r->data_len), 0);
		return;
	}
	r->id = e->id;
	make_qp(r);
	p.private_data = r->data;
	p.private_data_len = r->data_len;
	assert_int_equal(v->cm_accept(r->id, &p), 0);
}

static void on_event(struct raw_end *r, const struct rdma_cm_event *e)
{
	struct rdma_conn_param p = { .private_data = r->data,
				     .private_data_len = r->data_len,
				     .responder_resources = 4,
				     .initiator_depth = 4,
				     .rnr_retry_count = 7,
				     .retry_count = 7 };

	if (e->param.conn.private_data_len) {
		r->peer_data_len = e->param.conn.private_data_len;
		memcpy(r->peer_data, e->param.conn.private_data, r->peer_data_len);
	}
	switch (e->event) {
	case RDMA_CM_EVENT_ADDR_RESOLVED:
		assert_int_equal(v->cm_resolve_route(r->id, 1000), 0);
		break;
	case RDMA_CM_EVENT_ROUTE_RESOLVED:
		make_qp(r);
		assert_int_equal(v->cm_connect(r->id, &p), 0);
		break;
	case RDMA_CM_EVENT_CONNECT_REQUEST:
		on_request(r, e);
		break;
	case RDMA_CM_EVENT_ESTABLISHED:
		r->up = true;
		break;
	case RDMA_CM_EVENT_TIMEWAIT_EXIT:
		break;
	default:
		if (e->id != r->id)
			break;
		r->ended = true;
		r->end_event = e->event;
		r->end_status = e->status;
		break;
	}
}

static void poll_cq(struct raw_end *r)
{
	struct ibv_wc wc;

	while (r->cq && ibv_poll_cq(r->cq, 1, &wc) == 1) {
		if (wc.wr_id >= RAW_NR_RECV) {
			r->completed++;
			r->last = wc;
			continue;
		}
		r->nr_recv_completed++;
		if (wc.status)
			continue;
		assert_true(r->nr_recv < RAW_NR_RECV);
		r->recv[r->nr_recv++] = wc;
	}
}

void raw_poll(struct raw_end *r)
{
	struct rdma_cm_event *e;

	while (r->ch && !v->cm_get_cm_event(r->ch, &e)) {
		struct rdma_cm_id *dropped = NULL;

		on_event(r, e);
		if (e->event == RDMA_CM_EVENT_CONNECT_REQUEST && e->id != r->id)
			dropped = e->id;
		assert_int_equal(v->cm_ack_cm_event(e), 0);
		if (dropped)
			v->cm_destroy_id(dropped);
	}
	poll_cq(r);
}

static void destroy(struct raw_end *r)
{
	if (r->cq) {
		v->cm_destroy_qp(r->id);
		v->destroy_cq(r->cq);
		v->destroy_comp_channel(r->cc);
		v->dereg_mr(r->mr);
		v->dealloc_pd(r->pd);
	}
	if (r->id)
		v->cm_destroy_id(r->id);
	if (r->listener)
		v->cm_destroy_id(r->listener);
	v->cm_destroy_event_channel(r->ch);
	free(r->mem);
	memset(r, 0, sizeof(*r));
}

void raw_close(struct raw_end *r, void (*turn)(void))
{
	struct ibv_qp_attr a = { .qp_state = IBV_QPS_ERR };

	if (!r->ch)
		return;
	if (r->cq) {
		if (v->cm_disconnect(r->id))
			v->modify_qp(r->id->qp, &a, IBV_QP_STATE);
		while (r->posted != r->completed || r->nr_recv_posted != r->nr_recv_completed) {
			turn();
			raw_poll(r);
		}
	}
	destroy(r);
}

void raw_power_off(struct raw_end *r)
{
	if (r->id)
		fake_power_off(r->id);
	destroy(r);
}

uint8_t *raw_message(struct raw_end *r, uint32_t idx)
{
	return r->mem + RAW_MEM + idx * RAW_MSG;
}

int raw_post(struct raw_end *r, struct ibv_send_wr *wr)
{
	struct ibv_send_wr *bad;
	int err;

	wr->wr_id = RAW_NR_RECV + r->posted;
	wr->send_flags |= IBV_SEND_SIGNALED;
	err = ibv_post_send(r->id->qp, wr, &bad);
	if (!err)
		r->posted++;
	return -err;
}

static int post(struct raw_end *r, enum ibv_wr_opcode op, uint64_t addr, uint32_t rkey,
		uint32_t off, uint32_t len)
{
	struct ibv_sge sge = { .addr = (uintptr_t)r->mem + off,
			       .length = len,
			       .lkey = r->mr->lkey };
	struct ibv_send_wr wr = { .opcode = op, .sg_list = &sge, .num_sge = 1 };

	wr.wr.rdma.remote_addr = addr;
	wr.wr.rdma.rkey = rkey;
	return raw_post(r, &wr);
}

/* From the last part of the memory, a place for each message. */
int raw_send(struct raw_end *r, const void *buf, uint32_t len)
{
	uint32_t off = RAW_MEM - (1 + r->posted % 64) * RAW_MSG;

	memcpy(r->mem + off, buf, len);
	return post(r, IBV_WR_SEND, 0, 0, off, len);
}

int raw_write(struct raw_end *r, uint64_t addr, uint32_t rkey, uint32_t off, uint32_t len)
{
	return post(r, IBV_WR_RDMA_WRITE, addr, rkey, off, len);
}

int raw_read(struct raw_end *r, uint64_t addr, uint32_t rkey, uint32_t off, uint32_t len)
{
	return post(r, IBV_WR_RDMA_READ, addr, rkey, off, len);
}
