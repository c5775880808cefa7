/* SPDX-License-Identifier: Apache-2.0 */
/* reg_dmabuf.c -- cases: dma-bufs without a GPU, which have no pages for direct I/O either */
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-heap.h>
#include <linux/udmabuf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "reg_rig.h"

#define BYTES (8 * MIB)

static void dmabuf(struct rig *r, int fd)
{
	struct mem m = { .fd = fd, .len = BYTES };
	char *heap = calloc(1, MIB), *ro;
	struct iovec v[2];
	struct xfer x = { .what = "region and heap", .write = true, .iov = v, .nr = 2, .hits = 1,
			  .copies = 1, .reg = -1, .copied = -1 };
	struct job j = { .fd = r->fd, .len = MIB, .pos = 5, .write = true };

	m.p = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (m.p == MAP_FAILED)
		failed(r, "mmap: %s", strerror(errno));
	xfer1(r, m.p, MIB, (struct xfer){ .what = "unregistered", .write = true, .err = EFAULT,
					  .reg = -1, .copied = -1 });
	expect(r, 20, reg(r, 20, &m, ABI_F_DMABUF | ABI_F_INACTIVE), "REG_FD");
	expect(r, -EEXIST, reg(r, 21, &m, ABI_F_DMABUF), "again");
	xfer1(r, m.p, MIB, (struct xfer){ .what = "inactive", .write = true, .err = EFAULT,
					  .reg = -1, .copied = -1, .miss = MISS_INACTIVE });
	expect(r, 0, ask(r, .op = ASK_ACTIVATE, .id = 20), "ACTIVATE");
	xfer_basics(r, "dma-buf", 20, m.p + 5 * PAGE, 5 * PAGE);
	/* no pages, but no request is longer than with pages */
	xfer1(r, m.p + 100, 4 * MIB, (struct xfer){ .what = "4 MiB", .hits = 4, .reg = -1,
						    .copied = 0 });
	xfer1(r, m.p + 100, 4 * MIB, (struct xfer){ .what = "4 MiB", .write = true, .hits = 4,
						    .reg = -1, .copied = 32, .how = BY_AIO });
	v[0] = (struct iovec){ m.p + MIB, 5000 };
	v[1] = (struct iovec){ heap, 6000 };
	xfer(r, x);
	x.write = false;
	xfer(r, x);
	v[0] = (struct iovec){ heap, 5000 };
	v[1] = (struct iovec){ m.p + MIB, 6000 };
	x.what = "heap and region";
	xfer(r, x);
	ro = mmap(NULL, 2 * MIB, PROT_READ, MAP_SHARED, fd, MIB);
	if (ro == MAP_FAILED)
		failed(r, "mmap: %s", strerror(errno));
	xfer1(r, ro + 100, MIB, (struct xfer){ .what = "PROT_READ, at an offset", .write = true,
					       .hits = 1, .reg = REG(20, MIB + 100), .copied = 8,
					       .alias = m.p + MIB - ro });
	expect(r, -1, pread(r->fd, ro, MIB, 0), "read into PROT_READ");
	expect(r, EFAULT, errno, "errno of it");
	munmap(ro, 2 * MIB);
	/* neither region nor mapping outlive the request, the memory does */
	j.p = m.p + MIB;
	pattern(j.p, j.pos, MIB, 8);
	r->sh->hold = true;
	job_start(&j);
	wait_held(r, 1);
	expect(r, 0, ask(r, .op = ASK_UNREG, .id = 20), "UNREG_FD");
	expect(r, -EALREADY, ask(r, .op = ASK_UNREG, .id = 20), "UNREG_FD again");
	munmap(m.p, BYTES);
	close(fd);
	r->sh->hold = false;
	job_end(&j);
	expect(r, MIB, j.res, "the request");
	expect(r, 0, differ(r->sh->store + 5, 5, MIB, 8), "bytes that differ");
	unreg(r, 20);
	free(heap);
}

/* Two parts of one dma-buf, each where the server has mapped it; the client has mapped all. */
static void parts(struct rig *r, int fd)
{
	struct reg_ask a = { .op = ASK_REG, .id = 22, .prot = PROT_READ | PROT_WRITE,
			     .flags = ABI_F_DMABUF, .off = MIB, .len = 2 * MIB };
	char *p = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		failed(r, "mmap: %s", strerror(errno));
	expect(r, 22, ask_fd(r, a, fd), "REG_FD");
	a.id = 23;
	a.off = 2 * MIB;
	expect(r, -EEXIST, ask_fd(r, a, fd), "REG_FD of what is in the other");
	a.off = 4 * MIB;
	expect(r, 23, ask_fd(r, a, fd), "REG_FD");
	xfer_basics(r, "first part", 22, p + MIB + 3 * PAGE, 3 * PAGE);
	xfer_basics(r, "second part", 23, p + 4 * MIB + PAGE, PAGE);
	xfer1(r, p + MIB - 1, 2, (struct xfer){ .what = "begins before", .write = true,
						.err = EFAULT, .reg = -1, .copied = -1 });
	xfer1(r, p + 3 * MIB - 1, 1, (struct xfer){ .what = "last byte", .hits = 1,
						    .reg = REG(22, 2 * MIB - 1), .copied = 0 });
	/* up to the end of the region */
	pattern(p + 3 * MIB - 10, 0, 10, 77);
	expect(r, 10, pwrite(r->fd, p + 3 * MIB - 10, PAGE, 0), "beyond the end");
	expect(r, 0, differ(r->sh->store, 0, 10, 77), "bytes that differ");
	unreg(r, 22);
	unreg(r, 23);
	munmap(p, BYTES);
	close(fd);
}

/* A dma-buf of what was a memfd. */
static int new_udmabuf(struct rig *r)
{
	struct mem m = mem_new(r, BYTES, 0);
	struct udmabuf_create c = { .memfd = (uint32_t)m.fd, .flags = UDMABUF_FLAGS_CLOEXEC,
				    .size = BYTES };
	int dev = open("/dev/udmabuf", O_RDWR | O_CLOEXEC), fd;

	expect(r, 0, fcntl(m.fd, F_ADD_SEALS, F_SEAL_SHRINK), "seal");
	fd = ioctl(dev, UDMABUF_CREATE, &c);
	if (fd < 0)
		failed(r, "udmabuf: %s", strerror(errno));
	close(dev);
	mem_free(&m);
	return fd;
}

static void from_memfd(struct rig *r)
{
	dmabuf(r, new_udmabuf(r));
}

static void parts_of_memfd(struct rig *r)
{
	parts(r, new_udmabuf(r));
}

static void from_heap(struct rig *r)
{
	struct dma_heap_allocation_data a = { .len = BYTES, .fd_flags = O_RDWR | O_CLOEXEC };
	int dev = open("/dev/dma_heap/system", O_RDWR | O_CLOEXEC);

	if (ioctl(dev, DMA_HEAP_IOCTL_ALLOC, &a))
		failed(r, "dma-heap: %s", strerror(errno));
	close(dev);
	dmabuf(r, (int)a.fd);
}

const struct reg_case cases_dmabuf[] = {
	{ .name = "udmabuf", .run = from_memfd },
	{ .name = "parts of a udmabuf", .run = parts_of_memfd },
	{ .name = "system dma-heap", .run = from_heap },
	{ .name = NULL },
};
