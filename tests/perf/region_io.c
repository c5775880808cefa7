/* SPDX-License-Identifier: Apache-2.0 */
/* region_io.c -- direct I/O from memory of libpagewire or from memory that nobody knows
 *
 *	region_io [--plain] [--huge] [--read] [--random] [--block N] [--depth N] [--seconds S]
 *		[--size-mib N] [--json] FILE
 *	region_io --add N [--huge] [--json] FILE
 *	region_io --add N --hold DIR [--huge] FILE
 *
 * @depth blocks are on their way at any time, by io_uring; each has memory of its own. The same
 * loop for both kinds of memory: what differs is what the filesystem does with it. --add measures
 * how long a region of N bytes takes to be known and forgotten. --hold makes memory for a program
 * that knows nothing of regions: its path is printed, that program maps it and makes DIR/go, then
 * it is registered and DIR/done is there, until SIGTERM.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <liburing.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "include/pagewire.h"

#define MIB	  ((size_t)1 << 20)
#define DEPTH_MAX 128u
#define NR_LAT	  (1u << 20)

struct options {
	bool plain, huge, read, random, json;
	size_t block, size, add;
	unsigned int depth;
	double seconds;
	const char *path, *hold;
};

struct result {
	uint64_t ops;
	double wall_s, cpu_s;
	uint32_t nr_lat;
	uint32_t *lat_ns; /* the first NR_LAT */
};

static void die(const char *what, int err)
{
	fprintf(stderr, "region_io: %s: %s\n", what, strerror(-err));
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static double cpu_s(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

struct job {
	const struct options *o;
	struct io_uring ring;
	int fd;
	uint8_t *mem;
	uint64_t seed, next;
	uint64_t began[DEPTH_MAX];
};

static off_t next_place(struct job *j)
{
	uint64_t blocks = j->o->size / j->o->block, i;

	if (j->o->random) {
		j->seed = j->seed * 6364136223846793005u + 1442695040888963407u;
		i = (j->seed >> 33) % blocks;
	} else {
		i = j->next++ % blocks;
	}
	return (off_t)(i * j->o->block);
}

static void post(struct job *j, unsigned int slot)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&j->ring);
	uint8_t *p = j->mem + slot * j->o->block;
	unsigned int len = (unsigned int)j->o->block;

	if (j->o->read)
		io_uring_prep_read(sqe, j->fd, p, len, (uint64_t)next_place(j));
	else
		io_uring_prep_write(sqe, j->fd, p, len, (uint64_t)next_place(j));
	io_uring_sqe_set_data64(sqe, slot);
	j->began[slot] = now_ns();
}

static void take(struct job *j, struct result *r, struct io_uring_cqe *cqe, bool again)
{
	unsigned int slot = (unsigned int)io_uring_cqe_get_data64(cqe);

	if (cqe->res != (int)j->o->block)
		die(j->o->read ? "read" : "write", cqe->res < 0 ? cqe->res : -EIO);
	if (r->nr_lat < NR_LAT)
		r->lat_ns[r->nr_lat++] = (uint32_t)(now_ns() - j->began[slot]);
	r->ops++;
	io_uring_cqe_seen(&j->ring, cqe);
	if (again)
		post(j, slot);
}

static void run(struct job *j, struct result *r)
{
	unsigned int out = j->o->depth;
	uint64_t start = now_ns(), end = start + (uint64_t)(j->o->seconds * 1e9);
	double cpu = cpu_s();
	int err = io_uring_queue_init(DEPTH_MAX, &j->ring, 0);

	if (err)
		die("io_uring", err);
	for (unsigned int i = 0; i < out; i++)
		post(j, i);
	while (out) {
		struct io_uring_cqe *cqe;
		bool again;

		err = io_uring_submit_and_wait(&j->ring, 1);
		if (err < 0)
			die("io_uring", err);
		while (!io_uring_peek_cqe(&j->ring, &cqe)) {
			again = now_ns() < end;
			take(j, r, cqe, again);
			out -= !again;
		}
	}
	r->wall_s = (double)(now_ns() - start) / 1e9;
	r->cpu_s = cpu_s() - cpu;
	io_uring_queue_exit(&j->ring);
}

