/* SPDX-License-Identifier: Apache-2.0 */
/* test_kv_lmdb.c -- the journaled engine against a model, on a virtual disk and an index in memory
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/random.h"

#include "kv_rig.h"

static int set_up(void **state)
{
	return rig_set_up(state, 11);
}

static void test_commit__visible_at_once_done_when_flushed(void **state)
{
	struct rig *r = *state;
	struct rig_commit *c;

	rig_open(r);
	vdisk_hold(r->disk, true);
	c = rig_put(r, 1, 10);
	rig_check(r);				       /* visible */
	assert_int_equal(vdisk_in_flight(r->disk), 1); /* its write has started in the same turn */
	vdisk_step(r->disk);
	vloop_settle(r->loop);
	assert_false(c->told); /* written, not flushed */
	assert_int_equal(r->kv->ops->durable_seq(r->kv), 0);
	vdisk_step(r->disk);
	vloop_settle(r->loop);
	assert_true(c->told);
	assert_int_equal(c->c.err, 0);
	assert_int_equal(r->kv->ops->durable_seq(r->kv), 1);
	assert_int_equal(r->kv->ops->media_seq(r->kv), 1);
}

static void test_commit__many_share_a_flush(void **state)
{
	struct rig *r = *state;
	struct rig_commit *last = NULL;

	rig_open(r);
	for (uint32_t i = 0; i < 200; i++)
		last = rig_put(r, i % RIG_KEYS, 100);
	rig_wait(r, last);
	assert_true(rig_stats(r).flushes <= 4);
	assert_int_equal(rig_stats(r).commits, 200);
	for (uint32_t i = 0; i < r->nr; i++)
		assert_true(r->all[i]->told);
}

static void test_interval__done_when_written_flushed_in_time(void **state)
{
	struct rig *r = *state;
	struct rig_commit *c;

	r->o.interval_ns = 50 * PW_NS_PER_MS;
	rig_open(r);
	c = rig_put(r, 1, 10);
	vloop_settle(r->loop);
	assert_true(c->told);
	assert_int_equal(r->kv->ops->durable_seq(r->kv), 1);
	assert_int_equal(r->kv->ops->media_seq(r->kv), 0);
	vloop_advance(r->loop, 49 * PW_NS_PER_MS);
	assert_int_equal(r->kv->ops->media_seq(r->kv), 0);
	vloop_advance(r->loop, 2 * PW_NS_PER_MS);
	assert_int_equal(r->kv->ops->media_seq(r->kv), 1);
	/* and nothing is flushed for nobody */
	vloop_advance(r->loop, 10 * PW_NS_PER_S);
	assert_int_equal(rig_stats(r).flushes, 1);
}

static void test_interval__sync_commit_is_flushed_at_once(void **state)
{
	struct rig *r = *state;
	struct rig_commit *c;

	r->o.interval_ns = 50 * PW_NS_PER_MS;
	rig_open(r);
	rig_put(r, 1, 10);
	c = rig_commit(r, true);
	vloop_settle(r->loop);
	assert_true(c->told);
	assert_int_equal(r->kv->ops->media_seq(r->kv), 2);
}

struct waiter {
	struct pws_kv_waiter w;
	bool told;
};

static void on_wait(struct pws_kv_waiter *w)
{
	pw_container_of(w, struct waiter, w)->told = true;
}

static struct waiter *wait_for(struct rig *r, struct waiter *w, uint64_t seq, bool sync)
{
	*w = (struct waiter){ .w = { .seq = seq, .sync = sync, .done = on_wait } };
	pw_list_init(&w->w.node);
	r->kv->ops->wait(r->kv, &w->w);
	assert_false(w->told);
	return w;
}

