/* SPDX-License-Identifier: Apache-2.0 */
/* test_opens.c -- counts of open inodes, what RECLAIM says of them, what the page cache knows */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client_fs/opens.h"

#define MAX_CALLS 64u

static struct pwc_call *out[MAX_CALLS];
static uint32_t nr_out;
static struct pwc_opens o;

void pwc_peer_call(struct pwc_peer *p, struct pwc_call *c)
{
	(void)p;
	assert_int_equal(c->send.cmd.op, PW_OP_RELEASE);
	assert_true(nr_out < MAX_CALLS);
	out[nr_out++] = c;
}

/* The node answers the oldest RELEASE. Return: the opens that it gave back. */
static uint32_t answer(int err)
{
	struct pwc_call *c = out[0];
	uint32_t n = c->send.cmd.ino.flags;

	assert_true(nr_out > 0);
	nr_out--;
	memmove(out, out + 1, nr_out * sizeof(out[0]));
	c->done(c, err, NULL, 0);
	return n;
}

static int setup(void **state)
{
	(void)state;
	nr_out = 0;
	return pwc_opens_init(&o, NULL);
}

static int teardown(void **state)
{
	(void)state;
	while (nr_out)
		answer(0);
	pwc_opens_fini(&o);
	return 0;
}

static bool open_ino(uint64_t ino, uint64_t change)
{
	assert_int_equal(pwc_opens_reserve(&o), 0);
	return pwc_opens_add(&o, ino, change);
}

static uint32_t reclaim_of(uint64_t ino)
{
	uint64_t iter = 0, i;
	uint32_t n, found = 0, times = 0;

	while (pwc_opens_next(&o, &iter, &i, &n)) {
		if (i != ino)
			continue;
		found = n;
		times++;
	}
	assert_true(times <= 1);
	return found;
}

static void test_put__closes_are_gathered_while_one_is_out(void **state)
{
	(void)state;
	for (int i = 0; i < 5; i++)
		open_ino(7, 1);
	for (int i = 0; i < 4; i++)
		pwc_opens_put(&o, 7);
	assert_int_equal(nr_out, 1);
	assert_int_equal(out[0]->send.cmd.ino.ino, 7);
	assert_int_equal(reclaim_of(7), 5);
	assert_int_equal(answer(0), 1);
	assert_int_equal(reclaim_of(7), 4);
	assert_int_equal(nr_out, 1);
	assert_int_equal(answer(0), 3);
	assert_int_equal(reclaim_of(7), 1);
	assert_int_equal(nr_out, 0);
	assert_int_equal(o.nr_opens, 1);
}

static void test_put__an_answer_that_is_an_error_is_the_end_of_it(void **state)
{
	(void)state;
	open_ino(7, 1);
	pwc_opens_put(&o, 7);
	assert_int_equal(answer(-EIO), 1);
	assert_int_equal(reclaim_of(7), 0);
	assert_int_equal(o.nr_closed, 1);
	pwc_opens_put(&o, 7); /* no kernel does it */
	pwc_opens_put(&o, 8);
	assert_int_equal(nr_out, 0);
}

static void test_put__shutdown_sends_nothing_more(void **state)
{
	(void)state;
	open_ino(7, 1);
	open_ino(7, 1);
	pwc_opens_put(&o, 7);
	pwc_opens_put(&o, 7);
	answer(-ESHUTDOWN);
	assert_int_equal(nr_out, 0);
	assert_int_equal(o.nr_releasing, 0);
}

static void test_known__moves_with_our_own_changes_only(void **state)
{
	(void)state;
	assert_false(open_ino(7, 10));
	pwc_opens_own_change(&o, 7, 11);
	pwc_opens_own_change(&o, 7, 12);
	pwc_opens_own_change(&o, 7, 11); /* an answer that is late says nothing new */
	assert_true(open_ino(7, 12));
	pwc_opens_own_change(&o, 7, 14); /* 13 was somebody else */
	assert_false(open_ino(7, 14));
	assert_true(open_ino(7, 14));
	assert_false(open_ino(7, 13));
}

