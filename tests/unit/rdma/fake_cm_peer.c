/* SPDX-License-Identifier: Apache-2.0 */
/* fake_cm_peer.c -- what two ids do to each other: request, response, disconnect
 *
 *	active			wire			passive
 *	connect()		REQ ->			CONNECT_REQUEST, accept()
 *	ESTABLISHED		<- REP			its QP works from accept() on
 *	its QP works		RTU ->			ESTABLISHED, perhaps after messages
 *	disconnect()		DREQ ->			DISCONNECTED, disconnect()
 *	DISCONNECTED		<- DREP
 *
 * Events of one id stay in order, those of different ids do not. Without iWARP, private data
 * arrives padded with zeros to the size of its message, and a QP that breaks tells nobody.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/fault.h"
#include "fake_cm.h"

/* InfiniBand's: what is left of each message for a consumer of the TCP port space */
#define REQ_DATA 56u
#define REP_DATA 196u
#define REJ_DATA 148u

#define REJ_INVALID_SERVICE 8
#define REJ_CONSUMER	    28
#define DREP_TURNS	    60u /* without an answer to it, an end is an end */

/* Events on their way ------------------------------------------------------------------------ */

static struct fake_cm_ev *ev_new(enum rdma_cm_event_type type, int status)
{
	struct fake_cm_ev *e = calloc(1, sizeof(*e));

	if (!e)
		abort();
	e->ib.event = type;
	e->ib.status = status;
	e->due = fake_later();
	pw_list_add_tail(&fake.wire, &e->node);
	return e;
}

struct fake_cm_ev *fake_cm_tell(struct fake_id *to, enum rdma_cm_event_type type, int status)
{
	struct fake_cm_ev *e = ev_new(type, status);

	e->to = to;
	e->ib.id = &to->ib;
	e->due = to->last_due = PW_MAX(e->due, to->last_due);
	return e;
}

static int set_data(struct fake_cm_ev *e, const void *data, uint8_t len, uint8_t size)
{
	if (len)
		memcpy(e->data, data, len);
	e->ib.param.conn.private_data_len = fake_opts.iwarp ? len : size;
	return 0;
}

static bool data_fits(const struct rdma_conn_param *p, uint32_t size)
{
	return !p || p->private_data_len <= (fake_opts.iwarp ? 255 : size);
}

/* An end of a connection that was up, told once. */
static void tell_end(struct fake_id *id)
{
	struct fake_cm_ev *e;

	if (id->told_end)
		return;
	id->told_end = true;
	fake_cm_tell(id, RDMA_CM_EVENT_DISCONNECTED, 0);
	if (!fake_opts.iwarp) {
		e = fake_cm_tell(id, RDMA_CM_EVENT_TIMEWAIT_EXIT, 0);
		e->due += fake_below(20);
		id->last_due = e->due;
	}
}

/* Calls -------------------------------------------------------------------------------------- */

int fake_connect(struct rdma_cm_id *ib, struct rdma_conn_param *p)
{
	int err = PW_FAULT("fake.connect");
	struct fake_id *id = fake_id_of(ib);
	struct fake_cm_ev *e;

	if (!err && (id->state != FAKE_ID_IDLE || !ib->qp || !data_fits(p, REQ_DATA) ||
		     p->responder_resources > fake_opts.max_rd_atom ||
		     p->initiator_depth > fake_opts.max_rd_atom))
		err = -EINVAL;
	if (err)
		return fake_errno(err);
	id->state = FAKE_ID_REQ_SENT;
	id->depth = p->initiator_depth;
	id->resources = p->responder_resources;
	fake_stats.connects++;
	err = PW_FAULT_ERR("fake.unreachable", -ETIMEDOUT);
	if (err || fake_opts.blackhole) {
		fake_cm_tell(id, RDMA_CM_EVENT_UNREACHABLE, -ETIMEDOUT)->due += 20;
		return 0;
	}
	e = ev_new(RDMA_CM_EVENT_CONNECT_REQUEST, 0);
	e->from = id;
	/* as the passive end sees it */
	e->ib.param.conn.responder_resources = p->initiator_depth;
	e->ib.param.conn.initiator_depth = p->responder_resources;
	e->ib.param.conn.rnr_retry_count = p->rnr_retry_count;
	e->ib.param.conn.retry_count = p->retry_count;
	return set_data(e, p->private_data, p->private_data_len, REQ_DATA);
}

