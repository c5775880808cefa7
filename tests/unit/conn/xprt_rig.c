/* SPDX-License-Identifier: Apache-2.0 */
/* xprt_rig.c -- see xprt_rig.h */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <setjmp.h>
#include <cmocka.h>

#include "xprt_rig.h"

struct pw_loop *rig_loop;
struct side client, node;
struct pw_xprt_listener *rig_listener;
uint64_t rig_random;
struct call rig_calls[RIG_SLOTS];
uint32_t rig_nr_calls, rig_nr_answered;
bool rig_take_buffers, rig_hold_answers, rig_sleepy;
uint32_t rig_max_runs;
bool rig_all_runs, rig_direct;
uint64_t rig_nr_gathered;

static uint64_t rig_seed = 1;
static struct pw_cmd held[RIG_SLOTS]; /* requests that the node has not answered */
static uint32_t nr_held;

void rig_set_seed(uint64_t seed)
{
	rig_seed = seed;
}

uint32_t random_below(uint32_t n)
{
	rig_random = rig_random * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(rig_random >> 33) % n;
}

/* Loop ---------------------------------------------------------------------------------------- */

#define SLEEPY_NS 20000u

static struct pw_ready watcher;
static struct pw_timer clockwork;
static bool (*watched)(void);
static uint32_t turns_left;

static void watch_again(void)
{
	if (rig_sleepy)
		pw_timer_arm(rig_loop, &clockwork, pw_loop_now(rig_loop) + SLEEPY_NS);
	else
		pw_loop_ready(rig_loop, &watcher);
}

static void look(void)
{
	xprt_world.turn();
	if (watched ? watched() : !turns_left--)
		pw_loop_stop(rig_loop);
	else
		watch_again();
}

/* Ready in every turn: the loop does not sleep while a test waits. */
static void watch(struct pw_ready *r)
{
	(void)r;
	look();
}

static void on_clockwork(struct pw_timer *t)
{
	(void)t;
	look();
}

void run_until(bool (*cond)(void))
{
	watched = cond;
	watch_again();
	alarm(60);
	assert_int_equal(pw_loop_run(rig_loop), 0);
	alarm(0);
}

void run_turns(uint32_t n)
{
	turns_left = n;
	run_until(NULL);
}

/* Messages ------------------------------------------------------------------------------------ */

void fill(uint8_t *p, uint64_t seq, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		p[i] = (uint8_t)(seq * 31 + i + (i >> 8) * 7);
}

void make_req(struct pw_cmd *cmd, uint64_t seq, uint32_t len)
{
	pw_cmd_init(cmd, PW_MSG_REQ, len ? PW_OP_WRITE : PW_OP_READ);
	cmd->slot = 1;
	cmd->seq = seq;
	cmd->payload_len = len;
	cmd->io.ino = 1;
	cmd->io.len = len ? len : 1;
}

void make_rsp(struct pw_cmd *cmd, uint64_t seq, uint32_t len)
{
	pw_cmd_init(cmd, PW_MSG_RSP, PW_OP_READ);
	cmd->slot = 1;
	cmd->seq = seq;
	cmd->payload_len = len;
}

static void check_payload(const struct pw_cmd *cmd, const uint8_t *p)
{
	for (uint32_t i = 0; i < cmd->payload_len; i++)
		if (p[i] != (uint8_t)(cmd->seq * 31 + i + (i >> 8) * 7))
			fail_msg("message %lu: byte %u of %u is wrong", cmd->seq, i,
				 cmd->payload_len);
}

/* Our ends ------------------------------------------------------------------------------------ */

static void on_connected(void *owner, const char *peer_name)
{
	((struct side *)owner)->connected = true;
}

static void *on_payload(void *owner, const struct pw_cmd *cmd)
{
	struct side *s = owner;

	s->nr_payload_calls++;
	assert_true(cmd->payload_len > 0 && cmd->payload_len <= RIG_BUF - 4096);
	if (s->refuse_payload || cmd->slot >= RIG_SLOTS)
		return NULL;
	return s->slot[cmd->slot] + (s == &node ? pw_cmd_head(cmd) : 0);
}

static const struct pw_runs *on_runs(void *owner, const struct pw_cmd *cmd)
{
	const struct call *c = &rig_calls[cmd->slot < RIG_SLOTS ? cmd->slot : 0];

	return owner == &client && c->busy && c->runs.nr && c->answer_len ? &c->runs : NULL;
}

static void *guess_payload(void *owner, uint32_t *ret_len)
{
	struct side *s = owner;
	enum guess g = s->guess == GUESS_RANDOM ? random_below(GUESS_RANDOM) : s->guess;

	*ret_len = RIG_BUF - 64;
	switch (g) {
	case GUESS_RIGHT:
		return s->buf;
	case GUESS_SHORT:
		*ret_len = 100;
		return s->buf;
	case GUESS_WRONG:
		return s->other;
	case GUESS_OVERLAP:
		return s->buf + 64;
	case GUESS_PLACED:
		return NULL;
	default:
		*ret_len = 0;
		return NULL;
	}
}

