/* SPDX-License-Identifier: Apache-2.0 */
/* test_store_space.c -- the chunk store: a full disk, opening, recovery's question, scrub */
#include "chunk_fixture.h"

/* Space ------------------------------------------------------------------------------------- */

static void test_space__full_and_back(void **state)
{
	struct rig *rig = *state;
	struct pws_store_space sp;
	uint64_t off = 0;
	int err = 0;

	if (!rig)
		return;
	rig->store->ops->space(rig->store, &sp);
	for (; !err; off += RIG_MAX_IO)
		err = sr_write(rig, INO, off, RIG_MAX_IO, off);
	assert_true(err == -ENOSPC || sr_faults());
	if (sr_faults())
		return;
	assert_true(off - RIG_MAX_IO + 2 * RIG_MAX_IO > sp.free);
	rig->store->ops->space(rig->store, &sp);
	assert_true(sp.free < RIG_MAX_IO);
	/* what was written is whole; a cut works, inside a block too; then there is room again */
	sr_fill(want, RIG_MAX_IO, 0, RIG_MAX_IO);
	assert_int_equal(sr_check(rig, INO, RIG_MAX_IO, RIG_MAX_IO, want), 0);
	for (; sp.free >= PWS_BLOCK; sp.free -= PWS_BLOCK)
		assert_int_equal(sr_write(rig, INO, off += PWS_SEGMENT_BYTES, PWS_BLOCK, 1), 0);
	assert_int_equal(sr_write(rig, INO, 0, 1, 1), -ENOSPC);
	assert_int_equal(sr_trunc(rig, INO, 100), 0);
	assert_int_equal(sr_write(rig, INO, 0, RIG_MAX_IO, 1), 0);
}

/* Nothing is written into blocks whose row a power cut could bring back. */
static void test_space__waits_for_the_flush(void **state)
{
	struct rig *rig = *state;
	uint64_t off = 0;
	struct rig_op *op;
	int err = 0;

	if (!rig || sr_faults())
		return;
	for (; !err; off += RIG_MAX_IO)
		err = sr_write(rig, INO, off, RIG_MAX_IO, off);
	rig->hold_media = true;
	assert_int_equal(sr_trunc(rig, INO, 0), 0);
	op = sr_op_new(rig, RIG_WRITE, INO, 0, RIG_MAX_IO, 1);
	sr_op_start(op);
	for (uint32_t i = 0; i < 100; i++)
		vloop_turn(rig->loop);
	assert_false(op->done);
	assert_int_equal(rig->nr_media_waits, 1);
	sr_flush(rig);
	sr_run(rig);
	assert_int_equal(op->err, 0);
	sr_op_free(op);
	sr_fill(want, 1, 0, RIG_MAX_IO);
	assert_int_equal(check(rig, 0, RIG_MAX_IO), 0);
	rig->hold_media = false;
}

/* Opening ----------------------------------------------------------------------------------- */

static void put_raw(struct rig *rig, uint64_t off, const void *val, uint32_t n)
{
	struct pws_key k;

	pws_segment_key(&k, 77, off);
	sr_put(rig, pws_key_slice(&k), (struct pws_slice){ val, n });
}

static void test_open__counts_what_is_there(void **state)
{
	struct rig *rig = *state;
	uint64_t f, limbo, all;

	if (!rig)
		return;
	OK(put(rig, 100, RIG_MAX_IO, 1));
	OK(put(rig, 3 * RIG_MAX_IO, 100, 2));
	OK(sr_trunc(rig, INO, 3 * RIG_MAX_IO + 50));
	memset(want + 3 * RIG_MAX_IO + 50, 0, 50);
	OK(sr_reopen(rig));
	sr_blocks(rig, &f, &limbo, &all);
	assert_int_equal(limbo, 0);
	assert_int_equal(f + blocks_of(rig), all);
	OK(check(rig, 0, RIG_MAX_IO));
	OK(check(rig, RIG_MAX_IO, RIG_MAX_IO));
	OK(check(rig, 3 * RIG_MAX_IO, 50));
}

static void test_open__refuses_rows_that_overlap(void **state)
{
	struct rig *rig = *state;
	struct pws_segment row = { .present = 1 };
	uint8_t val[PWS_SEGMENT_VAL_MAX];

	if (!rig || sr_faults())
		return;
	row.block[0] = 12;
	put_raw(rig, 0, val, pws_segment_encode(&row, val));
	assert_int_equal(sr_reopen(rig), 0);
	put_raw(rig, PWS_SEGMENT_BYTES, val, pws_segment_encode(&row, val));
	assert_int_equal(sr_reopen(rig), -EBADMSG);
	row.block[0] = 1ull << 30; /* no such block */
	put_raw(rig, PWS_SEGMENT_BYTES, val, pws_segment_encode(&row, val));
	assert_int_equal(sr_reopen(rig), -EBADMSG);
	put_raw(rig, PWS_SEGMENT_BYTES, "what?", 5);
	assert_int_equal(sr_reopen(rig), -EBADMSG);
}