int fake_accept(struct rdma_cm_id *ib, struct rdma_conn_param *p)
{
	int err = PW_FAULT("fake.accept");
	struct fake_id *id = fake_id_of(ib);
	struct fake_qp *qp;
	struct fake_cm_ev *e;

	if (!err && (id->state != FAKE_ID_REQ_RCVD || !ib->qp || !data_fits(p, REP_DATA) ||
		     p->responder_resources > fake_opts.max_rd_atom ||
		     p->initiator_depth > fake_opts.max_rd_atom))
		err = -EINVAL;
	if (err)
		return fake_errno(err);
	qp = pw_container_of(ib->qp, struct fake_qp, ib);
	if (qp->ib.state == IBV_QPS_INIT)
		qp->ib.state = IBV_QPS_RTS;
	qp->may_read = p->initiator_depth && id->resources;
	qp->lets_read = p->responder_resources && id->depth;
	id->state = FAKE_ID_REP_SENT;
	if (!id->peer) {
		bool rejected = fake_below(2);

		fake_cm_tell(id, rejected ? RDMA_CM_EVENT_REJECTED : RDMA_CM_EVENT_UNREACHABLE,
			     rejected ? REJ_CONSUMER : -ETIMEDOUT);
		return 0;
	}
	e = fake_cm_tell(id->peer, RDMA_CM_EVENT_CONNECT_RESPONSE, 0);
	e->ib.param.conn.responder_resources = p->initiator_depth;
	e->ib.param.conn.initiator_depth = p->responder_resources;
	return set_data(e, p->private_data, p->private_data_len, REP_DATA);
}

static void tell_rejected(struct fake_id *id, int status, const void *data, uint8_t len)
{
	if (fake_opts.iwarp)
		status = -ECONNREFUSED;
	set_data(fake_cm_tell(id, RDMA_CM_EVENT_REJECTED, status), data, len, REJ_DATA);
}

int fake_reject(struct rdma_cm_id *ib, const void *data, uint8_t len)
{
	int err = PW_FAULT("fake.reject");
	struct fake_id *id = fake_id_of(ib);

	if (!err && (id->state != FAKE_ID_REQ_RCVD || (!fake_opts.iwarp && len > REJ_DATA)))
		err = -EINVAL;
	if (err)
		return fake_errno(err);
	id->state = FAKE_ID_OVER;
	if (id->peer) {
		tell_rejected(id->peer, REJ_CONSUMER, data, len);
		id->peer->peer = NULL;
		id->peer = NULL;
	}
	return 0;
}

int fake_disconnect(struct rdma_cm_id *ib)
{
	int err = PW_FAULT("fake.disconnect");
	struct fake_id *id = fake_id_of(ib);

	if (id->state < FAKE_ID_REQ_SENT)
		return fake_errno(-EINVAL);
	/* the first thing that it does, and what can fail comes after it */
	if (ib->qp)
		fake_qp_error(pw_container_of(ib->qp, struct fake_qp, ib));
	if (err)
		return fake_errno(err);
	if (id->state != FAKE_ID_UP && id->state != FAKE_ID_REP_SENT)
		return 0;
	id->state = FAKE_ID_LEAVING;
	id->left_turn = fake.turn;
	if (!id->peer) {
		tell_end(id);
	} else if (id->peer->state == FAKE_ID_LEAVING) {
		tell_end(id);
		tell_end(id->peer);
	} else {
		tell_end(id->peer);
	}
	return 0;
}

/* A QP of iWARP takes its connection with it. */
void fake_cm_qp_error(struct rdma_cm_id *ib)
{
	struct fake_id *id = fake_id_of(ib);

	if (id->state != FAKE_ID_UP && id->state != FAKE_ID_LEAVING &&
	    id->state != FAKE_ID_REP_SENT)
		return;
	/* behind ESTABLISHED, if that is on its way */
	tell_end(id);
	if (id->peer && (id->peer->state == FAKE_ID_UP || id->peer->state == FAKE_ID_REP_SENT))
		tell_end(id->peer);
}

void fake_cm_device_removal(void)
{
	struct pw_list *pos;

	pw_list_for_each(pos, &fake.ids) {
		struct fake_id *id = pw_list_entry(pos, struct fake_id, node);

		if (id->ib.verbs)
			fake_cm_tell(id, RDMA_CM_EVENT_DEVICE_REMOVAL, 0);
	}
}

void fake_power_off(struct rdma_cm_id *ib)
{
	struct fake_id *id = fake_id_of(ib);

	if (id->peer) {
		id->peer->peer = NULL;
		if (id->peer->state == FAKE_ID_REQ_SENT)
			fake_cm_tell(id->peer, RDMA_CM_EVENT_UNREACHABLE, -ETIMEDOUT);
	}
	id->peer = NULL;
	if (ib->qp)
		pw_container_of(ib->qp, struct fake_qp, ib)->silent = true;
}

