/* SPDX-License-Identifier: Apache-2.0 */
/* test_store_chunk.c -- the chunk store: writes and reads, one behaviour at a time */
#include "chunk_fixture.h"

/* Writes ------------------------------------------------------------------------------------ */

static void test_write__whole_blocks_read_nothing(void **state)
{
	struct rig *rig = *state;
	struct pws_disk_stats ds;
	struct pws_store_stats ss;

	if (!rig)
		return;
	OK(put(rig, 0, RIG_MAX_IO, 1));
	OK(put(rig, RIG_MAX_IO, RIG_MAX_IO, 2));
	OK(put(rig, PWS_BLOCK, PWS_BLOCK, 3));
	pws_disk_get_stats(rig->disk, &ds);
	stats(rig, &ss);
	assert_int_equal(ds.reads, 0);
	assert_int_equal(ds.writes, 3); /* each lies side by side */
	assert_int_equal(ss.rmw_blocks, 0);
	assert_int_equal(ss.copied_bytes, 0);
	assert_int_equal(blocks_of(rig), 2 * RIG_MAX_IO / PWS_BLOCK);
	OK(check(rig, 0, RIG_MAX_IO));
	OK(check(rig, RIG_MAX_IO, RIG_MAX_IO));
}

static void test_write__partial_blocks_keep_what_was_there(void **state)
{
	struct rig *rig = *state;
	struct pws_store_stats ss;

	if (!rig)
		return;
	OK(put(rig, 0, 5 * PWS_BLOCK, 1));
	OK(put(rig, 100, 50, 2));			   /* both ends in one block */
	OK(put(rig, 2 * PWS_BLOCK - 7, 2 * PWS_BLOCK, 3)); /* two of them */
	OK(check(rig, 0, 5 * PWS_BLOCK));
	stats(rig, &ss);
	assert_true(ss.rmw_blocks >= 3);
}

static void test_write__holes_are_zeros(void **state)
{
	struct rig *rig = *state;

	if (!rig)
		return;
	OK(put(rig, RIG_MAX_IO + 5, 10, 1));
	assert_int_equal(blocks_of(rig), 1);
	OK(check(rig, 0, RIG_MAX_IO));
	OK(check(rig, RIG_MAX_IO, 15));
	assert_int_equal(sr_where(rig, INO, 0), UINT64_MAX);
}

static void test_write__append_reads_the_last_block_once(void **state)
{
	struct rig *rig = *state;
	struct pws_disk_stats ds;

	if (!rig)
		return;
	OK(put(rig, 0, 1000, 1));
	OK(put(rig, 1000, 1000, 2));
	pws_disk_get_stats(rig->disk, &ds);
	assert_int_equal(ds.reads, 1);
	OK(check(rig, 0, 2000));
}

static void test_write__payload_that_lies_elsewhere(void **state)
{
	struct rig *rig = *state;
	struct pws_store_stats ss;
	struct rig_op *op;

	if (!rig)
		return;
	OK(put(rig, 0, 300, 1));
	/* as an append whose offset was not known when it arrived */
	op = sr_op_new(rig, RIG_WRITE, INO, 300, 5000, 9);
	op->head = 17;
	sr_op_start(op);
	sr_run(rig);
	sr_fill(want + 300, 9, 0, 5000);
	assert_true((!op->err && !check(rig, 0, 5300)) || sr_faults());
	stats(rig, &ss);
	assert_int_equal(ss.copied_bytes, 5000);
	sr_op_free(op);
}

static void test_write__too_far(void **state)
{
	struct rig *rig = *state;

	if (!rig)
		return;
	assert_int_equal(sr_write(rig, INO, PWS_STORE_FILE_MAX - 4, 5, 1), -EFBIG);
	assert_int_equal(sr_write(rig, INO, INT64_MAX - 5, 5, 1), -EFBIG);
	OK(sr_write(rig, INO, PWS_STORE_FILE_MAX - 5, 5, 1));
	sr_fill(want, 1, 0, 5);
	OK(sr_check(rig, INO, PWS_STORE_FILE_MAX - 5, 5, want));
}

