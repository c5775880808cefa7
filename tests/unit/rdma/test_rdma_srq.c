/* SPDX-License-Identifier: Apache-2.0 */
/* test_rdma_srq.c -- receives that the connections of a node share
 *
 * Many clients of ours and one node; a hostile one is played by hand. The fake device keeps a
 * receive now and then when a queue pair ends, as soft-RoCE does; that a message meets no receive
 * is a violation, and so is a receive that is posted twice or that is with a dead connection.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/xprt_rdma_impl.h"
#include "raw_end.h"

#define PAIRS 100u
#define SLOTS 128u
#define DEPTH (SLOTS + PW_RDMA_BESIDE)
#define MSGS 512u

struct end {
	struct pw_xprt *x;
	bool connected, closed;
	int err;
	char why[192];
	uint32_t nr_msgs, nr_sent, nr_done, nr_failed;
	struct pw_send send[MSGS];
};

static struct pw_loop *loop;
static struct pw_xprt_listener *listener;
static struct end clients[PAIRS], nodes[PAIRS];
static uint32_t nr_clients, nr_nodes;
static struct pw_ready watcher;
static bool (*wanted)(void);
static bool is_siw;

/* Both ends ----------------------------------------------------------------------------------- */

static void on_connected(void *owner, const char *peer_name)
{
	((struct end *)owner)->connected = true;
}

static void *on_payload(void *owner, const struct pw_cmd *cmd)
{
	return NULL;
}

static void on_msg(void *owner, const struct pw_cmd *cmd, void *payload)
{
	((struct end *)owner)->nr_msgs++;
}

static void on_closed(void *owner, int err, const char *why)
{
	struct end *e = owner;

	e->closed = true;
	e->err = err;
	snprintf(e->why, sizeof(e->why), "%s", why);
}

static const struct pw_xprt_ops ops = {
	.on_connected = on_connected,
	.on_payload = on_payload,
	.on_msg = on_msg,
	.on_closed = on_closed,
};

static int on_accept(void *arg, struct pw_xprt *x, const char *peer_name,
		     const struct pw_xprt_ops **ret_ops, void **ret_owner)
{
	struct end *e = &nodes[nr_nodes++];

	assert_in_range(nr_nodes, 1, PAIRS);
	memset(e, 0, sizeof(*e));
	e->x = x;
	e->connected = true;
	*ret_ops = &ops;
	*ret_owner = e;
	return 0;
}

static void watch(struct pw_ready *r)
{
	fake_turn();
	if (wanted())
		pw_loop_stop(loop);
	else
		pw_loop_ready(loop, &watcher);
}

static void run_until(bool (*cond)(void))
{
	wanted = cond;
	pw_loop_ready(loop, &watcher);
	alarm(60);
	assert_int_equal(pw_loop_run(loop), 0);
	alarm(0);
}

static uint32_t turns_left;

static bool turns_over(void)
{
	return !turns_left--;
}

static void run_turns(uint32_t n)
{
	turns_left = n;
	run_until(turns_over);
}

static void raw_turn(void)
{
	run_turns(1);
}

static struct end *one;

static bool one_is_up(void)
{
	/* the node's end is used when it knows that the connection is there */
	return (one->connected && nr_nodes == nr_clients &&
		pw_rdma_of(nodes[nr_nodes - 1].x)->state == PW_RDMA_UP) ||
	       one->closed;
}

static bool one_is_closed(void)
{
	return one->closed;
}

/* Return: its node's end. */
static struct end *connect_one(struct end *c)
{
	memset(c, 0, sizeof(*c));
	if (!listener)
		assert_int_equal(pw_xprt_listen(loop, "127.0.0.1", 0, PW_TRANSPORT_RDMA, on_accept,
						NULL, &listener), 0);
	nr_clients = nr_nodes + 1;
	assert_int_equal(pw_xprt_connect(loop, "127.0.0.1", pw_xprt_listener_port(listener), "",
					 PW_TRANSPORT_RDMA, &ops, c, &c->x), 0);
	one = c;
	run_until(one_is_up);
	if (c->closed)
		fail_msg("%s; node: %s", c->why, nodes[nr_nodes - 1].why);
	pw_xprt_set_up(c->x, SLOTS);
	pw_xprt_set_up(nodes[nr_nodes - 1].x, SLOTS);
	return &nodes[nr_nodes - 1];
}

