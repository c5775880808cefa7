/* SPDX-License-Identifier: Apache-2.0 */
/* fake_verbs.c -- the device, its events, begin and end; see fake_verbs.h */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/fault.h"
#include "fake_cm.h"
#include "fake_impl.h"

struct fake_opts fake_opts;
struct fake_stats fake_stats;
struct fake fake;

static const char *const object_names[FAKE_NR_OBJECTS] = {
	[FAKE_PD] = "protection domain",
	[FAKE_MR] = "memory region",
	[FAKE_MW] = "memory window",
	[FAKE_CQ] = "completion queue",
	[FAKE_COMP_CHANNEL] = "completion channel",
	[FAKE_QP] = "queue pair",
	[FAKE_SRQ] = "shared receive queue",
	[FAKE_CM_CHANNEL] = "event channel",
	[FAKE_CM_ID] = "cm id",
};

void fake_violation(const char *fmt, ...)
{
	va_list ap;

	fake.violations++;
	fprintf(stderr, "fake verbs, turn %llu: ", (unsigned long long)fake.turn);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

uint32_t fake_below(uint32_t n)
{
	fake.random = fake.random * 6364136223846793005u + 1442695040888963407u;
	return n ? (uint32_t)(fake.random >> 33) % n : 0;
}

uint64_t fake_later(void)
{
	return fake.turn + 1 + fake_below(fake_opts.max_delay + 1);
}

/* Event descriptors: one unit for each event ------------------------------------------------- */

int fake_event_fd(void)
{
	return eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE);
}

void fake_event_put(int fd)
{
	if (eventfd_write(fd, 1))
		fake_violation("an event descriptor is not one any more");
}

bool fake_event_take(int fd, const char *what)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	eventfd_t v;

	if (poll(&p, 1, 0) == 1)
		return !eventfd_read(fd, &v);
	if (!(fcntl(fd, F_GETFL) & O_NONBLOCK))
		fake_violation("%s would block for ever", what);
	errno = EAGAIN;
	return false;
}

/* Device ------------------------------------------------------------------------------------- */

static struct ibv_device **get_device_list(int *num_devices)
{
	struct ibv_device **list;
	int err = PW_FAULT_ERR("fake.get_device_list", -ENOMEM);

	if (err) {
		errno = -err;
		return NULL;
	}
	list = calloc(2, sizeof(struct ibv_device *));
	if (!list)
		return NULL;
	if (!fake_opts.no_device && !fake.removed)
		list[0] = &fake.device;
	if (num_devices)
		*num_devices = list[0] ? 1 : 0;
	return list;
}

static void free_device_list(struct ibv_device **list)
{
	free(list);
}

static struct ibv_context **cm_get_devices(int *num_devices)
{
	struct ibv_context **list;
	int err = PW_FAULT_ERR("fake.cm_get_devices", -ENOMEM);

	if (err) {
		errno = -err;
		return NULL;
	}
	list = calloc(2, sizeof(struct ibv_context *));
	if (!list)
		abort();
	if (!fake_opts.no_device && !fake.removed)
		list[0] = fake_context();
	if (num_devices)
		*num_devices = list[0] ? 1 : 0;
	fake.nr_device_lists++;
	return list;
}

static void cm_free_devices(struct ibv_context **list)
{
	fake.nr_device_lists--;
	free(list);
}

static const char *get_device_name(struct ibv_device *device)
{
	return device->name;
}

static int query_device(struct ibv_context *context, struct ibv_device_attr *attr)
{
	int err = PW_FAULT("fake.query_device");

	if (err)
		return -err;
	*attr = (struct ibv_device_attr){
		.fw_ver = "1",
		.phys_port_cnt = 1,
		.max_qp = (int)fake_opts.max_qp,
		.max_qp_wr = (int)fake_opts.max_qp_wr,
		.max_sge = (int)fake_opts.max_sge,
		.max_sge_rd = (int)fake_opts.max_sge_rd,
		.max_cq = (int)fake_opts.max_cq,
		.max_cqe = (int)fake_opts.max_cqe,
		.max_mr = (int)fake_opts.max_mr,
		.max_pd = (int)fake_opts.max_pd,
		.max_mw = (int)fake_opts.max_mw,
		.max_mr_size = fake_opts.max_mr_size,
		.page_size_cap = 0xfffff000,
		.max_qp_rd_atom = (int)fake_opts.max_rd_atom,
		.max_qp_init_rd_atom = (int)fake_opts.max_rd_atom,
		.max_srq = (int)fake_opts.max_srq,
		.max_srq_wr = (int)fake_opts.max_srq_wr,
		.max_srq_sge = (int)fake_opts.max_sge,
		.vendor_id = fake_opts.vendor_id,
		.device_cap_flags = IBV_DEVICE_MEM_MGT_EXTENSIONS,
	};
	if (fake_opts.max_mw)
		attr->device_cap_flags |= IBV_DEVICE_MEM_WINDOW | IBV_DEVICE_MEM_WINDOW_TYPE_2B;
	return 0;
}

