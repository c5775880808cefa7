/* SPDX-License-Identifier: Apache-2.0 */
/* chunk_trunc.c -- the life of a truncation: the last block in a copy with zeros, then rows go
 *
 *	RANGE -> ROWS -> [OLD -> SPACE -> DISK] -> DONE -> (rows, commit) -> finish
 *
 * It holds everything from the cut on, so no write is in flight there. One commit takes a few
 * thousand rows; what is left is dead by dead_from and dead_gen of the inode until reclaims have
 * removed it. A reclaim holds only the last block that there can be: it excludes truncations, not
 * writes.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "common/plant.h"
#include "storage_node/store/chunk.h"

/* Left in the commit for the caller's inode, orphan and reply rows. */
#define CALLER_KEYS  16u
#define CALLER_BYTES (16u << 10)
/* Rows that one attempt looks at: those of others are read too by a reclaim. */
#define ROWS_MAX     4000u

static void tell_failed(struct pws_chunk_op *op, int err)
{
	struct pws_store_trunc *t = op->t;

	pws_chunk_op_put(op);
	t->priv = NULL;
	t->err = err;
	t->ready(t);
}

void pws_chunk_trunc_start(struct pws_chunk_op *op, struct pws_store_trunc *t)
{
	struct pws_chunk *c = op->c;
	uint32_t cut = (uint32_t)(t->from % PWS_BLOCK);

	op->t = t;
	t->priv = op;
	t->err = 0;
	op->ino = t->ino;
	op->nr = 0;
	op->nr_edges = 0;
	op->nr_old = 0;
	op->first = t->reclaim ? UINT64_MAX : t->from / PWS_BLOCK;
	if (cut && !t->reclaim && t->from < PWS_STORE_FILE_MAX) {
		op->mem = t->buf->mem;
		op->edges[op->nr_edges++] = (struct pws_chunk_edge){ .to = cut };
	}
	op->state = PWS_CHUNK_RANGE;
	if (pws_range_take(c->ranges, &op->range, op->ino, op->first, UINT64_MAX, false,
			   &op->ready))
		pw_loop_ready(c->base.loop, &op->ready);
	else
		c->stats.stall_range++;
}

static int advance(struct pws_chunk_op *op)
{
	int err;

	switch (op->state) {
	case PWS_CHUNK_RANGE:
		op->state = PWS_CHUNK_ROWS;
		return 0;
	case PWS_CHUNK_ROWS:
		err = pws_chunk_edges_load(op);
		if (err)
			return err;
		if (!op->nr_edges || op->edges[0].block == PWS_HOLE) {
			op->state = PWS_CHUNK_DONE;
			return 0;
		}
		op->nr = 1;
		op->state = PWS_CHUNK_OLD;
		pws_chunk_edges_read(op);
		return -EINPROGRESS;
	case PWS_CHUNK_OLD:
		if (op->inflight)
			return -EINPROGRESS;
		err = pws_chunk_edges_fill(op);
		if (err)
			return err == -EAGAIN ? -EINPROGRESS : err;
		if (!PW_PLANT("truncate-leaves-tail"))
			memset(op->mem + op->edges[0].to, 0, PWS_BLOCK - op->edges[0].to);
		op->state = PWS_CHUNK_SPACE;
		return 0;
	default:
		return pws_chunk_place(op, true);
	}
}

void pws_chunk_trunc_step(struct pws_chunk_op *op)
{
	int err;

	do {
		err = advance(op);
	} while (!err && op->state != PWS_CHUNK_DONE);
	if (!err)
		op->t->ready(op->t);
	else if (err != -EINPROGRESS)
		tell_failed(op, err);
}

static void drop_block(struct pws_chunk_op *op, uint64_t off, uint64_t block)
{
	if (!op->nr_old) {
		op->probe_off = off;
		op->probe_block = block;
	}
	pws_chunk_push_old(op, block);
}

static void drop_row(struct pws_chunk_op *op, struct pws_txn *txn, struct pws_slice key,
		     uint64_t off, const struct pws_segment *row, int64_t *blocks_delta)
{
	for (uint32_t slot = 0; slot < PWS_SEGMENT_BLOCKS; slot++) {
		if (row->present & 1u << slot)
			drop_block(op, off, row->block[slot]);
	}
	*blocks_delta -= pws_segment_nr(row);
	pws_txn_del(txn, key);
}

/* The row that the cut goes through keeps what lies before it. */
static int cut_row(struct pws_chunk_op *op, struct pws_txn *txn, const struct pws_inode *inode,
		   int64_t *blocks_delta)
{
	uint64_t from = op->t->from, off = PW_ROUND_DOWN(from, PWS_SEGMENT_BYTES);
	uint32_t whole = (uint32_t)((from - off) / PWS_BLOCK);
	uint16_t keep = (uint16_t)((1u << whole) - 1);
	uint8_t val[PWS_SEGMENT_VAL_MAX];
	struct pws_segment row;
	struct pws_slice old;
	struct pws_key key;
	int err;

	if (from == off)
		return 0;
	pws_segment_key(&key, op->ino, off);
	err = pws_txn_get(txn, pws_key_slice(&key), &old);
	if (!err)
		err = pws_segment_decode(old, &row);
	if (err)
		return err == -ENOENT ? 0 : err;
	if (pws_segment_dead(&row, off, inode) || (!(row.present & keep) && !op->nr)) {
		drop_row(op, txn, pws_key_slice(&key), off, &row, blocks_delta);
		return 0;
	}
	if (!(row.present & ~keep) && !op->nr)
		return 0;
	*blocks_delta -= pws_segment_nr(&row);
	for (uint32_t slot = whole; slot < PWS_SEGMENT_BLOCKS; slot++) {
		if (row.present & 1u << slot)
			drop_block(op, off, row.block[slot]);
	}
	row.present &= keep;
	if (op->nr) {
		row.present |= (uint16_t)(1u << whole);
		row.block[whole] = op->blk[0];
		row.crc[whole] = op->crc[0];
	}
	row.trunc_gen = inode->trunc_gen;
	*blocks_delta += pws_segment_nr(&row);
	pws_txn_put(txn, pws_key_slice(&key),
		    (struct pws_slice){ val, pws_segment_encode(&row, val) });
	return 0;
}