static void close_one(struct end *e)
{
	if (!e->x)
		return;
	pw_xprt_close(e->x, -ECANCELED, "by the test");
	one = e;
	run_until(one_is_closed);
	pw_xprt_free(e->x);
	e->x = NULL;
	assert_int_equal(e->nr_done + e->nr_failed, e->nr_sent);
}

static void on_sent(struct pw_send *s, int err)
{
	for (uint32_t i = 0; i < nr_clients; i++) {
		struct end *e = &clients[i];

		if (s < e->send || s >= e->send + MSGS)
			continue;
		e->nr_done += !err;
		e->nr_failed += err != 0;
	}
}

static void send_pings(struct end *e, uint32_t nr)
{
	for (; nr; nr--) {
		struct pw_send *s = &e->send[e->nr_sent++ % MSGS];

		memset(s, 0, sizeof(*s));
		pw_cmd_init(&s->cmd, PW_MSG_PING, 0);
		s->done = on_sent;
		pw_xprt_send(e->x, s);
	}
}

static bool all_arrived(void)
{
	uint32_t sent = 0, got = 0;

	for (uint32_t i = 0; i < PAIRS; i++) {
		if (clients[i].x && clients[i].closed)
			fail_msg("client %u: %s", i, clients[i].why);
		sent += clients[i].x ? clients[i].nr_sent - clients[i].nr_done : 0;
		got += nodes[i].nr_msgs;
	}
	return !sent && got;
}

static struct pw_rdma_receives receives(void)
{
	struct pw_rdma_receives r = { 0 };

	assert_int_equal(pw_rdma_receives(&r, 1), 1);
	return r;
}

static int set_up(void **state)
{
	const struct pw_loop_opts o = { .sq_entries = 256, .max_ios = 1024 };
	const char *device = getenv("FAKE_DEVICE");

	fake_begin(7);
	is_siw = device && !strcmp(device, "siw");
	if (is_siw)
		fake_be_siw();
	memset(clients, 0, sizeof(clients));
	memset(nodes, 0, sizeof(nodes));
	nr_clients = nr_nodes = 0;
	assert_int_equal(pw_loop_new(&loop, &o), 0);
	pw_ready_init(&watcher, watch);
	listener = NULL;
	return 0;
}

static int tear_down(void **state)
{
	for (uint32_t i = 0; i < PAIRS; i++) {
		close_one(&clients[i]);
		close_one(&nodes[i]);
	}
	pw_xprt_listener_free(listener);
	run_turns(8);
	pw_loop_free(loop);
	assert_int_equal(fake_end(), 0);
	return 0;
}

/* Memory -------------------------------------------------------------------------------------- */

static void connect_all(void)
{
	for (uint32_t i = 0; i < PAIRS; i++)
		connect_one(&clients[i]);
	run_turns(50);
}

static void test_memory__of_a_hundred_idle_connections(void **state)
{
	struct pw_rdma_receives r;

	connect_all();
	r = receives();
	assert_int_equal(r.sharing, PAIRS);
	assert_int_equal(r.own, 0);
	assert_int_equal(r.posted, PAIRS * PW_RDMA_GUARANTEED + PW_RDMA_RESERVE);
	assert_int_equal(r.reserve, PW_RDMA_RESERVE);
	print_message("%u connections share %u receives, %.1f KiB for each\n", PAIRS, r.posted,
		      (double)r.bytes / PAIRS / 1024);
	assert_in_range(r.bytes / PAIRS, 1, (PW_RDMA_GUARANTEED + 2) * PW_RDMA_MSG_BYTES);
}

static void expect_own(const char *why)
{
	struct pw_rdma_receives r;

	connect_one(&clients[0]);
	connect_one(&clients[1]);
	r = receives();
	assert_int_equal(r.sharing, 0);
	assert_int_equal(r.own, 2);
	assert_int_equal(r.bytes, 2ull * DEPTH * PW_RDMA_MSG_BYTES);
	assert_non_null(strstr(r.why_own, why));
	assert_int_equal(fake_count(FAKE_SRQ), 0);
	print_message("2 connections have receives of their own, %.1f KiB for each\n",
		      (double)r.bytes / 2 / 1024);
	send_pings(&clients[0], 300);
	run_until(all_arrived);
}

static void test_device__without_shared_queues(void **state)
{
	fake_opts.max_srq_wr = 0;
	expect_own("has no shared receive queues");
}

static void test_device__that_makes_none(void **state)
{
	fake_opts.max_srq = 0;
	expect_own("has no shared receive queues");
}

