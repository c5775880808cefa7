/* SPDX-License-Identifier: Apache-2.0 */
/* test_store_memory.c -- the memory store (what is copied and what changes owners) and the null
 * store
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "store_rig.h"

#define INO 42u

#define OK(expr)                           \
	do {                               \
		int err_ = (expr);         \
		if (err_ && rig_faults_on) \
			return;            \
		assert_int_equal(err_, 0); \
	} while (0)

static bool rig_faults_on;
static uint8_t want[4 * RIG_MAX_IO];

static int setup_kind(void **state, enum rig_kind kind, uint64_t bytes)
{
	struct rig *rig;
	int err =
		sr_new(&rig, &(struct rig_opts){ .kind = kind, .seed = 7, .memory_bytes = bytes });

	rig_faults_on = sr_faults();
	*state = rig;
	if (err)
		return rig_faults_on ? 0 : err;
	sr_make(rig, INO);
	memset(want, 0, sizeof(want));
	return 0;
}

static int setup(void **state)
{
	return setup_kind(state, RIG_MEMORY, 4 * RIG_MAX_IO);
}

static int setup_null(void **state)
{
	return setup_kind(state, RIG_NULL, 0);
}

static int teardown(void **state)
{
	sr_free(*state);
	return 0;
}

static uint64_t copied(struct rig *rig)
{
	struct pws_store_stats s;

	rig->store->ops->get_stats(rig->store, &s);
	return s.copied_bytes;
}

static void test_write__full_units_change_owners(void **state)
{
	struct rig *rig = *state;

	if (!rig)
		return;
	for (uint32_t i = 0; i < 3; i++) {
		OK(sr_write(rig, INO, (uint64_t)i * RIG_MAX_IO, RIG_MAX_IO, i));
		OK(sr_write(rig, INO, (uint64_t)i * RIG_MAX_IO, RIG_MAX_IO, 10 + i));
		sr_fill(want, 10 + i, 0, RIG_MAX_IO);
		OK(sr_check(rig, INO, (uint64_t)i * RIG_MAX_IO, RIG_MAX_IO, want));
	}
	assert_int_equal(copied(rig), 0);
}

static void test_write__others_are_copied_and_counted(void **state)
{
	struct rig *rig = *state;

	if (!rig)
		return;
	OK(sr_write(rig, INO, 100, 1000, 1));
	assert_int_equal(copied(rig), 1000);
	OK(sr_write(rig, INO, PWS_BLOCK, RIG_MAX_IO, 2)); /* over two units */
	assert_int_equal(copied(rig), 1000 + RIG_MAX_IO);
	sr_fill(want + 100, 1, 0, 1000);
	sr_fill(want + PWS_BLOCK, 2, 0, RIG_MAX_IO);
	OK(sr_check(rig, INO, 0, RIG_MAX_IO, want));
	assert_int_equal(copied(rig), 1000 + RIG_MAX_IO);
	OK(sr_check(rig, INO, PWS_BLOCK, RIG_MAX_IO, want + PWS_BLOCK)); /* over two units */
	assert_int_equal(copied(rig), 1000 + 2 * RIG_MAX_IO);
}

/* The buffer that is being sent must not change, however the file is written. */
static void lend_and_write(struct rig *rig, uint64_t off, uint32_t len)
{
	uint32_t before = pws_bufpool_nr_free(rig->bufs);
	struct rig_op *op;

	OK(sr_write(rig, INO, 0, RIG_MAX_IO, 1));
	op = sr_op_new(rig, RIG_READ, INO, 0, RIG_MAX_IO, 0);
	op->keep_lent = true;
	sr_op_start(op);
	sr_run(rig);
	if (!op->err && !sr_write(rig, INO, off, len, 2)) {
		sr_fill(want, 1, 0, RIG_MAX_IO);
		assert_memory_equal(op->r.data, want, RIG_MAX_IO);
		sr_fill(want + off, 2, 0, len);
		assert_true(!sr_check(rig, INO, 0, RIG_MAX_IO, want) || rig_faults_on);
	}
	rig->store->ops->read_release(rig->store, &op->r);
	sr_op_free(op);
	OK(sr_trunc(rig, INO, 0));
	if (!rig_faults_on)
		assert_int_equal(pws_bufpool_nr_free(rig->bufs), before);
}

static void test_write__unit_that_is_being_sent(void **state)
{
	struct rig *rig = *state;

	if (!rig)
		return;
	lend_and_write(rig, 0, RIG_MAX_IO);
	lend_and_write(rig, 10, 100);
	lend_and_write(rig, PWS_BLOCK, PWS_BLOCK);
}

