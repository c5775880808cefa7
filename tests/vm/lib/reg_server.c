/* SPDX-License-Identifier: Apache-2.0 */
/* reg_server.c -- a FUSE server of its own: /dev/fuse for INIT, a ring for each CPU for the rest */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <liburing.h>

#include "reg_fault.h"
#include "reg_server.h"

struct reg_server reg_srv;

struct queue {
	struct io_uring ring;
	uint16_t qid;
	char *pool;
	int moved; /* bytes by lend(), -errno; UNDER_WAY */
	unsigned int nr_todo;
	struct entry {
		struct fuse_uring_req_header *h;
		char *payload;
		struct iovec iov[2];
	} e[QUEUE_DEPTH], *todo[2 * QUEUE_DEPTH];
};

#define UNDER_WAY (-4096)

static struct queue *queues;

static char *memory(size_t len)
{
	char *p = mmap(NULL, len, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED || madvise(p, len, MADV_DONTFORK))
		err(1, "memory");
	return p;
}

static struct fuse_uring_cmd_req *prepare(struct queue *q, unsigned int op, struct entry *e)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&q->ring);
	struct fuse_uring_cmd_req *cmd;

	if (!sqe)
		errx(1, "the ring is full");
	memset(sqe, 0, 128);
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = reg_srv.dev;
	sqe->off = op; /* cmd_op */
	io_uring_sqe_set_data(sqe, e);
	cmd = (void *)((char *)sqe + 48);
	cmd->qid = q->qid;
	if (op == FUSE_IO_URING_CMD_REGISTER) {
		sqe->addr = (uintptr_t)e->iov;
		sqe->len = 2;
	}
	return cmd;
}

static void wait_one(struct queue *q, const char *what)
{
	struct io_uring_cqe *cqe;

	if (io_uring_submit_and_wait(&q->ring, 1) < 0 || io_uring_wait_cqe(&q->ring, &cqe))
		errx(1, "%s: no answer", what);
	if (cqe->res)
		errx(1, "%s: %s", what, strerror(-cqe->res));
	io_uring_cqe_seen(&q->ring, cqe);
}

static void set_up(struct queue *q)
{
	struct io_uring_params p = { .flags = IORING_SETUP_SQE128 | IORING_SETUP_SINGLE_ISSUER |
					      IORING_SETUP_DEFER_TASKRUN };
	struct fuse_uring_cmd_req *cmd;
	cpu_set_t cpu;
	unsigned int i;

	CPU_ZERO(&cpu);
	CPU_SET(q->qid, &cpu);
	if (sched_setaffinity(0, sizeof(cpu), &cpu) ||
	    io_uring_queue_init_params(2 * QUEUE_DEPTH, &q->ring, &p) ||
	    io_uring_ring_dontfork(&q->ring))
		errx(1, "no ring for queue %u", q->qid);
	if (reg_srv.o->pool) {
		cmd = prepare(q, FUSE_IO_URING_CMD_ADD_QUEUE, NULL);
		if (reg_srv.o->zero_copy) {
			cmd->flags = FUSE_URING_ZERO_COPY;
			if (io_uring_register_buffers_sparse(&q->ring, QUEUE_DEPTH))
				errx(1, "no table of fixed buffers");
		}
		wait_one(q, "ADD_QUEUE");
		cmd = prepare(q, FUSE_IO_URING_CMD_ADD_BUFPOOL, NULL);
		cmd->bufpool.uaddr = (uintptr_t)q->pool;
		cmd->bufpool.len = QUEUE_DEPTH * REQ_MAX;
		wait_one(q, "ADD_BUFPOOL");
	}
	for (i = 0; i < QUEUE_DEPTH; i++) {
		struct entry *e = &q->e[i];

		e->h = (void *)memory(PAGE);
		e->payload = q->pool + i * REQ_MAX;
		e->iov[0] = (struct iovec){ e->h, sizeof(*e->h) };
		if (!reg_srv.o->pool)
			e->iov[1] = (struct iovec){ e->payload, REQ_MAX };
		cmd = prepare(q, FUSE_IO_URING_CMD_REGISTER, e);
		if (reg_srv.o->zero_copy)
			cmd->ent_zero_copy_buf_index = (uint16_t)i;
	}
}

