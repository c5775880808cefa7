/* SPDX-License-Identifier: Apache-2.0 */
/* conn_pair.c -- both ends of RDMA connections in one process: hand-shake, writes, reads, again
 *
 *	conn_pair [-a ADDRESS] [-n CALLS] [-r RECONNECTS] [-s SEED] [-m] [-u] [-f]
 *
 * Each call has a slot, a length of 1 byte to 1 MiB and contents that its number tells. The node
 * keeps what was written to a slot and answers reads with it; with -m it gives the slot another
 * buffer before each answer; with -u payloads of the client lie in runs. Whatever differs, is done
 * twice or never, ends the program with 1; so does a connection that is lost, but with -f, for
 * fault points: then its round is over.
 * With the fake verbs it is a unit test, with the real ones it runs on any device that ADDRESS is
 * on.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/conn.h"
#include "common/uring.h"
#ifdef CONN_PAIR_FAKE
#include "fake_verbs.h"
#endif

#define SLOTS 16u
#define MAX_IO (1u << 20)
#define BUF (MAX_IO + 8192u)
#define RUNS 24u

#define MUST(cond)                                                                                 \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);                 \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

struct call {
	struct pw_send send;
	bool busy, sending, answered;
	uint64_t nr; /* tells the contents */
	uint32_t len;
	uint8_t *buf; /* BUF bytes of the arena */
	struct pw_runs runs; /* of them, the last ones first; nr 1: in one piece */
	struct iovec v[RUNS];
};

struct node_slot {
	struct pw_send send;
	bool busy; /* the answer is under way */
	bool parked; /* the next request came before that was told */
	struct pw_cmd next;
	void *next_payload;
	uint8_t *buf, *data; /* what the slot has; what was written last, inside of kept */
	uint8_t *kept;
	uint32_t len;
	uint64_t nr;
};

static struct {
	const char *address;
	uint32_t calls, reconnects;
	bool swap, scatter, may_fail;
	struct pw_loop *loop;
	struct pw_listener *listener;
	struct pw_conn *client, *node;
	struct pw_identity client_id, node_id;
	uint64_t random;
	uint8_t *arena;
	struct call call[SLOTS];
	struct node_slot slot[SLOTS];
	uint64_t seq[SLOTS], written_nr[SLOTS];
	uint32_t written_len[SLOTS];
	uint32_t nr_begun, nr_over, nr_up, nr_down, nr_scattered, busy;
	bool up, leaving;
	uint64_t incarnation;
	struct pw_ready pump;
	struct pw_conn_stats stats;
} w;

static uint32_t below(uint32_t n)
{
	w.random = w.random * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(w.random >> 33) % n;
}

static uint8_t byte_of(uint64_t nr, uint32_t i)
{
	return (uint8_t)(nr * 131 + i + (i >> 8) * 7);
}

/* @p has the bytes from @first on. */
static void check(const uint8_t *p, uint64_t nr, uint32_t first, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		if (p[i] != byte_of(nr, first + i)) {
			fprintf(stderr, "call %llu: byte %u is %u, not %u\n",
				(unsigned long long)nr, first + i, p[i], byte_of(nr, first + i));
			exit(1);
		}
}

static void fill(const struct call *c, uint64_t nr)
{
	for (uint32_t r = 0, at = 0; r < c->runs.nr; at += (uint32_t)c->v[r++].iov_len)
		for (uint32_t i = 0; i < c->v[r].iov_len; i++)
			((uint8_t *)c->v[r].iov_base)[i] = byte_of(nr, at + i);
}

static void check_call(const struct call *c, uint64_t nr, uint32_t len)
{
	for (uint32_t r = 0, at = 0; r < c->runs.nr && at < len; at += (uint32_t)c->v[r++].iov_len)
		check(c->v[r].iov_base, nr, at, (uint32_t)PW_MIN(c->v[r].iov_len, len - at));
}

