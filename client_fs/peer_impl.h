/* SPDX-License-Identifier: Apache-2.0 */
/* peer_impl.h -- private to peer.c, peer_reclaim.c, peer_status.c */
#ifndef PWC_PEER_IMPL_H
#define PWC_PEER_IMPL_H

#include "client_fs/lineage.h"
#include "client_fs/peer.h"

/*	IDLE -> WAITING -> POSTED -> IDLE		answered
 *			   POSTED -> PARKED -> POSTED	connection lost, then replayed
 *	WAITING, PARKED -> IDLE				signal, timeout, session lost, stop
 */
enum pwc_call_state {
	PWC_CALL_IDLE,
	PWC_CALL_WAITING, /* for a slot, or for the node */
	PWC_CALL_POSTED, /* sent; only its answer or on_down() ends it */
	PWC_CALL_PARKED, /* was sent on a connection that is gone */
};

struct pwc_slot {
	struct pw_list node; /* free_slots */
	struct pwc_peer *peer;
	struct pwc_call *call; /* borrowed until its end */
	uint64_t seq; /* of @call, or of the last one */
	uint16_t idx;
	bool sending; /* the transport still refers to the call's command and payload */
	bool answered; /* @rsp is set, but @sending */
	struct pw_cmd rsp;
};

struct pwc_peer {
	struct pw_loop *loop;
	const struct pwc_peer_ops *ops;
	void *owner;
	struct pw_identity *id;
	struct pwc_peer_opts opts;
	char *host;
	struct pw_conn *conn;
	enum pwc_peer_state state;
	bool was_up; /* has been usable */
	enum pw_transport transport; /* of the current try; never AUTO */
	bool rdma_failed; /* AUTO: the next try takes TCP */
	char no_rdma[256]; /* AUTO: why the last try over RDMA failed */
	struct pwc_lineage lineage; /* of the node's data, when it was up last */
	bool given_up; /* calls fail until the node is back */
	uint32_t backoff_ms;
	uint64_t incarnation;
	uint64_t start_ns;
	struct pw_timer retry, tick;
	struct pw_ready ready, abort_ready;
	struct pw_list waiting, posted, parked; /* struct pwc_call.node */
	struct pw_list free_slots;
	struct pwc_slot *slots; /* owned; slot 0 is for RECLAIM */
	uint32_t nr_slots, max_io, nr_waiting, inflight;
	/* RECLAIM in progress */
	struct pw_send reclaim_send;
	void *reclaim; /* owned: payload of reclaim_send */
	uint64_t reclaim_iter;
	bool reclaim_last;
	struct pwc_peer_stats stats;
	char why_down[256];
};

void pwc_peer_tick_arm(struct pwc_peer *p);
/* The connection is down and drained: decide whether and when to try again. */
void pwc_peer_lost(struct pwc_peer *p, int err, const char *why);
/* The node has our session on record and what we have open: send (again) what is not answered. */
void pwc_peer_usable(struct pwc_peer *p);
void pwc_peer_stats_add_conn(struct pwc_peer *p);

/* peer_transport.c */
void pwc_transport_pick(struct pwc_peer *p); /* before a connect */
uint16_t pwc_transport_port(const struct pwc_peer *p);
/* The connection ended with @err. Return: true, go on with another transport at once. */
bool pwc_transport_fall_back(struct pwc_peer *p, int err, const char *why);
/* RDMA was demanded, and this host has none. */
bool pwc_transport_is_hopeless(const struct pwc_peer *p, int err);
const char *pwc_transport_why(const struct pwc_peer *p, int err, char *buf, size_t len);

void pwc_reclaim_start(struct pwc_peer *p);
void pwc_reclaim_answer(struct pwc_peer *p, const struct pw_cmd *cmd);

#endif
