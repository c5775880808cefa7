/* SPDX-License-Identifier: Apache-2.0 */
/* chunk_write.c -- the life of a write: old edges in, whole blocks to new places, rows
 *
 *	RANGE -> ROWS -> [OLD] -> SPACE -> DISK -> DONE -> (rows, commit) -> finish
 *
 * Until the rows are committed nothing refers to the new blocks; afterwards nothing refers to the
 * old ones. What can fail: old block wrong or unreadable, no space, disk. Each ends in ready(err)
 * with nothing held.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "storage_node/store/chunk.h"

static void tell_failed(struct pws_chunk_op *op, int err)
{
	struct pws_store_write *w = op->w;

	pws_chunk_op_put(op);
	w->priv = NULL;
	w->err = err;
	w->ready(w);
}

static void find_edges(struct pws_chunk_op *op)
{
	uint32_t head = op->w->head, end = (head + op->w->len) % PWS_BLOCK;

	op->nr_edges = 0;
	if (head)
		op->edges[op->nr_edges++] = (struct pws_chunk_edge){ .idx = 0, .to = head };
	if (end)
		op->edges[op->nr_edges++] =
			(struct pws_chunk_edge){ .idx = op->nr - 1, .from = end, .to = PWS_BLOCK };
}

void pws_chunk_write_start(struct pws_chunk_op *op, struct pws_store_write *w)
{
	struct pws_chunk *c = op->c;
	uint32_t head = (uint32_t)(w->off % PWS_BLOCK);

	assert(w->len && w->len <= c->o.max_io);
	op->w = w;
	w->priv = op;
	w->err = 0;
	op->ino = w->ino;
	op->mem = w->buf->mem;
	if (w->off > PWS_STORE_FILE_MAX - w->len) {
		op->err = -EFBIG;
		op->state = PWS_CHUNK_ROWS;
		pw_loop_ready(c->base.loop, &op->ready);
		return;
	}
	if (pw_unlikely(w->head != head)) {
		/* the place was not known when it arrived (append) */
		memmove(op->mem + head, op->mem + w->head, w->len);
		c->stats.copied_bytes += w->len;
		w->head = head;
	}
	op->first = w->off / PWS_BLOCK;
	op->nr = (head + w->len + PWS_BLOCK - 1) / PWS_BLOCK;
	assert((uint64_t)op->nr * PWS_BLOCK <= w->buf->size);
	find_edges(op);
	op->state = PWS_CHUNK_RANGE;
	if (pws_range_take(c->ranges, &op->range, op->ino, op->first, op->first + op->nr - 1, false,
			   &op->ready))
		pw_loop_ready(c->base.loop, &op->ready);
	else
		c->stats.stall_range++;
}

/* One state to the next. Return: 0 go on; -EINPROGRESS wait; else the write failed. */
static int advance(struct pws_chunk_op *op)
{
	int err;

	switch (op->state) {
	case PWS_CHUNK_RANGE:
		op->state = PWS_CHUNK_ROWS;
		return 0;
	case PWS_CHUNK_ROWS:
		err = op->err ? op->err : pws_chunk_edges_load(op);
		if (err)
			return err;
		op->state = PWS_CHUNK_OLD;
		return pws_chunk_edges_read(op) ? -EINPROGRESS : 0;
	case PWS_CHUNK_OLD:
		if (op->inflight)
			return -EINPROGRESS;
		err = pws_chunk_edges_fill(op);
		if (err)
			return err == -EAGAIN ? -EINPROGRESS : err;
		op->state = PWS_CHUNK_SPACE;
		return 0;
	default:
		return pws_chunk_place(op, false);
	}
}

void pws_chunk_write_step(struct pws_chunk_op *op)
{
	int err;

	do {
		err = advance(op);
	} while (!err && op->state != PWS_CHUNK_DONE);
	if (!err)
		op->w->ready(op->w);
	else if (err != -EINPROGRESS)
		tell_failed(op, err);
}

