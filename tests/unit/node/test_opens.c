/* SPDX-License-Identifier: Apache-2.0 */
/* test_opens.c -- the table of opens against a plain array */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "storage_node/opens.h"

#define INOS 500u

static void test_add_sub__counts(void **state)
{
	struct pws_opens o;

	(void)state;
	pws_opens_init(&o);
	assert_int_equal(pws_opens_get(&o, 5), 0);
	assert_int_equal(pws_opens_sub(&o, 5, 1), 0);
	assert_int_equal(pws_opens_reserve(&o, 1), 0);
	pws_opens_add(&o, 5, 2);
	pws_opens_add(&o, 5, 1);
	assert_int_equal(pws_opens_get(&o, 5), 3);
	assert_int_equal(o.nr, 1);
	assert_int_equal(pws_opens_sub(&o, 5, 2), 2);
	assert_int_equal(pws_opens_sub(&o, 5, 9), 1);
	assert_int_equal(pws_opens_get(&o, 5), 0);
	assert_int_equal(o.nr, 0);
	pws_opens_fini(&o);
}

/* Deletions move entries back: every one must still be found. */
static void test_random__agrees_with_an_array(void **state)
{
	uint64_t want[INOS + 1] = { 0 }, total = 0;
	uint32_t seed = 1, nr = 0;
	struct pws_opens o;

	(void)state;
	pws_opens_init(&o);
	for (uint32_t i = 0; i < 200000; i++) {
		uint64_t ino, n;

		seed = seed * 1664525 + 1013904223;
		ino = (seed >> 8) % INOS + 1;
		n = seed % 3 + 1;
		if (seed >> 31) {
			assert_int_equal(pws_opens_reserve(&o, 1), 0);
			pws_opens_add(&o, ino * 4096, n);
			nr += !want[ino];
			want[ino] += n;
			total += n;
		} else {
			uint64_t got = pws_opens_sub(&o, ino * 4096, n);

			assert_int_equal(got, n < want[ino] ? n : want[ino]);
			nr -= got && want[ino] == got;
			want[ino] -= got;
			total -= got;
		}
		assert_int_equal(o.nr, nr);
		assert_int_equal(o.total, total);
		assert_int_equal(pws_opens_get(&o, ino * 4096), want[ino]);
	}
	for (uint64_t ino = 1; ino <= INOS; ino++)
		assert_int_equal(pws_opens_get(&o, ino * 4096), want[ino]);
	pws_opens_fini(&o);
}

static void test_next__visits_each_once(void **state)
{
	bool seen[101] = { false };
	struct pws_opens o;
	uint32_t pos = 0, nr = 0;
	uint64_t ino, n;

	(void)state;
	pws_opens_init(&o);
	assert_false(pws_opens_next(&o, &pos, &ino, &n));
	assert_int_equal(pws_opens_reserve(&o, 100), 0);
	for (uint64_t i = 1; i <= 100; i++)
		pws_opens_add(&o, i, i);
	pos = 0;
	while (pws_opens_next(&o, &pos, &ino, &n)) {
		assert_int_equal(ino, n);
		assert_false(seen[ino]);
		seen[ino] = true;
		nr++;
	}
	assert_int_equal(nr, 100);
	pws_opens_fini(&o);
}

static void test_reserve__keeps_what_is_there(void **state)
{
	struct pws_opens o;

	(void)state;
	pws_opens_init(&o);
	for (uint64_t i = 1; i <= 10000; i++) {
		assert_int_equal(pws_opens_reserve(&o, 1), 0);
		pws_opens_add(&o, i << 20, 1);
	}
	for (uint64_t i = 1; i <= 10000; i++)
		assert_int_equal(pws_opens_get(&o, i << 20), 1);
	assert_int_equal(pws_opens_reserve(&o, UINT32_MAX), -ENOMEM);
	pws_opens_fini(&o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_add_sub__counts),
		cmocka_unit_test(test_random__agrees_with_an_array),
		cmocka_unit_test(test_next__visits_each_once),
		cmocka_unit_test(test_reserve__keeps_what_is_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
