/* SPDX-License-Identifier: Apache-2.0 */
/* test_xprt_rdma.c -- what only an RDMA transport has: where payloads go, what a device may do
 *
 * Both ends are ours. The rig and its world check each of these: no work request and no right of a
 * peer refers to memory that was given back, nothing leaks, no queue overflows, no message meets an
 * empty receive queue.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/conn/xprt_rig.h"
#include "common/xprt_rdma_impl.h"
#include "world_rdma.h"

static bool both_closed(void)
{
	return client.closed && node.closed;
}

static bool client_closed(void)
{
	return client.closed;
}

static void call_all(uint32_t write_len, uint32_t read_len)
{
	for (uint16_t slot = 1; slot < RIG_SLOTS; slot++)
		rig_call(slot, slot * 100, slot & 1 ? write_len : 0, slot & 1 ? 0 : read_len);
}

/* Where payloads go --------------------------------------------------------------------------- */

static void test_write__lands_in_the_slot_without_a_copy(void **state)
{
	rig_connect_pair();
	rig_call(1, 0, 65536, 0);
	rig_call(2, 700, 1u << 20, 0);
	rig_finish_calls();
	assert_int_equal(fake_stats.bytes_write, 65536 + (1u << 20));
	assert_int_equal(fake_stats.wr_write, 2);
	assert_int_equal(fake_stats.wr_read, 0);
	assert_int_equal(side_stats(&client).copied_bytes, 0);
	assert_int_equal(side_stats(&node).copied_bytes, 0);
}

static void test_read__is_pushed_into_a_window(void **state)
{
	uint64_t bound;

	if (!fake_opts.max_mw)
		skip();
	rig_connect_pair();
	run_turns(100);
	bound = fake_stats.wr_bind;
	rig_call(1, 0, 0, 65536);
	rig_call(2, 0, 0, 1u << 20);
	rig_finish_calls();
	assert_int_equal(fake_stats.bytes_write, 65536 + (1u << 20));
	assert_int_equal(fake_stats.wr_read, 0);
	/* one for each, and it ended with the answer (the rig looks) */
	assert_int_equal(fake_stats.wr_bind - bound, 2);
	assert_int_equal(fake_stats.wr_send_inv + fake_stats.wr_inv, 2);
	assert_int_equal(side_stats(&client).copied_bytes, 0);
	assert_int_equal(side_stats(&node).copied_bytes, 0);
}

static void test_read__is_pulled_without_windows(void **state)
{
	if (fake_opts.max_mw)
		skip();
	rig_connect_pair();
	rig_call(1, 0, 0, 65536);
	rig_call(2, 0, 0, 1u << 20);
	rig_finish_calls();
	assert_int_equal(fake_stats.bytes_read, 65536 + (1u << 20));
	assert_int_equal(fake_stats.bytes_write, 0);
	assert_int_equal(side_stats(&client).copied_bytes, 0);
}

static void test_small_payloads__travel_in_the_message(void **state)
{
	rig_connect_pair();
	call_all(4096, 4096);
	rig_finish_calls();
	assert_int_equal(fake_stats.wr_write, 0);
	assert_int_equal(fake_stats.wr_read, 0);
}

static void test_payload__longer_than_a_message_of_the_device(void **state)
{
	fake_opts.max_msg = 1u << 20;
	rig_connect_pair();
	rig_call(1, 0, 3u << 20, 0);
	rig_call(2, 0, 0, 3u << 20);
	rig_finish_calls();
	assert_int_equal(fake_stats.bytes_write + fake_stats.bytes_read, 6u << 20);
	assert_int_equal(fake_stats.wr_write + fake_stats.wr_read, 6);
	/* not a multiple, and one that begins within a block */
	rig_call(1, 700, (3u << 20) + 1, 0);
	rig_call(2, 0, 0, (2u << 20) - 1);
	rig_finish_calls();
	assert_int_equal(fake_stats.wr_write + fake_stats.wr_read, 6 + 4 + 2);
}

