/* SPDX-License-Identifier: Apache-2.0 */
/* memory_read.c -- a read: a pointer into the unit, or pieces put together in the request's own
 * buffer */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "storage_node/store/memory.h"

static void assemble(struct pws_mem_op *op, uint8_t *to)
{
	struct pws_store_read *r = op->r;
	struct pws_mem *m = op->m;
	uint32_t unit = m->o.max_io, done = 0, n;

	for (; done < r->len; done += n) {
		uint64_t off = r->off + done;
		uint32_t in = (uint32_t)(off % unit);
		struct pws_mem_unit *u = pws_mem_unit_find(&m->units, r->ino, off / unit);

		n = PW_MIN(unit - in, r->len - done);
		if (u) {
			pws_mem_unit_define(u, in / PWS_BLOCK,
					    (in + n + PWS_BLOCK - 1) / PWS_BLOCK);
			memcpy(to + done, u->buf->mem + in, n);
		} else {
			memset(to + done, 0, n);
		}
	}
	m->stats.copied_bytes += r->len;
}

static void resolve(struct pws_mem_op *op)
{
	struct pws_store_read *r = op->r;
	struct pws_mem *m = op->m;
	uint32_t in = (uint32_t)(r->off % m->o.max_io);
	struct pws_mem_unit *u;

	if (in + r->len > m->o.max_io) {
		r->data = r->buf->mem + r->off % PWS_BLOCK;
		assemble(op, r->buf->mem + r->off % PWS_BLOCK);
		return;
	}
	u = pws_mem_unit_find(&m->units, r->ino, r->off / m->o.max_io);
	if (!u) {
		r->data = m->zeros;
		return;
	}
	pws_mem_unit_define(u, in / PWS_BLOCK, (in + r->len + PWS_BLOCK - 1) / PWS_BLOCK);
	op->lent = u->buf;
	op->lent->refs++;
	m->nr_lent++;
	r->data = u->buf->mem + in;
}

/* It had to wait, for what may have been a truncation. */
static int load_size(struct pws_mem_op *op)
{
	struct pws_store_read *r = op->r;
	struct pws_kv *kv = op->m->o.kv;
	struct pws_kv_rec rec = { 0 };
	struct pws_inode inode;
	struct pws_key key;
	int err;

	pws_key_inode(&key, r->ino);
	err = kv->ops->get(kv, pws_key_slice(&key), &rec, &op->fetch);
	if (err)
		return err == -ENOENT ? -ESTALE : err;
	err = pws_inode_decode(rec.val, &inode, NULL);
	if (err)
		return err;
	r->seen_seq = rec.seen_seq;
	if (inode.size <= r->off)
		r->len = 0;
	else if (inode.size - r->off < r->len)
		r->len = (uint32_t)(inode.size - r->off);
	return 0;
}

static void step_read(struct pws_mem_op *op)
{
	struct pws_store_read *r = op->r;
	int err = op->waited ? load_size(op) : 0;

	if (err == -EINPROGRESS || op->prepared)
		return;
	if (!err)
		resolve(op);
	/* what it points to is held by the reference from here on */
	pws_range_drop(op->m->ranges, &op->range);
	op->prepared = true;
	r->err = err;
	r->done(r);
}

void pws_mem_read_start(struct pws_mem_op *op, struct pws_store_read *r)
{
	assert(r->len && r->len <= op->m->o.max_io);
	op->r = r;
	op->step = step_read;
	r->priv = op;
	r->err = 0;
	r->seen_seq = 0;
	r->data = NULL;
	pws_mem_take_range(op, r->ino, r->off / PWS_BLOCK, (r->off + r->len - 1) / PWS_BLOCK, true);
}

void pws_mem_read_release(struct pws_store *s, struct pws_store_read *r)
{
	struct pws_mem_op *op = r->priv;
	struct pws_mem *m = pws_mem_of(s);
	struct pw_list *n;

	if (!op)
		return;
	if (!r->err) {
		m->stats.reads++;
		m->stats.bytes_read += r->len;
	}
	if (op->lent) {
		m->nr_lent--;
		op->lent->refs--;
		if (!op->lent->refs && !op->lent->stored)
			pws_buf_put(m->o.bufs, op->lent);
		while ((n = pw_list_pop(&m->wait_buf)))
			pw_loop_ready(s->loop, &pw_list_entry(n, struct pws_mem_op, node)->ready);
	}
	r->priv = NULL;
	r->data = NULL;
	pws_mem_op_put(op);
}
