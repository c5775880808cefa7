/* SPDX-License-Identifier: Apache-2.0 */
/* chunk.c -- opening the chunk store, and requests on their way in and out of it
 *
 * Everything a request needs is in its struct pws_chunk_op, made at open. A request that finds none
 * waits in line; that only happens to truncations, or when the caller starts more than it
 * announced.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "storage_node/store/chunk.h"
#include "storage_node/store/scrub.h"

/* Ops
 * ------------------------------------------------------------------------------------------- */

static void on_ready(struct pw_ready *r)
{
	struct pws_chunk_op *op = pw_container_of(r, struct pws_chunk_op, ready);

	op->step(op);
}

struct pws_chunk_op *pws_chunk_op_get(struct pws_chunk *c, struct pw_list *pool,
				      void (*step)(struct pws_chunk_op *op))
{
	struct pw_list *n = pw_list_pop(pool);
	struct pws_chunk_op *op;

	if (!n)
		return NULL;
	op = pw_list_entry(n, struct pws_chunk_op, node);
	op->step = step;
	op->err = 0;
	op->next = 0;
	op->nr = 0;
	op->nr_old = 0;
	op->nr_edges = 0;
	op->reread = false;
	op->seen_seq = 0;
	return op;
}

/* The next request that waited for an op gets this one. */
static void start_waiting(struct pws_chunk *c)
{
	struct pws_chunk_op *op;
	struct pw_list *n;

	if ((n = pw_list_pop(&c->wait_truncs))) {
		op = pws_chunk_op_get(c, &c->free_trunc_ops, pws_chunk_trunc_step);
		if (op)
			pws_chunk_trunc_start(op, pw_list_entry(n, struct pws_store_trunc, node));
		else
			pw_list_add_head(&c->wait_truncs, n);
	}
	if (pw_list_empty(&c->free_ops))
		return;
	if ((n = pw_list_pop(&c->wait_writes))) {
		op = pws_chunk_op_get(c, &c->free_ops, pws_chunk_write_step);
		pws_chunk_write_start(op, pw_list_entry(n, struct pws_store_write, node));
	} else if ((n = pw_list_pop(&c->wait_reads))) {
		op = pws_chunk_op_get(c, &c->free_ops, pws_chunk_read_step);
		pws_chunk_read_start(op, pw_list_entry(n, struct pws_store_read, node));
	}
}

void pws_chunk_op_put(struct pws_chunk_op *op)
{
	struct pws_chunk *c = op->c;
	bool is_trunc = op >= c->trunc_ops && op < c->trunc_ops + c->nr_trunc_ops;

	assert(!op->inflight && op->state != PWS_CHUNK_FREE);
	pws_range_drop(c->ranges, &op->range);
	pws_alloc_unpin(c->alloc, &op->pin);
	pws_alloc_cancel(&op->wait);
	pw_ready_cancel(&op->ready);
	op->state = PWS_CHUNK_FREE;
	pw_list_add_head(is_trunc ? &c->free_trunc_ops : &c->free_ops, &op->node);
	start_waiting(c);
}

static void write_prepare(struct pws_store *s, struct pws_store_write *w)
{
	struct pws_chunk *c = pws_chunk_of(s);
	struct pws_chunk_op *op = pws_chunk_op_get(c, &c->free_ops, pws_chunk_write_step);

	if (op) {
		pws_chunk_write_start(op, w);
		return;
	}
	c->stats.stall_range++;
	pw_list_add_tail(&c->wait_writes, &w->node);
}

static void start_read(struct pws_store *s, struct pws_store_read *r)
{
	struct pws_chunk *c = pws_chunk_of(s);
	struct pws_chunk_op *op = pws_chunk_op_get(c, &c->free_ops, pws_chunk_read_step);

	if (op) {
		pws_chunk_read_start(op, r);
		return;
	}
	c->stats.stall_range++;
	pw_list_add_tail(&c->wait_reads, &r->node);
}

static void trunc_prepare(struct pws_store *s, struct pws_store_trunc *t)
{
	struct pws_chunk *c = pws_chunk_of(s);
	struct pws_chunk_op *op = pws_chunk_op_get(c, &c->free_trunc_ops, pws_chunk_trunc_step);

	if (op) {
		pws_chunk_trunc_start(op, t);
		return;
	}
	c->stats.stall_range++;
	pw_list_add_tail(&c->wait_truncs, &t->node);
}

