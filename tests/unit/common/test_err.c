/* SPDX-License-Identifier: Apache-2.0 */
/* test_err.c -- the errno mapping is a bijection on its table and total elsewhere */
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "common/err.h"

static const struct {
	uint32_t werr;
	int err;
} rows[] = {
#define X(name, num, errno_, text) { PW_WERR_##name, -(errno_) },
	PW_WERR_LIST(X)
#undef X
};

static void test_err__every_row_maps_both_ways(void **state)
{
	assert_int_equal(PW_ARRAY_SIZE(rows), 32);
	for (size_t i = 0; i < PW_ARRAY_SIZE(rows); i++) {
		/* the numbers are frozen: 0, 1, 2... in the order of the table */
		assert_int_equal(rows[i].werr, i);
		assert_int_equal(pw_err_to_wire(rows[i].err), rows[i].werr);
		assert_int_equal(pw_err_from_wire(rows[i].werr), rows[i].err);
	}
}

static void test_err_to_wire__unknown_is_io(void **state)
{
	assert_int_equal(pw_err_to_wire(-ECHILD), PW_WERR_IO);
	assert_int_equal(pw_err_to_wire(-4000), PW_WERR_IO);
	assert_int_equal(pw_err_to_wire(5), PW_WERR_IO);
	assert_int_equal(pw_err_to_wire(INT_MIN), PW_WERR_IO);
	assert_int_equal(pw_err_to_wire(INT_MAX), PW_WERR_IO);
}

static void test_err_from_wire__unknown_is_proto(void **state)
{
	assert_int_equal(pw_err_from_wire(PW_WERR_NR), -EPROTO);
	assert_int_equal(pw_err_from_wire(UINT32_MAX), -EPROTO);
}

static void test_err_text__never_null(void **state)
{
	assert_string_equal(pw_err_text(0), "success");
	assert_string_equal(pw_err_text(-ENOSPC), "no space left on device");
	assert_string_equal(pw_err_text(-ECONNREFUSED), "Connection refused");
	/* ENOTSUPP of the kernel, which drivers let out */
	assert_string_equal(pw_err_text(-524), "not supported by the kernel or a driver");
	assert_string_equal(pw_err_text(-4000), "unknown error");
	assert_string_equal(pw_err_text(7), "unknown error");
	assert_string_equal(pw_err_text(INT_MIN), "unknown error");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_err__every_row_maps_both_ways),
		cmocka_unit_test(test_err_to_wire__unknown_is_io),
		cmocka_unit_test(test_err_from_wire__unknown_is_proto),
		cmocka_unit_test(test_err_text__never_null),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
