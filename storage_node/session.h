/* SPDX-License-Identifier: Apache-2.0 */
/* session.h -- what the node knows about one client process, across its connections
 *
 *	ACTIVE <-> AWAY -> ENDING -> gone
 *
 * A session begins with the first HELLO of a client id, or with its C row at the start of the node.
 * It holds the client's opens and its channels (channel.h). When its last connection goes it is
 * AWAY and its lease runs; a HELLO makes it ACTIVE again. GOODBYE or the end of the lease make it
 * ENDING: opens are released, its C and R rows deleted, in that order, and a HELLO meanwhile is
 * answered with "try again". Thread: loop thread. Allocates: at HELLO and at the start.
 */
#ifndef PWS_SESSION_H
#define PWS_SESSION_H

#include "common/list.h"
#include "common/loop.h"
#include "common/sm.h"
#include "storage_node/meta_kv/txn.h"
#include "storage_node/opens.h"

struct pws_node;
struct pws_channel;

/* Inodes that one client may have open: bounds what a client can make us remember. */
#define PWS_OPENS_MAX (1u << 20)

enum pws_session_state {
	PWS_SESSION_ACTIVE,
	PWS_SESSION_AWAY,
	PWS_SESSION_ENDING,
	PWS_SESSION_NR_STATES
};

struct pws_session {
	struct pw_list node; /* of pws_sessions.all */
	struct pws_node *n;
	struct pw_sm sm;
	uint8_t client_id[16];
	struct pw_list channels; /* pws_channel.node */
	uint32_t nr_up;		 /* of them connected */
	uint32_t nr_busy;	 /* requests that are not free */
	struct pws_opens opens;
	bool known; /* replies of the client's slots are known: a C row or this life's session */
	bool row;   /* the C row is there, or on its way before anything else */
	struct pw_timer lease;
	struct pws_txn txn; /* C and R rows; one at a time */
	bool txn_busy;
	const char *why_end; /* for the log line */
};

struct pws_sessions {
	struct pw_list all;
	uint32_t nr, nr_active;
	uint64_t started, resumed, ended, expired;
};

void pws_sessions_init(struct pws_sessions *ss);

/* Sessions of the C rows, all AWAY with a full lease. 0; -EINPROGRESS when @f was queued: call
 * again from the start; -errno. */
struct pws_kv_fetch;
int pws_sessions_load(struct pws_node *n, struct pws_kv_fetch *f);
/* The node stops: no lease ends any more. */
void pws_sessions_stop(struct pws_node *n);
/* No connection and no transaction is left. */
void pws_sessions_fini(struct pws_node *n);

/* NULL if there is none. */
struct pws_session *pws_session_find(struct pws_node *n, const uint8_t client_id[16]);
/* For a HELLO: finds or makes one. 0; -EAGAIN it is ending; -EBUSY too many clients; -ENOMEM. */
int pws_session_get(struct pws_node *n, const uint8_t client_id[16], struct pws_session **ret);
/* A channel came up, or went down. @goodbye: the client will not come back. */
void pws_session_up(struct pws_session *s);
void pws_session_down(struct pws_session *s, bool goodbye);
/* In an attempt of RECLAIM: the C row is there, or is put. done() comes when it is durable. */
int pws_session_record(const struct pws_session *s, struct pws_txn *t);
void pws_session_warn_unrecorded(int err);
/* A request ended; an ENDING session may wait for that. */
void pws_session_idle_check(struct pws_session *s);

/* Opens of this session, and in the node's sum. reserve: 0 or -ENOMEM, before any effect. */
int pws_session_opens_reserve(struct pws_session *s, uint32_t more);
void pws_session_open(struct pws_session *s, uint64_t ino);
void pws_session_release(struct pws_session *s, uint64_t ino, uint64_t nr);
/* RECLAIM: the client says that it has @opens of @ino; room is reserved. */
void pws_session_reclaim(struct pws_session *s, uint64_t ino, uint64_t opens);

#endif
