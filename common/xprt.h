/* SPDX-License-Identifier: Apache-2.0 */
/* xprt.h -- what a transport does for conn.c; implemented by xprt.c, which chooses among those of
 * the programs, and by tests/sim (a seeded network)
 *
 * A transport moves whole messages (a command and its payload) in order, or fails once. The seam is
 * at link time: the simulation links its own implementation of these functions.
 */
#ifndef PW_XPRT_H
#define PW_XPRT_H

#include "common/conn.h"

struct pw_xprt;

/* Upward events; from the loop, never from within a call. @owner is the pw_conn. */
struct pw_xprt_ops {
	void (*on_connected)(void *owner, const char *peer_name);
	/* A command arrived and passed pw_cmd_check(). Return where its payload goes; only called
	 * when payload_len > 0. NULL ends the connection with -EPROTO. */
	void *(*on_payload)(void *owner, const struct pw_cmd *cmd);
	/* Asked first by a transport that gathers, may be NULL: not NULL, it goes there. */
	const struct pw_runs *(*on_runs)(void *owner, const struct pw_cmd *cmd);
	void *(*guess_payload)(void *owner, uint32_t *ret_len);
	void (*on_msg)(void *owner, const struct pw_cmd *cmd, void *payload);
	/* Failed, or pw_xprt_close() finished: nothing is in flight, all sends were done. */
	void (*on_closed)(void *owner, int err, const char *why);
};

/* @local: address to connect from, "" for any.
 * Return: 0; -ENOSYS the libraries of this transport are missing (pw_verbs_why()); -EINVAL;
 * -ENOMEM; ... */
int pw_xprt_connect(struct pw_loop *loop, const char *host, uint16_t port, const char *local,
		    enum pw_transport transport, const struct pw_xprt_ops *ops, void *owner,
		    struct pw_xprt **ret);
/* Queue one message; flushed once per turn, several messages in one system call. */
void pw_xprt_send(struct pw_xprt *x, struct pw_send *s);
/* The peer has proved who it is, and slots 0 to @nr_slots - 1 are granted: whatever is large may be
 * made now. */
void pw_xprt_set_up(struct pw_xprt *x, uint32_t nr_slots);
/* See pw_conn_grant(), pw_conn_revoke(), pw_conn_places(). */
void pw_xprt_grant(struct pw_xprt *x, uint16_t slot, void *buf, uint32_t len);
bool pw_xprt_revoke(struct pw_xprt *x, uint16_t slot, struct pw_revoke *r);
bool pw_xprt_places(const struct pw_xprt *x);
/* See pw_conn_gathers(). */
enum pw_gather pw_xprt_gathers(const struct pw_xprt *x, const struct pw_runs *runs, bool in);
/* Idempotent. on_closed(err, why) follows from the loop; frees nothing. */
void pw_xprt_close(struct pw_xprt *x, int err, const char *why);
/* After on_closed(), or as the last thing inside it. */
void pw_xprt_free(struct pw_xprt *x);
void pw_xprt_get_stats(const struct pw_xprt *x, struct pw_conn_stats *ret);
const char *pw_xprt_name(const struct pw_xprt *x);

struct pw_xprt_listener;
/* Returns ops and owner for a new connection, or -errno to drop it. */
typedef int pw_xprt_accept_fn(void *arg, struct pw_xprt *x, const char *peer_name,
			      const struct pw_xprt_ops **ret_ops, void **ret_owner);
int pw_xprt_listen(struct pw_loop *loop, const char *host, uint16_t port,
		   enum pw_transport transport, pw_xprt_accept_fn *on_accept, void *arg,
		   struct pw_xprt_listener **ret);
uint16_t pw_xprt_listener_port(const struct pw_xprt_listener *l);
void pw_xprt_listener_free(struct pw_xprt_listener *l);

#endif