static void test_verify_row(void **state)
{
	struct rig *rig = *state;
	struct pws_kv_mut mut;
	struct pws_kv_rec rec;
	struct pws_key k;
	uint64_t where;

	if (!rig || sr_faults())
		return;
	OK(put(rig, PWS_BLOCK, 3 * PWS_BLOCK, 1));
	OK(put(rig, 9 * PWS_BLOCK, 1, 1));
	pws_segment_key(&k, INO, 0);
	assert_int_equal(rig->kv->ops->get(rig->kv, pws_key_slice(&k), &rec, NULL), 0);
	mut = (struct pws_kv_mut){ pws_key_slice(&k), rec.val };
	assert_true(pws_store_verify_row(rig->disk, RIG_DATA_OFF, &mut));
	where = sr_where(rig, INO, 9);
	fake_disk_mem(rig->disk)[where + 4095] ^= 128;
	assert_false(pws_store_verify_row(rig->disk, RIG_DATA_OFF, &mut));
	fake_disk_mem(rig->disk)[where + 4095] ^= 128;
	assert_true(pws_store_verify_row(rig->disk, RIG_DATA_OFF, &mut));
	/* rows that are no rows of the index, deletions, and damaged ones */
	mut.val.n--;
	assert_false(pws_store_verify_row(rig->disk, RIG_DATA_OFF, &mut));
	mut.val.p = NULL;
	assert_true(pws_store_verify_row(rig->disk, RIG_DATA_OFF, &mut));
	pws_key_inode(&k, INO);
	mut = (struct pws_kv_mut){ pws_key_slice(&k), { "x", 1 } };
	assert_true(pws_store_verify_row(rig->disk, RIG_DATA_OFF, &mut));
}

/* Scrub ------------------------------------------------------------------------------------- */

static void test_scrub__finds_what_rotted(void **state)
{
	struct rig *rig = *state;
	struct pws_store_stats ss;
	uint64_t where;

	if (!rig || sr_faults())
		return;
	OK(put(rig, 0, RIG_MAX_IO, 1));
	OK(put(rig, RIG_MAX_IO + PWS_BLOCK, 10, 1));
	where = sr_where(rig, INO, RIG_MAX_IO / PWS_BLOCK + 1);
	fake_disk_mem(rig->disk)[where + 77] ^= 2;
	rig->store->ops->scrub(rig->store, RIG_MAX_IO);
	/* 33 blocks at 32 a second */
	vloop_advance(rig->loop, PW_NS_PER_S / 2);
	stats(rig, &ss);
	assert_int_equal(ss.scrubbed_blocks, 16);
	vloop_advance(rig->loop, PW_NS_PER_S);
	stats(rig, &ss);
	assert_int_equal(ss.scrubbed_blocks, 33);
	assert_int_equal(ss.scrub_passes, 1);
	assert_int_equal(ss.scrub_errors, 1);
	assert_true(rig->nr_bad == 1 && rig->bad_ino == INO && rig->bad_block == 33);
	vloop_advance(rig->loop, 60 * PW_NS_PER_S);
	stats(rig, &ss);
	assert_true(ss.scrub_passes > 10);
	assert_int_equal(ss.scrub_errors, rig->nr_bad);
	rig->store->ops->scrub(rig->store, 0);
	vloop_advance(rig->loop, PW_NS_PER_S);
	stats(rig, &ss);
	where = ss.scrubbed_blocks;
	vloop_advance(rig->loop, 10 * PW_NS_PER_S);
	stats(rig, &ss);
	assert_int_equal(ss.scrubbed_blocks, where);
}

/* The file changes all the time: a scrub must not take that for rot. */
static void test_scrub__beside_writes(void **state)
{
	struct rig *rig = *state;
	struct pws_store_stats ss;

	if (!rig || sr_faults())
		return;
	rig->store->ops->scrub(rig->store, 64 * PW_MIB);
	for (uint32_t i = 0; i < 200; i++) {
		OK(put(rig, pw_random_below(3 * RIG_MAX_IO), 1 + (uint32_t)pw_random_below(20000),
		       i));
		vloop_advance(rig->loop, 20 * PW_NS_PER_MS);
	}
	stats(rig, &ss);
	assert_true(ss.scrub_passes > 1);
	assert_true(ss.scrubbed_blocks > 100);
	assert_int_equal(ss.scrub_errors, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T_SMALL(test_space__full_and_back),
		T_SMALL(test_space__waits_for_the_flush),
		T(test_open__counts_what_is_there),
		T(test_open__refuses_rows_that_overlap),
		T(test_verify_row),
		T(test_scrub__finds_what_rotted),
		T(test_scrub__beside_writes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
