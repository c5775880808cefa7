/* SPDX-License-Identifier: Apache-2.0 */
/* memory.c -- the store for benchmarks of everything but the disk: buffers change owners
 *
 *	write: range -> spare buffers -> DONE -> commit -> finish: the payload becomes visible
 *	read:  range (shared) -> a pointer into the unit's buffer -> release
 *
 * A write of a full unit gives its buffer to the store and goes home with another one: no byte is
 * copied. Any other write is copied into the unit, and counted. A buffer that a reader still sends
 * from is never changed by a write: the unit gets another one. A truncation zeroes in place: a read
 * that runs beside it may see the zeros. Contents are gone when the node ends.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "storage_node/store/memory.h"

#define TRUNCS 16u

static void on_ready(struct pw_ready *r)
{
	struct pws_mem_op *op = pw_container_of(r, struct pws_mem_op, ready);

	op->step(op);
}

static struct pws_mem_op *op_get(struct pws_mem *m)
{
	struct pw_list *n = pw_list_pop(&m->free_ops);
	struct pws_mem_op *op;

	if (!n)
		return NULL;
	op = pw_list_entry(n, struct pws_mem_op, node);
	op->prepared = op->waited = false;
	op->lent = NULL;
	op->nr_units = 0;
	return op;
}

void pws_mem_op_put(struct pws_mem_op *op)
{
	struct pws_mem *m = op->m;
	struct pw_list *n;

	pws_range_drop(m->ranges, &op->range);
	pw_ready_cancel(&op->ready);
	pw_list_del(&op->node);
	pw_list_add_head(&m->free_ops, &op->node);
	if ((n = pw_list_pop(&m->wait_truncs)))
		pws_mem_trunc_start(op_get(m), pw_list_entry(n, struct pws_store_trunc, node));
	else if ((n = pw_list_pop(&m->wait_writes)))
		pws_mem_write_start(op_get(m), pw_list_entry(n, struct pws_store_write, node));
	else if ((n = pw_list_pop(&m->wait_reads)))
		pws_mem_read_start(op_get(m), pw_list_entry(n, struct pws_store_read, node));
}

void pws_mem_take_range(struct pws_mem_op *op, uint64_t ino, uint64_t first, uint64_t last,
			bool shared)
{
	struct pws_mem *m = op->m;

	if (pws_range_take(m->ranges, &op->range, ino, first, last, shared, &op->ready)) {
		pw_loop_ready(m->base.loop, &op->ready);
		return;
	}
	op->waited = true;
	m->stats.stall_range++;
}

/* A buffer that no unit and no reader has any more goes back. */
void pws_mem_buf_drop(struct pws_mem *m, struct pws_buf *b)
{
	b->stored = false;
	if (!b->refs)
		pws_buf_put(m->o.bufs, b);
}

static void on_fetched(struct pws_kv_fetch *f)
{
	struct pws_mem_op *op = pw_container_of(f, struct pws_mem_op, fetch);

	pw_loop_ready(op->m->base.loop, &op->ready);
}

static void write_prepare(struct pws_store *s, struct pws_store_write *w)
{
	struct pws_mem_op *op = op_get(pws_mem_of(s));

	if (op)
		pws_mem_write_start(op, w);
	else
		pw_list_add_tail(&pws_mem_of(s)->wait_writes, &w->node);
}

static void read_begin(struct pws_store *s, struct pws_store_read *r)
{
	struct pws_mem_op *op = op_get(pws_mem_of(s));

	if (op)
		pws_mem_read_start(op, r);
	else
		pw_list_add_tail(&pws_mem_of(s)->wait_reads, &r->node);
}

static void trunc_prepare(struct pws_store *s, struct pws_store_trunc *t)
{
	struct pws_mem_op *op = op_get(pws_mem_of(s));

	if (op)
		pws_mem_trunc_start(op, t);
	else
		pw_list_add_tail(&pws_mem_of(s)->wait_truncs, &t->node);
}

/* The rest
 * ---------------------------------------------------------------------------------------- */