/* The end of an id --------------------------------------------------------------------------- */

static void tell_peer_of_end(struct fake_id *id)
{
	struct fake_id *peer = id->peer;

	id->peer = NULL;
	if (!peer)
		return;
	peer->peer = NULL;
	switch (peer->state) {
	case FAKE_ID_REQ_SENT:
		tell_rejected(peer, REJ_CONSUMER, NULL, 0);
		break;
	case FAKE_ID_REP_SENT:
		if (fake_below(2))
			tell_rejected(peer, REJ_CONSUMER, NULL, 0);
		else
			fake_cm_tell(peer, RDMA_CM_EVENT_UNREACHABLE, -ETIMEDOUT);
		break;
	case FAKE_ID_UP:
	case FAKE_ID_LEAVING:
		tell_end(peer);
		break;
	default:
		break;
	}
}

static void forget_event(struct fake_cm_ev *e, struct fake_id *id, struct fake_cm_channel *ch)
{
	if (e->from == id)
		e->from = NULL;
	if (e->to != id)
		return;
	if (e->from)
		tell_rejected(e->from, REJ_INVALID_SERVICE, NULL, 0);
	if (ch)
		fake_event_take(ch->ib.fd, "an event of a dead id");
	pw_list_del(&e->node);
	free(e);
}

static void forget_on(struct pw_list *list, struct fake_id *id, struct fake_cm_channel *ch)
{
	for (struct pw_list *pos = list->next; pos != list;) {
		struct fake_cm_ev *e = pw_list_entry(pos, struct fake_cm_ev, node);

		pos = pos->next;
		forget_event(e, id, ch);
	}
}

void fake_cm_forget(struct fake_id *id)
{
	struct fake_cm_channel *own = fake_cm_channel_of(id->ib.channel);
	struct pw_list *pos;

	tell_peer_of_end(id);
	forget_on(&fake.wire, id, NULL);
	forget_on(&own->events, id, own);
	/* its request may wait at a listener of another channel */
	pw_list_for_each(pos, &fake.ids) {
		struct fake_id *o = pw_list_entry(pos, struct fake_id, node);
		struct fake_cm_channel *ch = fake_cm_channel_of(o->ib.channel);

		forget_on(&ch->events, id, ch);
	}
}

/* Delivery ----------------------------------------------------------------------------------- */

static struct fake_id *find_listener(const struct fake_id *from)
{
	struct rdma_cm_id probe = from->ib;
	struct pw_list *pos;

	probe.route.addr.src_storage = from->ib.route.addr.dst_storage;
	pw_list_for_each(pos, &fake.ids) {
		struct fake_id *id = pw_list_entry(pos, struct fake_id, node);

		if (id->state == FAKE_ID_LISTEN &&
		    fake_get_src_port(&id->ib) == fake_get_src_port(&probe))
			return id;
	}
	return NULL;
}

/* Return: false when it ends here. */
static bool find_way(struct fake_cm_ev *e)
{
	struct fake_id *l;

	if (e->to)
		return true;
	if (!e->from)
		return false; /* asked, and went away */
	l = find_listener(e->from);
	if (!l || l->nr_pending >= l->backlog) {
		tell_rejected(e->from, REJ_INVALID_SERVICE, NULL, 0);
		return false;
	}
	l->nr_pending++;
	e->to = l;
	return true;
}

static void deliver(struct fake_cm_ev *e)
{
	struct fake_cm_channel *ch;

	pw_list_del(&e->node);
	if (!find_way(e)) {
		free(e);
		return;
	}
	ch = fake_cm_channel_of(e->to->ib.channel);
	pw_list_add_tail(&ch->events, &e->node);
	fake_event_put(ch->ib.fd);
}

static bool is_packet(const struct fake_cm_ev *e)
{
	return e->ib.event != RDMA_CM_EVENT_ADDR_RESOLVED &&
	       e->ib.event != RDMA_CM_EVENT_ROUTE_RESOLVED &&
	       e->ib.event != RDMA_CM_EVENT_DEVICE_REMOVAL;
}

static void check_leaving(void)
{
	struct pw_list *pos;

	pw_list_for_each(pos, &fake.ids) {
		struct fake_id *id = pw_list_entry(pos, struct fake_id, node);

		if (id->state == FAKE_ID_LEAVING && fake.turn - id->left_turn > DREP_TURNS)
			tell_end(id);
	}
}

