/* SPDX-License-Identifier: Apache-2.0 */
/* test_kv_power_cut.c -- the engine with a small copy-on-write store above it; the power goes at
 * any moment
 *
 * A "file" is a key; its value names a block of the data area and what is in it. A write takes a
 * free block, fills it, and then commits the value; the block that it replaced is free when that
 * commit is on media. As the chunk store does it. After each cut:
 *	- what the engine comes up with is a prefix of the history, with all that was durable;
 *	- every file's block holds what the file's value says.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/log.h"
#include "common/random.h"

#include "kv_rig.h"

#define NR_FILES  6u
#define NR_BLOCKS 14u /* few: blocks are used again as soon as they may be */
#define DATA_OFF  RIG_JOURNAL_BYTES
#define NO_BLOCK  UINT32_MAX

struct file_val {
	uint32_t block;
	uint32_t fill; /* of the block, which begins with it */
};

struct op { /* one write of one file */
	struct pws_kv_commit c;
	struct pws_disk_io io;
	struct world *w;
	uint32_t file;
	struct file_val val;
	uint32_t old_block; /* replaced */
	uint8_t *mem;
	bool told, freed;
};

struct world {
	struct rig r;
	struct op **op;
	uint32_t nr, max;
	uint32_t block_of[NR_FILES]; /* as of the newest commit */
	bool busy[NR_FILES];	     /* a write is on its way: the next one waits */
	bool used[NR_BLOCKS];
	uint64_t lives, cut_replayed, given_up;
	uint64_t durable_seq; /* at the cut: this much was told to be durable */
	uint64_t media_seq;   /* and this much was on media */
};

static void *block_mem(void)
{
	return aligned_alloc(PWS_BLOCK, PWS_BLOCK);
}

static uint32_t block_fill(struct pws_disk *d, uint32_t block)
{
	const uint8_t *p = vdisk_mem(d) + DATA_OFF + (uint64_t)block * PWS_BLOCK;
	uint32_t first, v;

	memcpy(&first, p, 4);
	for (uint32_t i = 4; i < PWS_BLOCK; i += 4) {
		memcpy(&v, p + i, 4);
		if (v != first)
			return 0; /* torn */
	}
	return first;
}

static bool verify(void *arg, const struct pws_kv_mut *mut)
{
	struct world *w = arg;
	struct file_val v;

	assert_non_null(mut->val.p);
	assert_int_equal(mut->val.n, sizeof(v));
	memcpy(&v, mut->val.p, sizeof(v));
	return block_fill(w->r.disk, v.block) == v.fill;
}

static struct pws_slice file_key(uint32_t file, char buf[8])
{
	return (struct pws_slice){ buf, (uint32_t)snprintf(buf, 8, "f%u", file) };
}

static void on_committed(struct pws_kv_commit *c)
{
	struct op *op = pw_container_of(c, struct op, c);

	assert_false(op->told);
	op->told = true;
}

static void on_data_written(struct pws_disk_io *io)
{
	struct op *op = pw_container_of(io, struct op, io);
	struct world *w = op->w;
	char buf[8];
	struct pws_kv_mut mut = { file_key(op->file, buf), { &op->val, sizeof(op->val) } };

	w->busy[op->file] = false;
	if (io->err) {
		op->told = true; /* the cut came first */
		op->c.err = io->err;
		return;
	}
	op->old_block = w->block_of[op->file];
	w->block_of[op->file] = op->val.block;
	op->c.muts = &mut;
	op->c.nr_muts = 1;
	w->r.kv->ops->commit(w->r.kv, &op->c);
}

static void free_replaced(struct world *w)
{
	uint64_t media = w->r.kv->ops->media_seq(w->r.kv);

	for (uint32_t i = 0; i < w->nr; i++) {
		struct op *op = w->op[i];

		if (op->freed || !op->c.seq || op->c.seq > media)
			continue;
		op->freed = true;
		if (op->old_block != NO_BLOCK)
			w->used[op->old_block] = false;
	}
}

static uint32_t take_block(struct world *w)
{
	uint32_t b = (uint32_t)pw_random_below(NR_BLOCKS);

	for (uint32_t i = 0; i < NR_BLOCKS; i++, b = (b + 1) % NR_BLOCKS)
		if (!w->used[b]) {
			w->used[b] = true;
			return b;
		}
	return NO_BLOCK;
}

