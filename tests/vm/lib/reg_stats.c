/* SPDX-License-Identifier: Apache-2.0 */
/* reg_stats.c -- what the kernel counts for each connection; cases for counters and tracepoint */
#include <errno.h>
#include <fcntl.h>
#include <linux/udmabuf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "reg_rig.h"

#define TRACING "/sys/kernel/tracing/"

static const char *const names[NR_STATS] = {
	[REGIONS] = "regions",
	[DMABUF_REGIONS] = "dmabuf_regions",
	[DRAINING_REGIONS] = "draining_regions",
	[PINNED_PAGES] = "pinned_pages",
	[HITS] = "hits",
	[HITS_SG] = "hits_sg",
	[HIT_BYTES] = "hit_bytes",
	[MISS_UNREGISTERED] = "miss_unregistered",
	[MISS_MIXED] = "miss_mixed",
	[MISS_INACTIVE] = "miss_inactive",
	[MISS_RDONLY] = "miss_rdonly",
	[MISS_RUNS] = "miss_runs",
	[MISS_NOMEM] = "miss_nomem",
	[MISS_BYTES] = "miss_bytes",
	[COPIED_BYTES] = "copied_bytes",
};

void stats_read(struct rig *r, struct stats *s)
{
	char path[128], line[128];
	unsigned int seen = 0, i;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/fs/fuse/connections/%u/uring_stats", r->conn);
	f = fopen(path, "re");
	if (!f) {
		failed(r, "%s: %s", path, strerror(errno));
		return;
	}
	while (fgets(line, sizeof(line), f))
		for (i = 0; i < NR_STATS; i++) {
			size_t n = strlen(names[i]);

			if (!strncmp(line, names[i], n) && line[n] == ' ') {
				s->n[i] = strtol(line + n, NULL, 10);
				seen |= 1u << i;
			}
		}
	fclose(f);
	if (seen != (1u << NR_STATS) - 1)
		failed(r, "%s: lines %#x of %#x", path, seen, (1u << NR_STATS) - 1);
}

void stats_since(struct rig *r, struct stats *s)
{
	struct stats before = *s;
	unsigned int i;

	stats_read(r, s);
	for (i = FIRST_SUM; i < NR_STATS; i++)
		s->n[i] -= before.n[i];
}

void stats_same(struct rig *r, const char *what, const struct stats *s, enum stat_nr nr, long want)
{
	if (s->n[nr] != want)
		failed(r, "%s: %s is %ld, not %ld", what, names[nr], s->n[nr], want);
}

int dmabuf_of(struct rig *r, const struct mem *m)
{
	struct udmabuf_create c = { .memfd = (uint32_t)m->fd, .flags = UDMABUF_FLAGS_CLOEXEC,
				    .size = m->len };
	int dev = open("/dev/udmabuf", O_RDWR | O_CLOEXEC), fd;

	expect(r, 0, fcntl(m->fd, F_ADD_SEALS, F_SEAL_SHRINK), "seal");
	fd = ioctl(dev, UDMABUF_CREATE, &c);
	if (fd < 0)
		failed(r, "udmabuf: %s", strerror(errno));
	close(dev);
	return fd;
}

void stats_regions(struct rig *r, const char *what, long pages, long dmabufs, long draining,
		   long pinned)
{
	struct stats s;

	stats_read(r, &s);
	stats_same(r, what, &s, REGIONS, pages);
	stats_same(r, what, &s, DMABUF_REGIONS, dmabufs);
	stats_same(r, what, &s, DRAINING_REGIONS, draining);
	stats_same(r, what, &s, PINNED_PAGES, pinned);
}