static void get_space(struct pws_store *s, struct pws_store_space *ret)
{
	struct pws_mem *m = pws_mem_of(s);

	ret->total = (uint64_t)m->units.nr_units * m->o.max_io;
	ret->free = (uint64_t)m->units.nr_free * m->o.max_io;
}

static void get_stats(struct pws_store *s, struct pws_store_stats *ret)
{
	*ret = pws_mem_of(s)->stats;
}

static void set_scrub(struct pws_store *s, uint64_t bytes_per_s)
{
	/* memory has no media to check */
}

static void on_stop(struct pw_ready *r)
{
	struct pws_mem *m = pw_container_of(r, struct pws_mem, stop_ready);

	m->stop_done(m->stop_arg);
}

static void stop(struct pws_store *s, void (*done)(void *arg), void *arg)
{
	struct pws_mem *m = pws_mem_of(s);

	m->stop_done = done;
	m->stop_arg = arg;
	pw_loop_ready(s->loop, &m->stop_ready);
}

static void close_store(struct pws_store *s)
{
	struct pws_mem *m = pws_mem_of(s);

	for (uint32_t i = 0; m->units.units && i < m->units.nr_units; i++) {
		if (m->units.units[i].buf)
			pws_mem_buf_drop(m, m->units.units[i].buf);
	}
	pws_mem_units_fini(&m->units);
	pws_ranges_free(m->ranges);
	free(m->ops);
	free(m->zeros);
	free(m);
}

static const struct pws_store_ops memory_ops = {
	.name = "memory",
	.write_prepare = write_prepare,
	.write_rows = pws_mem_write_rows,
	.write_finish = pws_mem_write_finish,
	.read = read_begin,
	.read_release = pws_mem_read_release,
	.trunc_prepare = trunc_prepare,
	.trunc_rows = pws_mem_trunc_rows,
	.trunc_finish = pws_mem_trunc_finish,
	.space = get_space,
	.get_stats = get_stats,
	.scrub = set_scrub,
	.stop = stop,
	.close = close_store,
};

static int make_ops(struct pws_mem *m)
{
	uint32_t nr = m->o.max_inflight + TRUNCS;

	m->ops = calloc(nr, sizeof(*m->ops));
	/* never written, so it is the same zero page over and over */
	m->zeros = calloc(1, m->o.max_io);
	if (!m->ops || !m->zeros)
		return -ENOMEM;
	for (uint32_t i = 0; i < nr; i++) {
		struct pws_mem_op *op = &m->ops[i];

		op->m = m;
		pw_ready_init(&op->ready, on_ready);
		pw_list_init(&op->range.node);
		pw_list_init(&op->fetch.node);
		op->fetch.done = on_fetched;
		pw_list_add_tail(&m->free_ops, &op->node);
	}
	return pws_ranges_new(m->base.loop, nr, &m->ranges);
}

int pws_store_open_memory(struct pw_loop *loop, const struct pws_store_opts *o,
			  struct pws_store **ret)
{
	uint64_t nr_units;
	struct pws_mem *m;
	int err;

	if (!o->max_io || o->max_io % PWS_BLOCK || !o->max_inflight)
		return -EINVAL;
	nr_units = o->memory_bytes / o->max_io;
	if (!nr_units || nr_units > INT32_MAX)
		return -EINVAL;
	m = calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->base = (struct pws_store){ .ops = &memory_ops, .loop = loop, .kv = o->kv };
	m->o = *o;
	pw_list_init(&m->free_ops);
	pw_list_init(&m->wait_buf);
	pw_list_init(&m->wait_writes);
	pw_list_init(&m->wait_reads);
	pw_list_init(&m->wait_truncs);
	pw_ready_init(&m->stop_ready, on_stop);
	err = pws_mem_units_init(&m->units, (uint32_t)nr_units, o->max_io);
	if (!err)
		err = make_ops(m);
	if (err) {
		close_store(&m->base);
		return err;
	}
	*ret = &m->base;
	return 0;
}
