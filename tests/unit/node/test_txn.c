/* SPDX-License-Identifier: Apache-2.0 */
/* test_txn.c -- transactions: own writes, conflicts, lost outcomes, late reads, what survives a
 * refusal */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/random.h"
#include "storage_node/meta_kv/txn.h"

#include "kv_rig.h"

struct world {
	struct pw_loop *loop;
	struct pws_kv *kv;
};

struct job {
	struct pws_txn t;
	bool told;
	int err;
	uint32_t runs, arg;
};

static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	vrandom_seed(5);
	w->loop = vloop_new();
	assert_int_equal(pws_kv_mem_open(w->loop, &w->kv), 0);
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	vloop_settle(w->loop);
	w->kv->ops->close(w->kv);
	vloop_free(w->loop);
	free(w);
	return 0;
}

static struct pws_slice str(const char *s)
{
	return (struct pws_slice){ s, (uint32_t)strlen(s) };
}

static void on_done(struct pws_txn *t, int err)
{
	struct job *j = pw_container_of(t, struct job, t);

	assert_false(j->told);
	j->told = true;
	j->err = err;
}

static void start(struct world *w, struct job *j, int (*attempt)(struct pws_txn *))
{
	memset(j, 0, sizeof(*j));
	pws_txn_init(&j->t, w->kv);
	pws_txn_start(&j->t, attempt, on_done);
	assert_false(j->told);
}

static int run(struct world *w, int (*attempt)(struct pws_txn *))
{
	static struct job j;

	start(w, &j, attempt);
	assert_true(vloop_run_until(w->loop, &j.told));
	pws_txn_fini(&j.t);
	return j.err;
}

static void expect(struct world *w, const char *key, const char *val)
{
	struct pws_kv_fetch f;
	struct pws_kv_rec rec;
	int err = w->kv->ops->get(w->kv, str(key), &rec, &f);

	assert_int_equal(err, val ? 0 : -ENOENT);
	if (val) {
		assert_int_equal(rec.val.n, strlen(val));
		assert_memory_equal(rec.val.p, val, rec.val.n);
	}
}

static int put_abc(struct pws_txn *t)
{
	pws_txn_put(t, str("c"), str("3"));
	pws_txn_put(t, str("a"), str("1"));
	pws_txn_put(t, str("b"), str("2"));
	return 0;
}

static void expect_get(struct pws_txn *t, const char *key, int err, const char *val)
{
	struct pws_slice got;

	assert_int_equal(pws_txn_get(t, str(key), &got), err);
	if (!err) {
		assert_int_equal(got.n, strlen(val));
		assert_memory_equal(got.p, val, got.n);
	}
}

static void expect_walk(struct pws_txn *t, const char *keys)
{
	struct pws_slice begin = str("a"), end = str("z"), key, val;
	char after[8];
	int err;

	for (; !(err = pws_txn_next(t, begin, end, &key, &val)); keys++) {
		assert_int_equal(key.n, 1);
		assert_memory_equal(key.p, keys, 1);
		memcpy(after, key.p, key.n);
		after[key.n] = 0;
		begin = (struct pws_slice){ after, key.n + 1 };
	}
	assert_int_equal(err, -ENOENT);
	assert_int_equal(*keys, 0);
}

static int see_own(struct pws_txn *t)
{
	expect_walk(t, "abc");
	pws_txn_put(t, str("b"), str("two"));
	pws_txn_put(t, str("bb"), str(""));
	pws_txn_del(t, str("c"));
	pws_txn_put(t, str("d"), str("4"));
	pws_txn_del(t, str("bb"));
	pws_txn_del(t, str("nothing"));
	expect_get(t, "a", 0, "1");
	expect_get(t, "b", 0, "two");
	expect_get(t, "bb", -ENOENT, NULL);
	expect_get(t, "c", -ENOENT, NULL);
	expect_get(t, "d", 0, "4");
	expect_walk(t, "abd");
	pws_txn_put(t, str("c"), str("")); /* again, and empty */
	expect_get(t, "c", 0, "");
	expect_walk(t, "abcd");
	pws_txn_put(t, str("0"), str("x")); /* outside the walk */
	expect_walk(t, "abcd");
	return 0;
}

