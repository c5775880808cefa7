/* SPDX-License-Identifier: Apache-2.0 */
/* node_req.h -- one slot of a channel and the request that it carries now
 *
 *	FREE -> RECEIVED -> RUNNING -> REPLY_QUEUED -> FREE
 *
 * Everything that a request needs belongs to its slot and is there before the first byte arrives:
 * buffer, transaction, store operation, answer. What an operation means is in op_*.c; this file
 * owns life, order, replay and answers. Thread: loop thread. Allocates: never.
 */
#ifndef PWS_NODE_REQ_H
#define PWS_NODE_REQ_H

#include "common/conn.h"
#include "common/sm.h"
#include "storage_node/buf.h"
#include "storage_node/meta/meta.h"
#include "storage_node/meta_kv/txn.h"
#include "storage_node/reclaim.h"
#include "storage_node/store/store.h"

struct pws_channel;
struct pws_node;

enum pws_req_state {
	PWS_REQ_FREE,
	PWS_REQ_RECEIVED,     /* its payload is on its way in */
	PWS_REQ_RUNNING,      /* in op_*.c: index, store */
	PWS_REQ_REPLY_QUEUED, /* the transport has the answer */
	PWS_REQ_NR_STATES
};

/* What to do with a message; decided when its command is in, before its payload. */
enum pws_req_verdict {
	PWS_REQ_RUN,
	PWS_REQ_PARK,	/* the next one of this slot, while the last is not quite over */
	PWS_REQ_IGNORE, /* again what runs: its answer goes to this connection */
	PWS_REQ_RESEND, /* again what is answered: the same answer */
	PWS_REQ_BAD	/* no client of ours says this */
};

struct pws_req {
	struct pw_sm sm;
	struct pws_channel *ch;
	struct pws_node *n;
	uint16_t slot;
	struct pws_buf *buf; /* owns; NULL while the channel has no connection and the slot is
			      * free */
	uint64_t seq;	     /* of the request that runs or ran last; valid with has_seq */
	bool has_seq; /* false: this life has not seen this slot; anything may come, also a
		       * replay */
	bool cached;  /* send.cmd is the answer to seq */
	enum pws_req_verdict verdict; /* of the message that arrives */

	struct pw_cmd cmd;   /* the request; op_open.c may clear its TRUNC flag */
	uint8_t *payload;    /* in buf, cmd.payload_len bytes */
	struct pw_send send; /* the answer */

	/* the next request of this slot came before the transport gave the answer's buffer back, or
	 * its client gave up the one that runs */
	bool parked;
	struct pw_cmd next;
	uint8_t *next_payload;
	struct pws_buf *next_buf; /* owns; NULL without payload */
	struct pw_revoke revoke;

	/* the operation's own; see op_*.c */
	uint32_t phase;
	int err;	     /* result of what it waited for */
	bool maybe_replay;   /* look for a reply row before the first effect */
	bool replayed;	     /* the answer came from a reply row */
	bool applied;	     /* an attempt of this very run has put rows */
	bool reading;	     /* rd is to be released */
	bool appending;	     /* on node's list of appends */
	bool cut_more;	     /* rows were left over by the attempt that ran last */
	uint64_t opened_ino; /* counted by the attempt that ran last */
	uint64_t seen_seq;
	struct pws_inode inode;
	struct pws_meta_op op;
	struct pws_txn txn;
	struct pws_kv_fetch fetch;
	struct pws_kv_waiter waiter;
	struct pws_reclaim_waiter space_waiter;
	struct pw_ready ready;
	struct pw_list append_node;
	union {
		struct pws_store_write wr;
		struct pws_store_read rd;
		struct pws_store_trunc tr;
	};
};

void pws_req_init(struct pws_req *r, struct pws_channel *ch, uint16_t slot);
/* Free, without buffer. */
void pws_req_fini(struct pws_req *r);
static inline bool pws_req_is_free(const struct pws_req *r)
{
	return r->sm.state == PWS_REQ_FREE;
}

