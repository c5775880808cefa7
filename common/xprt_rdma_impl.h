/* SPDX-License-Identifier: Apache-2.0 */
/* xprt_rdma_impl.h -- what the xprt_rdma*.c files share; nobody else includes it
 *
 * Work requests complete in the order of the send queue. So everything that is on it is a job on
 * one list, in that order, with the number of its last work request; a completion with a number
 * ends all jobs up to it. The last request of every post is signalled: nothing stays unproved.
 * READs are the exception, each is signalled and ends by itself: soft-iWARP reports a SEND when it
 * has left, and a READ that was posted before it when its data is there.
 */
#ifndef PW_XPRT_RDMA_IMPL_H
#define PW_XPRT_RDMA_IMPL_H

#include "common/addr.h"
#include "common/rdma_srq.h"
#include "common/rdma_wire.h"
#include "common/uring.h"
#include "common/xprt_impl.h"

/* Messages each way before the peer has proved the key: HELLO and PROOF, and what gives credit. */
#define PW_RDMA_FEW 4u
/* Afterwards one for each slot and some for the rest: PING, PONG, GOODBYE, PULLED, credits. */
#define PW_RDMA_BESIDE 8u
/* Never more than this; who has more slots waits for credit. */
#define PW_RDMA_DEPTH_MAX (128u + PW_RDMA_BESIDE)
#define PW_RDMA_SQ_MAX 512u
#define PW_RDMA_POST_MAX 64u /* work requests with one doorbell */
#define PW_RDMA_POST_SGES (2 * PW_RDMA_POST_MAX) /* and the pieces of memory that they have */
/* The most that one item needs of the send queue, beside the pieces of its payload. */
#define PW_RDMA_ROOM 3u
/* Of wr_id: it is of the send queue; receives have small numbers. */
#define PW_RDMA_SEND_BIT (1ull << 63)
/* Of wr_id: the number of the request; of a READ also its slot. */
#define PW_RDMA_READ_BIT (1ull << 62)
#define PW_RDMA_READ_SLOT_SHIFT 48
#define PW_RDMA_NUMBER_MASK ((1ull << PW_RDMA_READ_SLOT_SHIFT) - 1)
/* Signalled at the latest after so many. */
#define PW_RDMA_SIGNAL_EVERY 16u

struct pw_rdma;

/* Something on the send queue. */
struct pw_rdma_job {
	struct pw_list node; /* of tx.flying; on no list: not posted */
	uint64_t last_wr; /* its number on the send queue */
	/* @err: 0; or the queue pair is gone and it may or may not have happened */
	void (*done)(struct pw_rdma *x, struct pw_rdma_job *j, int err);
};

/* A message on its way out. */
struct pw_rdma_out {
	struct pw_rdma_job job;
	struct pw_list free_node;
	uint8_t *buf; /* head, grants, command, copied payload */
	uint32_t lkey;
	struct pw_send *s; /* borrowed until done; NULL: none of conn.c's, or held by a pull */
	struct ibv_mr *mr; /* owns; a payload that lies in no area, for this message only */
	struct pw_rdma_slot *slot; /* whose request or answer it is; NULL: of none */
	bool awaited; /* somebody waits for its completion, not only for what it brings about */
};

/* One allocation of message buffers. */
struct pw_rdma_bufs {
	uint8_t *mem; /* owns */
	struct ibv_mr *mr; /* owns */
	struct pw_rdma_in *in; /* owns; nr_in, none if receives are shared */
	struct pw_rdma_out *out; /* owns; nr_out */
	uint32_t nr_in, nr_out;
};

/* Memory that the peer may reach, as long as it is open. */
struct pw_rdma_right {
	struct ibv_mw *mw; /* owns; made when it is first opened on a device with windows */
	struct ibv_mr *mr; /* owns; on one without, or for memory of no area */
	uint8_t *base;
	uint32_t len, rkey;
	bool open;
};

