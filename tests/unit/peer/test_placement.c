/* SPDX-License-Identifier: Apache-2.0 */
/* test_placement.c -- table-driven: ranges and the legs they must become */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "client_fs/placement.h"

#define MIB (1u << 20)

static const struct pwc_layout one = { .nr_nodes = 1, .chunk_bytes = PWC_CHUNK_BYTES };
static const struct pwc_layout three = { .nr_nodes = 3, .chunk_bytes = MIB };

static void test_map__one_node_is_one_leg(void **state)
{
	struct pwc_leg legs[PWC_LEGS_MAX];

	(void)state;
	assert_int_equal(pwc_placement_map(&one, 7, 3 * MIB + 5, 16 * MIB, legs), 1);
	assert_int_equal(legs[0].off, 3 * MIB + 5);
	assert_int_equal(legs[0].len, 16 * MIB);
	assert_int_equal(legs[0].buf_off, 0);
	assert_int_equal(legs[0].node, 0);
}

static void test_map__legs_cover_the_range_in_order(void **state)
{
	struct pwc_leg legs[PWC_LEGS_MAX];
	uint32_t i, pos = 0;
	int nr;

	(void)state;
	nr = pwc_placement_map(&three, 2, MIB - 1, 2 * MIB + 2, legs);
	assert_int_equal(nr, 4);
	for (i = 0; i < (uint32_t)nr; i++) {
		assert_int_equal(legs[i].buf_off, pos);
		assert_int_equal(legs[i].off, MIB - 1 + (uint64_t)pos);
		assert_int_equal(legs[i].node, (2 + legs[i].off / MIB) % 3);
		pos += legs[i].len;
	}
	assert_int_equal(pos, 2 * MIB + 2);
	assert_int_equal(legs[0].len, 1);
	assert_int_equal(legs[3].len, 1);
}

static void test_map__refuses_what_it_cannot_cut(void **state)
{
	struct pwc_leg legs[PWC_LEGS_MAX];

	(void)state;
	assert_int_equal(pwc_placement_map(&three, 2, 0, 0, legs), -EINVAL);
	assert_int_equal(pwc_placement_map(&three, 2, UINT64_MAX - 1, 16, legs), -EINVAL);
	assert_int_equal(pwc_placement_map(&three, 2, 0, 9 * MIB, legs), -EINVAL);
	assert_int_equal(pwc_placement_map(&three, 2, 0, 8 * MIB, legs), 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_map__one_node_is_one_leg),
		cmocka_unit_test(test_map__legs_cover_the_range_in_order),
		cmocka_unit_test(test_map__refuses_what_it_cannot_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