static void port_attr(struct ibv_port_attr *a)
{
	a->state = IBV_PORT_ACTIVE;
	a->max_mtu = IBV_MTU_4096;
	a->active_mtu = IBV_MTU_1024;
	a->gid_tbl_len = 2;
	a->max_msg_sz = fake_opts.max_msg;
	a->phys_state = 5;
	a->link_layer = IBV_LINK_LAYER_ETHERNET;
}

static int query_port(struct ibv_context *context, uint8_t port_num,
		      struct _compat_ibv_port_attr *attr)
{
	struct ibv_port_attr a = { 0 };
	int err = PW_FAULT("fake.query_port");

	if (err)
		return -err;
	if (port_num != 1)
		return EINVAL;
	port_attr(&a);
	/* the old structure ends here */
	memcpy(attr, &a, offsetof(struct ibv_port_attr, flags));
	return 0;
}

static int query_gid(struct ibv_context *context, uint8_t port_num, int index, union ibv_gid *gid)
{
	int err = PW_FAULT_ERR("fake.query_gid", -EIO);

	if (err)
		return fake_errno(err);
	/* connections of the fake manager have the address of zeros */
	memset(gid, fake_opts.gid_gone ? 0xff : 0, sizeof(*gid));
	return 0;
}

/* Asynchronous events ------------------------------------------------------------------------ */

static bool is_of_qp(enum ibv_event_type type)
{
	return type == IBV_EVENT_QP_ACCESS_ERR || type == IBV_EVENT_QP_FATAL ||
	       type == IBV_EVENT_QP_REQ_ERR || type == IBV_EVENT_COMM_EST ||
	       type == IBV_EVENT_QP_LAST_WQE_REACHED;
}

static struct fake_async *async_new(enum ibv_event_type type)
{
	struct fake_async *a = calloc(1, sizeof(*a));

	if (!a)
		abort();
	a->ev.event_type = type;
	a->ev.element.port_num = 1;
	pw_list_add_tail(&fake.async, &a->node);
	fake_event_put(fake_context()->async_fd);
	return a;
}

void fake_async_put(enum ibv_event_type type, struct ibv_qp *qp)
{
	struct fake_async *a = async_new(type);

	if (qp)
		a->ev.element.qp = qp;
}

void fake_async_put_srq(enum ibv_event_type type, struct ibv_srq *srq)
{
	async_new(type)->ev.element.srq = srq;
}

void fake_async_put_cq(enum ibv_event_type type, struct ibv_cq *cq)
{
	async_new(type)->ev.element.cq = cq;
}

void fake_async_event(enum ibv_event_type type)
{
	fake_async_put(type, NULL);
}

static int get_async_event(struct ibv_context *context, struct ibv_async_event *event)
{
	struct fake_async *a;

	if (!fake_event_take(context->async_fd, "ibv_get_async_event"))
		return -1;
	a = pw_list_entry(pw_list_pop(&fake.async), struct fake_async, node);
	*event = a->ev;
	free(a);
	if (is_of_qp(event->event_type))
		pw_container_of(event->element.qp, struct fake_qp, ib)->async_got++;
	if (event->event_type == IBV_EVENT_CQ_ERR)
		pw_container_of(event->element.cq, struct fake_cq, ib)->async_got++;
	return 0;
}

static void ack_async_event(struct ibv_async_event *event)
{
	if (is_of_qp(event->event_type))
		event->element.qp->events_completed++;
	if (event->event_type == IBV_EVENT_CQ_ERR)
		event->element.cq->async_events_completed++;
}

/* What happens to people --------------------------------------------------------------------- */

void fake_break_qps(void)
{
	struct pw_list *pos;

	pw_list_for_each(pos, &fake.qps) {
		struct fake_qp *qp = pw_list_entry(pos, struct fake_qp, node);

		if (qp->ib.state == IBV_QPS_RTS)
			fake_qp_error(qp);
	}
}