static void on_request(const struct pw_cmd *cmd)
{
	assert_true(nr_held < RIG_SLOTS);
	held[nr_held++] = *cmd;
	if (!rig_hold_answers)
		rig_answer();
}

/* When the answer is there the node has what it took to itself, unless it was granted anew. */
static void check_taken(const uint8_t *buf)
{
	for (uint32_t i = 0; i < RIG_SLOTS; i++)
		if (node.slot[i] == buf)
			return;
	if (buf)
		xprt_world.landed(buf, RIG_BUF);
}

/* An answer that was scattered, in one piece. */
static void *put_together(const struct pw_cmd *cmd, uint8_t *payload)
{
	static uint8_t whole[RIG_BUF];
	const struct call *c = &rig_calls[cmd->slot];
	uint8_t *mem = client.slot[cmd->slot];

	if (!payload || !c->runs.nr)
		return payload;
	assert_ptr_equal(payload, c->runs.v->iov_base);
	pw_runs_read(&c->runs, whole, cmd->payload_len);
	memcpy(mem, whole, cmd->payload_len);
	return mem;
}

static void on_answer(const struct pw_cmd *cmd, const void *payload)
{
	struct call *c = &rig_calls[cmd->slot];

	assert_true(c->busy && c->seq == cmd->seq);
	assert_int_equal(cmd->payload_len, c->answer_len);
	if (payload)
		xprt_world.landed(payload, cmd->payload_len);
	check_taken(c->taken);
	c->taken = NULL;
	c->busy = false;
	rig_nr_answered++;
}

static void on_msg(void *owner, const struct pw_cmd *cmd, void *payload)
{
	struct side *s = owner;
	bool of_call = rig_nr_calls && cmd->slot < RIG_SLOTS && rig_calls[cmd->slot].seq;

	assert_false(s->closed);
	if (of_call && s == &client)
		payload = put_together(cmd, payload);
	/* in order, none twice; answers may overtake each other */
	if (!of_call && cmd->type != PW_MSG_PING)
		assert_int_equal(cmd->seq, s->nr_msgs + 1);
	if (payload || cmd->payload_len)
		assert_in_range((uintptr_t)payload, (uintptr_t)s->slot[cmd->slot],
				(uintptr_t)s->slot[cmd->slot] + RIG_BUF - cmd->payload_len);
	check_payload(cmd, payload);
	s->nr_msgs++;
	s->msg_bytes += sizeof(*cmd) + cmd->payload_len;
	if (of_call && s == &client)
		on_answer(cmd, payload);
	if (payload)
		memset(payload, 0, cmd->payload_len);
	if (of_call && s == &node)
		on_request(cmd);
	if (s->nr_msgs == s->close_after_msgs)
		pw_xprt_close(s->x, -ECANCELED, "closed in on_msg");
}

static void on_closed(void *owner, int err, const char *why)
{
	struct side *s = owner;

	assert_false(s->closed);
	assert_int_equal(s->nr_sent, s->nr_done + s->nr_failed);
	s->closed = true;
	s->err = err;
	snprintf(s->why, sizeof(s->why), "%s", why);
	/* whoever writes here afterwards is found */
	for (uint32_t i = 0; i < RIG_SLOTS; i++) {
		xprt_world.landed(s->slot[i], RIG_BUF);
		xprt_world.released(s->slot[i], RIG_BUF);
		memset(s->slot[i], 0xee, 64);
	}
}

static const struct pw_xprt_ops xprt_ops = {
	.on_connected = on_connected,
	.on_payload = on_payload,
	.on_runs = on_runs,
	.guess_payload = guess_payload,
	.on_msg = on_msg,
	.on_closed = on_closed,
};

static void out_done(struct pw_send *send, int err)
{
	struct out *o = pw_container_of(send, struct out, send);

	assert_false(o->done);
	assert_false(o->side->closed);
	o->done = true;
	if (err)
		o->side->nr_failed++;
	else
		o->side->nr_done++;
	/* the transport has no business here any more */
	xprt_world.released(o->payload, o->send.cmd.payload_len);
	memset(o->payload, 0xdd, o->send.cmd.payload_len);
	memset(&o->send.cmd, 0xdd, offsetof(struct pw_cmd, payload_len));
}

static struct out *put_out(struct side *s, const struct pw_cmd *cmd)
{
	struct out *o = calloc(1, sizeof(*o));