static void test_wait__until_durable_or_on_media(void **state)
{
	struct rig *r = *state;
	struct waiter past, write, sync, none;

	r->o.interval_ns = 50 * PW_NS_PER_MS;
	rig_open(r);
	vdisk_hold(r->disk, true);
	rig_put(r, 1, 10);
	rig_put(r, 2, 10);
	wait_for(r, &none, 0, false);
	wait_for(r, &sync, 1, true);
	wait_for(r, &write, 1, false);
	wait_for(r, &past, 99, false); /* more than there is: all there is */
	vloop_settle(r->loop);
	assert_true(none.told);
	assert_false(write.told);
	vdisk_step(r->disk); /* write of 1; the flush for sync starts */
	vloop_settle(r->loop);
	assert_true(write.told);
	assert_false(sync.told);
	assert_false(past.told);
	vdisk_hold(r->disk, false);
	vloop_settle(r->loop);
	assert_true(sync.told);
	assert_true(past.told);
	assert_int_equal(sync.w.err, 0);
	/* all is on media: told next turn, no flush */
	wait_for(r, &sync, 2, true);
	vloop_settle(r->loop);
	assert_true(sync.told);
}

static void check_commit(struct rig *r, struct rig_commit *c, uint32_t key, uint64_t seq, int err)
{
	struct pws_kv_mut mut = { { "x", 1 }, { "v", 1 } };
	struct pws_kv_check check = { .seq = seq };
	char buf[16];

	check.key = rig_key(key, buf);
	memset(c, 0, sizeof(*c));
	c->c = (struct pws_kv_commit){
		.checks = &check,
		.nr_checks = 1,
		.muts = &mut,
		.nr_muts = err ? 1 : 0,
		.done = r->all[0]->c.done,
	};
	pw_list_init(&c->c.node);
	r->kv->ops->commit(r->kv, &c->c);
	rig_wait(r, c);
	assert_int_equal(c->c.err, err);
}

static void test_commit__checks(void **state)
{
	struct rig *r = *state;
	struct rig_commit c;

	rig_open(r);
	rig_wait(r, rig_put(r, 1, 10)); /* seq 1 */
	rig_wait(r, rig_put(r, 2, 10));
	rig_wait(r, rig_del(r, 2)); /* seq 3 */
	check_commit(r, &c, 1, 1, 0);
	check_commit(r, &c, 1, 2, -EAGAIN);
	check_commit(r, &c, 1, 0, -EAGAIN);
	check_commit(r, &c, 2, 3, 0); /* absent since 3 */
	check_commit(r, &c, 2, 0, 0); /* absent */
	check_commit(r, &c, 2, 2, -EAGAIN);
	check_commit(r, &c, 9, 0, 0);
	check_commit(r, &c, 9, 1, -EAGAIN);
	assert_int_equal(r->kv->ops->last_seq(r->kv), 3);
	/* the same after a restart: versions are kept, that of the deletion may be 0 by now */
	assert_int_equal(rig_stop(r), 0);
	rig_open(r);
	check_commit(r, &c, 1, 1, 0);
	check_commit(r, &c, 1, 3, -EAGAIN);
	check_commit(r, &c, 2, 0, 0);
}

static void test_commit__limits(void **state)
{
	struct rig *r = *state;
	static uint8_t val[PWS_KV_VAL_MAX + 1], key[PWS_KV_KEY_MAX + 1] = { 'k' };
	static struct pws_kv_mut muts[PWS_KV_MUTS_MAX + 1];
	static uint32_t ids[PWS_KV_MUTS_MAX + 1];
	struct rig_commit c = { 0 };
	const struct {
		uint32_t key_len, val_len, nr;
		int err;
	} cases[] = {
		{ PWS_KV_KEY_MAX, PWS_KV_VAL_MAX, 1, 0 },
		{ PWS_KV_KEY_MAX + 1, 1, 1, -EINVAL },
		{ 0, 1, 1, -EINVAL },
		{ 1, PWS_KV_VAL_MAX + 1, 1, -EINVAL },
		{ 4, 8, PWS_KV_MUTS_MAX, 0 },
		{ 4, 8, PWS_KV_MUTS_MAX + 1, -E2BIG },
		{ 4, PWS_KV_VAL_MAX - 4, 16, 0 }, /* 1 MiB exactly */
		{ 4, PWS_KV_VAL_MAX - 3, 16, -E2BIG },
	};

	rig_open(r);
	for (uint32_t i = 0; i < PW_ARRAY_SIZE(cases); i++) {
		for (uint32_t m = 0; m < cases[i].nr; m++) {
			ids[m] = m * 257 + 1;
			muts[m].key.p = cases[i].nr > 1 ? (void *)&ids[m] : key;
			muts[m].key.n = cases[i].key_len;
			muts[m].val = (struct pws_slice){ val, cases[i].val_len };
		}
		/* the low byte is never 0: that prefix is the engine's */
		for (uint32_t m = 0; m < cases[i].nr; m++)
			ids[m] |= 1;
		memset(&c, 0, sizeof(c));
		c.c.done = rig_put(r, 0, 0)->c.done;
		c.c.muts = muts;
		c.c.nr_muts = cases[i].nr;
		pw_list_init(&c.c.node);
		r->kv->ops->commit(r->kv, &c.c);
		rig_wait(r, &c);
		assert_int_equal(c.c.err, cases[i].err);
	}
	vloop_settle(r->loop);
}

