/* SPDX-License-Identifier: Apache-2.0 */
/* test_store_model.c -- the stores against byte arrays: random requests, many at once
 *
 * SEEDS in the environment runs other seeds than the few of every run: "17" or "1000-2000".
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/compiler.h"

#include "store_model.h"

static uint64_t first_seed = 1, last_seed = 3;

static void run(const struct rig_opts *ro, const struct model_opts *mo,
		const struct pws_kv_mem_faults *faults, bool reopen)
{
	bool sweep = getenv("PW_FAULT"); /* thousands of runs: short ones */
	struct model_opts short_mo = *mo;

	short_mo.rounds = sweep ? 8 : mo->rounds;
	for (uint64_t seed = first_seed; seed <= (sweep ? first_seed : last_seed); seed++) {
		struct rig_opts o = *ro;
		struct model m;
		struct rig *rig;
		int err;

		o.seed = seed;
		err = sr_new(&rig, &o);
		if (err && sr_faults())
			return;
		assert_int_equal(err, 0);
		model_init(&m, rig, &short_mo);
		if (faults)
			sr_set_faults(rig, faults);
		model_run(&m);
		model_check(&m);
		if (reopen) {
			sr_set_faults(rig, &(struct pws_kv_mem_faults){ 0 });
			err = sr_reopen(rig);
			assert_true(!err || sr_faults());
			if (!err)
				model_check(&m);
		}
		if (!err)
			model_end(&m);
		fprintf(stderr,
			"seed %llu: %llu writes, %llu reads, %llu cuts, %llu reclaims; "
			"%llu without space, %llu cut in part, %llu busy\n",
			(unsigned long long)seed, (unsigned long long)m.nr_writes,
			(unsigned long long)m.nr_reads, (unsigned long long)m.nr_truncs,
			(unsigned long long)m.nr_reclaims, (unsigned long long)m.nr_enospc,
			(unsigned long long)m.nr_more, (unsigned long long)m.nr_busy);
		if (!err && mo->allow_enospc && !sweep)
			assert_true(m.nr_enospc > 0);
		if (!err && mo->small_room && !sweep)
			assert_true(m.nr_more > 0);
		model_free(&m);
		sr_free(rig);
	}
}

static const struct pws_kv_mem_faults bad_engine = {
	.conflict = 100,
	.unknown_applied = 60,
	.unknown_lost = 60,
	.read_async = 100,
	.delay_ns_max = 3 * PW_NS_PER_MS,
};

static void test_chunk__plain(void **state)
{
	run(&(struct rig_opts){ .kind = RIG_CHUNK },
	    &(struct model_opts){ .rounds = 40, .max_ops = RIG_INFLIGHT, .refuse = 30 }, NULL,
	    true);
}

static void test_chunk__engine_that_fails(void **state)
{
	run(&(struct rig_opts){ .kind = RIG_CHUNK },
	    &(struct model_opts){ .rounds = 40, .max_ops = RIG_INFLIGHT, .refuse = 30 },
	    &bad_engine, true);
}

static void test_chunk__dead_tails(void **state)
{
	/* no lost outcomes: what a reclaim frees then stays unused until the next start */
	struct pws_kv_mem_faults f = bad_engine;

	f.unknown_applied = 0;
	run(&(struct rig_opts){ .kind = RIG_CHUNK },
	    &(struct model_opts){
		    .rounds = 40, .max_ops = RIG_INFLIGHT, .small_room = true, .refuse = 30 },
	    &f, true);
}

static void test_chunk__full_disk(void **state)
{
	/* 16 MiB are the reserve: 1 MiB for three files of up to 1.5 */
	run(&(struct rig_opts){ .kind = RIG_CHUNK, .disk_bytes = 17 * PW_MIB },
	    &(struct model_opts){ .rounds = 60, .max_ops = RIG_INFLIGHT, .allow_enospc = true },
	    NULL, true);
}

static void test_chunk__disk_that_grows(void **state)
{
	run(&(struct rig_opts){ .kind = RIG_CHUNK, .disk_bytes = PW_MIB, .disk_max = 32 * PW_MIB },
	    &(struct model_opts){ .rounds = 40, .max_ops = RIG_INFLIGHT }, NULL, true);
}

static void test_memory__plain(void **state)
{
	run(&(struct rig_opts){ .kind = RIG_MEMORY, .memory_bytes = 8 * PW_MIB },
	    &(struct model_opts){ .rounds = 40, .max_ops = RIG_INFLIGHT, .refuse = 30 },
	    &bad_engine, false);
}

static void test_memory__full(void **state)
{
	run(&(struct rig_opts){ .kind = RIG_MEMORY, .memory_bytes = 2 * PW_MIB },
	    &(struct model_opts){ .rounds = 40, .max_ops = RIG_INFLIGHT, .allow_enospc = true },
	    NULL, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_chunk__plain),
		cmocka_unit_test(test_chunk__engine_that_fails),
		cmocka_unit_test(test_chunk__dead_tails),
		cmocka_unit_test(test_chunk__full_disk),
		cmocka_unit_test(test_chunk__disk_that_grows),
		cmocka_unit_test(test_memory__plain),
		cmocka_unit_test(test_memory__full),
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
