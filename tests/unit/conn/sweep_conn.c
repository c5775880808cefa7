/* SPDX-License-Identifier: Apache-2.0 */
/* sweep_conn.c -- a session over loopback that has to end well whatever fails on the way
 *
 * A client connects, by name and by address, writes small and large payloads, in one piece and in
 * runs, and reads into runs, connects again when it is thrown out (a few times), and says goodbye.
 * Without a fault all of it has to work; with one, each message is done once, each end comes once,
 * nothing leaks and nothing hangs.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/conn.h"
#include "common/uring.h"

#define NR_SLOTS 8u
#define BLOCK (128u << 10)
#define MAX_TRIES 4u
#define BYTE 0x5a /* all payloads */

#define MUST(cond)                                                                                 \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);                 \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

static struct pw_loop *loop;
static struct pw_listener *listener;
static const struct pw_identity identity = { .id = "both" };
static struct pw_conn *client;
static struct pw_send sends[NR_SLOTS];
static bool out[NR_SLOTS]; /* not done yet */
static uint32_t tries, nr_answers, nr_nodes, nr_downs;
static bool finished, worked;
static uint8_t c_buf[BLOCK], n_buf[BLOCK];
static struct pw_send answers[NR_SLOTS];
/* of c_buf, the last bytes first; and where a read lands */
static uint8_t into[BLOCK];
static struct iovec from_v[3], into_v[3];
static const struct pw_runs from_runs = { from_v, 3 }, into_runs = { into_v, 3 };

/* Node ---------------------------------------------------------------------------------------- */

static int node_hello(struct pw_conn *c, const struct pw_body_hello *hello,
		      struct pw_body_welcome *w)
{
	w->nr_slots = NR_SLOTS;
	w->max_io = BLOCK;
	w->lease_ms = 1000;
	return 0;
}

static void node_up(struct pw_conn *c, const struct pw_body_welcome *w)
{
	(void)c;
}

static void *node_payload(struct pw_conn *c, const struct pw_cmd *cmd)
{
	return n_buf;
}

static void node_msg(struct pw_conn *c, const struct pw_cmd *cmd, void *payload)
{
	struct pw_send *s = &answers[cmd->slot];

	pw_cmd_init(&s->cmd, PW_MSG_RSP, PW_OP_READ);
	s->cmd.slot = cmd->slot;
	s->cmd.seq = cmd->seq;
	s->cmd.payload_len = cmd->op == PW_OP_READ ? cmd->io.len : 0;
	s->payload = n_buf;
	MUST(!pw_conn_send(c, s));
}

static void node_down(struct pw_conn *c, int err, const char *why)
{
	nr_nodes--;
	pw_conn_free(c);
}

static void on_accept(struct pw_listener *l, struct pw_conn *c)
{
	nr_nodes++;
}

/* Client -------------------------------------------------------------------------------------- */

static void try_connect(struct pw_conn *c)
{
	while (tries < MAX_TRIES) {
		const char *host = tries++ & 1 ? "127.0.0.1" : "localhost";

		if (!pw_conn_connect(c, host, pw_listener_port(listener), tries))
			return;
	}
	finished = true;
}

static void sent(struct pw_send *s, int err)
{
	MUST(out[s - sends]);
	out[s - sends] = false;
}

static void cut(struct iovec *v, uint8_t *buf)
{
	v[0] = (struct iovec){ buf + 100000, BLOCK - 100000 };
	v[1] = (struct iovec){ buf + 1, 99999 };
	v[2] = (struct iovec){ buf, 1 };
}

static void client_read(struct pw_conn *c)
{
	struct pw_send *s = &sends[0];

	pw_cmd_init(&s->cmd, PW_MSG_REQ, PW_OP_READ);
	s->cmd.slot = NR_SLOTS - 1;
	s->cmd.seq = 1;
	s->cmd.io.len = BLOCK;
	s->cmd.io.ino = 1;
	s->done = sent;
	out[0] = true;
	memset(into, 0xcc, sizeof(into));
	MUST(!pw_conn_send(c, s));
}