/* Regression: the write had no spare buffer then, and took NULL for it. */
static void test_write__reader_that_comes_before_its_commit(void **state)
{
	struct rig *rig = *state;
	struct rig_op *w, *r;

	if (!rig)
		return;
	OK(sr_write(rig, INO, 0, RIG_MAX_IO, 1));
	w = sr_op_new(rig, RIG_WRITE, INO, 10, 100, 2);
	r = sr_op_new(rig, RIG_READ, INO, PWS_BLOCK, PWS_BLOCK, 0);
	r->keep_lent = true;
	w->before_commit = r;
	sr_op_start(w);
	sr_run(rig);
	assert_true(r->done || rig_faults_on);
	sr_fill(want, 1, 0, RIG_MAX_IO);
	if (r->done && !r->err)
		assert_memory_equal(r->r.data, want + PWS_BLOCK, PWS_BLOCK);
	if (!w->err)
		sr_fill(want + 10, 2, 0, 100);
	assert_true(!sr_check(rig, INO, 0, RIG_MAX_IO, want) || rig_faults_on);
	rig->store->ops->read_release(rig->store, &r->r);
	sr_op_free(r);
	sr_op_free(w);
}

static void test_trunc__unit_that_is_being_sent(void **state)
{
	struct rig *rig = *state;
	uint32_t before;
	struct rig_op *op;

	if (!rig)
		return;
	before = pws_bufpool_nr_free(rig->bufs);
	OK(sr_write(rig, INO, 0, RIG_MAX_IO, 1));
	op = sr_op_new(rig, RIG_READ, INO, 0, RIG_MAX_IO, 0);
	op->keep_lent = true;
	sr_op_start(op);
	sr_run(rig);
	sr_fill(want, 1, 0, RIG_MAX_IO);
	if (!op->err && !sr_trunc(rig, INO, 0))
		assert_memory_equal(op->r.data, want, RIG_MAX_IO);
	rig->store->ops->read_release(rig->store, &op->r);
	sr_op_free(op);
	if (!rig_faults_on)
		assert_int_equal(pws_bufpool_nr_free(rig->bufs), before);
}

static void test_space__full_and_back(void **state)
{
	struct rig *rig = *state;
	struct pws_store_space sp;

	if (!rig)
		return;
	for (uint32_t i = 0; i < 4; i++)
		OK(sr_write(rig, INO, (uint64_t)i * RIG_MAX_IO, RIG_MAX_IO, i));
	assert_true(sr_write(rig, INO, 4ull * RIG_MAX_IO, 1, 1) == -ENOSPC || rig_faults_on);
	rig->store->ops->space(rig->store, &sp);
	assert_int_equal(sp.total, 4 * RIG_MAX_IO);
	assert_int_equal(sp.free, 0);
	OK(sr_write(rig, INO, 5, 1, 1)); /* where there is something, there is room */
	OK(sr_trunc(rig, INO, 3ull * RIG_MAX_IO));
	rig->store->ops->space(rig->store, &sp);
	assert_int_equal(sp.free, RIG_MAX_IO);
	OK(sr_write(rig, INO, 9ull * RIG_MAX_IO, 1, 1));
}

static void test_blocks__are_counted_once(void **state)
{
	struct rig *rig = *state;
	struct pws_inode i;

	if (!rig)
		return;
	OK(sr_write(rig, INO, 100, 10, 1));
	OK(sr_write(rig, INO, 200, 10, 1));
	sr_fill(want + 100, 1, 0, 10);
	sr_fill(want + 200, 1, 0, 10);
	OK(sr_check(rig, INO, 0, 210, want));
	OK(sr_write(rig, INO, RIG_MAX_IO - 1, 2, 1));
	sr_inode(rig, INO, &i);
	if (!rig_faults_on)
		assert_int_equal(i.blocks, 3);
	OK(sr_trunc(rig, INO, RIG_MAX_IO - 1));
	sr_inode(rig, INO, &i);
	if (!rig_faults_on)
		assert_int_equal(i.blocks, 2);
}

static void test_write__no_such_inode(void **state)
{
	struct rig *rig = *state;
	uint32_t before;

	if (!rig)
		return;
	before = pws_bufpool_nr_free(rig->bufs);
	assert_true(sr_write(rig, 7, 0, RIG_MAX_IO, 1) != 0);
	assert_true(sr_write(rig, INO, INT64_MAX - 5, 8, 1) == -EFBIG || rig_faults_on);
	assert_int_equal(pws_bufpool_nr_free(rig->bufs), before);
}

static void test_null(void **state)
{
	struct rig *rig = *state;
	struct pws_store_stats s;
	struct pws_inode i;

	if (!rig)
		return;
	OK(sr_write(rig, INO, 100, RIG_MAX_IO, 1));
	OK(sr_check(rig, INO, 0, RIG_MAX_IO, want));
	OK(sr_trunc(rig, INO, 10));
	OK(sr_check(rig, INO, 0, 10, want));
	sr_inode(rig, INO, &i);
	rig->store->ops->get_stats(rig->store, &s);
	assert_int_equal(s.bytes_written, RIG_MAX_IO);
	assert_int_equal(s.bytes_read, RIG_MAX_IO + 10);
	assert_int_equal(s.copied_bytes, 0);
	assert_int_equal(i.blocks, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_write__full_units_change_owners),
		T(test_write__others_are_copied_and_counted),
		T(test_write__unit_that_is_being_sent),
		T(test_write__reader_that_comes_before_its_commit),
		T(test_trunc__unit_that_is_being_sent),
		T(test_space__full_and_back),
		T(test_blocks__are_counted_once),
		T(test_write__no_such_inode),
		cmocka_unit_test_setup_teardown(test_null, setup_null, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
