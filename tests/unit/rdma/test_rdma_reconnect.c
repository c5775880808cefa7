/* SPDX-License-Identifier: Apache-2.0 */
/* test_rdma_reconnect.c -- a thousand connections, ended in every way, leave nothing behind */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/conn/xprt_rig.h"
#include "world_rdma.h"

static bool all_answered(void)
{
	return (rig_nr_answered == rig_nr_calls && client.nr_done == client.nr_sent &&
		node.nr_done == node.nr_sent) ||
	       client.closed || node.closed;
}

static void finish_calls(void)
{
	run_until(all_answered);
	if (client.closed || node.closed)
		fail_msg("client: '%s', node: '%s'", client.why, node.why);
}

static void forget(void)
{
	side_close(&client, -ECANCELED);
	side_close(&node, -ECANCELED);
	client.connected = client.closed = node.connected = node.closed = false;
	client.nr_sent = client.nr_done = client.nr_failed = 0;
	node.nr_sent = node.nr_done = node.nr_failed = 0;
	rig_nr_answered = rig_nr_calls;
}

static void test_reconnects__a_thousand_leak_nothing(void **state)
{
	uint32_t count[FAKE_NR_OBJECTS] = { 0 };

	for (uint32_t i = 0; i < 1000; i++) {
		rig_connect_pair();
		if (i % 4) {
			rig_call(1, 0, 5000, 0);
			rig_call(2, 0, 0, 5000);
			if (i % 4 == 1)
				finish_calls();
			else
				run_turns(i % 7);
		}
		if (i & 1)
			side_close(&client, -ECANCELED);
		forget();
		for (uint32_t o = 0; o < FAKE_NR_OBJECTS; o++) {
			if (!i)
				count[o] = fake_count(o);
			assert_int_equal(fake_count(o), count[o]);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_reconnects__a_thousand_leak_nothing,
						rig_set_up, rig_tear_down),
	};

	rig_set_seed(3);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
