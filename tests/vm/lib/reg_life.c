/* SPDX-License-Identifier: Apache-2.0 */
/* reg_life.c -- cases: regions, servers and clients that end while requests are on the way */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "reg_rig.h"

static void not_negotiated(struct rig *r)
{
	struct mem m = mem_new(r, MIB, 0);

	expect(r, -EOPNOTSUPP, reg(r, 3, &m, 0), "REG_FD");
	expect(r, -EOPNOTSUPP, ask(r, .op = ASK_UNREG, .id = 3), "UNREG_FD");
	xfer1(r, m.p, MIB, (struct xfer){ .what = "write", .write = true, .copies = 1, .reg = 0,
					  .copied = MIB + 8 });
	mem_free(&m);
}

static void unreg_in_flight(struct rig *r)
{
	struct mem m = mem_new(r, MIB, 0);
	struct job j = { .fd = r->fd, .p = m.p, .len = MIB, .pos = 9, .write = true };
	int i;

	expect(r, 8, reg(r, 8, &m, 0), "REG_FD");
	pattern(m.p, 9, MIB, 31);
	r->sh->hold = true;
	job_start(&j);
	wait_held(r, 1);
	expect(r, 0, ask(r, .op = ASK_UNREG, .id = 8), "UNREG_FD");
	for (i = 0; i < 100; i++) /* grace periods go by */
		expect(r, -EALREADY, ask(r, .op = ASK_UNREG, .id = 8), "UNREG_FD again");
	expect(r, -EBUSY, reg(r, 8, &m, 0), "the id");
	expect(r, -ENOENT, ask(r, .op = ASK_ACTIVATE, .id = 8), "ACTIVATE");
	r->sh->hold = false;
	job_end(&j);
	expect(r, MIB, j.res, "the request");
	expect(r, 1, r->sh->hits, "hits");
	expect(r, 0, differ(r->sh->store + 9, 9, MIB, 31), "bytes that differ");
	unreg(r, 8);
	wait_pins(r, 0);
	xfer1(r, m.p, MIB, (struct xfer){ .what = "gone", .write = true, .copies = 1, .reg = 0,
					  .copied = -1 });
	expect(r, 8, reg(r, 8, &m, 0), "the id again");
	xfer1(r, m.p, MIB, (struct xfer){ .what = "back", .hits = 1, .reg = REG(8, 0),
					  .copied = 0 });
	unreg(r, 8);
	mem_free(&m);
}

/* The client ends, its pages stay until the request is done. */
static void client_exit(struct rig *r)
{
	struct mem m = mem_new(r, MIB, 0);
	pid_t pid;
	int st;

	expect(r, 2, reg(r, 2, &m, 0), "REG_FD");
	pattern(m.p, 0, MIB, 5);
	r->sh->hold = true;
	fflush(stdout);
	pid = fork();
	if (!pid) {
		if (pwrite(r->fd, m.p, MIB, 0) != MIB)
			_exit(1);
		_exit(0);
	}
	wait_held(r, 1);
	kill(pid, SIGKILL);
	mem_free(&m);
	r->sh->hold = false;
	waitpid(pid, &st, 0);
	unreg(r, 2);
	expect(r, 1, r->sh->hits, "hits");
	expect(r, 0, differ(r->sh->store, 0, MIB, 5), "bytes that differ");
}

/* However the server ends, its clients get one of these: see fuse_uring_send_in_task(). */
static bool server_gone(long res)
{
	return res == -ECONNABORTED || res == -ENOTCONN || res == -ECANCELED || res == -EINTR;
}

static void server_killed(struct rig *r)
{
	struct mem m = mem_new(r, 4 * MIB, 0);
	struct job j[3];
	size_t i;

	expect(r, 1, reg(r, 1, &m, 0), "REG_FD");
	wait_pins(r, 1024);
	r->sh->hold = true;
	for (i = 0; i < 3; i++) {
		j[i] = (struct job){ .fd = r->fd, .p = m.p + i * MIB, .len = MIB,
				     .pos = (off_t)(i * MIB), .write = i != 2 };
		job_start(&j[i]);
	}
	wait_held(r, 1);
	rig_kill(r);
	for (i = 0; i < 3; i++) {
		job_end(&j[i]);
		if (!server_gone(j[i].res))
			failed(r, "request %zu ended with %ld", i, j[i].res);
	}
	/* with the server, not with the mount */
	wait_pins(r, 0);
	memset(m.p, 1, m.len);
	rig_stop(r, false);
	mem_free(&m);
}

static void unmounted(struct rig *r)
{
	struct mem m = mem_new(r, 4 * MIB, 0);

	expect(r, 1, reg(r, 1, &m, 0), "REG_FD");
	wait_pins(r, 1024);
	close(r->fd);
	r->fd = -1;
	expect(r, 0, umount2(r->mnt, 0), "umount");
	wait_pins(r, 0);
	rig_stop(r, true);
	mem_free(&m);
}

static void memlock(struct rig *r)
{
	struct mem m = mem_new(r, 2 * MIB, 0);
	struct reg_ask half = { .op = ASK_REG, .id = 1, .prot = PROT_READ | PROT_WRITE,
				.len = MIB };

	expect(r, -ENOMEM, reg(r, 1, &m, 0), "2 MiB of 1");
	wait_pins(r, 0);
	expect(r, 1, ask_fd(r, half, m.fd), "1 MiB of 1");
	half.id = 2;
	half.off = MIB;
	expect(r, -ENOMEM, ask_fd(r, half, m.fd), "1 MiB more");
	unreg(r, 1);
	expect(r, 2, ask_fd(r, half, m.fd), "1 MiB after that");
	xfer1(r, m.p + MIB + 7, PAGE, (struct xfer){ .what = "offset", .write = true, .hits = 1,
						     .reg = REG(2, 7), .copied = 8 });
	unreg(r, 2);
	mem_free(&m);
}

/* Registered and unregistered all the time; each write is a hit or is copied, and right. */
static void churn(struct rig *r)
{
	struct mem m = mem_new(r, 2 * MIB, 0);
	struct job j[2];
	uint32_t n;
	size_t k;

	for (n = 0; n < 60; n++) {
		for (k = 0; k < 2; k++) {
			j[k] = (struct job){ .fd = r->fd, .p = m.p + k * MIB, .len = MIB - n * 100,
					     .pos = (off_t)((3 + k) * MIB), .write = true };
			pattern(j[k].p, j[k].pos, j[k].len, n);
			job_start(&j[k]);
		}
		if (n & 1)
			unreg(r, 12);
		else
			expect(r, 12, reg(r, 12, &m, 0), "REG_FD");
		for (k = 0; k < 2; k++) {
			job_end(&j[k]);
			expect(r, (long)j[k].len, j[k].res, "write");
			expect(r, 0, differ(r->sh->store + j[k].pos, j[k].pos, j[k].len, n),
			       "bytes that differ");
		}
	}
	expect(r, 120, r->sh->hits + r->sh->copies, "requests");
	expect(r, 0, r->sh->bad, "bad requests");
	mem_free(&m);
}

const struct reg_case cases_life[] = {
	{ .name = "not negotiated", .run = not_negotiated, .o = { .no_reg = true } },
	{ .name = "unregister in flight", .run = unreg_in_flight },
	{ .name = "client killed in flight", .run = client_exit },
	{ .name = "server killed in flight", .run = server_killed, .own = true },
	{ .name = "unmounted with regions", .run = unmounted, .own = true },
	{ .name = "memlock", .run = memlock, .o = { .no_ipc_lock = true } },
	{ .name = "churn", .run = churn },
	{ .name = NULL },
};
