/* SPDX-License-Identifier: Apache-2.0 */
/* rdma_srq.c -- see rdma_srq.h
 *
 * What can fail: the device has no such queue (then connections have receives of their own); no
 * memory for another step of receives (a connection that needs them for what it is guaranteed does
 * not come to be, one that asks the pool goes on with what it has); a post (the receive stays here
 * and is posted with the next one that comes back).
 */
#include "common/rdma_srq.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/fault.h"
#include "common/log.h"

#define RING 4096u
#define STEP 32u /* receives, with one registration */
#define BUF_ALIGN 4096u
/* A queue that is shorter is of no use to anybody. */
#define RING_MIN (PW_RDMA_RESERVE + PW_RDMA_DOUBT_MAX + 4 * PW_RDMA_GUARANTEED)
/* Each time the reserve was touched; the worst is this often. */
#define SPARE_MAX (4 * PW_RDMA_RESERVE)

struct pw_rdma_chunk {
	uint8_t *mem; /* owns */
	struct ibv_mr *mr; /* owns */
	struct pw_rdma_in in[STEP];
};

/* Receives ------------------------------------------------------------------------------------ */

static void chunk_free(struct pw_rdma_srq *q, struct pw_rdma_chunk *c)
{
	if (c->mr)
		q->pd->dev->v->dereg_mr(c->mr);
	free(c->mem);
	free(c);
}

static int chunk_add(struct pw_rdma_srq *q)
{
	size_t size = PW_ROUND_UP((size_t)STEP * PW_RDMA_MSG_BYTES, BUF_ALIGN);
	int err = PW_FAULT_ERR("rdma.srq_bufs", -ENOMEM);
	struct pw_rdma_chunk *c = err ? NULL : calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->mem = aligned_alloc(BUF_ALIGN, size);
	if (!c->mem) {
		free(c);
		return -ENOMEM;
	}
	c->mr = q->pd->dev->v->reg_mr(q->pd->pd, c->mem, size, IBV_ACCESS_LOCAL_WRITE);
	if (!c->mr) {
		err = pw_verbs_err();
		chunk_free(q, c);
		return err;
	}
	for (uint32_t i = 0; i < STEP; i++) {
		c->in[i].buf = c->mem + (size_t)i * PW_RDMA_MSG_BYTES;
		c->in[i].lkey = c->mr->lkey;
		c->in[i].id = q->nr_chunks * STEP + i;
		pw_list_add_tail(&q->free, &c->in[i].free_node);
	}
	q->chunks[q->nr_chunks++] = c;
	return 0;
}

static int post(struct pw_rdma_srq *q, struct pw_rdma_in *in)
{
	struct ibv_sge sge = {
		.addr = (uintptr_t)in->buf,
		.length = PW_RDMA_MSG_BYTES,
		.lkey = in->lkey,
	};
	struct ibv_recv_wr wr = { .wr_id = in->id, .sg_list = &sge, .num_sge = 1 }, *bad;
	int err = PW_FAULT_ERR("rdma.post_srq", -ENOMEM);

	if (!err)
		err = -ibv_post_srq_recv(q->srq, &wr, &bad);
	if (err)
		return err;
	pw_list_del(&in->free_node);
	in->posted = true;
	q->posted++;
	return 0;
}

static uint32_t needed(const struct pw_rdma_srq *q)
{
	return q->promised + q->doubt + PW_RDMA_RESERVE + q->spare;
}

/* Posts what there is. */
static int fill(struct pw_rdma_srq *q)
{
	int err = 0;

	while (!err && q->posted < needed(q) && !pw_list_empty(&q->free))
		err = post(q, pw_list_first(&q->free, struct pw_rdma_in, free_node));
	return err;
}

/* Posts what is needed. Return: 0; -ENOSPC the queue is full; -errno. */
static int ensure(struct pw_rdma_srq *q)
{
	int err = fill(q);

	while (!err && q->posted < needed(q)) {
		if (q->nr_chunks == q->max_chunks || q->posted >= q->ring)
			return -ENOSPC;
		err = chunk_add(q);
		if (!err)
			err = fill(q);
	}
	return err;
}

/* Queues -------------------------------------------------------------------------------------- */

static void queue_free(struct pw_rdma_srq *q)
{
	struct pw_rdma_dev *dev = q->pd->dev;

	if (dev->srq == q)
		dev->srq = NULL;
	pw_list_del(&q->node);
	if (q->srq)
		dev->v->destroy_srq(q->srq);
	while (q->nr_chunks)
		chunk_free(q, q->chunks[--q->nr_chunks]);
	free(q->chunks);
	pw_rdma_pd_put(q->pd);
	free(q);
}

