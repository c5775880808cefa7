/* SPDX-License-Identifier: Apache-2.0 */
/* memory_write.c -- a write: spare buffers before the commit, swap or copy behind it */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "storage_node/store/memory.h"

static void split_units(struct pws_mem_op *op)
{
	struct pws_store_write *w = op->w;
	uint32_t unit = op->m->o.max_io, done = 0;

	op->nr_units = 0;
	while (done < w->len) {
		uint64_t off = w->off + done;
		uint32_t i = op->nr_units++;

		assert(i < 2);
		op->unit_nr[i] = off / unit;
		op->unit_off[i] = (uint32_t)(off % unit);
		op->unit_len[i] = PW_MIN(unit - op->unit_off[i], w->len - done);
		op->new_unit[i] = NULL;
		op->spare[i] = NULL;
		done += op->unit_len[i];
	}
}

static void drop_spares(struct pws_mem_op *op)
{
	for (uint32_t i = 0; i < op->nr_units; i++) {
		pws_buf_put(op->m->o.bufs, op->spare[i]);
		if (op->new_unit[i])
			pws_mem_unit_put(&op->m->units, op->new_unit[i]);
		op->spare[i] = NULL;
		op->new_unit[i] = NULL;
	}
}

/* A unit that is not there needs itself and a buffer, one that is being sent from a buffer. Readers
 * that come from here on do not count: our range keeps them off our blocks.
 * Return: 0; -ENOSPC; -EAGAIN a reader will give one back. */
static int get_spares(struct pws_mem_op *op)
{
	struct pws_mem *m = op->m;

	for (uint32_t i = 0; i < op->nr_units; i++) {
		struct pws_mem_unit *u = pws_mem_unit_find(&m->units, op->w->ino, op->unit_nr[i]);

		if (u && !u->buf->refs)
			continue;
		if (!u) {
			op->new_unit[i] = pws_mem_unit_get(&m->units);
			if (!op->new_unit[i])
				return -ENOSPC;
		}
		op->spare[i] = pws_buf_get(m->o.bufs);
		if (!op->spare[i])
			return m->nr_lent ? -EAGAIN : -ENOSPC;
	}
	return 0;
}

/* A whole unit, as it lies in its buffer. */
static bool takes_buf(const struct pws_mem_op *op)
{
	return op->w->len == op->m->o.max_io && !op->unit_off[0] && !op->w->head;
}

static void step_write(struct pws_mem_op *op)
{
	struct pws_store_write *w = op->w;
	int err;

	if (op->prepared)
		return;
	err = w->err ? w->err : get_spares(op);
	if (err)
		drop_spares(op);
	if (err == -EAGAIN) {
		op->m->stats.stall_space++;
		pw_list_add_tail(&op->m->wait_buf, &op->node);
		return;
	}
	if (err) {
		w->priv = NULL;
		pws_mem_op_put(op);
	}
	op->prepared = !err;
	w->takes_buf = !err && takes_buf(op);
	w->err = err;
	w->ready(w);
}

void pws_mem_write_start(struct pws_mem_op *op, struct pws_store_write *w)
{
	assert(w->len && w->len <= op->m->o.max_io);
	op->w = w;
	op->step = step_write;
	w->priv = op;
	w->err = 0;
	if (w->off > (uint64_t)INT64_MAX - w->len) {
		w->err = -EFBIG;
		pw_loop_ready(op->m->base.loop, &op->ready);
		return;
	}
	split_units(op);
	pws_mem_take_range(op, w->ino, w->off / PWS_BLOCK, (w->off + w->len - 1) / PWS_BLOCK,
			   false);
}