static void test_attempt__sees_its_own_writes(void **state)
{
	struct world *w = *state;

	assert_int_equal(run(w, put_abc), 0);
	assert_int_equal(w->kv->ops->last_seq(w->kv), 1);
	assert_int_equal(run(w, see_own), 0);
	assert_int_equal(w->kv->ops->last_seq(w->kv), 2); /* one commit */
	expect(w, "b", "two");
	expect(w, "bb", NULL);
	expect(w, "c", "");
	expect(w, "d", "4");
}

static int refuse(struct pws_txn *t)
{
	expect_get(t, "a", 0, "1");
	pws_txn_put(t, str("a"), str("changed"));
	pws_txn_keep(t, str("reply"), str("no"));
	return -EEXIST;
}

static int refuse_all(struct pws_txn *t)
{
	pws_txn_put(t, str("a"), str("changed"));
	return -EPERM;
}

static void test_refusal__writes_only_what_is_kept(void **state)
{
	struct world *w = *state;

	assert_int_equal(run(w, put_abc), 0);
	assert_int_equal(run(w, refuse), -EEXIST);
	expect(w, "a", "1");
	expect(w, "reply", "no");
	assert_int_equal(run(w, refuse_all), -EPERM);
	expect(w, "a", "1");
}

/* A counter; the value is read, changed and written: lost updates would show. */
static int add_one(struct pws_txn *t)
{
	struct job *j = pw_container_of(t, struct job, t);
	uint64_t n = 0, m = 0;
	struct pws_slice got;
	char key[24];
	int err;

	j->runs++;
	/* the reply row of this job: was it applied already? */
	snprintf(key, sizeof(key), "R%u", j->arg);
	err = pws_txn_get(t, str(key), &got);
	if (err != -ENOENT)
		return err;
	err = pws_txn_get(t, str("counter"), &got);
	if (err && err != -ENOENT)
		return err;
	if (!err)
		memcpy(&n, got.p, sizeof(n));
	n++;
	pws_txn_put(t, str("counter"), (struct pws_slice){ &n, sizeof(n) });
	pws_txn_keep(t, str(key), (struct pws_slice){ &m, sizeof(m) });
	return 0;
}

#define NR_JOBS 40u

static void count_with(struct world *w, const struct pws_kv_mem_faults *f)
{
	static struct job jobs[NR_JOBS];
	struct pws_kv_mem_faults none = { 0 };
	struct pws_kv_rec rec;
	uint32_t runs = 0;
	uint64_t n;

	pws_kv_mem_set_faults(w->kv, f);
	for (uint32_t i = 0; i < NR_JOBS; i++) {
		memset(&jobs[i], 0, sizeof(jobs[i]));
		jobs[i].arg = i;
		pws_txn_init(&jobs[i].t, w->kv);
		pws_txn_start(&jobs[i].t, add_one, on_done);
	}
	for (uint32_t i = 0; i < NR_JOBS; i++) {
		assert_true(vloop_run_until(w->loop, &jobs[i].told));
		assert_int_equal(jobs[i].err, 0);
		runs += jobs[i].runs;
		pws_txn_fini(&jobs[i].t);
	}
	pws_kv_mem_set_faults(w->kv, &none);
	assert_int_equal(w->kv->ops->get(w->kv, str("counter"), &rec, NULL), 0);
	memcpy(&n, rec.val.p, sizeof(n));
	assert_int_equal(n, NR_JOBS);		    /* each once */
	assert_true(runs > NR_JOBS + NR_JOBS / 10); /* the faults were there */
}

static void test_conflicts__are_tried_again(void **state)
{
	count_with(*state, &(struct pws_kv_mem_faults){ .conflict = 700 });
}

static void test_late_reads__attempt_runs_again(void **state)
{
	count_with(*state, &(struct pws_kv_mem_faults){ .read_async = 400 });
}

