/* SPDX-License-Identifier: Apache-2.0 */
/* test_store_trunc.c -- the chunk store: truncations, dead tails, reclaim */
#include "chunk_fixture.h"

/* Truncations ------------------------------------------------------------------------------- */

static void test_trunc__inside_a_block(void **state)
{
	struct rig *rig = *state;
	uint64_t f, limbo, all;

	if (!rig)
		return;
	OK(put(rig, 0, RIG_MAX_IO, 1));
	OK(sr_trunc(rig, INO, 70001));
	assert_int_equal(blocks_of(rig), 18);
	/* what was cut must not come back */
	OK(put(rig, RIG_MAX_IO, 1, 2));
	memset(want + 70001, 0, RIG_MAX_IO - 70001);
	OK(check(rig, 0, RIG_MAX_IO));
	OK(check(rig, RIG_MAX_IO, 1));
	sr_blocks(rig, &f, &limbo, &all);
	assert_int_equal(f + limbo + blocks_of(rig), all);
}

static void test_trunc__to_nothing(void **state)
{
	struct rig *rig = *state;
	uint64_t f, limbo, all;

	if (!rig)
		return;
	OK(put(rig, 5000, RIG_MAX_IO, 1));
	OK(sr_trunc(rig, INO, 0));
	assert_int_equal(blocks_of(rig), 0);
	sr_blocks(rig, &f, &limbo, &all);
	assert_int_equal(f + limbo, all);
}

static void reclaim_all(struct rig *rig, uint32_t room, uint32_t *ret_rounds)
{
	struct rig_op *op = sr_op_new(rig, RIG_RECLAIM, INO, 0, 0, 0);

	op->room = room;
	*ret_rounds = 0;
	do {
		op->done = false;
		sr_op_start(op);
		sr_run(rig);
		++*ret_rounds;
	} while (!op->err && op->more);
	assert_true(!op->err || sr_faults());
	sr_op_free(op);
}

/* Cuts to @size in a commit that takes @room rows. */
static int cut_in_part(struct rig *rig, uint64_t size, uint32_t room)
{
	struct rig_op *op = sr_op_new(rig, RIG_TRUNC, INO, size, 0, 0);
	int err;

	op->room = room;
	sr_op_start(op);
	sr_run(rig);
	err = op->err;
	if (!err)
		assert_true(op->more);
	sr_op_free(op);
	return err;
}

static int put_rows(struct rig *rig, uint32_t first, uint32_t end)
{
	int err = 0;

	for (uint32_t i = first; !err && i < end; i++)
		err = sr_write(rig, INO, (uint64_t)i * PWS_SEGMENT_BYTES + 10, 20, i);
	return err;
}

static void test_trunc__what_does_not_fit_is_dead(void **state)
{
	struct rig *rig = *state;
	static const uint8_t zeros[PWS_BLOCK];
	uint64_t f, limbo, all;
	uint32_t rounds;

	if (!rig)
		return;
	OK(put_rows(rig, 0, 20));
	OK(cut_in_part(rig, 100, 5));
	assert_true(blocks_of(rig) > 14 && blocks_of(rig) < 20);
	/* rows 6 to 19 are there, and dead; one comes to a new life, one is overwritten in part */
	OK(sr_write(rig, INO, 18ull * PWS_SEGMENT_BYTES + 2000, 20, 77));
	OK(sr_check(rig, INO, 18ull * PWS_SEGMENT_BYTES, 2000, zeros));
	OK(sr_check(rig, INO, 17ull * PWS_SEGMENT_BYTES, PWS_BLOCK, zeros));
	reclaim_all(rig, 4, &rounds);
	if (sr_faults())
		return;
	assert_true(rounds > 1);
	assert_int_equal(blocks_of(rig), 2);
	sr_fill(want, 77, 0, 20);
	OK(sr_check(rig, INO, 18ull * PWS_SEGMENT_BYTES + 2000, 20, want));
	sr_blocks(rig, &f, &limbo, &all);
	assert_int_equal(f + limbo + 2, all);
}

