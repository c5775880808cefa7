/* SPDX-License-Identifier: Apache-2.0 */
/* reg_fail.c -- cases: each allocation of a command or a request fails, one after the other
 *
 * The first one fails, then the second, until a round has fewer than that. Each round ends well or
 * with ENOMEM. After it nothing is left of what failed: no region, no pinned page, no byte that is
 * charged to the server. What the kernel thinks of it is on the guest's console.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "reg_fault.h"
#include "reg_rig.h"

#define ID 7u
#define SMALL (8 * PAGE)
#define LARGE (48 * PAGE)
#define DMABUF_PAGES 64u
/* more than any of these needs: the faults do not end, which is no fault of the kernel's */
#define MAX_FAULTS 3000u

struct kind {
	const char *name;
	struct mem (*make)(struct rig *r);
	uint64_t flags;
	long pins; /* that it has without a region */
};

/* KiB that the server has pinned, as it is charged for them */
static long charged(struct rig *r)
{
	char path[64], line[128];
	long kib = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", r->pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, "VmPin:", 6))
			kib = strtol(line + 6, NULL, 10);
	if (f)
		fclose(f);
	if (kib < 0)
		failed(r, "%s has no VmPin", path);
	return kib;
}

static struct mem populated(struct rig *r)
{
	struct mem m = mem_new(r, SMALL, 0);

	memset(m.p, 1, m.len);
	return m;
}

/* Its pages come while it is registered. */
static struct mem empty(struct rig *r)
{
	return mem_new(r, SMALL, 0);
}

static struct mem empty_huge(struct rig *r)
{
	return mem_new(r, 2 * MIB, MFD_HUGETLB);
}

/* Every other page frame belongs to somebody else: a tree of many runs. */
static struct mem in_runs(struct rig *r)
{
	struct mem m = mem_new(r, LARGE, 0), other = mem_new(r, LARGE, 0);
	size_t i;

	for (i = 0; i < LARGE; i += PAGE) {
		m.p[i] = 1;
		other.p[i] = 1;
	}
	mem_free(&other);
	return m;
}

static struct mem dmabuf(struct rig *r)
{
	struct mem of = mem_new(r, DMABUF_PAGES * PAGE, 0), m = { .len = of.len };

	m.fd = dmabuf_of(r, &of);
	m.p = mmap(NULL, m.len, PROT_READ | PROT_WRITE, MAP_SHARED, m.fd, 0);
	if (m.p == MAP_FAILED)
		failed(r, "mmap: %s", strerror(errno));
	mem_free(&of);
	return m;
}

static const struct kind kinds[] = {
	{ "a memfd", populated, 0, 0 },
	{ "an empty memfd", empty, 0, 0 },
	{ "an empty memfd of huge pages", empty_huge, 0, 0 },
	{ "a memfd in runs", in_runs, 0, 0 },
	{ "an inactive memfd", populated, ABI_F_INACTIVE, 0 },
	{ "a dma-buf", dmabuf, ABI_F_DMABUF, DMABUF_PAGES },
};

static bool is_file(const struct kind *k)
{
	return !(k->flags & ABI_F_DMABUF);
}

static void nothing_left(struct rig *r, const char *what, long kib, long pins)
{
	stats_regions(r, what, 0, 0, 0, 0);
	wait_pins(r, pins);
	expect(r, kib, charged(r), "KiB charged");
}

static void says(const struct rig *r, const char *what, unsigned int n, long nomem)
{
	printf("   %s, %s: %u allocations, %ld times ENOMEM\n", r->name, what, n - 1, nomem);
	fflush(stdout);
	if (n >= MAX_FAULTS)
		failed(r, "%s: the faults do not end", what);
}

static long reg_failing(struct rig *r, const struct mem *m, uint64_t flags, unsigned int n)
{
	return ask_fd(r, (struct reg_ask){ .op = ASK_REG, .id = ID, .prot = PROT_READ | PROT_WRITE,
					   .flags = flags, .len = m->len, .fail = n }, m->fd);
}

