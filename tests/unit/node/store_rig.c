/* SPDX-License-Identifier: Apache-2.0 */
/* store_rig.c -- see store_rig.h */
#include <assert.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "storage_node/store/chunk.h"

#include "store_rig.h"

#define DATA_OFF (64u << 10)

/* The engine: kv_mem, but for what is on media. media_seq() and wait() have no room for another
 * argument, so the rig that they serve is the newest one. */
static struct rig *cur;
static struct pws_kv_ops ops;
static const struct pws_kv_ops *real_ops;
static uint64_t next_id = 1;

bool rig_faults(void)
{
	const char *s = getenv("PW_FAULT");

	return s && *s && strcmp(s, "count");
}

static uint64_t media_seq(const struct pws_kv *kv)
{
	return cur->hold_media ? cur->media_seq : real_ops->media_seq(kv);
}

static void wait(struct pws_kv *kv, struct pws_kv_waiter *w)
{
	if (!w->sync || !cur->hold_media) {
		real_ops->wait(kv, w);
		return;
	}
	cur->nr_media_waits++;
	pw_list_add_tail(&cur->media_waiters, &w->node);
}

void rig_flush(struct rig *rig)
{
	struct pw_list *n;

	rig->media_seq = rig->kv->ops->last_seq(rig->kv);
	while ((n = pw_list_pop(&rig->media_waiters))) {
		struct pws_kv_waiter *w = pw_list_entry(n, struct pws_kv_waiter, node);

		w->err = 0;
		w->done(w);
	}
}

static void on_bad_block(void *arg, uint64_t ino, uint64_t chunk, uint32_t block)
{
	struct rig *rig = arg;

	rig->nr_bad++;
	rig->bad_ino = ino;
	rig->bad_chunk = chunk;
	rig->bad_block = block;
}

static int open_store(struct rig *rig)
{
	struct pws_store_opts o = {
		.kv = rig->kv,
		.bufs = rig->bufs,
		.max_io = RIG_MAX_IO,
		.max_inflight = RIG_INFLIGHT,
		.disk = rig->disk,
		.data_off = DATA_OFF,
		.memory_bytes = rig->o.memory_bytes,
		.on_bad_block = on_bad_block,
		.arg = rig,
	};

	switch (rig->o.kind) {
	case RIG_CHUNK:
		return pws_store_open_chunk(rig->loop, &o, &rig->store);
	case RIG_MEMORY:
		return pws_store_open_memory(rig->loop, &o, &rig->store);
	default:
		return pws_store_open_null(rig->loop, &o, &rig->store);
	}
}

int rig_new(struct rig **ret, const struct rig_opts *o)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	uint64_t size = o->disk_bytes ? o->disk_bytes : 64 * PW_MIB;
	uint32_t nr_bufs = RIG_INFLIGHT * 2 + (uint32_t)(o->memory_bytes / RIG_MAX_IO);
	int err;

	vrandom_seed(o->seed);
	cur = rig;
	rig->o = *o;
	pw_list_init(&rig->media_waiters);
	rig->loop = vloop_new();
	rig->disk = fake_disk_new(rig->loop, size, PW_MAX(o->disk_max, size));
	err = pws_kv_mem_open(rig->loop, &rig->kv);
	if (!err) {
		real_ops = rig->kv->ops;
		ops = *real_ops;
		ops.media_seq = media_seq;
		ops.wait = wait;
		rig->kv->ops = &ops;
		err = pws_bufpool_new(nr_bufs, RIG_MAX_IO + 2 * PWS_BLOCK, &rig->bufs);
	}
	if (!err)
		err = open_store(rig);
	if (err) {
		rig_free(rig);
		rig = NULL;
	}
	*ret = rig;
	return err;
}

static void set_flag(void *arg)
{
	*(bool *)arg = true;
}

static void close_store(struct rig *rig)
{
	bool stopped = false;

	if (!rig->store)
		return;
	rig->store->ops->stop(rig->store, set_flag, &stopped);
	if (!vloop_run_until(rig->loop, &stopped))
		fail_msg("the store does not stop");
	rig->store->ops->close(rig->store);
	rig->store = NULL;
}

int rig_reopen(struct rig *rig)
{
	close_store(rig);
	return open_store(rig);
}

void rig_free(struct rig *rig)
{
	if (!rig)
		return;
	close_store(rig);
	vloop_settle(rig->loop);
	pws_bufpool_free(rig->bufs);
	if (rig->kv)
		rig->kv->ops->close(rig->kv);
	pws_disk_close(rig->disk);
	vloop_free(rig->loop);
	free(rig);
}

