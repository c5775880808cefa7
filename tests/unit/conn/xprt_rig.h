/* SPDX-License-Identifier: Apache-2.0 */
/* xprt_rig.h -- the real loop and a real transport, with one of our ends or two
 *
 * The test stops the loop when its condition holds; a dog bites after 60 s. Below is xprt_world.
 * Calls keep to the rules of the protocol: one request in a slot, the next one when its answer has
 * come and it was done.
 */
#ifndef XPRT_RIG_H
#define XPRT_RIG_H

#include "common/uring.h"
#include "common/xprt.h"
#include "xprt_world.h"

#define RIG_BUF (4u << 20)
#ifndef RIG_SLOTS
#define RIG_SLOTS 8u
#endif
#define RIG_SPARES 4u

enum guess {
	GUESS_NONE,
	GUESS_RIGHT, /* as long as the payload or longer */
	GUESS_SHORT, /* the right buffer, 100 bytes of it */
	GUESS_WRONG, /* another buffer */
	GUESS_OVERLAP, /* inside the right buffer, 64 bytes in */
	GUESS_PLACED, /* none, but a payload is next that may be nowhere else */
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
	uint8_t *slot[RIG_SLOTS];   /* RIG_BUF bytes each: where payloads land */
	uint8_t *spare[RIG_SPARES]; /* the same */
	uint8_t *buf, *other;	    /* slot 1; a wrong place */
	uint32_t nr_msgs, nr_payload_calls;
	uint64_t msg_bytes;
	bool refuse_payload;
	uint32_t close_after_msgs; /* pw_xprt_close() from within on_msg() */
	uint32_t nr_sent, nr_done, nr_failed;
	struct out *out; /* messages of side_send() */
};

/* A message on its way out, with a payload of its own. */
struct out {
	struct pw_send send;
	struct side *side;
	struct out *next;
	bool done;
	uint8_t *payload;
};

/* A request and its answer; on the client by slot. */
struct call {
	bool busy;
	struct out *out;
	uint64_t seq;
	uint32_t answer_len;
	uint8_t *taken; /* the node took the slot's buffer with it; NULL: it did not */
	struct pw_runs runs; /* where its payload, or its answer's, lies; nr 0: in one piece */
	struct iovec v[PW_RUNS_MAX];
};

extern struct pw_loop *rig_loop;
extern struct side client, node; /* node: what the listener accepted */
extern struct pw_xprt_listener *rig_listener;
extern uint64_t rig_random;
extern struct call rig_calls[RIG_SLOTS];
extern uint32_t rig_nr_calls, rig_nr_answered; /* begun, over */
extern bool rig_take_buffers; /* the node gives a slot another buffer now and then */
extern bool rig_hold_answers; /* until rig_answer() */
extern uint32_t rig_max_runs; /* payloads of the client have so many at most; 0, 1: one piece */
extern bool rig_all_runs; /* exactly so many, about equal */
extern bool rig_direct; /* answers in one piece are for memory of an application */
extern uint64_t rig_nr_gathered; /* calls that had more than one */
/* The loop sleeps, and the world moves from a timer: nothing but events wakes it up. */
extern bool rig_sleepy;

int rig_set_up(void **state);
int rig_tear_down(void **state);  /* closes what is left; every message was done exactly once */
void rig_set_seed(uint64_t seed); /* of the next set-up */

uint32_t random_below(uint32_t n);
void run_until(bool (*cond)(void));
void run_turns(uint32_t n);

/* A command with a payload of @len bytes that the rig knows by its seq. */
void make_req(struct pw_cmd *cmd, uint64_t seq, uint32_t len);
void make_rsp(struct pw_cmd *cmd, uint64_t seq, uint32_t len);
void fill(uint8_t *p, uint64_t seq, uint32_t len);

void side_send(struct side *s, const struct pw_cmd *cmd);
void side_close(struct side *s, int err); /* and runs until it is closed and freed */
struct pw_conn_stats side_stats(const struct side *s);

/* Return: a slot in which a call can begin, or 0. */
uint16_t rig_free_slot(void);
/* A write of @len bytes at @off, or, if @len is 0, a read of @answer_len bytes. */
void rig_call(uint16_t slot, uint64_t off, uint32_t len, uint32_t answer_len);
/* The node answers one of the requests that it holds. Return: false, there is none. */
bool rig_answer(void);

/* Every call and every message is done, or a connection is closed. */
bool rig_all_answered(void);
/* Runs until they are; no connection is closed by that. */
void rig_finish_calls(void);
/* Closes what there is, for a pair that is to come after it. */
void rig_forget(void);

void rig_client_connect(const char *host, uint16_t port);
/* For the node's end; takes one connection at a time and drops others. */
int rig_listen(const char *host, uint16_t port, struct pw_xprt_listener **ret);
/* What a hand-shake brings, for those of our ends that there are. */
void rig_grant_slots(void);
/* Both ends are ours, slots are granted. */
void rig_connect_pair(void);

#endif