/* What there is: regions, and pages that they pin. */
static void counted_regions(struct rig *r)
{
	struct mem a = mem_new(r, 2 * MIB, 0), b = mem_new(r, 4 * MIB, MFD_HUGETLB);
	struct mem c = mem_new(r, MIB, 0), d = { .len = MIB };
	struct job j = { .fd = r->fd, .p = a.p, .len = MIB, .write = true };
	struct reg_ask bad = { .op = ASK_REG, .id = 9, .prot = PROT_READ, .len = 64 * MIB };

	d.fd = dmabuf_of(r, &c);
	stats_regions(r, "none", 0, 0, 0, 0);
	expect(r, 1, reg(r, 1, &a, 0), "REG_FD");
	expect(r, 2, reg(r, 2, &b, ABI_F_INACTIVE), "REG_FD");
	expect(r, 3, reg(r, 3, &d, ABI_F_DMABUF), "REG_FD");
	stats_regions(r, "three", 2, 1, 0, 512 + 1024);
	expect(r, -EINVAL, ask_fd(r, bad, a.fd), "REG_FD beyond the end");
	expect(r, -EEXIST, reg(r, 9, &a, 0), "REG_FD of the same pages");
	stats_regions(r, "and two that failed", 2, 1, 0, 512 + 1024);
	pattern(a.p, 0, MIB, 3);
	r->sh->hold = true;
	job_start(&j);
	wait_held(r, 1);
	expect(r, 0, ask(r, .op = ASK_UNREG, .id = 1), "UNREG_FD");
	expect(r, 0, ask(r, .op = ASK_UNREG, .id = 2), "UNREG_FD");
	while (ask(r, .op = ASK_UNREG, .id = 2) == -EALREADY)
		usleep(1000);
	stats_regions(r, "one in use", 0, 1, 1, 512);
	r->sh->hold = false;
	job_end(&j);
	expect(r, MIB, j.res, "the request");
	expect(r, 0, differ(r->sh->store, 0, MIB, 3), "bytes that differ");
	unreg(r, 1);
	unreg(r, 3);
	stats_regions(r, "all gone", 0, 0, 0, 0);
	mem_free(&a);
	mem_free(&b);
	mem_free(&c);
	close(d.fd);
}

static void trace_switch(struct rig *r, bool on)
{
	int fd = open(TRACING "events/fuse/fuse_uring_reg/enable", O_WRONLY | O_CLOEXEC);

	if (fd < 0) {
		failed(r, "the tracepoint: %s", strerror(errno));
		return;
	}
	if (write(fd, on ? "1" : "0", 1) != 1)
		failed(r, "the tracepoint: %s", strerror(errno));
	close(fd);
}

/* The end of the next line of the tracepoint in @f, from its opcode on. */
static void traced(struct rig *r, FILE *f, const char *want)
{
	char line[512], *p;

	while (fgets(line, sizeof(line), f)) {
		p = strstr(line, " fuse_uring_reg: ");
		if (!p)
			continue;
		p = strstr(p, " opcode ");
		line[strcspn(line, "\n")] = 0;
		if (!p || strcmp(p + 1, want))
			failed(r, "traced: '%s', not '%s'", p ? p + 1 : line, want);
		return;
	}
	failed(r, "not traced: %s", want);
}

static void tracepoint(struct rig *r)
{
	struct mem m = mem_new(r, MIB, 0);
	struct iovec v[2] = { { m.p + 5 * PAGE, 1000 }, { m.p + 3, 2000 } };
	char other[10] = "";
	FILE *f;

	expect(r, 6, reg(r, 6, &m, ABI_F_RDONLY), "REG_FD");
	copied_bytes(); /* empties it */
	trace_switch(r, true);
	pattern(m.p + 777, 0, 5000, 1);
	expect(r, 5000, pwrite(r->fd, m.p + 777, 5000, 0), "write");
	expect(r, 0, differ(r->sh->store, 0, 5000, 1), "bytes that differ");
	expect(r, 3000, pwritev(r->fd, v, 2, 0), "write in two");
	expect(r, 4096, pread(r->fd, m.p, 4096, 0), "read");
	expect(r, 10, pwrite(r->fd, other, 10, 0), "write of other memory");
	trace_switch(r, false);
	f = fopen(TRACING "trace", "re");
	if (!f) {
		failed(r, "the trace: %s", strerror(errno));
		return;
	}
	traced(r, f, "opcode 16 (FUSE_WRITE) len 5000 hit region 6 offset 777 runs 1");
	traced(r, f, "opcode 16 (FUSE_WRITE) len 3000 hit region 6 offset 20480 runs 2");
	traced(r, f, "opcode 15 (FUSE_READ) len 4096 rdonly region -1 offset 0 runs 0");
	traced(r, f, "opcode 16 (FUSE_WRITE) len 10 unregistered region -1 offset 0 runs 0");
	fclose(f);
	unreg(r, 6);
	mem_free(&m);
}

const struct reg_case cases_stats[] = {
	{ .name = "counted regions", .run = counted_regions },
	{ .name = "tracepoint", .run = tracepoint },
	{ .name = NULL },
};