static void write_file(struct world *w, uint32_t file)
{
	uint32_t block = w->busy[file] ? NO_BLOCK : take_block(w);
	struct op *op;

	if (block == NO_BLOCK)
		return;
	op = calloc(1, sizeof(*op));
	op->w = w;
	op->file = file;
	op->val.block = block;
	op->val.fill = (uint32_t)pw_random_u64() | 1;
	op->mem = block_mem();
	for (uint32_t i = 0; i < PWS_BLOCK; i += 4)
		memcpy(op->mem + i, &op->val.fill, 4);
	op->c.done = on_committed;
	op->c.sync = pw_random_below(20) == 0;
	pw_list_init(&op->c.node);
	op->io = (struct pws_disk_io){
		.op = PWS_DISK_WRITE,
		.buf = op->mem,
		.off = DATA_OFF + (uint64_t)block * PWS_BLOCK,
		.len = PWS_BLOCK,
		.done = on_data_written,
	};
	pw_list_init(&op->io.node);
	w->busy[file] = true;
	if (w->nr == w->max) {
		w->max = w->max ? 2 * w->max : 64;
		w->op = realloc(w->op, w->max * sizeof(*w->op));
	}
	w->op[w->nr++] = op;
	pws_disk_submit(w->r.disk, &op->io);
}

/* The prefix of the history that the engine came up with, file by file. */
static void check_prefix(struct world *w, uint64_t seq)
{
	struct file_val want[NR_FILES];
	uint64_t at[NR_FILES] = { 0 };
	struct pws_kv_rec rec;
	struct pws_kv_fetch f;
	char buf[8];

	for (uint32_t i = 0; i < w->nr; i++) {
		struct op *op = w->op[i];

		if (op->c.seq && op->c.seq <= seq && op->c.seq > at[op->file]) {
			at[op->file] = op->c.seq;
			want[op->file] = op->val;
		}
	}
	for (uint32_t i = 0; i < NR_FILES; i++) {
		int err = w->r.kv->ops->get(w->r.kv, file_key(i, buf), &rec, &f);
		struct file_val got;

		assert_int_equal(err, at[i] ? 0 : -ENOENT);
		if (err)
			continue;
		assert_int_equal(rec.seq, at[i]);
		memcpy(&got, rec.val.p, sizeof(got));
		assert_memory_equal(&got, &want[i], sizeof(got));
		/* and its bytes are there */
		assert_int_equal(block_fill(w->r.disk, got.block), got.fill);
	}
}

/* What is not in the prefix never happened; the free map is built from what is there. */
static void start_over(struct world *w, uint64_t seq)
{
	uint64_t at[NR_FILES] = { 0 };
	uint32_t nr = 0;

	memset(w->used, 0, sizeof(w->used));
	memset(w->busy, 0, sizeof(w->busy));
	memset(w->block_of, 0xff, sizeof(w->block_of));
	for (uint32_t i = 0; i < w->nr; i++) {
		struct op *op = w->op[i];

		free(op->mem);
		op->mem = NULL;
		op->freed = true;
		if (!op->c.seq || op->c.seq > seq) {
			free(op);
			continue;
		}
		w->op[nr++] = op;
		if (op->c.seq > at[op->file]) {
			at[op->file] = op->c.seq;
			w->block_of[op->file] = op->val.block;
		}
	}
	w->nr = nr;
	for (uint32_t i = 0; i < NR_FILES; i++)
		if (w->block_of[i] != NO_BLOCK)
			w->used[w->block_of[i]] = true;
}

