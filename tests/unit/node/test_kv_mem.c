/* SPDX-License-Identifier: Apache-2.0 */
/* test_kv_mem.c -- the volatile engine: commits, checks, ranges, injected faults; on the real loop
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/uring.h"
#include "storage_node/meta_kv/meta_kv.h"

struct world {
	struct pw_loop *loop;
	struct pws_kv *kv;
	uint32_t told;
};

static struct world *w;

static int set_up(void **state)
{
	struct pw_loop_opts o = { .sq_entries = 8, .max_ios = 8 };

	(void)state;
	w = calloc(1, sizeof(*w));
	assert_int_equal(pw_loop_new(&w->loop, &o), 0);
	assert_int_equal(pws_kv_mem_open(w->loop, &w->kv), 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	w->kv->ops->close(w->kv);
	pw_loop_free(w->loop);
	free(w);
	return 0;
}

static struct pws_slice str(const char *s)
{
	return (struct pws_slice){ s, (uint32_t)strlen(s) };
}

static void on_done(struct pws_kv_commit *c)
{
	(void)c;
	w->told++;
	pw_loop_stop(w->loop);
}

/* Puts @val at @key (NULL: deletes), if @check_key has version @seq. */
static int commit(const char *key, const char *val, const char *check_key, uint64_t seq)
{
	struct pws_kv_mut mut = { str(key), val ? str(val) : (struct pws_slice){ NULL, 0 } };
	struct pws_kv_check check = { .seq = seq };
	struct pws_kv_commit c = { .muts = &mut, .nr_muts = 1, .done = on_done };

	if (check_key) {
		check.key = str(check_key);
		c.checks = &check;
		c.nr_checks = 1;
	}
	pw_list_init(&c.node);
	w->told = 0;
	w->kv->ops->commit(w->kv, &c);
	assert_int_equal(w->told, 0);
	assert_int_equal(pw_loop_run(w->loop), 0);
	assert_int_equal(w->told, 1);
	return c.err;
}

static void test_commit__and_read(void **state)
{
	struct pws_kv_rec rec;

	(void)state;
	assert_int_equal(commit("b", "2", NULL, 0), 0);
	assert_int_equal(commit("a", "1", "b", 1), 0);
	assert_int_equal(commit("a", "x", "b", 2), -EAGAIN);
	assert_int_equal(commit("a", "x", "a", 0), -EAGAIN);
	assert_int_equal(commit("c", "3", "c", 0), 0);
	assert_int_equal(w->kv->ops->last_seq(w->kv), 3);
	assert_int_equal(w->kv->ops->durable_seq(w->kv), 3);
	assert_int_equal(w->kv->ops->get(w->kv, str("a"), &rec, NULL), 0);
	assert_int_equal(rec.seq, 2);
	assert_memory_equal(rec.val.p, "1", 1);
	assert_int_equal(w->kv->ops->next(w->kv, str("aa"), str("z"), &rec, NULL), 0);
	assert_memory_equal(rec.key.p, "b", 1);
	assert_int_equal(w->kv->ops->next(w->kv, str("aa"), str("b"), &rec, NULL), -ENOENT);
	assert_int_equal(commit("b", NULL, "b", 1), 0);
	assert_int_equal(w->kv->ops->get(w->kv, str("b"), &rec, NULL), -ENOENT);
	assert_int_equal(w->kv->ops->next(w->kv, str("aa"), str("z"), &rec, NULL), 0);
	assert_memory_equal(rec.key.p, "c", 1);
	assert_int_equal(commit("b", "again", "b", 1), -EAGAIN);
	assert_int_equal(commit("b", "again", "b", 0), 0);
}

static void test_deletions__take_no_memory(void **state)
{
	struct pws_kv_stats before, after;

	(void)state;
	assert_int_equal(commit("k", "v", NULL, 0), 0);
	pws_kv_get_stats(w->kv, &before);
	for (char key[] = "k0000"; key[4] <= '9'; key[4]++)
		for (key[3] = '0'; key[3] <= '9'; key[3]++)
			for (key[2] = '0'; key[2] <= '9'; key[2]++) {
				assert_int_equal(commit(key, "some value", NULL, 0), 0);
				assert_int_equal(commit(key, NULL, NULL, 0), 0);
			}
	pws_kv_get_stats(w->kv, &after);
	assert_int_equal(after.overlay_bytes, before.overlay_bytes);
}

static void test_faults__do_what_they_say(void **state)
{
	struct pws_kv_mem_faults f = { .conflict = 1000 };
	struct pws_kv_rec rec;

	(void)state;
	pws_kv_mem_set_faults(w->kv, &f);
	assert_int_equal(commit("a", "1", NULL, 0), -EAGAIN);
	assert_int_equal(w->kv->ops->get(w->kv, str("a"), &rec, NULL), -ENOENT);
	f = (struct pws_kv_mem_faults){ .unknown_lost = 1000 };
	pws_kv_mem_set_faults(w->kv, &f);
	assert_int_equal(commit("a", "1", NULL, 0), -EINPROGRESS);
	assert_int_equal(w->kv->ops->get(w->kv, str("a"), &rec, NULL), -ENOENT);
	f = (struct pws_kv_mem_faults){ .unknown_applied = 1000, .delay_ns_max = 1000000 };
	pws_kv_mem_set_faults(w->kv, &f);
	assert_int_equal(commit("a", "1", NULL, 0), -EINPROGRESS);
	assert_int_equal(w->kv->ops->get(w->kv, str("a"), &rec, NULL), 0);
}

static void on_fetch(struct pws_kv_fetch *f)
{
	(void)f;
	w->told++;
	pw_loop_stop(w->loop);
}

static void test_read_async__tells_when_to_come_again(void **state)
{
	struct pws_kv_mem_faults f = { .read_async = 1000 };
	struct pws_kv_fetch fetch = { .done = on_fetch };
	struct pws_kv_rec rec;

	(void)state;
	pw_list_init(&fetch.node);
	pws_kv_mem_set_faults(w->kv, &f);
	assert_int_equal(w->kv->ops->get(w->kv, str("a"), &rec, &fetch), -EINPROGRESS);
	assert_int_equal(pw_loop_run(w->loop), 0);
	assert_int_equal(w->told, 1);
	assert_int_equal(w->kv->ops->next(w->kv, str("a"), str("b"), &rec, &fetch), -EINPROGRESS);
	assert_int_equal(pw_loop_run(w->loop), 0);
	assert_int_equal(w->told, 2);
}

static void on_stopped(void *arg, int err)
{
	assert_int_equal(err, 0);
	(*(uint32_t *)arg)++;
	pw_loop_stop(w->loop);
}

static void test_stop__after_all_were_told(void **state)
{
	struct pws_kv_mut mut = { str("a"), str("1") };
	struct pws_kv_commit c = { .muts = &mut, .nr_muts = 1, .done = on_done };
	uint32_t stopped = 0;

	(void)state;
	pw_list_init(&c.node);
	w->kv->ops->commit(w->kv, &c);
	w->kv->ops->stop(w->kv, on_stopped, &stopped);
	assert_int_equal(stopped, 0);
	assert_int_equal(pw_loop_run(w->loop), 0);
	assert_int_equal(stopped, 1);
	assert_int_equal(w->told, 1);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
#define MEM_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
		MEM_TEST(test_commit__and_read),
		MEM_TEST(test_deletions__take_no_memory),
		MEM_TEST(test_faults__do_what_they_say),
		MEM_TEST(test_read_async__tells_when_to_come_again),
		MEM_TEST(test_stop__after_all_were_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