static void test_unknown_outcome__is_applied_once(void **state)
{
	count_with(*state,
		   &(struct pws_kv_mem_faults){ .unknown_applied = 300, .unknown_lost = 300 });
}

static void test_all_faults__with_delays(void **state)
{
	count_with(*state, &(struct pws_kv_mem_faults){ .conflict = 300,
							.unknown_applied = 200,
							.unknown_lost = 200,
							.read_async = 200,
							.delay_ns_max = 3 * PW_NS_PER_MS });
}

static void on_their_commit(struct pws_kv_commit *c)
{
	assert_int_equal(c->err, 0);
}

/* Somebody changes what was read between the attempt and the commit: here, from within the attempt.
 */
static int raced(struct pws_txn *t)
{
	struct job *j = pw_container_of(t, struct job, t);
	struct pws_kv_mut mut = { str("a"), str("theirs") };
	static struct pws_kv_commit c;
	struct pws_slice got;
	int err = pws_txn_get(t, str("a"), &got);

	if (err && err != -ENOENT)
		return err;
	if (!j->runs++) {
		c = (struct pws_kv_commit){ .muts = &mut, .nr_muts = 1 };
		c.done = on_their_commit;
		pw_list_init(&c.node);
		t->kv->ops->commit(t->kv, &c);
	}
	pws_txn_put(t, str("saw"), err ? str("nothing") : str("theirs"));
	return 0;
}

static void test_conflict__the_read_set_is_checked(void **state)
{
	struct world *w = *state;

	assert_int_equal(run(w, raced), 0);
	expect(w, "saw", "theirs");
}

static int endless(struct pws_txn *t)
{
	struct job *j = pw_container_of(t, struct job, t);

	return ++j->runs < 5 ? -EAGAIN : -ENOTEMPTY;
}

static void test_again__comes_back_next_turn(void **state)
{
	assert_int_equal(run(*state, endless), -ENOTEMPTY);
}

static int large(struct pws_txn *t)
{
	static uint8_t val[60000];
	struct pws_slice kept, got;

	/* slices of own puts stay where they are, however the buffer grows */
	pws_txn_put(t, str("first"), str("value"));
	assert_int_equal(pws_txn_get(t, str("first"), &kept), 0);
	for (uint32_t i = 0; i < 1000; i++) {
		uint32_t k = i * 7919 % 1000 + 1000;
		char key[16];

		snprintf(key, sizeof(key), "n%u", k);
		pws_txn_put(t, str(key), (struct pws_slice){ val, i % 200 });
		assert_int_equal(pws_txn_get(t, str(key), &got), 0);
		assert_int_equal(got.n, i % 200);
	}
	for (uint32_t i = 0; i < 10; i++)
		pws_txn_put(t, str("big"), (struct pws_slice){ val, 60000 - i });
	assert_memory_equal(kept.p, "value", 5);
	assert_true(pws_txn_room(t, 3000, 500000));
	assert_false(pws_txn_room(t, 3095, 1));
	assert_false(pws_txn_room(t, 1, 1u << 20));
	return 0;
}

static void test_large__grows_and_commits(void **state)
{
	struct world *w = *state;
	struct pws_kv_rec rec;

	assert_int_equal(run(w, large), 0);
	assert_int_equal(w->kv->ops->get(w->kv, str("big"), &rec, NULL), 0);
	assert_int_equal(rec.val.n, 59991);
	assert_int_equal(w->kv->ops->get(w->kv, str("n1000"), &rec, NULL), 0);
	assert_int_equal(w->kv->ops->last_seq(w->kv), 1);
}