/* Many random commits over several checkpoints and restarts. */
static void model_run(struct rig *r, uint64_t interval_ns)
{
	r->o.interval_ns = interval_ns;
	rig_open(r);
	for (uint32_t life = 0; life < 4; life++) {
		for (uint32_t i = 0; i < 1500; i++) {
			struct rig_commit *c = rig_commit(r, pw_random_below(10) == 0);

			if (pw_random_below(5) == 0)
				vloop_turn(r->loop);
			if (pw_random_below(100) == 0)
				rig_wait(r, c);
			if (pw_random_below(150) == 0)
				vloop_advance(r->loop, pw_random_below(40) * PW_NS_PER_S);
			if (i % 100 == 0)
				rig_check(r);
		}
		rig_check(r);
		if (life % 2) {
			assert_int_equal(rig_stop(r), 0);
		} else {
			vloop_settle(r->loop); /* all of them told, then kill -9 */
			vloop_advance(r->loop, 100 * PW_NS_PER_MS);
			rig_crash(r, VDISK_KEEP_ALL);
		}
		for (uint32_t i = 0; i < r->nr; i++)
			assert_true(r->all[i]->told && !r->all[i]->c.err);
		rig_open(r);
		assert_int_equal(r->kv->ops->last_seq(r->kv), r->nr);
		rig_check(r);
	}
	assert_true(r->store->applies > 20);
}

static void test_model__always(void **state)
{
	model_run(*state, 0);
}

static void test_model__interval(void **state)
{
	model_run(*state, 20 * PW_NS_PER_MS);
}

static void test_checkpoint__reads_see_all_three_places(void **state)
{
	struct rig *r = *state;

	rig_open(r);
	for (uint32_t i = 0; i < 30; i++)
		rig_put(r, i, 50);
	vloop_advance(r->loop, 40 * PW_NS_PER_S);
	assert_int_equal(rig_stats(r).checkpoints, 1); /* 0..29 in the index */
	assert_int_equal(r->store->applies, 2);	      /* one at open */
	r->store->hold = true;
	for (uint32_t i = 20; i < 40; i++)
		i % 3 ? rig_put(r, i, 60) : rig_del(r, i);
	vloop_advance(r->loop, 40 * PW_NS_PER_S); /* frozen, under way */
	rig_check(r);
	for (uint32_t i = 10; i < 35; i++)
		i % 4 ? rig_put(r, i, 70) : rig_del(r, i);
	rig_check(r);
	assert_int_equal(rig_stats(r).checkpoints, 1);
	r->store->hold = false;
	vloop_advance(r->loop, 100 * PW_NS_PER_S);
	assert_int_equal(rig_stats(r).checkpoints, 3);
	rig_check(r);
}

