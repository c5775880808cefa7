/* SPDX-License-Identifier: Apache-2.0 */
/* region_scatter.c -- writev(2) and readv(2) on pieces of a region, one step for each line of stdin
 *
 *	region_scatter FILE WANTED [udmabuf|dma-heap]
 *
 * The region is of pw_alloc(), or a dma-buf: made of a memfd, or of the heap of the system.
 * `write NR` and `read NR` move all bytes of WANTED in blocks of 1 MiB, each of which lies in NR
 * pieces: of different lengths, in reverse order, unaligned, and with a gap between them that
 * nobody may touch. `mixed NR` writes with the second piece on the heap. Each answers "ok", or what
 * went wrong.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-heap.h>
#include <linux/udmabuf.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "include/pagewire.h"

#define BLOCK	   ((size_t)1 << 20)
#define NR_MAX	   64
#define PIECES_MAX 512u
#define GAP	   72u
#define GAP_BYTE   0xa5
/* of one block, with the gaps */
#define ROOM	   (2 * BLOCK)

static int file;
static uint8_t *mem, *wanted, *heap;
static size_t nr; /* blocks */
static struct iovec iov[PIECES_MAX];

/* The last piece comes first. */
static void cut(size_t block, unsigned int pieces)
{
	uint8_t *p = mem + block * ROOM + ROOM - GAP;
	size_t left = BLOCK;

	for (unsigned int i = 0; i < pieces; i++) {
		size_t n = BLOCK / pieces / 2 + (i * 37 + block * 11) % (BLOCK / pieces);

		if (i + 1 == pieces || n > left - (pieces - 1 - i))
			n = left - (pieces - 1 - i);
		left -= n;
		p -= n;
		iov[i] = (struct iovec){ p, n };
		p -= GAP;
	}
}

static void copy(size_t block, unsigned int pieces, bool in)
{
	uint8_t *w = wanted + block * BLOCK;

	for (unsigned int i = 0; i < pieces; w += iov[i++].iov_len)
		if (in)
			memcpy(iov[i].iov_base, w, iov[i].iov_len);
}

/* The pieces have what is wanted, and nothing else has changed. */
static bool is_right(size_t block, unsigned int pieces)
{
	const uint8_t *p = mem + block * ROOM, *end = p + ROOM, *w = wanted + block * BLOCK;

	for (unsigned int i = 0; i < pieces; w += iov[i++].iov_len)
		if (memcmp(iov[i].iov_base, w, iov[i].iov_len))
			return false;
	for (unsigned int i = pieces; i--; p = (uint8_t *)iov[i].iov_base + iov[i].iov_len)
		for (; p < (uint8_t *)iov[i].iov_base; p++)
			if (*p != GAP_BYTE)
				return false;
	for (; p < end; p++)
		if (*p != GAP_BYTE)
			return false;
	return true;
}

static int move(size_t block, bool write, unsigned int pieces)
{
	off_t at = (off_t)(block * BLOCK);
	ssize_t n = write ? pwritev(file, iov, (int)pieces, at) :
			    preadv(file, iov, (int)pieces, at);

	if (n < 0)
		return -errno;
	return n == (ssize_t)BLOCK ? 0 : -EIO;
}

static int step(const char *name, unsigned int pieces)
{
	bool write = strcmp(name, "read") != 0;

	for (size_t i = 0; i < nr; i++) {
		int err;

		memset(mem + i * ROOM, GAP_BYTE, ROOM);
		cut(i, pieces);
		copy(i, pieces, write);
		if (!strcmp(name, "mixed")) {
			memcpy(heap, iov[1].iov_base, iov[1].iov_len);
			iov[1].iov_base = heap;
		}
		err = move(i, write, pieces);
		if (err)
			return err;
		if (strcmp(name, "mixed") && !is_right(i, pieces))
			return -EBADMSG;
	}
	return 0;
}

static int load(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	ssize_t n;

	if (fd < 0)
		return -errno;
	nr = fstat(fd, &st) ? 0 : (size_t)st.st_size / BLOCK;
	wanted = nr && nr <= NR_MAX ? malloc(nr * BLOCK) : NULL;
	heap = malloc(BLOCK);
	n = wanted && heap ? read(fd, wanted, nr * BLOCK) : -1;
	close(fd);
	return n == (ssize_t)(nr * BLOCK) ? 0 : -EIO;
}

/* Return: a dma-buf of @len bytes; -errno. */
static int make_dma_heap(size_t len)
{
	struct dma_heap_allocation_data a = { .len = len, .fd_flags = O_RDWR | O_CLOEXEC };
	int dev = open("/dev/dma_heap/system", O_RDONLY | O_CLOEXEC), err;

	if (dev < 0)
		return -errno;
	err = ioctl(dev, DMA_HEAP_IOCTL_ALLOC, &a) ? -errno : 0;
	close(dev);
	return err ? err : (int)a.fd;
}

static int make_udmabuf(size_t len)
{
	struct udmabuf_create c = { .flags = UDMABUF_FLAGS_CLOEXEC, .size = len };
	int dev = open("/dev/udmabuf", O_RDWR | O_CLOEXEC), m, fd = -1, err;

	if (dev < 0)
		return -errno;
	m = memfd_create("scatter", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	c.memfd = (uint32_t)m;
	if (m >= 0 && !ftruncate(m, (off_t)len) && !fcntl(m, F_ADD_SEALS, F_SEAL_SHRINK))
		fd = ioctl(dev, UDMABUF_CREATE, &c);
	err = fd < 0 ? -errno : 0;
	if (m >= 0)
		close(m);
	close(dev);
	return fd < 0 ? err : fd;
}

static int make_region(pw_t *pw, const char *kind, pw_region_t **ret)
{
	int fd, err;

	if (!kind)
		return pw_alloc(pw, nr * ROOM, 0, ret);
	fd = !strcmp(kind, "dma-heap") ? make_dma_heap(nr * ROOM) : make_udmabuf(nr * ROOM);
	if (fd < 0)
		return fd;
	err = pw_import(pw, fd, 0, nr * ROOM, 0, ret);
	close(fd);
	return err;
}

int main(int argc, char **argv)
{
	pw_region_t *r = NULL;
	pw_t *pw = NULL;
	char line[32];
	int err;

	if (argc != 3 && argc != 4)
		return 2;
	err = load(argv[2]);
	file = open(argv[1], O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0600);
	if (!err && file < 0)
		err = -errno;
	if (!err)
		err = pw_open(&pw, argv[1], 0);
	if (!err)
		err = make_region(pw, argv[3], &r);
	if (err) {
		printf("cannot begin: %s\n", strerror(-err));
		return 1;
	}
	mem = pw_addr(r, NULL, NULL);
	puts("ok");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		char *space = strchr(line, ' ');
		unsigned long pieces = space ? strtoul(space, NULL, 10) : 0;

		if (!pieces || pieces > PIECES_MAX)
			break;
		*space = '\0';
		if (pieces == 1 && !strcmp(line, "mixed"))
			break;
		err = step(line, (unsigned int)pieces);
		puts(err ? strerror(-err) : "ok");
		fflush(stdout);
	}
	pw_close(pw);
	free(wanted);
	free(heap);
	return 0;
}