struct pw_rdma_slot {
	uint16_t idx;
	/* node: what requests write to; client: where to (grant.base is not used) */
	struct pw_rdma_right grant;
	uint64_t remote_addr; /* client: of the grant */
	/* node: what the grant shall be, while it is on tx.grants */
	struct pw_list grant_node; /* tx.grants, then tx.tell */
	uint8_t *want;
	uint32_t want_len;
	struct pw_revoke *revoke; /* node: borrowed until it is done; no grant goes out before */
	struct pw_rdma_job grant_job; /* node: end of a grant that was revoked */
	struct pw_rdma_out *out; /* of its request or answer, until the device has let go of it */
	/* client: where the answer may be written. Node: what the client has opened for that. */
	struct pw_rdma_right window;
	uint64_t window_addr; /* node */
	/* node: an answer that the client reads. Client: the answer that it reads. */
	struct pw_rdma_right pull;
	struct pw_send *pulled; /* node: borrowed until the client has read it */
	struct pw_rdma_in *held; /* client: the answer that waits for @job */
	uint32_t nr_reads; /* client: pieces of the read that were not reported */
	struct pw_rdma_job job; /* client: end of the window, then the read; node: end of pull */
	struct pw_list todo_node; /* tx.todo */
	enum {
		PW_RDMA_TODO_NONE,
		PW_RDMA_TODO_CLOSE_WINDOW, /* client */
		PW_RDMA_TODO_READ, /* client */
		PW_RDMA_TODO_TELL_PULLED, /* client */
		PW_RDMA_TODO_CLOSE_PULL, /* node */
	} todo;
};

struct pw_rdma_tx {
	struct pw_flush flush;
	struct pw_list queue; /* pw_send.node; borrows until done */
	struct pw_list flying; /* pw_rdma_job.node, in the order of the send queue */
	struct pw_list reading; /* pw_rdma_job.node; READs, which may be reported late */
	struct pw_list free; /* pw_rdma_out.free_node */
	struct pw_list grants; /* pw_rdma_slot.grant_node: to be bound */
	struct pw_list tell; /* pw_rdma_slot.grant_node: bound, the client is to know */
	struct pw_list todo; /* pw_rdma_slot.todo_node */
	bool nudge; /* a message that says nothing is to follow the first one */
	uint64_t posted, completed; /* numbers of work requests */
	uint32_t unsignaled; /* since the last signalled one */
	uint32_t sent, limit; /* messages; of them allowed by the peer */
	/* prepared, not posted */
	struct ibv_send_wr wr[PW_RDMA_POST_MAX];
	struct ibv_sge sge[PW_RDMA_POST_SGES];
	uint32_t nr_wr, nr_sge; /* nr_sge: those of all but the last one */
};

struct pw_rdma_rx {
	uint32_t out; /* receives of its own that the device has */
	uint32_t given; /* credits given in all: receives ever posted */
	uint32_t told; /* of them, told to the peer */
	uint32_t got; /* messages, of the told ones */
	uint32_t depth; /* so many shall be given and not used */
	uint32_t depth_max; /* and so many at most, from a shared queue */
};

enum pw_rdma_state {
	PW_RDMA_NAME, /* the resolver runs */
	PW_RDMA_ADDR,
	PW_RDMA_ROUTE,
	PW_RDMA_CONNECTING, /* or accepted, until it is established */
	PW_RDMA_UP
};

/* What makes the completion queue bring its next event. */
enum pw_rdma_armed {
	PW_RDMA_UNARMED,
	PW_RDMA_ARMED_FOR_PEER, /* what the peer sends */
	PW_RDMA_ARMED_FOR_ALL
};

struct pw_rdma {
	struct pw_xprt base;
	struct pw_loop *loop;
	const struct pw_verbs *v;
	const struct pw_xprt_ops *ops;
	void *owner;
	bool node; /* this end is the node's */
	enum pw_rdma_state state;
	bool closing, closed;
	bool broken; /* completions cannot be relied on: destroying the queue pair is the proof */
	bool flushed; /* the queue pair was told to end */
	bool unproved; /* a post failed half way: what is on the queue has no signal behind it */
	int err;
	char why[192];
	struct pw_ready ready; /* steps the close, or tries the next address */