static void test_next__tells_of_deletions_that_it_passed(void **state)
{
	struct rig *r = *state;
	struct pws_kv_fetch f;
	struct pws_kv_rec rec;

	rig_open(r);
	rig_put(r, 1, 10);
	rig_put(r, 2, 10);
	rig_put(r, 3, 10);
	rig_del(r, 2); /* 4 */
	assert_int_equal(r->kv->ops->next(r->kv, (struct pws_slice){ "k002", 4 },
					  (struct pws_slice){ "l", 1 }, &rec, &f),
			 0);
	assert_int_equal(rec.seq, 3);
	assert_int_equal(rec.seen_seq, 4);
	assert_int_equal(r->kv->ops->next(r->kv, (struct pws_slice){ "k002", 4 },
					  (struct pws_slice){ "k003", 4 }, &rec, &f),
			 -ENOENT);
	assert_int_equal(rec.seen_seq, 4);
}

static void test_checkpoint__only_of_what_is_flushed(void **state)
{
	struct rig *r = *state;

	rig_open(r);
	vdisk_hold(r->disk, true);
	rig_put(r, 1, 10);
	vloop_advance(r->loop, 40 * PW_NS_PER_S);
	assert_int_equal(r->store->applies, 1); /* that of open */
	vdisk_step(r->disk);
	vloop_advance(r->loop, 40 * PW_NS_PER_S);
	assert_int_equal(r->store->applies, 1); /* written is not enough */
	vdisk_step(r->disk);
	vloop_advance(r->loop, PW_NS_PER_S);
	assert_int_equal(r->store->applies, 2);
}

static void test_journal_full__commits_wait_and_do_not_fail(void **state)
{
	struct rig *r = *state;
	struct rig_commit *c = NULL;
	uint32_t told = 0;

	rig_open(r);
	r->store->hold = true;
	/* 3 rings full while the checkpoint does not end */
	for (uint32_t i = 0; i < 3 * RIG_JOURNAL_BYTES / 40000; i++) {
		c = rig_put(r, i % RIG_KEYS, 39000);
		vloop_settle(r->loop);
	}
	for (uint32_t i = 0; i < r->nr; i++)
		told += r->all[i]->told;
	assert_in_range(told, 25, 57); /* at most what two halves hold */
	assert_int_equal(c->c.seq, 0); /* not applied: waits in line */
	rig_check(r);
	r->store->hold = false;
	rig_wait(r, c);
	for (uint32_t i = 0; i < r->nr; i++) {
		assert_true(r->all[i]->told);
		assert_int_equal(r->all[i]->c.err, 0);
		assert_int_equal(r->all[i]->c.seq, i + 1); /* in the order they came */
	}
	rig_check(r);
	rig_crash(r, VDISK_KEEP_NONE);
	rig_open(r);
	assert_int_equal(r->kv->ops->last_seq(r->kv), r->nr);
	rig_check(r);
}

static void test_failed_flush__every_commit_fails_from_then_on(void **state)
{
	struct rig *r = *state;
	struct rig_commit *a, *b, *c;
	struct waiter w, old;

	rig_open(r);
	rig_wait(r, rig_put(r, 1, 10));
	vdisk_fail_flush(r->disk, 1);
	a = rig_put(r, 2, 10);
	b = rig_put(r, 3, 10);
	wait_for(r, &w, 3, false);
	rig_wait(r, a);
	rig_wait(r, b);
	assert_int_equal(a->c.err, -EIO);
	assert_int_equal(b->c.err, -EIO);
	c = rig_put(r, 4, 10);
	rig_wait(r, c);
	assert_int_equal(c->c.err, -EIO);
	assert_true(w.told);
	assert_int_equal(w.w.err, -EIO);
	/* what was durable still is */
	wait_for(r, &old, 1, true);
	vloop_settle(r->loop);
	assert_true(old.told);
	assert_int_equal(old.w.err, 0);
	assert_int_equal(rig_stop(r), -EIO);
	rig_history_ends(r, 3);
}

static void test_failed_write__of_a_line_too(void **state)
{
	struct rig *r = *state;

	rig_open(r);
	r->store->hold = true;
	for (uint32_t i = 0; i < 2 * RIG_JOURNAL_BYTES / 40000; i++)
		rig_put(r, i % RIG_KEYS, 39000);
	vdisk_break(r->disk);
	r->store->hold = false;
	for (uint32_t i = 0; i < r->nr; i++)
		rig_wait(r, r->all[i]);
	assert_int_equal(r->all[r->nr - 1]->c.err, -EIO);
	assert_int_equal(rig_stop(r), -EIO);
}

