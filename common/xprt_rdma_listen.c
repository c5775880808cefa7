/* SPDX-License-Identifier: Apache-2.0 */
/* xprt_rdma_listen.c -- a listening rdma_cm id; each connection gets an event channel of its own
 *
 * Requests come to the listener's channel. One that is no pagewire's is rejected, another becomes a
 * connection: its id moves to its own channel, queues are made, receives are posted, then it is
 * accepted. From on_accept() on it has an owner and fails like any other.
 *
 * A node registers its buffers before anybody comes: gigabytes take a while, and the loop stands
 * still. Devices that come later do it with their first connection.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "common/fault.h"
#include "common/log.h"
#include "common/xprt_rdma_impl.h"

#define BACKLOG 128
#define RNR_FOR_EVER 7

struct rdma_listener {
	struct pw_xprt_listener base;
	struct pw_loop *loop;
	const struct pw_verbs *v;
	struct rdma_event_channel *cm; /* owns */
	struct rdma_cm_id *id; /* owns */
	struct pw_fd fd;
	bool in_event, freed;
	uint16_t port;
	struct ibv_context **devices; /* owns; NULL: it is bound to one */
	struct pw_rdma_pd **pds; /* owns; references; nr_pds */
	uint32_t nr_pds;
	pw_xprt_accept_fn *on_accept;
	void *arg;
};

/* Devices ------------------------------------------------------------------------------------- */

/* Areas are registered in the domain of @ctx, if it is one for all connections. */
static int prepare_one(struct rdma_listener *l, struct ibv_context *ctx)
{
	struct pw_rdma_pd *pd;
	int err = pw_rdma_pd_get(l->v, ctx, true, &pd);

	if (err)
		return err;
	err = pd->shared ? pw_rdma_pd_register(pd) : 0;
	if (err || !pd->shared)
		pw_rdma_pd_put(pd);
	else
		l->pds[l->nr_pds++] = pd;
	return err;
}

/* For every address: a device that cannot do it is left to its first connection. */
static int prepare_all(struct rdma_listener *l)
{
	int nr = 0, err = 0;

	l->devices = l->v->cm_get_devices(&nr);
	if (!l->devices)
		return pw_verbs_err();
	l->pds = calloc((size_t)nr + 1, sizeof(struct pw_rdma_pd *));
	if (!l->pds)
		return -ENOMEM;
	for (int i = 0; i < nr; i++) {
		int e = prepare_one(l, l->devices[i]);

		if (e)
			pw_log_warn("listener port %u: memory not registered with %s: %s", l->port,
				    l->v->get_device_name(l->devices[i]->device), strerror(-e));
		err = e ? e : err;
	}
	return l->nr_pds ? 0 : err;
}

static int prepare(struct rdma_listener *l)
{
	assert(l->id); /* of open_id() */
	if (!l->id->verbs)
		return prepare_all(l);
	l->pds = calloc(1, sizeof(struct pw_rdma_pd *));
	return l->pds ? prepare_one(l, l->id->verbs) : -ENOMEM;
}

static void unprepare(struct rdma_listener *l)
{
	while (l->nr_pds)
		pw_rdma_pd_put(l->pds[--l->nr_pds]);
	free(l->pds);
	l->pds = NULL;
	if (l->devices)
		l->v->cm_free_devices(l->devices);
	l->devices = NULL;
}

/* Connections --------------------------------------------------------------------------------- */

/* The request has an owner now: what fails from here on reaches it by on_closed(). */
static void accept_now(struct pw_rdma *x, const struct rdma_conn_param *wanted)
{
	struct rdma_conn_param p;
	struct pw_rdma_cm data;
	int err = pw_rdma_watch_cm(x);

	if (err) {
		pw_rdma_failf(x, err, "no events of rdma_cm: %s", strerror(-err));
		return;
	}
	if (!pw_rdma_make_queues(x))
		return;
	pw_rdma_cm_param(x, &data, &p);
	p.responder_resources = PW_MIN(p.responder_resources, wanted->initiator_depth);
	p.initiator_depth = PW_MIN(p.initiator_depth, wanted->responder_resources);
	/* a neighbour that takes more than its share delays the client, it does not end it */
	if (x->share.srq)
		p.rnr_retry_count = RNR_FOR_EVER;
	x->state = PW_RDMA_CONNECTING;
	err = PW_FAULT_ERR("rdma.accept", -ENOMEM);
	if (!err && x->v->cm_accept(x->id, &p))
		err = pw_verbs_err();
	if (err)
		pw_rdma_failf(x, err, "not accepted: %s", strerror(-err));
}