void fake_remove_device(bool silent)
{
	struct pw_list *pos;

	fake.removed = true;
	fake.removed_silently = silent;
	fake_async_event(IBV_EVENT_DEVICE_FATAL);
	fake_cm_device_removal();
	if (!silent) {
		fake_break_qps();
		return;
	}
	pw_list_for_each(pos, &fake.qps)
		pw_list_entry(pos, struct fake_qp, node)->silent = true;
}

void fake_async_event_of_qps(enum ibv_event_type type)
{
	struct pw_list *pos;

	pw_list_for_each(pos, &fake.qps)
		fake_async_put(type, &pw_list_entry(pos, struct fake_qp, node)->ib);
}

void fake_async_event_of_srqs(enum ibv_event_type type)
{
	struct pw_list *pos;

	pw_list_for_each(pos, &fake.srqs)
		fake_async_put_srq(type, &pw_list_entry(pos, struct fake_srq, node)->ib);
}

void fake_turn(void)
{
	fake.turn++;
	fake_stats.turns++;
	fake_cm_turn();
	fake_nic_turn();
}

bool fake_is_idle(void)
{
	return fake_cm_is_idle() && fake_nic_is_idle();
}

/* Begin and end ------------------------------------------------------------------------------ */

static void device_init(void)
{
	struct ibv_context *c = fake_context();

	snprintf(fake.device.name, sizeof(fake.device.name), "fake0");
	snprintf(fake.device.dev_name, sizeof(fake.device.dev_name), "uverbs0");
	fake.device.node_type = fake_opts.iwarp ? IBV_NODE_RNIC : IBV_NODE_CA;
	fake.device.transport_type = fake_opts.iwarp ? IBV_TRANSPORT_IWARP : IBV_TRANSPORT_IB;
	fake.vctx.sz = sizeof(fake.vctx);
	c->device = &fake.device;
	c->num_comp_vectors = 1;
	c->cmd_fd = -1;
	c->async_fd = fake_event_fd();
	c->abi_compat = __VERBS_ABI_IS_EXTENDED;
	c->ops.alloc_mw = fake_alloc_mw;
	c->ops.dealloc_mw = fake_dealloc_mw;
	c->ops.poll_cq = fake_poll_cq;
	c->ops.req_notify_cq = fake_req_notify_cq;
	c->ops.post_send = fake_post_send;
	c->ops.post_recv = fake_post_recv;
	c->ops.post_srq_recv = fake_post_srq_recv;
}

void fake_begin(uint64_t seed)
{
	memset(&fake, 0, sizeof(fake));
	memset(&fake_stats, 0, sizeof(fake_stats));
	fake_opts = (struct fake_opts){
		.max_qp = 1024,
		.max_qp_wr = 16384,
		.max_cqe = 65536,
		.max_cq = 1024,
		.max_sge = FAKE_MAX_SGE,
		.max_sge_rd = FAKE_MAX_SGE,
		.max_mr = 65536,
		.max_pd = 1024,
		.max_inline = 400,
		.max_mw = 65536,
		.max_srq = 64,
		.max_srq_wr = 16384,
		.max_rd_atom = 128,
		.max_msg = 8u << 20,
		.max_mr_size = UINT64_MAX,
		.mr_fails_above = 1u << 30,
		.max_delay = 4,
		.retry_turns = 50,
	};
	for (struct pw_list *const *l =
		     (struct pw_list *const[]){ &fake.mrs, &fake.mws, &fake.cqs, &fake.srqs,
						&fake.qps, &fake.ids, &fake.wire, &fake.listeners,
						&fake.async, NULL };
	     *l; l++)
		pw_list_init(*l);
	fake.random = seed;
	fake.next_key = 1;
	fake.next_qpn = 0x11;
	fake.next_port = 20000;
	device_init();
}

void fake_be_siw(void)
{
	fake_opts.max_mw = 0;
	fake_opts.max_sge_rd = 1;
	fake_opts.iwarp = true;
	fake_opts.vendor_id = 0x626d74;
	fake.device.node_type = IBV_NODE_RNIC;
	fake.device.transport_type = IBV_TRANSPORT_IWARP;
}

uint32_t fake_count(enum fake_object what)
{
	return fake.count[what];
}

uint32_t fake_violations(void)
{
	return fake.violations;
}

uint32_t fake_forgive(void)
{
	uint32_t nr = fake.violations;

	fake.violations = 0;
	return nr;
}