/* The engine knows itself by its own table. */
static void set_faults(struct rig *rig, const struct pws_kv_mem_faults *f)
{
	rig->kv->ops = real_ops;
	pws_kv_mem_set_faults(rig->kv, f);
	rig->kv->ops = &ops;
}

void rig_set_faults(struct rig *rig, const struct pws_kv_mem_faults *f)
{
	rig->faults = *f;
	set_faults(rig, f);
}

/* Inodes ------------------------------------------------------------------------------------ */

static int get_inode(struct pws_txn *t, uint64_t ino, struct pws_inode *ret)
{
	struct pws_slice val;
	struct pws_key k;
	int err;

	pws_key_inode(&k, ino);
	err = pws_txn_get(t, pws_key_slice(&k), &val);
	return err ? err : pws_inode_decode(val, ret, NULL);
}

static void put_inode(struct pws_txn *t, uint64_t ino, const struct pws_inode *i)
{
	struct pws_key k;

	pws_key_inode(&k, ino);
	pws_txn_put(t, pws_key_slice(&k), (struct pws_slice){ i, sizeof(*i) });
}

struct maker {
	struct pws_txn t;
	uint64_t ino;
	bool done;
};

static int make_attempt(struct pws_txn *t)
{
	struct maker *m = pw_container_of(t, struct maker, t);
	struct pws_inode i = { .version = PWS_RECORD_VERSION, .mode = 0100644, .nlink = 1 };

	put_inode(t, m->ino, &i);
	return 0;
}

static void make_done(struct pws_txn *t, int err)
{
	pw_container_of(t, struct maker, t)->done = true;
}

void rig_make(struct rig *rig, uint64_t ino)
{
	struct maker m = { .ino = ino };

	pws_txn_init(&m.t, rig->kv);
	pws_txn_start(&m.t, make_attempt, make_done);
	vloop_run_until(rig->loop, &m.done);
	pws_txn_fini(&m.t);
}

static int get_row(struct rig *rig, const struct pws_key *k, struct pws_kv_rec *rec)
{
	struct pws_kv_mem_faults none = { 0 };
	int err;

	/* asked by the test, not by the code under test: no fault but a numbered one */
	set_faults(rig, &none);
	err = rig->kv->ops->get(rig->kv, pws_key_slice(k), rec, NULL);
	set_faults(rig, &rig->faults);
	return err;
}

void rig_inode(struct rig *rig, uint64_t ino, struct pws_inode *ret)
{
	struct pws_kv_rec rec;
	struct pws_key k;

	memset(ret, 0, sizeof(*ret));
	pws_key_inode(&k, ino);
	if (!get_row(rig, &k, &rec))
		assert_int_equal(pws_inode_decode(rec.val, ret, NULL), 0);
}

uint64_t rig_where(struct rig *rig, uint64_t ino, uint64_t file_block)
{
	uint32_t slot = (uint32_t)(file_block % PWS_SEGMENT_BLOCKS);
	struct pws_segment row;
	struct pws_kv_rec rec;
	struct pws_key k;

	pws_segment_key(&k, ino, file_block * PWS_BLOCK);
	if (get_row(rig, &k, &rec))
		return UINT64_MAX;
	assert_int_equal(pws_segment_decode(rec.val, &row), 0);
	return row.present & 1u << slot ? DATA_OFF + row.block[slot] * PWS_BLOCK : UINT64_MAX;
}

void rig_blocks(struct rig *rig, uint64_t *ret_free, uint64_t *ret_limbo, uint64_t *ret_all)
{
	pws_alloc_counts(pws_chunk_of(rig->store)->alloc, ret_free, ret_limbo, ret_all);
}

/* Requests ---------------------------------------------------------------------------------- */

static uint64_t word(uint64_t pattern, uint64_t i)
{
	uint64_t z = pattern * 0x9e3779b97f4a7c15ull + i * 0xc2b2ae3d27d4eb4full;

	return (z ^ z >> 29) * 0xbf58476d1ce4e5b9ull;
}

void rig_fill(uint8_t *to, uint64_t pattern, uint32_t from, uint32_t len)
{
	while (len) {
		uint64_t w = word(pattern, from / 8);
		uint32_t in = from % 8, n = PW_MIN(8 - in, len);

		memcpy(to, (uint8_t *)&w + in, n);
		to += n;
		from += n;
		len -= n;
	}
}

struct rig_op *rig_op_new(struct rig *rig, enum rig_op_kind kind, uint64_t ino, uint64_t off,
			  uint32_t len, uint64_t pattern)
{
	struct rig_op *op = calloc(1, sizeof(*op));

	op->rig = rig;
	op->kind = kind;
	op->ino = ino;
	op->off = off;
	op->len = len;
	op->pattern = pattern;
	op->id = next_id++;
	pws_txn_init(&op->txn, rig->kv);
	op->buf = pws_buf_get(rig->bufs);
	assert_non_null(op->buf);
	return op;
}

