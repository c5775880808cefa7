/* SPDX-License-Identifier: Apache-2.0 */
/* test_store_power.c -- chunk store and journal engine on one disk; the power goes at any moment
 *
 * After each cut what comes up must be the state after some commit: not older than what was told to
 * be durable, and with every byte of it. The disk is small, so blocks are used again as soon as
 * limbo lets them go.
 *
 * SEEDS in the environment runs other seeds: "17" or "1000-2000".
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/random.h"
#include "storage_node/store/chunk.h"

#include "store_rig.h"

#define FILES	 2u
#define FILE_MAX (192u << 10)
#define LIVES	 20u
#define OPS_MAX	 60u /* of one life; each keeps a buffer of the pool */
#define INO(f)	 (100 + (f))

static uint64_t first_seed = 1, last_seed = 2;

struct world {
	struct rig *rig;
	uint8_t bytes[FILES][FILE_MAX];
	uint64_t size[FILES];
	struct rig_op *ops[OPS_MAX];
	uint32_t nr;
	uint64_t nr_lost, nr_kept_unacked;
};

static void start_one(struct world *w)
{
	uint64_t ino = INO(pw_random_below(FILES)), off = pw_random_below(FILE_MAX);
	uint32_t len =
		1 + (uint32_t)pw_random_below(pw_random_below(2) ? 3 * PWS_BLOCK : 48u << 10);
	struct rig_op *op;

	if (pw_random_below(2))
		off = PW_ROUND_DOWN(off, (uint64_t)PWS_BLOCK);
	len = (uint32_t)PW_MIN((uint64_t)len, FILE_MAX - off);
	if (pw_random_below(12))
		op = sr_op_new(w->rig, RIG_WRITE, ino, off, len, pw_random_u64());
	else
		op = sr_op_new(w->rig, RIG_TRUNC, ino, off, 0, 0);
	w->ops[w->nr++] = op;
	sr_op_start(op);
}

/* Its commit, if there was one: also of a request that is not over. */
static uint64_t seq_of(const struct rig_op *op)
{
	if (op->done)
		return op->committed ? op->seq : 0;
	return op->txn.commit.seq;
}

static int by_seq(const void *a, const void *b)
{
	const struct rig_op *x = *(struct rig_op *const *)a, *y = *(struct rig_op *const *)b;

	return x->seq < y->seq ? -1 : x->seq > y->seq;
}

/* @up_to: what the engine came up with. */
static void apply_history(struct world *w, uint64_t up_to)
{
	qsort(w->ops, w->nr, sizeof(w->ops[0]), by_seq);
	for (uint32_t i = 0; i < w->nr; i++) {
		struct rig_op *op = w->ops[i];
		uint64_t f = op->ino - INO(0);

		if (op->seq && op->seq <= up_to && op->kind == RIG_WRITE) {
			sr_fill(w->bytes[f] + op->off, op->pattern, 0, op->len);
			w->size[f] = PW_MAX(w->size[f], op->off + op->len);
		} else if (op->seq && op->seq <= up_to && op->off < w->size[f]) {
			memset(w->bytes[f] + op->off, 0, w->size[f] - op->off);
			w->size[f] = op->off;
		}
		w->nr_lost += op->seq > up_to;
		sr_op_free(op);
	}
	w->nr = 0;
}

static void check_files(struct world *w)
{
	uint64_t nr_free, limbo, all, used = 0;

	for (uint32_t f = 0; f < FILES; f++) {
		struct pws_inode i;

		sr_inode(w->rig, INO(f), &i);
		assert_int_equal(i.size, w->size[f]);
		used += i.blocks;
		for (uint64_t off = 0; off < i.size; off += RIG_MAX_IO)
			assert_int_equal(
				sr_check(w->rig, INO(f), off,
					 (uint32_t)PW_MIN((uint64_t)RIG_MAX_IO, i.size - off),
					 w->bytes[f] + off),
				0);
	}
	sr_blocks(w->rig, &nr_free, &limbo, &all);
	assert_int_equal(nr_free + limbo + used, all);
}

static void one_life(struct world *w)
{
	struct rig *rig = w->rig;
	uint32_t nr = 1 + (uint32_t)pw_random_below(OPS_MAX);
	uint64_t acked = 0, media, up_to;

	for (uint32_t i = 0; i < nr; i++) {
		start_one(w);
		for (uint64_t turns = pw_random_below(12); turns; turns--) {
			if (!vloop_turn(rig->loop))
				vloop_advance(rig->loop, PW_NS_PER_MS);
		}
		if (rig->nr_running >= RIG_INFLIGHT / 2)
			sr_run(rig);
	}
	for (uint32_t i = 0; i < w->nr; i++) {
		struct rig_op *op = w->ops[i];

		op->seq = seq_of(op);
		if (op->done && op->committed)
			acked = PW_MAX(acked, op->seq);
		else
			assert_true(!op->done || op->err == -ENOSPC || op->err == -ECANCELED);
	}
	media = rig->kv->ops->media_seq(rig->kv);
	assert_int_equal(sr_crash(rig), 0);
	up_to = rig->kv->ops->last_seq(rig->kv);
	assert_true(up_to >= media);
	if (!rig->o.interval_ns)
		assert_true(up_to >= acked);
	w->nr_kept_unacked += up_to > media;
	apply_history(w, up_to);
	check_files(w);
}

static void run(uint64_t interval_ns)
{
	for (uint64_t seed = first_seed; seed <= last_seed; seed++) {
		/* the reserve of 16 MiB is beyond the file; 640 KiB are for 384 of contents */
		struct rig_opts o = {
			.kind = RIG_CHUNK, .seed = seed, .journal = true, .interval_ns = interval_ns
		};
		struct world *w = calloc(1, sizeof(*w));

		o.disk_bytes = sr_journal_bytes() + (640u << 10);
		o.disk_max = o.disk_bytes + 16 * PW_MIB;
		assert_int_equal(sr_new(&w->rig, &o), 0);
		for (uint32_t f = 0; f < FILES; f++)
			sr_make(w->rig, INO(f));
		sr_sync(w->rig);
		for (uint32_t i = 0; i < LIVES; i++)
			one_life(w);
		fprintf(stderr,
			"seed %llu: %llu commits lost; %llu of %u cuts kept more than flushed\n",
			(unsigned long long)seed, (unsigned long long)w->nr_lost,
			(unsigned long long)w->nr_kept_unacked, LIVES);
		assert_true(w->nr_lost > 0);
		sr_free(w->rig);
		free(w);
	}
}

static void test_durability_always(void **state)
{
	run(0);
}

static void test_durability_interval(void **state)
{
	run(20 * PW_NS_PER_MS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_durability_always),
		cmocka_unit_test(test_durability_interval),
	};
	const char *seeds = getenv("SEEDS");
	unsigned long long first, last;
	int n = seeds ? sscanf(seeds, "%llu-%llu", &first, &last) : 0;

	if (n >= 1) {
		first_seed = first;
		last_seed = n == 2 ? last : first;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