static void test_write__no_such_inode(void **state)
{
	struct rig *rig = *state;

	if (!rig)
		return;
	if (!sr_faults()) {
		assert_int_equal(sr_write(rig, 7, 0, 100, 1), -ESTALE);
		/* of the test's own */
		assert_int_equal(sr_write(rig, 7, 0, PWS_BLOCK, 1), -ENOENT);
	}
}

static void test_write__refused_gives_its_blocks_back(void **state)
{
	struct rig *rig = *state;
	uint64_t before, after, limbo, all;
	struct rig_op *op;

	if (!rig)
		return;
	OK(put(rig, 0, 10000, 1));
	sr_blocks(rig, &before, &limbo, &all);
	op = sr_op_new(rig, RIG_WRITE, INO, 5000, 20000, 2);
	op->refuse = true;
	sr_op_start(op);
	sr_run(rig);
	assert_true(op->err == -EPERM || sr_faults());
	sr_op_free(op);
	sr_blocks(rig, &after, &limbo, &all);
	assert_int_equal(after, before);
	OK(check(rig, 0, 10000));
}

/* A fault point may have been met first. */
static void assert_error(int err, int want_err)
{
	assert_true(err == want_err || (err < 0 && sr_faults()));
}

static void test_write__disk_error(void **state)
{
	struct rig *rig = *state;
	uint64_t before, after, limbo, all;

	if (!rig)
		return;
	OK(put(rig, 0, 10000, 1));
	sr_blocks(rig, &before, &limbo, &all);
	fake_disk_fail(rig->disk, PWS_DISK_WRITE, 1, -EIO);
	assert_error(sr_write(rig, INO, 100, 9000, 2), -EIO);
	fake_disk_fail(rig->disk, PWS_DISK_READ, 1, -EIO); /* the old block */
	assert_error(sr_write(rig, INO, 100, 9000, 2), -EIO);
	sr_blocks(rig, &after, &limbo, &all);
	assert_int_equal(after, before);
	OK(check(rig, 0, 10000));
}

static void test_write__overlapping_ones_take_turns(void **state)
{
	struct rig *rig = *state;
	struct pws_store_stats ss;
	struct rig_op *op[8];

	if (!rig)
		return;
	for (uint32_t i = 0; i < 8; i++) {
		op[i] = sr_op_new(rig, RIG_WRITE, INO, 1000 * i, 1500, i);
		sr_op_start(op[i]);
	}
	sr_run(rig);
	for (uint32_t i = 0; i < 8; i++) {
		if (!op[i]->err)
			sr_fill(want + op[i]->off, op[i]->pattern, 0, op[i]->len);
		assert_true(!op[i]->err || sr_faults());
		sr_op_free(op[i]);
	}
	stats(rig, &ss);
	assert_true(ss.stall_range > 0);
	if (!sr_faults())
		assert_int_equal(check(rig, 0, 8500), 0);
}

/* Every other outcome is lost: later attempts must not take the new blocks for old ones. */
static void test_write__outcome_is_lost(void **state)
{
	struct rig *rig = *state;
	uint64_t f, limbo, all;

	if (!rig || sr_faults())
		return;
	sr_set_faults(rig, &(struct pws_kv_mem_faults){ .unknown_applied = 500 });
	for (uint32_t i = 0; i < 40; i++) {
		uint64_t off = pw_random_below(RIG_MAX_IO);
		struct rig_op *op = sr_op_new(rig, RIG_WRITE, INO, off, RIG_MAX_IO / 2, i);

		op->no_reply = true;
		sr_op_start(op);
		sr_run(rig);
		assert_int_equal(op->err, 0);
		sr_fill(want + off, i, 0, RIG_MAX_IO / 2);
		sr_op_free(op);
	}
	OK(check(rig, 0, RIG_MAX_IO / 2));
	sr_blocks(rig, &f, &limbo, &all);
	assert_int_equal(f + limbo + blocks_of(rig), all);
}

