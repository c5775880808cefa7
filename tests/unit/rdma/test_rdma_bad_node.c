/* SPDX-License-Identifier: Apache-2.0 */
/* test_rdma_bad_node.c -- a node that does what it wants harms its client's connection only
 *
 * It writes beyond a window, answers what was not asked, grants what is not there, dies at any
 * step.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "raw_rig.h"

/* A node that answers what it may not --------------------------------------------------------- */

static struct pw_rdma_head *request_head;

/* A read of 64 KiB in @slot has arrived at the raw node. */
static void ask(uint16_t slot)
{
	raw_want_recv = raw.nr_recv + 1;
	rig_call(slot, 0, 0, 65536);
	do {
		run_until(raw_received);
		assert_false(client.closed);
		request_head = (void *)raw_message(&raw, raw_want_recv - 1);
		raw_want_recv++;
	} while (request_head->type != PW_RDMA_MSG);
}

static void make_answer(struct raw_msg *m, uint16_t slot, uint32_t len)
{
	raw_make(m, PW_RDMA_MSG);
	make_rsp(&m->cmd, rig_calls[slot].seq, len);
	m->cmd.slot = slot;
}

static void test_answer__written_to_the_window(void **state)
{
	struct raw_msg m;

	if (!fake_opts.max_mw)
		skip();
	raw_node();
	ask(1);
	assert_int_equal(request_head->flags, PW_RDMA_WINDOW);
	assert_int_equal(request_head->addr, (uintptr_t)client.slot[1]);
	fill(raw.mem, rig_calls[1].seq, 65536);
	raw_write(&raw, request_head->addr, request_head->rkey, 0, 65536);
	make_answer(&m, 1, 65536);
	m.head.flags = PW_RDMA_PLACED;
	raw_send_message(&m, 0);
	while (!rig_nr_answered)
		run_turns(1);
	/* the answer is there: the right is gone */
	raw_write(&raw, request_head->addr, request_head->rkey, 0, 1);
	run_until(raw_sent);
	assert_int_equal(raw.last.status, IBV_WC_REM_ACCESS_ERR);
	raw_client_ended(0);
}

static void test_answer__written_beyond_the_window(void **state)
{
	if (!fake_opts.max_mw)
		skip();
	raw_node();
	ask(1);
	raw_write(&raw, request_head->addr + 1, request_head->rkey, 0, 65536);
	run_until(raw_sent);
	assert_int_equal(raw.last.status, IBV_WC_REM_ACCESS_ERR);
	raw_client_ended(0);
	assert_int_equal(client.nr_msgs, 0);
}

static void test_answer__said_to_be_longer_than_the_window(void **state)
{
	struct raw_msg m;

	raw_node();
	ask(1);
	make_answer(&m, 1, 65537);
	m.head.flags = PW_RDMA_PLACED;
	raw_send_message(&m, 0);
	raw_client_ended(-EPROTO);
	assert_int_equal(client.nr_msgs, 0);
}

static void test_answer__to_be_read_from_nowhere(void **state)
{
	struct raw_msg m;

	raw_node();
	ask(1);
	make_answer(&m, 1, 65536);
	m.head.flags = PW_RDMA_PULL;
	m.head.addr = 4096;
	m.head.rkey = 4096;
	m.head.len = 65536;
	raw_send_message(&m, 0);
	raw_client_ended(0);
	assert_int_equal(client.nr_msgs, 0);
}

/* Two answers to be read in one slot: the second comes while the first is read. */
static void test_answer__twice(void **state)
{
	struct raw_msg m;

	raw_node();
	ask(1);
	make_answer(&m, 1, 65536);
	fill(raw.mem, rig_calls[1].seq, 65536);
	m.head.flags = PW_RDMA_PULL;
	m.head.addr = (uintptr_t)raw.mem;
	m.head.rkey = raw.mr->rkey;
	m.head.len = 65536;
	rig_calls[1].busy = true;
	raw_send_message(&m, 0);
	raw_send_message(&m, 0);
	run_turns(200);
	/* whether the second was early (refused) or late (the owner's to judge), nothing broke */
	assert_int_equal(fake_violations(), 0);
}

/* It must not be ended a second time by us: a device may not survive that. */
static void test_invalidate__the_window_of_another_answer(void **state)
{
	struct pw_rdma_head *first;
	struct raw_msg m;

	(void)state;
	if (!fake_opts.max_mw)
		skip();
	raw_node();
	ask(1);
	first = request_head;
	ask(2);
	make_answer(&m, 2, 0);
	rig_calls[2].answer_len = 0;
	raw_send_inv(&m, first->rkey);
	raw_client_ended(-EPROTO);
	assert_int_equal(fake_violations(), 0);
}

static void test_grant__of_memory_that_is_not_there(void **state)
{
	struct {
		struct pw_rdma_head head;
		struct pw_rdma_grant grant;
	} g = { .head = { .magic = PW_RDMA_MAGIC,
			  .type = PW_RDMA_CREDIT,
			  .nr_grants = 1,
			  .credits = RAW_NR_RECV },
		.grant = { .slot = 1, .rkey = 77, .addr = 4096, .len = 1u << 20 } };

	raw_node();
	raw_send(&raw, &g, sizeof(g));
	rig_call(1, 0, 65536, 0);
	raw_client_ended(0);
	assert_int_equal(client.nr_failed, 1);
}

/* Death at each step -------------------------------------------------------------------------- */

static void test_node_without_power__at_each_turn(void **state)
{
	for (uint32_t turns = 0; turns < 40; turns++) {
		rig_client_connect("127.0.0.1", raw_listen(&raw, 0));
		for (uint32_t i = 0; i < turns; i++) {
			run_turns(1);
			raw_poll(&raw);
			if (client.connected && !client.nr_sent && !client.closed) {
				rig_grant_slots();
				rig_call(1, 0, 0, 65536);
			}
		}
		raw_power_off(&raw);
		/* what is sent now is a timeout; without it the heartbeat above us finds out */
		if (client.connected && !client.closed) {
			rig_call(2, 0, 100, 0);
			raw_client_ended(0);
		}
		side_close(&client, -ECANCELED);
		client.connected = client.closed = false;
		client.nr_sent = client.nr_done = client.nr_failed = 0;
		raw_begin();
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, raw_set_up, raw_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_answer__written_to_the_window),
		TEST(test_answer__written_beyond_the_window),
		TEST(test_answer__said_to_be_longer_than_the_window),
		TEST(test_answer__to_be_read_from_nowhere),
		TEST(test_answer__twice),
		TEST(test_invalidate__the_window_of_another_answer),
		TEST(test_grant__of_memory_that_is_not_there),
		TEST(test_node_without_power__at_each_turn),
	};

	rig_set_seed(3);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
