/* SPDX-License-Identifier: Apache-2.0 */
/* channel.h -- one client shard's slots, and the connection that serves them now
 *
 * Slots, their requests and their buffers outlive connections: what runs when a connection fails
 * goes on, and its answer waits for the replay. An older connection is drained before the next one
 * may come up, so nothing of it can arrive late. Thread: loop thread. Allocates: at HELLO.
 */
#ifndef PWS_CHANNEL_H
#define PWS_CHANNEL_H

#include "common/conn.h"
#include "storage_node/session.h"

struct pws_buf;
struct pws_req;

/* Owner of a connection, from accept to on_down(). */
struct pws_guest {
	struct pw_list node; /* of pws_node.guests */
	struct pws_node *n;
	struct pw_conn *conn;
	struct pws_channel *ch; /* NULL before its HELLO */
};

struct pws_channel {
	struct pw_list node; /* of pws_session.channels */
	struct pws_node *n;
	struct pws_session *session;
	uint32_t nr;	      /* as in HELLO */
	uint64_t incarnation; /* of the newest connection */
	struct pw_conn *conn; /* its guest owns it; NULL when there is none */
	bool up;	      /* the hand-shake is over */
	bool reclaimed; /* its client's list of opens is complete: RECLAIM changes nothing any
			 * more */
	uint32_t nr_slots;
	struct pws_req *reqs; /* owns; nr_slots of them, index = slot */
	uint32_t nr_busy;     /* requests that are not free */
	/* Where the next small payload is guessed to land, so that it comes in with its command;
	 * the request that it turns out to be for takes the buffer and leaves its own. */
	struct pws_buf *spare; /* owns; NULL until there is reason to guess */
	uint32_t guess_len;    /* payload of the last message, if it was a small, aligned write */
};

extern const struct pw_conn_ops pws_channel_conn_ops;
extern const struct pw_listener_ops pws_channel_listener_ops; /* owner: the node */

/* No connection and no busy request. */
void pws_channel_free(struct pws_channel *ch);
/* Fails the connection, if there is one. */
void pws_channel_fail(struct pws_channel *ch, int err, const char *why);
/* Every connection of the node, strangers too. */
void pws_guests_fail(struct pws_node *n, int err, const char *why);
/* Answers may go out. */
bool pws_channel_is_up(const struct pws_channel *ch);

#endif