static void test_failed_checkpoint__no_space_is_tried_again(void **state)
{
	struct rig *r = *state;

	rig_open(r);
	rig_put(r, 1, 10);
	r->store->fail = -ENOSPC;
	vloop_advance(r->loop, 40 * PW_NS_PER_S);
	assert_int_equal(rig_stats(r).checkpoints, 1);
	rig_wait(r, rig_put(r, 2, 10));
	assert_int_equal(r->all[1]->c.err, 0);
	assert_int_equal(rig_stop(r), 0);
}

static void test_failed_checkpoint__else_the_engine_ends(void **state)
{
	struct rig *r = *state;
	struct rig_commit *c;

	rig_open(r);
	rig_wait(r, rig_put(r, 1, 10));
	r->store->fail = -EIO;
	vloop_advance(r->loop, 40 * PW_NS_PER_S);
	c = rig_put(r, 2, 10);
	rig_wait(r, c);
	assert_int_equal(c->c.err, -EIO);
	assert_int_equal(rig_stop(r), -EIO);
	/* the journal still has it */
	rig_history_ends(r, 1);
	rig_open(r);
	assert_int_equal(r->kv->ops->last_seq(r->kv), 1);
	rig_check(r);
}

static void test_stop__everything_is_in_the_index(void **state)
{
	struct rig *r = *state;
	uint32_t n;

	r->o.interval_ns = PW_NS_PER_S;
	rig_open(r);
	for (uint32_t i = 0; i < 50; i++)
		rig_commit(r, false);
	n = r->nr;
	assert_int_equal(rig_stop(r), 0);
	for (uint32_t i = 0; i < n; i++)
		assert_true(r->all[i]->told && !r->all[i]->c.err);
	assert_int_equal(r->store->state.mark.seq, n);
	/* a power cut now takes nothing, and the next start has nothing to replay */
	{
		struct pws_disk *d = vdisk_after_cut(r->disk, VDISK_KEEP_NONE);

		pws_disk_close(r->disk);
		r->disk = d;
	}
	rig_open(r);
	assert_int_equal(rig_stats(r).replayed, 0);
	rig_check(r);
}

static void test_open__other_place_of_the_journal_is_refused(void **state)
{
	struct rig *r = *state;
	struct pws_kv *kv;

	rig_open(r);
	assert_int_equal(rig_stop(r), 0);
	index_store_use(r->store);
	r->o.journal_off = 4096;
	assert_int_equal(pws_kv_lmdb_open(r->loop, &r->o, &kv), -EINVAL);
	r->o.journal_off = 0;
	r->o.journal_bytes = PW_MIB;
	assert_int_equal(pws_kv_lmdb_open(r->loop, &r->o, &kv), -EINVAL);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
#define RIG_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, rig_tear_down)
		RIG_TEST(test_commit__visible_at_once_done_when_flushed),
		RIG_TEST(test_commit__many_share_a_flush),
		RIG_TEST(test_interval__done_when_written_flushed_in_time),
		RIG_TEST(test_interval__sync_commit_is_flushed_at_once),
		RIG_TEST(test_wait__until_durable_or_on_media),
		RIG_TEST(test_commit__checks),
		RIG_TEST(test_commit__limits),
		RIG_TEST(test_model__always),
		RIG_TEST(test_model__interval),
		RIG_TEST(test_checkpoint__reads_see_all_three_places),
		RIG_TEST(test_next__tells_of_deletions_that_it_passed),
		RIG_TEST(test_checkpoint__only_of_what_is_flushed),
		RIG_TEST(test_journal_full__commits_wait_and_do_not_fail),
		RIG_TEST(test_failed_flush__every_commit_fails_from_then_on),
		RIG_TEST(test_failed_write__of_a_line_too),
		RIG_TEST(test_failed_checkpoint__no_space_is_tried_again),
		RIG_TEST(test_failed_checkpoint__else_the_engine_ends),
		RIG_TEST(test_stop__everything_is_in_the_index),
		RIG_TEST(test_open__other_place_of_the_journal_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