static void test_payloads_in_pieces__share_a_short_queue(void **state)
{
	fake_opts.max_msg = 128u << 10;
	fake_opts.max_qp_wr = PW_RDMA_DEPTH_MAX;
	rig_connect_pair();
	for (uint32_t i = 0; i < 3; i++) {
		call_all(1u << 20, 1u << 20);
		rig_finish_calls();
	}
	assert_int_equal(fake_stats.sq_full, 0);
}

static void test_areas__are_registered_in_pieces(void **state)
{
	uint64_t before;

	fake_opts.mr_fails_above = 300u << 20;
	rig_connect_pair();
	before = fake_stats.reg_mr;
	for (uint32_t i = 0; i < 8; i++) {
		call_all(200000, 200000);
		rig_finish_calls();
	}
	/* 3 GiB in pieces that the device takes; what needs none of its own needed none */
	if (fake_opts.max_mw)
		assert_in_range(fake_stats.reg_mr - before, 0, 64);
}

static void listen_and_count(const char *host, bool early)
{
	uint64_t before = fake_stats.reg_mr, bufs;
	struct pw_xprt_listener *l;

	assert_int_equal(rig_listen(host, 0, &rig_listener), 0);
	/* without windows, registrations are rights: for one connection only */
	assert_int_equal(fake_stats.reg_mr > before, early);
	/* again: nothing to do */
	bufs = fake_stats.reg_mr;
	assert_int_equal(rig_listen(host, 0, &l), 0);
	assert_int_equal(fake_stats.reg_mr, bufs);
	pw_xprt_listener_free(l);
	run_turns(8);
	bufs = fake_stats.reg_mr;
	rig_connect_pair();
	/* message buffers, twice for each end; and the shared receives, in steps of 32 */
	if (early)
		assert_int_equal(fake_stats.reg_mr - bufs,
				 4 + (PW_RDMA_GUARANTEED + PW_RDMA_RESERVE + 31) / 32);
	call_all(20000, 20000);
	rig_finish_calls();
}

/* Once it was not: a mount's first connection registered each payload for itself. */
static void test_area__announced_later_is_registered(void **state)
{
	void *p = aligned_alloc(4096, 1u << 20);
	uint64_t before;

	assert_non_null(p);
	rig_connect_pair();
	rig_call(1, 0, 65536, 0);
	rig_finish_calls();
	before = fake_stats.reg_mr;
	assert_int_equal(pw_mem_announce(p, 1u << 20), 0);
	assert_true(fake_stats.reg_mr > before);
	pw_mem_withdraw(p);
	assert_false(fake_memory_in_use(p, 1u << 20));
	rig_call(1, 0, 65536, 0);
	rig_finish_calls();
	free(p);
}

static void test_listen__registers_the_areas_of_its_device(void **state)
{
	listen_and_count("127.0.0.1", fake_opts.max_mw);
}

static void test_listen__for_all_addresses_registers_with_all_devices(void **state)
{
	listen_and_count("0.0.0.0", fake_opts.max_mw);
}

static void test_listen__without_room_for_the_areas_says_so(void **state)
{
	struct pw_xprt_listener *l;

	if (!fake_opts.max_mw)
		skip();
	fake_opts.mr_fails_above = 1u << 20;
	assert_int_equal(rig_listen("127.0.0.1", 0, &l), -ENOMEM);
	assert_int_equal(rig_listen("0.0.0.0", 0, &l), -ENOMEM);
	fake_opts.mr_fails_above = 1u << 30;
}

static void test_listen__before_there_is_a_device(void **state)
{
	fake_opts.no_device = true;
	assert_int_equal(rig_listen("0.0.0.0", 0, &rig_listener), 0);
	fake_opts.no_device = false;
	rig_connect_pair();
	call_all(20000, 20000);
	rig_finish_calls();
}

static void test_buffers_that_go_elsewhere__leave_no_right_behind(void **state)
{
	rig_connect_pair();
	rig_take_buffers = true;
	for (uint32_t i = 0; i < 10; i++) {
		call_all(50000, 50000);
		rig_finish_calls();
	}
}

