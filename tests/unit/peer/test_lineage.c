/* SPDX-License-Identifier: Apache-2.0 */
/* test_lineage.c -- which data a client that comes back may go on with */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "client_fs/lineage.h"

static bool follows(uint64_t starts, uint64_t boot, const struct pw_body_welcome *w)
{
	struct pwc_lineage known = { starts, boot };
	bool follows = pwc_lineage_follow(&known, w);

	/* it goes on from there, or stays where it was */
	assert_int_equal(known.starts, follows ? w->starts : starts);
	assert_int_equal(known.boot, follows ? w->boot : boot);
	return follows;
}

/* Starts on one and the same data have the names 0xb000 + their number. */
static struct pw_body_welcome nth_start(uint64_t n)
{
	struct pw_body_welcome w = { .starts = n, .boot = 0xb09c + n };

	for (uint32_t i = 0; i < PW_WELCOME_EARLIER; i++)
		w.earlier[i] = w.boot - 1 - i;
	return w;
}

static void test_lineage__the_same_data(void **state)
{
	(void)state;
	for (uint64_t n = 100; n < 120; n++) {
		struct pw_body_welcome w = nth_start(n);

		assert_true(follows(100, 0xb100, &w));
	}
}

static void test_lineage__an_older_state(void **state)
{
	(void)state;
	for (uint64_t n = 90; n < 100; n++) {
		struct pw_body_welcome w = nth_start(n);

		assert_false(follows(100, 0xb100, &w));
	}
}

/* A copy that was made before start 100 has a start 100 of its own, and some after it. */
static void test_lineage__a_copy(void **state)
{
	(void)state;
	for (uint64_t n = 100; n <= 100 + PW_WELCOME_EARLIER; n++) {
		struct pw_body_welcome w = nth_start(n);

		w.boot ^= 0xcc0000;
		for (uint64_t i = 0; i < n - 100; i++)
			w.earlier[i] ^= 0xcc0000;
		assert_false(follows(100, 0xb100, &w));
	}
}

static void test_lineage__nothing_to_compare(void **state)
{
	struct pw_body_welcome w = nth_start(70);

	(void)state;
	assert_true(follows(0, 5, &w));
	w.starts = 0;
	assert_true(follows(100, 0xb100, &w));
	/* it began to count anew in between */
	w = nth_start(103);
	w.earlier[2] = 0;
	assert_true(follows(100, 0xb100, &w));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lineage__the_same_data),
		cmocka_unit_test(test_lineage__an_older_state),
		cmocka_unit_test(test_lineage__a_copy),
		cmocka_unit_test(test_lineage__nothing_to_compare),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
