/* SPDX-License-Identifier: Apache-2.0 */
/* test_timer_heap.c -- the heap against a sorted model, growth, past deadlines */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/timer_heap.h"

static void no_fn(struct pw_timer *t)
{
	fail();
}

static void init_timer(struct pw_timer *t)
{
	*t = (struct pw_timer){ .heap_idx = UINT32_MAX, .fn = no_fn };
}

static void check_heap(const struct pw_timer_heap *h)
{
	for (uint32_t i = 0; i < h->nr; i++) {
		assert_int_equal(h->slot[i]->heap_idx, i);
		if (i)
			assert_true(h->slot[(i - 1) / 2]->deadline_ns <= h->slot[i]->deadline_ns);
	}
}

static uint64_t seed = 88172645463325252ull;

static uint64_t next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

#define NR 500

static void test_heap__random_arm_cancel_pop_against_a_model(void **state)
{
	static struct pw_timer t[NR];
	struct pw_timer_heap h;
	uint64_t now = 1000;

	assert_int_equal(pw_timer_heap_init(&h), 0);
	for (int i = 0; i < NR; i++)
		init_timer(&t[i]);
	for (int round = 0; round < 20000; round++) {
		struct pw_timer *p = &t[next_random() % NR];
		uint64_t first = UINT64_MAX;

		if (next_random() % 3)
			pw_timer_heap_arm(&h, p, now + next_random() % 1000, now);
		else
			pw_timer_heap_cancel(&h, p);
		for (int i = 0; i < NR; i++)
			if (pw_timer_armed(&t[i]))
				first = PW_MIN(first, t[i].deadline_ns);
		assert_int_equal(pw_timer_heap_next(&h), first);
		if (round % 16)
			continue;
		check_heap(&h);
		now += next_random() % 300;
		while ((p = pw_timer_heap_pop_due(&h, now))) {
			assert_true(p->deadline_ns <= now);
			assert_false(pw_timer_armed(p));
		}
		assert_true(pw_timer_heap_next(&h) > now);
	}
	pw_timer_heap_fini(&h);
	for (int i = 0; i < NR; i++)
		assert_false(pw_timer_armed(&t[i]));
}

static void test_heap__grows(void **state)
{
	const uint32_t nr = 10000;
	struct pw_timer *t = calloc(nr, sizeof(*t)), *p;
	struct pw_timer_heap h;
	uint64_t last = 0;

	assert_int_equal(pw_timer_heap_init(&h), 0);
	for (uint32_t i = 0; i < nr; i++) {
		init_timer(&t[i]);
		pw_timer_heap_arm(&h, &t[i], (i * 7919ull) % nr + 1, 0);
	}
	check_heap(&h);
	for (uint32_t i = 0; i < nr; i++) {
		p = pw_timer_heap_pop_due(&h, UINT64_MAX - 1);
		assert_non_null(p);
		assert_true(p->deadline_ns >= last);
		last = p->deadline_ns;
	}
	assert_null(pw_timer_heap_pop_due(&h, UINT64_MAX - 1));
	pw_timer_heap_fini(&h);
	free(t);
}

static void test_heap_arm__past_is_the_next_nanosecond(void **state)
{
	struct pw_timer_heap h;
	struct pw_timer t;

	assert_int_equal(pw_timer_heap_init(&h), 0);
	init_timer(&t);
	pw_timer_heap_arm(&h, &t, 5, 100);
	assert_null(pw_timer_heap_pop_due(&h, 100));
	assert_ptr_equal(pw_timer_heap_pop_due(&h, 101), &t);
	/* "never", and an empty heap, are due at no time */
	pw_timer_heap_arm(&h, &t, UINT64_MAX, 100);
	assert_int_equal(pw_timer_heap_next(&h), UINT64_MAX);
	pw_timer_heap_cancel(&h, &t);
	assert_null(pw_timer_heap_pop_due(&h, UINT64_MAX));
	pw_timer_heap_fini(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_heap__random_arm_cancel_pop_against_a_model),
		cmocka_unit_test(test_heap__grows),
		cmocka_unit_test(test_heap_arm__past_is_the_next_nanosecond),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