static bool reg_round(struct rig *r, const struct kind *k, unsigned int n, long *nomem)
{
	struct xfer x = { .what = k->name, .write = true, .hits = 1, .reg = REG(ID, 1),
			  .copied = 8 };
	struct mem m = k->make(r);
	long kib = charged(r), res = reg_failing(r, &m, k->flags, n);
	bool hit = r->sh->faulted;

	if (hit && res == -ENOMEM) {
		++*nomem;
		nothing_left(r, k->name, kib, k->pins);
		x.hits = 0;
		x.copies = 1;
		x.reg = 0;
		x.copied = -1;
		if (is_file(k))
			xfer1(r, m.p + 1, PAGE, x);
		/* nor is the id, or a page, taken by what failed */
		res = reg(r, ID, &m, k->flags);
		x = (struct xfer){ .what = k->name, .hits = 1, .reg = REG(ID, 1), .copied = 0 };
	}
	expect(r, ID, res, "REG_FD");
	if (k->flags & ABI_F_INACTIVE)
		expect(r, 0, ask(r, .op = ASK_ACTIVATE, .id = ID, .fail = n), "ACTIVATE");
	xfer1(r, m.p + 1, PAGE, x);
	unreg(r, ID);
	nothing_left(r, k->name, kib, k->pins);
	mem_free(&m);
	return hit;
}

static void reg_fails(struct rig *r)
{
	size_t i;

	for (i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		unsigned int n = 1;
		long nomem = 0;

		while (n < MAX_FAULTS && reg_round(r, &kinds[i], n, &nomem))
			n++;
		says(r, kinds[i].name, n, nomem);
		if (!nomem)
			failed(r, "%s: no allocation fails", kinds[i].name);
	}
}

/* UNREG_FD has nothing to fail with, so it needs what it allocates. */
static void unreg_fails(struct rig *r)
{
	size_t i;

	for (i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		long kib = charged(r);
		unsigned int n;
		bool hit = true;

		for (n = 0; hit && n < MAX_FAULTS;) {
			struct mem m = kinds[i].make(r);

			expect(r, ID, reg(r, ID, &m, kinds[i].flags), "REG_FD");
			n++;
			expect(r, 0, ask(r, .op = ASK_UNREG, .id = ID, .fail = n), "UNREG_FD");
			hit = r->sh->faulted;
			unreg(r, ID);
			nothing_left(r, kinds[i].name, kib, kinds[i].pins);
			mem_free(&m);
		}
		says(r, kinds[i].name, n, 0);
	}
}

/* Compares the @len bytes that have come through, which may be the beginning. */
static long differ_in(const struct rig *r, const struct xfer *x, long len, uint32_t seed)
{
	long bad = 0, done = 0;
	int i;

	for (i = 0; i < x->nr; i++) {
		size_t n = x->iov[i].iov_len;

		if (n > (size_t)(len - done))
			n = (size_t)(len - done);
		bad += differ(x->iov[i].iov_base, done, n, seed);
		bad += differ(r->sh->store + done, done, n, seed);
		done += (long)n;
	}
	return bad;
}

static void fill(struct rig *r, const struct xfer *x, uint32_t seed)
{
	off_t pos = 0;
	int i;

	for (i = 0; i < x->nr; i++) {
		char *mem = x->iov[i].iov_base, *store = r->sh->store + pos;
		size_t len = x->iov[i].iov_len;

		pattern(x->write ? mem : store, pos, len, seed);
		memset(x->write ? store : mem, 0x5a, len);
		pos += (off_t)len;
	}
}

