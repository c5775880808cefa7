/* SPDX-License-Identifier: Apache-2.0 */
/* rereads.c -- one process writes pages over and over, another one reads them
 *
 *	rereads FILE SECONDS
 *
 * A read that begins after a write has returned sees what was written or something newer, also
 * when others have asked for attributes meanwhile. Exit code 1 when one did not.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGES 16
#define WORDS 512
#define SIZE 4096

struct shared {
	uint64_t written[PAGES]; /* each page is full of it */
	uint64_t last;
	int stop;
};

static void must(int good, const char *what)
{
	if (!good) {
		perror(what);
		exit(2);
	}
}

static void put(int fd, uint64_t n)
{
	uint64_t buf[WORDS];

	for (int i = 0; i < WORDS; i++)
		buf[i] = n;
	must(pwrite(fd, buf, SIZE, (off_t)(n % PAGES) * SIZE) == SIZE, "pwrite");
}

static void keep_writing(const char *path, struct shared *s)
{
	int fd = open(path, O_WRONLY);

	must(fd >= 0, "open");
	for (uint64_t n = PAGES; !__atomic_load_n(&s->stop, __ATOMIC_ACQUIRE); n++) {
		put(fd, n);
		__atomic_store_n(&s->written[n % PAGES], n, __ATOMIC_RELEASE);
		__atomic_store_n(&s->last, n, __ATOMIC_RELEASE);
	}
	_exit(0);
}

static uint64_t now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec;
}

/* Return: 1 when what was read is older than what had been written before. */
static int is_old(int fd, const struct shared *s, uint64_t page)
{
	uint64_t want = __atomic_load_n(&s->written[page], __ATOMIC_ACQUIRE), buf[WORDS];

	must(pread(fd, buf, SIZE, (off_t)page * SIZE) == SIZE, "pread");
	if (buf[0] >= want && buf[WORDS - 1] >= want)
		return 0;
	printf("page %u: written %lu, read %lu\n", (unsigned)page, (unsigned long)want,
	       (unsigned long)buf[0]);
	return 1;
}

int main(int argc, char **argv)
{
	struct shared *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	unsigned long reads = 0, old = 0;
	uint64_t end;
	int fd, status;
	pid_t pid;

	must(argc == 3 && s != MAP_FAILED, "rereads FILE SECONDS");
	fd = open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0600);
	must(fd >= 0, "open");
	for (uint64_t n = 0; n < PAGES; n++)
		put(fd, n);
	pid = fork();
	must(pid >= 0, "fork");
	if (!pid)
		keep_writing(argv[1], s);
	end = now_s() + (uint64_t)atoi(argv[2]);
	while (now_s() < end) {
		uint64_t page = (__atomic_load_n(&s->last, __ATOMIC_ACQUIRE) + (reads & 3)) % PAGES;
		struct stat st;

		must(!fstat(fd, &st), "fstat");
		old += (unsigned long)is_old(fd, s, page);
		reads++;
	}
	__atomic_store_n(&s->stop, 1, __ATOMIC_RELEASE);
	must(waitpid(pid, &status, 0) == pid && !status, "writer");
	printf("%lu writes, %lu reads, %lu of them old\n", (unsigned long)s->last, reads, old);
	return old != 0;
}