static bool is_scattered(const struct call *c)
{
	return c->runs.nr > 1;
}

/* Into some runs, if the device takes them. */
static void scatter(struct call *c, uint32_t len, bool in)
{
	uint32_t nr = w.scatter ? PW_MIN(2 + below(RUNS - 1), len) : 1, left = len;

	for (uint32_t i = 0; i < nr; i++) {
		uint32_t max = left - (nr - 1 - i), n = left;

		if (i + 1 < nr)
			n = PW_MIN(1 + below(2 * max / (nr - i) + 1), max);
		left -= n;
		c->v[i] = (struct iovec){ c->buf + left, n };
	}
	c->runs = (struct pw_runs){ c->v, nr };
	if (nr > 1 && pw_conn_gathers(w.client, &c->runs, in) != PW_GATHER_OK) {
		c->runs.nr = 1;
		c->v[0] = (struct iovec){ c->buf, len };
	}
	w.nr_scattered += is_scattered(c);
}

/* Node ---------------------------------------------------------------------------------------- */

static int node_hello(struct pw_conn *c, const struct pw_body_hello *hello,
		      struct pw_body_welcome *welcome)
{
	welcome->nr_slots = SLOTS;
	welcome->max_io = MAX_IO;
	welcome->lease_ms = 1000;
	welcome->boot = 1;
	return 0;
}

static void node_up(struct pw_conn *c, const struct pw_body_welcome *welcome)
{
	for (uint16_t i = 0; i < SLOTS; i++)
		pw_conn_grant(c, i, w.slot[i].buf, BUF);
}

static void *node_payload(struct pw_conn *c, const struct pw_cmd *cmd)
{
	MUST(cmd->slot < SLOTS && !w.slot[cmd->slot].parked);
	return w.slot[cmd->slot].buf + cmd->io.off % PW_BLOCK_BYTES;
}

static void run(struct pw_conn *c, struct node_slot *sl, const struct pw_cmd *cmd, void *payload);

static void answered(struct pw_send *s, int err)
{
	struct node_slot *sl = pw_container_of(s, struct node_slot, send);
	bool parked = sl->parked && !err;

	MUST(sl->busy);
	sl->busy = sl->parked = false;
	if (parked)
		run(w.node, sl, &sl->next, sl->next_payload);
}

static void node_msg(struct pw_conn *c, const struct pw_cmd *cmd, void *payload)
{
	struct node_slot *sl = &w.slot[cmd->slot];

	MUST(cmd->slot < SLOTS && !sl->parked);
	if (!sl->busy) {
		run(c, sl, cmd, payload);
		return;
	}
	sl->parked = true;
	sl->next = *cmd;
	sl->next_payload = payload;
}

static void run(struct pw_conn *c, struct node_slot *sl, const struct pw_cmd *cmd, void *payload)
{
	sl->busy = true;
	pw_cmd_init(&sl->send.cmd, PW_MSG_RSP, cmd->op);
	sl->send.cmd.slot = cmd->slot;
	sl->send.cmd.seq = cmd->seq;
	sl->send.done = answered;
	sl->send.payload = NULL;
	if (cmd->op == PW_OP_WRITE) {
		uint8_t *old = sl->kept;

		sl->send.cmd.attr.attr.ino = 1;
		sl->send.cmd.attr.attr.mode = S_IFREG;
		sl->len = cmd->payload_len;
		sl->nr = cmd->io.ino;
		check(payload, sl->nr, 0, sl->len);
		if (w.swap) {
			sl->kept = sl->buf;
			sl->data = payload;
			sl->buf = old;
			pw_conn_grant(c, cmd->slot, sl->buf, BUF);
		} else {
			sl->data = sl->kept;
			memcpy(sl->data, payload, sl->len);
		}
	} else {
		sl->send.cmd.payload_len = PW_MIN(cmd->io.len, sl->len);
		sl->send.payload = sl->send.cmd.payload_len ? sl->data : NULL;
	}
	MUST(!pw_conn_send(c, &sl->send));
}

