/* SPDX-License-Identifier: Apache-2.0 */
/* fuse_ring.c -- from a completion to a request and back
 *
 * Happy path: REGISTER hands an entry to the kernel -> its completion means that head and payload
 * hold a request -> pwc_req_start() -> reply() writes the answer into head and payload ->
 * COMMIT_AND_FETCH hands the entry back; the completion of that is the next request. Nothing is
 * copied and nothing allocated here. Can fail: a REGISTER or a queue that the kernel refuses before
 * the ring is in use (the mount falls back to /dev/fuse); a commit, after which the entry is dead;
 * the end of the connection, which ends every command. A REGISTER that fails once the ring is in
 * use would wedge the connection: entries are registered once.
 */
#include "client_fs/fuse_ring.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/err.h"
#include "common/fault.h"
#include "common/log.h"

static_assert(sizeof(struct fuse_uring_req_header) == 288, "kernel ABI");
static_assert(sizeof(struct fuse_uring_cmd_req) == 40, "kernel ABI");
static_assert(sizeof(struct fuse_uring_ent_in_out) == 32, "kernel ABI");

static const struct pw_sm_state entry_states[] = {
	[PWC_ENTRY_NEW] = { "new", PW_SM_TO(PWC_ENTRY_ARMED) },
	[PWC_ENTRY_ARMED] = { "armed", PW_SM_TO(PWC_ENTRY_BUSY) | PW_SM_TO(PWC_ENTRY_DEAD) },
	[PWC_ENTRY_BUSY] = { "busy", PW_SM_TO(PWC_ENTRY_ARMED) },
	[PWC_ENTRY_DEAD] = { "dead", 0 },
};
static const struct pw_sm_type entry_type = PW_SM_TYPE("ring-entry", entry_states);

static const struct pw_sm_state queue_states[] = {
	[PWC_QUEUE_NEW] = { "new", PW_SM_TO(PWC_QUEUE_ADDING) | PW_SM_TO(PWC_QUEUE_READY) },
	[PWC_QUEUE_ADDING] = { "adding", PW_SM_TO(PWC_QUEUE_POOLING) | PW_SM_TO(PWC_QUEUE_NEW) },
	[PWC_QUEUE_POOLING] = { "pooling", PW_SM_TO(PWC_QUEUE_READY) | PW_SM_TO(PWC_QUEUE_NEW) },
	[PWC_QUEUE_READY] = { "ready", 0 },
};
static const struct pw_sm_type queue_type = PW_SM_TYPE("ring-queue", queue_states);

int pwc_ring_parse_cpus(const char *text, uint32_t *ret_nr)
{
	unsigned long last = 0;
	const char *p = text;

	while (*p >= '0' && *p <= '9') {
		char *end;

		last = strtoul(p, &end, 10);
		p = end + (*end == '-' || *end == ',');
	}
	if (p == text || last >= UINT16_MAX || (*p && *p != '\n'))
		return -EINVAL;
	*ret_nr = (uint32_t)last + 1;
	return 0;
}

