/* SPDX-License-Identifier: Apache-2.0 */
/* test_rdma_reconnect.c -- connections begin whatever the device does, and leave nothing behind */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/conn/xprt_rig.h"
#include "world_rdma.h"

static void test_reconnects__a_thousand_leak_nothing(void **state)
{
	uint32_t count[FAKE_NR_OBJECTS] = { 0 };

	for (uint32_t i = 0; i < 1000; i++) {
		rig_connect_pair();
		if (i % 4) {
			rig_call(1, 0, 5000, 0);
			rig_call(2, 0, 0, 5000);
			if (i % 4 == 1)
				rig_finish_calls();
			else
				run_turns(i % 7);
		}
		if (i & 1)
			side_close(&client, -ECANCELED);
		rig_forget();
		for (uint32_t o = 0; o < FAKE_NR_OBJECTS; o++) {
			if (!i)
				count[o] = fake_count(o);
			assert_int_equal(fake_count(o), count[o]);
		}
	}
}

static bool is_connected(void)
{
	return client.closed || (client.connected && node.connected);
}

static bool node_has_one(void)
{
	return client.closed || node.nr_msgs;
}

/* Regression: a mount over soft-iWARP waited in vain for the answer to its HELLO. */
static void test_siw__first_message_unnoticed_until_the_next(void **state)
{
	struct pw_cmd ping;

	if (!fake_opts.iwarp)
		skip();
	pw_cmd_init(&ping, PW_MSG_PING, 0);
	fake_opts.first_unnoticed = true;
	assert_int_equal(rig_listen("127.0.0.1", 0, &rig_listener), 0);
	rig_client_connect("127.0.0.1", pw_xprt_listener_port(rig_listener));
	run_until(is_connected);
	side_send(&client, &ping);
	run_until(node_has_one);
	assert_string_equal(node.why, "");
	assert_string_equal(client.why, "");
	assert_int_equal(node.nr_msgs, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_siw__first_message_unnoticed_until_the_next,
						rig_set_up, rig_tear_down),
		cmocka_unit_test_setup_teardown(test_reconnects__a_thousand_leak_nothing,
						rig_set_up, rig_tear_down),
	};

	rig_set_seed(3);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
