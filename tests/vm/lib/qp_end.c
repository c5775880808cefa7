/* SPDX-License-Identifier: Apache-2.0 */
/* qp_end.c -- end a queue pair while its peer goes on writing: it is gone at once, and the device
 * goes on
 *
 *	qp_end -d DEVICE -g GID-INDEX destroy|reset TIMES
 *
 *	destroy  destroyed as it is
 *	reset    moved to RESET, then destroyed
 *
 * Both queue pairs are of this process and this device. Each time it ends a little later than the
 * time before. Prints how long the longest end took.
 */
#include <err.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "qp_pair.h"

#define WRITE_BYTES (32u << 10)
#define STEP_US 61u
#define SPAN_US 3000u
#define LIMIT_S 20.0

static char mem[2 * WRITE_BYTES];

static void write_on(struct qp_pair *p)
{
	struct ibv_sge sge = { .addr = (uintptr_t)mem, .length = WRITE_BYTES, .lkey = p->mr->lkey };
	struct ibv_send_wr wr = { .opcode = IBV_WR_RDMA_WRITE, .sg_list = &sge, .num_sge = 1 };
	struct ibv_send_wr *bad;

	wr.wr.rdma.remote_addr = (uintptr_t)mem + WRITE_BYTES;
	wr.wr.rdma.rkey = p->mr->rkey;
	for (uint32_t i = 0; i < PAIR_DEPTH; i++)
		if (ibv_post_send(p->qp[PEER], &wr, &bad))
			err(1, "post");
}

static void end(struct qp_pair *p, bool reset)
{
	struct ibv_qp_attr a = { .qp_state = IBV_QPS_RESET };

	if (reset && ibv_modify_qp(p->qp[OURS], &a, IBV_QP_STATE))
		err(1, "RESET");
	if (ibv_destroy_qp(p->qp[OURS]))
		err(1, "destroy");
	p->qp[OURS] = NULL;
}

int main(int argc, char **argv)
{
	struct qp_pair p = { .mem = mem, .bytes = sizeof(mem) };
	int first = pair_options(&p, argc, argv);
	double longest = 0;
	bool reset;
	long times;

	if (first < 0 || first + 2 != argc ||
	    (strcmp(argv[first], "destroy") && strcmp(argv[first], "reset")))
		errx(2, "qp_end -d DEVICE -g GID-INDEX destroy|reset TIMES");
	reset = !strcmp(argv[first], "reset");
	times = atol(argv[first + 1]);
	for (long i = 0; i < times; i++) {
		double began;

		pair_make(&p);
		write_on(&p);
		usleep((unsigned int)i * STEP_US % SPAN_US);
		began = seconds_now();
		end(&p, reset);
		if (seconds_now() - began > longest)
			longest = seconds_now() - began;
		if (longest > LIMIT_S)
			errx(1, "time %ld: the end took %.0f s", i, longest);
		pair_destroy(&p);
	}
	printf("%s: %ld times, the longest took %.3f s\n", argv[first], times, longest);
	ibv_close_device(p.ctx);
	return 0;
}
