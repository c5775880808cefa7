/* SPDX-License-Identifier: Apache-2.0 */
/* reg_memory.c -- cases: pages that are replaced, mappings that are not plain, what is refused */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "reg_rig.h"

#define WRITE_HIT(w, id, off)                                                                      \
	(struct xfer){ .what = w, .write = true, .hits = 1, .reg = REG(id, off), .copied = 8 }
#define WRITE_MISS(w, why)                                                                         \
	(struct xfer){ .what = w, .write = true, .copies = 1, .reg = 0, .copied = -1, .miss = why }
#define READ_MISS(w, why)                                                                          \
	(struct xfer){ .what = w, .copies = 1, .reg = 0, .copied = -1, .miss = why }

static void punched(struct rig *r)
{
	const int how = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	struct mem m = mem_new(r, 4 * MIB, 0);

	expect(r, 8, reg(r, 8, &m, 0), "REG_FD");
	xfer1(r, m.p, MIB, WRITE_HIT("before", 8, 0));
	expect(r, 0, fallocate(m.fd, how, 2 * PAGE, PAGE), "punch");
	xfer1(r, m.p, MIB, WRITE_MISS("with the new page", MISS_MIXED));
	xfer1(r, m.p, MIB, READ_MISS("with the new page, read", MISS_MIXED));
	xfer1(r, m.p + 3 * PAGE, MIB, WRITE_HIT("behind it", 8, 3 * PAGE));
	expect(r, 0, ftruncate(m.fd, MIB), "truncate");
	expect(r, 0, ftruncate(m.fd, 4 * MIB), "extend");
	xfer1(r, m.p + 2 * MIB, MIB, WRITE_MISS("cut off and back", MISS_UNREGISTERED));
	xfer1(r, m.p + 3 * PAGE, MIB / 2, WRITE_HIT("not cut off", 8, 3 * PAGE));
	unreg(r, 8);
	mem_free(&m);
}

static void private_mapping(struct rig *r)
{
	struct mem m = mem_new(r, 4 * MIB, 0);
	struct iovec v;
	struct xfer x = WRITE_HIT("before the copy", 8, MIB);
	char *p, *q;

	expect(r, 8, reg(r, 8, &m, 0), "REG_FD");
	p = mmap(NULL, m.len, PROT_READ | PROT_WRITE, MAP_PRIVATE, m.fd, 0);
	q = mmap(NULL, m.len, PROT_READ, MAP_SHARED, m.fd, 0);
	if (p == MAP_FAILED || q == MAP_FAILED)
		failed(r, "mmap: %s", strerror(errno));
	/* filled through the shared mapping, so the private one still has its pages */
	x.alias = (m.p + MIB) - (p + MIB);
	xfer1(r, p + MIB, MIB, x);
	xfer1(r, p + MIB, MIB, WRITE_MISS("after it", MISS_UNREGISTERED));
	memset(m.p + 2 * MIB, 7, MIB);
	/* reading into it makes private pages of it, also where the buffer is not filled before */
	v = (struct iovec){ p + 2 * MIB, MIB };
	pattern(r->sh->store, 0, MIB, 4711);
	expect(r, MIB, preadv(r->fd, &v, 1, 0), "read");
	expect(r, 0, differ(p + 2 * MIB, 0, MIB, 4711), "bytes that differ");
	if (m.p[2 * MIB] != 7 || m.p[3 * MIB - 1] != 7)
		failed(r, "a read into private memory reached the shared pages");
	x = WRITE_HIT("PROT_READ", 8, 5);
	x.alias = m.p - q;
	xfer1(r, q + 5, MIB - PAGE, x);
	expect(r, -1, pread(r->fd, q, MIB, 0), "read into PROT_READ");
	expect(r, EFAULT, errno, "errno of it");
	munmap(p, m.len);
	munmap(q, m.len);
	unreg(r, 8);
	mem_free(&m);
}