static void test_known__answers_that_overtake_each_other_are_no_gap(void **state)
{
	(void)state;
	open_ino(7, 10);
	pwc_opens_own_change(&o, 7, 13);
	pwc_opens_own_change(&o, 7, 12);
	pwc_opens_own_change(&o, 7, 11);
	assert_true(open_ino(7, 13));
	/* the farthest that is remembered, and one farther */
	pwc_opens_own_change(&o, 7, 13 + 64);
	for (uint64_t c = 14; c < 13 + 64; c++)
		pwc_opens_own_change(&o, 7, c);
	assert_true(open_ino(7, 13 + 64));
	pwc_opens_own_change(&o, 7, 77 + 65);
	for (uint64_t c = 78; c < 77 + 65; c++)
		pwc_opens_own_change(&o, 7, c);
	assert_false(open_ino(7, 77 + 65));
	/* what an open has found out is not mixed with what came before */
	pwc_opens_own_change(&o, 7, 150);
	assert_false(open_ino(7, 148));
	pwc_opens_own_change(&o, 7, 149);
	assert_false(open_ino(7, 150));
}

static void test_known__a_write_in_flight_during_an_open_cannot_hide_a_foreign_change(void **state)
{
	(void)state;
	open_ino(7, 10);
	/* our write (11) is applied, its answer is late; the open sees it */
	assert_false(open_ino(7, 11));
	pwc_opens_own_change(&o, 7, 11);
	/* now somebody else writes */
	assert_false(open_ino(7, 12));
}

static void test_outdated__once_and_only_where_nobody_writes(void **state)
{
	(void)state;
	assert_false(pwc_opens_outdated(&o, 7, 10)); /* nobody has it open */
	open_ino(7, 10);
	assert_false(pwc_opens_outdated(&o, 7, 10));
	assert_false(pwc_opens_outdated(&o, 7, 9)); /* an answer that is late */
	assert_true(pwc_opens_outdated(&o, 7, 12));
	assert_false(pwc_opens_outdated(&o, 7, 12));
	assert_true(open_ino(7, 12));
	pwc_opens_writer(&o, 7, true);
	assert_false(pwc_opens_outdated(&o, 7, 13)); /* may be ours, its answer is late */
	pwc_opens_own_change(&o, 7, 14);
	pwc_opens_writer(&o, 7, false);
	assert_true(pwc_opens_outdated(&o, 7, 14)); /* who knows what 13 was */
	assert_false(pwc_opens_outdated(&o, 7, 14));
}

static void test_forget__only_what_is_closed(void **state)
{
	(void)state;
	open_ino(7, 10);
	pwc_opens_forget(&o, 7);
	assert_int_equal(reclaim_of(7), 1);
	pwc_opens_put(&o, 7);
	pwc_opens_forget(&o, 7); /* the RELEASE is still out */
	assert_int_equal(o.nr_inodes, 1);
	answer(0);
	assert_true(open_ino(7, 10));
	pwc_opens_put(&o, 7);
	answer(0);
	pwc_opens_forget(&o, 7);
	assert_int_equal(o.nr_inodes, 0);
	assert_false(open_ino(7, 10));
}

static void test_closed__oldest_are_dropped(void **state)
{
	const uint32_t nr = PWC_OPENS_CLOSED_MAX + 100;

	(void)state;
	for (uint32_t i = 1; i <= nr; i++) {
		open_ino(i, 5);
		pwc_opens_put(&o, i);
		answer(0);
	}
	assert_int_equal(o.nr_closed, PWC_OPENS_CLOSED_MAX);
	assert_int_equal(o.nr_inodes, PWC_OPENS_CLOSED_MAX);
	assert_false(open_ino(1, 5));
	assert_true(open_ino(nr, 5));
}

