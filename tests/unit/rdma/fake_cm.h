/* SPDX-License-Identifier: Apache-2.0 */
/* fake_cm.h -- the connection manager of the fake verbs: entry points, and what its files share */
#ifndef FAKE_CM_H
#define FAKE_CM_H

#include "fake_impl.h"

#define FAKE_CM_DATA 256u

enum fake_id_state {
	FAKE_ID_IDLE,
	FAKE_ID_LISTEN,
	FAKE_ID_REQ_SENT, /* active */
	FAKE_ID_REQ_RCVD, /* passive: neither accepted nor rejected */
	FAKE_ID_REP_SENT, /* passive: accepted */
	FAKE_ID_UP,
	FAKE_ID_LEAVING, /* disconnected, the other end has not answered */
	FAKE_ID_OVER,
};

struct fake_id {
	struct rdma_cm_id ib;
	struct pw_list node; /* fake.ids */
	enum fake_id_state state;
	struct fake_id *peer;	      /* NULL: none, or gone */
	uint32_t nr_got, nr_acked; /* events */
	uint64_t left_turn; /* LEAVING: since when */
	uint64_t last_due; /* of the events on their way here: they stay in order */
	uint32_t backlog, nr_pending; /* LISTEN */
	bool bound; /* to a port */
	bool told_end; /* DISCONNECTED is on its way or was */
	uint8_t depth,
		resources; /* REQ_RCVD: READs that the other end will have under way, takes */
};

struct fake_cm_channel {
	struct rdma_event_channel ib;
	struct pw_list events; /* struct fake_cm_ev */
	uint32_t nr_ids, nr_unacked;
};

struct fake_cm_ev {
	struct rdma_cm_event ib;
	struct pw_list node; /* fake.wire, then on a channel */
	struct fake_id *to;   /* CONNECT_REQUEST: the listener, once it is found */
	struct fake_id *from; /* CONNECT_REQUEST: who asks; NULL: gone */
	uint64_t due; /* turn */
	uint8_t data[FAKE_CM_DATA];
};

static inline struct fake_id *fake_id_of(struct rdma_cm_id *id)
{
	return pw_container_of(id, struct fake_id, ib);
}

static inline struct fake_cm_channel *fake_cm_channel_of(struct rdma_event_channel *ch)
{
	return pw_container_of(ch, struct fake_cm_channel, ib);
}

/* fake_cm.c */
struct rdma_event_channel *fake_create_event_channel(void);
void fake_destroy_event_channel(struct rdma_event_channel *channel);
int fake_create_id(struct rdma_event_channel *channel, struct rdma_cm_id **id, void *context,
		   enum rdma_port_space ps);
int fake_destroy_id(struct rdma_cm_id *id);
int fake_migrate_id(struct rdma_cm_id *id, struct rdma_event_channel *channel);
int fake_set_option(struct rdma_cm_id *id, int level, int optname, void *optval, size_t optlen);
int fake_bind_addr(struct rdma_cm_id *id, struct sockaddr *addr);
int fake_resolve_addr(struct rdma_cm_id *id, struct sockaddr *src, struct sockaddr *dst,
		      int timeout_ms);
int fake_resolve_route(struct rdma_cm_id *id, int timeout_ms);
int fake_cm_create_qp(struct rdma_cm_id *id, struct ibv_pd *pd, struct ibv_qp_init_attr *attr);
void fake_cm_destroy_qp(struct rdma_cm_id *id);
int fake_listen(struct rdma_cm_id *id, int backlog);
const char *fake_cm_event_str(enum rdma_cm_event_type event);
__be16 fake_get_src_port(struct rdma_cm_id *id);
int fake_errno(int err); /* negative errno; return: -1, errno is set */

/* fake_cm_peer.c */
int fake_connect(struct rdma_cm_id *id, struct rdma_conn_param *param);
int fake_accept(struct rdma_cm_id *id, struct rdma_conn_param *param);
int fake_reject(struct rdma_cm_id *id, const void *private_data, uint8_t private_data_len);
int fake_disconnect(struct rdma_cm_id *id);
int fake_get_cm_event(struct rdma_event_channel *channel, struct rdma_cm_event **event);
int fake_ack_cm_event(struct rdma_cm_event *event);
struct fake_cm_ev *fake_cm_tell(struct fake_id *to, enum rdma_cm_event_type type, int status);
void fake_cm_forget(struct fake_id *id); /* it is about to be freed */

#endif
