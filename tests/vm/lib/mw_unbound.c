/* SPDX-License-Identifier: Apache-2.0 */
/* mw_unbound.c -- end a memory window that is not bound: a work request fails, and nothing else
 *
 *	mw_unbound -d DEVICE -g GID-INDEX never|local|remote
 *
 *	never   LOCAL_INV of a window that was never bound
 *	local   a second LOCAL_INV after a first one
 *	remote  a second SEND with invalidate from the peer after a first one
 *
 * Both queue pairs are of this process and this device. Afterwards two new ones must be able to
 * bind a window and to end it: the device has survived. Prints how the bad request ended.
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <infiniband/verbs.h>

#define DEPTH 8u
#define BYTES 4096u
#define LIMIT_S 60

enum { OURS, PEER, NR_ENDS };

struct rig {
	struct ibv_context *ctx;
	struct ibv_pd *pd;
	struct ibv_mr *mr;
	struct ibv_cq *cq[NR_ENDS];
	struct ibv_qp *qp[NR_ENDS];
	struct ibv_mw *mw;
	int gid_index;
	char mem[BYTES];
};

static struct ibv_context *open_device(const char *name)
{
	struct ibv_context *ctx = NULL;
	struct ibv_device **list = ibv_get_device_list(NULL);

	for (size_t i = 0; list && list[i]; i++)
		if (!strcmp(ibv_get_device_name(list[i]), name))
			ctx = ibv_open_device(list[i]);
	if (!ctx)
		errx(1, "cannot open device %s", name);
	ibv_free_device_list(list);
	return ctx;
}

static void to_init(struct ibv_qp *qp)
{
	struct ibv_qp_attr a = { .qp_state = IBV_QPS_INIT,
				 .port_num = 1,
				 .qp_access_flags = IBV_ACCESS_REMOTE_WRITE |
						    IBV_ACCESS_MW_BIND };

	if (ibv_modify_qp(qp, &a,
			  IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS))
		err(1, "INIT");
}

static void to_ready(const struct rig *r, struct ibv_qp *qp, uint32_t peer)
{
	struct ibv_qp_attr a = { .qp_state = IBV_QPS_RTR,
				 .path_mtu = IBV_MTU_1024,
				 .dest_qp_num = peer,
				 .max_dest_rd_atomic = 1,
				 .min_rnr_timer = 12,
				 .ah_attr = { .is_global = 1,
					      .port_num = 1,
					      .grh = { .sgid_index = (uint8_t)r->gid_index,
						       .hop_limit = 1 } } };
	struct ibv_qp_attr s = { .qp_state = IBV_QPS_RTS,
				 .timeout = 14,
				 .retry_cnt = 7,
				 .rnr_retry = 7,
				 .max_rd_atomic = 1 };

	if (ibv_query_gid(r->ctx, 1, r->gid_index, &a.ah_attr.grh.dgid))
		errx(1, "no GID %d", r->gid_index);
	if (ibv_modify_qp(qp, &a,
			  IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
				  IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC |
				  IBV_QP_MIN_RNR_TIMER))
		err(1, "RTR");
	if (ibv_modify_qp(qp, &s,
			  IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
				  IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC))
		err(1, "RTS");
}

static void make(struct rig *r)
{
	struct ibv_qp_init_attr a = { .qp_type = IBV_QPT_RC,
				      .cap = { .max_send_wr = DEPTH,
					       .max_recv_wr = DEPTH,
					       .max_send_sge = 1,
					       .max_recv_sge = 1 } };

	r->pd = ibv_alloc_pd(r->ctx);
	if (!r->pd)
		err(1, "protection domain");
	r->mr = ibv_reg_mr(r->pd, r->mem, sizeof(r->mem),
			   IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_MW_BIND);
	r->mw = ibv_alloc_mw(r->pd, IBV_MW_TYPE_2);
	if (!r->mr || !r->mw)
		err(1, "memory");
	for (int i = 0; i < NR_ENDS; i++) {
		r->cq[i] = ibv_create_cq(r->ctx, 2 * DEPTH, NULL, NULL, 0);
		if (!r->cq[i])
			err(1, "completion queue");
		a.send_cq = a.recv_cq = r->cq[i];
		r->qp[i] = ibv_create_qp(r->pd, &a);
		if (!r->qp[i])
			err(1, "queue pair");
		to_init(r->qp[i]);
	}
	for (int i = 0; i < NR_ENDS; i++)
		to_ready(r, r->qp[i], r->qp[!i]->qp_num);
}

static void destroy(struct rig *r)
{
	for (int i = 0; i < NR_ENDS; i++)
		if (ibv_destroy_qp(r->qp[i]) || ibv_destroy_cq(r->cq[i]))
			err(1, "queue pair cannot be destroyed");
	if (ibv_dealloc_mw(r->mw) || ibv_dereg_mr(r->mr) || ibv_dealloc_pd(r->pd))
		err(1, "memory is still in use");
}

static time_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec;
}

/* The next completion of an end; one that does not come is a device that has died. */
static struct ibv_wc completion(struct rig *r, int end)
{
	struct ibv_wc wc;
	time_t limit = now() + LIMIT_S;
	int n;

