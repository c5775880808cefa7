/* SPDX-License-Identifier: Apache-2.0 */
/* test_rail.c -- the table of rails: order of a round, losses, probes, moves, lists of a node */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "client_fs/rail.h"

#define S PW_NS_PER_S
#define V4(a, b, c, d) { [10] = 0xff, [11] = 0xff, a, b, c, d }

static struct pwc_rails t;
static uint64_t now;

/* @nr rails, 10.0.0.1 and so on; the first is preferred. */
static void make(uint32_t nr, enum pw_transport wanted)
{
	char host[16];

	now = 1000 * S;
	pwc_rails_init(&t, wanted, 0);
	for (uint32_t i = 0; i < nr; i++) {
		snprintf(host, sizeof(host), "10.0.%u.1", i);
		assert_int_equal(pwc_rails_add(&t, host, 7470, NULL, PWC_RAIL_OF_OPTION), 0);
	}
}

static void expect_next(uint32_t rail, enum pwc_way way, bool pause)
{
	bool got;

	assert_true(pwc_rails_next(&t, &got));
	assert_int_equal(t.cur.rail, rail);
	assert_int_equal(t.cur.way, way);
	assert_int_equal(got, pause);
}

static void expect_over(void)
{
	bool pause;

	assert_false(pwc_rails_next(&t, &pause));
}

static void fail_next(uint32_t rail, enum pwc_way way, bool pause)
{
	expect_next(rail, way, pause);
	pwc_rails_failed(&t, now, -ECONNREFUSED, "refused", false);
}

static void up(uint32_t rail, enum pwc_way way)
{
	t.cur = (struct pwc_pick){ rail, way };
	pwc_rails_up(&t, now, "10.0.0.1:7470");
}

static void test_round__rdma_over_every_rail_then_tcp(void **state)
{
	(void)state;
	make(3, PW_TRANSPORT_AUTO);
	t.spread = 4; /* of three: the second is preferred */
	fail_next(1, PWC_WAY_RDMA, false);
	fail_next(2, PWC_WAY_RDMA, false);
	fail_next(0, PWC_WAY_RDMA, false);
	fail_next(1, PWC_WAY_TCP, false);
	fail_next(2, PWC_WAY_TCP, false);
	fail_next(0, PWC_WAY_TCP, false);
	expect_over();
	pwc_rails_round(&t);
	expect_next(1, PWC_WAY_RDMA, false);
}

static void test_round__one_transport_only(void **state)
{
	(void)state;
	make(2, PW_TRANSPORT_TCP);
	fail_next(0, PWC_WAY_TCP, false);
	fail_next(1, PWC_WAY_TCP, false);
	expect_over();
	make(1, PW_TRANSPORT_RDMA);
	fail_next(0, PWC_WAY_RDMA, false);
	expect_over();
}

static void test_lost__the_others_first_and_at_once(void **state)
{
	(void)state;
	make(2, PW_TRANSPORT_TCP);
	up(0, PWC_WAY_TCP);
	pwc_rails_lost(&t, now, -ETIMEDOUT, "silent");
	fail_next(1, PWC_WAY_TCP, false);
	fail_next(0, PWC_WAY_TCP, false);
	expect_over();
	/* the next round forgets the loss */
	pwc_rails_round(&t);
	expect_next(0, PWC_WAY_TCP, false);
}

static void test_lost__the_only_rail_after_a_pause(void **state)
{
	(void)state;
	make(1, PW_TRANSPORT_AUTO);
	up(0, PWC_WAY_RDMA);
	pwc_rails_lost(&t, now, -ETIMEDOUT, "silent");
	fail_next(0, PWC_WAY_RDMA, true);
	fail_next(0, PWC_WAY_TCP, false);
	expect_over();
}

static void test_lost__rdma_over_the_others_before_tcp(void **state)
{
	(void)state;
	make(2, PW_TRANSPORT_AUTO);
	up(0, PWC_WAY_RDMA);
	pwc_rails_lost(&t, now, -ETIMEDOUT, "silent");
	fail_next(1, PWC_WAY_RDMA, false);
	fail_next(0, PWC_WAY_RDMA, false);
	fail_next(1, PWC_WAY_TCP, false);
	fail_next(0, PWC_WAY_TCP, false);
	expect_over();
}

static void test_failed__a_node_that_refuses_is_not_asked_over_tcp(void **state)
{
	(void)state;
	make(2, PW_TRANSPORT_AUTO);
	expect_next(0, PWC_WAY_RDMA, false);
	pwc_rails_failed(&t, now, -EMEDIUMTYPE, "another node", true);
	fail_next(1, PWC_WAY_RDMA, false);
	fail_next(1, PWC_WAY_TCP, false);
	expect_over();
}

