/* SPDX-License-Identifier: Apache-2.0 */
/* mr_dmabuf.c -- dma-bufs registered on a device: what is registered, and what is refused
 *
 *	mr_dmabuf -d DEVICE -g GID-INDEX
 *
 * A RDMA WRITE from one half of a dma-buf to the other, with registrations of parts that do not
 * begin on a page, whose descriptor is closed and whose memory nobody has mapped any more; then
 * ranges and descriptors that are none. Loaded with dmabuf_mr.so.
 */
#include <dlfcn.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/udmabuf.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "qp_pair.h"

#define BYTES  ((size_t)1 << 20)
#define PAGE   4096u
#define FROM   (3u * PAGE + 200)
#define TO     (BYTES / 2 + 7u * PAGE + 1000)
#define LENGTH (100u * PAGE + 77)
#define IOVA   0x7654000000u

static struct ibv_mr *(*reg)(struct ibv_pd *pd, uint64_t offset, size_t length, uint64_t iova,
			     int fd, int access);
static char unused[PAGE];

static int make_memfd(void)
{
	int fd = memfd_create("mr", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || ftruncate(fd, BYTES) || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK))
		err(1, "memfd");
	return fd;
}

static int make_dmabuf(int memfd)
{
	struct udmabuf_create c = { .memfd = (uint32_t)memfd,
				    .flags = UDMABUF_FLAGS_CLOEXEC,
				    .size = BYTES };
	int dev = open("/dev/udmabuf", O_RDWR | O_CLOEXEC), fd;

	fd = dev < 0 ? -1 : ioctl(dev, UDMABUF_CREATE, &c);
	if (fd < 0)
		err(1, "udmabuf");
	close(dev);
	return fd;
}

static struct ibv_mr *registered(struct qp_pair *p, uint64_t offset, size_t length, int fd)
{
	struct ibv_mr *mr = reg(p->pd, offset, length, IOVA + offset, fd,
				IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE);

	if (!mr)
		err(1, "register %zu bytes at %llu", length, (unsigned long long)offset);
	return mr;
}

static void refused(struct qp_pair *p, uint64_t offset, size_t length, int fd, int wanted)
{
	/* what the core of verbs demands of every driver: the same offset in a page */
	struct ibv_mr *mr =
		reg(p->pd, offset, length, IOVA + offset % PAGE, fd, IBV_ACCESS_LOCAL_WRITE);

	if (mr)
		errx(1, "%zu bytes at %#llx of %d are registered", length,
		     (unsigned long long)offset, fd);
	if (errno != wanted)
		err(1, "%zu bytes at %#llx of %d", length, (unsigned long long)offset, fd);
}

static enum ibv_wc_status write_within(struct qp_pair *p, const struct ibv_mr *from,
				       const struct ibv_mr *to, uint32_t length)
{
	struct ibv_sge sge = { .addr = IOVA + FROM, .length = length, .lkey = from->lkey };
	struct ibv_send_wr wr = { .sg_list = &sge,
				  .num_sge = 1,
				  .opcode = IBV_WR_RDMA_WRITE,
				  .send_flags = IBV_SEND_SIGNALED },
			   *bad;
	double limit = seconds_now() + 60;
	struct ibv_wc wc;
	int n;

	wr.wr.rdma.remote_addr = IOVA + TO;
	wr.wr.rdma.rkey = to->rkey;
	if (ibv_post_send(p->qp[OURS], &wr, &bad))
		err(1, "post");
	while (!(n = ibv_poll_cq(p->cq[OURS], 1, &wc)))
		if (seconds_now() > limit)
			errx(1, "no completion");
	if (n < 0)
		errx(1, "poll");
	return wc.status;
}

static void move(struct qp_pair *p, int memfd, int fd)
{
	struct ibv_mr *from = registered(p, FROM, LENGTH, fd), *to = registered(p, TO, LENGTH, fd);
	uint8_t *m = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
	enum ibv_wc_status status;

	if (m == MAP_FAILED)
		err(1, "mmap");
	/* the registrations hold the buffer */
	close(fd);
	for (size_t i = 0; i < BYTES; i++)
		m[i] = i < BYTES / 2 ? (uint8_t)(i * 2654435761u >> 13) : 0xee;
	status = write_within(p, from, to, LENGTH);
	if (status != IBV_WC_SUCCESS)
		errx(1, "write: %s", ibv_wc_status_str(status));
	if (memcmp(m + TO, m + FROM, LENGTH))
		errx(1, "other bytes");
	for (size_t i = BYTES / 2; i < BYTES; i++)
		if ((i < TO || i >= TO + LENGTH) && m[i] != 0xee)
			errx(1, "byte %zu has changed, too", i);
	munmap(m, BYTES);
	/* nothing beyond what is registered */
	status = write_within(p, from, to, LENGTH + 1);
	if (status == IBV_WC_SUCCESS)
		errx(1, "a byte too many was sent");
	printf("one byte too many: %s\n", ibv_wc_status_str(status));
	if (ibv_dereg_mr(from) || ibv_dereg_mr(to))
		err(1, "deregister");
}

int main(int argc, char **argv)
{
	struct qp_pair p = { .gid_index = -1, .mem = unused, .bytes = sizeof(unused) };
	int memfd = make_memfd(), fd = make_dmabuf(memfd);

	*(void **)&reg = dlsym(RTLD_DEFAULT, "ibv_reg_dmabuf_mr");
	if (pair_options(&p, argc, argv) != argc || !reg)
		errx(2, "usage: mr_dmabuf -d DEVICE -g GID-INDEX");
	pair_make(&p);
	refused(&p, 0, 0, fd, EINVAL);
	refused(&p, 0, BYTES + 1, fd, EINVAL);
	refused(&p, BYTES, 1, fd, EINVAL);
	refused(&p, UINT64_MAX - 10, 100, fd, EINVAL);
	refused(&p, 0, PAGE, memfd, EINVAL);
	refused(&p, 0, PAGE, -1, EBADF);
	move(&p, memfd, fd);
	pair_destroy(&p);
	close(memfd);
	return 0;
}