void rig_op_free(struct rig_op *op)
{
	pws_txn_fini(&op->txn);
	pws_buf_put(op->rig->bufs, op->buf);
	free(op->data);
	free(op);
}

static void op_end(struct rig_op *op, int err)
{
	op->err = err;
	op->last_seq = op->rig->kv->ops->last_seq(op->rig->kv);
	op->done = true;
	op->rig->nr_running--;
}

/* The reply row: was it applied by an attempt whose outcome was lost? 1; 0; an error */
static int find_reply(struct rig_op *op)
{
	uint8_t client[16] = { 0 };
	struct pws_slice val;
	struct pws_key k;
	int err;

	memcpy(client, &op->id, sizeof(op->id));
	pws_key_reply(&k, client, 0);
	err = pws_txn_get(&op->txn, pws_key_slice(&k), &val);
	if (!err)
		return 1;
	return err == -ENOENT ? 0 : err;
}

static void put_reply(struct rig_op *op)
{
	uint8_t client[16] = { 0 };
	struct pws_key k;

	memcpy(client, &op->id, sizeof(op->id));
	pws_key_reply(&k, client, 0);
	pws_txn_put(&op->txn, pws_key_slice(&k), (struct pws_slice){ "x", 1 });
}

static int write_attempt(struct pws_txn *t)
{
	struct rig_op *op = pw_container_of(t, struct rig_op, txn);
	struct pws_store *s = op->rig->store;
	struct pws_inode i;
	int64_t blocks;
	int err = find_reply(op);

	if (err)
		return err == 1 ? 0 : err;
	err = get_inode(t, op->ino, &i);
	if (!err)
		err = s->ops->write_rows(s, &op->w, t, &i, &blocks);
	if (err)
		return err;
	if (op->refuse)
		return -EPERM;
	i.size = PW_MAX(i.size, op->off + op->len);
	i.blocks += (uint64_t)blocks;
	put_inode(t, op->ino, &i);
	put_reply(op);
	return 0;
}

/* Fills the commit until the deletion of @rows rows is all that fits beside what the store leaves to
 * its caller. */
static void shrink_room(struct pws_txn *t, uint32_t rows)
{
	static const uint8_t zeros[32u << 10];
	uint32_t keep = (16u << 10) + rows * 14;
	uint8_t key[2] = { 'Z' };

	for (uint32_t n = sizeof(zeros); n; n /= 2) {
		while (pws_txn_room(t, 17, keep + n + (uint32_t)sizeof(key))) {
			key[1]++;
			pws_txn_put(t, (struct pws_slice){ key, sizeof(key) },
				    (struct pws_slice){ zeros, n });
		}
	}
}

static void cut_inode(struct rig_op *op, struct pws_inode *i)
{
	if (op->kind == RIG_TRUNC) {
		i->size = op->off;
		i->trunc_gen++;
		if (op->more) {
			i->dead_from = op->off;
			i->dead_gen = i->trunc_gen;
		} else if (i->dead_gen && i->dead_from >= op->off) {
			i->dead_from = i->dead_gen = 0;
		}
	} else if (!op->more) {
		i->dead_from = i->dead_gen = 0;
	}
}

static int trunc_attempt(struct pws_txn *t)
{
	struct rig_op *op = pw_container_of(t, struct rig_op, txn);
	struct pws_store *s = op->rig->store;
	struct pws_inode i;
	int64_t blocks;
	int err = op->kind == RIG_TRUNC ? find_reply(op) : 0;

	if (err)
		return err == 1 ? 0 : err;
	err = get_inode(t, op->ino, &i);
	if (err)
		return err;
	if (op->kind == RIG_TRUNC && i.size <= op->off)
		return -ECANCELED; /* grown or cut meanwhile: nothing to cut */
	if (op->room)
		shrink_room(t, op->room);
	err = s->ops->trunc_rows(s, &op->t, t, &i, &blocks, &op->more);
	if (err)
		return err;
	if (op->refuse)
		return -EPERM;
	i.blocks += (uint64_t)blocks;
	cut_inode(op, &i);
	put_inode(t, op->ino, &i);
	if (op->kind == RIG_TRUNC)
		put_reply(op);
	return 0;
}

static void committed(struct pws_txn *t, int err)
{
	struct rig_op *op = pw_container_of(t, struct rig_op, txn);
	struct pws_store *s = op->rig->store;

	op->committed = !err;
	op->seq = t->commit.seq;
	if (op->kind == RIG_WRITE) {
		s->ops->write_finish(s, &op->w, !err);
		op->buf = op->w.buf;
	} else {
		s->ops->trunc_finish(s, &op->t, !err);
	}
	op_end(op, err);
}

