/* SPDX-License-Identifier: Apache-2.0 */
/* xprt_rdma_cm.c -- from an address to an established connection, as rdma_cm tells it
 *
 * What can fail: nobody has heard of the address, no device reaches it, nobody listens, the peer is
 * no pagewire or of another version. An address that no device reaches is followed by the next one
 * of the name.
 */
#include <errno.h>
#include <string.h>

#include "common/err.h"
#include "common/fault.h"
#include "common/xprt_rdma_impl.h"

#define ROUTE_MS 2000
/* The kernel asks the network for the address of the peer's device, and looks again when it is told
 * of the answer or when the time is over (drivers/infiniband/core/addr.c). An answer that comes
 * before it listens, as over veth or from a host that is near, is found only then: so the first
 * tries are short. Together they take 3.15 s. */
#define RESOLVE_FIRST_MS 50
#define RESOLVE_TRIES 6u
/* READs under way each way; more wait in the queue of the device. */
#define READS_MAX 16
/* Soft-iWARP (siw_cm.c of Linux 7.3) ignores what arrives before its accepting thread has gone on
 * from the reply, until something else arrives: our first message, where the machine is busy. What
 * follows it while it is not answered says nothing; kernel/patches has the mend. */
#define NUDGE_MS 250u
#define NUDGES_MAX (PW_RDMA_FEW - 2)
/* Of rdma_cm: the peer's consumer said no; the reasons of the network have other numbers. */
#define REJECT_NO_LISTENER 8

void pw_rdma_cm_param(struct pw_rdma *x, struct pw_rdma_cm *data, struct rdma_conn_param *p)
{
	const struct ibv_device_attr *a = &x->pd->dev->attr;

	pw_rdma_cm_init(data, (uint16_t)x->rx.given);
	x->rx.told = x->rx.given;
	*p = (struct rdma_conn_param){
		.private_data = data,
		.private_data_len = sizeof(*data),
		.responder_resources = (uint8_t)PW_MIN(a->max_qp_rd_atom, READS_MAX),
		.initiator_depth = (uint8_t)PW_MIN(a->max_qp_init_rd_atom, READS_MAX),
		.retry_count = 7,
		/* credits make sure that a receive is there: one that is missing is an error */
		.rnr_retry_count = 0,
	};
}

static void connect_now(struct pw_rdma *x)
{
	struct rdma_conn_param p;
	struct pw_rdma_cm data;
	int err;

	if (!pw_rdma_make_queues(x))
		return;
	pw_rdma_cm_param(x, &data, &p);
	err = PW_FAULT_ERR("rdma.connect", -ECONNREFUSED);
	if (!err && x->v->cm_connect(x->id, &p))
		err = pw_verbs_err();
	if (err)
		pw_rdma_failf(x, err, "connecting to %s: %s", x->peer, strerror(-err));
	else
		x->state = PW_RDMA_CONNECTING;
}

static void resolve_route(struct pw_rdma *x)
{
	int err = PW_FAULT_ERR("rdma.route", -EHOSTUNREACH);

	if (!err && x->v->cm_resolve_route(x->id, ROUTE_MS))
		err = pw_verbs_err();
	if (err)
		pw_rdma_failf(x, err, "no route to %s: %s", x->peer, strerror(-err));
	else
		x->state = PW_RDMA_ROUTE;
}

void pw_rdma_try_next(struct pw_rdma *x)
{
	struct sockaddr *src = x->local.ss_family ? (struct sockaddr *)&x->local : NULL;
	int err = -EADDRNOTAVAIL;

	for (; x->addr; x->addr = x->addr->ai_next, x->resolve_tries = 0) {
		int ms = RESOLVE_FIRST_MS << x->resolve_tries;

		if (x->id)
			x->v->cm_destroy_id(x->id);
		x->id = NULL;
		pw_addr_text(x->addr->ai_addr, x->peer, sizeof(x->peer));
		err = PW_FAULT_ERR("rdma.addr", -ENODEV);
		if (!err && x->v->cm_create_id(x->cm, &x->id, NULL, RDMA_PS_TCP)) {
			x->id = NULL;
			err = pw_verbs_err();
		}
		if (err)
			continue;
		x->state = PW_RDMA_ADDR;
		if (!x->v->cm_resolve_addr(x->id, src, x->addr->ai_addr, ms))
			return;
		err = pw_verbs_err();
	}
	pw_rdma_failf(x, err, "no RDMA device reaches %s: %s (ibv_devices lists them; "
		      "transport=tcp needs none)", x->peer, strerror(-err));
}

/* No answer yet: the same one again; otherwise the next. The id of this try can go only when its
 * event has gone back. */
static void next_addr(struct pw_rdma *x, int status)
{
	if (status != -ETIMEDOUT || ++x->resolve_tries == RESOLVE_TRIES) {
		x->resolve_tries = 0;
		x->addr = x->addr->ai_next;
	}
	if (!x->addr) {
		pw_rdma_failf(x, -ENODEV, "no RDMA device reaches %s (ibv_devices lists them; "
			      "transport=tcp needs none)", x->peer);
		return;
	}
	x->try_next = true;
	pw_loop_ready(x->loop, &x->ready);
}