static void life(struct world *w, enum vdisk_cut cut)
{
	uint32_t steps = (uint32_t)pw_random_below(300);
	struct pws_kv_stats stats;
	uint64_t last, seq, must;

	vdisk_hold(w->r.disk, true);
	for (uint32_t i = 0; i < steps; i++) {
		uint64_t dice = pw_random_below(100);

		if (dice < 40)
			write_file(w, (uint32_t)pw_random_below(NR_FILES));
		else if (dice < 85)
			vdisk_step(w->r.disk);
		else if (dice < 98)
			vloop_turn(w->r.loop);
		else
			vloop_advance(w->r.loop, pw_random_below(20 * PW_NS_PER_S));
		free_replaced(w);
	}
	last = w->r.kv->ops->last_seq(w->r.kv);
	w->media_seq = w->r.kv->ops->media_seq(w->r.kv);
	w->durable_seq = w->r.kv->ops->durable_seq(w->r.kv);
	/* kill -9 keeps all that was written; a power cut what was flushed */
	must = cut == VDISK_KEEP_ALL ? w->durable_seq : w->media_seq;
	for (uint32_t i = 0; i < w->nr; i++)
		if (w->op[i]->told && !w->op[i]->c.err)
			assert_true(w->op[i]->c.seq <=
				    (w->op[i]->c.sync ? w->media_seq : w->durable_seq));
	rig_crash(&w->r, cut);
	rig_open(&w->r);
	seq = w->r.kv->ops->last_seq(w->r.kv);
	assert_in_range(seq, must, last);
	check_prefix(w, seq);
	pws_kv_get_stats(w->r.kv, &stats);
	w->cut_replayed += stats.replayed;
	w->given_up += last - seq;
	w->lives++;
	start_over(w, seq);
}

static void run(uint64_t interval_ns, uint64_t seeds)
{
	uint64_t lives = 0, replayed = 0, given_up = 0;

	for (uint64_t seed = 1; seed <= seeds; seed++) {
		struct world w = { 0 };

		vrandom_seed(seed);
		rig_init(&w.r);
		w.r.o.interval_ns = interval_ns;
		w.r.o.verify = verify;
		w.r.o.verify_arg = &w;
		memset(w.block_of, 0xff, sizeof(w.block_of));
		rig_open(&w.r);
		for (uint32_t i = 0; i < 12; i++)
			life(&w, (enum vdisk_cut)pw_random_below(3));
		rig_crash(&w.r, VDISK_KEEP_ALL);
		start_over(&w, 0);
		free(w.op);
		rig_fini(&w.r);
		lives += w.lives;
		replayed += w.cut_replayed;
		given_up += w.given_up;
	}
	print_message("%llu lives, %llu commits replayed, %llu given up\n",
		      (unsigned long long)lives, (unsigned long long)replayed,
		      (unsigned long long)given_up);
	/* the test has seen both kinds */
	assert_true(replayed > lives && given_up > lives / 4);
}

static void test_power_cut__always(void **state)
{
	(void)state;
	run(0, 8);
}

static void test_power_cut__interval(void **state)
{
	(void)state;
	run(2 * PW_NS_PER_S, 8);
}

/* 5 names block X for a file, 6 replaces it and is flushed, X is written for another file, and the
 * power goes before any batch says that 6 was flushed. X does not hold any more what 5 says: 5 must
 * stand all the same. */
static void test_power_cut__block_reused_after_a_flush_that_no_batch_tells(void **state)
{
	struct world w = { 0 };
	struct op *last;
	uint32_t x;

	(void)state;
	vrandom_seed(3);
	rig_init(&w.r);
	w.r.o.verify = verify;
	w.r.o.verify_arg = &w;
	memset(w.block_of, 0xff, sizeof(w.block_of));
	rig_open(&w.r);
	write_file(&w, 0);
	vloop_settle(w.r.loop);
	x = w.op[0]->val.block;
	write_file(&w, 0);
	vloop_settle(w.r.loop);
	assert_int_equal(w.r.kv->ops->media_seq(w.r.kv), 2);
	free_replaced(&w);
	assert_false(w.used[x]);
	/* all other blocks are taken */
	memset(w.used, 1, sizeof(w.used));
	w.used[x] = false;
	vdisk_hold(w.r.disk, true);
	write_file(&w, 1);
	last = w.op[w.nr - 1];
	assert_int_equal(last->val.block, x);
	rig_crash(&w.r, VDISK_KEEP_ALL); /* the data write may be there in whole or not at all */
	memset(vdisk_mem(w.r.disk) + DATA_OFF + x * PWS_BLOCK, 0x77, PWS_BLOCK);
	rig_open(&w.r);
	assert_int_equal(w.r.kv->ops->last_seq(w.r.kv), 2);
	check_prefix(&w, 2);
	rig_crash(&w.r, VDISK_KEEP_ALL);
	start_over(&w, 0);
	free(w.op);
	rig_fini(&w.r);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_power_cut__always),
		cmocka_unit_test(test_power_cut__interval),
		cmocka_unit_test(test_power_cut__block_reused_after_a_flush_that_no_batch_tells),
	};

	pw_log_set_level(0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
