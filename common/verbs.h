/* SPDX-License-Identifier: Apache-2.0 */
/* verbs.h -- the entry points of libibverbs and librdmacm, loaded when RDMA is first wanted
 *
 * A machine without these libraries runs everything over TCP, so nothing is linked against them:
 * pw_verbs_get() opens them once and fills a table. Members are named like the library's functions,
 * ibv_* without prefix and rdma_* with cm_, and keep their conventions (NULL or -1 and errno;
 * ibv_* with an int result return a positive errno); their callers turn these into -errno by
 * pw_verbs_err(). What <infiniband/verbs.h> has inline goes through the operations of the context
 * and is called by its own name: ibv_post_send(), ibv_post_recv(), ibv_post_srq_recv(),
 * ibv_poll_cq(), ibv_req_notify_cq(), ibv_alloc_mw(), ibv_dealloc_mw(), ibv_inc_rkey();
 * so are rdma_get_local_addr() and rdma_get_peer_addr().
 *
 * pw_verbs_get() is the link-time seam of the tests: they have one of their own, and no device.
 * Thread: any, once the first call has returned.
 */
#ifndef PW_VERBS_H
#define PW_VERBS_H

#include <errno.h>
#include <infiniband/verbs.h>
#include <rdma/rdma_cma.h>

#include "common/compiler.h"

struct pw_verbs {
	/* librdmacm: connections. Event channels are made nonblocking by their users. */
	struct rdma_event_channel *(*cm_create_event_channel)(void);
	void (*cm_destroy_event_channel)(struct rdma_event_channel *channel);
	int (*cm_create_id)(struct rdma_event_channel *channel, struct rdma_cm_id **id,
			    void *context, enum rdma_port_space ps);
	int (*cm_destroy_id)(struct rdma_cm_id *id);
	int (*cm_migrate_id)(struct rdma_cm_id *id, struct rdma_event_channel *channel);
	int (*cm_set_option)(struct rdma_cm_id *id, int level, int optname, void *optval,
			     size_t optlen);
	int (*cm_bind_addr)(struct rdma_cm_id *id, struct sockaddr *addr);
	int (*cm_resolve_addr)(struct rdma_cm_id *id, struct sockaddr *src, struct sockaddr *dst,
			       int timeout_ms);
	int (*cm_resolve_route)(struct rdma_cm_id *id, int timeout_ms);
	int (*cm_create_qp)(struct rdma_cm_id *id, struct ibv_pd *pd,
			    struct ibv_qp_init_attr *attr);
	void (*cm_destroy_qp)(struct rdma_cm_id *id);
	int (*cm_connect)(struct rdma_cm_id *id, struct rdma_conn_param *param);
	int (*cm_listen)(struct rdma_cm_id *id, int backlog);
	int (*cm_accept)(struct rdma_cm_id *id, struct rdma_conn_param *param);
	int (*cm_reject)(struct rdma_cm_id *id, const void *private_data,
			 uint8_t private_data_len);
	int (*cm_disconnect)(struct rdma_cm_id *id);
	int (*cm_get_cm_event)(struct rdma_event_channel *channel, struct rdma_cm_event **event);
	int (*cm_ack_cm_event)(struct rdma_cm_event *event);
	const char *(*cm_event_str)(enum rdma_cm_event_type event);
	__be16 (*cm_get_src_port)(struct rdma_cm_id *id);
	/* the contexts that ids have; they stay open as long as the list lives */
	struct ibv_context **(*cm_get_devices)(int *num_devices);
	void (*cm_free_devices)(struct ibv_context **list);

	/* libibverbs: devices */
	struct ibv_device **(*get_device_list)(int *num_devices);
	void (*free_device_list)(struct ibv_device **list);
	const char *(*get_device_name)(struct ibv_device *device);
	int (*query_device)(struct ibv_context *context, struct ibv_device_attr *attr);
	/* fills what struct ibv_port_attr has up to link_layer: zero it before */
	int (*query_port)(struct ibv_context *context, uint8_t port_num,
			  struct _compat_ibv_port_attr *attr);
	int (*query_gid)(struct ibv_context *context, uint8_t port_num, int index,
			 union ibv_gid *gid);
	int (*get_async_event)(struct ibv_context *context, struct ibv_async_event *event);
	void (*ack_async_event)(struct ibv_async_event *event);

	/* libibverbs: memory and queues */
	struct ibv_pd *(*alloc_pd)(struct ibv_context *context);
	int (*dealloc_pd)(struct ibv_pd *pd);
	struct ibv_mr *(*reg_mr)(struct ibv_pd *pd, void *addr, size_t length, int access);
	int (*dereg_mr)(struct ibv_mr *mr);
	/* optional, from rdma-core 34 on; NULL: it is older */
	struct ibv_mr *(*reg_dmabuf_mr)(struct ibv_pd *pd, uint64_t offset, size_t length,
					uint64_t iova, int fd, int access);
	struct ibv_comp_channel *(*create_comp_channel)(struct ibv_context *context);
	int (*destroy_comp_channel)(struct ibv_comp_channel *channel);
	struct ibv_cq *(*create_cq)(struct ibv_context *context, int cqe, void *cq_context,
				    struct ibv_comp_channel *channel, int comp_vector);
	int (*destroy_cq)(struct ibv_cq *cq);
	int (*get_cq_event)(struct ibv_comp_channel *channel, struct ibv_cq **cq,
			    void **cq_context);
	void (*ack_cq_events)(struct ibv_cq *cq, unsigned int nevents);
	struct ibv_srq *(*create_srq)(struct ibv_pd *pd, struct ibv_srq_init_attr *attr);
	int (*destroy_srq)(struct ibv_srq *srq);
	int (*modify_srq)(struct ibv_srq *srq, struct ibv_srq_attr *attr, int attr_mask);
	int (*modify_qp)(struct ibv_qp *qp, struct ibv_qp_attr *attr, int attr_mask);
	int (*query_qp)(struct ibv_qp *qp, struct ibv_qp_attr *attr, int attr_mask,
			struct ibv_qp_init_attr *init_attr);
	const char *(*wc_status_str)(enum ibv_wc_status status);
};

/**
 * pw_verbs_get - the table, or why there is none
 * @ret: set on success; for the life of the process
 *
 * The libraries are opened by the first call and never closed: providers keep state in them.
 * Return: 0; -ENOSYS when a library or one of its functions is missing, see pw_verbs_why().
 */
int pw_verbs_get(const struct pw_verbs **ret);

/* What is missing and which package brings it; "" after success and before the first call. */
const char *pw_verbs_why(void);

/* The errno of a call that returned NULL or -1, negative; -EIO if it set none. */
static inline int pw_verbs_err(void)
{
	int err = errno;

	return err ? -err : -EIO;
}

#endif
