/* SPDX-License-Identifier: Apache-2.0 */
/* test_kv_damage.c -- the engine at its start: journal or index are not what they were */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "kv_rig.h"

static int set_up(void **state)
{
	return rig_set_up(state, 3);
}

static void test_seal__damage_of_the_last_commit_is_told(void **state)
{
	struct rig *r = *state;
	struct pws_kv_stats st;
	struct pws_kv *kv;

	rig_open(r);
	rig_wait(r, rig_put(r, 1, 10));
	rig_wait(r, rig_put(r, 2, 10));
	pws_kv_get_stats(r->kv, &st);
	assert_int_equal(st.seals, 0); /* the next commit may say it */
	vloop_advance(r->loop, PW_NS_PER_S);
	pws_kv_get_stats(r->kv, &st);
	assert_int_equal(st.seals, 1);
	assert_int_equal(st.batches, 3);
	vloop_advance(r->loop, 5 * PW_NS_PER_S);
	pws_kv_get_stats(r->kv, &st);
	assert_int_equal(st.seals, 1);
	rig_crash(r, VDISK_KEEP_ALL);
	index_store_use(r->store);
	r->o.disk = r->disk;
	vdisk_mem(r->disk)[PWS_BLOCK + 100] ^= 1; /* in the second batch */
	assert_int_equal(pws_kv_lmdb_open(r->loop, &r->o, &kv), -EBADMSG);
	vdisk_mem(r->disk)[PWS_BLOCK + 100] ^= 1;
	rig_open(r);
	rig_check(r);
}

static void test_open__older_index_is_told(void **state)
{
	struct index_store *old;
	struct rig *r = *state;
	struct pws_kv *kv;

	rig_open(r);
	rig_wait(r, rig_put(r, 1, 10));
	assert_int_equal(rig_stop(r), 0);
	old = index_store_copy(r->store);
	rig_open(r);
	rig_wait(r, rig_put(r, 1, 20));
	assert_int_equal(rig_stop(r), 0);
	index_store_free(r->store);
	r->store = old;
	index_store_use(r->store);
	assert_int_equal(pws_kv_lmdb_open(r->loop, &r->o, &kv), -EBADMSG);
	rig_history_ends(r, 0);
}

static void test_open__lost_index_is_told(void **state)
{
	struct rig *r = *state;
	struct pws_kv *kv;

	rig_open(r);
	rig_wait(r, rig_put(r, 1, 10));
	assert_int_equal(rig_stop(r), 0);
	index_store_free(r->store);
	r->store = index_store_new();
	index_store_use(r->store);
	assert_int_equal(pws_kv_lmdb_open(r->loop, &r->o, &kv), -EBADMSG);
	rig_history_ends(r, 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
#define RIG_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, rig_tear_down)
		RIG_TEST(test_seal__damage_of_the_last_commit_is_told),
		RIG_TEST(test_open__older_index_is_told),
		RIG_TEST(test_open__lost_index_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