	assert_non_null(o);
	o->payload = xprt_world.alloc(cmd->payload_len);
	o->send = (struct pw_send){ .cmd = *cmd,
				    .payload = cmd->payload_len ? o->payload : NULL,
				    .done = out_done };
	o->side = s;
	o->next = s->out;
	s->out = o;
	s->nr_sent++;
	fill(o->payload, cmd->seq, cmd->payload_len);
	return o;
}

void side_send(struct side *s, const struct pw_cmd *cmd)
{
	pw_xprt_send(s->x, &put_out(s, cmd)->send);
}

/* Calls --------------------------------------------------------------------------------------- */

uint16_t rig_free_slot(void)
{
	uint32_t first = random_below(RIG_SLOTS);

	for (uint32_t i = 0; i < RIG_SLOTS; i++) {
		uint32_t slot = (first + i) % RIG_SLOTS;
		struct call *c = &rig_calls[slot];

		if (slot && !c->busy && (!c->out || c->out->done))
			return (uint16_t)slot;
	}
	return 0;
}

/* Cuts @len bytes at @mem at random: the first byte lies in the last piece of it. */
static void cut(struct call *c, uint8_t *mem, uint32_t len)
{
	uint32_t nr = rig_max_runs > 1 && len > 1 ? 1 + random_below(PW_MIN(rig_max_runs, len)) : 1;
	uint32_t left = len;

	if (rig_all_runs)
		nr = PW_MIN(rig_max_runs, len);
	c->runs = (struct pw_runs){ c->v, 0 };
	for (uint32_t i = 0; nr > 1 && i < nr; i++) {
		uint32_t max = left - (nr - 1 - i), n = i + 1 < nr ? 1 + random_below(max) : left;

		/* as long as each other, more or less, or very different */
		if (i + 1 < nr && (rig_all_runs || (c - rig_calls) % 2))
			n = PW_MIN(max, len / nr + 1);
		left -= n;
		c->v[i] = (struct iovec){ mem + left, n };
		c->runs.nr++;
	}
	if (nr > 1 && pw_xprt_gathers(client.x, &c->runs, c->answer_len) != PW_GATHER_OK)
		c->runs.nr = 0;
	rig_nr_gathered += c->runs.nr > 1;
}

/* The payload that put_out() made, in runs. */
static void scatter_out(struct call *c, uint32_t len)
{
	uint8_t *whole = malloc(len);

	assert_non_null(whole);
	fill(whole, c->seq, len);
	pw_runs_fill(&c->runs, whole, len);
	free(whole);
	c->out->send.payload = NULL;
	c->out->send.runs = &c->runs;
}

void rig_call(uint16_t slot, uint64_t off, uint32_t len, uint32_t answer_len)
{
	struct call *c = &rig_calls[slot];
	struct pw_cmd cmd;

	make_req(&cmd, ++rig_nr_calls, len);
	cmd.slot = slot;
	cmd.io.off = off;
	if (!len)
		cmd.io.len = answer_len ? answer_len : 1;
	c->busy = true;
	c->seq = cmd.seq;
	c->answer_len = len ? 0 : answer_len;
	c->out = put_out(&client, &cmd);
	cut(c, len ? c->out->payload : client.slot[slot], len ? len : c->answer_len);
	if (c->runs.nr && len) {
		scatter_out(c, len);
	} else if (!c->runs.nr) {
		c->out->send.answer = client.slot[slot];
		c->out->send.answer_max = c->answer_len;
		c->out->send.answer_direct = rig_direct;
	}
	pw_xprt_send(client.x, &c->out->send);
}

/* The slot's buffer goes elsewhere, as to a store that keeps what was written. */
static void take_buffer(uint16_t slot)
{
	uint8_t **spare = &node.spare[random_below(RIG_SPARES)];

	rig_calls[slot].taken = node.slot[slot];
	node.slot[slot] = *spare;
	*spare = rig_calls[slot].taken;
	pw_xprt_grant(node.x, slot, node.slot[slot], RIG_BUF);
}

bool rig_answer(void)
{
	struct pw_cmd req, rsp;
	uint32_t i;

	if (!nr_held || !node.x || node.closed)
		return false;
	i = random_below(nr_held);
	req = held[i];
	held[i] = held[--nr_held];
	if (rig_take_buffers && req.payload_len && !random_below(2))
		take_buffer(req.slot);
	make_rsp(&rsp, req.seq, rig_calls[req.slot].answer_len);
	rsp.slot = req.slot;
	rsp.op = req.op;
	if (req.op == PW_OP_WRITE) {
		rsp.attr.attr.ino = 1;
		rsp.attr.attr.mode = S_IFREG;
	}
	side_send(&node, &rsp);
	return true;
}

struct pw_conn_stats side_stats(const struct side *s)
{
	struct pw_conn_stats st;

	pw_xprt_get_stats(s->x, &st);
	return st;
}

static struct side *closing_side;

static bool is_closed(void)
{
	return closing_side->closed;
}