int pws_mem_write_rows(struct pws_store *s, struct pws_store_write *w, struct pws_txn *t,
		       const struct pws_inode *inode, int64_t *blocks_delta)
{
	struct pws_mem_op *op = w->priv;

	*blocks_delta = 0;
	for (uint32_t i = 0; i < op->nr_units; i++) {
		struct pws_mem_unit *u = pws_mem_unit_find(&op->m->units, w->ino, op->unit_nr[i]);
		uint32_t first = op->unit_off[i] / PWS_BLOCK;
		uint32_t end = (op->unit_off[i] + op->unit_len[i] + PWS_BLOCK - 1) / PWS_BLOCK;

		*blocks_delta += end - first;
		if (u)
			*blocks_delta -= pws_mem_bits_count(u->written, first, end);
	}
	return 0;
}

/* The buffer that came with the payload becomes the unit's. */
static void swap_unit(struct pws_mem_op *op, struct pws_mem_unit *u, struct pws_buf **spare)
{
	struct pws_buf *old = u->buf;

	u->buf = op->w->buf;
	u->buf->stored = true;
	op->w->buf = NULL;
	if (old) {
		old->stored = false;
		if (!old->refs)
			op->w->buf = old;
	}
	if (!op->w->buf) {
		op->w->buf = *spare;
		*spare = NULL;
	}
	assert(op->w->buf);
}

static void copy_unit(struct pws_mem_op *op, uint32_t i, struct pws_mem_unit *u,
		      const uint8_t *from)
{
	uint32_t first = op->unit_off[i] / PWS_BLOCK;
	uint32_t end = op->unit_off[i] + op->unit_len[i];

	/* Without a spare, whoever is sent from here came after us, and is sent other blocks. */
	if (!u->buf || (u->buf->refs && op->spare[i])) {
		struct pws_buf *old = u->buf;

		u->buf = op->spare[i];
		u->buf->stored = true;
		op->spare[i] = NULL;
		for (uint32_t b = 0; old && b < op->m->units.unit_blocks; b++) {
			if (pws_mem_bit(u->defined, b))
				memcpy(u->buf->mem + (size_t)b * PWS_BLOCK,
				       old->mem + (size_t)b * PWS_BLOCK, PWS_BLOCK);
		}
		if (old)
			pws_mem_buf_drop(op->m, old);
	}
	/* partial blocks at the ends begin as zeros */
	if (op->unit_off[i] % PWS_BLOCK)
		pws_mem_unit_define(u, first, first + 1);
	if (end % PWS_BLOCK)
		pws_mem_unit_define(u, end / PWS_BLOCK, end / PWS_BLOCK + 1);
	memcpy(u->buf->mem + op->unit_off[i], from, op->unit_len[i]);
	op->m->stats.copied_bytes += op->unit_len[i];
}

static void apply_write(struct pws_mem_op *op)
{
	struct pws_mem *m = op->m;
	const uint8_t *from = op->w->buf->mem + op->w->head;
	bool swap = op->w->takes_buf;

	for (uint32_t i = 0; i < op->nr_units; i++) {
		struct pws_mem_unit *u = pws_mem_unit_find(&m->units, op->w->ino, op->unit_nr[i]);
		uint32_t first = op->unit_off[i] / PWS_BLOCK;
		uint32_t end = (op->unit_off[i] + op->unit_len[i] + PWS_BLOCK - 1) / PWS_BLOCK;

		if (!u) {
			u = op->new_unit[i];
			op->new_unit[i] = NULL;
			pws_mem_unit_attach(&m->units, u, op->w->ino, op->unit_nr[i]);
		}
		if (swap)
			swap_unit(op, u, &op->spare[i]);
		else
			copy_unit(op, i, u, from);
		pws_mem_bits_set(u->written, first, end, true);
		pws_mem_bits_set(u->defined, first, end, true);
		from += op->unit_len[i];
	}
	m->stats.writes++;
	m->stats.bytes_written += op->w->len;
}

/* Unsure is as undone: what is not here reads as zeros, and the writer has had an error. */
void pws_mem_write_finish(struct pws_store *s, struct pws_store_write *w, enum pws_outcome outcome)
{
	struct pws_mem_op *op = w->priv;

	if (!op)
		return;
	assert(op->prepared);
	if (outcome == PWS_DONE)
		apply_write(op);
	drop_spares(op);
	w->priv = NULL;
	pws_mem_op_put(op);
}
