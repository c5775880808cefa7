/* SPDX-License-Identifier: Apache-2.0 */
/* test_granules.c -- runs of granules, against a plain row of owners */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "libpagewire/alloc/granules.h"

#define NR 200u

static struct pw_granules r;
static uint32_t row[NR];

static int setup(void **state)
{
	(void)state;
	memset(row, 0, sizeof(row));
	pw_granules_init(&r, row, NR);
	return 0;
}

static void test_get__first_fit(void **state)
{
	(void)state;
	assert_int_equal(pw_granules_get(&r, 10, 1, 0), 0);
	assert_int_equal(pw_granules_get(&r, 5, 1, 0), 10);
	assert_int_equal(pw_granules_get(&r, 5, 1, 0), 15);
	pw_granules_put(&r, 10);
	assert_int_equal(pw_granules_get(&r, 6, 1, 0), 20);
	assert_int_equal(pw_granules_get(&r, 5, 1, 0), 10);
	assert_int_equal(pw_granules_get(&r, NR - 26, 1, 0), 26);
	assert_int_equal(r.used, NR);
	assert_int_equal(pw_granules_get(&r, 1, 1, 0), PW_GRANULE_NONE);
}

static void test_get__aligned(void **state)
{
	(void)state;
	assert_int_equal(pw_granules_get(&r, 1, 1, 0), 0);
	assert_int_equal(pw_granules_get(&r, 3, 16, 0), 16);
	assert_int_equal(pw_granules_get(&r, 3, 16, 10), 6); /* 6 + 10 is a multiple */
	/* what was left out is there for others */
	assert_int_equal(pw_granules_get(&r, 5, 1, 0), 1);
	assert_int_equal(pw_granules_get(&r, 7, 1, 0), 9);
	assert_int_equal(pw_granules_get(&r, 3, 1, 0), 19);
	assert_int_equal(pw_granules_get(&r, 10, 256, 0), PW_GRANULE_NONE);
}

static void test_len__only_where_a_used_run_begins(void **state)
{
	(void)state;
	pw_granules_get(&r, 10, 1, 0);
	assert_int_equal(pw_granules_len(&r, 0), 10);
	assert_int_equal(pw_granules_len(&r, 1), 0);
	assert_int_equal(pw_granules_len(&r, 10), 0);
	assert_int_equal(pw_granules_len(&r, NR), 0);
	pw_granules_put(&r, 0);
	assert_int_equal(pw_granules_len(&r, 0), 0);
}

/* Whether [at, at + nr) has the owner @who. */
static void check_owned(const int *owner, uint32_t at, uint32_t nr, int who)
{
	for (uint32_t i = at; i < at + nr; i++)
		assert_int_equal(owner[i], who);
}

static void check_all(const int *owner, const uint32_t *at, const uint32_t *len, int nr)
{
	uint32_t used = 0, seen = 0, next = 0;

	for (int i = 0; i < nr; i++) {
		if (!len[i])
			continue;
		assert_int_equal(pw_granules_len(&r, at[i]), len[i]);
		check_owned(owner, at[i], len[i], i + 1);
		used += len[i];
	}
	assert_int_equal(r.used, used);
	while ((next = pw_granules_next(&r, next)) != PW_GRANULE_NONE) {
		seen += pw_granules_len(&r, next);
		next += pw_granules_len(&r, next);
	}
	assert_int_equal(seen, used);
}

static void set_owner(int *owner, uint32_t at, uint32_t nr, int who)
{
	for (uint32_t i = at; i < at + nr; i++)
		owner[i] = who;
}

static void test_random__nobody_has_what_is_anothers(void **state)
{
	enum { SLOTS = 12 };
	uint32_t at[SLOTS] = { 0 }, len[SLOTS] = { 0 }, seed = 1;
	int owner[NR] = { 0 };

	(void)state;
	for (int k = 0; k < 20000; k++) {
		uint32_t s, n, align;

		seed = seed * 1664525u + 1013904223u;
		s = (seed >> 8) % SLOTS;
		n = (seed >> 16) % 40 + 1;
		align = 1u << (seed >> 28) % 5;
		if (len[s] && seed & 1u << 25) {
			if (pw_granules_resize(&r, at[s], n)) {
				set_owner(owner, at[s], len[s], 0);
				check_owned(owner, at[s], n, 0);
				len[s] = n;
			}
		} else if (len[s]) {
			pw_granules_put(&r, at[s]);
			set_owner(owner, at[s], len[s], 0);
			len[s] = 0;
		} else {
			uint32_t got = pw_granules_get(&r, n, align, 3);

			if (got == PW_GRANULE_NONE)
				continue;
			assert_int_equal((got + 3) % align, 0);
			check_owned(owner, got, n, 0);
			at[s] = got;
			len[s] = n;
		}
		if (len[s])
			set_owner(owner, at[s], len[s], (int)s + 1);
		check_all(owner, at, len, SLOTS);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_get__first_fit, setup),
		cmocka_unit_test_setup(test_get__aligned, setup),
		cmocka_unit_test_setup(test_len__only_where_a_used_run_begins, setup),
		cmocka_unit_test_setup(test_random__nobody_has_what_is_anothers, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
