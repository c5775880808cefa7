/* SPDX-License-Identifier: Apache-2.0 */
/* chunk_io.c -- rows from the engine, blocks from and to the disk, checksums
 *
 * Disk completions only note their result and make the op ready; its step function goes on from
 * there.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "common/crc32c.h"
#include "common/log.h"
#include "storage_node/store/chunk.h"

static void on_fetched(struct pws_kv_fetch *f)
{
	struct pws_chunk_op *op = pw_container_of(f, struct pws_chunk_op, fetch);

	pw_loop_ready(op->c->base.loop, &op->ready);
}

static int get_record(struct pws_chunk_op *op, const struct pws_key *key, struct pws_kv_rec *rec)
{
	struct pws_kv *kv = op->c->o.kv;
	int err;

	pw_list_init(&op->fetch.node);
	op->fetch.done = on_fetched;
	err = kv->ops->get(kv, pws_key_slice(key), rec, &op->fetch);
	if ((!err || err == -ENOENT) && rec->seen_seq > op->seen_seq)
		op->seen_seq = rec->seen_seq;
	return err;
}

int pws_chunk_load_inode(struct pws_chunk_op *op, struct pws_inode *ret)
{
	struct pws_kv_rec rec = { 0 };
	struct pws_key key;
	int err;

	pws_key_inode(&key, op->ino);
	err = get_record(op, &key, &rec);
	if (err)
		return err == -ENOENT ? -ESTALE : err;
	return pws_inode_decode(rec.val, ret, NULL);
}

int pws_chunk_load_row(struct pws_chunk_op *op, uint64_t off, const struct pws_inode *inode,
		       struct pws_segment *ret)
{
	struct pws_kv_rec rec = { 0 };
	struct pws_key key;
	int err;

	ret->present = 0;
	if (off >= PWS_STORE_FILE_MAX)
		return 0;
	off = PW_ROUND_DOWN(off, PWS_SEGMENT_BYTES);
	pws_segment_key(&key, op->ino, off);
	err = get_record(op, &key, &rec);
	if (err)
		return err == -ENOENT ? 0 : err;
	err = pws_segment_decode(rec.val, ret);
	if (err) {
		pw_log_rl(PW_LOG_ERR,
			  "store: inode %llu chunk %llu: index row of segment %llu damaged",
			  (unsigned long long)op->ino, (unsigned long long)(off / PWS_CHUNK_BYTES),
			  (unsigned long long)(off % PWS_CHUNK_BYTES / PWS_SEGMENT_BYTES));
		return err;
	}
	if (pws_segment_dead(ret, off, inode))
		ret->present = 0;
	return 0;
}

static void on_io(struct pws_disk_io *io)
{
	struct pws_chunk_io *cio = pw_container_of(io, struct pws_chunk_io, io);
	struct pws_chunk_op *op = cio->op;

	assert(op->inflight > 0);
	if (io->err && !op->err)
		op->err = io->err;
	pw_list_add_head(&op->idle_ios, &io->node);
	op->inflight--;
	if (!op->inflight || (op->next < op->nr && !op->err))
		pw_loop_ready(op->c->base.loop, &op->ready);
}

static void submit_io(struct pws_chunk_op *op, enum pws_disk_op dir, uint64_t block, uint32_t nr,
		      uint8_t *mem)
{
	struct pw_list *n = pw_list_pop(&op->idle_ios);
	struct pws_disk_io *io = pw_list_entry(n, struct pws_disk_io, node);

	assert(n);
	io->op = dir;
	io->buf = mem;
	io->off = op->c->o.data_off + block * PWS_BLOCK;
	io->len = nr * PWS_BLOCK;
	io->err = 0;
	io->done = on_io;
	op->inflight++;
	pws_disk_submit(op->c->o.disk, io);
}

void pws_chunk_read_block(struct pws_chunk_op *op, uint64_t block, uint8_t *mem)
{
	submit_io(op, PWS_DISK_READ, block, 1, mem);
}

void pws_chunk_transfer(struct pws_chunk_op *op, enum pws_disk_op dir)
{
	uint32_t first, end;

	while (op->next < op->nr) {
		first = op->next;
		if (op->blk[first] == PWS_HOLE) {
			op->next++;
			continue;
		}
		if (pw_list_empty(&op->idle_ios)) {
			op->c->stats.stall_disk++;
			return;
		}
		end = first + 1;
		while (end < op->nr && op->blk[end] == op->blk[end - 1] + 1)
			end++;
		op->next = end;
		submit_io(op, dir, op->blk[first], end - first,
			  op->mem + (size_t)first * PWS_BLOCK);
	}
}

void pws_chunk_bad_block(struct pws_chunk *c, uint64_t ino, uint64_t file_block, uint32_t stored,
			 uint32_t computed)
{
	uint64_t chunk = file_block / PWS_CHUNK_BLOCKS;
	uint32_t block = (uint32_t)(file_block % PWS_CHUNK_BLOCKS);

	pw_log_rl(
		PW_LOG_ERR,
		"store: inode %llu chunk %llu block %u: checksum mismatch, "
		"stored %08x computed %08x",
		(unsigned long long)ino, (unsigned long long)chunk, block, stored, computed);
	if (c->o.on_bad_block)
		c->o.on_bad_block(c->o.arg, ino, chunk, block);
}

void pws_chunk_push_old(struct pws_chunk_op *op, uint64_t block)
{
	struct pws_run *last = op->nr_old ? &op->old[op->nr_old - 1] : NULL;

	if (last && last->start + last->nr == block) {
		last->nr++;
		return;
	}
	assert(op->nr_old < op->max_old);
	op->old[op->nr_old++] = (struct pws_run){ block, 1 };
}

int pws_chunk_edges_load(struct pws_chunk_op *op)
{
	struct pws_inode inode;
	int err = op->nr_edges ? pws_chunk_load_inode(op, &inode) : 0;

	for (uint32_t i = 0; !err && i < op->nr_edges; i++) {
		struct pws_chunk_edge *e = &op->edges[i];
		uint64_t block = op->first + e->idx, off = block * PWS_BLOCK;
		uint32_t slot = (uint32_t)(block % PWS_SEGMENT_BLOCKS);
		struct pws_segment row;

		e->block = PWS_HOLE;
		e->scratch = op->scratch + (size_t)i * PWS_BLOCK;
		/* what lies behind the end of the file is zero on the disk too: no need to read
		 * it */
		if (off + e->from >= inode.size)
			continue;
		err = pws_chunk_load_row(op, off, &inode, &row);
		if (!err && row.present & 1u << slot) {
			e->block = row.block[slot];
			e->crc = row.crc[slot];
		}
	}
	return err;
}