static void node_down(struct pw_conn *c, int err, const char *why)
{
	struct pw_conn_stats s;

	pw_conn_get_stats(c, &s);
	pw_conn_stats_add(&w.stats, &s);
	w.node = NULL;
	w.nr_down++;
	for (uint32_t i = 0; i < SLOTS; i++)
		MUST(!w.slot[i].busy);
	pw_conn_free(c);
}

static void on_accept(struct pw_listener *l, struct pw_conn *c)
{
	MUST(!w.node);
	w.node = c;
}

static const struct pw_conn_ops node_ops = {
	.on_hello = node_hello,
	.on_up = node_up,
	.on_payload = node_payload,
	.on_msg = node_msg,
	.on_down = node_down,
};
static const struct pw_listener_ops listener_ops = { .on_accept = on_accept };

/* Client -------------------------------------------------------------------------------------- */

static void call_over(struct call *c)
{
	if (c->sending || !c->answered)
		return;
	c->busy = false;
	w.busy--;
	w.nr_over++;
	pw_loop_ready(w.loop, &w.pump);
}

static void call_sent(struct pw_send *s, int err)
{
	struct call *c = pw_container_of(s, struct call, send);

	MUST(c->busy && c->sending);
	c->sending = false;
	if (err)
		return;
	call_over(c);
}

static void call_begin(uint32_t slot)
{
	struct call *c = &w.call[slot];
	bool write = !w.written_len[slot] || below(2);
	uint32_t len = 1 + below(below(4) ? MAX_IO : 5000);

	c->busy = c->sending = true;
	c->answered = false;
	w.busy++;
	w.nr_begun++;
	pw_cmd_init(&c->send.cmd, PW_MSG_REQ, write ? PW_OP_WRITE : PW_OP_READ);
	c->send.cmd.slot = (uint16_t)slot;
	c->send.cmd.seq = ++w.seq[slot];
	c->send.done = call_sent;
	c->send.payload = NULL;
	c->send.answer = NULL;
	c->send.answer_max = 0;
	c->send.cmd.io.off = below(3) ? below(1 << 20) : 0;
	c->send.cmd.io.len = len;
	c->send.cmd.io.ino = 1;
	c->send.runs = NULL;
	scatter(c, len, !write);
	if (write) {
		c->nr = 1 + w.nr_begun;
		c->send.cmd.io.ino = c->nr;
		c->send.cmd.payload_len = len;
		fill(c, c->nr);
		c->send.payload = is_scattered(c) ? NULL : c->buf;
		c->send.runs = is_scattered(c) ? &c->runs : NULL;
		w.written_nr[slot] = c->nr;
		w.written_len[slot] = len;
	} else {
		memset(c->buf, 0xcc, len);
		c->len = len;
		c->send.answer = is_scattered(c) ? NULL : c->buf;
		c->send.answer_max = is_scattered(c) ? 0 : len;
	}
	MUST(!pw_conn_send(w.client, &c->send));
}

static void pump(struct pw_ready *r)
{
	if (!w.up)
		return;
	for (uint32_t i = 1; i < SLOTS && w.nr_begun < w.calls; i++)
		if (!w.call[i].busy)
			call_begin(i);
	if (w.nr_over == w.calls && !w.leaving) {
		w.leaving = true;
		pw_conn_goodbye(w.client);
	}
}

static void client_up(struct pw_conn *c, const struct pw_body_welcome *welcome)
{
	MUST(welcome->nr_slots == SLOTS);
	w.up = true;
	w.nr_up++;
	pw_loop_ready(w.loop, &w.pump);
}

static void *client_payload(struct pw_conn *c, const struct pw_cmd *cmd)
{
	MUST(cmd->slot && cmd->slot < SLOTS && w.call[cmd->slot].busy);
	MUST(cmd->payload_len <= w.call[cmd->slot].len);
	return w.call[cmd->slot].buf;
}

