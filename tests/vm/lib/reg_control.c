/* SPDX-License-Identifier: Apache-2.0 */
/* reg_control.c -- the server's side of the messages: map, register, unregister */
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <liburing.h>

#include "reg_fault.h"
#include "reg_server.h"

static struct io_uring ring;
static int worker = -1;

/* Commands of regions are done by the one worker that this thread's rings have. */
static int open_worker(void)
{
	DIR *d = opendir("/proc/self/task");
	const struct dirent *e;
	char want[32], comm[32], path[320];
	int fd = -1;

	if (!d)
		err(1, "/proc/self/task");
	snprintf(want, sizeof(want), "iou-wrk-%d\n", (int)gettid());
	while (fd < 0 && (e = readdir(d))) {
		FILE *f;

		snprintf(path, sizeof(path), "/proc/self/task/%s/comm", e->d_name);
		f = fopen(path, "re");
		if (f && fgets(comm, sizeof(comm), f) && !strcmp(comm, want))
			fd = fault_open(strtol(e->d_name, NULL, 10));
		if (f)
			fclose(f);
	}
	closedir(d);
	if (fd < 0)
		errx(1, "there is no worker");
	return fd;
}

static long command(unsigned int op, const struct abi_reg_cmd *cmd)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
	struct io_uring_cqe *cqe;
	long res;

	if (!sqe)
		errx(1, "the ring is full");
	memset(sqe, 0, 128);
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = reg_srv.dev;
	sqe->off = op; /* cmd_op */
	memcpy((char *)sqe + 48, cmd, sizeof(*cmd));
	do
		res = io_uring_submit_and_wait(&ring, 1);
	while (res == -EINTR);
	if (res < 0 || io_uring_wait_cqe(&ring, &cqe))
		errx(1, "command %u: %s", op, strerror((int)-res));
	res = cqe->res;
	io_uring_cqe_seen(&ring, cqe);
	return res;
}

/* The mapping and its entry come first: a request may come before the answer to REG_FD does. */
static long do_reg(const struct reg_ask *a, int fd)
{
	bool dmabuf = a->flags & ABI_F_DMABUF;
	struct abi_reg_cmd cmd = { .flags = a->flags, .len = a->len, .fd = fd, .id = a->id };
	char *p;
	long res;

	p = mmap(NULL, a->len, a->prot, MAP_SHARED, fd, (off_t)a->off);
	if (p == MAP_FAILED)
		return -errno;
	madvise(p, a->len, MADV_DONTFORK);
	if (dmabuf)
		cmd.uaddr = (uintptr_t)p;
	else
		cmd.off = a->off;
	if (a->id < NR_IDS && !reg_srv.region[a->id].addr) {
		reg_srv.region[a->id].len = a->len;
		reg_srv.region[a->id].addr = p;
	}
	res = command(ABI_REG_FD, &cmd);
	if (res >= 0 && a->id == ABI_ID_ANY && res < NR_IDS) {
		reg_srv.region[res].len = a->len;
		reg_srv.region[res].addr = p;
	}
	if (res < 0) {
		if (a->id < NR_IDS && reg_srv.region[a->id].addr == p)
			reg_srv.region[a->id].addr = NULL;
		munmap(p, a->len);
	}
	return res;
}

static long do_unreg(uint32_t id)
{
	long res = command(ABI_UNREG_FD, &(struct abi_reg_cmd){ .id = id });

	if (res == -ENOENT && id < NR_IDS && reg_srv.region[id].addr) {
		munmap(reg_srv.region[id].addr, reg_srv.region[id].len);
		reg_srv.region[id].addr = NULL;
	}
	return res;
}

static long do_guard(bool on)
{
	unsigned int q, i;

	for (q = 0; q < reg_srv.nr_queues; q++)
		for (i = 0; i < QUEUE_DEPTH; i++)
			if (mprotect(reg_srv.pools[q] + i * REQ_MAX + PAGE, REQ_MAX - PAGE,
				     on ? PROT_NONE : PROT_READ | PROT_WRITE))
				return -errno;
	return 0;
}

static long answer(const struct reg_ask *a, int fd)
{
	switch (a->op) {
	case ASK_REG:
		return do_reg(a, fd);
	case ASK_UNREG:
		return do_unreg(a->id);
	case ASK_UNREG_DIRTY:
		return command(ABI_UNREG_FD, &(struct abi_reg_cmd){ .id = a->id, .len = PAGE });
	case ASK_ACTIVATE:
		return command(ABI_REG_ACTIVATE, &(struct abi_reg_cmd){ .id = a->id });
	case ASK_GUARD:
		return do_guard(a->arg);
	}
	return -ENOSYS;
}

static long answer_failing(const struct reg_ask *a, int fd)
{
	long res;

	if (worker < 0) {
		/* a command brings the worker to life */
		command(ABI_UNREG_FD, &(struct abi_reg_cmd){ .id = NR_IDS });
		worker = open_worker();
	}
	fault_arm(worker, a->fail);
	res = answer(a, fd);
	reg_srv.o->sh->faulted = fault_hit(worker);
	return res;
}

static bool receive(struct reg_ask *a, int *ret_fd)
{
	char room[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { a, sizeof(*a) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = room,
			    .msg_controllen = sizeof(room) };
	const struct cmsghdr *c;

	if (recvmsg(reg_srv.o->ctl, &m, MSG_CMSG_CLOEXEC) != sizeof(*a))
		return false;
	*ret_fd = -1;
	c = CMSG_FIRSTHDR(&m);
	if (c)
		memcpy(ret_fd, CMSG_DATA(c), sizeof(int));
	return true;
}

void *reg_control(void *arg)
{
	struct io_uring_params p = { .flags = IORING_SETUP_SQE128 };
	unsigned int one[2] = { 1, 1 };
	struct reg_ask a;
	int fd;

	if (io_uring_queue_init_params(4, &ring, &p) || io_uring_ring_dontfork(&ring) ||
	    io_uring_register_iowq_max_workers(&ring, one))
		errx(1, "no ring for commands");
	while (receive(&a, &fd)) {
		long res = a.fail ? answer_failing(&a, fd) : answer(&a, fd);

		if (fd >= 0)
			close(fd);
		if (send(reg_srv.o->ctl, &res, sizeof(res), MSG_NOSIGNAL) != sizeof(res))
			break;
	}
	return arg;
}