uint32_t fake_end(void)
{
	for (uint32_t i = 0; i < FAKE_NR_OBJECTS; i++)
		if (fake.count[i])
			fake_violation("%u leaked: %s", fake.count[i], object_names[i]);
	if (fake.nr_device_lists)
		fake_violation("%u lists of devices leaked", fake.nr_device_lists);
	fake_cm_end();
	while (!pw_list_empty(&fake.async))
		free(pw_list_entry(pw_list_pop(&fake.async), struct fake_async, node));
	close(fake_context()->async_fd);
	return fake.violations;
}

/* The table ---------------------------------------------------------------------------------- */

static const char *wc_status_str(enum ibv_wc_status status)
{
	static const char *const texts[] = {
		[IBV_WC_SUCCESS] = "success",
		[IBV_WC_LOC_LEN_ERR] = "local length error",
		[IBV_WC_LOC_QP_OP_ERR] = "local QP operation error",
		[IBV_WC_LOC_PROT_ERR] = "local protection error",
		[IBV_WC_WR_FLUSH_ERR] = "Work Request Flushed Error",
		[IBV_WC_MW_BIND_ERR] = "memory management operation error",
		[IBV_WC_REM_ACCESS_ERR] = "remote access error",
		[IBV_WC_REM_INV_REQ_ERR] = "remote invalid request error",
		[IBV_WC_REM_OP_ERR] = "remote operation error",
		[IBV_WC_RETRY_EXC_ERR] = "transport retry counter exceeded",
		[IBV_WC_GENERAL_ERR] = "general error",
	};

	return (size_t)status < PW_ARRAY_SIZE(texts) && texts[status] ? texts[status] : "unknown";
}

const struct pw_verbs fake_table = {
	.cm_create_event_channel = fake_create_event_channel,
	.cm_destroy_event_channel = fake_destroy_event_channel,
	.cm_create_id = fake_create_id,
	.cm_destroy_id = fake_destroy_id,
	.cm_migrate_id = fake_migrate_id,
	.cm_set_option = fake_set_option,
	.cm_bind_addr = fake_bind_addr,
	.cm_resolve_addr = fake_resolve_addr,
	.cm_resolve_route = fake_resolve_route,
	.cm_create_qp = fake_cm_create_qp,
	.cm_destroy_qp = fake_cm_destroy_qp,
	.cm_connect = fake_connect,
	.cm_listen = fake_listen,
	.cm_accept = fake_accept,
	.cm_reject = fake_reject,
	.cm_disconnect = fake_disconnect,
	.cm_get_cm_event = fake_get_cm_event,
	.cm_ack_cm_event = fake_ack_cm_event,
	.cm_event_str = fake_cm_event_str,
	.cm_get_src_port = fake_get_src_port,
	.cm_get_devices = cm_get_devices,
	.cm_free_devices = cm_free_devices,

	.get_device_list = get_device_list,
	.free_device_list = free_device_list,
	.get_device_name = get_device_name,
	.query_device = query_device,
	.query_port = query_port,
	.query_gid = query_gid,
	.get_async_event = get_async_event,
	.ack_async_event = ack_async_event,

	.alloc_pd = fake_alloc_pd,
	.dealloc_pd = fake_dealloc_pd,
	.reg_mr = fake_reg_mr,
	.reg_dmabuf_mr = fake_reg_dmabuf_mr,
	.dereg_mr = fake_dereg_mr,
	.create_comp_channel = fake_create_comp_channel,
	.destroy_comp_channel = fake_destroy_comp_channel,
	.create_cq = fake_create_cq,
	.destroy_cq = fake_destroy_cq,
	.get_cq_event = fake_get_cq_event,
	.ack_cq_events = fake_ack_cq_events,
	.create_srq = fake_create_srq,
	.destroy_srq = fake_destroy_srq,
	.modify_srq = fake_modify_srq,
	.modify_qp = fake_modify_qp,
	.query_qp = fake_query_qp,
	.wc_status_str = wc_status_str,
};

int pw_verbs_get(const struct pw_verbs **ret)
{
	int err = fake_opts.no_library ? -ENOSYS : PW_FAULT_ERR("fake.load", -ENOSYS);

	if (!err)
		*ret = &fake_table;
	return err;
}

const char *pw_verbs_why(void)
{
	return fake_opts.no_library ? "libibverbs.so.1 is not installed" : "";
}
