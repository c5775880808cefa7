/* SPDX-License-Identifier: Apache-2.0 */
/* bigblocks.c -- what programs do with big blocks of libpagewire-alloc.so: bigblocks DIR CASE...
 *
 * An ordinary program: it knows the library by the name of its memory in /proc/self/maps only.
 * Prints "ok NAME" for each case. "small" runs where nothing is left for blocks.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)
#define MUST(x)                                                                                   \
	do {                                                                                      \
		if (!(x)) {                                                                       \
			fprintf(stderr, "%s:%d: not so: %s (errno %d)\n", __func__, __LINE__, #x, \
				errno);                                                           \
			_exit(1);                                                                 \
		}                                                                                 \
	} while (0)

static const char *dir;

/* Is it of a block? Without an allocation of its own. */
static int is_block(const void *p)
{
	char line[512];
	FILE *f = fopen("/proc/self/maps", "re");
	unsigned long a, b;
	int found = 0;

	MUST(f);
	while (!found && fgets(line, sizeof(line), f)) {
		char *end;

		a = strtoul(line, &end, 16);
		b = strtoul(end + 1, NULL, 16);
		if ((uintptr_t)p >= a && (uintptr_t)p < b)
			found = strstr(line, "memfd:pagewire-alloc") ? 1 : -1;
	}
	fclose(f);
	return found > 0;
}

static void fill(void *p, size_t len, uint32_t seed)
{
	uint32_t *q = p;

	for (size_t i = 0; i < len / 4; i++)
		q[i] = (uint32_t)i * 2654435761u + seed;
}

static int is_filled(const void *p, size_t len, uint32_t seed)
{
	const uint32_t *q = p;

	for (size_t i = 0; i < len / 4; i++) {
		if (q[i] != (uint32_t)i * 2654435761u + seed)
			return 0;
	}
	return 1;
}

static int is_zero(const void *p, size_t len)
{
	const uint64_t *q = p;

	for (size_t i = 0; i < len / 8; i++) {
		if (q[i])
			return 0;
	}
	return 1;
}

static void one(void *p, size_t len, size_t align)
{
	MUST(p && is_block(p));
	MUST(!((uintptr_t)p % align) && malloc_usable_size(p) >= len);
	fill(p, len, 1);
	MUST(is_filled(p, len, 1));
	free(p);
}

static int is_refused(const void *p)
{
	int ok = !p && errno == ENOMEM;

	errno = 0;
	return ok;
}

static void case_family(void)
{
	volatile size_t most = SIZE_MAX; /* or the compiler objects */
	void *p = NULL;

	one(malloc(MIB), MIB, 16);
	one(malloc(3 * MIB + 1), 3 * MIB + 1, 16);
	one(memalign(4 * MIB, 2 * MIB), 2 * MIB, 4 * MIB);
	one(aligned_alloc(4096, 2 * MIB), 2 * MIB, 4096);
	one(aligned_alloc(128 * MIB, MIB), MIB, 128 * MIB);
	one(valloc(MIB), MIB, 4096);
	one(pvalloc(MIB + 1), MIB + 4096, 4096);
	MUST(!posix_memalign(&p, 8192, MIB));
	one(p, MIB, 8192);
	one(reallocarray(NULL, 1024, 1024), MIB, 16);
	for (int i = 0; i < 3; i++) { /* what was used before is zero again */
		p = calloc(2, MIB);
		MUST(is_block(p) && is_zero(p, 2 * MIB));
		fill(p, 2 * MIB, 2);
		free(p);
	}
	MUST(posix_memalign(&p, 3, MIB) == EINVAL);
	MUST(is_refused(malloc(most)) && is_refused(calloc(most, 2)) &&
	     is_refused(reallocarray(NULL, most, 2)));
	p = malloc(MIB - 1);
	MUST(p && !is_block(p));
	free(p);
	free(NULL);
	p = malloc(0);
	MUST(p);
	free(p);
	errno = 42;
	free(malloc(2 * MIB));
	MUST(errno == 42);
}

static void *resized(void *p, size_t len)
{
	void *q = realloc(p, len);

	MUST(q);
	return q;
}

static uint8_t *resized_in_place(uint8_t *p, size_t len)
{
	const volatile uintptr_t old = (uintptr_t)p;
	uint8_t *q = resized(p, len);

	MUST((uintptr_t)q == old);
	return q;
}