static void test_reclaim__many_inodes_each_once(void **state)
{
	enum { NR = 5000 };
	static uint8_t seen[NR + 1];
	uint64_t iter = 0, ino;
	uint32_t n;

	(void)state;
	memset(seen, 0, sizeof(seen));
	for (uint32_t i = 1; i <= NR; i++)
		open_ino(i, 1);
	for (uint32_t i = 3; i <= NR; i += 3) {
		pwc_opens_put(&o, i);
		answer(0);
		pwc_opens_forget(&o, i);
	}
	while (pwc_opens_next(&o, &iter, &ino, &n)) {
		assert_int_equal(n, 1);
		seen[ino]++;
	}
	for (uint32_t i = 1; i <= NR; i++)
		assert_int_equal(seen[i], i % 3 != 0);
	/* holes are used again */
	for (uint32_t i = 3; i <= NR; i += 3)
		open_ino(i, 1);
	assert_int_equal(o.nr_slots, NR);
}

static void test_reserve__is_kept_through_others_failures(void **state)
{
	(void)state;
	for (int i = 0; i < 300; i++)
		assert_int_equal(pwc_opens_reserve(&o), 0);
	for (int i = 0; i < 150; i++)
		pwc_opens_unreserve(&o);
	for (uint32_t i = 0; i < 150; i++)
		pwc_opens_add(&o, 1000 + i, 1);
	assert_int_equal(o.nr_reserved, 0);
	assert_int_equal(o.nr_inodes, 150);
}

static void test_due__in_doubled_times_up_to_a_limit(void **state)
{
	uint64_t now = PW_NS_PER_S;

	(void)state;
	pwc_opens_due(&o, now);
	open_ino(5, 1);
	for (uint32_t wait = 1; wait <= 64; wait *= 2) {
		uint64_t every = PW_MIN(wait, 32u) * PW_NS_PER_S;

		assert_int_equal(pwc_opens_due(&o, now + every - 1), 0);
		now += every;
		assert_int_equal(pwc_opens_due(&o, now), 5);
		assert_int_equal(pwc_opens_due(&o, now), 0);
	}
	/* a change begins anew, what is no change does not */
	assert_false(pwc_opens_outdated(&o, 5, 1));
	assert_int_equal(pwc_opens_due(&o, now + PW_NS_PER_S), 0);
	now += PW_NS_PER_S;
	assert_true(pwc_opens_outdated(&o, 5, 2));
	assert_int_equal(pwc_opens_due(&o, now + PW_NS_PER_S), 5);
}

static void test_due__only_what_is_open_and_only_read(void **state)
{
	uint64_t late = 1000 * PW_NS_PER_S;

	(void)state;
	open_ino(5, 1);
	open_ino(5, 1);
	open_ino(6, 1);
	pwc_opens_writer(&o, 5, true);
	assert_int_equal(pwc_opens_due(&o, late), 6);
	assert_int_equal(pwc_opens_due(&o, late), 0);
	pwc_opens_writer(&o, 5, false);
	pwc_opens_put(&o, 5);
	assert_int_equal(pwc_opens_due(&o, late), 0);
	assert_int_equal(pwc_opens_due(&o, late + PW_NS_PER_S), 5);
	pwc_opens_put(&o, 5);
	pwc_opens_put(&o, 6);
	assert_int_equal(pwc_opens_due(&o, 2 * late), 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_put__closes_are_gathered_while_one_is_out),
		T(test_put__an_answer_that_is_an_error_is_the_end_of_it),
		T(test_put__shutdown_sends_nothing_more),
		T(test_known__moves_with_our_own_changes_only),
		T(test_known__answers_that_overtake_each_other_are_no_gap),
		T(test_known__a_write_in_flight_during_an_open_cannot_hide_a_foreign_change),
		T(test_outdated__once_and_only_where_nobody_writes),
		T(test_due__in_doubled_times_up_to_a_limit),
		T(test_due__only_what_is_open_and_only_read),
		T(test_forget__only_what_is_closed),
		T(test_closed__oldest_are_dropped),
		T(test_reclaim__many_inodes_each_once),
		T(test_reserve__is_kept_through_others_failures),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