	struct pw_addr_lookup *lookup; /* shared with a thread; NULL: none runs */
	struct addrinfo *addrs, *addr; /* owns; the one that is being tried */
	uint32_t resolve_tries; /* of addr, without an answer */
	bool try_next; /* the one before it is no use, or has no answer yet */
	struct sockaddr_storage local; /* to connect from; family 0: any */
	struct rdma_event_channel *cm; /* owns */
	struct rdma_cm_id *id; /* owns */
	struct pw_fd cm_fd, cq_fd, async_fd;
	bool cm_watched, cq_watched, async_watched;
	char peer[64];
	char text[128]; /* pw_rdma_describe() */

	struct pw_rdma_pd *pd; /* a reference */
	struct pw_list dev_node; /* of pd->dev->conns */
	struct ibv_comp_channel *channel; /* owns */
	struct ibv_cq *cq; /* owns */
	struct ibv_qp *qp; /* owns; id->qp */
	struct pw_poller cq_poller;
	uint32_t unacked; /* events of the completion queue */
	uint32_t expected; /* of them, at most: it was armed so often since */
	enum pw_rdma_armed armed;
	struct pw_rdma_member share; /* node: of the receives of all */
	struct pw_timer patience; /* with the end of its receives there */
	struct pw_timer look; /* at completions that bring no event */
	struct pw_timer nudge; /* client: with the answer to its first message */
	uint32_t nudges;
	bool last_wqe; /* it takes no more of them, the device says */
	bool impatient;
	bool cq_failed; /* it may have lost completions */
	struct pw_rdma_limits limits;
	uint32_t max_inline;

	struct pw_rdma_bufs few, many;
	struct pw_rdma_slot *slots; /* owns; NULL before set_up */
	uint32_t nr_slots;
	struct pw_rdma_tx tx;
	struct pw_rdma_rx rx;
	struct pw_conn_stats stats;
};

static inline struct pw_rdma *pw_rdma_of(const struct pw_xprt *base)
{
	return pw_container_of(base, struct pw_rdma, base);
}

/* xprt_rdma.c: life */
int pw_rdma_new(struct pw_loop *loop, const struct pw_verbs *v, bool node, struct pw_rdma **ret);
/* Watches its own event channel, which has @x->id on it. */
int pw_rdma_watch_cm(struct pw_rdma *x);
void pw_rdma_close(struct pw_xprt *base, int err, const char *why);
void pw_rdma_failf(struct pw_rdma *x, int err, const char *fmt, ...) PW_PRINTF(3, 4);
void pw_rdma_free(struct pw_xprt *base);

/* xprt_rdma_text.c: fills x->text; the connection is up */
void pw_rdma_describe(struct pw_rdma *x);

/* xprt_rdma_async.c: what happens to the device; from having a domain until unwatched. Return: 0;
 * -errno. */
int pw_rdma_watch_device(struct pw_rdma *x);
void pw_rdma_unwatch_device(struct pw_rdma *x);

/* xprt_rdma_cm.c: connections as rdma_cm sees them */
int pw_rdma_connect(struct pw_loop *loop, const char *host, uint16_t port, const char *local,
		    const struct pw_xprt_ops *ops, void *owner, struct pw_xprt **ret);
/* Asks for a device that reaches x->addr, or the next one. */
void pw_rdma_try_next(struct pw_rdma *x);
/* Queues, buffers, receives for x->id, which has a device; false: the connection has failed. In
 * xprt_rdma_qp.c. */