/* Waits for one or more completions; false: the connection ends. */
static bool gather(struct queue *q)
{
	struct io_uring_cqe *cqe;
	unsigned int head, nr = 0;
	int rc = io_uring_submit_and_wait(&q->ring, 1);

	if (rc < 0 && rc != -EINTR)
		return false;
	io_uring_for_each_cqe(&q->ring, head, cqe) {
		if (io_uring_cqe_get_data(cqe) == q)
			q->moved = cqe->res;
		else if (cqe->res)
			return false;
		else
			q->todo[q->nr_todo++] = io_uring_cqe_get_data(cqe);
		nr++;
	}
	io_uring_cq_advance(&q->ring, nr);
	return true;
}

/* The pages of this request are a fixed buffer of the ring: moves them from or to the store. */
static bool lend(struct queue *q, const struct entry *e)
{
	bool write = ((struct fuse_in_header *)(void *)e->h->in_out)->opcode == FUSE_WRITE;
	const struct fuse_write_in *w = (void *)e->h->op_in;
	const struct fuse_read_in *r = (void *)e->h->op_in;
	uint64_t pos = write ? w->offset : r->offset;
	uint32_t size = write ? w->size : r->size;
	struct io_uring_sqe *sqe;

	if (pos > STORE_BYTES || size > STORE_BYTES - pos)
		return false;
	sqe = io_uring_get_sqe(&q->ring);
	if (!sqe)
		errx(1, "the ring is full");
	memset(sqe, 0, 128);
	pos += offsetof(struct reg_shared, store);
	if (write)
		io_uring_prep_write_fixed(sqe, reg_srv.o->sh_fd, NULL, size, pos, (int)(e - q->e));
	else
		io_uring_prep_read_fixed(sqe, reg_srv.o->sh_fd, NULL, size, pos, (int)(e - q->e));
	io_uring_sqe_set_data(sqe, q);
	q->moved = UNDER_WAY;
	while (q->moved == UNDER_WAY)
		if (!gather(q))
			return false;
	return q->moved == (int)size;
}

static void serve(struct queue *q, struct entry *e)
{
	struct fuse_uring_ent_in_out *io = &e->h->ring_ent_in_out;
	struct fuse_in_header *in = (void *)e->h->in_out;
	uint64_t unique = in->unique, commit_id = io->commit_id;
	struct fuse_out_header *out = (void *)e->h->in_out;
	long res;

	if ((io->flags & ABI_ENT_ZERO_COPY) && !lend(q, e))
		reg_srv.o->sh->bad++;
	res = reg_file_op(e->h, reg_srv.o->pool ? q->pool + io->offset : e->payload);

	*out = (struct fuse_out_header){ .len = sizeof(*out), .unique = unique };
	if (res < 0)
		out->error = (int32_t)res;
	io->payload_sz = res < 0 ? 0 : (uint32_t)res;
	prepare(q, FUSE_IO_URING_CMD_COMMIT_AND_FETCH, e)->commit_id = commit_id;
}

static void *queue_main(void *arg)
{
	struct queue *q = arg;

	set_up(q);
	for (;;) {
		while (!q->nr_todo)
			if (!gather(q))
				return NULL;
		serve(q, q->todo[--q->nr_todo]);
	}
}

static void start_queues(void)
{
	pthread_t t;
	unsigned int i;

	reg_srv.nr_queues = (unsigned int)get_nprocs_conf();
	queues = calloc(reg_srv.nr_queues, sizeof(*queues));
	reg_srv.pools = calloc(reg_srv.nr_queues, sizeof(*reg_srv.pools));
	if (!queues || !reg_srv.pools)
		err(1, "queues");
	for (i = 0; i < reg_srv.nr_queues; i++) {
		queues[i].qid = (uint16_t)i;
		queues[i].pool = reg_srv.pools[i] = memory(QUEUE_DEPTH * REQ_MAX);
		if (pthread_create(&t, NULL, queue_main, &queues[i]))
			errx(1, "no thread");
	}
	if (pthread_create(&t, NULL, reg_control, NULL))
		errx(1, "no thread");
}