static void client_up(struct pw_conn *c, const struct pw_body_welcome *w)
{
	nr_answers = 0;
	cut(from_v, c_buf);
	cut(into_v, into);
	MUST(pw_conn_gathers(c, &from_runs, false) == PW_GATHER_OK);
	MUST(!out[0]);
	client_read(c);
	for (uint32_t i = 1; i < NR_SLOTS - 1; i++) {
		struct pw_send *s = &sends[i];

		MUST(!out[i]);
		pw_cmd_init(&s->cmd, PW_MSG_REQ, PW_OP_WRITE);
		s->cmd.slot = (uint16_t)i;
		s->cmd.seq = 1;
		s->cmd.payload_len = s->cmd.io.len = i & 1 ? BLOCK : 100;
		s->cmd.io.ino = 1;
		s->payload = i % 4 == 1 ? NULL : c_buf;
		s->runs = i % 4 == 1 ? &from_runs : NULL;
		s->done = sent;
		out[i] = true;
		MUST(!pw_conn_send(c, s));
	}
}

static void *client_payload(struct pw_conn *c, const struct pw_cmd *cmd)
{
	return NULL;
}

static const struct pw_runs *client_runs(struct pw_conn *c, const struct pw_cmd *cmd)
{
	return cmd->slot == NR_SLOTS - 1 && cmd->payload_len == BLOCK ? &into_runs : NULL;
}

static void *client_guess(struct pw_conn *c, uint32_t *ret_len)
{
	*ret_len = sizeof(c_buf);
	return NULL;
}

static void client_msg(struct pw_conn *c, const struct pw_cmd *cmd, void *payload)
{
	for (uint32_t i = 0; i < cmd->payload_len; i++)
		MUST(into[i] == BYTE);
	if (++nr_answers == NR_SLOTS - 1) {
		worked = true;
		pw_conn_goodbye(c);
	}
}

static void client_down(struct pw_conn *c, int err, const char *why)
{
	nr_downs++;
	for (uint32_t i = 0; i < NR_SLOTS; i++)
		MUST(!out[i]);
	if (worked)
		finished = true;
	else
		try_connect(c);
}

static const struct pw_conn_ops client_ops = {
	.on_up = client_up,
	.on_payload = client_payload,
	.on_runs = client_runs,
	.guess_payload = client_guess,
	.on_msg = client_msg,
	.on_down = client_down,
};

/* Run ----------------------------------------------------------------------------------------- */

static struct pw_ready watcher;
static bool (*watched)(void);

static void watch(struct pw_ready *r)
{
	if (watched())
		pw_loop_stop(loop);
	else
		pw_loop_ready(loop, r);
}

static void run_until(bool (*cond)(void))
{
	watched = cond;
	pw_loop_ready(loop, &watcher);
	alarm(30);
	MUST(!pw_loop_run(loop));
	alarm(0);
}

static bool is_over(void)
{
	return finished && !nr_nodes;
}

static bool some_turns(void)
{
	static uint32_t n;

	return ++n == 8;
}

static int start(void)
{
	static const struct pw_listener_ops lops = { .on_accept = on_accept };
	static const struct pw_conn_ops node_ops = {
		.on_hello = node_hello,
		.on_up = node_up,
		.on_payload = node_payload,
		.on_msg = node_msg,
		.on_down = node_down,
	};
	/* a node that hangs in the hand-shake because its client is gone may do so briefly */
	const struct pw_conn_opts o = { .connect_timeout_ms = 500 };
	int err = pw_listener_new(loop, "127.0.0.1", 0, &lops, &node_ops, NULL, &identity, &o,
				  &listener);

	return err ? err : pw_conn_new(loop, &client_ops, NULL, &identity, &o, &client);
}

int main(void)
{
	const struct pw_loop_opts o = { .sq_entries = 64, .max_ios = 64 };

	if (pw_loop_new(&loop, &o))
		return getenv("PW_FAULT") ? 0 : 1;
	pw_ready_init(&watcher, watch);
	memset(c_buf, BYTE, sizeof(c_buf));
	memset(n_buf, BYTE, sizeof(n_buf));
	if (!start()) {
		try_connect(client);
		run_until(is_over);
		MUST(worked || getenv("PW_FAULT"));
		MUST(nr_downs || getenv("PW_FAULT"));
	}
	pw_conn_free(client);
	pw_listener_free(listener);
	run_until(some_turns);
	pw_loop_free(loop);
	return 0;
}