	while (!(n = ibv_poll_cq(r->cq[end], 1, &wc))) {
		if (now() > limit)
			errx(1, "no completion in %d s: the device is dead", LIMIT_S);
		usleep(1000);
	}
	if (n < 0)
		errx(1, "poll");
	return wc;
}

static enum ibv_wc_status post(struct rig *r, int end, struct ibv_send_wr wr)
{
	struct ibv_send_wr *bad;

	wr.send_flags = IBV_SEND_SIGNALED;
	if (ibv_post_send(r->qp[end], &wr, &bad))
		err(1, "post");
	return completion(r, end).status;
}

static void must(enum ibv_wc_status st, const char *what)
{
	if (st != IBV_WC_SUCCESS)
		errx(1, "%s: %s", what, ibv_wc_status_str(st));
}

static void bind_window(struct rig *r)
{
	struct ibv_send_wr wr = { .opcode = IBV_WR_BIND_MW };

	wr.bind_mw.mw = r->mw;
	wr.bind_mw.rkey = ibv_inc_rkey(r->mw->rkey);
	wr.bind_mw.bind_info = (struct ibv_mw_bind_info){ .mr = r->mr,
							  .addr = (uintptr_t)r->mem,
							  .length = sizeof(r->mem),
							  .mw_access_flags =
								  IBV_ACCESS_REMOTE_WRITE };
	must(post(r, OURS, wr), "bind");
	r->mw->rkey = wr.bind_mw.rkey;
}

static enum ibv_wc_status end_local(struct rig *r)
{
	return post(r, OURS, (struct ibv_send_wr){ .opcode = IBV_WR_LOCAL_INV,
						   .invalidate_rkey = r->mw->rkey });
}

static enum ibv_wc_status end_remote(struct rig *r)
{
	struct ibv_recv_wr recv = { 0 }, *bad;

	if (ibv_post_recv(r->qp[OURS], &recv, &bad))
		err(1, "receive");
	return post(r, PEER, (struct ibv_send_wr){ .opcode = IBV_WR_SEND_WITH_INV,
						   .invalidate_rkey = r->mw->rkey });
}

int main(int argc, char **argv)
{
	struct rig r = { .gid_index = -1 };
	enum ibv_wc_status st;
	const char *how;
	int c;

	while ((c = getopt(argc, argv, "d:g:")) != -1) {
		if (c == 'd')
			r.ctx = open_device(optarg);
		else if (c == 'g')
			r.gid_index = atoi(optarg);
		else
			return 2;
	}
	how = optind + 1 == argc ? argv[optind] : "";
	if (!r.ctx || r.gid_index < 0 ||
	    (strcmp(how, "never") && strcmp(how, "local") && strcmp(how, "remote")))
		errx(2, "mw_unbound -d DEVICE -g GID-INDEX never|local|remote");
	setvbuf(stdout, NULL, _IOLBF, 0);

	make(&r);
	if (!strcmp(how, "remote")) {
		bind_window(&r);
		must(end_remote(&r), "first SEND with invalidate");
		must(completion(&r, OURS).status, "its arrival");
		/* who sent it may hear that it has arrived: the receiver is told what it was */
		end_remote(&r);
		st = completion(&r, OURS).status;
	} else {
		if (!strcmp(how, "local")) {
			bind_window(&r);
			must(end_local(&r), "first LOCAL_INV");
		}
		st = end_local(&r);
	}
	if (st == IBV_WC_SUCCESS)
		errx(1, "%s: a window that is not bound was ended", how);
	printf("%s: %s\n", how, ibv_wc_status_str(st));
	destroy(&r);

	make(&r);
	bind_window(&r);
	must(end_remote(&r), "SEND with invalidate, afterwards");
	must(completion(&r, OURS).status, "its arrival, afterwards");
	bind_window(&r);
	must(end_local(&r), "LOCAL_INV, afterwards");
	destroy(&r);
	ibv_close_device(r.ctx);
	return 0;
}