/* Queues -------------------------------------------------------------------------------------- */

static void test_send_queue__full_waits_and_goes_on(void **state)
{
	fake_opts.max_qp_wr = PW_RDMA_DEPTH_MAX;
	rig_connect_pair();
	for (uint32_t i = 0; i < 5; i++) {
		/* nothing is reported done while everything is posted */
		fake_opts.hold = true;
		fake_opts.retry_turns = 0;
		call_all(100000, 100000);
		run_turns(50);
		fake_opts.hold = false;
		rig_finish_calls();
	}
	assert_int_equal(fake_stats.sq_full, 0);
	assert_in_range(fake_stats.max_sq_used, 60, PW_RDMA_DEPTH_MAX);
}

/* Less of everything than any device has; the fake ones refuse what is too much. */
static void test_device__small_in_every_way(void **state)
{
	fake_opts.max_qp_wr = 20;
	fake_opts.max_cqe = 40;
	fake_opts.max_sge = 1;
	fake_opts.max_inline = 0;
	fake_opts.max_rd_atom = 1;
	fake_opts.max_msg = 1u << 20;
	rig_connect_pair();
	for (uint32_t i = 0; i < 3; i++) {
		call_all(30000, 30000);
		rig_finish_calls();
		call_all(2000, 2000);
		rig_finish_calls();
	}
	assert_int_equal(fake_stats.sq_full + fake_stats.rnr, 0);
}

/* As soft-iWARP: not a command, but all that is shorter goes with the queue's own bytes. */
static void test_device__short_messages_are_inline_where_commands_cannot_be(void **state)
{
	const struct pw_rdma *x;

	fake_opts.max_inline = 80;
	rig_connect_pair();
	x = pw_rdma_of(client.x);
	assert_in_range(x->max_inline, sizeof(struct pw_rdma_head), 80);
	assert_true(x->limits.send_sge > 2);
	call_all(30000, 30000);
	rig_finish_calls();
}

static void test_device__too_small_says_so(void **state)
{
	struct pw_xprt_listener *l;

	fake_opts.max_qp_wr = 18;
	fake_opts.max_msg = 1u << 20;
	assert_int_equal(rig_listen("127.0.0.1", 0, &l), 0);
	rig_client_connect("127.0.0.1", pw_xprt_listener_port(l));
	run_until(client_closed);
	assert_int_equal(client.err, -EOPNOTSUPP);
	assert_non_null(strstr(client.why, "too short queues"));
	pw_xprt_listener_free(l);
}

static void test_credits__never_run_out(void **state)
{
	rig_connect_pair();
	for (uint32_t i = 0; i < 20; i++) {
		call_all(1 + i, 1 + i);
		rig_finish_calls();
	}
	assert_int_equal(fake_stats.rnr, 0);
}

static void test_doorbells__are_fewer_than_requests(void **state)
{
	uint64_t before;

	rig_connect_pair();
	run_turns(50);
	before = fake_stats.doorbells;
	call_all(8192, 8192);
	run_turns(1);
	/* the client's 63 calls, each with two requests or three, leave with a few */
	assert_in_range(fake_stats.doorbells - before, 1, 8);
	rig_finish_calls();
}

/* Ends ---------------------------------------------------------------------------------------- */

static void test_done__comes_when_the_device_has_let_go(void **state)
{
	rig_connect_pair();
	run_turns(50);
	fake_opts.hold = true;
	fake_opts.retry_turns = 0;
	call_all(100000, 100000);
	run_turns(100);
	assert_int_equal(client.nr_done + client.nr_failed, 0);
	side_close(&client, -ECANCELED);
	/* all of them, and the world saw that nothing referred to them */
	assert_int_equal(client.nr_failed, RIG_SLOTS - 1);
	fake_opts.hold = false;
}

static void test_queue_pair_breaks__at_each_turn(void **state)
{
	for (uint32_t turns = 0; turns < 40; turns++) {
		rig_connect_pair();
		call_all(turns & 1 ? 300 : 30000, 30000);
		run_turns(turns);
		fake_break_qps();
		run_until(both_closed);
		assert_true(client.err < 0 && node.err < 0);
		rig_forget();
	}
}

