/* SPDX-License-Identifier: Apache-2.0 */
/* fake_cm.c -- ids and event channels of the connection manager, addresses and ports */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/fault.h"
#include "fake_cm.h"

int fake_errno(int err)
{
	errno = -err;
	return -1;
}

/* Addresses ---------------------------------------------------------------------------------- */

static uint16_t *port_in(struct sockaddr *sa)
{
	return sa->sa_family == AF_INET6 ? &((struct sockaddr_in6 *)(void *)sa)->sin6_port
					 : &((struct sockaddr_in *)(void *)sa)->sin_port;
}

static size_t size_of(const struct sockaddr *sa)
{
	return sa->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
}

static bool is_any(const struct sockaddr *sa)
{
	if (sa->sa_family == AF_INET6)
		return IN6_IS_ADDR_UNSPECIFIED(
			&((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr);
	return !((const struct sockaddr_in *)(const void *)sa)->sin_addr.s_addr;
}

/* The addresses of this host: loopback. */
static bool is_local(const struct sockaddr *sa)
{
	if (sa->sa_family == AF_INET6)
		return IN6_IS_ADDR_LOOPBACK(
			&((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr);
	return ntohl(((const struct sockaddr_in *)(const void *)sa)->sin_addr.s_addr) >> 24 == 127;
}

static bool port_is_taken(uint16_t port_be)
{
	struct pw_list *pos;

	pw_list_for_each(pos, &fake.ids) {
		struct fake_id *o = pw_list_entry(pos, struct fake_id, node);

		if (o->bound && *port_in(&o->ib.route.addr.src_addr) == port_be)
			return true;
	}
	return false;
}

static int take_port(struct fake_id *id)
{
	uint16_t *port = port_in(&id->ib.route.addr.src_addr);

	if (!*port)
		*port = htons(fake.next_port++);
	else if (port_is_taken(*port))
		return -EADDRINUSE;
	id->bound = true;
	return 0;
}

static bool has_device(void)
{
	return !fake_opts.no_device && !fake.removed;
}

/* Channels ----------------------------------------------------------------------------------- */

struct rdma_event_channel *fake_create_event_channel(void)
{
	int err = PW_FAULT_ERR("fake.create_event_channel", -EMFILE);
	struct fake_cm_channel *ch = err ? NULL : calloc(1, sizeof(*ch));

	if (!ch) {
		errno = err ? -err : ENOMEM;
		return NULL;
	}
	ch->ib.fd = fake_event_fd();
	if (ch->ib.fd < 0) {
		free(ch);
		return NULL;
	}
	pw_list_init(&ch->events);
	fake.count[FAKE_CM_CHANNEL]++;
	return &ch->ib;
}

void fake_destroy_event_channel(struct rdma_event_channel *channel)
{
	struct fake_cm_channel *ch = fake_cm_channel_of(channel);

	if (ch->nr_ids || ch->nr_unacked)
		fake_violation("an event channel is destroyed with %u ids and %u events not acked",
			       ch->nr_ids, ch->nr_unacked);
	close(ch->ib.fd);
	fake.count[FAKE_CM_CHANNEL]--;
	free(ch);
}

/* Ids ---------------------------------------------------------------------------------------- */

int fake_create_id(struct rdma_event_channel *channel, struct rdma_cm_id **ret, void *context,
		   enum rdma_port_space ps)
{
	int err = PW_FAULT_ERR("fake.create_id", -ENOMEM);
	struct fake_id *id;

	if (!err && (!channel || ps != RDMA_PS_TCP))
		err = -EINVAL;
	if (err)
		return fake_errno(err);
	id = calloc(1, sizeof(*id));
	if (!id)
		abort();
	id->ib.channel = channel;
	id->ib.context = context;
	id->ib.ps = ps;
	fake_cm_channel_of(channel)->nr_ids++;
	pw_list_add_tail(&fake.ids, &id->node);
	fake.count[FAKE_CM_ID]++;
	*ret = &id->ib;
	return 0;
}

int fake_destroy_id(struct rdma_cm_id *ib)
{
	struct fake_id *id = fake_id_of(ib);

	if (id->nr_got != id->nr_acked)
		fake_violation("destroying a cm id waits for ever for %u acks",
			       id->nr_got - id->nr_acked);
	if (ib->qp)
		fake_violation("a cm id is destroyed before its QP");
	fake_cm_forget(id);
	fake_cm_channel_of(ib->channel)->nr_ids--;
	pw_list_del(&id->node);
	fake.count[FAKE_CM_ID]--;
	free(id);
	return 0;
}

int fake_migrate_id(struct rdma_cm_id *ib, struct rdma_event_channel *channel)
{
	struct fake_cm_channel *from = fake_cm_channel_of(ib->channel);
	struct fake_cm_channel *to = fake_cm_channel_of(channel);
	int err = PW_FAULT("fake.migrate_id");
	struct fake_id *id = fake_id_of(ib);

	if (err)
		return fake_errno(err);
	if (id->nr_got != id->nr_acked)
		fake_violation("moving a cm id waits for ever for %u acks",
			       id->nr_got - id->nr_acked);
	for (struct pw_list *pos = from->events.next; pos != &from->events;) {
		struct fake_cm_ev *e = pw_list_entry(pos, struct fake_cm_ev, node);

		pos = pos->next;
		if (e->to != id)
			continue;
		fake_event_take(from->ib.fd, "an event that moves");
		pw_list_del(&e->node);
		pw_list_add_tail(&to->events, &e->node);
		fake_event_put(to->ib.fd);
	}
	from->nr_ids--;
	to->nr_ids++;
	ib->channel = channel;
	return 0;
}

int fake_set_option(struct rdma_cm_id *id, int level, int optname, void *optval, size_t optlen)
{
	int err = PW_FAULT("fake.set_option");

	return err ? fake_errno(err) : 0;
}

int fake_bind_addr(struct rdma_cm_id *ib, struct sockaddr *addr)
{
	int err = PW_FAULT_ERR("fake.bind_addr", -ENODEV);
	struct fake_id *id = fake_id_of(ib);

	if (!err && id->bound)
		err = -EINVAL;
	if (!err && !is_any(addr) && !is_local(addr))
		err = -EADDRNOTAVAIL;
	if (!err && !is_any(addr) && !has_device())
		err = -ENODEV;
	if (err)
		return fake_errno(err);
	memcpy(&ib->route.addr.src_storage, addr, size_of(addr));
	err = take_port(id);
	if (err)
		return fake_errno(err);
	if (!is_any(addr)) {
		ib->verbs = fake_context();
		ib->port_num = 1;
	}
	return 0;
}

int fake_resolve_addr(struct rdma_cm_id *ib, struct sockaddr *src, struct sockaddr *dst,
		      int timeout_ms)
{
	int err = PW_FAULT_ERR("fake.resolve_addr", -ENODEV);
	struct fake_id *id = fake_id_of(ib);

	if (!err && src && !is_local(src))
		err = -EADDRNOTAVAIL;
	if (err)
		return fake_errno(err);
	memcpy(&ib->route.addr.dst_storage, dst, size_of(dst));
	memcpy(&ib->route.addr.src_storage, src ? src : dst, size_of(dst));
	*port_in(&ib->route.addr.src_addr) = 0;
	err = PW_FAULT_ERR("fake.addr_error", -ETIMEDOUT);
	if (!err && fake_opts.unanswered) {
		fake_opts.unanswered--;
		err = -ETIMEDOUT;
	}
	if (!err && (!is_local(dst) || !has_device()))
		err = -ENODEV;
	if (!err)
		err = take_port(id);
	fake_cm_tell(id, err ? RDMA_CM_EVENT_ADDR_ERROR : RDMA_CM_EVENT_ADDR_RESOLVED, err);
	return 0;
}

int fake_resolve_route(struct rdma_cm_id *ib, int timeout_ms)
{
	int err = PW_FAULT("fake.resolve_route");

	if (!err && !ib->verbs)
		err = -EINVAL;
	if (err)
		return fake_errno(err);
	err = PW_FAULT_ERR("fake.route_error", -EHOSTUNREACH);
	fake_cm_tell(fake_id_of(ib), err ? RDMA_CM_EVENT_ROUTE_ERROR : RDMA_CM_EVENT_ROUTE_RESOLVED,
		     err);
	return 0;
}

int fake_cm_create_qp(struct rdma_cm_id *ib, struct ibv_pd *pd, struct ibv_qp_init_attr *attr)
{
	if (!ib->verbs || !pd || ib->qp)
		return fake_errno(-EINVAL);
	if (fake.removed)
		return fake_errno(-EIO);
	ib->qp = fake_create_qp(pd, attr);
	if (!ib->qp)
		return -1;
	ib->pd = pd;
	pw_container_of(ib->qp, struct fake_qp, ib)->id = ib;
	return 0;
}

void fake_cm_destroy_qp(struct rdma_cm_id *ib)
{
	fake_destroy_qp(ib->qp);
	ib->qp = NULL;
}

int fake_listen(struct rdma_cm_id *ib, int backlog)
{
	int err = PW_FAULT_ERR("fake.listen", -EADDRINUSE);
	struct fake_id *id = fake_id_of(ib);

	if (!err && (!id->bound || id->state != FAKE_ID_IDLE))
		err = -EINVAL;
	if (err)
		return fake_errno(err);
	id->state = FAKE_ID_LISTEN;
	id->backlog = backlog > 0 ? (uint32_t)backlog : 1024;
	return 0;
}

__be16 fake_get_src_port(struct rdma_cm_id *ib)
{
	return *port_in(&ib->route.addr.src_addr);
}

const char *fake_cm_event_str(enum rdma_cm_event_type event)
{
	static const char *const texts[] = {
		[RDMA_CM_EVENT_ADDR_RESOLVED] = "address resolved",
		[RDMA_CM_EVENT_ADDR_ERROR] = "address error",
		[RDMA_CM_EVENT_ROUTE_RESOLVED] = "route resolved",
		[RDMA_CM_EVENT_ROUTE_ERROR] = "route error",
		[RDMA_CM_EVENT_CONNECT_REQUEST] = "connect request",
		[RDMA_CM_EVENT_CONNECT_RESPONSE] = "connect response",
		[RDMA_CM_EVENT_CONNECT_ERROR] = "connect error",
		[RDMA_CM_EVENT_UNREACHABLE] = "unreachable",
		[RDMA_CM_EVENT_REJECTED] = "rejected",
		[RDMA_CM_EVENT_ESTABLISHED] = "established",
		[RDMA_CM_EVENT_DISCONNECTED] = "disconnected",
		[RDMA_CM_EVENT_DEVICE_REMOVAL] = "device removal",
		[RDMA_CM_EVENT_ADDR_CHANGE] = "address change",
		[RDMA_CM_EVENT_TIMEWAIT_EXIT] = "timewait exit",
	};

	return (size_t)event < PW_ARRAY_SIZE(texts) && texts[event] ? texts[event] : "unknown";
}
