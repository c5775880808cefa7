/* SPDX-License-Identifier: Apache-2.0 */
/* xprt_rdma.c -- one RDMA connection: its life, and the transport's table
 *
 * Happy path (client): literal address or resolver thread -> address -> device -> route -> queues
 * (xprt_rdma_qp.c) -> connect (xprt_rdma_cm.c) -> messages (xprt_rdma_tx.c, xprt_rdma_rx.c, what
 * the peer may reach: xprt_rdma_right.c) until pw_rdma_close(). The node's side begins in
 * xprt_rdma_listen.c.
 *
 * What can fail: each step reports to pw_rdma_failf(), which is pw_rdma_close(). The close itself
 * runs as a step of the loop: call off the resolver -> the queue pair ends and is drained -> no
 * descriptor is watched any more -> everything is destroyed, windows before registrations, queue
 * pair before completion queue before channel -> every message gets done(err) -> on_closed().
 * Buffers are borrowed until that.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/fault.h"
#include "common/xprt_rdma_impl.h"

/* Close --------------------------------------------------------------------------------------- */

void pw_rdma_close(struct pw_xprt *base, int err, const char *why)
{
	struct pw_rdma *x = pw_rdma_of(base);

	if (x->closing)
		return;
	x->closing = true;
	x->err = err;
	snprintf(x->why, sizeof(x->why), "%s", why);
	pw_flush_cancel(&x->tx.flush);
	pw_loop_ready(x->loop, &x->ready);
}

void pw_rdma_failf(struct pw_rdma *x, int err, const char *fmt, ...)
{
	char why[sizeof(x->why)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	pw_rdma_close(&x->base, err, why);
}

static void on_cm_unwatched(struct pw_fd *f)
{
	struct pw_rdma *x = pw_container_of(f, struct pw_rdma, cm_fd);

	x->cm_watched = false;
	pw_loop_ready(x->loop, &x->ready);
}

static void on_cq_unwatched(struct pw_fd *f)
{
	struct pw_rdma *x = pw_container_of(f, struct pw_rdma, cq_fd);

	x->cq_watched = false;
	pw_loop_ready(x->loop, &x->ready);
}

static void destroy(struct pw_rdma *x)
{
	pw_timer_cancel(x->loop, &x->look);
	pw_timer_cancel(x->loop, &x->nudge);
	pw_rdma_qp_fini(x);
	if (x->id)
		x->v->cm_destroy_id(x->id);
	x->id = NULL;
	if (x->cm)
		x->v->cm_destroy_event_channel(x->cm);
	x->cm = NULL;
	if (x->addrs)
		freeaddrinfo(x->addrs);
	x->addrs = NULL;
}

static void step_close(struct pw_rdma *x)
{
	if (x->lookup && !pw_addr_lookup_cancel(x->lookup))
		return;
	x->lookup = NULL;
	if (x->qp && !pw_rdma_qp_drain(x))
		return;
	pw_poller_stop(&x->cq_poller);
	if (x->cq_watched)
		pw_fd_stop(&x->cq_fd, on_cq_unwatched);
	if (x->cm_watched)
		pw_fd_stop(&x->cm_fd, on_cm_unwatched);
	pw_rdma_unwatch_device(x);
	if (x->cq_watched || x->cm_watched || x->async_watched)
		return;
	destroy(x);
	x->closed = true;
	x->ops->on_closed(x->owner, x->err, x->why);
}

static void step(struct pw_ready *r)
{
	struct pw_rdma *x = pw_container_of(r, struct pw_rdma, ready);

	if (x->closed)
		return;
	if (x->closing) {
		step_close(x);
	} else if (x->try_next) {
		x->try_next = false;
		pw_rdma_try_next(x);
	}
}

void pw_rdma_free(struct pw_xprt *base)
{
	struct pw_rdma *x = pw_rdma_of(base);

	assert(x->closed && !x->id && !x->cm);
	pw_ready_cancel(&x->ready);
	pw_flush_cancel(&x->tx.flush);
	free(x);
}

/* Begin --------------------------------------------------------------------------------------- */

static void on_cm_fd(struct pw_fd *f)
{
	struct pw_rdma *x = pw_container_of(f, struct pw_rdma, cm_fd);
	struct rdma_cm_event *e;

	while (!x->v->cm_get_cm_event(x->cm, &e)) {
		/* its private data is in there: judged before it goes back */
		pw_rdma_on_cm_event(x, e);
		x->v->cm_ack_cm_event(e);
	}
}

int pw_rdma_watch_cm(struct pw_rdma *x)
{
	int err;

	if (fcntl(x->cm->fd, F_SETFL, fcntl(x->cm->fd, F_GETFL) | O_NONBLOCK) < 0)
		return -errno;
	err = pw_fd_start(x->loop, &x->cm_fd, x->cm->fd, on_cm_fd);
	x->cm_watched = !err;
	return err;
}

int pw_rdma_new(struct pw_loop *loop, const struct pw_verbs *v, bool node, struct pw_rdma **ret)
{
	int err = PW_FAULT_ERR("rdma.alloc", -ENOMEM);
	struct pw_rdma *x = err ? NULL : calloc(1, sizeof(*x));

	if (!x)
		return -ENOMEM;
	x->cm = v->cm_create_event_channel();
	if (!x->cm) {
		err = pw_verbs_err();
		free(x);
		return err;
	}
	x->base.type = &pw_rdma_type;
	x->loop = loop;
	x->v = v;
	x->node = node;
	pw_ready_init(&x->ready, step);
	pw_list_init(&x->dev_node);
	pw_list_init(&x->cq_poller.node);
	pw_rdma_tx_init(x);
	pw_rdma_share_init(x);
	pw_timer_init(&x->look, pw_rdma_on_look);
	pw_timer_init(&x->nudge, pw_rdma_on_nudge);
	*ret = x;
	return 0;
}

/* Seen from outside --------------------------------------------------------------------------- */

static void rdma_get_stats(const struct pw_xprt *base, struct pw_conn_stats *ret)
{
	*ret = pw_rdma_of(base)->stats;
}

static const char *rdma_name(const struct pw_xprt *base)
{
	struct pw_rdma *x = pw_rdma_of(base);

	if (!*x->text && x->state == PW_RDMA_UP && !x->closing)
		pw_rdma_describe(x);
	return *x->text ? x->text : "rdma";
}

const struct pw_xprt_type pw_rdma_type = {
	.connect = pw_rdma_connect,
	.send = pw_rdma_send,
	.close = pw_rdma_close,
	.free = pw_rdma_free,
	.get_stats = rdma_get_stats,
	.name = rdma_name,
	.set_up = pw_rdma_set_up,
	.grant = pw_rdma_grant,
	.revoke = pw_rdma_revoke,
	.gathers = pw_rdma_gathers,
	.listen = pw_rdma_listen,
	.listener_port = pw_rdma_listener_port,
	.listener_free = pw_rdma_listener_free,
};
