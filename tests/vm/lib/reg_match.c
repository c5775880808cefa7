/* SPDX-License-Identifier: Apache-2.0 */
/* reg_match.c -- cases: which requests are found in a region, and which are not */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "reg_rig.h"

/* Without a region the guard is hit, so whatever passes it later has not been copied. */
static void guard(struct rig *r)
{
	struct mem m = mem_new(r, 4 * MIB, 0);

	xfer1(r, m.p, MIB, (struct xfer){ .what = "write, copied", .write = true, .copies = 1,
					  .reg = 0, .copied = MIB + 8 });
	xfer1(r, m.p, MIB, (struct xfer){ .what = "read, copied", .copies = 1, .reg = 0,
					  .copied = MIB });
	expect(r, 0, ask(r, .op = ASK_GUARD, .arg = 1), "guard");
	xfer1(r, m.p, MIB, (struct xfer){ .what = "write, guarded", .write = true, .err = EFAULT,
					  .reg = -1, .copied = -1 });
	xfer1(r, m.p, PAGE, (struct xfer){ .what = "one page", .write = true, .copies = 1,
					   .reg = 0, .copied = PAGE + 8 });
	expect(r, 5, reg(r, 5, &m, 0), "REG_FD");
	xfer_basics(r, "4 KiB pages", 5, m.p + 65536, 65536);
	unreg(r, 5);
	xfer1(r, m.p, MIB, (struct xfer){ .what = "unregistered", .write = true, .err = EFAULT,
					  .reg = -1, .copied = -1 });
	mem_free(&m);
}

static void huge_pages(struct rig *r)
{
	struct mem m = mem_new(r, 6 * MIB, MFD_HUGETLB);
	struct reg_ask part = { .op = ASK_REG, .id = 12, .prot = PROT_READ | PROT_WRITE,
				.off = 2 * MIB, .len = 2 * MIB };

	memset(m.p, 1, m.len);
	expect(r, 0, ask(r, .op = ASK_GUARD, .arg = 1), "guard");
	expect(r, 11, reg(r, 11, &m, 0), "REG_FD");
	xfer_basics(r, "hugetlb", 11, m.p + PAGE, PAGE);
	xfer_basics(r, "hugetlb, across pages", 11, m.p + 2 * MIB - 5 * PAGE, 2 * MIB - 5 * PAGE);
	unreg(r, 11);
	expect(r, 12, ask_fd(r, part, m.fd), "REG_FD at an offset");
	xfer1(r, m.p + 3 * MIB, MIB, (struct xfer){ .what = "offset", .write = true, .hits = 1,
						    .reg = REG(12, MIB), .copied = 8 });
	expect(r, 0, ask(r, .op = ASK_GUARD, .arg = 0), "guard");
	xfer1(r, m.p + 2 * MIB - PAGE, MIB, (struct xfer){ .what = "begins before", .write = true,
							   .copies = 1, .reg = 0, .copied = -1,
							   .miss = MISS_UNREGISTERED });
	xfer1(r, m.p + 4 * MIB - PAGE, MIB, (struct xfer){ .what = "ends behind", .copies = 1,
							   .reg = 0, .copied = -1,
							   .miss = MISS_MIXED });
	unreg(r, 12);
	mem_free(&m);
}

/* Folios of 2 MiB in a memfd; the region starts in the middle of one. */
static void transparent(struct rig *r)
{
	const char *sw = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";
	struct reg_ask part = { .op = ASK_REG, .id = 14, .prot = PROT_READ | PROT_WRITE,
				.off = MIB, .len = 3 * MIB };
	int fd = open(sw, O_WRONLY | O_CLOEXEC);
	struct mem m;

	if (fd < 0) {
		failed(r, "%s: %s", sw, strerror(errno));
		return;
	}
	if (write(fd, "always", 6) != 6)
		failed(r, "%s: %s", sw, strerror(errno));
	m = mem_new(r, 4 * MIB, 0);
	memset(m.p, 1, m.len);
	expect(r, 14, ask_fd(r, part, m.fd), "REG_FD");
	xfer_basics(r, "THP", 14, m.p + MIB + 65536, 65536);
	xfer1(r, m.p + MIB - PAGE, 2 * PAGE, (struct xfer){ .what = "across the start",
							    .write = true, .copies = 1, .reg = 0,
							    .copied = -1 });
	unreg(r, 14);
	mem_free(&m);
	if (write(fd, "never", 5) != 5)
		failed(r, "%s: %s", sw, strerror(errno));
	close(fd);
}

