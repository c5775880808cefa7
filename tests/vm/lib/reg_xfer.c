/* SPDX-License-Identifier: Apache-2.0 */
/* reg_xfer.c -- one transfer: filled, sent in one of several ways, counted, compared */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <liburing.h>

#include "reg_rig.h"

#define TRACE "/sys/kernel/tracing/"

/* No two places within a GiB, and no two seeds, look the same for long. */
static char byte_at(uint64_t pos, uint32_t seed)
{
	return (char)(((uint32_t)pos + seed * 40503u) * 2654435761u >> 24);
}

void pattern(char *p, off_t pos, size_t len, uint32_t seed)
{
	size_t i;

	for (i = 0; i < len; i++)
		p[i] = byte_at((uint64_t)pos + i, seed);
}

long differ(const char *p, off_t pos, size_t len, uint32_t seed)
{
	long bad = 0;
	size_t i;

	for (i = 0; i < len; i++)
		bad += p[i] != byte_at((uint64_t)pos + i, seed);
	return bad;
}

long copied_bytes(void)
{
	FILE *f = fopen(TRACE "trace", "re");
	char line[512];
	const char *n;
	long sum = 0;
	int fd;

	if (!f || access(TRACE "events/regions/copy/enable", F_OK)) {
		if (f)
			fclose(f);
		return -1;
	}
	while (fgets(line, sizeof(line), f)) {
		n = strstr(line, " n=");
		if (*line != '#' && n)
			sum += strtol(n + 3, NULL, 10);
	}
	fclose(f);
	fd = open(TRACE "trace", O_WRONLY | O_TRUNC | O_CLOEXEC);
	if (fd >= 0)
		close(fd);
	return sum;
}

static long by_uring(int fd, const struct xfer *x)
{
	struct io_uring u;
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
	const struct iovec *v = x->iov;
	long res;

	if (io_uring_queue_init(4, &u, 0) || io_uring_ring_dontfork(&u))
		errx(1, "no ring");
	sqe = io_uring_get_sqe(&u);
	if (x->how == BY_URING_FIXED) {
		if (io_uring_register_buffers(&u, v, 1))
			errx(1, "no fixed buffer");
		if (x->write)
			io_uring_prep_write_fixed(sqe, fd, v->iov_base, (unsigned int)v->iov_len,
						  (uint64_t)x->pos, 0);
		else
			io_uring_prep_read_fixed(sqe, fd, v->iov_base, (unsigned int)v->iov_len,
						 (uint64_t)x->pos, 0);
	} else if (x->write) {
		io_uring_prep_writev(sqe, fd, v, (unsigned int)x->nr, (uint64_t)x->pos);
	} else {
		io_uring_prep_readv(sqe, fd, v, (unsigned int)x->nr, (uint64_t)x->pos);
	}
	if (io_uring_submit(&u) != 1 || io_uring_wait_cqe(&u, &cqe))
		errx(1, "nothing submitted");
	res = cqe->res;
	io_uring_cqe_seen(&u, cqe);
	io_uring_queue_exit(&u);
	return res;
}

static long by_aio(int fd, const struct xfer *x)
{
	aio_context_t ctx = 0;
	struct iocb cb = { .aio_fildes = (uint32_t)fd,
			   .aio_lio_opcode = x->write ? IOCB_CMD_PWRITEV : IOCB_CMD_PREADV,
			   .aio_buf = (uintptr_t)x->iov, .aio_nbytes = (unsigned int)x->nr,
			   .aio_offset = x->pos };
	struct iocb *list = &cb;
	struct io_event ev;

	if (syscall(SYS_io_setup, 4, &ctx) || syscall(SYS_io_submit, ctx, 1, &list) != 1 ||
	    syscall(SYS_io_getevents, ctx, 1, 1, &ev, NULL) != 1)
		err(1, "aio");
	syscall(SYS_io_destroy, ctx);
	return (long)ev.res;
}

static long send_it(int fd, const struct xfer *x)
{
	ssize_t n;

	if (x->how == BY_AIO)
		return by_aio(fd, x);
	if (x->how != BY_SYSCALL)
		return by_uring(fd, x);
	n = x->write ? pwritev(fd, x->iov, x->nr, x->pos) : preadv(fd, x->iov, x->nr, x->pos);
	return n < 0 ? -errno : n;
}

/* The store and the buffers, before (@check false) and after. */
static long sweep(struct rig *r, const struct xfer *x, uint32_t seed, bool check)
{
	off_t pos = x->pos;
	long bad = 0;
	int i;

	for (i = 0; i < x->nr; i++) {
		char *mem = (char *)x->iov[i].iov_base + x->alias;
		char *store = r->sh->store + pos;
		size_t len = x->iov[i].iov_len;

		if (check) {
			bad += differ(store, pos, len, seed);
			bad += differ(mem, pos, len, seed);
		} else {
			pattern(x->write ? mem : store, pos, len, seed);
			memset(x->write ? store : mem, 0x5a, len);
		}
		pos += (off_t)len;
	}
	return bad;
}

