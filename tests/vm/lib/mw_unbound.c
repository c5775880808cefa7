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
#include <string.h>
#include <unistd.h>

#include "qp_pair.h"

#define LIMIT_S 60

static char mem[4096];
static struct ibv_mw *mw;

static void make(struct qp_pair *p)
{
	pair_make(p);
	mw = ibv_alloc_mw(p->pd, IBV_MW_TYPE_2);
	if (!mw)
		err(1, "window");
}

/* A window that is bound holds its queue pair. */
static void destroy(struct qp_pair *p)
{
	if (ibv_dealloc_mw(mw))
		err(1, "window");
	pair_destroy(p);
}

/* The next completion of an end; one that does not come is a device that has died. */
static struct ibv_wc completion(struct qp_pair *p, int end)
{
	struct ibv_wc wc;
	double limit = seconds_now() + LIMIT_S;
	int n;

	while (!(n = ibv_poll_cq(p->cq[end], 1, &wc))) {
		if (seconds_now() > limit)
			errx(1, "no completion in %d s: the device is dead", LIMIT_S);
		usleep(1000);
	}
	if (n < 0)
		errx(1, "poll");
	return wc;
}

static enum ibv_wc_status post(struct qp_pair *p, int end, struct ibv_send_wr wr)
{
	struct ibv_send_wr *bad;

	wr.send_flags = IBV_SEND_SIGNALED;
	if (ibv_post_send(p->qp[end], &wr, &bad))
		err(1, "post");
	return completion(p, end).status;
}

static void must(enum ibv_wc_status st, const char *what)
{
	if (st != IBV_WC_SUCCESS)
		errx(1, "%s: %s", what, ibv_wc_status_str(st));
}

static void bind_window(struct qp_pair *p)
{
	struct ibv_send_wr wr = { .opcode = IBV_WR_BIND_MW };

	wr.bind_mw.mw = mw;
	wr.bind_mw.rkey = ibv_inc_rkey(mw->rkey);
	wr.bind_mw.bind_info = (struct ibv_mw_bind_info){ .mr = p->mr,
							  .addr = (uintptr_t)mem,
							  .length = sizeof(mem),
							  .mw_access_flags =
								  IBV_ACCESS_REMOTE_WRITE };
	must(post(p, OURS, wr), "bind");
	mw->rkey = wr.bind_mw.rkey;
}

static enum ibv_wc_status end_local(struct qp_pair *p)
{
	return post(p, OURS, (struct ibv_send_wr){ .opcode = IBV_WR_LOCAL_INV,
						   .invalidate_rkey = mw->rkey });
}

static enum ibv_wc_status end_remote(struct qp_pair *p)
{
	struct ibv_recv_wr recv = { 0 }, *bad;

	if (ibv_post_recv(p->qp[OURS], &recv, &bad))
		err(1, "receive");
	return post(p, PEER, (struct ibv_send_wr){ .opcode = IBV_WR_SEND_WITH_INV,
						   .invalidate_rkey = mw->rkey });
}

int main(int argc, char **argv)
{
	struct qp_pair p = { .mem = mem, .bytes = sizeof(mem) };
	enum ibv_wc_status st;
	const char *how;
	int i;

	i = pair_options(&p, argc, argv);
	how = i > 0 && i + 1 == argc ? argv[i] : "";
	if (strcmp(how, "never") && strcmp(how, "local") && strcmp(how, "remote"))
		errx(2, "mw_unbound -d DEVICE -g GID-INDEX never|local|remote");
	setvbuf(stdout, NULL, _IOLBF, 0);

	make(&p);
	if (!strcmp(how, "remote")) {
		bind_window(&p);
		must(end_remote(&p), "first SEND with invalidate");
		must(completion(&p, OURS).status, "its arrival");
		/* who sent it may hear that it has arrived: the receiver is told what it was */
		end_remote(&p);
		st = completion(&p, OURS).status;
	} else {
		if (!strcmp(how, "local")) {
			bind_window(&p);
			must(end_local(&p), "first LOCAL_INV");
		}
		st = end_local(&p);
	}
	if (st == IBV_WC_SUCCESS)
		errx(1, "%s: a window that is not bound was ended", how);
	printf("%s: %s\n", how, ibv_wc_status_str(st));
	destroy(&p);

	make(&p);
	bind_window(&p);
	must(end_remote(&p), "SEND with invalidate, afterwards");
	must(completion(&p, OURS).status, "its arrival, afterwards");
	bind_window(&p);
	must(end_local(&p), "LOCAL_INV, afterwards");
	destroy(&p);
	ibv_close_device(p.ctx);
	return 0;
}