static void scattered(struct rig *r)
{
	struct mem m = mem_new(r, 4 * MIB, 0);
	struct iovec v[257];
	struct xfer x = { .what = "two runs", .write = true, .iov = v, .nr = 2, .hits = 1, .sg = 1,
			  .reg = REG(6, 2), .copied = 2 * sizeof(struct abi_seg) + 8 };
	int i;

	expect(r, 6, reg(r, 6, &m, 0), "REG_FD");
	expect(r, 0, ask(r, .op = ASK_GUARD, .arg = 1), "guard");
	v[0] = (struct iovec){ m.p + 2 * MIB, 300000 };
	v[1] = (struct iovec){ m.p + MIB + 5, 200000 };
	xfer(r, x);
	if (r->sh->seg[0].off != 2 * MIB || r->sh->seg[0].len != 300000 || r->sh->seg[0].id != 6 ||
	    r->sh->seg[1].off != MIB + 5 || r->sh->seg[1].len != 200000 || r->sh->seg[1].id != 6)
		failed(r, "wrong segments");
	x.write = false;
	x.copied -= 8;
	xfer(r, x);
	v[0] = (struct iovec){ m.p + 2 * MIB, PAGE };
	v[1] = (struct iovec){ m.p + 2 * MIB + PAGE, 100 };
	x = (struct xfer){ .what = "one run in two", .iov = v, .nr = 2, .hits = 1,
			   .reg = REG(6, 2 * MIB), .copied = 0 };
	xfer(r, x);
	for (i = 0; i < 257; i++)
		v[i] = (struct iovec){ m.p + (2 * (unsigned int)i + 1) * PAGE, 512 };
	x = (struct xfer){ .what = "256 runs", .write = true, .iov = v, .nr = 256, .hits = 1,
			   .sg = 1, .reg = REG(6, 256), .copied = 256 * 16 + 8 };
	xfer(r, x);
	x.what = "257 runs, two requests";
	x.nr = 257;
	x.hits = 2;
	x.reg = REG(6, 513 * PAGE);
	x.copied = 256 * 16 + 16;
	xfer(r, x);
	unreg(r, 6);
	mem_free(&m);
}

static void mixes(struct rig *r)
{
	struct mem a = mem_new(r, MIB, 0), b = mem_new(r, MIB, 0);
	char *heap = calloc(1, MIB);
	struct iovec v[2] = { { heap, 3000 }, { a.p, 1000 } };
	struct xfer x = { .what = "heap and region", .write = true, .iov = v, .nr = 2, .copies = 1,
			  .reg = 0, .copied = 4008, .miss = MISS_UNREGISTERED };

	expect(r, 1, reg(r, 1, &a, 0), "REG_FD");
	expect(r, 2, reg(r, 2, &b, 0), "REG_FD");
	xfer(r, x);
	v[0] = (struct iovec){ a.p, 1000 };
	v[1] = (struct iovec){ b.p, 3000 };
	x.what = "two regions";
	x.miss = MISS_MIXED;
	xfer(r, x);
	x.write = false;
	x.copied = 4000;
	xfer(r, x);
	xfer1(r, b.p + 9, 4000, (struct xfer){ .what = "second region", .hits = 1,
					       .reg = REG(2, 9), .copied = 0 });
	unreg(r, 1);
	unreg(r, 2);
	mem_free(&a);
	mem_free(&b);
	free(heap);
}