/* What the kernel says of it agrees with what the server has seen. */
static void compare_stats(struct rig *r, const struct xfer *x, const struct stats *s, long len,
			  long bytes)
{
	long misses = s->n[MISS_UNREGISTERED] + s->n[MISS_MIXED] + s->n[MISS_INACTIVE] +
		      s->n[MISS_RDONLY] + s->n[MISS_RUNS] + s->n[MISS_NOMEM];

	stats_same(r, x->what, s, HITS, x->hits);
	stats_same(r, x->what, s, HITS_SG, x->sg);
	if (x->copied >= 0)
		stats_same(r, x->what, s, COPIED_BYTES, x->copied);
	else if (bytes >= 0)
		stats_same(r, x->what, s, COPIED_BYTES, bytes);
	if (x->miss)
		stats_same(r, x->what, s, x->miss, x->err ? 1 : x->copies + x->lent);
	/* what fails comes to no server, and without regions nobody looks */
	if (x->err)
		return;
	expect(r, s->n[REGIONS] ? x->copies + x->lent : 0, misses, "misses");
	if (s->n[REGIONS])
		expect(r, len, s->n[HIT_BYTES] + s->n[MISS_BYTES], "bytes of hits and misses");
	else if (!x->copies && !x->lent)
		stats_same(r, x->what, s, HIT_BYTES, len);
}

void xfer(struct rig *r, struct xfer x)
{
	static uint32_t seed;
	struct stats s;
	long hits, sg, copies, lent, bytes, res, len = 0, bad;
	int i;

	for (i = 0; i < x.nr; i++)
		len += (long)x.iov[i].iov_len;
	seed++;
	sweep(r, &x, seed, false);
	hits = r->sh->hits;
	sg = r->sh->sg;
	copies = r->sh->copies;
	lent = r->sh->lent;
	stats_read(r, &s);
	copied_bytes();
	res = send_it(r->fd, &x);
	bytes = copied_bytes();
	stats_since(r, &s);
	expect(r, x.err ? -x.err : len, res, x.what);
	hits = r->sh->hits - hits;
	sg = r->sh->sg - sg;
	copies = r->sh->copies - copies;
	lent = r->sh->lent - lent;
	if (hits != x.hits || sg != x.sg || copies != x.copies || lent != x.lent)
		failed(r, "%s: hits %ld sg %ld copies %ld lent %ld, not %ld %ld %ld %ld", x.what,
		       hits, sg, copies, lent, x.hits, x.sg, x.copies, x.lent);
	if (x.reg >= 0 && (int64_t)r->sh->last_reg != x.reg)
		failed(r, "%s: region %lx, not %lx", x.what, (long)r->sh->last_reg, (long)x.reg);
	if (x.copied >= 0 && bytes >= 0 && bytes != x.copied)
		failed(r, "%s: %ld bytes copied, not %ld", x.what, bytes, (long)x.copied);
	compare_stats(r, &x, &s, len, bytes);
	bad = x.err ? 0 : sweep(r, &x, seed, true);
	if (bad || r->sh->bad)
		failed(r, "%s: %ld bytes differ, %ld bad requests", x.what, bad,
		       (long)r->sh->bad);
}

void xfer1(struct rig *r, char *p, size_t len, struct xfer x)
{
	struct iovec v = { p, len };

	x.iov = &v;
	x.nr = 1;
	xfer(r, x);
}

void xfer_basics(struct rig *r, const char *what, uint32_t id, char *p, uint64_t off)
{
	char before = p[-1], after = p[MIB], mid;

	xfer1(r, p, MIB, (struct xfer){ .what = what, .write = true, .pos = 777, .hits = 1,
					.reg = REG(id, off), .copied = 8 });
	xfer1(r, p, MIB, (struct xfer){ .what = what, .pos = 4096, .hits = 1, .reg = REG(id, off),
					.copied = 0 });
	if (p[-1] != before || p[MIB] != after)
		failed(r, "%s: a neighbour changed", what);
	xfer1(r, p + 777, 500001, (struct xfer){ .what = what, .write = true, .pos = 33, .hits = 1,
						 .reg = REG(id, off + 777), .copied = 8 });
	mid = p[12];
	after = p[13 + 500001];
	xfer1(r, p + 13, 500001, (struct xfer){ .what = what, .pos = 1, .hits = 1,
						.reg = REG(id, off + 13), .copied = 0 });
	if (p[12] != mid || p[13 + 500001] != after)
		failed(r, "%s: a neighbour changed", what);
	xfer1(r, p + 5, 1, (struct xfer){ .what = what, .write = true, .pos = 3, .hits = 1,
					  .reg = REG(id, off + 5), .copied = 8 });
	xfer1(r, p + PAGE - 1, 2, (struct xfer){ .what = what, .pos = 0, .hits = 1,
						 .reg = REG(id, off + PAGE - 1), .copied = 0 });
}
