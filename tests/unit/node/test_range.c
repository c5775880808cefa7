/* SPDX-License-Identifier: Apache-2.0 */
/* test_range.c -- who waits for whom */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/random.h"
#include "storage_node/store/range.h"

#include "vloop.h"

#define NR 16u

struct user {
	struct pw_ready ready;
	struct pws_range range;
	uint32_t steps;
};

struct ctx {
	struct pw_loop *loop;
	struct pws_ranges *rs;
	struct user u[NR];
};

static void step(struct pw_ready *r)
{
	pw_container_of(r, struct user, ready)->steps++;
}

static int setup(void **state)
{
	struct ctx *c = calloc(1, sizeof(*c));

	c->loop = vloop_new();
	assert_int_equal(pws_ranges_new(c->loop, NR, &c->rs), 0);
	for (uint32_t i = 0; i < NR; i++) {
		pw_ready_init(&c->u[i].ready, step);
		pw_list_init(&c->u[i].range.node);
	}
	*state = c;
	return 0;
}

static int teardown(void **state)
{
	struct ctx *c = *state;

	pws_ranges_free(c->rs);
	vloop_free(c->loop);
	free(c);
	return 0;
}

static bool take(struct ctx *c, uint32_t i, uint64_t ino, uint64_t first, uint64_t last,
		 bool shared)
{
	return pws_range_take(c->rs, &c->u[i].range, ino, first, last, shared, &c->u[i].ready);
}

static void drop(struct ctx *c, uint32_t i)
{
	pws_range_drop(c->rs, &c->u[i].range);
	vloop_settle(c->loop);
}

static void test_take__disjoint(void **state)
{
	struct ctx *c = *state;

	assert_true(take(c, 0, 1, 0, 9, false));
	assert_true(take(c, 1, 1, 10, 10, false));
	assert_true(take(c, 2, 2, 0, 9, false)); /* another file */
	for (uint32_t i = 0; i < 3; i++)
		drop(c, i);
	assert_int_equal(c->u[0].steps + c->u[1].steps + c->u[2].steps, 0);
}

static void test_take__overlap_waits(void **state)
{
	struct ctx *c = *state;

	assert_true(take(c, 0, 1, 0, 9, false));
	assert_false(take(c, 1, 1, 9, 12, false));
	drop(c, 0);
	assert_int_equal(c->u[1].steps, 1);
	assert_true(c->u[1].range.granted);
	drop(c, 1);
}

static void test_take__first_come_first_served(void **state)
{
	struct ctx *c = *state;

	assert_true(take(c, 0, 1, 0, 0, false));
	assert_false(take(c, 1, 1, 0, UINT64_MAX, false)); /* a truncation */
	assert_false(take(c, 2, 1, 5, 5, false));	   /* behind it, although 5 is not taken */
	drop(c, 0);
	assert_int_equal(c->u[1].steps, 1);
	assert_int_equal(c->u[2].steps, 0);
	drop(c, 1);
	assert_int_equal(c->u[2].steps, 1);
	drop(c, 2);
}

static void test_take__shared(void **state)
{
	struct ctx *c = *state;

	assert_true(take(c, 0, 1, 0, 9, true));
	assert_true(take(c, 1, 1, 0, 9, true));
	assert_false(take(c, 2, 1, 3, 3, false));
	assert_false(take(c, 3, 1, 0, 9, true)); /* not past the one that waits */
	drop(c, 0);
	assert_int_equal(c->u[2].steps, 0);
	drop(c, 1);
	assert_int_equal(c->u[2].steps, 1);
	drop(c, 2);
	assert_int_equal(c->u[3].steps, 1);
	drop(c, 3);
}

static void test_drop__waiting_one(void **state)
{
	struct ctx *c = *state;

	assert_true(take(c, 0, 1, 0, 0, false));
	assert_false(take(c, 1, 1, 0, 9, false));
	assert_false(take(c, 2, 1, 9, 9, false));
	drop(c, 1);
	assert_int_equal(c->u[1].steps, 0);
	assert_int_equal(c->u[2].steps, 1);
	drop(c, 0);
	drop(c, 2);
	drop(c, 2); /* nothing */
}

static void test_random__never_two_at_once(void **state)
{
	struct ctx *c = *state;
	bool taken[NR] = { false };

	vrandom_seed(3);
	for (uint32_t n = 0; n < 20000; n++) {
		uint32_t i = (uint32_t)pw_random_below(NR);
		uint64_t first = pw_random_below(20);

		if (taken[i])
			drop(c, i);
		else
			take(c, i, 1 + pw_random_below(3), first, first + pw_random_below(5),
			     false);
		taken[i] = !taken[i];
		for (uint32_t a = 0; a < NR; a++) {
			for (uint32_t b = 0; b < a; b++) {
				const struct pws_range *x = &c->u[a].range, *y = &c->u[b].range;

				if (x->inode && y->inode == x->inode && x->granted && y->granted)
					assert_true(x->last < y->first || y->last < x->first);
			}
		}
	}
	for (uint32_t i = 0; i < NR; i++)
		drop(c, i);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_take__disjoint, setup, teardown),
		cmocka_unit_test_setup_teardown(test_take__overlap_waits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_take__first_come_first_served, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_take__shared, setup, teardown),
		cmocka_unit_test_setup_teardown(test_drop__waiting_one, setup, teardown),
		cmocka_unit_test_setup_teardown(test_random__never_two_at_once, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