static void read_only(struct rig *r)
{
	struct mem m = mem_new(r, MIB, 0);

	expect(r, 7, reg(r, 7, &m, ABI_F_RDONLY), "REG_FD");
	xfer1(r, m.p, MIB, (struct xfer){ .what = "write", .write = true, .hits = 1,
					  .reg = REG(7, 0), .copied = 8 });
	xfer1(r, m.p, MIB, (struct xfer){ .what = "read", .copies = 1, .reg = 0, .copied = MIB,
					  .miss = MISS_RDONLY });
	unreg(r, 7);
	mem_free(&m);
}

static void engines(struct rig *r)
{
	static const char *const name[] = { "pwritev", "io_uring", "io_uring, fixed", "aio" };
	struct mem m = mem_new(r, 4 * MIB, 0);
	struct xfer x = { .reg = -1, .copied = -1, .hits = 4, .pos = 100 };
	enum how how;

	expect(r, 3, reg(r, 3, &m, 0), "REG_FD");
	expect(r, 0, ask(r, .op = ASK_GUARD, .arg = 1), "guard");
	for (how = BY_SYSCALL; how <= BY_AIO; how++) {
		x.what = name[how];
		x.how = how;
		x.write = true;
		xfer1(r, m.p, 4 * MIB, x);
		x.write = false;
		xfer1(r, m.p, 4 * MIB, x);
	}
	unreg(r, 3);
	mem_free(&m);
}

static void spliced(struct rig *r)
{
	struct mem m = mem_new(r, MIB, 0);
	loff_t from = 0x3000, to = 5000;
	int p[2];

	expect(r, 4, reg(r, 4, &m, 0), "REG_FD");
	expect(r, 0, ask(r, .op = ASK_GUARD, .arg = 1), "guard");
	pattern(m.p + from, to, 65536, 99);
	if (pipe2(p, O_CLOEXEC) || fcntl(p[1], F_SETPIPE_SZ, 65536) < 65536)
		failed(r, "pipe: %s", strerror(errno));
	expect(r, 65536, splice(m.fd, &from, p[1], NULL, 65536, 0), "into the pipe");
	expect(r, 65536, splice(p[0], NULL, r->fd, &to, 65536, 0), "out of it");
	expect(r, 1, r->sh->hits, "hits");
	expect(r, REG(4, 0x3000), (long)r->sh->last_reg, "region");
	expect(r, 0, differ(r->sh->store + 5000, 5000, 65536, 99), "bytes that differ");
	close(p[0]);
	close(p[1]);
	unreg(r, 4);
	mem_free(&m);
}

/* A child has the shared mapping, too. */
static void forked(struct rig *r)
{
	struct mem m = mem_new(r, MIB, 0);
	pid_t pid;
	int st;

	expect(r, 4, reg(r, 4, &m, 0), "REG_FD");
	fflush(stdout);
	pid = fork();
	if (!pid) {
		xfer1(r, m.p + 3, 70000, (struct xfer){ .what = "child", .write = true, .hits = 1,
							.reg = REG(4, 3), .copied = 8 });
		_exit(0);
	}
	waitpid(pid, &st, 0);
	expect(r, 0, st, "status of the child");
	xfer1(r, m.p + 3, 70000, (struct xfer){ .what = "parent", .hits = 1, .reg = REG(4, 3),
						.copied = 0 });
	unreg(r, 4);
	mem_free(&m);
}

const struct reg_case cases_match[] = {
	{ .name = "guard", .run = guard },
	{ .name = "huge pages", .run = huge_pages },
	{ .name = "transparent huge pages", .run = transparent },
	{ .name = "scattered", .run = scattered },
	{ .name = "mixes", .run = mixes },
	{ .name = "read-only region", .run = read_only },
	{ .name = "ways to send", .run = engines },
	{ .name = "splice", .run = spliced },
	{ .name = "fork", .run = forked },
	{ .name = NULL },
};
