/* SPDX-License-Identifier: Apache-2.0 */
/* qp_pair.c -- two queue pairs of one device; see qp_pair.h */
#include <err.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "qp_pair.h"

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

int pair_options(struct qp_pair *p, int argc, char **argv)
{
	int c;

	p->gid_index = -1;
	while ((c = getopt(argc, argv, "d:g:")) != -1) {
		if (c == 'd')
			p->ctx = open_device(optarg);
		else if (c == 'g')
			p->gid_index = atoi(optarg);
		else
			return -1;
	}
	return p->ctx && p->gid_index >= 0 ? optind : -1;
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

static void to_ready(const struct qp_pair *p, struct ibv_qp *qp, uint32_t peer)
{
	struct ibv_qp_attr a = { .qp_state = IBV_QPS_RTR,
				 .path_mtu = IBV_MTU_1024,
				 .dest_qp_num = peer,
				 .max_dest_rd_atomic = 1,
				 .min_rnr_timer = 12,
				 .ah_attr = { .is_global = 1,
					      .port_num = 1,
					      .grh = { .sgid_index = (uint8_t)p->gid_index,
						       .hop_limit = 1 } } };
	struct ibv_qp_attr s = { .qp_state = IBV_QPS_RTS,
				 .timeout = 14,
				 .retry_cnt = 7,
				 .rnr_retry = 7,
				 .max_rd_atomic = 1 };

	if (ibv_query_gid(p->ctx, 1, p->gid_index, &a.ah_attr.grh.dgid))
		errx(1, "no GID %d", p->gid_index);
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

void pair_make(struct qp_pair *p)
{
	struct ibv_qp_init_attr a = { .qp_type = IBV_QPT_RC,
				      .cap = { .max_send_wr = PAIR_DEPTH,
					       .max_recv_wr = PAIR_DEPTH,
					       .max_send_sge = 1,
					       .max_recv_sge = 1 } };

	p->pd = ibv_alloc_pd(p->ctx);
	if (!p->pd)
		err(1, "protection domain");
	p->mr = ibv_reg_mr(p->pd, p->mem, p->bytes,
			   IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_MW_BIND);
	if (!p->mr)
		err(1, "memory");
	for (int i = 0; i < NR_ENDS; i++) {
		p->cq[i] = ibv_create_cq(p->ctx, 2 * PAIR_DEPTH, NULL, NULL, 0);
		if (!p->cq[i])
			err(1, "completion queue");
		a.send_cq = a.recv_cq = p->cq[i];
		p->qp[i] = ibv_create_qp(p->pd, &a);
		if (!p->qp[i])
			err(1, "queue pair");
		to_init(p->qp[i]);
	}
	for (int i = 0; i < NR_ENDS; i++)
		to_ready(p, p->qp[i], p->qp[!i]->qp_num);
}

void pair_destroy(struct qp_pair *p)
{
	for (int i = 0; i < NR_ENDS; i++)
		if ((p->qp[i] && ibv_destroy_qp(p->qp[i])) || ibv_destroy_cq(p->cq[i]))
			err(1, "queue pair cannot be destroyed");
	if (ibv_dereg_mr(p->mr) || ibv_dealloc_pd(p->pd))
		err(1, "memory is still in use");
}
