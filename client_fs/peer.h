/* SPDX-License-Identifier: Apache-2.0 */
/* peer.h -- the client's side of a session with one storage node
 *
 * A call is one request to the node. The peer gives it a slot (FIFO when none is free), sends it,
 * and calls done exactly once. It outlives connections: when one fails, the peer reconnects with
 * back-off and jitter, reclaims its opens on slot 0, and sends every unanswered call again with the
 * same slot and seq, so that the node applies it once. A mutation whose fate nobody knows (the node
 * lost our session) ends with -EIO rather than be applied twice; see WELCOME's SESSION_KNOWN.
 * Deadline: without timeout= a call waits for ever (the FUSE side lets a signal end the wait); with
 * it, a call that has waited that long while the node is unreachable ends with -EIO.
 * Thread: loop thread.      Allocates: at connect.      Must not know: FUSE.
 */
#ifndef PWC_PEER_H
#define PWC_PEER_H

#include "common/conn.h"
#include "common/list.h"
#include "common/loop.h"

struct pwc_peer;
struct pw_local_addr;
struct pwc_rails;

struct pwc_call {
	struct pw_list node; /* the peer's until done */
	struct pw_send send; /* the peer's; the caller fills send.cmd: op, body, payload_len */
	const void *payload; /* borrowed until done */
	void *out; /* where an answer payload lands; borrowed until done */
	uint32_t out_max;
	/* NULL; or the payload lies in these runs, or the answer's is to land there if the request
	 * has none. They have as many bytes as the payload, or @out_max; borrowed until done. Where
	 * the connection cannot do that (it may be one run of memory that its device does not
	 * know), they are copied: by way of @spare, or of @out. */
	const struct pw_runs *runs;
	void *spare;
	/* Set by the peer */
	uint16_t slot;
	uint8_t state; /* private to peer.c: see peer_impl.h */
	bool gathered; /* private to peer*.c: the connection takes @runs as they are */
	int lost; /* likewise: 0; -errno, why they cannot be read */
	void *owner; /* private to peer.c: the slot */
	bool aborted; /* the caller no longer wants it: see pwc_call_abort() */
	/* The caller's: it does not wait for a node that is away, but ends with -EHOSTDOWN. Only
	 * for what changes nothing. */
	bool brief;
	uint64_t start_ns;
	/* From the loop, never from within pwc_peer_call(). @err: 0 or -errno for the
	 * application. @rsp: the answer's command, valid during the call; NULL when @err is
	 * local. @out_len: bytes in @out. */
	void (*done)(struct pwc_call *c, int err, const struct pw_cmd *rsp, uint32_t out_len);
};

enum pwc_peer_state {
	PWC_PEER_IDLE, /* before start, after stop */
	PWC_PEER_CONNECTING, /* first connect */
	PWC_PEER_UP,
	PWC_PEER_RECLAIMING, /* connected; the node records us and what we have open */
	PWC_PEER_WAITING, /* back-off before the next try */
	PWC_PEER_STOPPING,
	PWC_PEER_DEAD, /* the node refused us for good: wrong key, version, other filesystem */
	PWC_PEER_NR_STATES
};

/* One more address of the node. */
struct pwc_rail_opt {
	char host[64];
	uint16_t port;
	char local[64]; /* address to connect from; "": any */
};

struct pwc_peer_opts {
	const char *host; /* copied */
	uint16_t port;
	const struct pwc_rail_opt *rails; /* more ways to the same node; copied */
	uint32_t nr_rails;
	struct pw_conn_opts conn;
	uint32_t timeout_ms; /* 0: wait for ever */
	uint32_t connect_wait_ms; /* first connect: how long to try before on_dead [10000] */
};

struct pwc_peer_ops {
	void (*on_up)(struct pwc_peer *p, bool first); /* usable (again) */
	void (*on_down)(struct pwc_peer *p, int err, const char *why); /* will try again */
	void (*on_dead)(struct pwc_peer *p, int err, const char *why); /* will not */
	/* Every inode that is open here, for RECLAIM: called after a connect until it returns
	 * false.
	 * @iter starts at 0. */
	bool (*next_open)(struct pwc_peer *p, uint64_t *iter, uint64_t *ino, uint32_t *opens);
	void (*on_stopped)(struct pwc_peer *p);
	/* Optional: the addresses of this host, at most @max, so that those which the node tells
	 * of can be used; without it they are not. Return: how many. */
	uint32_t (*locals)(struct pwc_peer *p, struct pw_local_addr *ret, uint32_t max);
};

int pwc_peer_new(struct pw_loop *loop, const struct pwc_peer_opts *o,
		 const struct pwc_peer_ops *ops, void *owner, struct pw_identity *id,
		 struct pwc_peer **ret);
void pwc_peer_free(struct pwc_peer *p); /* IDLE, DEAD or stopped */
void pwc_peer_start(struct pwc_peer *p);
/* GOODBYE, every call ends with -ESHUTDOWN, then on_stopped(). */
void pwc_peer_stop(struct pwc_peer *p);

/* Queues; never fails at once. */
void pwc_peer_call(struct pwc_peer *p, struct pwc_call *c);

/**
 * pwc_call_abort - the caller was interrupted
 *
 * A call that was never sent ends with -EINTR. One that was sent goes on: only its answer says that
 * its buffers are free; while the node is unreachable it ends with -EINTR once the connection is
 * drained, and the slot stays taken until its fate is known.
 */
void pwc_call_abort(struct pwc_peer *p, struct pwc_call *c);

/* Ends everything that waits with -EIO now, and whatever comes until the node is back (umount
 * -f). */
void pwc_peer_give_up(struct pwc_peer *p);

void *pwc_peer_owner(const struct pwc_peer *p);
enum pwc_peer_state pwc_peer_state(const struct pwc_peer *p);
uint32_t pwc_peer_max_io(const struct pwc_peer *p); /* bytes; after the first on_up */

struct pwc_peer_stats {
	uint64_t calls, replays, reconnects, timeouts, aborted, stall_slot;
	uint64_t failovers, moves; /* reconnects that took another way; of them in order */
	uint64_t runs[PW_GATHER_NR]; /* calls with runs, by what the connection said of them */
	uint64_t runs_copied; /* bytes, because it could not */
	uint32_t inflight, waiting, nr_slots;
	uint64_t down_since_ns; /* 0: up */
	struct pw_conn_stats conn; /* summed over connections */
};
void pwc_peer_get_stats(const struct pwc_peer *p, struct pwc_peer_stats *ret);
const char *pwc_peer_why_down(const struct pwc_peer *p); /* text, "" when up */
const char *pwc_peer_name(const struct pwc_peer *p);
const char *pwc_peer_transport(const struct pwc_peer *p);
/* Why it is not RDMA; "" when it is. */
const char *pwc_peer_no_rdma(const struct pwc_peer *p);
/* Every way to the node; cur is the one in use, or being tried. */
const struct pwc_rails *pwc_peer_rails(const struct pwc_peer *p);
/* The connection is about to end, or has ended, in order, because a better one is there. */
bool pwc_peer_is_moving(const struct pwc_peer *p);

#endif