static void test_device__with_short_ones(void **state)
{
	fake_opts.max_srq_wr = 100;
	expect_own("too short");
}

static void test_device__whose_queue_pairs_take_their_receives_with_them(void **state)
{
	if (!is_siw)
		skip();
	fake_opts.vendor_id = 0x1425;
	expect_own("may keep shared receives");
}

/* Credits ------------------------------------------------------------------------------------- */

static void test_credits__follow_what_a_client_uses(void **state)
{
	struct end *n = connect_one(&clients[0]);
	uint32_t idle, used;

	connect_one(&clients[1]);
	run_turns(50);
	idle = receives().posted;
	assert_int_equal(pw_rdma_of(n->x)->share.out, PW_RDMA_GUARANTEED);
	send_pings(&clients[0], MSGS);
	run_until(all_arrived);
	run_turns(50);
	used = pw_rdma_of(n->x)->share.out;
	assert_in_range(used, 2 * PW_RDMA_GUARANTEED, DEPTH);
	assert_int_equal(receives().posted, idle + used - PW_RDMA_GUARANTEED);
	/* and the other one has what it had */
	assert_int_equal(pw_rdma_of(nodes[1].x)->share.out, PW_RDMA_GUARANTEED);
	assert_int_equal(fake_stats.rnr, 0);
}

static void test_credits__of_all_together_are_no_more_than_there_are(void **state)
{
	struct pw_rdma_receives r;
	uint32_t out = 0;

	connect_all();
	for (uint32_t round = 0; round < 4; round++) {
		for (uint32_t i = 0; i < PAIRS; i++)
			send_pings(&clients[i], MSGS / 2);
		run_until(all_arrived);
	}
	run_turns(50);
	r = receives();
	for (uint32_t i = 0; i < PAIRS; i++) {
		const struct pw_rdma *x = pw_rdma_of(nodes[i].x);

		assert_in_range(x->share.out, PW_RDMA_GUARANTEED, DEPTH);
		assert_int_equal(x->rx.given - x->rx.got, x->share.out);
		out += x->share.out;
	}
	assert_in_range(out, PAIRS * PW_RDMA_GUARANTEED + PW_RDMA_POOL / 2,
			r.posted - PW_RDMA_RESERVE);
	assert_in_range(r.posted, 1, PAIRS * PW_RDMA_GUARANTEED + PW_RDMA_POOL + PW_RDMA_RESERVE);
	assert_int_equal(fake_stats.rnr, 0);
	print_message("%u busy connections share %u receives, %.1f KiB for each\n", PAIRS,
		      r.posted, (double)r.bytes / PAIRS / 1024);
}

/* More than one queue takes: those who come later share another one. */
static void test_queue__that_is_full_is_followed_by_another(void **state)
{
	fake_opts.max_srq_wr = 256;
	for (uint32_t i = 0; i < 30; i++)
		connect_one(&clients[i]);
	assert_in_range(fake_count(FAKE_SRQ), 2, 5);
	for (uint32_t i = 0; i < 30; i++)
		send_pings(&clients[i], 100);
	run_until(all_arrived);
	assert_int_equal(receives().sharing, 30);
	assert_int_equal(fake_stats.rnr, 0);
}

/* A client that takes more than it may -------------------------------------------------------- */

static void test_hostile_client__takes_the_reserve_and_no_more(void **state)
{
	struct pw_rdma_head h = { .magic = PW_RDMA_MAGIC, .type = PW_RDMA_CREDIT, .credits = 64 };
	struct raw_end raw;
	struct pw_rdma_cm data;
	struct end *bad;

	fake_opts.rnr_allowed = true;
	for (uint32_t i = 0; i < 3; i++)
		connect_one(&clients[i]);
	for (uint32_t round = 0; round < 5; round++) {
		raw_open(&raw);
		pw_rdma_cm_init(&data, RAW_NR_RECV);
		memcpy(raw.data, &data, sizeof(data));
		raw.data_len = sizeof(data);
		raw_connect(&raw, pw_xprt_listener_port(listener));
		while (!raw.up) {
			run_turns(1);
			raw_poll(&raw);
		}
		bad = &nodes[nr_nodes - 1];
		/* it may send four messages; all of these arrive before the node looks */
		for (uint32_t i = 0; i < 60; i++)
			assert_int_equal(raw_send(&raw, &h, sizeof(h)), 0);
		for (uint32_t i = 0; i < 100; i++)
			fake_turn();
		/* and the others have used nothing yet of what they may */
		for (uint32_t i = 0; i < 3; i++)
			send_pings(&clients[i], MSGS);
		run_until(all_arrived);
		one = bad;
		run_until(one_is_closed);
		assert_int_equal(bad->err, -EPROTO);
		assert_non_null(strstr(bad->why, "without credit"));
		raw_close(&raw, raw_turn);
		close_one(bad);
		run_turns(20);
		assert_int_equal(fake_stats.rnr, 0);
	}
	for (uint32_t i = 0; i < 3; i++)
		assert_false(clients[i].closed || nodes[i].closed);
	assert_in_range(fake_stats.srq_limits, 1, 1000);
	assert_in_range(receives().touched, 1, 1000);
}