/* Puts those of the new blocks that lie in the row at @off into it. */
static int merge_row(struct pws_chunk_op *op, struct pws_txn *t, const struct pws_inode *inode,
		     uint64_t off, int64_t *blocks_delta)
{
	struct pws_segment row = { 0 };
	uint8_t val[PWS_SEGMENT_VAL_MAX];
	uint64_t base = off / PWS_BLOCK;
	struct pws_slice old;
	struct pws_key key;
	bool dead;
	int err;

	pws_segment_key(&key, op->ino, off);
	err = pws_txn_get(t, pws_key_slice(&key), &old);
	if (!err)
		err = pws_segment_decode(old, &row);
	else if (err == -ENOENT)
		err = 0;
	if (err)
		return err;
	*blocks_delta -= pws_segment_nr(&row);
	dead = row.present && pws_segment_dead(&row, off, inode);
	for (uint32_t slot = 0; slot < PWS_SEGMENT_BLOCKS; slot++) {
		uint64_t i = base + slot - op->first; /* wraps when before the write */
		bool ours = i < op->nr;

		if (row.present & 1u << slot && (dead || ours)) {
			pws_chunk_push_old(op, row.block[slot]);
			row.present &= (uint16_t) ~(1u << slot);
		}
		if (ours) {
			row.present |= (uint16_t)(1u << slot);
			row.block[slot] = op->blk[i];
			row.crc[slot] = op->crc[i];
		}
	}
	/* what was dead is gone, so all of the row is as new as the inode */
	row.trunc_gen = inode->trunc_gen;
	*blocks_delta += pws_segment_nr(&row);
	pws_txn_put(t, pws_key_slice(&key),
		    (struct pws_slice){ val, pws_segment_encode(&row, val) });
	return 0;
}

/* The outcome of an earlier attempt may have been lost: is the row as that attempt left it? */
static int is_applied(struct pws_chunk_op *op, struct pws_txn *t, bool *ret)
{
	uint32_t slot = (uint32_t)(op->first % PWS_SEGMENT_BLOCKS);
	struct pws_segment row;
	struct pws_slice val;
	struct pws_key key;
	int err;

	*ret = false;
	pws_segment_key(&key, op->ino, op->first * PWS_BLOCK);
	err = pws_txn_get(t, pws_key_slice(&key), &val);
	if (!err)
		err = pws_segment_decode(val, &row);
	if (!err)
		*ret = row.present & 1u << slot && row.block[slot] == op->blk[0];
	return err == -ENOENT ? 0 : err;
}

int pws_chunk_write_rows(struct pws_store *s, struct pws_store_write *w, struct pws_txn *t,
			 const struct pws_inode *inode, int64_t *blocks_delta)
{
	struct pws_chunk_op *op = w->priv;
	uint64_t end = (op->first + op->nr) * PWS_BLOCK;
	uint64_t off = PW_ROUND_DOWN(op->first * PWS_BLOCK, PWS_SEGMENT_BYTES);
	bool applied;
	int err;

	assert(op->state == PWS_CHUNK_DONE);
	*blocks_delta = 0;
	err = is_applied(op, t, &applied);
	if (err || applied)
		return err;
	op->nr_old = 0;
	for (; !err && off < end; off += PWS_SEGMENT_BYTES)
		err = merge_row(op, t, inode, off, blocks_delta);
	return err;
}

void pws_chunk_write_finish(struct pws_store *s, struct pws_store_write *w,
			    enum pws_outcome outcome)
{
	struct pws_chunk_op *op = w->priv;
	bool ok = outcome == PWS_DONE;

	if (!op)
		return;
	assert(op->state == PWS_CHUNK_DONE);
	for (uint32_t i = 0; ok && i < op->nr_old; i++)
		pws_alloc_retire(op->c->alloc, op->old[i].start, op->old[i].nr);
	if (ok) {
		op->c->stats.writes++;
		op->c->stats.bytes_written += w->len;
	} else if (outcome == PWS_UNDONE) {
		pws_chunk_give_new(op);
	}
	w->priv = NULL;
	pws_chunk_op_put(op);
}
