/* SPDX-License-Identifier: Apache-2.0 */
/* store_model.c -- see store_model.h */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/random.h"
#include "storage_node/store/chunk.h"

#include "store_model.h"

#define INO(f) (100 + (f))

void model_init(struct model *m, struct rig *rig, const struct model_opts *o)
{
	memset(m, 0, sizeof(*m));
	m->rig = rig;
	m->o = *o;
	for (uint32_t f = 0; f < MODEL_FILES; f++) {
		m->bytes[f] = calloc(1, MODEL_FILE_MAX);
		sr_make(rig, INO(f));
	}
}

/* Often at a block or segment border, often near the end. */
static uint64_t draw_off(struct model *m, uint32_t f, uint64_t max)
{
	uint64_t off = pw_random_below(max);

	if (!pw_random_below(3) && m->size[f])
		off = pw_random_below(m->size[f]);
	switch (pw_random_below(6)) {
	case 0:
		return PW_ROUND_DOWN(off, (uint64_t)PWS_SEGMENT_BYTES);
	case 1:
	case 2:
		return PW_ROUND_DOWN(off, (uint64_t)PWS_BLOCK);
	case 3:
		return PW_MIN(m->size[f], max - 1);
	default:
		return off;
	}
}

static uint32_t draw_len(void)
{
	switch (pw_random_below(6)) {
	case 0:
		return RIG_MAX_IO;
	case 1:
		return (uint32_t)(1 + pw_random_below(RIG_MAX_IO / PWS_BLOCK)) * PWS_BLOCK;
	case 2:
		return (uint32_t)(1 + pw_random_below(RIG_MAX_IO));
	case 3:
		return PWS_BLOCK;
	default:
		return (uint32_t)(1 + pw_random_below(3 * PWS_BLOCK));
	}
}

static struct rig_op *draw(struct model *m)
{
	uint32_t f = (uint32_t)pw_random_below(MODEL_FILES), kind = (uint32_t)pw_random_below(20);
	uint64_t off = draw_off(m, f, MODEL_FILE_MAX);
	uint32_t len = draw_len();
	struct rig_op *op;

	len = (uint32_t)PW_MIN((uint64_t)len, MODEL_FILE_MAX - off);
	if (kind < 9) {
		op = sr_op_new(m->rig, RIG_WRITE, INO(f), off, len, pw_random_u64());
		m->nr_writes++;
	} else if (kind < 17) {
		op = sr_op_new(m->rig, RIG_READ, INO(f), off, len, 0);
		op->linger = pw_random_below(2);
		m->nr_reads++;
	} else if (kind < 19 || !m->o.small_room) {
		op = sr_op_new(m->rig, RIG_TRUNC, INO(f), pw_random_below(4) ? off : 0, 0, 0);
		op->room = m->o.small_room && pw_random_below(2) ? 1 + pw_random_below(4) : 0;
		m->nr_truncs++;
	} else {
		op = sr_op_new(m->rig, RIG_RECLAIM, INO(f), 0, 0, 0);
		op->room = pw_random_below(3) ? 1 + pw_random_below(8) : 0;
		m->nr_reclaims++;
	}
	op->refuse = pw_random_below(1000) < m->o.refuse;
	return op;
}

static bool is_allowed(struct model *m, const struct rig_op *op)
{
	switch (op->err) {
	case 0:
		return true;
	case -EPERM:
		return op->refuse;
	case -ECANCELED:
		return op->kind == RIG_TRUNC;
	case -EBUSY:
		m->nr_busy++;
		return op->kind == RIG_TRUNC && m->o.small_room;
	case -ENOSPC:
		m->nr_enospc++;
		return m->o.allow_enospc || sr_faults();
	default:
		return sr_faults();
	}
}

/* What @op does to bytes [off, off + len) of its file, and to its size. */
static void apply(uint8_t *bytes, uint64_t off, uint64_t len, uint64_t *size,
		  const struct rig_op *op)
{
	uint64_t from = PW_MAX(op->off, off), end = off + len;

	if (op->kind == RIG_WRITE) {
		end = PW_MIN(end, op->off + op->len);
		if (from < end)
			sr_fill(bytes + (from - off), op->pattern, (uint32_t)(from - op->off),
				(uint32_t)(end - from));
		*size = PW_MAX(*size, op->off + op->len);
	} else if (op->kind == RIG_TRUNC && op->off < *size) {
		if (from < end)
			memset(bytes + (from - off), 0, end - from);
		*size = op->off;
	}
}

