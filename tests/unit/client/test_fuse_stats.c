/* SPDX-License-Identifier: Apache-2.0 */
/* test_fuse_stats.c -- lines of the kernel, and lines that are none */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client_fs/fuse_stats.h"

static void test_misses__by_reason(void **state)
{
	json_t *j = pwc_fuse_stats_misses("regions 1\nhits 7\nmiss_unregistered 5\nmiss_mixed 0\n"
					  "miss_runs 18446744073709551615\nmiss_bytes 100\n"
					  "copied_bytes 9");

	(void)state;
	assert_int_equal(json_object_size(j), 3);
	assert_int_equal(json_integer_value(json_object_get(j, "unregistered")), 5);
	assert_int_equal(json_integer_value(json_object_get(j, "mixed")), 0);
	assert_non_null(json_object_get(j, "runs"));
	json_decref(j);
}

static void test_misses__of_what_is_none(void **state)
{
	static const char *const texts[] = {
		"", "\n", "\n\n", "hits 7\n", "miss_\n", "miss_ 5\n", "miss_x", " miss_x 5",
		"miss", " ",
		"miss_bytes 4\n", "miss_a_name_that_is_much_longer_than_any_reason 4\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_null(pwc_fuse_stats_misses(texts[i]));
	assert_null(pwc_fuse_stats_read(UINT32_MAX));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_misses__by_reason),
		cmocka_unit_test(test_misses__of_what_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