static void write_ready(struct pws_store_write *w)
{
	struct rig_op *op = pw_container_of(w, struct rig_op, w);

	op->buf = w->buf;
	if (w->err) {
		op->rig->store->ops->write_finish(op->rig->store, w, false);
		op_end(op, w->err);
		return;
	}
	pws_txn_start(&op->txn, write_attempt, committed);
}

static void trunc_ready(struct pws_store_trunc *t)
{
	struct rig_op *op = pw_container_of(t, struct rig_op, t);

	if (t->err)
		op_end(op, t->err);
	else
		pws_txn_start(&op->txn, trunc_attempt, committed);
}

static void read_done(struct pws_store_read *r)
{
	struct rig_op *op = pw_container_of(r, struct rig_op, r);

	op->len = r->len;
	op->seen_seq = r->seen_seq;
	if (!r->err) {
		op->data = malloc(r->len + 1);
		memcpy(op->data, r->data, r->len);
	}
	op_end(op, r->err);
	if (!op->keep_lent)
		op->rig->store->ops->read_release(op->rig->store, r);
}

static void start_read(struct rig_op *op)
{
	struct pws_store *s = op->rig->store;
	struct pws_inode i;

	rig_inode(op->rig, op->ino, &i);
	if (i.size <= op->off) {
		op->len = 0;
		op->data = malloc(1);
		op_end(op, 0);
		return;
	}
	op->len = (uint32_t)PW_MIN((uint64_t)op->len, i.size - op->off);
	op->r = (struct pws_store_read){
		.ino = op->ino, .off = op->off, .len = op->len, .buf = op->buf, .done = read_done
	};
	pw_list_init(&op->r.node);
	s->ops->read(s, &op->r);
}

void rig_op_start(struct rig_op *op)
{
	struct rig *rig = op->rig;
	struct pws_store *s = rig->store;

	rig->nr_running++;
	op->first_seq = rig->kv->ops->last_seq(rig->kv);
	switch (op->kind) {
	case RIG_WRITE:
		op->w = (struct pws_store_write){
			.ino = op->ino, .off = op->off, .len = op->len, .buf = op->buf,
			.head = op->off % PWS_BLOCK, .ready = write_ready
		};
		pw_list_init(&op->w.node);
		/* what stands around the payload must not reach the file */
		memset(op->buf->mem, 0xee, op->buf->size);
		rig_fill(op->buf->mem + op->w.head, op->pattern, 0, op->len);
		s->ops->write_prepare(s, &op->w);
		return;
	case RIG_READ:
		memset(op->buf->mem, 0xdd, op->buf->size);
		start_read(op);
		return;
	default:
		op->t.ino = op->ino;
		op->t.from = op->off;
		op->t.buf = op->buf;
		op->t.reclaim = op->kind == RIG_RECLAIM;
		op->t.ready = trunc_ready;
		pw_list_init(&op->t.node);
		s->ops->trunc_prepare(s, &op->t);
		return;
	}
}

void rig_run(struct rig *rig)
{
	bool idle = !rig->nr_running;

	for (uint32_t i = 0; !idle && i < 100000; i++) {
		if (!vloop_turn(rig->loop))
			vloop_advance(rig->loop, PW_NS_PER_MS);
		idle = !rig->nr_running;
	}
	if (!idle)
		fail_msg("%u requests do not end", rig->nr_running);
	vloop_settle(rig->loop);
}

static int run_one(struct rig_op *op)
{
	int err;

	rig_op_start(op);
	rig_run(op->rig);
	err = op->err;
	return err;
}

int rig_write(struct rig *rig, uint64_t ino, uint64_t off, uint32_t len, uint64_t pattern)
{
	struct rig_op *op = rig_op_new(rig, RIG_WRITE, ino, off, len, pattern);
	int err = run_one(op);

	rig_op_free(op);
	return err;
}

int rig_trunc(struct rig *rig, uint64_t ino, uint64_t size)
{
	struct rig_op *op = rig_op_new(rig, RIG_TRUNC, ino, size, 0, 0);
	int err = run_one(op);

	rig_op_free(op);
	return err;
}

int rig_check(struct rig *rig, uint64_t ino, uint64_t off, uint32_t len, const uint8_t *want)
{
	struct rig_op *op = rig_op_new(rig, RIG_READ, ino, off, len, 0);
	int err = run_one(op);

	if (!err) {
		assert_int_equal(op->len, len);
		assert_memory_equal(op->data, want, len);
	}
	rig_op_free(op);
	return err;
}