void pw_rdma_on_nudge(struct pw_timer *t)
{
	struct pw_rdma *x = pw_container_of(t, struct pw_rdma, nudge);

	if (x->closing || x->rx.got)
		return;
	x->tx.nudge = true;
	pw_rdma_kick(x);
	if (++x->nudges < NUDGES_MAX)
		pw_timer_arm(x->loop, t, pw_loop_now(x->loop) + 4 * NUDGE_MS * PW_NS_PER_MS);
}

static void established(struct pw_rdma *x, const struct rdma_cm_event *e)
{
	struct pw_rdma_cm data;
	int err;

	if (x->node) {
		x->state = PW_RDMA_UP;
		return;
	}
	err = pw_rdma_cm_check(e->param.conn.private_data, e->param.conn.private_data_len, &data);
	if (err) {
		pw_rdma_failf(x, err, "%s is no pagewire node of our version", x->peer);
		return;
	}
	x->tx.limit = data.credits;
	x->state = PW_RDMA_UP;
	if (x->pd->dev->soft_iwarp)
		pw_timer_arm(x->loop, &x->nudge, pw_loop_now(x->loop) + NUDGE_MS * PW_NS_PER_MS);
	x->ops->on_connected(x->owner, x->peer);
	pw_rdma_kick(x);
}

static void rejected(struct pw_rdma *x, const struct rdma_cm_event *e)
{
	if (e->status == REJECT_NO_LISTENER || e->status == -ECONNREFUSED)
		pw_rdma_failf(x, -ECONNREFUSED, "connecting to %s: nobody listens there for RDMA",
			      x->peer);
	else
		pw_rdma_failf(x, -ECONNREFUSED, "connecting to %s: refused (reason %d)", x->peer,
			      e->status);
}

void pw_rdma_on_cm_event(struct pw_rdma *x, const struct rdma_cm_event *e)
{
	int err = e->status < 0 ? e->status : -EHOSTUNREACH;

	if (e->event == RDMA_CM_EVENT_DEVICE_REMOVAL) {
		/* no completion can be relied on, whatever else goes on */
		x->broken = true;
		if (x->pd)
			pw_rdma_dev_removed(x->pd->dev);
		pw_rdma_failf(x, -ENODEV, "the RDMA device was removed");
		pw_loop_ready(x->loop, &x->ready);
		return;
	}
	if (x->closing)
		return;
	switch (e->event) {
	case RDMA_CM_EVENT_ADDR_RESOLVED:
		resolve_route(x);
		return;
	case RDMA_CM_EVENT_ROUTE_RESOLVED:
		connect_now(x);
		return;
	case RDMA_CM_EVENT_ADDR_ERROR:
		next_addr(x, e->status);
		return;
	case RDMA_CM_EVENT_ESTABLISHED:
		established(x, e);
		return;
	case RDMA_CM_EVENT_REJECTED:
		rejected(x, e);
		return;
	case RDMA_CM_EVENT_ROUTE_ERROR:
	case RDMA_CM_EVENT_CONNECT_ERROR:
	case RDMA_CM_EVENT_UNREACHABLE:
		pw_rdma_failf(x, err, "connecting to %s: %s", x->peer,
			      x->v->cm_event_str(e->event));
		return;
	case RDMA_CM_EVENT_DISCONNECTED:
		/* what it said before it left is on the queue already */
		if (x->cq)
			pw_rdma_poll(x);
		pw_rdma_failf(x, -ECONNRESET, "closed by the peer");
		return;
	default:
		return; /* changes of addresses, the end of a wait: nothing to do */
	}
}

static void on_resolved(void *owner, int gai_err, struct addrinfo *addrs)
{
	struct pw_rdma *x = owner;

	x->lookup = NULL;
	x->addrs = x->addr = addrs;
	if (x->closing)
		pw_loop_ready(x->loop, &x->ready);
	else if (gai_err)
		pw_rdma_failf(x, gai_err == EAI_MEMORY ? -ENOMEM : -EHOSTUNREACH,
			      "name not resolved: %s", gai_strerror(gai_err));
	else
		pw_rdma_try_next(x);
}

int pw_rdma_connect(struct pw_loop *loop, const char *host, uint16_t port, const char *local,
		    const struct pw_xprt_ops *ops, void *owner, struct pw_xprt **ret)
{
	const struct pw_verbs *v;
	struct pw_rdma *x;
	socklen_t len;
	int err;

	if (strlen(host) >= NI_MAXHOST)
		return -EINVAL;
	err = pw_verbs_get(&v);
	if (err)
		return err;
	err = pw_rdma_new(loop, v, false, &x);
	if (err)
		return err;
	x->ops = ops;
	x->owner = owner;
	err = pw_addr_local(local, &x->local, &len);
	if (!err)
		err = pw_rdma_watch_cm(x);
	if (err)
		goto undo;
	*ret = &x->base;
	err = pw_addr_literal(host, port, &x->addrs);
	if (!err) {
		x->addr = x->addrs;
		pw_rdma_try_next(x);
		return 0;
	}
	if (err == -ENOENT)
		err = pw_addr_lookup_start(loop, host, port, on_resolved, x, &x->lookup);
	if (!err)
		return 0;
	/* the channel is watched already: ends as any connection that failed */
	pw_rdma_failf(x, err, "name not resolved: %s", pw_err_text(err));
	return 0;

undo:
	v->cm_destroy_event_channel(x->cm);
	x->cm = NULL;
	x->closed = true;
	pw_rdma_free(&x->base);
	return err;
}
