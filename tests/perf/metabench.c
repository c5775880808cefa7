/* SPDX-License-Identifier: Apache-2.0 */
/* metabench.c -- create, stat, readdir, rename and unlink per second, by several processes
 *
 * All processes meet at a barrier before each phase; a phase lasts from the moment the first of
 * them starts until the last is through. Files are empty. Each process works in a directory of
 * its own, or with --shared all of them in one.
 *
 * readdir counts the names that were listed, the other phases count files.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_PROCS 64

struct options {
	const char *dir;
	unsigned nr_procs;
	unsigned nr_files;		/* of each process */
	bool shared;
	bool json;
};

enum { PHASE_CREATE, PHASE_STAT, PHASE_READDIR, PHASE_RENAME, PHASE_UNLINK, NR_PHASES };

struct shared {				/* in memory that all processes map */
	pthread_barrier_t barrier;
	uint64_t nr_names;		/* listed by readdir */
	double start[NR_PHASES][MAX_PROCS];
	double end[NR_PHASES][MAX_PROCS];
};

struct worker {
	const struct options *opt;
	struct shared *shared;
	int dir_fd;
	unsigned idx;
};

static const char *const phase_names[NR_PHASES] = {
	"create", "stat", "readdir", "rename", "unlink",
};

static void die(const char *what, const char *name)
{
	fprintf(stderr, "metabench: %s %s: %m\n", what, name);
	_exit(1);
}