static void case_realloc(void)
{
	static const size_t lens[] = { 100,	  MIB,	   MIB + 5, 7 * MIB, 3 * MIB,	 40 * MIB,
				       64 * 1024, 2 * MIB, 1000,    MIB,     120 * MIB, 8 };
	uint8_t *p = NULL, *wall;
	size_t old = 0;

	for (size_t i = 0; i < sizeof(lens) / sizeof(*lens); i++) {
		p = resized(p, lens[i]);
		MUST(is_block(p) == (lens[i] >= MIB));
		MUST(is_filled(p, old < lens[i] ? old : lens[i], 7));
		fill(p, lens[i], 7);
		old = lens[i] & ~(size_t)3;
	}
	free(p);
	/* grows where it is; then there is a neighbour */
	p = malloc(2 * MIB);
	fill(p, 2 * MIB, 3);
	p = resized_in_place(p, 4 * MIB);
	wall = malloc(MIB);
	fill(wall, MIB, 4);
	p = resized(p, 16 * MIB);
	MUST(is_filled(p, 2 * MIB, 3) && is_filled(wall, MIB, 4));
	/* what is cut off can be used again, and is zero for who asks */
	fill(p, 16 * MIB, 5);
	p = resized_in_place(p, 2 * MIB);
	free(wall);
	wall = calloc(1, 8 * MIB);
	MUST(is_zero(wall, 8 * MIB) && is_filled(p, 2 * MIB, 5));
	free(wall);
	wall = realloc(p, 0);
	MUST(!wall);
}

static void case_madvise(void)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	uint8_t *p = aligned_alloc(page, 4 * MIB);
	int status;

	MUST(is_block(p));
	fill(p, 4 * MIB, 1);
	MUST(!madvise(p + MIB, MIB - 1, MADV_DONTNEED));
	MUST(is_filled(p, MIB, 1) && is_zero(p + MIB, MIB));
	MUST(p[2 * MIB] == (uint8_t)(2 * MIB / 4 * 2654435761u + 1));
	MUST(madvise(p + 1, page, MADV_DONTNEED) == -1 && errno == EINVAL);
	MUST(!madvise(p, MIB, MADV_FREE));
	fill(p, 4 * MIB, 2);
	/* what would make it shared, or take it away, for children */
	MUST(!madvise(p, MIB, MADV_DOFORK) && !madvise(p + MIB, MIB, MADV_DONTFORK));
	if (!fork()) {
		MUST(is_filled(p, 4 * MIB, 2));
		memset(p, 0, 4 * MIB);
		MUST(!madvise(p, MIB, MADV_DONTNEED) && is_zero(p, MIB));
		_exit(0);
	}
	MUST(wait(&status) > 0 && !status);
	MUST(is_filled(p, 4 * MIB, 2));
	free(p);
}

/* A child has what its parent had, and neither sees what the other writes. */
static void case_fork(void)
{
	uint8_t *p = malloc(5 * MIB), *q = malloc(2 * MIB), *holes = calloc(1, 32 * MIB), *r;
	int to_child[2], status;
	char byte;

	fill(p, 5 * MIB, 1);
	fill(q, 2 * MIB, 2);
	memset(holes + 9 * MIB + 5000, 9, 3);
	MUST(!mprotect(holes, MIB, PROT_NONE)); /* its page is not read for the copy */
	MUST(!pipe2(to_child, O_CLOEXEC));
	if (!fork()) {
		MUST(read(to_child[0], &byte, 1) == 1); /* the parent has written */
		MUST(is_filled(p, 5 * MIB, 1) && is_filled(q, 2 * MIB, 2));
		MUST(holes[9 * MIB + 5000] == 9 && is_zero(holes + 10 * MIB, 22 * MIB));
		MUST(!is_block(p));
		fill(p, 5 * MIB, 3);
		p = resized(p, 9 * MIB);
		MUST(is_filled(p, 5 * MIB, 3));
		r = malloc(3 * MIB); /* an arena of its own */
		MUST(is_block(r));
		fill(r, 3 * MIB, 4);
		if (!fork()) { /* and its child's */
			MUST(is_filled(q, 2 * MIB, 2) && is_filled(r, 3 * MIB, 4));
			free(q);
			free(r);
			q = malloc(2 * MIB);
			MUST(is_block(q));
			_exit(0);
		}
		MUST(wait(&status) > 0 && !status);
		MUST(is_filled(q, 2 * MIB, 2) && is_filled(r, 3 * MIB, 4));
		free(q);
		free(p);
		free(r);
		for (int i = 0; i < 20; i++) /* addresses are used again */
			free(malloc(100 * MIB));
		_exit(0);
	}
	fill(p, 5 * MIB, 8);
	fill(q, 2 * MIB, 8);
	MUST(write(to_child[1], "x", 1) == 1);
	MUST(wait(&status) > 0 && !status);
	MUST(is_filled(p, 5 * MIB, 8) && is_filled(q, 2 * MIB, 8));
	MUST(!mprotect(holes, MIB, PROT_READ | PROT_WRITE));
	free(p);
	free(q);
	free(holes);
	close(to_child[0]);
	close(to_child[1]);
}