static void answer_init(const struct fuse_in_header *in)
{
	const struct fuse_init_in *i = (const void *)(in + 1);
	struct {
		struct fuse_out_header h;
		struct fuse_init_out o;
	} r = { .h = { sizeof(r), 0, in->unique } };
	uint64_t flags = FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_ASYNC_DIO | FUSE_MAX_PAGES |
			 FUSE_INIT_EXT | FUSE_OVER_IO_URING;
	int fault = -1;
	ssize_t n;

	if (!(i->flags2 & ABI_INIT_REG_FD >> 32))
		errx(1, "this kernel does not offer registered regions");
	if (!reg_srv.o->no_reg)
		flags |= ABI_INIT_REG_FD;
	r.o.major = i->major;
	r.o.minor = i->minor;
	r.o.max_readahead = i->max_readahead;
	r.o.flags = (uint32_t)flags;
	r.o.flags2 = (uint32_t)(flags >> 32);
	r.o.max_pages = REQ_MAX / PAGE;
	r.o.max_write = REQ_MAX;
	r.o.max_background = 64;
	r.o.congestion_threshold = 48;
	r.o.time_gran = 1;
	if (reg_srv.o->fail_init) {
		fault = fault_open(0);
		fault_arm(fault, reg_srv.o->fail_init);
	}
	n = write(reg_srv.dev, &r, sizeof(r));
	if (fault >= 0)
		reg_srv.o->sh->faulted = fault_hit(fault);
	if (n != sizeof(r) && fault < 0)
		err(1, "INIT");
}

static void drop_ipc_lock(void)
{
	struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct d[2];
	struct rlimit limit = { MIB, MIB };

	if (setrlimit(RLIMIT_MEMLOCK, &limit) || syscall(SYS_capget, &h, d))
		err(1, "limits");
	d[CAP_IPC_LOCK / 32].effective &= ~(1u << CAP_IPC_LOCK % 32);
	d[CAP_IPC_LOCK / 32].permitted &= ~(1u << CAP_IPC_LOCK % 32);
	if (syscall(SYS_capset, &h, d))
		err(1, "capset");
}

void reg_server_run(const struct reg_server_opts *o)
{
	char opts[128], *buf = memory(REQ_MAX + 2 * PAGE);
	const struct fuse_in_header *in = (void *)buf;
	long up = 0;

	reg_srv.o = o;
	reg_srv.dev = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	snprintf(opts, sizeof(opts), "fd=%d,rootmode=40000,user_id=0,group_id=0", reg_srv.dev);
	if (reg_srv.dev < 0 || mount("regions", o->mnt, "fuse.regions", 0, opts))
		err(1, "mount");
	if (o->no_ipc_lock)
		drop_ipc_lock();
	for (;;) {
		ssize_t n = read(reg_srv.dev, buf, REQ_MAX + 2 * PAGE);
		struct fuse_out_header nosys = { sizeof(nosys), -ENOSYS, 0 };

		if (n < 0 && (errno == EINTR || errno == EAGAIN || errno == ENOENT))
			continue;
		if (n < 0)
			exit(0); /* the connection ends */
		if (in->opcode == FUSE_INIT) {
			answer_init(in);
			start_queues();
			if (send(o->ctl, &up, sizeof(up), MSG_NOSIGNAL) < 0)
				exit(1);
		} else if (in->opcode != FUSE_FORGET && in->opcode != FUSE_BATCH_FORGET &&
			   in->opcode != FUSE_INTERRUPT) {
			nosys.unique = in->unique;
			if (write(reg_srv.dev, &nosys, sizeof(nosys)) < 0 && errno != ENOENT)
				exit(1);
		}
	}
}