/* Returns how many requests were copied as there was no memory for the list of their runs. */
static long io_fails(struct rig *r, const struct xfer *x)
{
	int fault = fault_open(0), i;
	long len = 0, nomem = 0, res, e;
	struct stats s;
	unsigned int n;
	bool hit = true;

	for (i = 0; i < x->nr; i++)
		len += (long)x->iov[i].iov_len;
	stats_read(r, &s);
	for (n = 0; hit && n < MAX_FAULTS;) {
		fill(r, x, ++n);
		fault_arm(fault, n);
		res = x->write ? pwritev(r->fd, x->iov, x->nr, 0) : preadv(r->fd, x->iov, x->nr, 0);
		e = errno;
		hit = fault_hit(fault);
		if (res < 0 && hit && e == ENOMEM) {
			nomem++;
			continue;
		}
		if (res <= 0 || (!hit && res != len))
			failed(r, "%s, fault %u: %ld, %s", x->what, n, res, strerror((int)e));
		expect(r, 0, differ_in(r, x, res, n) + r->sh->bad, "bytes that differ");
	}
	close(fault);
	stats_since(r, &s);
	says(r, x->what, n, nomem);
	return s.n[MISS_NOMEM];
}

static void requests_fail(struct rig *r)
{
	struct mem m = mem_new(r, MIB, 0), other = mem_new(r, SMALL, 0);
	struct iovec one = { m.p + 5, 3 * PAGE };
	struct iovec runs[2] = { { m.p + 40 * PAGE, 2 * PAGE }, { m.p + 9, 2 * PAGE } };
	struct iovec mixed[2] = { { m.p + 40 * PAGE, PAGE }, { other.p, PAGE } };
	struct xfer x[] = {
		{ .what = "write of one run", .write = true, .iov = &one, .nr = 1 },
		{ .what = "read of one run", .iov = &one, .nr = 1 },
		{ .what = "write of two runs", .write = true, .iov = runs, .nr = 2, .sg = 1 },
		{ .what = "read of two runs", .iov = runs, .nr = 2, .sg = 1 },
		{ .what = "write that is copied", .write = true, .iov = mixed, .nr = 2 },
		{ .what = "read that is copied", .iov = mixed, .nr = 2 },
	};
	long kib = charged(r);
	size_t i;

	memset(other.p, 1, other.len);
	memset(m.p, 1, m.len);
	expect(r, ID, reg(r, ID, &m, 0), "REG_FD");
	for (i = 0; i < sizeof(x) / sizeof(*x); i++)
		expect(r, x[i].sg, io_fails(r, &x[i]), "lists that there was no memory for");
	unreg(r, ID);
	nothing_left(r, "requests", kib, 0);
	mem_free(&m);
	mem_free(&other);
}

/* The end of a connection takes its regions away, whatever fails. */
static void abort_fails(struct rig *r)
{
	struct reg_server_opts none = { .mnt = NULL };
	char path[64];
	unsigned int n;
	bool hit = true;

	for (n = 0; hit && n < MAX_FAULTS;) {
		struct mem m = in_runs(r);
		int fd, fault = fault_open(0);
		long res;

		snprintf(path, sizeof(path), "/sys/fs/fuse/connections/%u/abort", r->conn);
		fd = open(path, O_WRONLY | O_CLOEXEC);
		expect(r, ID, reg(r, ID, &m, 0), "REG_FD");
		fault_arm(fault, ++n);
		res = write(fd, "1", 1);
		hit = fault_hit(fault);
		if (res == 1)
			wait_pins(r, 0);
		close(fd);
		close(fault);
		rig_stop(r, res != 1);
		mem_free(&m);
		if (hit)
			rig_start(r, &none);
	}
	says(r, "in runs", n, 0);
}

/* The ring of a connection comes with the answer to INIT. */
static void init_fails(struct rig *r)
{
	struct reg_server_opts o = { .mnt = NULL };
	unsigned int n;
	bool hit = true;

	rig_stop(r, false);
	for (n = 0; hit && n < MAX_FAULTS;) {
		o.fail_init = ++n;
		rig_spawn(r, &o);
		hit = r->sh->faulted;
		rig_stop(r, true);
	}
	says(r, "the ring", n, 0);
}

const struct reg_case cases_fail[] = {
	{ .name = "REG_FD without memory", .run = reg_fails },
	{ .name = "UNREG_FD without memory", .run = unreg_fails },
	{ .name = "requests without memory", .run = requests_fail },
	{ .name = "abort without memory", .run = abort_fails, .own = true },
	{ .name = "INIT without memory", .run = init_fails, .own = true },
	{ .name = NULL },
};