#define NR_THREADS 4
#define NR_SLOTS   6

static void *churn(void *arg)
{
	struct {
		uint8_t *p;
		size_t len;
		uint32_t seed;
	} slots[NR_SLOTS] = { 0 };
	uint32_t r = (uint32_t)(uintptr_t)arg * 7919u + 1;

	for (int k = 0; k < 150; k++) {
		uint32_t i = (r = r * 1664525u + 1013904223u) >> 16, s = i % NR_SLOTS;
		size_t len = ((r >> 8) % 40 + 4) * (64u << 10) + (r & 0xfff0);
		size_t same = slots[s].len < len ? slots[s].len : len;

		MUST(!slots[s].p || is_filled(slots[s].p, slots[s].len, slots[s].seed));
		if (i & 64 && slots[s].p) {
			slots[s].p = resized(slots[s].p, len);
			MUST(is_filled(slots[s].p, same, slots[s].seed));
		} else {
			free(slots[s].p);
			slots[s].p = i & 128 ? calloc(1, len) : malloc(len);
			MUST(slots[s].p && (!(i & 128) || is_zero(slots[s].p, len)));
		}
		slots[s].len = len;
		slots[s].seed = r;
		fill(slots[s].p, len, r);
	}
	for (int s = 0; s < NR_SLOTS; s++)
		free(slots[s].p);
	return NULL;
}

static void case_threads(void)
{
	pthread_t t[NR_THREADS];
	uint8_t *mine = malloc(2 * MIB);
	int status;

	fill(mine, 2 * MIB, 1);
	for (uintptr_t i = 0; i < NR_THREADS; i++)
		MUST(!pthread_create(&t[i], NULL, churn, (void *)(i + 1)));
	for (int i = 0; i < 5; i++) { /* children of a program with threads */
		if (!fork()) {
			MUST(is_filled(mine, 2 * MIB, 1));
			free(mine);
			free(malloc(3 * MIB));
			_exit(0);
		}
		MUST(wait(&status) > 0 && !status);
	}
	for (int i = 0; i < NR_THREADS; i++)
		pthread_join(t[i], NULL);
	MUST(is_filled(mine, 2 * MIB, 1));
	free(mine);
}

/* Where nothing is left for blocks, or they are forbidden: all of it works with other memory. */
static void case_small(void)
{
	uint8_t *p[20];
	int blocks = 0;

	for (uint32_t i = 0; i < 20; i++) {
		p[i] = malloc(2 * MIB);
		MUST(p[i]);
		blocks += is_block(p[i]);
		fill(p[i], 2 * MIB, i);
	}
	for (uint32_t i = 0; i < 20; i++) {
		MUST(is_filled(p[i], 2 * MIB, i));
		p[i] = resized(p[i], 3 * MIB);
		MUST(is_filled(p[i], 2 * MIB, i));
		free(p[i]);
	}
	printf("%d blocks\n", blocks);
}

/* Longer files than this are a signal: a chunk must not be the first to find out. */
static void case_file_limit(void)
{
	const struct rlimit l = { MIB, MIB };

	MUST(!setrlimit(RLIMIT_FSIZE, &l));
	case_small();
}

