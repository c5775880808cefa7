/* SPDX-License-Identifier: Apache-2.0 */
/* qp_pair.h -- two queue pairs of this process and of one device, connected to each other without a
 * connection manager
 *
 * For tests of the device itself: what fails ends the program with a message.
 */
#ifndef QP_PAIR_H
#define QP_PAIR_H

#include <time.h>

#include <infiniband/verbs.h>

#define PAIR_DEPTH 16u

enum { OURS, PEER, NR_ENDS };

struct qp_pair {
	struct ibv_context *ctx;
	int gid_index; /* -1: not known yet */
	struct ibv_pd *pd;
	struct ibv_mr *mr; /* of @mem: local and remote writes, windows */
	void *mem;
	size_t bytes;
	struct ibv_cq *cq[NR_ENDS];
	struct ibv_qp *qp[NR_ENDS];
};

/* -d DEVICE -g GID-INDEX. Return: the index of the first operand; -1: wrong usage. */
int pair_options(struct qp_pair *p, int argc, char **argv);
/* With the caller's @mem and @bytes. */
void pair_make(struct qp_pair *p);
/* What is left of it; a queue pair that is NULL has been destroyed. */
void pair_destroy(struct qp_pair *p);

static inline double seconds_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

#endif