/* An event when less than the reserve is left: once. Without it the credits are checked as well. */
static void arm(struct pw_rdma_srq *q)
{
	struct ibv_srq_attr a = { .srq_limit = PW_RDMA_RESERVE };

	if (q->pd->dev->v->modify_srq(q->srq, &a, IBV_SRQ_LIMIT))
		pw_log_rl(PW_LOG_DEBUG, "%s tells nobody when its shared receives run out",
			  q->pd->dev->name);
}

static int make_srq(struct pw_rdma_srq *q, const struct pw_rdma_dev *dev)
{
	struct ibv_srq_init_attr a = { .attr = { .max_wr = q->ring, .max_sge = 1 } };
	int err = PW_FAULT_ERR("rdma.srq", -ENOMEM);

	if (err)
		return err;
	q->srq = dev->v->create_srq(q->pd->pd, &a);
	return q->srq ? 0 : pw_verbs_err();
}

static int queue_new(struct pw_rdma_dev *dev, struct pw_rdma_srq **ret)
{
	int err = PW_FAULT_ERR("rdma.srq_alloc", -ENOMEM);
	struct pw_rdma_srq *q = err ? NULL : calloc(1, sizeof(*q));

	if (!q)
		return -ENOMEM;
	q->ring = (uint32_t)PW_MIN(dev->attr.max_srq_wr, (int)RING);
	q->max_chunks = q->ring / STEP + 1;
	pw_list_init(&q->free);
	pw_list_init(&q->node);
	q->chunks = calloc(q->max_chunks, sizeof(struct pw_rdma_chunk *));
	err = q->chunks ? pw_rdma_pd_get(dev->v, dev->ctx, false, &q->pd) : -ENOMEM;
	if (err) {
		free(q->chunks);
		free(q);
		return err;
	}
	err = make_srq(q, dev);
	if (err) {
		queue_free(q);
		return err;
	}
	pw_list_add_tail(&dev->srqs, &q->node);
	*ret = q;
	return 0;
}

/* Why @dev has none; NULL: it may. */
static const char *why_none(const struct pw_rdma_dev *dev)
{
	if (dev->attr.max_srq <= 0 || dev->attr.max_srq_wr <= 0)
		return "the device has no shared receive queues";
	if (dev->attr.max_srq_wr < (int)RING_MIN)
		return "the device's shared receive queues are too short";
	/* the end of a queue pair is the proof there, and leaves its completions only in siw */
	if (dev->iwarp && !dev->soft_iwarp)
		return "an iWARP device may keep shared receives to itself";
	return NULL;
}

/* Members ------------------------------------------------------------------------------------- */

static int admit(struct pw_rdma_srq *q, struct pw_rdma_member *m, uint32_t guaranteed)
{
	uint32_t more = PW_MAX(guaranteed, m->out) - PW_MAX(m->guaranteed, m->out);
	int err;

	q->promised += more;
	err = ensure(q);
	if (err) {
		q->promised -= more;
		return err;
	}
	q->guaranteed += guaranteed - m->guaranteed;
	m->guaranteed = guaranteed;
	return 0;
}

int pw_rdma_srq_join(struct pw_rdma_dev *dev, struct pw_rdma_member *m, uint32_t guaranteed)
{
	const char *why = why_none(dev);
	struct pw_rdma_srq *q = dev->srq;
	int err = 0;

	if (why) {
		dev->why_own = why;
		return 0;
	}
	if (q)
		err = admit(q, m, guaranteed);
	if (q && err == -ENOSPC)
		pw_rdma_srq_retire(dev);
	if (!dev->srq) {
		if (queue_new(dev, &q)) {
			dev->why_own = "the device has made no shared receive queue";
			return 0;
		}
		err = admit(q, m, guaranteed);
		if (err) {
			queue_free(q);
			return err;
		}
		dev->srq = q;
		arm(q);
	}
	if (err)
		return err;
	m->srq = q;
	q->nr++;
	return 0;
}

int pw_rdma_srq_raise(struct pw_rdma_member *m, uint32_t guaranteed)
{
	struct pw_rdma_srq *q = m->srq;
	int err = admit(q, m, guaranteed);

	/* whose connection ends by that comes again, to another one */
	if (err == -ENOSPC && q->pd->dev->srq == q)
		pw_rdma_srq_retire(q->pd->dev);
	return err;
}