static void side_fini(struct side *s)
{
	while (s->out) {
		struct out *o = s->out;

		s->out = o->next;
		assert_true(o->done);
		free(o);
	}
	memset(s, 0, sizeof(*s));
}

void side_close(struct side *s, int err)
{
	if (!s->x)
		return;
	pw_xprt_close(s->x, err, "closed by the test");
	closing_side = s;
	run_until(is_closed);
	pw_xprt_free(s->x);
	s->x = NULL;
	for (uint32_t i = 0; i < RIG_SLOTS; i++)
		for (uint32_t j = 0; j < 64; j++)
			assert_int_equal(s->slot[i][j], 0xee);
	if (s == &node)
		nr_held = 0;
	if (s == &client)
		memset(rig_calls, 0, sizeof(rig_calls));
}

bool rig_all_answered(void)
{
	return (rig_nr_answered == rig_nr_calls && client.nr_done == client.nr_sent &&
		node.nr_done == node.nr_sent) ||
	       client.closed || node.closed;
}

void rig_finish_calls(void)
{
	run_until(rig_all_answered);
	if (client.closed || node.closed)
		fail_msg("client: '%s', node: '%s'", client.why, node.why);
}

void rig_forget(void)
{
	side_close(&client, -ECANCELED);
	side_close(&node, -ECANCELED);
	client.connected = client.closed = node.connected = node.closed = false;
	client.nr_sent = client.nr_done = client.nr_failed = client.nr_msgs = 0;
	node.nr_sent = node.nr_done = node.nr_failed = node.nr_msgs = 0;
	rig_nr_answered = rig_nr_calls;
}

static void side_init(struct side *s)
{
	for (uint32_t i = 0; i < RIG_SLOTS; i++)
		s->slot[i] = xprt_world.alloc(RIG_BUF);
	for (uint32_t i = 0; i < RIG_SPARES; i++)
		s->spare[i] = xprt_world.alloc(RIG_BUF);
	s->buf = s->slot[1];
	s->other = xprt_world.alloc(RIG_BUF);
}

/* Connections --------------------------------------------------------------------------------- */

static int on_accept(void *arg, struct pw_xprt *x, const char *peer_name,
		     const struct pw_xprt_ops **ret_ops, void **ret_owner)
{
	if (node.x)
		return -EBUSY;
	node.x = x;
	node.connected = true;
	*ret_ops = &xprt_ops;
	*ret_owner = &node;
	return 0;
}

static bool both_connected(void)
{
	return (client.connected && node.connected) || client.closed || node.closed;
}

void rig_client_connect(const char *host, uint16_t port)
{
	assert_int_equal(pw_xprt_connect(rig_loop, host, port, "", xprt_world.transport,
					 &xprt_ops, &client, &client.x),
			 0);
}

int rig_listen(const char *host, uint16_t port, struct pw_xprt_listener **ret)
{
	return pw_xprt_listen(rig_loop, host, port, xprt_world.transport, on_accept, NULL, ret);
}

void rig_grant_slots(void)
{
	if (client.x)
		pw_xprt_set_up(client.x, RIG_SLOTS);
	if (!node.x)
		return;
	pw_xprt_set_up(node.x, RIG_SLOTS);
	for (uint16_t i = 0; i < RIG_SLOTS; i++)
		pw_xprt_grant(node.x, i, node.slot[i], RIG_BUF);
}

void rig_connect_pair(void)
{
	if (!rig_listener)
		assert_int_equal(rig_listen("127.0.0.1", 0, &rig_listener), 0);
	rig_client_connect("127.0.0.1", pw_xprt_listener_port(rig_listener));
	run_until(both_connected);
	assert_true(client.connected && node.connected);
	rig_grant_slots();
}

int rig_set_up(void **state)
{
	const struct pw_loop_opts o = { .sq_entries = 64, .max_ios = 64 };

	rig_random = rig_seed;
	rig_nr_calls = rig_nr_answered = nr_held = 0;
	rig_take_buffers = rig_hold_answers = rig_sleepy = false;
	rig_max_runs = 0;
	rig_all_runs = rig_direct = false;
	rig_nr_gathered = 0;
	memset(rig_calls, 0, sizeof(rig_calls));
	xprt_world.begin(rig_seed);
	assert_int_equal(pw_loop_new(&rig_loop, &o), 0);
	pw_ready_init(&watcher, watch);
	pw_timer_init(&clockwork, on_clockwork);
	side_init(&client);
	side_init(&node);
	return 0;
}

int rig_tear_down(void **state)
{
	side_close(&client, -ECANCELED);
	side_close(&node, -ECANCELED);
	side_fini(&client);
	side_fini(&node);
	pw_xprt_listener_free(rig_listener);
	rig_listener = NULL;
	run_turns(8);
	pw_loop_free(rig_loop);
	assert_int_equal(xprt_world.end(), 0);
	return 0;
}