/* @id is ours to destroy, its event has gone back. */
static void take(struct rdma_listener *l, struct rdma_cm_id *id,
		 const struct rdma_conn_param *wanted, const struct pw_rdma_cm *data)
{
	const struct pw_verbs *v = l->v;
	struct pw_rdma *x;
	int err = pw_rdma_new(l->loop, v, true, &x);

	if (err) {
		v->cm_reject(id, NULL, 0);
		v->cm_destroy_id(id);
		return;
	}
	x->id = id;
	x->tx.limit = data->credits;
	pw_addr_text(rdma_get_peer_addr(id), x->peer, sizeof(x->peer));
	err = v->cm_migrate_id(id, x->cm) ? pw_verbs_err() : 0;
	if (!err)
		err = l->on_accept(l->arg, &x->base, x->peer, &x->ops, &x->owner);
	if (!err) {
		if (!x->closing)
			accept_now(x, wanted);
		return;
	}
	v->cm_reject(id, NULL, 0);
	v->cm_destroy_id(id);
	v->cm_destroy_event_channel(x->cm);
	x->id = NULL;
	x->cm = NULL;
	x->closed = true;
	pw_rdma_free(&x->base);
}

/* Comes to a listener of one address, for its device. */
static void removed(struct rdma_listener *l)
{
	pw_log_warn("listener port %u: the RDMA device was removed", l->port);
	if (l->nr_pds)
		pw_rdma_dev_removed(l->pds[0]->dev);
	unprepare(l);
}

static void on_event(struct rdma_listener *l, struct rdma_cm_event *e)
{
	const struct rdma_conn_param *p = &e->param.conn;
	struct rdma_conn_param wanted = *p;
	struct rdma_cm_id *id = e->id;
	struct pw_rdma_cm data;
	int err;

	if (e->event == RDMA_CM_EVENT_DEVICE_REMOVAL)
		removed(l);
	if (e->event != RDMA_CM_EVENT_CONNECT_REQUEST) {
		l->v->cm_ack_cm_event(e);
		return;
	}
	err = pw_rdma_cm_check(p->private_data, p->private_data_len, &data);
	l->v->cm_ack_cm_event(e);
	if (err) {
		pw_log_rl(PW_LOG_INFO, "listener port %u: a connection that is no pagewire's of "
			  "our version", l->port);
		l->v->cm_reject(id, NULL, 0);
		l->v->cm_destroy_id(id);
		return;
	}
	take(l, id, &wanted, &data);
}

static void destroy(struct rdma_listener *l)
{
	unprepare(l);
	if (l->id)
		l->v->cm_destroy_id(l->id);
	if (l->cm)
		l->v->cm_destroy_event_channel(l->cm);
	free(l);
}

static void on_unwatched(struct pw_fd *f)
{
	destroy(pw_container_of(f, struct rdma_listener, fd));
}

static void on_fd(struct pw_fd *f)
{
	struct rdma_listener *l = pw_container_of(f, struct rdma_listener, fd);
	struct rdma_cm_event *e;

	l->in_event = true;
	while (!l->freed && !l->v->cm_get_cm_event(l->cm, &e))
		on_event(l, e);
	l->in_event = false;
	if (l->freed)
		pw_fd_stop(&l->fd, on_unwatched);
}

static int open_id(struct rdma_listener *l, struct sockaddr *sa)
{
	int err = PW_FAULT_ERR("rdma.listen", -EMFILE);

	if (err)
		return err;
	l->cm = l->v->cm_create_event_channel();
	if (!l->cm)
		return pw_verbs_err();
	if (fcntl(l->cm->fd, F_SETFL, fcntl(l->cm->fd, F_GETFL) | O_NONBLOCK) < 0)
		return -errno;
	if (l->v->cm_create_id(l->cm, &l->id, NULL, RDMA_PS_TCP)) {
		l->id = NULL;
		return pw_verbs_err();
	}
	if (l->v->cm_bind_addr(l->id, sa) || l->v->cm_listen(l->id, BACKLOG))
		return pw_verbs_err();
	l->port = ntohs(l->v->cm_get_src_port(l->id));
	return 0;
}

int pw_rdma_listen(struct pw_loop *loop, const char *host, uint16_t port,
		   pw_xprt_accept_fn *on_accept, void *arg, struct pw_xprt_listener **ret)
{
	const struct pw_verbs *v;
	struct rdma_listener *l;
	struct addrinfo *ai;
	int err;

	if (!host || !*host)
		return -EINVAL;
	err = pw_verbs_get(&v);
	if (err)
		return err;
	err = pw_addr_to_listen(host, port, &ai);
	if (err)
		return err;
	l = calloc(1, sizeof(*l));
	if (!l) {
		freeaddrinfo(ai);
		return -ENOMEM;
	}
	l->base.type = &pw_rdma_type;
	l->loop = loop;
	l->v = v;
	l->on_accept = on_accept;
	l->arg = arg;
	err = open_id(l, ai->ai_addr);
	if (!err)
		err = prepare(l);
	if (!err)
		err = pw_fd_start(loop, &l->fd, l->cm->fd, on_fd);
	freeaddrinfo(ai);
	if (err) {
		destroy(l);
		return err;
	}
	*ret = &l->base;
	return 0;
}

uint16_t pw_rdma_listener_port(const struct pw_xprt_listener *base)
{
	return pw_container_of(base, struct rdma_listener, base)->port;
}

void pw_rdma_listener_free(struct pw_xprt_listener *base)
{
	struct rdma_listener *l = pw_container_of(base, struct rdma_listener, base);

	l->freed = true;
	if (!l->in_event)
		pw_fd_stop(&l->fd, on_unwatched);
}
