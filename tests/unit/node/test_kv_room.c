/* SPDX-License-Identifier: Apache-2.0 */
/* test_kv_room.c -- an index that has no room: who is refused, who is not, and until when */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "kv_rig.h"

static int set_up(void **state)
{
	return rig_set_up(state, 11);
}

static void test_index_full__adding_fails_removing_works(void **state)
{
	struct rig *r = *state;
	struct rig_commit *c;

	rig_open(r);
	assert_true(r->kv->ops->has_room(r->kv));
	for (uint32_t i = 0; i < 20; i++)
		rig_put(r, i, 100);
	vloop_advance(r->loop, 40 * PW_NS_PER_S);
	r->store->room = 30 * PW_MIB; /* the reserve of this map is 51 MiB */
	assert_false(r->kv->ops->has_room(r->kv));
	c = rig_put(r, 30, 100); /* the caller may use what is left of the reserve */
	rig_wait(r, c);
	assert_int_equal(c->c.err, 0);
	r->store->room = 20 * PW_MIB;
	c = rig_put(r, 31, 100);
	rig_wait(r, c);
	assert_int_equal(c->c.err, -ENOSPC);
	c = rig_put(r, 1, 100); /* replaces */
	rig_wait(r, c);
	assert_int_equal(c->c.err, 0);
	c = rig_put(r, 1, 200); /* grows */
	rig_wait(r, c);
	assert_int_equal(c->c.err, -ENOSPC);
	c = rig_del(r, 2);
	rig_wait(r, c);
	assert_int_equal(c->c.err, 0);
	r->store->room = PW_GIB;
	assert_true(r->kv->ops->has_room(r->kv));
	rig_check(r);
}

/* What the overlays need is estimated high: a checkpoint tells, and nobody is refused before. */
static void test_index_full__not_by_estimate(void **state)
{
	struct rig *r = *state;

	r->o.map_bytes = 20 * PW_MIB; /* the reserve is 1 MiB */
	rig_open(r);
	r->store->room = PW_MIB + PW_MIB / 5;
	for (uint32_t i = 0; i < 16; i++) {
		struct rig_commit *c = rig_put(r, i, 40000);

		assert_true(r->kv->ops->has_room(r->kv));
		rig_wait(r, c);
		assert_int_equal(c->c.err, 0);
	}
	assert_true(rig_stats(r).checkpoints >= 1);
	rig_check(r);
	assert_int_equal(rig_stop(r), 0);
}

/* Only an apply asks the disk below the index for room: there are some also when nobody writes. */
static void test_index_full__asks_again(void **state)
{
	struct rig *r = *state;
	uint64_t nr;

	r->store->room = 30 * PW_MIB; /* the reserve of this map is 51 MiB */
	rig_open(r);
	assert_false(r->kv->ops->has_room(r->kv));
	vloop_advance(r->loop, 10 * PW_NS_PER_S);
	nr = rig_stats(r).checkpoints;
	assert_in_range(nr, 5, 12);
	r->store->room = PW_GIB;
	vloop_advance(r->loop, 2 * PW_NS_PER_S);
	nr = rig_stats(r).checkpoints;
	vloop_advance(r->loop, 100 * PW_NS_PER_S);
	assert_int_equal(rig_stats(r).checkpoints, nr);
	r->store->room = 30 * PW_MIB;
	rig_check(r);
	assert_int_equal(rig_stop(r), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define RIG_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, rig_tear_down)
		RIG_TEST(test_index_full__adding_fails_removing_works),
		RIG_TEST(test_index_full__not_by_estimate),
		RIG_TEST(test_index_full__asks_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