bool pw_rdma_make_queues(struct pw_rdma *x);
void pw_rdma_cm_param(struct pw_rdma *x, struct pw_rdma_cm *data, struct rdma_conn_param *p);
void pw_rdma_on_nudge(struct pw_timer *t);
void pw_rdma_on_cm_event(struct pw_rdma *x, const struct rdma_cm_event *e);

/* xprt_rdma_qp.c: queues, message buffers, the end of them */
void pw_rdma_qp_fini(struct pw_rdma *x);
/* Tells the queue pair to end. Return: true, nothing is with the device any more. */
bool pw_rdma_qp_drain(struct pw_rdma *x);
void pw_rdma_set_up(struct pw_xprt *base, uint32_t nr_slots);

/* xprt_rdma_share.c: receives from a queue that all connections of a node share */
void pw_rdma_share_init(struct pw_rdma *x);
/* Before there is a queue pair; x->share.srq stays NULL where nothing is shared. Return: 0;
 * -errno. */
int pw_rdma_share_begin(struct pw_rdma *x);
/* The first credits; at most @depth_max later. Return: 0; -ENOMEM; -ENOSPC; -errno. */
int pw_rdma_share_open(struct pw_rdma *x, uint32_t depth_max);
/* A completion; NULL: the connection has failed. */
struct pw_rdma_in *pw_rdma_share_take(struct pw_rdma *x, uint64_t id);
void pw_rdma_share_back(struct pw_rdma *x, struct pw_rdma_in *in);
/* The queue pair was told to end. Return: true, no more of its receives will come back. */
bool pw_rdma_share_is_drained(struct pw_rdma *x);
/* What is left on the completion queue. */
void pw_rdma_share_collect(struct pw_rdma *x);
/* The queue pair is gone, its completion queue is not. */
void pw_rdma_share_end(struct pw_rdma *x);

/* xprt_rdma_right.c: what the peer may reach */
/* At most one work request. Return: 0; -errno. */
int pw_rdma_right_open(struct pw_rdma *x, struct pw_rdma_right *r, const void *p, uint32_t len,
		       int access);
/* Return: true, a work request does it, then pw_rdma_right_end(); false, it is over. */
bool pw_rdma_right_close(struct pw_rdma *x, struct pw_rdma_right *r);
void pw_rdma_right_end(struct pw_rdma *x, struct pw_rdma_right *r);
/* Its window goes; nothing is under way. */
void pw_rdma_right_forget(struct pw_rdma_right *r);
/* The first of tx.grants; at most two work requests. */
void pw_rdma_bind_grant(struct pw_rdma *x, struct pw_rdma_slot *s);
void pw_rdma_grant(struct pw_xprt *base, uint16_t slot, void *buf, uint32_t len);
bool pw_rdma_revoke(struct pw_xprt *base, uint16_t slot, struct pw_revoke *r);
/* The slot's grant has ended: tells who has asked for that, if anybody has. */
void pw_rdma_revoked(struct pw_rdma *x, struct pw_rdma_slot *s);

static inline struct pw_rdma_head *pw_rdma_head_of(const struct pw_rdma_out *out)
{
	return (void *)out->buf;
}

static inline void pw_rdma_add_sge(struct ibv_send_wr *wr, const void *p, uint32_t len,
				   uint32_t lkey)
{
	wr->sg_list[wr->num_sge++] = (struct ibv_sge){
		.addr = (uintptr_t)p,
		.length = len,
		.lkey = lkey,
	};
}

/* xprt_rdma_payload.c: there is room for it on the send queue */
/* Requests that a payload of @len bytes takes, in @runs if these are not NULL, and by READs of the
 * client if @in; 0: it goes with its command. */
uint32_t pw_rdma_pieces(const struct pw_rdma *x, const struct pw_runs *runs, uint32_t len, bool in);
enum pw_gather pw_rdma_gathers(const struct pw_xprt *base, const struct pw_runs *runs, bool in);
/* Is there what the payload of @s needs? If not, it comes. */
bool pw_rdma_is_placeable(const struct pw_rdma *x, const struct pw_rdma_slot *sl,
			  const struct pw_send *s);
