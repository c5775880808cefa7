/* SPDX-License-Identifier: Apache-2.0 */
/* fake_xprt.h -- a transport and a loop without kernel and clock, for the tests of conn*.c
 *
 * Everything happens when the test says so: fake_run() steps what is ready and what is due,
 * fake_pass() lets time go by. A message that the connection sends waits in the transport until
 * fake_sent().
 */
#ifndef FAKE_XPRT_H
#define FAKE_XPRT_H

#include "common/conn.h"
#include "common/xprt.h"

struct pw_loop {
	uint64_t now_ns;
	struct pw_list ready;
	struct pw_timer *timers[128]; /* armed */
	uint32_t nr_timers;
};

struct pw_xprt {
	struct pw_loop *loop;
	struct pw_ready ready;
	const struct pw_xprt_ops *ops;
	void *owner;
	bool to_node, closing, closed;
	uint32_t nr_slots, nr_grants; /* as conn.c said */
	int err;
	char why[192];
	struct pw_list queue; /* pw_send.node: not sent yet */
	struct pw_conn_stats stats;
};

struct pw_xprt_listener {
	pw_xprt_accept_fn *on_accept;
	void *arg;
	struct pw_loop *loop;
};

extern struct fake_world {
	int connect_err; /* what the next pw_xprt_connect() returns */
	int listen_err;
	struct pw_xprt *last; /* the newest transport */
	enum pw_transport transport; /* of the last connect, as the next three */
	uint16_t port;
	char host[64], local[64];
	uint32_t nr_connects;
	struct pw_xprt_listener *listener;
	uint32_t nr_xprts; /* that exist */
	enum pw_gather gathers; /* what it says of any list of runs */
} fake;

void fake_loop_init(struct pw_loop *loop);
void fake_run(struct pw_loop *loop); /* until nothing is ready or due */
/* in steps of one ms, with fake_run() after each */
void fake_pass(struct pw_loop *loop, uint32_t ms);

/* The transport reports. */
void fake_connected(struct pw_xprt *x);
void fake_broken(struct pw_xprt *x, int err, const char *why);
/* A message of the peer; fails the test if pw_cmd_check() would not let it through. */
void fake_deliver(struct pw_xprt *x, const struct pw_cmd *cmd, const void *payload);
void fake_rx_bytes(struct pw_xprt *x, uint64_t n); /* part of a message */
struct pw_xprt *fake_accept(void); /* NULL: the connection was dropped */

/* The oldest message in the transport, or NULL; and its end. */
struct pw_send *fake_first(struct pw_xprt *x);
void fake_sent(struct pw_xprt *x);
/* Asserts that the oldest is of @type; its command goes to @ret. */
void fake_take(struct pw_xprt *x, enum pw_msg_type type, struct pw_cmd *ret);

#endif