int pwc_ring_possible_cpus(uint32_t *ret_nr)
{
	char text[4096];
	int fd = open("/sys/devices/system/cpu/possible", O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return -EIO;
	text[n] = '\0';
	return pwc_ring_parse_cpus(text, ret_nr);
}

/* A command of 80 bytes behind the first 48 of a 128 byte entry; liburing 2.3 has no helper for
 * it. */
static struct io_uring_sqe *prepare(struct pwc_ring *ring, struct pw_io *io, uint32_t cmd_op,
				    uint16_t qid, struct fuse_uring_cmd_req **ret_cmd)
{
	struct io_uring_sqe *sqe = pw_io_sqe(ring->loop, io);
	struct fuse_uring_cmd_req *cmd = (void *)sqe->cmd;

	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = ring->fd;
	sqe->cmd_op = cmd_op;
	cmd->qid = qid;
	*ret_cmd = cmd;
	ring->nr_out++;
	return sqe;
}

static void register_entry(struct pwc_entry *e)
{
	struct fuse_uring_cmd_req *cmd;
	struct io_uring_sqe *sqe =
		prepare(e->ring, &e->io, FUSE_IO_URING_CMD_REGISTER, e->qid, &cmd);

	e->iov[0] = (struct iovec){ &e->head->fuse, sizeof(e->head->fuse) };
	e->iov[1] = (struct iovec){ e->payload, e->payload ? e->ring->arena->o.payload_bytes : 0 };
	sqe->addr = (uintptr_t)e->iov;
	sqe->len = 2;
	e->head->state = PWC_ARENA_KERNEL;
	e->head->qid = e->qid;
	pw_sm_move(&e->sm, PWC_ENTRY_ARMED, 0);
}

static void register_queue(struct pwc_queue *q)
{
	struct pwc_ring *ring = q->ring;

	pw_sm_move(&q->sm, PWC_QUEUE_READY, 0);
	if (++ring->nr_ready_queues < ring->o.nr_queues)
		return;
	/* Queue by queue: the ring is in use with the first entry of the last queue, so that a
	 * refusal comes before that. */
	for (uint32_t i = 0; i < ring->nr_entries; i++)
		register_entry(&ring->entry[i]);
	ring->registered = true;
}

static void add_queue(struct pwc_queue *q)
{
	struct fuse_uring_cmd_req *cmd;

	prepare(q->ring, &q->io, FUSE_IO_URING_CMD_ADD_QUEUE, q->qid, &cmd);
	pw_sm_move(&q->sm, PWC_QUEUE_ADDING, 0);
}

static void add_pool(struct pwc_queue *q)
{
	struct fuse_uring_cmd_req *cmd;
	uint32_t one = q->ring->arena->o.payload_bytes;

	prepare(q->ring, &q->io, FUSE_IO_URING_CMD_ADD_BUFPOOL, q->qid, &cmd);
	cmd->bufpool.uaddr = (uintptr_t)q->pool;
	/* 32 bits for a length: of the largest buffers, some entries have to wait for one */
	cmd->bufpool.len = PW_MIN(q->ring->o.depth, UINT32_MAX / one) * one;
	pw_sm_move(&q->sm, PWC_QUEUE_POOLING, 0);
}

static bool is_gone(int res)
{
	return res == -ENOTCONN || res == -ECONNABORTED || res == -ECANCELED || res == -ENODEV;
}

static void fail(struct pwc_ring *ring, int err)
{
	if (ring->failed || is_gone(err))
		return;
	ring->failed = true;
	ring->ops->on_failed(ring, err);
}

bool pwc_ring_is_busy(const struct pwc_ring *ring)
{
	for (uint32_t i = 0; i < ring->nr_entries; i++)
		if (ring->entry[i].sm.state == PWC_ENTRY_BUSY)
			return true;
	return false;
}

static void check_drained(struct pwc_ring *ring)
{
	if (!ring->nr_out && !pwc_ring_is_busy(ring))
		ring->ops->on_drained(ring);
}

static void on_queue_cqe(struct pw_io *io, int res, uint32_t flags)
{
	struct pwc_queue *q = pw_container_of(io, struct pwc_queue, io);
	struct pwc_ring *ring = q->ring;

	(void)flags;
	ring->nr_out--;
	if (res < 0) {
		pw_sm_move(&q->sm, PWC_QUEUE_NEW, (uint32_t)-res);
		fail(ring, res);
	} else if (q->sm.state == PWC_QUEUE_ADDING) {
		add_pool(q);
	} else {
		register_queue(q);
	}
}

/* The payload is the application's own memory. Return: false: there is no sense in it. */
static bool take_region(struct pwc_entry *e)
{
	struct pwc_ring *ring = e->ring;
	const struct fuse_uring_req_header *f = &e->head->fuse;
	const struct fuse_uring_ent_in_out *ent = &f->ring_ent_in_out;
	struct iovec *v = ring->runs + (e - ring->entry) * PW_RUNS_MAX;
	struct pwc_req *r = &e->req;
	bool write = r->opcode == FUSE_WRITE;
	uint32_t len = write ? ent->payload_sz : ((const struct fuse_read_in *)f->op_in)->size;
	struct pwc_reg_hit hit;

	if ((!write && r->opcode != FUSE_READ) || len > ring->arena->o.payload_bytes)
		return false;
	if (!pwc_reg_find(ring->regions, ent, len, (const void *)r->in, v, &hit))
		return false;
	r->region = hit.region;
	pwc_region_hold(r->region);
	ring->reg_hits++;
	ring->reg_lists += hit.listed;
	e->runs = (struct pw_runs){ v, hit.nr_runs, hit.region->dmabuf };
	r->runs = &e->runs;
	if (!write)
		r->out_max = len;
	return true;
}

/* Head and payload hold a request: what of it is in range is told to req.c, which judges the
 * rest. */
static void start(struct pwc_entry *e)
{
	struct pwc_ring *ring = e->ring;
	struct fuse_uring_req_header *f = &e->head->fuse;
	const struct fuse_in_header *h = (const void *)f->in_out;
	uint32_t max = ring->arena->o.payload_bytes, len = f->ring_ent_in_out.payload_sz;
	struct pwc_req *r = &e->req;
	uint64_t rest;

	pw_sm_move(&e->sm, PWC_ENTRY_BUSY, h->opcode);
	e->head->commit_id = f->ring_ent_in_out.commit_id;
	e->head->state = PWC_ARENA_DAEMON;
	pwc_req_take_head(r, h);
	r->in = e->payload;
	if (!e->payload) {
		uint64_t off = f->ring_ent_in_out.offset;

		/* without a payload there is no buffer, and the offset means nothing */
		if (off % max || off / max >= ring->o.depth)
			off = 0;
		r->in = ring->queue[e->qid].pool + off;
	}
	r->in_len = PW_MIN(len, max);
	rest = (uint64_t)h->len - sizeof(*h) - r->in_len;
	r->op_in = f->op_in;
	/* a header length that does not add up fails the check of the operation's header */
	r->op_in_len = rest <= sizeof(f->op_in) ? (uint32_t)rest : 0;
	r->out = r->in;
	r->out_max = max;
	if (f->ring_ent_in_out.flags & FUSE_URING_ENT_REG) {
		if (!ring->regions || !take_region(e))
			r->op_in_len = 0;
	} else if (ring->regions && ring->regions->nr &&
		   (r->opcode == FUSE_READ || r->opcode == FUSE_WRITE)) {
		ring->reg_misses++;
	}
	pwc_req_start(r);
}

static void on_entry_cqe(struct pw_io *io, int res, uint32_t flags)
{
	struct pwc_entry *e = pw_container_of(io, struct pwc_entry, io);
	struct pwc_ring *ring = e->ring;
	bool committed = e->head->state == PWC_ARENA_COMMIT;

	(void)flags;
	ring->nr_out--;
	if (pw_likely(!res)) {
		start(e);
		return;
	}
	pw_sm_move(&e->sm, PWC_ENTRY_DEAD, (uint32_t)-res);
	e->head->state = PWC_ARENA_KERNEL;
	ring->nr_dead++;
	if (!is_gone(res) && committed) {
		ring->commit_errors++;
		pw_log_rl(PW_LOG_ERR, "ring queue %u: answer was refused, %s; entry is lost",
			  e->qid, pw_err_text(res));
	} else if (!committed) {
		fail(ring, res);
	}
	check_drained(ring);
}

static void reply(struct pwc_req *r, int err, uint32_t out_len)
{
	struct pwc_entry *e = pw_container_of(r, struct pwc_entry, req);
	struct fuse_uring_req_header *f = &e->head->fuse;
	struct fuse_out_header *h = (void *)f->in_out;
	struct fuse_uring_cmd_req *cmd;

	*h = (struct fuse_out_header){
		.len = (uint32_t)sizeof(*h) + out_len,
		.error = err,
		.unique = r->unique,
	};
	f->ring_ent_in_out.payload_sz = out_len;
	pwc_req_free(r);
	e->head->state = PWC_ARENA_COMMIT;
	prepare(e->ring, &e->io, FUSE_IO_URING_CMD_COMMIT_AND_FETCH, e->qid, &cmd);
	cmd->commit_id = e->head->commit_id;
	e->ring->commits++;
	pw_sm_move(&e->sm, PWC_ENTRY_ARMED, 0);
}

static int init_entry(struct pwc_ring *ring, struct pwc_shard *sh, uint32_t i, uint32_t idx)
{
	struct pwc_entry *e = &ring->entry[i];

	pwc_req_init(&e->req, sh, idx, PWC_PATH_POOL, reply);
	pw_sm_init(&e->sm, &entry_type, PWC_ENTRY_NEW);
	e->ring = ring;
	e->head = pwc_arena_head(ring->arena, i);
	e->payload = ring->o.bufpool ? NULL : pwc_arena_payload(ring->arena, i);
	e->qid = (uint16_t)(i / ring->o.depth);
	return pw_io_init(ring->loop, &e->io, on_entry_cqe);
}

int pwc_ring_init(struct pwc_ring *ring, struct pw_loop *loop, struct pwc_shard *sh,
		  const struct pwc_arena *arena, const struct pwc_ring_opts *o,
		  const struct pwc_ring_ops *ops, void *owner, uint32_t first_idx)
{
	uint32_t nr = o->nr_queues * o->depth;
	int err = 0;

	assert(arena->o.nr_entries == nr);
	*ring = (struct pwc_ring){ .loop = loop };
	ring->arena = arena;
	ring->o = *o;
	ring->ops = ops;
	ring->owner = owner;
	ring->fd = -1;
	ring->entry = calloc(nr, sizeof(*ring->entry));
	ring->queue = calloc(o->nr_queues, sizeof(*ring->queue));
	if (!ring->entry || !ring->queue || PW_FAULT("ring.init"))
		err = -ENOMEM;
	for (uint32_t i = 0; !err && i < o->nr_queues; i++) {
		struct pwc_queue *q = &ring->queue[i];

		pw_sm_init(&q->sm, &queue_type, PWC_QUEUE_NEW);
		q->ring = ring;
		q->qid = (uint16_t)i;
		q->pool = pwc_arena_payload(arena, i * o->depth);
		err = pw_io_init(ring->loop, &q->io, on_queue_cqe);
		q->io_ready = !err;
	}
	for (uint32_t i = 0; !err && i < nr; i++) {
		err = init_entry(ring, sh, i, first_idx + i);
		ring->nr_entries += !err;
	}
	if (err)
		pwc_ring_fini(ring);
	return err;
}

void pwc_ring_fini(struct pwc_ring *ring)
{
	assert(!ring->nr_out);
	for (uint32_t i = 0; i < ring->nr_entries; i++)
		pw_io_fini(ring->loop, &ring->entry[i].io);
	for (uint32_t i = 0; ring->queue && i < ring->o.nr_queues; i++)
		if (ring->queue[i].io_ready)
			pw_io_fini(ring->loop, &ring->queue[i].io);
	free(ring->entry);
	free(ring->queue);
	free(ring->runs);
	ring->runs = NULL;
	ring->entry = NULL;
	ring->queue = NULL;
	ring->nr_entries = 0;
}

void pwc_ring_register(struct pwc_ring *ring, int fd)
{
	ring->fd = fd;
	for (uint32_t i = 0; i < ring->o.nr_queues; i++) {
		if (ring->o.bufpool)
			add_queue(&ring->queue[i]);
		else
			register_queue(&ring->queue[i]);
	}
}

int pwc_ring_use_regions(struct pwc_ring *ring, struct pwc_regions *regions)
{
	size_t nr = (size_t)ring->nr_entries * PW_RUNS_MAX;

	ring->runs = PW_FAULT("ring.runs") ? NULL : calloc(nr, sizeof(*ring->runs));
	if (!ring->runs)
		return -ENOMEM;
	ring->regions = regions;
	return 0;
}

const char *pwc_ring_form(const struct pwc_ring *ring)
{
	return ring->o.bufpool ? "bufpool" : "entry";
}