/* The end ------------------------------------------------------------------------------------- */

/* A client stays, others come and go: what is lost with them is never missing. */
static void come_and_go(uint32_t times)
{
	send_pings(&clients[0], MSGS);
	for (uint32_t i = 0; i < times; i++) {
		struct end *n;

		nr_nodes = 1 + i % (PAIRS - 2);
		n = connect_one(&clients[1]);
		send_pings(&clients[1], i % 40);
		run_turns(i % 9);
		if (i & 1)
			close_one(&clients[1]);
		close_one(n);
		close_one(&clients[1]);
		if (i % 16 == 15) {
			run_until(all_arrived);
			send_pings(&clients[0], MSGS);
		}
	}
	run_until(all_arrived);
	assert_false(clients[0].closed || nodes[0].closed);
	assert_int_equal(fake_stats.rnr, 0);
	/* its own, and perhaps one for who comes next */
	assert_in_range(fake_count(FAKE_SRQ), 1, 2);
}

static void test_receives_that_are_lost__are_replaced(void **state)
{
	connect_one(&clients[0]);
	come_and_go(400);
	if (!is_siw)
		assert_in_range(fake_stats.srq_lost, 50, 400);
	assert_in_range(receives().doubt, 0, PW_RDMA_DOUBT_MAX + 1);
}

static void test_last_receive__is_told_late(void **state)
{
	connect_one(&clients[0]);
	fake_opts.last_wqe_turns = 100;
	come_and_go(20);
}

static void test_last_receive__is_never_told(void **state)
{
	if (is_siw)
		skip();
	connect_one(&clients[0]);
	fake_opts.no_last_wqe = true;
	come_and_go(2);
	/* what the others may have kept is replaced, and nobody new gets this queue */
	assert_in_range(receives().doubt, PW_RDMA_DOUBT_MAX, 4096);
	fake_opts.no_last_wqe = false;
	come_and_go(3);
}

/* Nothing but LAST_WQE_REACHED says that a queue pair with nothing to send has ended. */
static void test_queue_pair_breaks__while_idle(void **state)
{
	struct end *n = connect_one(&clients[0]);

	run_turns(50);
	fake_break_qps();
	one = n;
	run_until(one_is_closed);
	assert_int_equal(n->err, -ECONNRESET);
}

static void test_shared_queue_fails__all_of_its_connections_end(void **state)
{
	struct end *n = connect_one(&clients[0]);

	connect_one(&clients[1]);
	fake_async_event_of_srqs(IBV_EVENT_SRQ_ERR);
	one = n;
	run_until(one_is_closed);
	assert_non_null(strstr(n->why, "the shared receives of fake0 have failed"));
	one = &nodes[1];
	run_until(one_is_closed);
	for (uint32_t i = 0; i < 2; i++) {
		close_one(&clients[i]);
		close_one(&nodes[i]);
	}
	connect_one(&clients[0]);
	send_pings(&clients[0], MSGS);
	run_until(all_arrived);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_memory__of_a_hundred_idle_connections),
		TEST(test_device__without_shared_queues),
		TEST(test_device__that_makes_none),
		TEST(test_device__with_short_ones),
		TEST(test_device__whose_queue_pairs_take_their_receives_with_them),
		TEST(test_credits__follow_what_a_client_uses),
		TEST(test_credits__of_all_together_are_no_more_than_there_are),
		TEST(test_queue__that_is_full_is_followed_by_another),
		TEST(test_hostile_client__takes_the_reserve_and_no_more),
		TEST(test_receives_that_are_lost__are_replaced),
		TEST(test_last_receive__is_told_late),
		TEST(test_last_receive__is_never_told),
		TEST(test_queue_pair_breaks__while_idle),
		TEST(test_shared_queue_fails__all_of_its_connections_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