static void test_queue_pair_breaks__between_pieces(void **state)
{
	fake_opts.max_msg = 64u << 10;
	for (uint32_t turns = 0; turns < 40; turns += 2) {
		rig_connect_pair();
		call_all(140000, 140000);
		run_turns(turns);
		fake_break_qps();
		run_until(both_closed);
		rig_forget();
	}
}

/* Nothing but the event tells them: no completion has an error, and nobody is silent. */
static void ends_by(enum ibv_event_type type, bool of_qps, int err, const char *why)
{
	for (uint32_t turns = 3; turns < 60; turns += 28) {
		rig_connect_pair();
		call_all(30000, 30000);
		run_turns(turns);
		if (of_qps)
			fake_async_event_of_qps(type);
		else
			fake_async_event(type);
		run_until(both_closed);
		assert_int_equal(client.err, err);
		assert_int_equal(node.err, err);
		assert_non_null(strstr(client.why, why));
		assert_non_null(strstr(node.why, why));
		rig_forget();
	}
}

static void test_event__ends_the_connections_at_once(void **state)
{
	ends_by(IBV_EVENT_PORT_ERR, false, -ENETDOWN, "port 1 of fake0 is down");
	ends_by(IBV_EVENT_QP_FATAL, true, -EIO, "a queue pair of fake0 has failed");
	ends_by(IBV_EVENT_QP_ACCESS_ERR, true, -EIO, "a queue pair of fake0 has failed");
	ends_by(IBV_EVENT_DEVICE_FATAL, false, -ENODEV, "fake0 has failed");
}

static void test_event__of_another_address_is_nothing(void **state)
{
	rig_connect_pair();
	for (uint32_t i = 0; i < 3; i++) {
		fake_async_event(IBV_EVENT_GID_CHANGE);
		fake_async_event(IBV_EVENT_PORT_ACTIVE);
		fake_async_event(IBV_EVENT_LID_CHANGE);
		call_all(30000, 30000);
		rig_finish_calls();
	}
	assert_false(client.closed || node.closed);
}

static void test_event__own_address_is_gone(void **state)
{
	if (fake_opts.iwarp)
		skip();
	rig_connect_pair();
	run_turns(50);
	fake_opts.gid_gone = true;
	fake_async_event(IBV_EVENT_GID_CHANGE);
	run_until(both_closed);
	assert_int_equal(client.err, -EADDRNOTAVAIL);
	assert_non_null(strstr(client.why, "has lost the address"));
	fake_opts.gid_gone = false;
}

static uint32_t turns_to_removal;

static void remove_device(bool silent)
{
	rig_connect_pair();
	call_all(30000, 30000);
	run_turns(turns_to_removal);
	fake_remove_device(silent);
	run_until(both_closed);
	/* else what broke may be seen before its reason */
	if (silent) {
		assert_int_equal(client.err, -ENODEV);
		assert_int_equal(node.err, -ENODEV);
	}
	rig_forget();
	/* nobody gets it any more */
	rig_client_connect("127.0.0.1", pw_xprt_listener_port(rig_listener));
	run_until(client_closed);
	assert_int_equal(client.err, -ENODEV);
}

static void test_device_removed__while_idle(void **state)
{
	turns_to_removal = 100;
	remove_device(false);
}

static void test_device_removed__in_the_middle(void **state)
{
	turns_to_removal = 3;
	remove_device(false);
}

/* No completion comes any more: only the end of the queue pair is a proof. */
static void test_device_removed__says_nothing_more(void **state)
{
	turns_to_removal = 4;
	remove_device(true);
}

static void test_peer_closes__what_it_said_before_arrives(void **state)
{
	struct pw_cmd cmd;

	for (uint32_t turns = 0; turns < 20; turns++) {
		rig_connect_pair();
		client.nr_msgs = 0;
		make_rsp(&cmd, 1, 0);
		side_send(&node, &cmd);
		run_until(rig_all_answered); /* it is done: the device has delivered it */
		side_close(&node, -ECANCELED);
		run_until(client_closed);
		assert_int_equal(client.nr_msgs, 1);
		rig_forget();
	}
}