static int too_large(struct pws_txn *t)
{
	struct job *j = pw_container_of(t, struct job, t);
	static uint8_t val[PWS_KV_VAL_MAX + 1];
	struct pws_slice got;
	char key[16];

	pws_txn_keep(t, str("kept"), str("x"));
	if (j->arg == 0) {
		pws_txn_put(t, str("a"), (struct pws_slice){ val, PWS_KV_VAL_MAX + 1 });
	} else if (j->arg == 1) {
		for (uint32_t i = 0; i < PWS_KV_MUTS_MAX; i++) {
			snprintf(key, sizeof(key), "n%u", i);
			pws_txn_del(t, str(key));
		}
	} else {
		for (uint32_t i = 0; i < 17; i++) {
			snprintf(key, sizeof(key), "n%u", i);
			pws_txn_put(t, str(key), (struct pws_slice){ val, PWS_KV_VAL_MAX });
		}
	}
	assert_int_equal(pws_txn_get(t, str("a"), &got), -E2BIG);
	assert_false(pws_txn_room(t, 1, 1));
	return 0;
}

static void test_too_large__nothing_is_written(void **state)
{
	struct world *w = *state;
	static struct job j;

	for (uint32_t i = 0; i < 3; i++) {
		memset(&j, 0, sizeof(j));
		j.arg = i;
		pws_txn_init(&j.t, w->kv);
		pws_txn_start(&j.t, too_large, on_done);
		assert_true(vloop_run_until(w->loop, &j.told));
		assert_int_equal(j.err, -E2BIG);
		pws_txn_fini(&j.t);
	}
	assert_int_equal(w->kv->ops->last_seq(w->kv), 0);
}

/* Over the journaled engine: nothing is told before what it rests on is durable.
 * ------------------- */

static int read_k1(struct pws_txn *t)
{
	struct pws_slice got;
	int err = pws_txn_get(t, str("k001"), &got);

	return err == -ENOENT ? 0 : err;
}

static int walk_k(struct pws_txn *t)
{
	struct pws_slice key, val;
	int err = pws_txn_next(t, str("k001"), str("k003"), &key, &val);

	return err == -ENOENT ? 0 : err;
}

static int read_and_refuse(struct pws_txn *t)
{
	int err = read_k1(t);

	return err ? err : -EEXIST;
}

static int read_sync(struct pws_txn *t)
{
	t->sync = true;
	return read_k1(t);
}

static void expect_after(struct rig *r, int (*attempt)(struct pws_txn *), int err, bool waits)
{
	static struct job j;

	memset(&j, 0, sizeof(j));
	pws_txn_init(&j.t, r->kv);
	pws_txn_start(&j.t, attempt, on_done);
	vloop_settle(r->loop);
	assert_int_equal(j.told, !waits);
	while (vdisk_step(r->disk))
		vloop_settle(r->loop);
	vloop_settle(r->loop);
	assert_true(j.told);
	assert_int_equal(j.err, err);
	pws_txn_fini(&j.t);
}

static void test_answer__waits_until_what_was_read_is_durable(void **state)
{
	struct rig r;

	(void)state;
	rig_init(&r);
	rig_open(&r);
	vdisk_hold(r.disk, true);
	expect_after(&r, read_k1, 0, false); /* nothing there, nothing to wait for */
	rig_put(&r, 1, 10);
	expect_after(&r, read_k1, 0, true);
	expect_after(&r, read_k1, 0, false); /* durable by now */
	rig_put(&r, 1, 20);
	expect_after(&r, read_and_refuse, -EEXIST, true);
	rig_del(&r, 1);
	expect_after(&r, read_k1, 0, true); /* that it is gone must be durable, too */
	rig_put(&r, 1, 20);
	rig_put(&r, 2, 20);
	while (vdisk_step(r.disk))
		;
	rig_del(&r, 1);
	expect_after(&r, walk_k, 0, true); /* passed the deleted one, found 2 */
	vdisk_hold(r.disk, false);
	rig_fini(&r);
}

static void test_sync__waits_for_media_in_interval_mode(void **state)
{
	struct rig r;

	(void)state;
	rig_init(&r);
	r.o.interval_ns = 60 * PW_NS_PER_S;
	rig_open(&r);
	rig_wait(&r, rig_put(&r, 1, 10));
	vdisk_hold(r.disk, true);
	expect_after(&r, read_k1, 0, false);
	expect_after(&r, read_sync, 0, true);
	expect_after(&r, read_sync, 0, false);
	vdisk_hold(r.disk, false);
	rig_fini(&r);
}