static void activated(struct rig *r, unsigned int flags, size_t page)
{
	const int how = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	struct mem m = mem_new(r, 4 * MIB, flags);

	expect(r, 9, reg(r, 9, &m, ABI_F_INACTIVE), "REG_FD");
	xfer1(r, m.p, MIB, WRITE_MISS("inactive", MISS_INACTIVE));
	expect(r, 0, ask(r, .op = ASK_ACTIVATE, .id = 9), "ACTIVATE");
	expect(r, -EALREADY, ask(r, .op = ASK_ACTIVATE, .id = 9), "ACTIVATE again");
	xfer1(r, m.p + 5, MIB - PAGE, WRITE_HIT("active", 9, 5));
	unreg(r, 9);
	expect(r, -ENOENT, ask(r, .op = ASK_ACTIVATE, .id = 9), "ACTIVATE of none");
	expect(r, 9, reg(r, 9, &m, ABI_F_INACTIVE), "REG_FD");
	expect(r, 0, fallocate(m.fd, how, 2 * MIB, (off_t)page), "punch");
	expect(r, -ESTALE, ask(r, .op = ASK_ACTIVATE, .id = 9), "ACTIVATE after a punch");
	m.p[2 * MIB] = 1; /* a page again, but another one */
	expect(r, -ESTALE, ask(r, .op = ASK_ACTIVATE, .id = 9), "ACTIVATE of another page");
	xfer1(r, m.p, MIB, WRITE_MISS("stale", MISS_INACTIVE));
	unreg(r, 9);
	mem_free(&m);
}

static void activate(struct rig *r)
{
	activated(r, 0, PAGE);
	activated(r, MFD_HUGETLB, 2 * MIB);
}

static void seals(struct rig *r)
{
	const int all = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE;
	const int how = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	struct mem m = mem_new(r, MIB, 0), late = mem_new(r, MIB, 0);

	expect(r, 3, reg(r, 3, &m, 0), "REG_FD");
	expect(r, 0, fcntl(m.fd, F_ADD_SEALS, all), "seals");
	xfer1(r, m.p, MIB, WRITE_HIT("sealed", 3, 0));
	xfer1(r, m.p, MIB, (struct xfer){ .what = "sealed, read", .hits = 1, .reg = REG(3, 0),
					  .copied = 0 });
	expect(r, -1, fallocate(m.fd, how, 0, PAGE), "punch");
	expect(r, EPERM, errno, "errno of it");
	expect(r, -1, fcntl(late.fd, F_ADD_SEALS, F_SEAL_WRITE), "F_SEAL_WRITE of what is mapped");
	expect(r, 0, fcntl(late.fd, F_ADD_SEALS, all), "seals");
	expect(r, -EPERM, reg(r, 4, &late, 0), "mapping after the seal");
	unreg(r, 3);
	mem_free(&m);
	mem_free(&late);
}

static void refused(struct rig *r)
{
	struct mem m = mem_new(r, MIB, 0), n = mem_new(r, MIB, 0);
	struct reg_ask a = { .op = ASK_REG, .prot = PROT_READ, .len = MIB, .id = 5 };
	int fd;

	expect(r, 3, reg(r, 3, &m, 0), "REG_FD");
	expect(r, -EEXIST, reg(r, 4, &m, 0), "the same pages");
	expect(r, -EBUSY, reg(r, 3, &n, 0), "the same id");
	expect(r, -EINVAL, reg(r, 65536, &n, 0), "id");
	expect(r, -EINVAL, reg(r, 5, &n, 1u << 9), "flag");
	a.len = 4000;
	expect(r, -EINVAL, ask_fd(r, a, n.fd), "length");
	a.len = 2 * MIB;
	expect(r, -EINVAL, ask_fd(r, a, n.fd), "beyond the end");
	a.len = PAGE;
	fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	a.flags = ABI_F_RDONLY;
	expect(r, -EINVAL, ask_fd(r, a, fd), "not a memfd");
	a.flags |= ABI_F_DMABUF;
	expect(r, -EINVAL, ask_fd(r, a, fd), "not a dma-buf");
	close(fd);
	expect(r, -ENOENT, ask(r, .op = ASK_UNREG, .id = 50), "UNREG of none");
	expect(r, -ENOENT, ask(r, .op = ASK_UNREG, .id = 1u << 20), "UNREG of no id");
	expect(r, -EINVAL, ask(r, .op = ASK_UNREG_DIRTY, .id = 3), "UNREG with a length");
	/* of what failed nothing is left */
	xfer1(r, n.p, MIB, WRITE_MISS("refused", MISS_UNREGISTERED));
	xfer1(r, m.p, MIB, WRITE_HIT("first", 3, 0));
	expect(r, 0, reg(r, ABI_ID_ANY, &n, 0), "id by the kernel");
	xfer1(r, n.p + 1, PAGE, WRITE_HIT("id by the kernel", 0, 1));
	unreg(r, 0);
	unreg(r, 3);
	mem_free(&m);
	mem_free(&n);
}

const struct reg_case cases_memory[] = {
	{ .name = "punch and truncate", .run = punched },
	{ .name = "private and read-only mappings", .run = private_mapping },
	{ .name = "activate", .run = activate },
	{ .name = "seals", .run = seals },
	{ .name = "refused", .run = refused },
	{ .name = NULL },
};