static void test_failed__without_the_library_rdma_is_tried_once(void **state)
{
	struct pwc_pick p;
	uint64_t when;

	(void)state;
	make(3, PW_TRANSPORT_AUTO);
	expect_next(0, PWC_WAY_RDMA, false);
	pwc_rails_failed(&t, now, -ENOSYS, "no library", false);
	expect_next(0, PWC_WAY_TCP, false);
	pwc_rails_up(&t, now, "10.0.0.1:7470");
	assert_string_equal(t.rail[2].way[PWC_WAY_RDMA].why, "no library");
	assert_true(pwc_rails_probe_next(&t, &p, &when));
	assert_int_equal(p.way, PWC_WAY_TCP);
}

static void test_doubt__what_does_not_answer_probes_comes_last(void **state)
{
	(void)state;
	make(3, PW_TRANSPORT_TCP);
	up(0, PWC_WAY_TCP);
	pwc_rails_probed(&t, (struct pwc_pick){ 1, PWC_WAY_TCP }, now, -ETIMEDOUT, "dark");
	pwc_rails_probed(&t, (struct pwc_pick){ 2, PWC_WAY_TCP }, now, 0, "");
	pwc_rails_lost(&t, now, -ETIMEDOUT, "silent");
	fail_next(2, PWC_WAY_TCP, false);
	fail_next(0, PWC_WAY_TCP, false);
	fail_next(1, PWC_WAY_TCP, false);
	expect_over();
	assert_int_equal(t.rail[1].way[PWC_WAY_TCP].failures, 2);
}

/* Probes when they are due until @until; the answer of each is @err. Return: how many. */
static uint32_t probe_until(uint64_t until, int err)
{
	struct pwc_pick p;
	uint32_t nr = 0;
	uint64_t when;

	while (pwc_rails_probe_next(&t, &p, &when) && when <= until) {
		now = PW_MAX(now, when);
		pwc_rails_probed(&t, p, now, err, "dark");
		nr++;
	}
	now = until;
	return nr;
}

static void test_return__when_it_has_been_good_for_a_while(void **state)
{
	struct pwc_pick p;

	(void)state;
	make(2, PW_TRANSPORT_TCP);
	up(0, PWC_WAY_TCP);
	now += S;
	pwc_rails_lost(&t, now, -ETIMEDOUT, "silent");
	expect_next(1, PWC_WAY_TCP, false);
	pwc_rails_up(&t, now, "10.0.1.1:7470");
	assert_false(pwc_rails_better(&t, now, &p));
	probe_until(now + 60 * S, -ETIMEDOUT);
	assert_false(pwc_rails_better(&t, now, &p));
	assert_in_range(probe_until(now + 61 * S, 0), 1, 61);
	assert_true(pwc_rails_better(&t, now, &p));
	assert_int_equal(p.rail, 0);
	pwc_rails_put_off(&t, p, now);
	assert_false(pwc_rails_better(&t, now, &p));
	probe_until(now + 30 * S, 0);
	assert_true(pwc_rails_better(&t, now, &p));
	/* once there, nothing is better */
	pwc_rails_leave(&t, p);
	pwc_rails_up(&t, now, "10.0.0.1:7470");
	probe_until(now + 100 * S, 0);
	assert_false(pwc_rails_better(&t, now, &p));
}

static void test_return__waits_longer_after_each_loss(void **state)
{
	uint64_t last = 0;

	(void)state;
	make(2, PW_TRANSPORT_TCP);
	up(0, PWC_WAY_TCP);
	for (uint32_t i = 0; i < 5; i++) {
		struct pwc_pick p;
		uint64_t begin;

		now += S;
		pwc_rails_lost(&t, now, -ETIMEDOUT, "silent");
		expect_next(1, PWC_WAY_TCP, false);
		pwc_rails_up(&t, now, "10.0.1.1:7470");
		for (begin = now; !pwc_rails_better(&t, now, &p);)
			probe_until(now + S, 0);
		assert_true(now - begin > last);
		last = now - begin;
		pwc_rails_leave(&t, p);
		pwc_rails_up(&t, now, "10.0.0.1:7470");
	}
	/* a long good life wipes that out */
	now += 3600 * S;
	pwc_rails_lost(&t, now, -ETIMEDOUT, "silent");
	assert_int_equal(t.rail[0].way[PWC_WAY_TCP].losses, 1);
}