void pw_rdma_srq_leave(struct pw_rdma_member *m, uint32_t lost)
{
	struct pw_rdma_srq *q = m->srq;

	q->promised -= PW_MAX(m->guaranteed, m->out);
	q->guaranteed -= m->guaranteed;
	q->doubt += lost;
	q->contended = false;
	*m = (struct pw_rdma_member){ .srq = NULL };
	if (!--q->nr) {
		queue_free(q);
		return;
	}
	if (q->doubt > PW_RDMA_DOUBT_MAX && q->pd->dev->srq == q)
		pw_rdma_srq_retire(q->pd->dev);
	if (ensure(q))
		pw_log_rl(PW_LOG_WARN, "%s: shared receives may be missing after a connection that "
			  "has failed", q->pd->dev->name);
}

bool pw_rdma_srq_give(struct pw_rdma_member *m)
{
	struct pw_rdma_srq *q = m->srq;
	bool more = m->out >= m->guaranteed;

	if (more && q->promised - q->guaranteed >= PW_RDMA_POOL) {
		q->contended = true;
		return false;
	}
	q->promised += more;
	if (ensure(q)) {
		q->promised -= more;
		q->contended = true;
		return false;
	}
	m->out++;
	return true;
}

uint32_t pw_rdma_srq_share(const struct pw_rdma_member *m, uint32_t want)
{
	const struct pw_rdma_srq *q = m->srq;

	return q->contended ? PW_MIN(want, m->guaranteed + PW_RDMA_POOL / q->nr) : want;
}

struct pw_rdma_in *pw_rdma_srq_take(struct pw_rdma_member *m, uint64_t id)
{
	struct pw_rdma_srq *q = m->srq;
	struct pw_rdma_in *in;

	if (id >= (uint64_t)q->nr_chunks * STEP)
		return NULL;
	in = &q->chunks[id / STEP]->in[id % STEP];
	if (!in->posted)
		return NULL;
	in->posted = false;
	q->posted--;
	q->promised -= m->out > m->guaranteed;
	m->out -= m->out > 0;
	return in;
}

void pw_rdma_srq_back(struct pw_rdma_srq *q, struct pw_rdma_in *in)
{
	/* the one that was used last is the next one: it is in the cache */
	pw_list_add_head(&q->free, &in->free_node);
	fill(q);
}

void pw_rdma_srq_retire(struct pw_rdma_dev *dev)
{
	dev->srq = NULL;
}

void pw_rdma_srq_touched(struct pw_rdma_dev *dev, const struct ibv_srq *srq)
{
	struct pw_list *pos;

	pw_list_for_each(pos, &dev->srqs) {
		struct pw_rdma_srq *q = pw_list_entry(pos, struct pw_rdma_srq, node);

		if (q->srq != srq)
			continue;
		dev->touched++;
		pw_log_rl(PW_LOG_WARN, "%s: a client sends more than it may, the reserve of "
			  "receives is in use", dev->name);
		/* whoever it was ends when his messages are read; until then the others need it */
		if (q->spare < SPARE_MAX)
			q->spare += PW_RDMA_RESERVE;
		ensure(q);
		arm(q);
	}
}

/* Status -------------------------------------------------------------------------------------- */

struct sum {
	struct pw_rdma_receives *ret;
	uint32_t nr, max;
};

static void add_up(struct pw_rdma_dev *dev, void *arg)
{
	struct sum *s = arg;
	struct pw_rdma_receives *r;
	struct pw_list *pos;

	if (s->nr++ >= s->max)
		return;
	r = &s->ret[s->nr - 1];
	*r = (struct pw_rdma_receives){
		.device = dev->name,
		.own = dev->nr_own,
		.bytes = (uint64_t)dev->own_receives * PW_RDMA_MSG_BYTES,
		.touched = dev->touched,
		.why_own = dev->why_own,
	};
	pw_list_for_each(pos, &dev->srqs) {
		const struct pw_rdma_srq *q = pw_list_entry(pos, struct pw_rdma_srq, node);

		r->sharing += q->nr;
		r->posted += q->posted;
		r->reserve += PW_RDMA_RESERVE + q->spare;
		r->doubt += q->doubt;
		r->bytes += (uint64_t)q->nr_chunks * STEP * PW_RDMA_MSG_BYTES;
	}
}

uint32_t pw_rdma_receives(struct pw_rdma_receives *ret, uint32_t max)
{
	struct sum s = { .ret = ret, .max = max };

	pw_rdma_dev_each(add_up, &s);
	return s.nr;
}