bool pws_chunk_edges_read(struct pws_chunk_op *op)
{
	struct pws_chunk_edge *e = op->edges;

	op->err = 0;
	if (op->nr_edges == 2 && e[0].idx == e[1].idx && e[0].block == e[1].block) {
		/* both ends lie in one block */
		e[1].scratch = e[0].scratch;
		if (e[0].block != PWS_HOLE)
			pws_chunk_read_block(op, e[0].block, e[0].scratch);
		return e[0].block != PWS_HOLE;
	}
	for (uint32_t i = 0; i < op->nr_edges; i++) {
		if (e[i].block != PWS_HOLE)
			pws_chunk_read_block(op, e[i].block, e[i].scratch);
	}
	return op->inflight > 0;
}

int pws_chunk_edges_fill(struct pws_chunk_op *op)
{
	if (op->err)
		return op->err;
	for (uint32_t i = 0; i < op->nr_edges; i++) {
		struct pws_chunk_edge *e = &op->edges[i];
		uint8_t *to = op->mem + (size_t)e->idx * PWS_BLOCK + e->from;
		uint32_t crc;

		if (e->block == PWS_HOLE) {
			memset(to, 0, e->to - e->from);
			continue;
		}
		crc = pw_crc32c(0, e->scratch, PWS_BLOCK);
		if (crc != e->crc && !op->reread) {
			op->reread = true;
			pws_chunk_edges_read(op);
			return -EAGAIN;
		}
		if (crc != e->crc) {
			op->c->stats.crc_errors++;
			pws_chunk_bad_block(op->c, op->ino, op->first + e->idx, e->crc, crc);
			return -EBADMSG;
		}
		memcpy(to, e->scratch + e->from, e->to - e->from);
		op->c->stats.rmw_blocks++;
	}
	return 0;
}

void pws_chunk_give_new(struct pws_chunk_op *op)
{
	for (uint32_t i = 0, end; i < op->nr; i = end) {
		end = i + 1;
		while (end < op->nr && op->blk[end] == op->blk[end - 1] + 1)
			end++;
		pws_alloc_give(op->c->alloc, op->blk[i], end - i);
	}
}

static void write_blocks(struct pws_chunk_op *op)
{
	for (uint32_t i = 0; i < op->nr; i++)
		op->crc[i] = pw_crc32c(0, op->mem + (size_t)i * PWS_BLOCK, PWS_BLOCK);
	op->next = 0;
	op->err = 0;
	pws_chunk_transfer(op, PWS_DISK_WRITE);
}

int pws_chunk_place(struct pws_chunk_op *op, bool spare)
{
	int err;

	switch (op->state) {
	case PWS_CHUNK_SPACE:
		err = pws_alloc_take(op->c->alloc, op->nr, spare, op->blk);
		if (err == -EAGAIN)
			pws_alloc_wait(op->c->alloc, &op->wait, &op->ready);
		if (err)
			return err == -EAGAIN ? -EINPROGRESS : err;
		op->state = PWS_CHUNK_DISK;
		write_blocks(op);
		return -EINPROGRESS;
	case PWS_CHUNK_DISK:
		if (op->next < op->nr && !op->err)
			pws_chunk_transfer(op, PWS_DISK_WRITE);
		if (op->inflight)
			return -EINPROGRESS;
		if (op->err)
			pws_chunk_give_new(op);
		else
			op->state = PWS_CHUNK_DONE;
		return op->err;
	default:
		return -EINPROGRESS;
	}
}