/* As daemons do; then the numbers are used for something else. */
static void case_closed(void)
{
	char path[4096], back[6] = "";
	uint8_t *p = malloc(4 * MIB), *q;
	int fd, dup_fd, status;

	fill(p, 4 * MIB, 1);
	MUST(is_block(p));
	closefrom(3);
	snprintf(path, sizeof(path), "%s/closed", dir);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	MUST(fd >= 0 && write(fd, "hello", 5) == 5);
	for (int i = 500; i < 530; i++) {
		dup_fd = dup2(fd, i);
		MUST(dup_fd == i);
	}
	if (!fork()) {
		MUST(is_filled(p, 4 * MIB, 1) && pread(510, back, 5, 0) == 5);
		_exit(0);
	}
	MUST(wait(&status) > 0 && !status);
	q = malloc(100 * MIB); /* another chunk */
	fill(q, 100 * MIB, 2);
	MUST(is_filled(q, 100 * MIB, 2) && is_filled(p, 4 * MIB, 1));
	free(p);
	free(q);
	for (int i = 500; i < 530; i++)
		MUST(pread(i, back, 6, 0) == 5 && !memcmp(back, "hello", 5));
	closefrom(3);
	unlink(path);
}

static void direct(uint32_t seed)
{
	char path[4096];
	uint8_t *p = aligned_alloc(4096, 4 * MIB), *q = aligned_alloc(4096, 4 * MIB);
	int fd;

	snprintf(path, sizeof(path), "%s/direct%u", dir, seed);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_DIRECT | O_CLOEXEC, 0600);
	MUST(fd >= 0 && is_block(p) && is_block(q));
	for (uint32_t i = 0; i < 4; i++) {
		fill(p, 4 * MIB, seed + i);
		MUST(pwrite(fd, p, 4 * MIB, 0) == (ssize_t)(4 * MIB));
		memset(q, 0, 4 * MIB);
		MUST(pread(fd, q, 4 * MIB, 0) == (ssize_t)(4 * MIB));
		MUST(is_filled(q, 4 * MIB, seed + i));
		free(q);
		q = aligned_alloc(4096, 4 * MIB);
	}
	/* zeroed, given back and cut while it may be registered */
	MUST(!madvise(p, MIB, MADV_DONTNEED) && is_zero(p, MIB));
	free(q);
	q = calloc(1, 4 * MIB);
	MUST(is_zero(q, 4 * MIB));
	free(p);
	free(q);
	close(fd);
	unlink(path);
}

static void case_direct(void)
{
	uint8_t *early = malloc(2 * MIB);
	int status;

	fill(early, 2 * MIB, 1);
	direct(100);
	if (!fork()) {
		MUST(is_filled(early, 2 * MIB, 1));
		direct(200);
		_exit(0);
	}
	direct(300);
	MUST(wait(&status) > 0 && !status);
	MUST(is_filled(early, 2 * MIB, 1));
	free(early);
}

/* One that ends in the middle of it all, and one whose free() is wrong */
static void case_ends(void)
{
	pthread_t t;
	int status;

	if (!fork()) {
		for (uintptr_t i = 0; i < NR_THREADS; i++)
			MUST(!pthread_create(&t, NULL, churn, (void *)(i + 1)));
		exit(0);
	}
	MUST(wait(&status) > 0 && !status);
	if (!fork()) {
		volatile uintptr_t inside = (uintptr_t)malloc(2 * MIB);

		inside += MIB;
		free((void *)inside);
		_exit(0);
	}
	MUST(wait(&status) > 0 && WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	if (!fork()) {
		execlp("true", "true", (char *)NULL);
		_exit(1);
	}
	MUST(wait(&status) > 0 && !status);
}

static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
	{ "family", case_family },   { "realloc", case_realloc }, { "madvise", case_madvise },
	{ "fork", case_fork },	     { "threads", case_threads }, { "small", case_small },
	{ "closed", case_closed },   { "direct", case_direct },	  { "ends", case_ends },
	{ "file-limit", case_file_limit },
};

static void run(const char *name)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		if (strcmp(name, cases[i].name))
			continue;
		cases[i].run();
		printf("ok %s\n", name);
		return;
	}
	MUST(!"a case of that name");
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	dir = argc > 1 ? argv[1] : ".";
	for (int a = 2; a < argc; a++)
		run(argv[a]);
	return 0;
}
