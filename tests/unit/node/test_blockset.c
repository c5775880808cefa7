/* SPDX-License-Identifier: Apache-2.0 */
/* test_blockset.c -- the bitmap with summaries against an array of flags */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/random.h"
#include "storage_node/store/blockset.h"

#include "vloop.h"

static uint64_t naive_next(const bool *in, uint64_t cap, uint64_t from)
{
	while (from < cap && !in[from])
		from++;
	return from < cap ? from : PWS_BLOCKSET_NONE;
}

static uint64_t naive_run(const bool *in, uint64_t cap, uint64_t start, uint64_t max)
{
	uint64_t n = 0;

	while (n < max && start + n < cap && in[start + n])
		n++;
	return n;
}

static void random_steps(uint64_t cap, uint32_t steps)
{
	bool *in = calloc(cap, sizeof(*in));
	struct pws_blockset s;

	assert_int_equal(pws_blockset_init(&s, cap), 0);
	for (uint32_t i = 0; i < steps; i++) {
		uint64_t start = pw_random_below(cap);
		uint64_t nr = pw_random_below(pw_random_below(8) ? 100 : cap), want = 0;
		bool add = pw_random_below(2);

		nr = nr > cap - start ? cap - start : nr;
		for (uint64_t b = start; b < start + nr; b++) {
			want += in[b] != add;
			in[b] = add;
		}
		if (add)
			assert_int_equal(pws_blockset_add(&s, start, nr), want);
		else
			assert_int_equal(pws_blockset_remove(&s, start, nr), want);
		for (uint32_t k = 0; k < 4; k++) {
			uint64_t at = pw_random_below(cap + 70), max = 1 + pw_random_below(300);

			assert_int_equal(pws_blockset_next(&s, at), naive_next(in, cap, at));
			assert_int_equal(pws_blockset_has(&s, at), at < cap && in[at]);
			assert_int_equal(pws_blockset_run(&s, at, max),
					 naive_run(in, cap, at, max));
		}
	}
	pws_blockset_fini(&s);
	free(in);
}

static void test_random(void **state)
{
	vrandom_seed(1);
	random_steps(1, 50);
	random_steps(63, 500);
	random_steps(64, 500);
	random_steps(65, 500);
	random_steps(4097, 3000);
	random_steps(300000, 400);
}

static void test_next__far_apart(void **state)
{
	const uint64_t cap = 1ull << 30, at[] = { 0,	  63,	      64,
						  4095,	  4096,	      262143,
						  262144, 1ull << 29, (1ull << 30) - 1 };
	struct pws_blockset s;

	assert_int_equal(pws_blockset_init(&s, cap), 0);
	assert_int_equal(pws_blockset_next(&s, 0), PWS_BLOCKSET_NONE);
	for (size_t i = 0; i < PW_ARRAY_SIZE(at); i++)
		assert_int_equal(pws_blockset_add(&s, at[i], 1), 1);
	for (size_t i = 0; i + 1 < PW_ARRAY_SIZE(at); i++)
		assert_int_equal(pws_blockset_next(&s, at[i] + 1), at[i + 1]);
	assert_int_equal(pws_blockset_next(&s, cap - 1), cap - 1);
	assert_int_equal(pws_blockset_next(&s, cap), PWS_BLOCKSET_NONE);
	assert_int_equal(s.count, PW_ARRAY_SIZE(at));
	for (size_t i = 0; i < PW_ARRAY_SIZE(at); i++)
		assert_int_equal(pws_blockset_remove(&s, at[i], 1), 1);
	assert_int_equal(pws_blockset_next(&s, 0), PWS_BLOCKSET_NONE);
	pws_blockset_fini(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_next__far_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
