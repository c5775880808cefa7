/* SPDX-License-Identifier: Apache-2.0 */
/* store_rig_op.c -- requests of store_rig.h: what op_write.c, op_read.c, op_truncate.c do */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/random.h"
#include "store_rig.h"

static uint64_t next_id = 1;

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

static uint64_t word(uint64_t pattern, uint64_t i)
{
	uint64_t z = pattern * 0x9e3779b97f4a7c15ull + i * 0xc2b2ae3d27d4eb4full;

	return (z ^ z >> 29) * 0xbf58476d1ce4e5b9ull;
}

void sr_fill(uint8_t *to, uint64_t pattern, uint32_t from, uint32_t len)
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

struct rig_op *sr_op_new(struct rig *rig, enum rig_op_kind kind, uint64_t ino, uint64_t off,
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

void sr_op_free(struct rig_op *op)
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

static void reply_key(const struct rig_op *op, struct pws_key *ret)
{
	uint8_t client[16] = { 0 };

	memcpy(client, &op->id, sizeof(op->id));
	pws_key_reply(ret, client, 0);
}

/* What the request itself has not found out. */
static bool has_reply(const struct rig_op *op)
{
	struct pws_kv_rec rec;
	struct pws_key k;

	reply_key(op, &k);
	return !sr_row(op->rig, &k, &rec);
}

/* The reply row: was it applied by an attempt whose outcome was lost? 1; 0; an error */
static int find_reply(struct rig_op *op)
{
	struct pws_slice val;
	struct pws_key k;
	int err;

	reply_key(op, &k);
	if (op->blind && op->txn.unsure)
		return -EIO;
	err = pws_txn_get(&op->txn, pws_key_slice(&k), &val);
	if (err && err != -ENOENT)
		return err;
	pws_txn_sure(&op->txn);
	return !err;
}

static void put_reply(struct rig_op *op)
{
	struct pws_key k;

	reply_key(op, &k);
	pws_txn_put(&op->txn, pws_key_slice(&k), (struct pws_slice){ "x", 1 });
}

static int write_attempt(struct pws_txn *t)
{
	struct rig_op *op = pw_container_of(t, struct rig_op, txn);
	struct pws_store *s = op->rig->store;
	struct pws_inode i;
	int64_t blocks;
	int err = op->no_reply ? 0 : find_reply(op);

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
	if (!op->no_reply)
		put_reply(op);
	return 0;
}

/* Fills the commit until the deletion of @rows rows is all that fits beside what the store leaves
 * to its caller.
 */
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
	if (op->kind == RIG_TRUNC && i.size <= op->off && !op->orphan)
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
	if (op->kind == RIG_TRUNC && !op->orphan)
		put_reply(op);
	return 0;
}

static void committed(struct pws_txn *t, int err)
{
	struct rig_op *op = pw_container_of(t, struct rig_op, txn);
	struct pws_store *s = op->rig->store;

	op->committed = !err || (t->unsure && has_reply(op));
	op->seq = t->commit.seq;
	if (op->kind == RIG_WRITE) {
		s->ops->write_finish(s, &op->w, pws_outcome(t, !err));
		op->buf = op->w.buf;
	} else {
		s->ops->trunc_finish(s, &op->t, pws_outcome(t, !err));
	}
	op_end(op, err);
}

static void write_ready(struct pws_store_write *w)
{
	struct rig_op *op = pw_container_of(w, struct rig_op, w);

	op->buf = w->buf;
	if (w->err) {
		op->rig->store->ops->write_finish(op->rig->store, w, PWS_UNDONE);
		op_end(op, w->err);
		return;
	}
	if (op->before_commit) {
		op->before_commit->resume = op;
		sr_op_start(op->before_commit);
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
	if (op->linger && !r->err) {
		op->rig->nr_running++;
		pw_list_add_tail(&op->rig->lent, &op->lent_node);
	} else if (!op->keep_lent) {
		op->rig->store->ops->read_release(op->rig->store, r);
	}
	if (op->resume)
		pws_txn_start(&op->resume->txn, write_attempt, committed);
}

/* What was lent has not changed, but for the zeros of a truncation. */
static void release_one(struct rig *rig)
{
	struct rig_op *op = pw_list_entry(pw_list_pop(&rig->lent), struct rig_op, lent_node);

	const uint8_t *now = op->r.data;

	for (uint32_t i = 0; i < op->r.len; i++)
		assert_true(now[i] == op->data[i] || !now[i]);
	rig->nr_running--;
	rig->store->ops->read_release(rig->store, &op->r);
}

static void start_read(struct rig_op *op)
{
	struct pws_store *s = op->rig->store;
	struct pws_inode i;

	sr_inode(op->rig, op->ino, &i);
	i.size = PW_MAX(i.size, op->old_size);
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

void sr_op_start(struct rig_op *op)
{
	struct rig *rig = op->rig;
	struct pws_store *s = rig->store;

	rig->nr_running++;
	op->first_seq = rig->kv->ops->last_seq(rig->kv);
	switch (op->kind) {
	case RIG_WRITE:
		op->w = (struct pws_store_write){ .ino = op->ino,
						  .off = op->off,
						  .len = op->len,
						  .buf = op->buf,
						  .head = op->head ? op->head : op->off % PWS_BLOCK,
						  .ready = write_ready };
		pw_list_init(&op->w.node);
		/* what stands around the payload must not reach the file */
		memset(op->buf->mem, 0xee, op->buf->size);
		sr_fill(op->buf->mem + op->w.head, op->pattern, 0, op->len);
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

void sr_run(struct rig *rig)
{
	bool idle = !rig->nr_running;

	for (uint32_t i = 0; !idle && i < 100000; i++) {
		if (!vloop_turn(rig->loop))
			vloop_advance(rig->loop, PW_NS_PER_MS);
		if (!pw_list_empty(&rig->lent) && !pw_random_below(4))
			release_one(rig);
		idle = !rig->nr_running;
	}
	if (!idle)
		fail_msg("%u requests do not end", rig->nr_running);
	vloop_settle(rig->loop);
}

static int run_one(struct rig_op *op)
{
	int err;

	sr_op_start(op);
	sr_run(op->rig);
	err = op->err;
	return err;
}

int sr_write(struct rig *rig, uint64_t ino, uint64_t off, uint32_t len, uint64_t pattern)
{
	struct rig_op *op = sr_op_new(rig, RIG_WRITE, ino, off, len, pattern);
	int err = run_one(op);

	sr_op_free(op);
	return err;
}

int sr_trunc(struct rig *rig, uint64_t ino, uint64_t size)
{
	struct rig_op *op = sr_op_new(rig, RIG_TRUNC, ino, size, 0, 0);
	int err = run_one(op);

	sr_op_free(op);
	return err;
}

int sr_check(struct rig *rig, uint64_t ino, uint64_t off, uint32_t len, const uint8_t *want)
{
	struct rig_op *op = sr_op_new(rig, RIG_READ, ino, off, len, 0);
	int err = run_one(op);

	if (!err) {
		assert_int_equal(op->len, len);
		assert_memory_equal(op->data, want, len);
	}
	sr_op_free(op);
	return err;
}
