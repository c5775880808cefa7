/* SPDX-License-Identifier: Apache-2.0 */
/* conn_stream.c -- what our connections make of TCP over loopback; its floor is tcp_stream.c
 *
 * Two processes with a loop each, the hand-shake of a node without a key, then WRITE or READ
 * messages of N bytes: a window of them for the stream, one for request and response. The node
 * touches no payload.
 *
 * The child is the node, forked before either has a ring. Only the parent reads the clock.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/conn.h"
#include "common/uring.h"

#define MAX_SAMPLES (1u << 22)
#define MAX_WINDOW 64u

static struct {
	uint32_t block_bytes, window;
	double seconds;
	bool read_like, json, no_guess;
} opt = { .block_bytes = 1 << 20, .window = 16, .seconds = 3 };

/* CPU that each side had spent when the connection came up; shared by both processes. */
static struct {
	double client, node;
} *cpu_at_start;

static struct pw_loop *loop;
static struct pw_identity identity = { .id = { 1 } };
static uint8_t *buffer[MAX_WINDOW]; /* of slot i + 1 */

static void die(const char *what, int err)
{
	fprintf(stderr, "conn_stream: %s: %s\n", what, strerror(-err));
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static double cpu_seconds(int who)
{
	struct rusage u;

	getrusage(who, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void set_up(void)
{
	const struct pw_loop_opts o = { .sq_entries = 128, .max_ios = 128 };
	int err = pw_loop_new(&loop, &o);

	if (err)
		die("loop", err);
	for (uint32_t i = 0; i < opt.window; i++) {
		if (posix_memalign((void **)&buffer[i], 4096, opt.block_bytes))
			die("memory", -ENOMEM);
		memset(buffer[i], 1, opt.block_bytes);
	}
}

/* Node ---------------------------------------------------------------------------------------- */

static struct pw_send answer[MAX_WINDOW];
static uint32_t last_slot = 1;

static int node_hello(struct pw_conn *c, const struct pw_body_hello *h, struct pw_body_welcome *w)
{
	w->nr_slots = opt.window + 1;
	w->max_io = PW_MAX_IO;
	w->lease_ms = 1000;
	w->boot = 1;
	return 0;
}

static void node_up(struct pw_conn *c, const struct pw_body_welcome *w)
{
	cpu_at_start->node = cpu_seconds(RUSAGE_SELF);
}

static void *node_payload(struct pw_conn *c, const struct pw_cmd *cmd)
{
	return cmd->slot <= opt.window && cmd->payload_len <= opt.block_bytes ?
		       buffer[cmd->slot - 1] :
		       NULL;
}

static void *node_guess(struct pw_conn *c, uint32_t *ret_len)
{
	if (opt.no_guess)
		return NULL;
	*ret_len = opt.read_like ? 0 : opt.block_bytes;
	return buffer[(opt.window == 1 ? last_slot : last_slot % opt.window + 1) - 1];
}

/* The next request of a slot may come before the kernel is done with the last answer. */
static struct pw_cmd parked[MAX_WINDOW];
static bool answering[MAX_WINDOW], is_parked[MAX_WINDOW];
static struct pw_conn *node_conn;

static void node_msg(struct pw_conn *c, const struct pw_cmd *cmd, void *payload);

static void node_sent(struct pw_send *s, int err)
{
	uint32_t i = (uint32_t)(s - answer);

	answering[i] = false;
	if (!is_parked[i] || err)
		return;
	is_parked[i] = false;
	node_msg(node_conn, &parked[i], NULL);
}

static void node_msg(struct pw_conn *c, const struct pw_cmd *cmd, void *payload)
{
	struct pw_send *s = &answer[cmd->slot - 1];

	last_slot = cmd->slot;
	node_conn = c;
	if (answering[cmd->slot - 1]) {
		parked[cmd->slot - 1] = *cmd;
		is_parked[cmd->slot - 1] = true;
		return;
	}
	answering[cmd->slot - 1] = true;
	s->done = node_sent;
	pw_cmd_init(&s->cmd, PW_MSG_RSP, cmd->op);
	s->cmd.slot = cmd->slot;
	s->cmd.seq = cmd->seq;
	s->cmd.attr.attr.ino = 1;
	s->cmd.attr.attr.mode = S_IFREG;
	if (cmd->op == PW_OP_READ) {
		s->cmd.payload_len = cmd->io.len;
		s->payload = buffer[cmd->slot - 1];
	}
	if (pw_conn_send(c, s))
		die("answer", -ENOTCONN);
}

static void node_down(struct pw_conn *c, int err, const char *why)
{
	struct pw_conn_stats s;
	struct pw_loop_stats l;

	pw_conn_get_stats(c, &s);
	pw_loop_get_stats(loop, &l);
	if (!opt.json)
		printf("node: %s; %lu messages, %lu bytes, %lu copied, %lu zero-copy sends of "
		       "which %lu copied; %lu turns, %lu sleeps, %lu submits\n",
		       why, s.msgs_rx, s.bytes_rx, s.copied_bytes, s.zc_sends, s.zc_copied,
		       l.turns, l.sleeps, l.submits);
	fflush(stdout);
	_exit(0);
}

static void node_accept(struct pw_listener *l, struct pw_conn *c)
{
}

static void run_node(int port_fd)
{
	static const struct pw_listener_ops lops = { .on_accept = node_accept };
	static const struct pw_conn_ops cops = {
		.on_hello = node_hello,
		.on_up = node_up,
		.on_payload = node_payload,
		.guess_payload = node_guess,
		.on_msg = node_msg,
		.on_down = node_down,
	};
	struct pw_listener *l;
	uint16_t port;
	int err;

	/* a client that dies does not leave its node behind */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	set_up();
	err = pw_listener_new(loop, "127.0.0.1", 0, &lops, &cops, NULL, &identity, NULL, &l);
	if (err)
		die("listen", err);
	port = pw_listener_port(l);
	if (write(port_fd, &port, sizeof(port)) != sizeof(port))
		die("pipe", -EPIPE);
	exit(pw_loop_run(loop) ? 1 : 0);
}

/* Client -------------------------------------------------------------------------------------- */

/* A slot is free again when its answer is in and its send is done: either may be first. */
static struct {
	struct pw_send send[MAX_WINDOW];
	uint32_t waits[MAX_WINDOW];
	uint64_t begin[MAX_WINDOW];
	struct pw_conn *conn;
	uint64_t start, end, last, nr;
	uint32_t out;
	uint32_t *samples;
} client;

static void client_sent(struct pw_send *s, int err);

static void send_next(struct pw_conn *c, uint32_t slot)
{
	struct pw_send *s = &client.send[slot - 1];

	pw_cmd_init(&s->cmd, PW_MSG_REQ, opt.read_like ? PW_OP_READ : PW_OP_WRITE);
	s->cmd.slot = (uint16_t)slot;
	s->cmd.seq = client.nr + 1;
	s->cmd.io.ino = 1;
	s->cmd.io.len = opt.block_bytes;
	if (!opt.read_like) {
		s->cmd.payload_len = opt.block_bytes;
		s->payload = buffer[slot - 1];
	}
	s->done = client_sent;
	client.begin[slot - 1] = now_ns();
	client.waits[slot - 1] = 2;
	client.out++;
	if (pw_conn_send(c, s))
		die("send", -ENOTCONN);
}

static void slot_event(struct pw_conn *c, uint32_t slot)
{
	if (--client.waits[slot - 1])
		return;
	client.out--;
	if (client.last < client.end)
		send_next(c, slot);
	else if (!client.out)
		pw_conn_goodbye(c);
}

static void client_sent(struct pw_send *s, int err)
{
	if (!err)
		slot_event(client.conn, (uint32_t)(s - client.send) + 1);
}

static void client_up(struct pw_conn *c, const struct pw_body_welcome *w)
{
	cpu_at_start->client = cpu_seconds(RUSAGE_SELF);
	client.conn = c;
	client.start = now_ns();
	client.end = client.start + (uint64_t)(opt.seconds * 1e9);
	for (uint32_t i = 1; i <= opt.window; i++)
		send_next(c, i);
}

static void *client_payload(struct pw_conn *c, const struct pw_cmd *cmd)
{
	return buffer[cmd->slot - 1];
}

static uint32_t oldest = 1;

static void *client_guess(struct pw_conn *c, uint32_t *ret_len)
{
	if (!opt.read_like || opt.no_guess || !client.out)
		return NULL;
	*ret_len = opt.block_bytes;
	return buffer[oldest - 1];
}

static void client_msg(struct pw_conn *c, const struct pw_cmd *cmd, void *payload)
{
	client.last = now_ns();
	if (client.nr < MAX_SAMPLES)
		client.samples[client.nr] = (uint32_t)(client.last - client.begin[cmd->slot - 1]);
	client.nr++;
	oldest = cmd->slot % opt.window + 1;
	slot_event(c, cmd->slot);
}

static void client_down(struct pw_conn *c, int err, const char *why)
{
	if (err != -ESHUTDOWN)
		die(why, err);
	pw_loop_stop(loop);
}

static int compare_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void print_result(const struct pw_conn *c)
{
	double wall = (double)(client.last - client.start) / 1e9;
	double mib = (double)client.nr * opt.block_bytes / (1 << 20);
	double own = cpu_seconds(RUSAGE_SELF) - cpu_at_start->client;
	double node = cpu_seconds(RUSAGE_CHILDREN) - cpu_at_start->node;
	size_t n = client.nr < MAX_SAMPLES ? client.nr : MAX_SAMPLES;
	struct pw_conn_stats s;
	struct pw_loop_stats l;

	pw_conn_get_stats(c, &s);
	pw_loop_get_stats(loop, &l);
	qsort(client.samples, n, sizeof(*client.samples), compare_u32);
	if (opt.json) {
		printf("{\"mib_s\":%.1f,\"per_s\":%.0f,\"p50_us\":%.1f,\"p99_us\":%.1f,"
		       "\"client_cpu_s\":%.3f,\"node_cpu_s\":%.3f,\"mib\":%.1f,"
		       "\"zc_sends\":%lu,\"zc_copied\":%lu,\"copied_bytes\":%lu}\n",
		       mib / wall, (double)client.nr / wall, client.samples[n / 2] / 1e3,
		       client.samples[n * 99 / 100] / 1e3, own, node, mib, s.zc_sends, s.zc_copied,
		       s.copied_bytes);
		return;
	}
	printf("client: %lu bytes copied, %lu zero-copy sends of which %lu copied; "
	       "%lu turns, %lu sleeps, %lu submits\n",
	       s.copied_bytes, s.zc_sends, s.zc_copied, l.turns, l.sleeps, l.submits);
	printf("%.1f MiB/s, %.0f/s, p50 %.1f us, p99 %.1f us, CPU s/GiB client %.3f node %.3f\n",
	       mib / wall, (double)client.nr / wall, client.samples[n / 2] / 1e3,
	       client.samples[n * 99 / 100] / 1e3, own / mib * 1024, node / mib * 1024);
}

static void run_client(int port_fd)
{
	static const struct pw_conn_ops cops = {
		.on_up = client_up,
		.on_payload = client_payload,
		.guess_payload = client_guess,
		.on_msg = client_msg,
		.on_down = client_down,
	};
	struct pw_conn *c;
	uint16_t port;
	int err;

	if (read(port_fd, &port, sizeof(port)) != sizeof(port))
		die("node", -EPIPE);
	set_up();
	client.samples = calloc(MAX_SAMPLES, sizeof(*client.samples));
	err = pw_conn_new(loop, &cops, NULL, &identity, NULL, &c);
	if (!err)
		err = pw_conn_connect(c, "127.0.0.1", port, 1);
	if (err || !client.samples)
		die("connect", err);
	err = pw_loop_run(loop);
	if (err)
		die("loop", err);
	wait(NULL);
	print_result(c);
}

static void usage(FILE *out)
{
	fputs("usage: conn_stream [options]\n"
	      "  -b, --block N    bytes per WRITE of the stream (default 1048576)\n"
	      "  -w, --window N   WRITEs in flight (default 16)\n"
	      "  -t, --seconds S  how long (default 3)\n"
	      "  -r, --rr N       request and response, depth one: N bytes\n"
	      "  -R, --read       READ: N bytes from the node\n"
	      "  -G, --no-guess   never guess where a payload will land\n"
	      "  -j, --json       one line of JSON\n",
	      out);
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "block", required_argument, NULL, 'b' },
		{ "window", required_argument, NULL, 'w' },
		{ "seconds", required_argument, NULL, 't' },
		{ "rr", required_argument, NULL, 'r' },
		{ "read", no_argument, NULL, 'R' },
		{ "no-guess", no_argument, NULL, 'G' },
		{ "json", no_argument, NULL, 'j' },
		{ 0 },
	};
	int c, pipe_fd[2];
	pid_t pid;

	while ((c = getopt_long(argc, argv, "b:w:t:r:RGj", longs, NULL)) != -1) {
		if (c == 'b' || c == 'r')
			opt.block_bytes = (uint32_t)strtoul(optarg, NULL, 0);
		if (c == 'w')
			opt.window = (uint32_t)strtoul(optarg, NULL, 0);
		if (c == 'r')
			opt.window = 1;
		if (c == 't')
			opt.seconds = strtod(optarg, NULL);
		opt.read_like |= c == 'R';
		opt.no_guess |= c == 'G';
		opt.json |= c == 'j';
		if (c == '?') {
			usage(stderr);
			return 2;
		}
	}
	if (optind != argc || !opt.block_bytes || opt.block_bytes > PW_MAX_IO || !opt.window ||
	    opt.window > MAX_WINDOW || opt.seconds <= 0) {
		usage(stderr);
		return 2;
	}
	cpu_at_start = mmap(NULL, sizeof(*cpu_at_start), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (cpu_at_start == MAP_FAILED || pipe(pipe_fd) < 0 || (pid = fork()) < 0)
		die("fork", -errno);
	if (!pid)
		run_node(pipe_fd[1]);
	run_client(pipe_fd[0]);
	return 0;
}
