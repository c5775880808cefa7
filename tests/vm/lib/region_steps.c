/* SPDX-License-Identifier: Apache-2.0 */
/* region_steps.c -- plain I/O on memory of libpagewire, one step for each line of stdin
 *
 *	region_steps FILE WANTED
 *
 * The region holds the bytes of WANTED. Steps: `write` and `read` move all of them in blocks of
 * 1 MiB with pwrite(2) and pread(2), `write-uring` and `read-uring` all blocks at once through
 * io_uring, `write-fixed` and `read-fixed` from fixed buffers; a read begins with other bytes and
 * is compared. `heap` writes 1 MiB from memory that nobody knows. Each answers "ok", or what went
 * wrong.
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "include/pagewire.h"

#define BLOCK  ((size_t)1 << 20)
#define NR_MAX 64

static int file;
static uint8_t *mem, *wanted;
static size_t nr; /* blocks */

static int by_call(bool write)
{
	for (size_t i = 0; i < nr; i++) {
		uint8_t *p = mem + i * BLOCK;
		off_t at = (off_t)(i * BLOCK);
		ssize_t n = write ? pwrite(file, p, BLOCK, at) : pread(file, p, BLOCK, at);

		if (n != (ssize_t)BLOCK)
			return n < 0 ? -errno : -EIO;
	}
	return 0;
}

static void prepare(struct io_uring_sqe *sqe, bool write, bool fixed, size_t i)
{
	uint8_t *p = mem + i * BLOCK;

	if (fixed && write)
		io_uring_prep_write_fixed(sqe, file, p, BLOCK, i * BLOCK, 0);
	else if (fixed)
		io_uring_prep_read_fixed(sqe, file, p, BLOCK, i * BLOCK, 0);
	else if (write)
		io_uring_prep_write(sqe, file, p, BLOCK, i * BLOCK);
	else
		io_uring_prep_read(sqe, file, p, BLOCK, i * BLOCK);
}

static int by_uring(bool write, bool fixed)
{
	struct iovec iov = { mem, nr * BLOCK };
	struct io_uring ring;
	int err = io_uring_queue_init(NR_MAX, &ring, 0);

	if (!err && fixed)
		err = io_uring_register_buffers(&ring, &iov, 1);
	if (err)
		return err;
	for (size_t i = 0; i < nr; i++)
		prepare(io_uring_get_sqe(&ring), write, fixed, i);
	io_uring_submit(&ring);
	for (size_t i = 0; i < nr; i++) {
		struct io_uring_cqe *cqe;
		int res = io_uring_wait_cqe(&ring, &cqe);

		if (!res) {
			res = cqe->res;
			io_uring_cqe_seen(&ring, cqe);
		}
		if (res != (int)BLOCK && !err)
			err = res < 0 ? res : -EIO;
	}
	io_uring_queue_exit(&ring);
	return err;
}

static int step(const char *name)
{
	bool write = !strncmp(name, "write", 5);
	const char *how = strchr(name, '-');
	int err;

	if (!strcmp(name, "heap"))
		return pwrite(file, wanted, BLOCK, 0) == (ssize_t)BLOCK ? 0 : -errno;
	if (!write)
		memset(mem, 0xee, nr * BLOCK);
	err = how ? by_uring(write, !strcmp(how, "-fixed")) : by_call(write);
	if (!err && memcmp(mem, wanted, nr * BLOCK))
		err = -EBADMSG;
	return err;
}

static int load(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	ssize_t n;

	if (fd < 0)
		return -errno;
	nr = fstat(fd, &st) ? 0 : (size_t)st.st_size / BLOCK;
	if (!nr || nr > NR_MAX || posix_memalign((void **)&wanted, 4096, nr * BLOCK)) {
		close(fd);
		return -EINVAL;
	}
	n = read(fd, wanted, nr * BLOCK);
	close(fd);
	return n == (ssize_t)(nr * BLOCK) ? 0 : -EIO;
}

int main(int argc, char **argv)
{
	pw_region_t *r = NULL;
	pw_t *pw = NULL;
	char line[64];
	int err;

	if (argc != 3)
		return 2;
	err = load(argv[2]);
	file = open(argv[1], O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0600);
	if (!err && file < 0)
		err = -errno;
	if (!err)
		err = pw_open(&pw, argv[1], 0);
	if (!err)
		err = pw_alloc(pw, nr * BLOCK, 0, &r);
	if (err) {
		printf("cannot begin: %s\n", strerror(-err));
		return 1;
	}
	mem = pw_addr(r, NULL, NULL);
	memcpy(mem, wanted, nr * BLOCK);
	puts("ok");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = '\0';
		err = step(line);
		puts(err ? strerror(-err) : "ok");
		fflush(stdout);
	}
	pw_close(pw);
	free(wanted);
	return 0;
}
