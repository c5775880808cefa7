/* SPDX-License-Identifier: Apache-2.0 */
/* fake_conn.h -- conn.h, node side, without a transport: the test plays the client message by
 * message */
#ifndef FAKE_CONN_H
#define FAKE_CONN_H

#include "common/conn.h"

#define FAKE_CONN_SLOTS 16u

/* The listener that the node made last; NULL when there is none. */
struct pw_listener *fake_listener(void);
/* What pw_listener_new() answers; 0 by default. */
void fake_listener_set_error(int err);

/* A new connection, before its HELLO. Gone after the node's on_down(). */
struct pw_conn *fake_accept(void);
/* The key is proved: 0 and WELCOME, or what the node refuses with (the connection then ends by
 * itself). */
int fake_hello(struct pw_conn *c, const struct pw_body_hello *h, struct pw_body_welcome *ret);

/* Connections that the node has not seen the end of. */
uint32_t fake_nr_conns(void);
/* False: it has failed, is failing, or is gone. */
bool fake_is_up(const struct pw_conn *c);

/* A message arrives; false when the node wants no payload or has failed the connection. The command
 * is checked as xprt_tcp.c does it. */
bool fake_deliver(struct pw_conn *c, const struct pw_cmd *cmd, const void *payload);
/* The command and nothing of its payload; what the node answers to on_payload(). */
void *fake_deliver_cmd(struct pw_conn *c, const struct pw_cmd *cmd);
void fake_deliver_rest(struct pw_conn *c, const struct pw_cmd *cmd, const void *payload, void *to);

/* The oldest answer that was sent and not taken: false if there is none. @out: its payload. */
bool fake_take(struct pw_conn *c, struct pw_cmd *ret, void *out, uint32_t out_max);
/* While held, sends are not done: the transport still has their buffers. */
void fake_hold_sends(struct pw_conn *c, bool hold);
/* Connections let their clients write payloads, as over RDMA. */
void fake_places(bool on);
/* Where the client may write this slot's payload; NULL: nowhere. */
uint8_t *fake_granted(struct pw_conn *c, uint16_t slot);
/* While held, what was granted is not taken back. */
void fake_hold_revokes(struct pw_conn *c, bool hold);
/* The network breaks. */
void fake_break(struct pw_conn *c, int err);
/* GOODBYE arrives. */
void fake_goodbye(struct pw_conn *c);

#endif