static void test_trunc__second_cut_above_a_dead_tail(void **state)
{
	struct rig *rig = *state;
	uint32_t rounds;

	if (!rig)
		return;
	OK(put_rows(rig, 0, 20));
	OK(cut_in_part(rig, 100, 5));
	OK(put_rows(rig, 4, 15)); /* alive again */
	/* one pair of fields cannot tell dead from alive: the first has to be reclaimed */
	assert_true(cut_in_part(rig, 6 * PWS_SEGMENT_BYTES, 2) == -EBUSY || sr_faults());
	for (uint32_t i = 4; i < 15; i++) {
		sr_fill(want, i, 0, 20);
		OK(sr_check(rig, INO, (uint64_t)i * PWS_SEGMENT_BYTES + 10, 20, want));
	}
	reclaim_all(rig, 0, &rounds);
	OK(cut_in_part(rig, 6 * PWS_SEGMENT_BYTES, 2));
	sr_fill(want, 5, 0, 20);
	OK(sr_check(rig, INO, 5ull * PWS_SEGMENT_BYTES + 10, 20, want));
}

static void test_trunc__second_cut_below_a_dead_tail(void **state)
{
	struct rig *rig = *state;
	uint32_t rounds;

	if (!rig)
		return;
	OK(put_rows(rig, 0, 20));
	OK(cut_in_part(rig, 10ull * PWS_SEGMENT_BYTES, 2));
	OK(cut_in_part(rig, 5ull * PWS_SEGMENT_BYTES, 2));
	reclaim_all(rig, 0, &rounds);
	if (!sr_faults())
		assert_int_equal(blocks_of(rig), 5);
}

static void test_trunc__more_rows_than_a_commit_takes(void **state)
{
	struct rig *rig = *state;
	uint64_t f, limbo, all;
	struct rig_op *op;
	uint32_t rounds = 0;

	if (!rig || getenv("PW_FAULT")) /* too many points for too little */
		return;
	OK(put_rows(rig, 0, 9000));
	/* as the reclaimer does it with a file that has no name any more */
	op = sr_op_new(rig, RIG_TRUNC, INO, 0, 0, 0);
	op->orphan = true;
	do {
		sr_op_start(op);
		sr_run(rig);
		assert_int_equal(op->err, 0);
		rounds++;
	} while (op->more);
	sr_op_free(op);
	assert_int_equal(rounds, 3);
	assert_int_equal(blocks_of(rig), 0);
	sr_blocks(rig, &f, &limbo, &all);
	assert_int_equal(f + limbo, all);
}

/* Nobody but the store can tell that the rows went in an attempt whose outcome was lost. */
static void test_trunc__outcome_is_lost(void **state)
{
	struct rig *rig = *state;
	uint64_t f, limbo, all;

	if (!rig || sr_faults())
		return;
	for (uint32_t i = 0; i < 20; i++) {
		struct rig_op *op = sr_op_new(rig, RIG_TRUNC, INO, i % 2 ? 0 : 70001, 0, 0);

		sr_set_faults(rig, &(struct pws_kv_mem_faults){ 0 });
		OK(put_rows(rig, 0, 10));
		sr_set_faults(rig, &(struct pws_kv_mem_faults){ .unknown_applied = 500 });
		op->orphan = true;
		sr_op_start(op);
		sr_run(rig);
		assert_int_equal(op->err, 0);
		sr_op_free(op);
		sr_blocks(rig, &f, &limbo, &all);
		assert_int_equal(f + limbo + blocks_of(rig), all);
	}
}

static void test_trunc__waits_for_writes_behind_it(void **state)
{
	struct rig *rig = *state;
	struct rig_op *w, *t;

	if (!rig)
		return;
	OK(put(rig, 0, RIG_MAX_IO, 1));
	w = sr_op_new(rig, RIG_WRITE, INO, 50000, 50000, 2);
	t = sr_op_new(rig, RIG_TRUNC, INO, 60000, 0, 0);
	sr_op_start(w);
	sr_op_start(t);
	sr_run(rig);
	assert_true((!w->err && !t->err) || sr_faults());
	if (!w->err && !t->err) {
		assert_true(w->seq < t->seq);
		sr_fill(want + 50000, 2, 0, 10000);
		assert_true(!check(rig, 0, 60000) || sr_faults());
	}
	sr_op_free(w);
	sr_op_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_trunc__inside_a_block),
		T(test_trunc__to_nothing),
		T(test_trunc__what_does_not_fit_is_dead),
		T(test_trunc__second_cut_above_a_dead_tail),
		T(test_trunc__second_cut_below_a_dead_tail),
		T(test_trunc__more_rows_than_a_commit_takes),
		T(test_trunc__outcome_is_lost),
		T(test_trunc__waits_for_writes_behind_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