static void test_return__rdma_over_any_rail_beats_tcp(void **state)
{
	struct pwc_pick p;

	(void)state;
	make(2, PW_TRANSPORT_AUTO);
	up(0, PWC_WAY_TCP);
	for (uint32_t i = 0; i < 10; i++, now += S)
		pwc_rails_probed(&t, (struct pwc_pick){ 1, PWC_WAY_RDMA }, now, 0, "");
	assert_true(pwc_rails_better(&t, now, &p));
	assert_int_equal(p.rail, 1);
	assert_int_equal(p.way, PWC_WAY_RDMA);
}

static void test_probes__get_rarer_where_nobody_answers(void **state)
{
	uint32_t first, later;

	(void)state;
	make(2, PW_TRANSPORT_TCP);
	up(1, PWC_WAY_TCP);
	first = probe_until(now + 60 * S, -ETIMEDOUT);
	later = probe_until(now + 600 * S, -ETIMEDOUT);
	assert_in_range(first, 4, 8);
	assert_in_range(later, 9, 11);
	make(1, PW_TRANSPORT_TCP);
	up(0, PWC_WAY_TCP);
	assert_int_equal(probe_until(now + 600 * S, 0), 0);
}

static const struct pw_local_addr locals[] = {
	{ V4(127, 0, 0, 1), 104 }, { V4(10, 0, 0, 9), 120 }, { V4(10, 0, 1, 9), 120 },
	{ { 0xfd, [15] = 9 }, 64 }, { V4(10, 0, 2, 129), 121 },
};

static void test_offer__pairs_of_one_network(void **state)
{
	const struct pw_rail_addr list[] = {
		{ V4(10, 0, 0, 1), 7470, 1 }, { V4(10, 0, 1, 1), 7470, 3 },
		{ { 0xfd, [15] = 1 }, 99, 1 }, { V4(10, 9, 0, 1), 7470, 3 },
		{ V4(127, 0, 0, 1), 7470, 3 }, { V4(10, 0, 2, 127), 7470, 1 },
		{ V4(10, 0, 2, 200), 7470, 1 },
	};

	(void)state;
	make(1, PW_TRANSPORT_AUTO);
	up(0, PWC_WAY_TCP);
	pwc_rails_offer(&t, list, 7, locals, PW_ARRAY_SIZE(locals));
	assert_int_equal(t.nr, 4);
	assert_int_equal(t.rail[0].way[PWC_WAY_RDMA].state, PWC_RAIL_NOT_OFFERED);
	assert_string_equal(t.rail[1].host, "10.0.1.1");
	assert_string_equal(t.rail[1].local, "10.0.1.9");
	assert_int_equal(t.rail[1].way[PWC_WAY_RDMA].state, PWC_RAIL_UNTRIED);
	assert_string_equal(t.rail[2].addr, "[fd00::1]:99");
	assert_string_equal(t.rail[3].host, "10.0.2.200");
	/* the same again changes nothing; RDMA appears; one is withdrawn */
	pwc_rails_offer(&t, list, 7, locals, PW_ARRAY_SIZE(locals));
	assert_int_equal(t.nr, 4);
	pwc_rails_offer(&t, list + 1, 3, locals, PW_ARRAY_SIZE(locals));
	assert_int_equal(t.nr, 3);
	/* nothing is added for who does not want it */
	make(1, PW_TRANSPORT_AUTO);
	up(0, PWC_WAY_TCP);
	pwc_rails_offer(&t, list, 7, NULL, 0);
	assert_int_equal(t.nr, 1);
	assert_int_equal(t.rail[0].way[PWC_WAY_RDMA].state, PWC_RAIL_NOT_OFFERED);
}

static void test_offer__loopback_only_over_loopback(void **state)
{
	const struct pw_rail_addr list[] = { { V4(127, 0, 0, 1), 7470, 1 },
					     { V4(127, 0, 0, 2), 7470, 1 } };

	(void)state;
	make(0, PW_TRANSPORT_TCP);
	assert_int_equal(pwc_rails_add(&t, "localhost", 7470, NULL, PWC_RAIL_OF_MOUNT), 0);
	up(0, PWC_WAY_TCP); /* the name was 10.0.0.1 */
	pwc_rails_offer(&t, list, 2, locals, 1);
	assert_int_equal(t.nr, 1);
	make(0, PW_TRANSPORT_TCP);
	assert_int_equal(pwc_rails_add(&t, "localhost", 7470, NULL, PWC_RAIL_OF_MOUNT), 0);
	t.cur = (struct pwc_pick){ 0, PWC_WAY_TCP };
	pwc_rails_up(&t, now, "127.0.0.1:7470");
	pwc_rails_offer(&t, list, 2, locals, 1);
	assert_int_equal(t.nr, 2);
}