static double now_seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/* getdents64 and not readdir: what is counted is the filesystem, not the parser of libc */
static void list_all(struct worker *worker)
{
	int fd = openat(worker->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char buf[65536];
	uint64_t nr = 0;
	ssize_t len;

	if (fd < 0)
		die("open", ".");
	while ((len = getdents64(fd, buf, sizeof(buf))) > 0) {
		for (ssize_t at = 0; at < len; nr++) {
			unsigned short entry_len;

			memcpy(&entry_len, buf + at + offsetof(struct dirent64, d_reclen),
			       sizeof(entry_len));
			at += entry_len;
		}
	}
	if (len < 0)
		die("getdents", ".");
	close(fd);
	__atomic_fetch_add(&worker->shared->nr_names, nr, __ATOMIC_RELAXED);
}

static void one_file(struct worker *worker, int phase, unsigned i)
{
	char name[64], moved[64];
	struct stat st;
	int fd;

	snprintf(name, sizeof(name), "f.%u.%u", worker->idx, i);
	snprintf(moved, sizeof(moved), "r.%u.%u", worker->idx, i);
	switch (phase) {
	case PHASE_CREATE:
		fd = openat(worker->dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
		if (fd < 0 || close(fd) < 0)
			die("create", name);
		return;
	case PHASE_STAT:
		if (fstatat(worker->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			die("stat", name);
		return;
	case PHASE_RENAME:
		if (renameat(worker->dir_fd, name, worker->dir_fd, moved) < 0)
			die("rename", name);
		return;
	case PHASE_UNLINK:
		if (unlinkat(worker->dir_fd, moved, 0) < 0)
			die("unlink", moved);
		return;
	}
}

static void run_worker(struct worker *worker)
{
	for (int phase = 0; phase < NR_PHASES; phase++) {
		pthread_barrier_wait(&worker->shared->barrier);
		worker->shared->start[phase][worker->idx] = now_seconds();
		if (phase == PHASE_READDIR)
			list_all(worker);
		else
			for (unsigned i = 0; i < worker->opt->nr_files; i++)
				one_file(worker, phase, i);
		worker->shared->end[phase][worker->idx] = now_seconds();
		pthread_barrier_wait(&worker->shared->barrier);
	}
}

static void dir_name(const struct options *opt, unsigned idx, char *ret_name, size_t len)
{
	snprintf(ret_name, len, "%s/d.%u", opt->dir, opt->shared ? 0 : idx);
}

static void start_worker(const struct options *opt, struct shared *shared, unsigned idx)
{
	struct worker worker = { .opt = opt, .shared = shared, .idx = idx };
	char name[4096];
	pid_t pid = fork();

	if (pid < 0)
		die("fork", "");
	if (pid > 0)
		return;
	dir_name(opt, idx, name, sizeof(name));
	if (mkdir(name, 0755) < 0 && !(opt->shared && errno == EEXIST))
		die("mkdir", name);
	worker.dir_fd = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (worker.dir_fd < 0)
		die("open", name);
	run_worker(&worker);
	_exit(0);
}

/* the parent may not wait at the barrier for a child that has died */
static void on_child(int sig)
{
	int status;

	(void)sig;
	while (waitpid(-1, &status, WNOHANG) > 0) {
		if (status != 0)
			_exit(1);
	}
}

static struct shared *new_shared(unsigned nr_procs)
{
	pthread_barrierattr_t attr;
	struct shared *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (shared == MAP_FAILED)
		die("memory", "");
	pthread_barrierattr_init(&attr);
	pthread_barrierattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_barrier_init(&shared->barrier, &attr, nr_procs + 1);
	return shared;
}

static double phase_seconds(const struct shared *shared, unsigned nr_procs, int phase)
{
	double start = shared->start[phase][0], end = shared->end[phase][0];

	for (unsigned i = 1; i < nr_procs; i++) {
		if (shared->start[phase][i] < start)
			start = shared->start[phase][i];
		if (shared->end[phase][i] > end)
			end = shared->end[phase][i];
	}
	return end - start;
}

static void run(const struct options *opt)
{
	struct sigaction action = { .sa_handler = on_child, .sa_flags = SA_RESTART };
	struct shared *shared = new_shared(opt->nr_procs);
	char name[4096];

	sigaction(SIGCHLD, &action, NULL);
	for (unsigned i = 0; i < opt->nr_procs; i++)
		start_worker(opt, shared, i);
	if (opt->json)
		printf("{\"procs\":%u,\"files\":%u", opt->nr_procs, opt->nr_files);
	for (int phase = 0; phase < NR_PHASES; phase++) {
		double nr = (double)opt->nr_procs * opt->nr_files;

		pthread_barrier_wait(&shared->barrier);
		pthread_barrier_wait(&shared->barrier);
		if (phase == PHASE_READDIR)
			nr = shared->nr_names;
		nr /= phase_seconds(shared, opt->nr_procs, phase);
		if (opt->json)
			printf(",\"%s\":%.0f", phase_names[phase], nr);
		else
			printf("%-8s %2u processes %10.0f/s\n", phase_names[phase],
			       opt->nr_procs, nr);
	}
	if (opt->json)
		puts("}");
	for (unsigned i = 0; i < (opt->shared ? 1 : opt->nr_procs); i++) {
		dir_name(opt, i, name, sizeof(name));
		if (rmdir(name) < 0)
			die("rmdir", name);
	}
}

static void usage(FILE *out)
{
	fputs("usage: metabench [options] DIR\n"
	      "  -p, --procs N   processes (default 1)\n"
	      "  -n, --files N   files of each process (default 1000)\n"
	      "  -s, --shared    all of them in one directory\n"
	      "  -j, --json      one line of JSON\n", out);
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "procs", required_argument, NULL, 'p' },
		{ "files", required_argument, NULL, 'n' },
		{ "shared", no_argument, NULL, 's' },
		{ "json", no_argument, NULL, 'j' },
		{ 0 },
	};
	struct options opt = { .nr_procs = 1, .nr_files = 1000 };
	int c;

	while ((c = getopt_long(argc, argv, "p:n:sj", longs, NULL)) != -1) {
		if (c == 'p')
			opt.nr_procs = strtoul(optarg, NULL, 0);
		else if (c == 'n')
			opt.nr_files = strtoul(optarg, NULL, 0);
		else if (c == 's')
			opt.shared = true;
		else if (c == 'j')
			opt.json = true;
		else
			opt.nr_procs = 0;
	}
	if (optind + 1 != argc || !opt.nr_procs || opt.nr_procs > MAX_PROCS || !opt.nr_files) {
		usage(stderr);
		return 2;
	}
	opt.dir = argv[optind];
	run(&opt);
	return 0;
}
