/* SPDX-License-Identifier: Apache-2.0 */
/* chunk_read.c -- the life of a read: rows, blocks straight into the request's buffer, checksums
 *
 *	ROWS -> DISK -> AGAIN -> DONE -> release
 *
 * The rows are read within one turn, so they are one state of the file. The pin keeps the blocks
 * that they name from being written again before the bytes are here. A block whose checksum is
 * wrong is read once more, then the read fails: wrong bytes never leave.
 *
 * Of large reads, CHECK_BLOCKS are checked in a turn. Many that end at once would be checked in one
 * go otherwise, with an idle wire meanwhile, then sent in one go, with an idle disk: disk and wire
 * would take turns instead of working at the same time.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "common/crc32c.h"
#include "common/plant.h"
#include "storage_node/store/chunk.h"

#define CHECK_BLOCKS 64u
/* up to here a read does not wait for a turn */
#define CHECK_AT_ONCE 16u

void pws_chunk_read_start(struct pws_chunk_op *op, struct pws_store_read *r)
{
	struct pws_chunk *c = op->c;

	assert(r->len && r->len <= c->o.max_io);
	op->r = r;
	r->priv = op;
	r->err = 0;
	r->data = NULL;
	op->ino = r->ino;
	op->mem = r->buf->mem;
	op->first = r->off / PWS_BLOCK;
	op->state = PWS_CHUNK_ROWS;
	pws_alloc_pin(c->alloc, &op->pin);
	pw_loop_ready(c->base.loop, &op->ready);
}

static int load_rows(struct pws_chunk_op *op)
{
	struct pws_store_read *r = op->r;
	struct pws_segment row = { 0 };
	struct pws_inode inode;
	int err;

	op->seen_seq = 0;
	err = pws_chunk_load_inode(op, &inode);
	if (err)
		return err;
	if (inode.size <= r->off)
		r->len = 0;
	else if (inode.size - r->off < r->len)
		r->len = (uint32_t)(inode.size - r->off);
	op->nr = (uint32_t)(r->off % PWS_BLOCK + r->len + PWS_BLOCK - 1) / PWS_BLOCK;
	op->nr = r->len ? op->nr : 0;
	assert((uint64_t)op->nr * PWS_BLOCK <= r->buf->size);
	for (uint32_t i = 0; i < op->nr; i++) {
		uint64_t block = op->first + i;
		uint32_t slot = (uint32_t)(block % PWS_SEGMENT_BLOCKS);

		if (!i || !slot) {
			err = pws_chunk_load_row(op, block * PWS_BLOCK, &inode, &row);
			if (err)
				return err;
		}
		op->blk[i] = row.present & 1u << slot ? row.block[slot] : PWS_HOLE;
		op->crc[i] = row.crc[slot];
	}
	return 0;
}

/* Checks blocks from op->next on, and takes them off *@left. Return: 0 all are right; -EINPROGRESS
 * none is left; -EAGAIN one is being read again; -EBADMSG */
static int check_blocks(struct pws_chunk_op *op, uint32_t *left)
{
	for (; op->next < op->nr; op->next++) {
		uint32_t i = op->next, crc;
		uint8_t *mem = op->mem + (size_t)i * PWS_BLOCK;

		if (!*left)
			return -EINPROGRESS;
		--*left;
		if (op->blk[i] == PWS_HOLE) {
			memset(mem, 0, PWS_BLOCK);
			continue;
		}
		crc = pw_crc32c(0, mem, PWS_BLOCK);
		if (pw_likely(crc == op->crc[i]) || PW_PLANT("skip-crc")) {
			op->reread = false;
			continue;
		}
		if (!op->reread) {
			op->reread = true;
			pws_chunk_read_block(op, op->blk[i], mem);
			return -EAGAIN;
		}
		op->c->stats.crc_errors++;
		pws_chunk_bad_block(op->c, op->ino, op->first + i, op->crc[i], crc);
		return -EBADMSG;
	}
	return 0;
}

static int check(struct pws_chunk_op *op)
{
	uint32_t left = op->nr;

	if (op->nr > CHECK_AT_ONCE) {
		pw_list_add_tail(&op->c->checking, &op->node);
		pw_loop_ready(op->c->base.loop, &op->c->check_ready);
		return -EINPROGRESS;
	}
	return check_blocks(op, &left);
}

static void finish(struct pws_chunk_op *op, int err)
{
	struct pws_store_read *r = op->r;

	op->state = PWS_CHUNK_DONE;
	pws_alloc_unpin(op->c->alloc, &op->pin);
	r->err = err;
	r->seen_seq = op->seen_seq;
	r->data = op->mem + r->off % PWS_BLOCK;
	r->done(r);
}

void pws_chunk_check(struct pw_ready *ready)
{
	struct pws_chunk *c = pw_container_of(ready, struct pws_chunk, check_ready);
	uint32_t left = CHECK_BLOCKS;

	while (left && !pw_list_empty(&c->checking)) {
		struct pws_chunk_op *op = pw_list_first(&c->checking, struct pws_chunk_op, node);
		int err = check_blocks(op, &left);

		if (err == -EINPROGRESS)
			break;
		pw_list_del(&op->node);
		if (err != -EAGAIN) /* its end makes the op ready */
			finish(op, err);
	}
	if (!pw_list_empty(&c->checking))
		pw_loop_ready(c->base.loop, &c->check_ready);
}

static int advance(struct pws_chunk_op *op)
{
	int err;

	switch (op->state) {
	case PWS_CHUNK_ROWS:
		err = load_rows(op);
		if (err)
			return err;
		op->state = PWS_CHUNK_DISK;
		op->next = 0;
		op->err = 0;
		return 0;
	case PWS_CHUNK_DISK:
		if (op->next < op->nr && !op->err)
			pws_chunk_transfer(op, PWS_DISK_READ);
		if (op->inflight)
			return -EINPROGRESS;
		op->state = PWS_CHUNK_AGAIN;
		op->next = 0;
		return 0;
	case PWS_CHUNK_AGAIN:
		if (op->inflight)
			return -EINPROGRESS;
		err = op->err ? op->err : check(op);
		if (!err)
			op->state = PWS_CHUNK_DONE;
		return err == -EAGAIN ? -EINPROGRESS : err;
	default:
		return -EINPROGRESS;
	}
}

void pws_chunk_read_step(struct pws_chunk_op *op)
{
	int err;

	do {
		err = advance(op);
	} while (!err && op->state != PWS_CHUNK_DONE);
	if (err != -EINPROGRESS)
		finish(op, err);
}

void pws_chunk_read_release(struct pws_store *s, struct pws_store_read *r)
{
	struct pws_chunk_op *op = r->priv;

	if (!op)
		return;
	assert(op->state == PWS_CHUNK_DONE);
	if (!r->err) {
		op->c->stats.reads++;
		op->c->stats.bytes_read += r->len;
	}
	r->priv = NULL;
	r->data = NULL;
	pws_chunk_op_put(op);
}
