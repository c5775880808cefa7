/* SPDX-License-Identifier: Apache-2.0 */
/* reg_zero_copy.c -- cases: regions on queues whose requests are lent as fixed buffers otherwise */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "reg_rig.h"

#define LENT(w, wr, why)                                                                           \
	(struct xfer){ .what = w, .write = wr, .lent = 1, .reg = 0, .copied = (wr) ? 8 : 0,        \
		       .miss = why }

/* What is in a region comes as such, what is not is lent, and nothing is copied in either way. */
static void side_by_side(struct rig *r)
{
	struct mem m = mem_new(r, 4 * MIB, 0), other = mem_new(r, MIB, 0);
	struct iovec v[2] = { { m.p + 2 * MIB, 300000 }, { m.p + MIB + 5, 200000 } };
	struct xfer runs = { .what = "two runs", .write = true, .iov = v, .nr = 2, .hits = 1,
			     .sg = 1, .reg = REG(5, 2), .copied = 2 * sizeof(struct abi_seg) + 8 };
	struct xfer mixed = LENT("region and other memory", true, MISS_MIXED);

	expect(r, 0, ask(r, .op = ASK_GUARD, .arg = 1), "guard");
	xfer1(r, m.p + 100, MIB - PAGE, LENT("write, no region", true, 0));
	xfer1(r, m.p + 100, MIB - PAGE, LENT("read, no region", false, 0));
	expect(r, 5, reg(r, 5, &m, 0), "REG_FD");
	xfer_basics(r, "4 KiB pages", 5, m.p + 65536, 65536);
	xfer1(r, other.p + 3, MIB - 3, LENT("write of other memory", true, MISS_UNREGISTERED));
	xfer1(r, other.p + 3, MIB - 3, LENT("read of other memory", false, MISS_UNREGISTERED));
	xfer(r, runs);
	runs.write = false;
	runs.copied -= 8;
	xfer(r, runs);
	v[1] = (struct iovec){ other.p, 200000 };
	mixed.iov = v;
	mixed.nr = 2;
	xfer(r, mixed);
	mixed.write = false;
	mixed.copied = 0;
	xfer(r, mixed);
	unreg(r, 5);
	xfer1(r, m.p + 100, MIB - PAGE, LENT("write, unregistered", true, 0));
	expect(r, 6, reg(r, 6, &m, ABI_F_RDONLY), "REG_FD");
	xfer1(r, m.p, MIB, (struct xfer){ .what = "write", .write = true, .hits = 1,
					  .reg = REG(6, 0), .copied = 8 });
	xfer1(r, m.p, MIB, LENT("read", false, MISS_RDONLY));
	unreg(r, 6);
	mem_free(&m);
	mem_free(&other);
}

/* A dma-buf has no pages that could be lent. */
static void dmabuf(struct rig *r)
{
	struct mem of = mem_new(r, MIB, 0), m = { .len = of.len };

	m.fd = dmabuf_of(r, &of);
	m.p = mmap(NULL, m.len, PROT_READ | PROT_WRITE, MAP_SHARED, m.fd, 0);
	if (m.p == MAP_FAILED)
		failed(r, "mmap: %s", strerror(errno));
	xfer1(r, m.p, MIB, (struct xfer){ .what = "unregistered", .write = true, .err = EFAULT,
					  .reg = -1, .copied = -1 });
	expect(r, 3, reg(r, 3, &m, ABI_F_DMABUF), "REG_FD");
	xfer1(r, m.p + 9, MIB - 9, (struct xfer){ .what = "write", .write = true, .hits = 1,
						  .reg = REG(3, 9), .copied = 8 });
	xfer1(r, m.p + 9, MIB - 9, (struct xfer){ .what = "read", .hits = 1, .reg = REG(3, 9),
						  .copied = 0 });
	unreg(r, 3);
	mem_free(&m);
	mem_free(&of);
}

/* Requests of both kinds are at the server when it is killed. */
static void killed(struct rig *r)
{
	struct mem m = mem_new(r, MIB, 0), other = mem_new(r, MIB, 0);
	struct job j[4];
	int i;

	memset(other.p, 1, other.len);
	expect(r, 1, reg(r, 1, &m, 0), "REG_FD");
	r->sh->hold = true;
	for (i = 0; i < 4; i++) {
		j[i] = (struct job){ .fd = r->fd, .p = i & 1 ? m.p : other.p, .len = MIB,
				     .pos = (off_t)MIB * i, .write = i < 2 };
		job_start(&j[i]);
	}
	wait_held(r, 1);
	rig_kill(r);
	for (i = 0; i < 4; i++) {
		job_end(&j[i]);
		if (j[i].res >= 0)
			failed(r, "request %d ended with %ld", i, j[i].res);
	}
	wait_pins(r, 0);
	rig_stop(r, false);
	mem_free(&m);
	mem_free(&other);
}

const struct reg_case cases_zero_copy[] = {
	{ .name = "zero-copy queues", .run = side_by_side, .o = { .zero_copy = true } },
	{ .name = "zero-copy queues, dma-buf", .run = dmabuf, .o = { .zero_copy = true } },
	{ .name = "zero-copy queues, killed", .run = killed, .o = { .zero_copy = true },
	  .own = true },
	{ .name = NULL },
};