/* Whole rows from @off on, as many as fit. */
static int drop_rows(struct pws_chunk_op *op, struct pws_txn *txn, const struct pws_inode *inode,
		     uint64_t off, int64_t *blocks_delta, bool *ret_more)
{
	struct pws_key begin, end;
	uint32_t chunk;
	uint8_t segment;
	uint64_t ino;

	if (off >= PWS_STORE_FILE_MAX)
		return 0;
	pws_key_segment_range(&begin, &end, op->ino, off);
	for (uint32_t nr = 0;; nr++) {
		struct pws_segment row;
		struct pws_slice key, val;
		int err = pws_txn_next(txn, pws_key_slice(&begin), pws_key_slice(&end), &key, &val);

		if (err)
			return err == -ENOENT ? 0 : err;
		if (nr == ROWS_MAX || op->nr_old + PWS_SEGMENT_BLOCKS > op->max_old ||
		    !pws_txn_room(txn, CALLER_KEYS, CALLER_BYTES)) {
			*ret_more = true;
			return 0;
		}
		if (!pws_key_segment_parse(key, &ino, &chunk, &segment))
			return -EBADMSG;
		err = pws_segment_decode(val, &row);
		if (err)
			return err;
		off = pws_segment_off(chunk, segment);
		memcpy(begin.b, key.p, key.n);
		begin.b[key.n] = 0;
		begin.n = key.n + 1;
		if (!op->t->reclaim || pws_segment_dead(&row, off, inode))
			drop_row(op, txn, (struct pws_slice){ begin.b, key.n }, off, &row,
				 blocks_delta);
		op->resume = off + PWS_SEGMENT_BYTES;
	}
}

/* The outcome of an earlier attempt may have been lost: is the first block that it removed gone?
 * Nobody else can have removed it, but for writes into a dead tail: for a reclaim it cannot be
 * told, and what it freed stays unused until the next start. */
static int is_applied(struct pws_chunk_op *op, struct pws_txn *txn, bool *ret)
{
	struct pws_segment row;
	struct pws_slice val;
	struct pws_key key;
	int err;

	*ret = false;
	if (!op->nr_old || op->t->reclaim)
		return 0;
	pws_segment_key(&key, op->ino, op->probe_off);
	err = pws_txn_get(txn, pws_key_slice(&key), &val);
	if (!err)
		err = pws_segment_decode(val, &row);
	if (err && err != -ENOENT)
		return err;
	*ret = true;
	for (uint32_t slot = 0; !err && slot < PWS_SEGMENT_BLOCKS; slot++) {
		if (row.present & 1u << slot && row.block[slot] == op->probe_block)
			*ret = false;
	}
	return 0;
}

int pws_chunk_trunc_rows(struct pws_store *s, struct pws_store_trunc *t, struct pws_txn *txn,
			 const struct pws_inode *inode, int64_t *blocks_delta, bool *ret_more)
{
	struct pws_chunk_op *op = t->priv;
	uint64_t from = t->reclaim ? inode->dead_from : t->from;
	bool applied;
	int err;

	assert(op->state == PWS_CHUNK_DONE);
	*blocks_delta = 0;
	*ret_more = false;
	op->resume = t->resume;
	if (t->reclaim && !inode->dead_gen)
		return 0;
	err = is_applied(op, txn, &applied);
	if (err)
		return err;
	if (!applied)
		op->nr_old = 0;
	if (!t->reclaim && from < PWS_STORE_FILE_MAX && !applied)
		err = cut_row(op, txn, inode, blocks_delta);
	if (err)
		return err;
	from = PW_MIN(from, PWS_STORE_FILE_MAX);
	from = PW_MAX(PW_ROUND_UP(from, (uint64_t)PWS_SEGMENT_BYTES), t->resume);
	err = drop_rows(op, txn, inode, from, blocks_delta, ret_more);
	if (!err && *ret_more && !t->reclaim && inode->dead_gen && inode->dead_from < t->from)
		return -EBUSY;
	return err;
}

void pws_chunk_trunc_finish(struct pws_store *s, struct pws_store_trunc *t,
			    enum pws_outcome outcome)
{
	struct pws_chunk_op *op = t->priv;
	bool ok = outcome == PWS_DONE;

	if (!op)
		return;
	assert(op->state == PWS_CHUNK_DONE);
	for (uint32_t i = 0; ok && i < op->nr_old; i++)
		pws_alloc_retire(op->c->alloc, op->old[i].start, op->old[i].nr);
	if (ok)
		t->resume = op->resume;
	else if (op->nr && outcome == PWS_UNDONE)
		pws_alloc_give(op->c->alloc, op->blk[0], 1);
	t->priv = NULL;
	pws_chunk_op_put(op);
}