/* No RDMA ------------------------------------------------------------------------------------- */

static void test_no_library__says_so_at_once(void **state)
{
	struct pw_xprt_listener *l;

	fake_opts.no_library = true;
	assert_int_equal(rig_listen("127.0.0.1", 0, &l), -ENOSYS);
	fake_opts.no_library = false;
}

static void test_no_device__is_what_the_reason_says(void **state)
{
	fake_opts.no_device = true;
	rig_client_connect("127.0.0.1", 7470);
	run_until(client_closed);
	assert_int_equal(client.err, -ENODEV);
	assert_non_null(strstr(client.why, "no RDMA device"));
}

/* The kernel may miss the answer to its question for the address: once that cost two seconds. */
static void test_missed_address__is_asked_for_again(void **state)
{
	fake_opts.unanswered = 5;
	rig_connect_pair();
	call_all(20000, 20000);
	rig_finish_calls();
	assert_int_equal(fake_opts.unanswered, 0);
}

static void test_address_without_an_answer__is_given_up(void **state)
{
	fake_opts.unanswered = 100;
	rig_client_connect("127.0.0.1", 7470);
	run_until(client_closed);
	assert_int_equal(client.err, -ENODEV);
	assert_in_range(fake_opts.unanswered, 90, 98);
	fake_opts.unanswered = 0;
}

static void test_lost_request__is_a_timeout(void **state)
{
	struct pw_xprt_listener *l;

	assert_int_equal(rig_listen("127.0.0.1", 0, &l), 0);
	fake_opts.blackhole = true;
	rig_client_connect("127.0.0.1", pw_xprt_listener_port(l));
	run_until(client_closed);
	assert_int_equal(client.err, -ETIMEDOUT);
	pw_xprt_listener_free(l);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_set_up, rig_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_write__lands_in_the_slot_without_a_copy),
		TEST(test_read__is_pushed_into_a_window),
		TEST(test_read__is_pulled_without_windows),
		TEST(test_small_payloads__travel_in_the_message),
		TEST(test_payload__longer_than_a_message_of_the_device),
		TEST(test_payloads_in_pieces__share_a_short_queue),
		TEST(test_areas__are_registered_in_pieces),
		TEST(test_area__announced_later_is_registered),
		TEST(test_listen__registers_the_areas_of_its_device),
		TEST(test_listen__for_all_addresses_registers_with_all_devices),
		TEST(test_listen__without_room_for_the_areas_says_so),
		TEST(test_listen__before_there_is_a_device),
		TEST(test_buffers_that_go_elsewhere__leave_no_right_behind),
		TEST(test_send_queue__full_waits_and_goes_on),
		TEST(test_device__small_in_every_way),
		TEST(test_device__short_messages_are_inline_where_commands_cannot_be),
		TEST(test_device__too_small_says_so),
		TEST(test_credits__never_run_out),
		TEST(test_doorbells__are_fewer_than_requests),
		TEST(test_done__comes_when_the_device_has_let_go),
		TEST(test_queue_pair_breaks__at_each_turn),
		TEST(test_queue_pair_breaks__between_pieces),
		TEST(test_event__ends_the_connections_at_once),
		TEST(test_event__of_another_address_is_nothing),
		TEST(test_event__own_address_is_gone),
		TEST(test_device_removed__while_idle),
		TEST(test_device_removed__in_the_middle),
		TEST(test_device_removed__says_nothing_more),
		TEST(test_peer_closes__what_it_said_before_arrives),
		TEST(test_no_library__says_so_at_once),
		TEST(test_no_device__is_what_the_reason_says),
		TEST(test_missed_address__is_asked_for_again),
		TEST(test_address_without_an_answer__is_given_up),
		TEST(test_lost_request__is_a_timeout),
	};

	rig_set_seed(3);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