static void test_add__what_is_equal_and_what_is_too_much(void **state)
{
	char host[16];

	(void)state;
	make(1, PW_TRANSPORT_TCP);
	assert_int_equal(pwc_rails_add(&t, "10.0.0.1", 7470, "10.0.0.9", PWC_RAIL_OF_OPTION), 0);
	assert_int_equal(t.nr, 1);
	assert_string_equal(t.rail[0].local, "10.0.0.9");
	assert_int_equal(pwc_rails_add(&t, "10.0.0.1", 7470, "10.0.0.8", PWC_RAIL_OF_OPTION), 0);
	assert_int_equal(pwc_rails_add(&t, "10.0.0.1", 7471, NULL, PWC_RAIL_OF_OPTION), 0);
	assert_int_equal(t.nr, 3);
	for (uint32_t i = 3; i < PWC_RAILS_MAX; i++) {
		snprintf(host, sizeof(host), "10.1.%u.1", i);
		assert_int_equal(pwc_rails_add(&t, host, 1, NULL, PWC_RAIL_OF_OPTION), 0);
	}
	assert_int_equal(pwc_rails_add(&t, "10.2.0.1", 1, NULL, PWC_RAIL_OF_OPTION), -ENOSPC);
	assert_int_equal(pwc_rails_add(&t, "", 1, NULL, PWC_RAIL_OF_OPTION), -EINVAL);
}

static uint32_t rnd_state = 12345;

static uint32_t rnd(uint32_t n)
{
	rnd_state = rnd_state * 1664525u + 1013904223u;
	return (rnd_state >> 8) % n;
}

/* Whatever a node tells, and whenever: the table stays whole, and a round comes to its end. */
static void test_offer__anything_at_any_time(void **state)
{
	(void)state;
	make(2, PW_TRANSPORT_AUTO);
	for (uint32_t i = 0; i < 20000; i++) {
		struct pw_rail_addr list[PW_RAILS_MAX];
		struct pwc_pick p;
		uint32_t nr = 1 + rnd(PW_RAILS_MAX), tries = 0;
		uint64_t when;
		bool pause;

		for (uint32_t j = 0; j < nr; j++)
			list[j] = (struct pw_rail_addr){ V4(10, 0, (uint8_t)rnd(3),
							    (uint8_t)rnd(256)),
							 (uint16_t)(1 + rnd(3)),
							 (uint16_t)(1 + rnd(3)) };
		pwc_rails_offer(&t, list, nr, locals, rnd(PW_ARRAY_SIZE(locals) + 1));
		assert_in_range(t.nr, 2, PWC_RAILS_MAX);
		assert_true(t.cur.rail < t.nr);
		now += rnd(3) * S;
		while (pwc_rails_next(&t, &pause) && rnd(4)) {
			assert_true(t.cur.rail < t.nr);
			assert_in_range(++tries, 1, PWC_RAILS_MAX * PWC_NR_WAYS);
			pwc_rails_failed(&t, now, -ECONNREFUSED, "no", !rnd(5));
		}
		pwc_rails_up(&t, now, "10.0.0.1:7470");
		if (pwc_rails_probe_next(&t, &p, &when)) {
			assert_true(p.rail != t.cur.rail || p.way != t.cur.way);
			pwc_rails_probed(&t, p, now, rnd(2) ? -EIO : 0, "no");
		}
		if (pwc_rails_better(&t, now, &p) && rnd(2))
			pwc_rails_leave(&t, p);
		else if (rnd(2))
			pwc_rails_lost(&t, now, -EIO, "no");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round__rdma_over_every_rail_then_tcp),
		cmocka_unit_test(test_round__one_transport_only),
		cmocka_unit_test(test_lost__the_others_first_and_at_once),
		cmocka_unit_test(test_lost__the_only_rail_after_a_pause),
		cmocka_unit_test(test_lost__rdma_over_the_others_before_tcp),
		cmocka_unit_test(test_failed__a_node_that_refuses_is_not_asked_over_tcp),
		cmocka_unit_test(test_failed__without_the_library_rdma_is_tried_once),
		cmocka_unit_test(test_doubt__what_does_not_answer_probes_comes_last),
		cmocka_unit_test(test_return__when_it_has_been_good_for_a_while),
		cmocka_unit_test(test_return__waits_longer_after_each_loss),
		cmocka_unit_test(test_return__rdma_over_any_rail_beats_tcp),
		cmocka_unit_test(test_probes__get_rarer_where_nobody_answers),
		cmocka_unit_test(test_offer__pairs_of_one_network),
		cmocka_unit_test(test_offer__loopback_only_over_loopback),
		cmocka_unit_test(test_add__what_is_equal_and_what_is_too_much),
		cmocka_unit_test(test_offer__anything_at_any_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
