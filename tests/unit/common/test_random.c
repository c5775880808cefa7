/* SPDX-License-Identifier: Apache-2.0 */
/* test_random.c -- ranges and that bytes change; the quality is libsodium's */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "common/random.h"

static void test_random_bytes__fills_all_and_differs(void **state)
{
	uint8_t a[32], b[32], ever[32] = { 0 };

	for (int i = 0; i < 64; i++) {
		pw_random_bytes(a, sizeof(a));
		for (size_t j = 0; j < sizeof(a); j++)
			ever[j] |= a[j];
	}
	for (size_t j = 0; j < sizeof(a); j++)
		assert_int_not_equal(ever[j], 0);
	pw_random_bytes(b, sizeof(b));
	assert_memory_not_equal(a, b, sizeof(a));
	assert_int_not_equal(pw_random_u64(), pw_random_u64());
}

static void test_random_below__stays_below_and_reaches_all(void **state)
{
	unsigned int hits[3] = { 0 };

	assert_int_equal(pw_random_below(0), 0);
	assert_int_equal(pw_random_below(1), 0);
	for (int i = 0; i < 3000; i++) {
		uint64_t v = pw_random_below(3);

		assert_true(v < 3);
		hits[v]++;
	}
	/* 1000 each, standard deviation 26: 300 away is a bug, not bad luck */
	for (int i = 0; i < 3; i++)
		assert_in_range(hits[i], 700, 1300);
	for (int i = 0; i < 1000; i++)
		assert_true(pw_random_below((1ull << 63) + 1) <= 1ull << 63);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_bytes__fills_all_and_differs),
		cmocka_unit_test(test_random_below__stays_below_and_reaches_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