/* The payload of a request or answer, and the right for the answer; *@inv: a key that its SEND is
 * to end. Return: 0; -errno. */
int pw_rdma_place(struct pw_rdma *x, struct pw_rdma_slot *sl, struct pw_rdma_out *out,
		  struct pw_send *s, uint32_t *inv);
/* What a SEND takes from where it is, behind a message's own bytes. */
struct pw_rdma_more {
	struct ibv_sge sge[PW_RDMA_SGE_MAX];
	uint32_t nr, bytes;
};
/* Behind the command at @to, or in @more. */
/* Its payload, or that it has none, needs no place but the message of @sl (NULL: of no slot). */
bool pw_rdma_is_inline(const struct pw_rdma *x, const struct pw_rdma_slot *sl,
		       const struct pw_send *s);
void pw_rdma_put_inline(struct pw_rdma *x, const struct pw_send *s, uint8_t *to, uint32_t *len,
			struct pw_rdma_more *more);
/* The client reads the held answer's payload from the node's memory. Return: 0; -errno. */
int pw_rdma_put_read(struct pw_rdma *x, struct pw_rdma_slot *sl);

/* xprt_rdma_tx.c */
void pw_rdma_tx_init(struct pw_rdma *x);
void pw_rdma_out_init(struct pw_rdma *x, struct pw_rdma_out *out);
void pw_rdma_send(struct pw_xprt *base, struct pw_send *s);
void pw_rdma_kick(struct pw_rdma *x); /* there is something to send */
bool pw_rdma_owes_credit(const struct pw_rdma *x);
/* Does anything wait for completions of what was posted, and not only for the peer's messages? */
bool pw_rdma_awaits_sent(const struct pw_rdma *x);
void pw_rdma_watch_sent(struct pw_rdma *x); /* something was posted, or waits for room */
void pw_rdma_on_look(struct pw_timer *t);
/* The next work request, zeroed, with its number; there is room. */
struct ibv_send_wr *pw_rdma_wr(struct pw_rdma *x);
/* @done(@j) when @r has ended: at once where no work request is needed. */
void pw_rdma_close_right(struct pw_rdma *x, struct pw_rdma_job *j, struct pw_rdma_right *r,
			 void (*done)(struct pw_rdma *, struct pw_rdma_job *, int));
/* On a queue pair that was told to end: a request whose completion proves all before it. */
int pw_rdma_post_last(struct pw_rdma *x);
void pw_rdma_on_sent(struct pw_rdma *x, const struct ibv_wc *wc);
/* The queue pair is gone: ends what was on it. */
void pw_rdma_tx_end(struct pw_rdma *x);
void pw_rdma_todo(struct pw_rdma *x, struct pw_rdma_slot *s, int todo);

/* xprt_rdma_rx.c */
int pw_rdma_rx_post(struct pw_rdma *x, struct pw_rdma_in *in, uint32_t nr);
/* Has x->cq polled from now on, until pw_poller_stop() and pw_fd_stop(). Return: 0; -errno. */
int pw_rdma_watch_cq(struct pw_rdma *x);
/* Takes what is on the completion queue, at most a budget. Return: how much. */
uint32_t pw_rdma_poll(struct pw_rdma *x);
/* Jobs of slots on the client, when they are done. */
void pw_rdma_window_closed(struct pw_rdma *x, struct pw_rdma_job *j, int err);
void pw_rdma_read_done(struct pw_rdma *x, struct pw_rdma_job *j, int err);

/* xprt_rdma_listen.c */
int pw_rdma_listen(struct pw_loop *loop, const char *host, uint16_t port,
		   pw_xprt_accept_fn *on_accept, void *arg, struct pw_xprt_listener **ret);
uint16_t pw_rdma_listener_port(const struct pw_xprt_listener *base);
void pw_rdma_listener_free(struct pw_xprt_listener *base);

#endif