/* From the channel. Both may fail the connection. */
void *pws_req_on_payload(struct pws_req *r, const struct pw_cmd *cmd);
void pws_req_on_msg(struct pws_req *r, const struct pw_cmd *cmd, uint8_t *payload);
/* There is a connection: where a client that writes payloads itself may write this slot's. */
void pws_req_on_up(struct pws_req *r);
/* The connection is gone: nothing arrives any more. */
void pws_req_on_down(struct pws_req *r);

/* For op_*.c ------------------------------------------------------------------------------- */

/* Something that it waited for has happened: r->err says how it ended. */
void pws_req_step(struct pws_req *r, int err);
/* Ends the operation: err, or the body in send.cmd and @payload (borrowed until the answer is
 * out). */
void pws_req_reply(struct pws_req *r, int err);
void pws_req_reply_payload(struct pws_req *r, const void *payload, uint32_t len);

/* true: no client can write to r->buf any more; false: the step comes when it is so. */
bool pws_req_revoke(struct pws_req *r);

/* The inode outside of any transaction. 0; -EINPROGRESS: return, the step comes again; -ESTALE;
 * -errno */
int pws_req_inode(struct pws_req *r, uint64_t ino, struct pws_inode *ret, uint64_t *ret_seq);
/* true: @seq is durable; false: the step comes when it is. */
bool pws_req_durable(struct pws_req *r, uint64_t seq, bool sync);
/* -ENOSPC, but work that frees space goes on: true, the step comes after some of it. */
bool pws_req_wait_space(struct pws_req *r);

/* Outside of a transaction: did an earlier life of the node do this already? 1: yes, the answer is
 * in send.cmd once seen_seq is durable; 0; -EINPROGRESS; -errno */
int pws_req_find_reply(struct pws_req *r);
/* In an attempt, first thing: 1 the answer is in send.cmd (end the attempt with 0); 0; -errno to
 * return. */
int pws_req_get_reply(struct pws_req *r, struct pws_txn *t);
/* In an attempt, last thing: the answer of a mutation. @err: 0 or the refusal. */
void pws_req_put_reply(struct pws_req *r, struct pws_txn *t, int err);
/* The truncation of an OPEN is done, its answer is not: the replay must not cut again. */
void pws_req_put_mark(struct pws_req *r, struct pws_txn *t);

/* In an attempt: the open of this request counts for @ino now; 0 for none. */
void pws_req_count_open(struct pws_req *r, uint64_t ino);

/* The cut of a file at @from, run by the steps of the caller: start it with r->phase at a base that
 * has three phases to itself, then pass every step on. true: over, *ret_err tells how; see
 * op_truncate.c */
#define PWS_CUT_CHANGED \
	(-ECANCELED) /* the file is not longer than that any more; nobody sees this */
void pws_cut_start(struct pws_req *r, uint64_t ino, uint64_t from);
bool pws_cut_step(struct pws_req *r, uint32_t base, int *ret_err);

int64_t pws_req_now(const struct pws_req *r);
static inline struct pws_req *pws_req_of_txn(struct pws_txn *t)
{
	return pw_container_of(t, struct pws_req, txn);
}
/* pws_txn.done of all of them */
void pws_req_txn_done(struct pws_txn *t, int err);

/* The operations: called with phase 0 first, then whenever something they waited for has
 * happened. */
void pws_op_meta_step(struct pws_req *r); /* op_meta.c */
void pws_op_open_step(struct pws_req *r); /* op_open.c */
void pws_op_release_step(struct pws_req *r);
void pws_op_reclaim_step(struct pws_req *r);
void pws_op_fsync_step(struct pws_req *r);   /* op_fsync.c */
void pws_op_read_step(struct pws_req *r);    /* op_read.c */
void pws_op_write_step(struct pws_req *r);   /* op_write.c */
void pws_op_setattr_step(struct pws_req *r); /* op_truncate.c */

#endif
