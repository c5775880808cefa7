/* SPDX-License-Identifier: Apache-2.0 */
/* conn_impl.h -- what conn.c, conn_hello.c and conn_listen.c share; nobody else includes it */
#ifndef PW_CONN_IMPL_H
#define PW_CONN_IMPL_H

#include "common/conn.h"
#include "common/sm.h"
#include "common/xprt.h"

/* What the hand-shake waits for; PW_HS_DONE once it is over. */
enum pw_hs_step {
	PW_HS_NONE,
	PW_HS_CHALLENGE, /* client */
	PW_HS_WELCOME, /* client */
	PW_HS_HELLO, /* node */
	PW_HS_PROOF, /* node */
	PW_HS_REJECTED, /* node: REJECT is on its way out, then the connection ends */
	PW_HS_DONE,
	PW_HS_NR_STEPS
};

/* Messages of the connection itself. Each kind is sent at most once per connection. */
enum {
	PW_CTL_HELLO, /* HELLO or CHALLENGE */
	PW_CTL_PROOF, /* PROOF or WELCOME */
	PW_CTL_LAST, /* REJECT or GOODBYE */
	PW_CTL_RAILS, /* and the next ones: parts of the list */
	PW_CTL_NR = PW_CTL_RAILS + PW_RAILS_MAX / PW_RAILS_PER_MSG
};

struct pw_conn_beat {
	struct pw_send send;
	struct pw_conn *c;
	bool busy; /* send is with the transport */
};

struct pw_conn {
	struct pw_loop *loop; /* borrowed for life */
	const struct pw_conn_ops *ops; /* borrowed for life */
	void *owner;
	const struct pw_identity *id; /* borrowed for life */
	struct pw_conn_opts o; /* without zeros */
	struct pw_sm sm; /* enum pw_conn_state; moved by conn.c only */
	bool node;
	bool leaving; /* DRAINING: GOODBYE goes out first */

	struct pw_xprt *x; /* owns; NULL in DOWN */
	/* hand-shake's deadline; in UP the heartbeat; when leaving the patience */
	struct pw_timer timer;
	int err; /* first reason of the end */
	char why[192];
	char peer[64];

	/* hand-shake; conn_hello.c */
	enum pw_hs_step hs;
	struct pw_body_hello hello; /* sent or received */
	struct pw_body_challenge challenge; /* received or sent */
	uint8_t peer_id[16], peer_fsid[16];
	bool want_node; /* node_id is the only one that will do */
	uint8_t node_id[16];
	char local[64]; /* address to connect from; "": any */
	uint32_t rails_seen; /* of the list that is coming in */
	int reject_err; /* why REJECT was sent */
	struct pw_send ctl[PW_CTL_NR];

	/* on the listener's list until the key is proved; conn_listen.c */
	struct pw_listener *listener;
	struct pw_list hs_node;

	/* heartbeat */
	struct pw_conn_beat ping, pong;
	uint64_t last_rx_ns;
	uint64_t msg_rx_bytes; /* of the complete messages; last_rx_ns knows about them */
	uint64_t seen_rx_bytes; /* what the transport had received at the last look */
	/* last time when the peer took bytes, or had none to take */
	uint64_t last_tx_ns, seen_tx_bytes;
	uint64_t queued; /* messages handed to the transport */
	struct pw_conn_stats past; /* of the transports before this one */
};

extern const struct pw_xprt_ops pw_conn_xprt_ops;

/* conn.c */
int pw_conn_alloc(struct pw_loop *loop, const struct pw_conn_ops *ops, void *owner,
		  const struct pw_identity *id, const struct pw_conn_opts *o, struct pw_conn **ret);
void pw_conn_accepted(struct pw_conn *c, struct pw_xprt *x, const char *peer_name);
void pw_conn_failf(struct pw_conn *c, int err, const char *fmt, ...) PW_PRINTF(3, 4);
/* Hand-shake is over: -> UP, heartbeats start, the owner is told. */
void pw_conn_set_up(struct pw_conn *c, const struct pw_body_welcome *w);
/* Fills c->ctl[@which] and queues it; the caller has set its body through the return value before.
 *  */
struct pw_cmd *pw_conn_ctl_cmd(struct pw_conn *c, uint32_t which, enum pw_msg_type type);
void pw_conn_ctl_send(struct pw_conn *c, uint32_t which);

/* conn_hello.c */
void pw_hello_start(struct pw_conn *c, uint64_t incarnation);
void pw_hello_on_msg(struct pw_conn *c, const struct pw_cmd *cmd);

/* conn_listen.c: the key is proved, or the connection has ended */
void pw_listener_forget(struct pw_conn *c);

#endif