/* @ops: in the order of their commits. */
static void check_read(struct model *m, const struct rig_op *r, struct rig_op **ops, uint32_t nr)
{
	uint32_t f = (uint32_t)(r->ino - INO(0));
	uint8_t bytes[RIG_MAX_IO];
	uint64_t size = m->size[f];
	bool found = false;

	memcpy(bytes, m->bytes[f] + r->off, r->len);
	for (uint32_t i = 0; i <= nr && !found; i++) {
		uint64_t next = i < nr ? ops[i]->seq : UINT64_MAX;

		/* this state held until commit @next */
		if (next > r->first_seq && r->off + r->len <= PW_MAX(size, r->off))
			found = !memcmp(r->data, bytes, r->len);
		if (i < nr && ops[i]->seq > r->last_seq)
			break;
		if (i < nr && ops[i]->ino == r->ino)
			apply(bytes, r->off, r->len, &size, ops[i]);
	}
	if (!found)
		fail_msg("inode %llu: a read of %u at %llu is no state of the file",
			 (unsigned long long)r->ino, r->len, (unsigned long long)r->off);
}

static int by_seq(const void *a, const void *b)
{
	const struct rig_op *x = *(struct rig_op *const *)a, *y = *(struct rig_op *const *)b;

	return x->seq < y->seq ? -1 : x->seq > y->seq;
}

static void run_round(struct model *m)
{
	struct rig_op *ops[RIG_INFLIGHT], *done[RIG_INFLIGHT];
	uint32_t nr = 1 + (uint32_t)pw_random_below(m->o.max_ops), nr_done = 0;

	for (uint32_t i = 0; i < nr; i++) {
		ops[i] = draw(m);
		sr_op_start(ops[i]);
		for (uint64_t turns = pw_random_below(4); turns; turns--)
			vloop_turn(m->rig->loop);
	}
	sr_run(m->rig);
	for (uint32_t i = 0; i < nr; i++) {
		if (!is_allowed(m, ops[i]))
			fail_msg("a request of kind %d ended in %d", ops[i]->kind, ops[i]->err);
		m->nr_more += ops[i]->committed && ops[i]->more;
		if (ops[i]->committed)
			done[nr_done++] = ops[i];
	}
	qsort(done, nr_done, sizeof(done[0]), by_seq);
	for (uint32_t i = 0; i < nr; i++) {
		if (ops[i]->kind == RIG_READ && !ops[i]->err)
			check_read(m, ops[i], done, nr_done);
	}
	for (uint32_t i = 0; i < nr_done; i++) {
		uint64_t f = done[i]->ino - INO(0);

		apply(m->bytes[f], 0, MODEL_FILE_MAX, &m->size[f], done[i]);
	}
	for (uint32_t i = 0; i < nr; i++)
		sr_op_free(ops[i]);
}

void model_run(struct model *m)
{
	for (uint32_t i = 0; i < m->o.rounds; i++)
		run_round(m);
}

void model_check(struct model *m)
{
	for (uint32_t f = 0; f < MODEL_FILES; f++) {
		struct pws_inode inode;

		sr_inode(m->rig, INO(f), &inode);
		if (sr_faults() && !inode.version)
			continue;
		assert_int_equal(inode.size, m->size[f]);
		for (uint64_t off = 0; off < m->size[f]; off += RIG_MAX_IO) {
			uint32_t len = (uint32_t)PW_MIN((uint64_t)RIG_MAX_IO, m->size[f] - off);
			int err = sr_check(m->rig, INO(f), off, len, m->bytes[f] + off);

			if (err && !sr_faults())
				fail_msg("read of file %u at %llu: %d", f, (unsigned long long)off,
					 err);
		}
	}
}

static void empty_file(struct model *m, uint32_t f)
{
	struct pws_inode inode;
	struct rig_op *op;
	int err = sr_trunc(m->rig, INO(f), 0);

	assert_true(!err || err == -ECANCELED || sr_faults());
	op = sr_op_new(m->rig, RIG_RECLAIM, INO(f), 0, 0, 0);
	sr_op_start(op);
	sr_run(m->rig);
	assert_true(!op->err || sr_faults());
	sr_op_free(op);
	sr_inode(m->rig, INO(f), &inode);
	if (!sr_faults()) {
		assert_int_equal(inode.size, 0);
		assert_int_equal(inode.blocks, 0);
		assert_int_equal(inode.dead_gen, 0);
	}
}

void model_end(struct model *m)
{
	uint64_t nr_free, nr_limbo, nr_all;

	for (uint32_t f = 0; f < MODEL_FILES; f++)
		empty_file(m, f);
	if (m->rig->o.kind != RIG_CHUNK || sr_faults())
		return;
	sr_blocks(m->rig, &nr_free, &nr_limbo, &nr_all);
	assert_int_equal(nr_free + nr_limbo, nr_all);
}

void model_free(struct model *m)
{
	for (uint32_t f = 0; f < MODEL_FILES; f++)
		free(m->bytes[f]);
}