static const struct pw_runs *client_runs(struct pw_conn *conn, const struct pw_cmd *cmd)
{
	struct call *c = &w.call[cmd->slot < SLOTS ? cmd->slot : 0];

	return c->busy && cmd->op == PW_OP_READ && is_scattered(c) ? &c->runs : NULL;
}

static void client_msg(struct pw_conn *conn, const struct pw_cmd *cmd, void *payload)
{
	struct call *c = &w.call[cmd->slot];
	uint32_t slot = cmd->slot;

	MUST(slot && slot < SLOTS && c->busy && !c->answered && cmd->seq == w.seq[slot]);
	if (cmd->op == PW_OP_READ) {
		MUST(cmd->payload_len == PW_MIN(c->len, w.written_len[slot]));
		check_call(c, w.written_nr[slot], cmd->payload_len);
	}
	c->answered = true;
	call_over(c);
}

static void connect_now(void)
{
	int err;

	w.up = w.leaving = false;
	w.nr_begun = w.nr_over = w.busy = 0;
	for (uint32_t i = 0; i < SLOTS; i++)
		w.call[i].busy = false;
	err = pw_conn_connect(w.client, w.address, pw_listener_port(w.listener), ++w.incarnation);
	MUST(!err || w.may_fail);
	w.leaving = err;
}

static void client_down(struct pw_conn *c, int err, const char *why)
{
	for (uint32_t i = 0; i < SLOTS; i++)
		MUST(!w.call[i].sending);
	w.up = false;
	if (!w.leaving && !w.may_fail) {
		fprintf(stderr, "connection lost: %s (%s)\n", why, strerror(-err));
		exit(1);
	}
	/* what was written under way is not known: begin with writes again */
	if (!w.leaving)
		memset(w.written_len, 0, sizeof(w.written_len));
	w.leaving = true;
	/* the next one comes when the node's end is gone: see watch() */
}

static const struct pw_conn_ops client_ops = {
	.on_up = client_up,
	.on_payload = client_payload,
	.on_runs = client_runs,
	.on_msg = client_msg,
	.on_down = client_down,
};

/* Life ---------------------------------------------------------------------------------------- */

static struct pw_ready watcher;

static bool is_over(void)
{
	return pw_conn_state(w.client) == PW_CONN_DOWN && !w.node && w.leaving;
}

static void turn(void)
{
#ifdef CONN_PAIR_FAKE
	fake_turn();
	pw_loop_ready(w.loop, &watcher);
#endif
}

static void watch(struct pw_ready *r)
{
	if (is_over()) {
		pw_loop_stop(w.loop);
		return;
	}
	turn();
}

/* Real devices: the loop sleeps, and this looks once in a while whether both ends are gone. */
static struct pw_timer tick;

static void on_tick(struct pw_timer *t)
{
	pw_loop_ready(w.loop, &watcher);
	pw_timer_arm(w.loop, t, pw_loop_now(w.loop) + 5 * PW_NS_PER_MS);
}

