/* SPDX-License-Identifier: Apache-2.0 */
/* peer_impl.h -- private to peer*.c */
#ifndef PWC_PEER_IMPL_H
#define PWC_PEER_IMPL_H

#include "client_fs/lineage.h"
#include "client_fs/peer.h"
#include "client_fs/rail.h"

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
	struct pw_conn *conn;
	enum pwc_peer_state state;
	bool was_up; /* has been usable */
	bool was_dead; /* before the stop */
	struct pwc_rails rails;
	bool again; /* the node asked to come again: over the same way */
	uint64_t up_ns; /* since when the connection is usable */
	uint8_t node_id[16]; /* known once was_up */
	/* RAILS that is coming in */
	struct pw_rail_addr offer[PW_RAILS_MAX];
	/* peer_probe.c */
	struct pw_conn *probe; /* owns; NULL until there is something to probe */
	struct pwc_pick probing;
	bool probe_void; /* rails have changed their places: the answer is for nobody */
	struct pw_timer probe_timer;
	/* peer_probe.c: on the way to a better rail */
	struct pwc_pick move_to;
	bool draining; /* nothing new is sent; what is out is awaited */
	bool moving; /* nothing is out: the connection ends, for the next one */
	struct pw_ready move_ready;
	struct pw_timer move_patience;
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
/* The node has our session on record and what we have open: send (again) what is not answered. */
void pwc_peer_usable(struct pwc_peer *p);
void pwc_peer_stats_add_conn(struct pwc_peer *p);

/* Not connected: ends the calls that do not wait for a node that is away. */
void pwc_calls_away(struct pwc_peer *p);
/* Stopping, and no connection is left. */
void pwc_calls_stop(struct pwc_peer *p);
/* What waits may go out again. */
void pwc_calls_go_on(struct pwc_peer *p);

/* peer_runs.c: of calls, with runs or without */
/* Says in c->send where the payload is, or where the answer may land; each time it is sent, as
 * another connection may be on another device. No window can be opened on a dma-buf. Return: 0;
 * -errno, its memory is gone or there is none to copy it by: there is nothing to be sent. */
int pwc_call_runs_post(struct pwc_peer *p, struct pwc_call *c);
/* Does an answer of @len bytes land in its runs by itself? */
bool pwc_call_is_direct(const struct pwc_call *c, uint32_t len);
/* Where it lands in one piece. */
void *pwc_call_out(const struct pwc_call *c, uint32_t len);

/* peer_rails.c */
int pwc_peer_rails_init(struct pwc_peer *p);
void pwc_peer_rails_fini(struct pwc_peer *p);
void pwc_peer_connect(struct pwc_peer *p);
/* The connection is down and drained: decide over which way, whether and when to try again. */
void pwc_peer_lost(struct pwc_peer *p, int err, const char *why);
void pwc_rails_on_offer(struct pw_conn *conn, const struct pw_body_rails *part);
void pwc_rails_on_usable(struct pwc_peer *p);
uint16_t pwc_pick_port(const struct pwc_peer *p, struct pwc_pick pick);
enum pw_transport pwc_pick_transport(struct pwc_pick pick);
const char *pwc_pick_why(struct pwc_pick pick, int err, char *buf, size_t len);
/* Stopping: the owner is told when nothing is left. */
void pwc_peer_stopped_check(struct pwc_peer *p);

/* peer_probe.c */
void pwc_probe_init(struct pwc_peer *p);
void pwc_probe_fini(struct pwc_peer *p);
/* Connected, or the rails have changed. */
void pwc_probe_arm(struct pwc_peer *p);
/* Not connected any more. */
void pwc_probe_away(struct pwc_peer *p);
void pwc_probe_stop(struct pwc_peer *p);
bool pwc_probe_is_stopped(const struct pwc_peer *p);

void pwc_reclaim_start(struct pwc_peer *p);
void pwc_reclaim_answer(struct pwc_peer *p, const struct pw_cmd *cmd);

#endif