/* The rest
 * ------------------------------------------------------------------------------------------- */

static void get_space(struct pws_store *s, struct pws_store_space *ret)
{
	pws_alloc_space(pws_chunk_of(s)->alloc, &ret->total, &ret->free);
}

static void get_stats(struct pws_store *s, struct pws_store_stats *ret)
{
	*ret = pws_chunk_of(s)->stats;
	ret->stall_space = pws_alloc_stalls(pws_chunk_of(s)->alloc);
}

static void set_scrub(struct pws_store *s, uint64_t bytes_per_s)
{
	pws_scrub_set_rate(pws_chunk_of(s)->scrub, bytes_per_s);
}

static void on_stopping(struct pw_ready *r)
{
	struct pws_chunk *c = pw_container_of(r, struct pws_chunk, stop_ready);

	if (pws_scrub_stop(c->scrub, r) && pws_alloc_stop(c->alloc, r))
		c->stop_done(c->stop_arg);
}

static void stop(struct pws_store *s, void (*done)(void *arg), void *arg)
{
	struct pws_chunk *c = pws_chunk_of(s);

	c->stop_done = done;
	c->stop_arg = arg;
	pw_loop_ready(s->loop, &c->stop_ready);
}

static void free_ops(struct pws_chunk_op *ops, uint32_t nr)
{
	for (uint32_t i = 0; ops && i < nr; i++) {
		free(ops[i].blk);
		free(ops[i].crc);
		free(ops[i].old);
	}
	free(ops);
}

static void close_store(struct pws_store *s)
{
	struct pws_chunk *c = pws_chunk_of(s);

	free_ops(c->ops, c->nr_ops);
	free_ops(c->trunc_ops, c->nr_trunc_ops);
	free(c->scratch);
	pws_scrub_free(c->scrub);
	pws_ranges_free(c->ranges);
	pws_alloc_close(c->alloc);
	free(c);
}

static const struct pws_store_ops chunk_ops = {
	.name = "chunk",
	.write_prepare = write_prepare,
	.write_rows = pws_chunk_write_rows,
	.write_finish = pws_chunk_write_finish,
	.read = start_read,
	.read_release = pws_chunk_read_release,
	.trunc_prepare = trunc_prepare,
	.trunc_rows = pws_chunk_trunc_rows,
	.trunc_finish = pws_chunk_trunc_finish,
	.space = get_space,
	.get_stats = get_stats,
	.scrub = set_scrub,
	.stop = stop,
	.close = close_store,
};

/* Open
 * ------------------------------------------------------------------------------------------ */

static int init_op(struct pws_chunk *c, struct pws_chunk_op *op, uint32_t blocks, uint32_t max_old)
{
	op->c = c;
	op->blk = calloc(blocks, sizeof(*op->blk));
	op->crc = calloc(blocks, sizeof(*op->crc));
	op->old = calloc(max_old, sizeof(*op->old));
	if (!op->blk || !op->crc || !op->old)
		return -ENOMEM;
	op->max_old = max_old;
	pw_ready_init(&op->ready, on_ready);
	pw_list_init(&op->range.node);
	pw_list_init(&op->pin.node);
	pw_list_init(&op->wait.node);
	pw_list_init(&op->idle_ios);
	for (uint32_t i = 0; i < PWS_CHUNK_IOS; i++) {
		op->ios[i].op = op;
		pw_list_add_tail(&op->idle_ios, &op->ios[i].io.node);
	}
	return 0;
}