void fake_cm_turn(void)
{
	for (struct pw_list *pos = fake.wire.next; pos != &fake.wire;) {
		struct fake_cm_ev *e = pw_list_entry(pos, struct fake_cm_ev, node);

		pos = pos->next;
		if (e->due <= fake.turn && !(fake_opts.hold && is_packet(e)))
			deliver(e);
	}
	check_leaving();
}

bool fake_cm_is_idle(void)
{
	return pw_list_empty(&fake.wire);
}

void fake_cm_end(void)
{
	while (!pw_list_empty(&fake.wire))
		free(pw_list_entry(pw_list_pop(&fake.wire), struct fake_cm_ev, node));
}

/* Events for the user ------------------------------------------------------------------------ */

static void on_request(struct fake_cm_ev *e)
{
	struct fake_id *l = e->to, *id;
	struct rdma_cm_id *ib;

	id = calloc(1, sizeof(*id));
	if (!id)
		abort();
	l->nr_pending--;
	ib = &id->ib;
	ib->channel = l->ib.channel;
	ib->context = l->ib.context;
	ib->ps = RDMA_PS_TCP;
	ib->verbs = fake_context();
	ib->port_num = 1;
	id->state = FAKE_ID_REQ_RCVD;
	id->depth = e->ib.param.conn.responder_resources;
	id->resources = e->ib.param.conn.initiator_depth;
	id->peer = e->from;
	if (e->from) {
		e->from->peer = id;
		ib->route.addr.src_storage = e->from->ib.route.addr.dst_storage;
		ib->route.addr.dst_storage = e->from->ib.route.addr.src_storage;
	} else {
		ib->route.addr.src_storage = l->ib.route.addr.src_storage;
		ib->route.addr.dst_storage = l->ib.route.addr.src_storage;
	}
	fake_cm_channel_of(ib->channel)->nr_ids++;
	pw_list_add_tail(&fake.ids, &id->node);
	fake.count[FAKE_CM_ID]++;
	e->ib.id = ib;
	e->ib.listen_id = &l->ib;
}

/* librdmacm moves the QP and answers, before it shows the event. */
static void on_response(struct fake_cm_ev *e)
{
	struct fake_id *id = e->to;
	int err = PW_FAULT("fake.established");
	struct fake_qp *qp, *other;

	if (err || !id->ib.qp || id->ib.qp->state != IBV_QPS_INIT || !id->peer ||
	    !id->peer->ib.qp) {
		e->ib.event = RDMA_CM_EVENT_CONNECT_ERROR;
		e->ib.status = err ? err : -EINVAL;
		return;
	}
	qp = pw_container_of(id->ib.qp, struct fake_qp, ib);
	other = pw_container_of(id->peer->ib.qp, struct fake_qp, ib);
	qp->ib.state = IBV_QPS_RTS;
	qp->may_read = other->lets_read;
	qp->lets_read = other->may_read;
	qp->peer = other;
	other->peer = qp;
	e->ib.event = RDMA_CM_EVENT_ESTABLISHED;
	id->state = FAKE_ID_UP;
	if (id->peer->state == FAKE_ID_REP_SENT)
		fake_cm_tell(id->peer, RDMA_CM_EVENT_ESTABLISHED, 0);
}

int fake_get_cm_event(struct rdma_event_channel *channel, struct rdma_cm_event **ret)
{
	struct fake_cm_channel *ch = fake_cm_channel_of(channel);
	struct fake_cm_ev *e;

	if (!fake_event_take(channel->fd, "rdma_get_cm_event"))
		return -1;
	e = pw_list_entry(pw_list_pop(&ch->events), struct fake_cm_ev, node);
	switch (e->ib.event) {
	case RDMA_CM_EVENT_ADDR_RESOLVED:
		e->to->ib.verbs = fake_context();
		e->to->ib.port_num = 1;
		break;
	case RDMA_CM_EVENT_CONNECT_REQUEST:
		on_request(e);
		break;
	case RDMA_CM_EVENT_CONNECT_RESPONSE:
		on_response(e);
		break;
	case RDMA_CM_EVENT_ESTABLISHED:
		if (e->to->state == FAKE_ID_REP_SENT)
			e->to->state = FAKE_ID_UP;
		break;
	default:
		break;
	}
	e->ib.param.conn.private_data = e->ib.param.conn.private_data_len ? e->data : NULL;
	e->to->nr_got++;
	ch->nr_unacked++;
	*ret = &e->ib;
	return 0;
}

int fake_ack_cm_event(struct rdma_cm_event *event)
{
	struct fake_cm_ev *e = pw_container_of(event, struct fake_cm_ev, ib);

	e->to->nr_acked++;
	fake_cm_channel_of(e->to->ib.channel)->nr_unacked--;
	free(e);
	return 0;
}