static int by_size(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static double percentile_us(const struct result *r, unsigned int p)
{
	return r->nr_lat ? r->lat_ns[(uint64_t)(r->nr_lat - 1) * p / 100] / 1e3 : 0;
}

static void print(const struct options *o, struct result *r)
{
	double mib = (double)r->ops * (double)o->block / (double)MIB;

	qsort(r->lat_ns, r->nr_lat, sizeof(*r->lat_ns), by_size);
	printf(o->json ? "{\"mib_s\": %.3f, \"per_s\": %.2f, \"p50_us\": %.2f, \"p99_us\": %.2f, "
			 "\"mib\": %.3f, \"app_cpu_s\": %.4f}\n"
		       : "%.1f MiB/s, %.0f per second, p50 %.1f us, p99 %.1f us, %.0f MiB, "
			 "CPU %.3f s\n",
	       mib / r->wall_s, (double)r->ops / r->wall_s, percentile_us(r, 50),
	       percentile_us(r, 99), mib, r->cpu_s);
}

static uint8_t *plain_memory(size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		die("mmap", -errno);
	return p;
}

static void move(pw_t *pw, const struct options *o)
{
	size_t len = (o->block * o->depth + 2 * MIB - 1) & ~(2 * MIB - 1);
	struct result r = { .lat_ns = malloc(NR_LAT * sizeof(uint32_t)) };
	struct job j = { .o = o, .seed = (uint64_t)getpid() };
	pw_region_t *region = NULL;
	int err;

	j.fd = open(o->path, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (j.fd < 0 || !r.lat_ns)
		die(o->path, -errno);
	if (!o->plain) {
		err = pw_alloc(pw, len, o->huge ? PW_HUGE_2M : 0, &region);
		if (err)
			die("pw_alloc", err);
	}
	j.mem = region ? pw_addr(region, NULL, NULL) : plain_memory(len);
	memset(j.mem, 0x5a, len);
	run(&j, &r);
	print(o, &r);
	free(r.lat_ns);
	close(j.fd);
}

static int make_memory(const struct options *o)
{
	int fd = memfd_create("region_io",
			      MFD_CLOEXEC | MFD_ALLOW_SEALING | (o->huge ? MFD_HUGETLB : 0));

	if (fd < 0 || ftruncate(fd, (off_t)o->add) || fallocate(fd, 0, 0, (off_t)o->add) ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW))
		die("memfd", -errno);
	return fd;
}

/* Memory is made first and handed over then: what is measured is the mount's part of it. */
static void add(pw_t *pw, const struct options *o)
{
	int fd = make_memory(o);
	uint64_t start, added, gone;
	pw_region_t *region;
	int err;

	start = now_ns();
	err = pw_import(pw, fd, 0, o->add, 0, &region);
	if (err)
		die("pw_import", err);
	added = now_ns();
	err = pw_release(region, -1);
	if (err)
		die("pw_release", err);
	gone = now_ns();
	printf(o->json ? "{\"add_ms\": %.3f, \"release_ms\": %.3f}\n"
		       : "added in %.3f ms, released in %.3f ms\n",
	       (double)(added - start) / 1e6, (double)(gone - added) / 1e6);
	close(fd);
}

static void hold(pw_t *pw, const struct options *o)
{
	const struct timespec step = { .tv_nsec = 10000000 };
	char go[4096], done[4096];
	int fd = make_memory(o);
	pw_region_t *region;
	int err;

	snprintf(go, sizeof(go), "%s/go", o->hold);
	snprintf(done, sizeof(done), "%s/done", o->hold);
	printf("/proc/%d/fd/%d\n", (int)getpid(), fd);
	fflush(stdout);
	while (access(go, F_OK))
		nanosleep(&step, NULL);
	err = pw_import(pw, fd, 0, o->add, 0, &region);
	if (err)
		die("pw_import", err);
	err = open(done, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (err < 0)
		die(done, -errno);
	for (;;)
		pause();
}

static const struct option longs[] = {
	{ "plain", no_argument, NULL, 'p' },	     { "huge", no_argument, NULL, 'H' },
	{ "read", no_argument, NULL, 'r' },	     { "random", no_argument, NULL, 'R' },
	{ "block", required_argument, NULL, 'b' },   { "depth", required_argument, NULL, 'd' },
	{ "seconds", required_argument, NULL, 's' }, { "size-mib", required_argument, NULL, 'S' },
	{ "add", required_argument, NULL, 'a' },     { "hold", required_argument, NULL, 'h' },
	{ "json", no_argument, NULL, 'j' },	     { NULL, 0, NULL, 0 },
};

static bool parse(struct options *o, int argc, char **argv)
{
	int c;

	*o = (struct options){ .block = MIB, .size = 64 * MIB, .depth = 1, .seconds = 4 };
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (c) {
		case 'p':
			o->plain = true;
			break;
		case 'H':
			o->huge = true;
			break;
		case 'r':
			o->read = true;
			break;
		case 'R':
			o->random = true;
			break;
		case 'j':
			o->json = true;
			break;
		case 'b':
			o->block = strtoul(optarg, NULL, 0);
			break;
		case 'd':
			o->depth = (unsigned int)strtoul(optarg, NULL, 0);
			break;
		case 's':
			o->seconds = strtod(optarg, NULL);
			break;
		case 'S':
			o->size = strtoul(optarg, NULL, 0) * MIB;
			break;
		case 'a':
			o->add = strtoul(optarg, NULL, 0);
			break;
		case 'h':
			o->hold = optarg;
			break;
		default:
			return false;
		}
	}
	o->path = argv[optind];
	return optind + 1 == argc && (o->add || !o->hold) && o->block && o->block <= o->size &&
	       o->depth && o->depth <= DEPTH_MAX && o->seconds > 0;
}

int main(int argc, char **argv)
{
	struct options o;
	pw_t *pw = NULL;
	int err = 0;

	if (!parse(&o, argc, argv)) {
		fprintf(stderr,
			"usage: region_io [--plain] [--huge] [--read] [--random] "
			"[--block N] [--depth N (up to %u)]\n\t[--seconds S] "
			"[--size-mib N] [--add N [--hold DIR]] [--json] FILE\n",
			DEPTH_MAX);
		return 2;
	}
	if (!o.plain)
		err = pw_open(&pw, o.path, 0);
	if (err)
		die(o.path, err);
	if (o.hold)
		hold(pw, &o);
	else if (o.add)
		add(pw, &o);
	else
		move(pw, &o);
	pw_close(pw);
	return 0;
}