static int make_ops(struct pws_chunk *c)
{
	uint32_t blocks = c->o.max_io / PWS_BLOCK + 2;
	uint32_t max_old = (blocks / PWS_SEGMENT_BLOCKS + 2) * PWS_SEGMENT_BLOCKS;
	uint32_t nr = c->o.max_inflight, nr_truncs = PWS_CHUNK_TRUNCS;
	int err = 0;

	c->ops = calloc(nr, sizeof(*c->ops));
	c->trunc_ops = calloc(nr_truncs, sizeof(*c->trunc_ops));
	c->scratch = aligned_alloc(PWS_BLOCK, (size_t)(nr + nr_truncs) * 2 * PWS_BLOCK);
	if (!c->ops || !c->trunc_ops || !c->scratch)
		return -ENOMEM;
	c->nr_ops = nr;
	c->nr_trunc_ops = nr_truncs;
	for (uint32_t i = 0; !err && i < nr; i++) {
		c->ops[i].scratch = c->scratch + (size_t)i * 2 * PWS_BLOCK;
		pw_list_add_tail(&c->free_ops, &c->ops[i].node);
		err = init_op(c, &c->ops[i], blocks, max_old);
	}
	for (uint32_t i = 0; !err && i < nr_truncs; i++) {
		c->trunc_ops[i].scratch = c->scratch + (size_t)(nr + i) * 2 * PWS_BLOCK;
		pw_list_add_tail(&c->free_trunc_ops, &c->trunc_ops[i].node);
		err = init_op(c, &c->trunc_ops[i], 1, PWS_CHUNK_TRUNC_RUNS);
	}
	return err;
}

static int claim_row(struct pws_chunk *c, const struct pws_kv_rec *rec)
{
	struct pws_segment row;
	uint64_t ino = 0;
	uint32_t chunk = 0;
	uint8_t segment = 0;
	int err = -EBADMSG;

	if (pws_key_segment_parse(rec->key, &ino, &chunk, &segment))
		err = pws_segment_decode(rec->val, &row);
	for (uint32_t slot = 0; !err && slot < PWS_SEGMENT_BLOCKS; slot++) {
		if (row.present & 1u << slot)
			err = pws_alloc_claim(c->alloc, row.block[slot], 1);
	}
	if (err)
		pw_log_err(
			"store: inode %llu chunk %u: row of segment %u is damaged or names blocks "
			"of another row",
			(unsigned long long)ino, chunk, segment);
	return err;
}

/* The free map is what no row names. */
static int claim_rows(struct pws_chunk *c)
{
	const struct pws_kv_ops *ops = c->o.kv->ops;
	struct pws_key at = { .n = 1, .b = { PWS_TABLE_SEGMENT } };
	struct pws_key end = { .n = 1, .b = { PWS_TABLE_SEGMENT + 1 } };
	struct pws_kv_rec rec = { 0 };
	int err;

	for (;;) {
		err = ops->next(c->o.kv, pws_key_slice(&at), pws_key_slice(&end), &rec, NULL);
		if (!err)
			err = claim_row(c, &rec);
		if (err)
			return err == -ENOENT ? 0 : err;
		memcpy(at.b, rec.key.p, rec.key.n);
		at.b[rec.key.n] = 0;
		at.n = rec.key.n + 1;
	}
}

int pws_store_open_chunk(struct pw_loop *loop, const struct pws_store_opts *o,
			 struct pws_store **ret)
{
	struct pws_alloc_opts ao = {
		.kv = o->kv, .disk = o->disk, .data_off = o->data_off, .max_bytes = o->max_bytes
	};
	struct pws_chunk *c;
	int err;

	if (!o->max_io || o->max_io % PWS_BLOCK || !o->max_inflight || o->data_off % PWS_BLOCK)
		return -EINVAL;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->base = (struct pws_store){ .ops = &chunk_ops, .loop = loop, .kv = o->kv };
	c->o = *o;
	pw_list_init(&c->free_ops);
	pw_list_init(&c->free_trunc_ops);
	pw_list_init(&c->wait_writes);
	pw_list_init(&c->wait_reads);
	pw_list_init(&c->wait_truncs);
	pw_list_init(&c->checking);
	pw_ready_init(&c->check_ready, pws_chunk_check);
	pw_ready_init(&c->stop_ready, on_stopping);
	err = make_ops(c);
	if (!err)
		err = pws_ranges_new(loop, c->nr_ops + c->nr_trunc_ops, &c->ranges);
	if (!err)
		err = pws_scrub_new(c, &c->scrub);
	if (!err)
		err = pws_alloc_open(loop, &ao, &c->alloc);
	if (!err)
		err = claim_rows(c);
	if (err) {
		close_store(&c->base);
		return err;
	}
	*ret = &c->base;
	return 0;
}