/* It has been applied, and the request that did it ends in an error: nobody gets its blocks. */
static void test_write__outcome_stays_unknown(void **state)
{
	struct rig *rig = *state;
	uint64_t before, after, limbo, all;
	struct rig_op *op;

	if (!rig || sr_faults())
		return;
	OK(put(rig, 0, 10000, 1));
	sr_blocks(rig, &before, &limbo, &all);
	sr_set_faults(rig, &(struct pws_kv_mem_faults){ .unknown_applied = 1000 });
	op = sr_op_new(rig, RIG_WRITE, INO, 0, 10000, 2);
	op->blind = true;
	sr_op_start(op);
	sr_run(rig);
	assert_int_equal(op->err, -EIO);
	assert_true(op->committed);
	sr_op_free(op);
	sr_fill(want, 2, 0, 10000);
	sr_set_faults(rig, &(struct pws_kv_mem_faults){ 0 });
	sr_blocks(rig, &after, &limbo, &all);
	assert_int_equal(after, before - 3);
	for (uint32_t i = 0; i < 20; i++)
		OK(put(rig, PWS_SEGMENT_BYTES, RIG_MAX_IO / 2, i));
	OK(check(rig, 0, 10000));
	/* what is nobody's is free again after a start */
	OK(sr_reopen(rig));
	OK(check(rig, 0, 10000));
	sr_blocks(rig, &after, &limbo, &all);
	assert_int_equal(after + limbo + blocks_of(rig), all);
}

/* Reads ------------------------------------------------------------------------------------- */

/* Every bit of every block counts: flips one, in each block of a file. */
static void test_read__bit_flip_in_every_block(void **state)
{
	struct rig *rig = *state;
	const uint32_t nr = RIG_MAX_IO / PWS_BLOCK;

	if (!rig)
		return;
	OK(put(rig, 0, RIG_MAX_IO, 1));
	for (uint32_t b = 0; b < nr; b++) {
		uint64_t where = sr_where(rig, INO, b);
		uint8_t *byte;

		if (where == UINT64_MAX)
			return; /* only under a fault */
		byte = fake_disk_mem(rig->disk) + where + pw_random_below(PWS_BLOCK);
		*byte ^= 1u << pw_random_below(8);
		rig->nr_bad = 0;
		if (sr_check(rig, INO, 0, RIG_MAX_IO, want) != -EBADMSG)
			assert_true(sr_faults());
		else
			assert_true(rig->nr_bad == 1 && rig->bad_ino == INO && !rig->bad_chunk &&
				    rig->bad_block == b);
		/* its neighbours are fine */
		if (b)
			OK(check(rig, 0, b * PWS_BLOCK));
		if (b + 1 < nr)
			OK(check(rig, (b + 1) * PWS_BLOCK, (nr - b - 1) * PWS_BLOCK));
		/* an overwrite of the whole block makes it good again */
		OK(put(rig, (uint64_t)b * PWS_BLOCK, PWS_BLOCK, 100 + b));
	}
	OK(check(rig, 0, RIG_MAX_IO));
}

static void test_read__wrong_once_is_read_again(void **state)
{
	struct rig *rig = *state;
	struct pws_store_stats ss;

	if (!rig)
		return;
	OK(put(rig, 0, RIG_MAX_IO, 1));
	fake_disk_flip_next_read(rig->disk);
	OK(check(rig, 0, RIG_MAX_IO));
	fake_disk_flip_next_read(rig->disk);
	OK(put(rig, 100, 10, 2));
	OK(check(rig, 0, RIG_MAX_IO));
	stats(rig, &ss);
	assert_int_equal(ss.crc_errors, 0);
	assert_int_equal(rig->nr_bad, 0);
}

static void test_read__bad_block_stops_partial_write(void **state)
{
	struct rig *rig = *state;
	uint64_t where;

	if (!rig)
		return;
	OK(put(rig, 0, PWS_BLOCK, 1));
	where = sr_where(rig, INO, 0);
	if (where == UINT64_MAX)
		return;
	fake_disk_mem(rig->disk)[where] ^= 1;
	/* it must not give wrong bytes a right checksum */
	assert_true(put(rig, 5, 5, 2) == -EBADMSG || sr_faults());
	assert_true(sr_trunc(rig, INO, 7) == -EBADMSG || sr_faults());
	OK(put(rig, 0, PWS_BLOCK, 3));
	OK(check(rig, 0, PWS_BLOCK));
}

