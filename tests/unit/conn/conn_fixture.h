/* SPDX-License-Identifier: Apache-2.0 */
/* conn_fixture.h -- one connection over the fake transport, and a record of what it told its owner
 *  */
#ifndef CONN_FIXTURE_H
#define CONN_FIXTURE_H

#include "fake_xprt.h"

struct seen {
	struct pw_conn *c;
	uint32_t nr_hello, nr_up, nr_down, nr_msg, nr_payload, nr_accept, nr_done;
	struct pw_body_hello hello;
	struct pw_body_welcome welcome;
	struct pw_cmd msg;
	int err; /* of on_down() */
	char why[192];
	int last_done; /* @err of the last done() */
	/* what the owner does */
	int hello_answer;
	bool fail_in_hello, fail_in_up, fail_in_msg, refuse_payload;
	bool free_in_down, reconnect_in_down;
	uint8_t payload[8192];
};

extern struct pw_loop loop;
extern struct seen seen;
extern struct pw_identity client_id, node_id;
extern const struct pw_conn_ops conn_ops;

int fixture_set_up(void **state);
int fixture_tear_down(void **state); /* the connection has ended, nothing is left */

/* A client's connection, connected: HELLO waits in the transport. */
struct pw_xprt *client_start(const struct pw_conn_opts *o);
/* A node's connection, accepted. */
struct pw_xprt *node_start(const struct pw_conn_opts *o);
void make_hello(struct pw_cmd *cmd); /* of client_id */
/* What a node with @key answers to @hello; and what a client with @key proves. */
void make_challenge(struct pw_cmd *cmd, const struct pw_cmd *hello, const uint8_t key[32]);
void make_proof(struct pw_cmd *cmd, const struct pw_cmd *hello, const struct pw_cmd *challenge,
		const uint8_t key[32]);
void make_welcome(struct pw_cmd *cmd);
/* As above, then the whole hand-shake. */
struct pw_xprt *client_up(const struct pw_conn_opts *o);
struct pw_xprt *node_up(const struct pw_conn_opts *o);
void make_write(struct pw_cmd *cmd, uint32_t len);
void make_rsp(struct pw_cmd *cmd);

void count_done(struct pw_send *s, int err); /* pw_send.done that counts in seen */
void expect_down(int err, const char *text_in_why);

#endif