/* Takes note of something, and goes on when a power cut cannot take that back. */
static int note_and_go_on(struct pws_txn *t)
{
	struct job *j = pw_container_of(t, struct job, t);
	struct pws_slice got;
	int err = pws_txn_get(t, str("note"), &got);

	if (err && err != -ENOENT)
		return err;
	if (j->runs++) {
		assert_int_equal(err, 0);
		assert_true(pws_txn_on_media(t, str("note")));
		pws_txn_put(t, str("done"), str("2"));
		return 0;
	}
	assert_false(pws_txn_on_media(t, str("done"))); /* not read */
	if (err)
		pws_txn_keep(t, str("note"), str("1"));
	else
		assert_false(pws_txn_on_media(t, str("note")));
	pws_txn_put(t, str("lost"), str("3"));
	t->again = true;
	return -EAGAIN;
}

static void test_again__what_was_kept_is_on_media_first(void **state)
{
	struct pws_kv_mut mut = { str("note"), str("0") };
	struct pws_kv_commit c = { .muts = &mut, .nr_muts = 1, .done = on_their_commit };
	struct pws_kv_rec rec;
	struct rig r;

	(void)state;
	rig_init(&r);
	r.o.interval_ns = 60 * PW_NS_PER_S;
	rig_open(&r);
	vdisk_hold(r.disk, true);
	expect_after(&r, note_and_go_on, 0, true);
	assert_int_equal(r.kv->ops->get(r.kv, str("done"), &rec, NULL), 0);
	/* the same when somebody else has written it, not long ago */
	pw_list_init(&c.node);
	r.kv->ops->commit(r.kv, &c);
	expect_after(&r, note_and_go_on, 0, true);
	assert_int_equal(r.kv->ops->get(r.kv, str("lost"), &rec, NULL), -ENOENT);
	vdisk_hold(r.disk, false);
	rig_fini(&r);
}

static void test_again__failure_of_the_engine_ends_it(void **state)
{
	struct rig r;

	(void)state;
	rig_init(&r);
	r.o.interval_ns = 60 * PW_NS_PER_S;
	rig_open(&r);
	vdisk_hold(r.disk, true);
	vdisk_fail_flush(r.disk, 1);
	expect_after(&r, note_and_go_on, -EIO, true);
	vdisk_hold(r.disk, false);
	rig_fini(&r);
}

static void test_dead_engine__reads_of_what_is_not_durable_fail(void **state)
{
	struct rig r;

	(void)state;
	rig_init(&r);
	rig_open(&r);
	rig_wait(&r, rig_put(&r, 2, 10));
	vdisk_fail_flush(r.disk, 1);
	rig_put(&r, 1, 10);
	vloop_settle(r.loop);
	expect_after(&r, read_k1, -EIO, false);
	rig_fini(&r);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
#define TXN_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
		TXN_TEST(test_attempt__sees_its_own_writes),
		TXN_TEST(test_refusal__writes_only_what_is_kept),
		TXN_TEST(test_conflicts__are_tried_again),
		TXN_TEST(test_late_reads__attempt_runs_again),
		TXN_TEST(test_unknown_outcome__is_applied_once),
		TXN_TEST(test_all_faults__with_delays),
		TXN_TEST(test_conflict__the_read_set_is_checked),
		TXN_TEST(test_again__comes_back_next_turn),
		TXN_TEST(test_large__grows_and_commits),
		TXN_TEST(test_too_large__nothing_is_written),
		cmocka_unit_test(test_answer__waits_until_what_was_read_is_durable),
		cmocka_unit_test(test_sync__waits_for_media_in_interval_mode),
		cmocka_unit_test(test_again__what_was_kept_is_on_media_first),
		cmocka_unit_test(test_again__failure_of_the_engine_ends_it),
		cmocka_unit_test(test_dead_engine__reads_of_what_is_not_durable_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