static uint32_t nr_fds(void)
{
	uint32_t n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void open_all(void)
{
	const struct pw_loop_opts o = { .sq_entries = 64, .max_ios = 64 };
	struct pw_conn_opts co = { .transport = PW_TRANSPORT_RDMA, .connect_timeout_ms = 20000,
				   .dead_ms = 20000 };
	size_t size = 3ull * SLOTS * BUF;
	int err;

	w.arena = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	MUST(w.arena != MAP_FAILED);
	MUST(!pw_mem_announce(w.arena, size));
	for (uint32_t i = 0; i < SLOTS; i++) {
		w.call[i].buf = w.arena + (3 * i) * (size_t)BUF;
		w.slot[i].buf = w.arena + (3 * i + 1) * (size_t)BUF;
		w.slot[i].kept = w.arena + (3 * i + 2) * (size_t)BUF;
	}
	memset(w.client_id.key, 7, 32);
	w.client_id.have_key = true;
	w.node_id = w.client_id;
	err = pw_loop_new(&w.loop, &o);
	MUST(!err || (w.may_fail && !pw_loop_new(&w.loop, &o)));
	pw_ready_init(&w.pump, pump);
	pw_ready_init(&watcher, watch);
	pw_timer_init(&tick, on_tick);
	err = pw_listener_new(w.loop, w.address, 0, &listener_ops, &node_ops, NULL, &w.node_id,
			      &co, &w.listener);
	if (err && w.may_fail)
		err = pw_listener_new(w.loop, w.address, 0, &listener_ops, &node_ops, NULL,
				      &w.node_id, &co, &w.listener);
	if (err) {
		fprintf(stderr, "no listener at %s: %s\n", w.address, strerror(-err));
		exit(1);
	}
	err = pw_conn_new(w.loop, &client_ops, NULL, &w.client_id, &co, &w.client);
	MUST(!err || (w.may_fail && !pw_conn_new(w.loop, &client_ops, NULL, &w.client_id, &co,
						 &w.client)));
}

static void close_all(void)
{
	pw_conn_free(w.client);
	pw_listener_free(w.listener);
	/* one turn: the listener's descriptor is not watched any more */
	w.leaving = false;
	pw_loop_stop(w.loop);
	MUST(!pw_loop_run(w.loop));
	pw_loop_stop(w.loop);
	MUST(!pw_loop_run(w.loop));
	pw_loop_free(w.loop);
	pw_mem_withdraw(w.arena);
	munmap(w.arena, 3ull * SLOTS * BUF);
}

static void parse(int argc, char **argv)
{
	int c;

	w.address = "127.0.0.1";
	w.calls = 500;
	w.random = 1;
	while ((c = getopt(argc, argv, "a:n:r:s:muf")) >= 0) {
		switch (c) {
		case 'a':
			w.address = optarg;
			break;
		case 'n':
			w.calls = (uint32_t)atoi(optarg);
			break;
		case 'r':
			w.reconnects = (uint32_t)atoi(optarg);
			break;
		case 's':
			w.random = strtoull(optarg, NULL, 0);
			break;
		case 'f':
			w.may_fail = true;
			break;
		case 'm':
			w.swap = true;
			break;
		case 'u':
			w.scatter = true;
			break;
		default:
			exit(2);
		}
	}
}

int main(int argc, char **argv)
{
	uint32_t fds = 0;

	parse(argc, argv);
#ifdef CONN_PAIR_FAKE
	fake_begin(w.random);
	if (getenv("FAKE_DEVICE") && !strcmp(getenv("FAKE_DEVICE"), "siw"))
		fake_be_siw();
#endif
	open_all();
	for (uint32_t i = 0; i <= w.reconnects; i++) {
		connect_now();
		pw_loop_ready(w.loop, &watcher);
#ifndef CONN_PAIR_FAKE
		pw_timer_arm(w.loop, &tick, pw_loop_now(w.loop));
#endif
		MUST(!pw_loop_run(w.loop));
		pw_timer_cancel(w.loop, &tick);
		if (i == 1)
			fds = nr_fds();
		MUST(i < 1 || nr_fds() == fds);
	}
	close_all();
	printf("%u connections, %u calls each, %u in runs; %llu MiB to the node, %llu bytes copied "
	       "there\n",
	       w.nr_up, w.calls, w.nr_scattered, (unsigned long long)w.stats.bytes_rx >> 20,
	       (unsigned long long)w.stats.copied_bytes);
	MUST(!w.scatter || w.nr_scattered || w.may_fail);
#ifdef CONN_PAIR_FAKE
	MUST(!fake_end());
#endif
	return 0;
}