static void test_read__disk_error(void **state)
{
	struct rig *rig = *state;

	if (!rig)
		return;
	OK(put(rig, 0, RIG_MAX_IO, 1));
	fake_disk_fail(rig->disk, PWS_DISK_READ, 1, -EIO);
	assert_error(check(rig, 0, RIG_MAX_IO), -EIO);
	assert_int_equal(rig->nr_bad, 0);
	OK(check(rig, 0, RIG_MAX_IO));
}

static void test_read__tells_the_newest_commit(void **state)
{
	struct rig *rig = *state;
	struct rig_op *op;
	uint64_t seq;

	if (!rig)
		return;
	OK(put(rig, 0, RIG_MAX_IO, 1));
	OK(put(rig, RIG_MAX_IO / 2, PWS_BLOCK, 2));
	seq = rig->kv->ops->last_seq(rig->kv);
	op = sr_op_new(rig, RIG_READ, INO, 0, RIG_MAX_IO, 0);
	sr_op_start(op);
	sr_run(rig);
	if (!op->err)
		assert_int_equal(op->seen_seq, seq);
	sr_op_free(op);
}

/* A reader that looked up its rows keeps their blocks, whatever happens to the file. */
static void test_read__blocks_are_not_reused_under_it(void **state)
{
	struct rig *rig = *state;
	struct rig_op *op;

	if (!rig)
		return;
	OK(put(rig, 0, RIG_MAX_IO, 1));
	op = sr_op_new(rig, RIG_READ, INO, 0, RIG_MAX_IO, 0);
	fake_disk_hold(rig->disk, true);
	sr_op_start(op);
	vloop_settle(rig->loop);
	if (fake_disk_pending(rig->disk)) {
		/* the reads have not touched the disk when the file is gone ... */
		struct rig_op *cut = sr_op_new(rig, RIG_TRUNC, INO, 0, 0, 0);
		uint64_t f, limbo, all;

		sr_op_start(cut);
		vloop_settle(rig->loop);
		assert_true(cut->done && (!cut->err || sr_faults()));
		sr_blocks(rig, &f, &limbo, &all);
		if (!cut->err)
			assert_int_equal(limbo, RIG_MAX_IO / PWS_BLOCK);
		sr_op_free(cut);
	}
	fake_disk_hold(rig->disk, false);
	sr_run(rig);
	if (!op->err)
		assert_memory_equal(op->data, want, RIG_MAX_IO);
	assert_true(!op->err || sr_faults());
	sr_op_free(op);
}

static void test_read__file_that_was_cut_before(void **state)
{
	struct rig *rig = *state;
	struct rig_op *op;

	if (!rig)
		return;
	OK(put(rig, 0, RIG_MAX_IO, 1));
	OK(sr_trunc(rig, INO, 5000));
	/* as if the caller had seen the size of before */
	op = sr_op_new(rig, RIG_READ, INO, 4000, 100000, 0);
	op->old_size = RIG_MAX_IO;
	sr_op_start(op);
	sr_run(rig);
	if (!op->err) {
		assert_int_equal(op->len, 1000);
		assert_memory_equal(op->data, want + 4000, 1000);
	}
	sr_op_free(op);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_write__whole_blocks_read_nothing),
		T(test_write__partial_blocks_keep_what_was_there),
		T(test_write__holes_are_zeros),
		T(test_write__append_reads_the_last_block_once),
		T(test_write__payload_that_lies_elsewhere),
		T(test_write__too_far),
		T(test_write__no_such_inode),
		T(test_write__refused_gives_its_blocks_back),
		T(test_write__disk_error),
		T(test_write__overlapping_ones_take_turns),
		T(test_write__outcome_is_lost),
		T(test_write__outcome_stays_unknown),
		T(test_read__bit_flip_in_every_block),
		T(test_read__wrong_once_is_read_again),
		T(test_read__bad_block_stops_partial_write),
		T(test_read__disk_error),
		T(test_read__tells_the_newest_commit),
		T(test_read__blocks_are_not_reused_under_it),
		T(test_read__file_that_was_cut_before),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
