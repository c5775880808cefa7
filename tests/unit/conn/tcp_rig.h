/* SPDX-License-Identifier: Apache-2.0 */
/* tcp_rig.h -- the real loop and the real TCP transport over loopback, with one of our ends or two
 *
 * The test stops the loop when its condition holds; a dog bites after 60 s. The other end may be a
 * plain socket (raw_*), so that a test decides about every byte.
 */
#ifndef TCP_RIG_H
#define TCP_RIG_H

#include "common/uring.h"
#include "common/xprt.h"

#define RIG_BUF (4u << 20)

enum guess {
	GUESS_NONE,
	GUESS_RIGHT, /* as long as the payload or longer */
	GUESS_SHORT, /* the right buffer, 100 bytes of it */
	GUESS_WRONG, /* another buffer */
	GUESS_OVERLAP, /* inside the right buffer, 64 bytes in */
	GUESS_RANDOM, /* any of these */
	NR_GUESSES
};

/* One of our ends. */
struct side {
	struct pw_xprt *x;
	bool connected, closed;
	int err;
	char why[192];
	enum guess guess;
	uint8_t *buf, *other; /* RIG_BUF bytes each */
	uint32_t nr_msgs, nr_payload_calls;
	uint64_t msg_bytes;
	bool refuse_payload;
	uint32_t close_after_msgs; /* pw_xprt_close() from within on_msg() */
	uint32_t nr_sent, nr_done, nr_failed;
	struct out *out; /* owns; messages of side_send() */
};

/* A message on its way out, with a payload of its own. */
struct out {
	struct pw_send send;
	struct side *side;
	struct out *next;
	bool done;
	uint8_t payload[];
};

extern struct pw_loop *rig_loop;
extern struct side client, node; /* node: what the listener accepted */
extern struct pw_xprt_listener *rig_listener;
extern uint64_t rig_random;

int rig_set_up(void **state);
int rig_tear_down(void **state); /* closes what is left; every message was done exactly once */

uint32_t random_below(uint32_t n);
void run_until(bool (*cond)(void));
void run_turns(uint32_t n);

/* A command with a payload of @len bytes that side_check() knows by its seq. */
void make_req(struct pw_cmd *cmd, uint64_t seq, uint32_t len);
void make_rsp(struct pw_cmd *cmd, uint64_t seq, uint32_t len);
void fill(uint8_t *p, uint64_t seq, uint32_t len);
/* Bytes as they travel: command and payload. Return: how many. */
size_t put_message(uint8_t *to, const struct pw_cmd *cmd);

void side_send(struct side *s, const struct pw_cmd *cmd);
void side_close(struct side *s, int err); /* and runs until it is closed and freed */
struct pw_conn_stats side_stats(const struct side *s);

void rig_client_connect(const char *host, uint16_t port);
/* For the node's end; takes one connection at a time and drops others. */
int rig_listen(const char *host, uint16_t port, struct pw_xprt_listener **ret);
/* Both ends are ours. */
void rig_connect_pair(void);
/* The client is ours, the node a plain socket. Return: the socket. */
int rig_connect_raw(void);

void raw_send(int fd, const void *buf, size_t len);

#endif
