/* SPDX-License-Identifier: Apache-2.0 */
/* tcp_stream.c -- what a plain program gets from TCP over loopback: the floor of the wire
 *
 * Two processes, blocking send(2) and recv(2), TCP_NODELAY, buffers left to the kernel. Either a
 * one-way stream of blocks, or request and response at depth one: a 128 byte header plus N bytes
 * one way and 128 bytes back (a write), or the other way round (a read).
 *
 * The child is the node's side, the parent the client's. Only the parent reads the clock.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MESSAGE_LEN 128
#define MAX_SAMPLES (1u << 22)

struct options {
	size_t block_bytes;
	double seconds;
	bool rr;
	bool read_like;
	bool json;
};

static void die(const char *what)
{
	fprintf(stderr, "tcp_stream: %s: %m\n", what);
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + ts.tv_nsec;
}

static double cpu_seconds(int who)
{
	struct rusage usage;

	getrusage(who, &usage);
	return usage.ru_utime.tv_sec + usage.ru_stime.tv_sec +
	       (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static char *new_buffer(size_t len)
{
	char *buf = NULL;

	if (posix_memalign((void **)&buf, 4096, len))
		die("memory");
	memset(buf, 1, len);
	return buf;
}

static void send_all(int fd, const char *buf, size_t len)
{
	while (len) {
		ssize_t n = send(fd, buf, len, MSG_NOSIGNAL);

		if (n < 0)
			die("send");
		buf += n;
		len -= n;
	}
}

/* false at the end of the stream */
static bool recv_all(int fd, char *buf, size_t len)
{
	while (len) {
		ssize_t n = recv(fd, buf, len, 0);

		if (n < 0)
			die("recv");
		if (n == 0)
			return false;
		buf += n;
		len -= n;
	}
	return true;
}

static void get_lens(const struct options *opt, size_t *ret_to_node, size_t *ret_to_client)
{
	*ret_to_node = MESSAGE_LEN + (opt->read_like ? 0 : opt->block_bytes);
	*ret_to_client = MESSAGE_LEN + (opt->read_like ? opt->block_bytes : 0);
}

static void run_node(int fd, const struct options *opt)
{
	char *buf = new_buffer(opt->block_bytes + MESSAGE_LEN);
	size_t to_node, to_client;

	if (!opt->rr) {
		while (recv_all(fd, buf, opt->block_bytes))
			;
		send_all(fd, buf, 1);		/* everything has arrived */
		exit(0);
	}
	get_lens(opt, &to_node, &to_client);
	while (recv_all(fd, buf, to_node))
		send_all(fd, buf, to_client);
	exit(0);
}

static int compare_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void print_result(const struct options *opt, uint64_t nr, double wall, uint32_t *samples,
			 size_t nr_samples)
{
	double mib = (double)nr * opt->block_bytes / (1 << 20);
	double client = cpu_seconds(RUSAGE_SELF), node = cpu_seconds(RUSAGE_CHILDREN);
	double p50 = 0, p99 = 0;

	if (nr_samples) {
		qsort(samples, nr_samples, sizeof(*samples), compare_u32);
		p50 = samples[nr_samples / 2] / 1e3;
		p99 = samples[nr_samples * 99 / 100] / 1e3;
	}
	if (opt->json)
		printf("{\"mib_s\":%.1f,\"per_s\":%.0f,\"p50_us\":%.1f,\"p99_us\":%.1f,"
		       "\"client_cpu_s\":%.3f,\"node_cpu_s\":%.3f,\"mib\":%.1f}\n",
		       mib / wall, nr / wall, p50, p99, client, node, mib);
	else
		printf("%.1f MiB/s, %.0f/s, p50 %.1f us, p99 %.1f us, CPU s/GiB client %.3f "
		       "node %.3f\n", mib / wall, nr / wall, p50, p99, client / mib * 1024,
		       node / mib * 1024);
}

static void run_client(int fd, const struct options *opt)
{
	char *buf = new_buffer(opt->block_bytes + MESSAGE_LEN);
	uint32_t *samples = opt->rr ? calloc(MAX_SAMPLES, sizeof(*samples)) : NULL;
	uint64_t start = now_ns(), end = start + opt->seconds * 1e9, last = start, nr = 0;
	size_t to_node, to_client;

	get_lens(opt, &to_node, &to_client);
	if (opt->rr && !samples)
		die("memory");
	while (last < end) {
		uint64_t begin = last;

		if (opt->rr) {
			send_all(fd, buf, to_node);
			if (!recv_all(fd, buf, to_client))
				die("node gone");
		} else {
			send_all(fd, buf, opt->block_bytes);
		}
		last = now_ns();
		if (samples && nr < MAX_SAMPLES)
			samples[nr] = last - begin;
		nr++;
	}
	shutdown(fd, SHUT_WR);
	if (!opt->rr)
		recv_all(fd, buf, 1);
	last = now_ns();
	wait(NULL);
	print_result(opt, nr, (last - start) / 1e9, samples,
		     !samples ? 0 : nr < MAX_SAMPLES ? nr : MAX_SAMPLES);
}

/* a connected pair of loopback TCP sockets */
static void connect_pair(int *ret_client, int *ret_node)
{
	struct sockaddr_in addr = { .sin_family = AF_INET };
	socklen_t len = sizeof(addr);
	int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (listener < 0 || bind(listener, (void *)&addr, len) < 0 || listen(listener, 1) < 0 ||
	    getsockname(listener, (void *)&addr, &len) < 0)
		die("listen");
	*ret_client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (*ret_client < 0 || connect(*ret_client, (void *)&addr, len) < 0)
		die("connect");
	len = sizeof(addr);
	*ret_node = accept4(listener, (void *)&addr, &len, SOCK_CLOEXEC);
	if (*ret_node < 0)
		die("accept");
	close(listener);
	setsockopt(*ret_client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(*ret_node, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

static void usage(FILE *out)
{
	fputs("usage: tcp_stream [options]\n"
	      "  -b, --block N    bytes per send of the stream (default 1048576)\n"
	      "  -t, --seconds S  how long (default 3)\n"
	      "  -r, --rr N       request and response, depth one: N bytes to the node\n"
	      "  -R, --read       with --rr: N bytes from the node\n"
	      "  -j, --json       one line of JSON\n", out);
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "block", required_argument, NULL, 'b' },
		{ "seconds", required_argument, NULL, 't' },
		{ "rr", required_argument, NULL, 'r' },
		{ "read", no_argument, NULL, 'R' },
		{ "json", no_argument, NULL, 'j' },
		{ 0 },
	};
	struct options opt = { .block_bytes = 1 << 20, .seconds = 3 };
	int client_fd, node_fd, c;
	pid_t pid;

	while ((c = getopt_long(argc, argv, "b:t:r:Rj", longs, NULL)) != -1) {
		if (c == 'b' || c == 'r')
			opt.block_bytes = strtoul(optarg, NULL, 0);
		if (c == 't')
			opt.seconds = strtod(optarg, NULL);
		opt.rr |= c == 'r';
		opt.read_like |= c == 'R';
		opt.json |= c == 'j';
		if (c == '?') {
			usage(stderr);
			return 2;
		}
	}
	if (optind != argc || !opt.block_bytes || opt.seconds <= 0) {
		usage(stderr);
		return 2;
	}
	connect_pair(&client_fd, &node_fd);
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0) {
		close(client_fd);
		run_node(node_fd, &opt);
	}
	close(node_fd);
	run_client(client_fd, &opt);
	return 0;
}
