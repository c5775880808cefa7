/* SPDX-License-Identifier: Apache-2.0 */
/* test_peer_rails.c -- a peer with two ways to its node: failover at once, the move back between
 * two calls, lists that the node tells */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "client_fs/peer.h"
#include "client_fs/rail.h"
#include "conn_fixture.h"

static struct {
	struct pwc_peer *p;
	struct pwc_call call;
	uint32_t nr_done, nr_down, nr_moving, nr_stopped, nr_locals;
	int err;
} t;

static void on_up(struct pwc_peer *p, bool first)
{
	(void)p;
	(void)first;
}

static void on_down(struct pwc_peer *p, int err, const char *why)
{
	(void)err;
	assert_true(*why);
	t.nr_down++;
	t.nr_moving += pwc_peer_is_moving(p);
}

static bool next_open(struct pwc_peer *p, uint64_t *iter, uint64_t *ino, uint32_t *opens)
{
	(void)p;
	(void)iter;
	(void)ino;
	(void)opens;
	return false;
}

static void on_stopped(struct pwc_peer *p)
{
	(void)p;
	t.nr_stopped++;
}

static uint32_t locals(struct pwc_peer *p, struct pw_local_addr *ret, uint32_t max)
{
	(void)p;
	assert_true(max >= 1);
	t.nr_locals++;
	ret[0] = (struct pw_local_addr){ { [10] = 0xff, [11] = 0xff, 10, 0, 9, 9 }, 120 };
	return 1;
}

static const struct pwc_peer_ops ops = { .on_up = on_up,
					 .on_down = on_down,
					 .on_dead = on_down,
					 .next_open = next_open,
					 .on_stopped = on_stopped,
					 .locals = locals };

static void call_done(struct pwc_call *c, int err, const struct pw_cmd *rsp, uint32_t out_len)
{
	(void)c;
	(void)rsp;
	(void)out_len;
	t.nr_done++;
	t.err = err;
}

static void call(void)
{
	memset(&t.call, 0, sizeof(t.call));
	pw_cmd_init(&t.call.send.cmd, PW_MSG_REQ, PW_OP_GETATTR);
	t.call.send.cmd.ino.ino = 5;
	t.call.done = call_done;
	pwc_peer_call(t.p, &t.call);
}

static void challenge(struct pw_xprt *x)
{
	struct pw_cmd hello, cmd;

	fake_connected(x);
	fake_take(x, PW_MSG_HELLO, &hello);
	make_challenge(&cmd, &hello, node_id.key);
	fake_deliver(x, &cmd, NULL);
}

static void take_req(struct pw_xprt *x, struct pw_cmd *ret)
{
	while (fake_first(x) && fake_first(x)->cmd.type == PW_MSG_PING)
		fake_sent(x);
	fake_take(x, PW_MSG_REQ, ret);
}

static void answer(struct pw_xprt *x, enum pw_op op)
{
	struct pw_cmd req, rsp;

	take_req(x, &req);
	assert_int_equal(req.op, op);
	pw_cmd_init(&rsp, PW_MSG_RSP, op);
	rsp.slot = req.slot;
	rsp.seq = req.seq;
	if (op == PW_OP_GETATTR) {
		rsp.attr.attr.ino = 5;
		rsp.attr.attr.mode = S_IFREG | 0644;
	}
	fake_deliver(x, &rsp, NULL);
	fake_run(&loop);
}

/* The newest connection comes up. */
static struct pw_xprt *come_up(uint32_t flags)
{
	struct pw_xprt *x = fake.last;
	struct pw_cmd cmd;

	challenge(x);
	fake_take(x, PW_MSG_PROOF, &cmd);
	make_welcome(&cmd);
	cmd.welcome.flags = flags;
	cmd.welcome.nr_slots = 4;
	fake_deliver(x, &cmd, NULL);
	fake_run(&loop);
	answer(x, PW_OP_RECLAIM);
	assert_int_equal(pwc_peer_state(t.p), PWC_PEER_UP);
	return x;
}

static void start(uint32_t nr_rails)
{
	static const struct pwc_rail_opt rail = { .host = "10.0.9.1", .port = 7470,
						  .local = "10.0.9.9" };
	const struct pwc_peer_opts o = {
		.host = "10.0.0.1", .port = 7470, .rails = &rail, .nr_rails = nr_rails,
		.conn = { .transport = PW_TRANSPORT_TCP, .heartbeat_ms = 600000,
			  .dead_ms = 1200000 },
	};

	assert_int_equal(pwc_peer_new(&loop, &o, &ops, &t, &client_id, &t.p), 0);
	pwc_peer_start(t.p);
}

static const char *preferred(void)
{
	const struct pwc_rails *r = pwc_peer_rails(t.p);

	return r->rail[pwc_rails_preferred(r)].host;
}

static int set_up(void **state)
{
	memset(&t, 0, sizeof(t));
	return fixture_set_up(state);
}

static int tear_down(void **state)
{
	pwc_peer_stop(t.p);
	for (int i = 0; i < 4 && !t.nr_stopped; i++)
		fake_pass(&loop, 500); /* GOODBYE need not get out */
	assert_int_equal(t.nr_stopped, 1);
	pwc_peer_free(t.p);
	return fixture_tear_down(state);
}

static void test_failover__at_once_and_applied_once(void **state)
{
	struct pw_cmd sent, again;
	struct pw_xprt *old;
	char first[64];

	(void)state;
	start(1);
	strcpy(first, fake.host);
	assert_string_equal(first, preferred());
	old = come_up(0);
	fake_pass(&loop, 1500);
	call();
	take_req(old, &sent);
	fake_broken(old, -ETIMEDOUT, "silent");
	fake_run(&loop);
	assert_string_not_equal(fake.host, first);
	assert_string_equal(fake.local, strcmp(fake.host, "10.0.9.1") ? "" : "10.0.9.9");
	assert_int_equal(t.nr_down, 1);
	(void)come_up(PW_WELCOME_SESSION_KNOWN);
	again = fake_first(fake.last)->cmd;
	assert_int_equal(again.slot, sent.slot);
	assert_int_equal(again.seq, sent.seq);
	answer(fake.last, PW_OP_GETATTR);
	assert_int_equal(t.nr_done, 1);
	assert_int_equal(t.err, 0);
}

/* Lets time go by and answers probes until the peer leaves @old; true: it did, in @ms. */
static bool moves_within(uint32_t ms, struct pw_xprt *old)
{
	uint32_t nr = fake.nr_connects;

	while (ms--) {
		fake_pass(&loop, 1);
		if (t.nr_moving)
			return true;
		if (fake.nr_connects == nr)
			continue;
		nr = fake.nr_connects;
		assert_ptr_not_equal(fake.last, old);
		assert_string_equal(fake.host, preferred());
		challenge(fake.last);
		fake_run(&loop); /* it ends there, and PROOF was never sent */
	}
	return false;
}

static void test_return__between_two_calls(void **state)
{
	struct pw_xprt *old;

	(void)state;
	start(1);
	fake_broken(fake.last, -ECONNREFUSED, "dark");
	fake_run(&loop);
	assert_string_not_equal(fake.host, preferred());
	old = come_up(0);
	call();
	/* it would move, and waits for the call; then it is put off */
	assert_false(moves_within(8500, old));
	assert_int_equal(t.nr_done, 0);
	answer(old, PW_OP_GETATTR);
	assert_int_equal(t.nr_done, 1);
	assert_true(moves_within(30000, old));
	assert_int_equal(t.nr_down, 1);
	assert_string_equal(fake.host, preferred());
	call(); /* waits for the other connection */
	(void)come_up(PW_WELCOME_SESSION_KNOWN);
	answer(fake.last, PW_OP_GETATTR);
	assert_int_equal(t.nr_done, 2);
	assert_int_equal(t.err, 0);
}

static void test_offer__adds_rails_and_tells_of_rdma(void **state)
{
	const struct pwc_rails *r;
	struct pw_xprt *x;
	struct pw_cmd cmd;

	(void)state;
	start(0);
	x = come_up(0);
	pw_cmd_init(&cmd, PW_MSG_RAILS, 0);
	cmd.rails = (struct pw_body_rails){
		.total = 2,
		.rail = { { { [10] = 0xff, [11] = 0xff, 10, 0, 0, 1 }, 7470, PW_RAIL_TCP },
			  { { [10] = 0xff, [11] = 0xff, 10, 0, 9, 1 }, 7470, PW_RAIL_TCP } },
	};
	assert_int_equal(pw_cmd_check(&cmd, false), 0);
	fake_deliver(x, &cmd, NULL);
	r = pwc_peer_rails(t.p);
	assert_int_equal(t.nr_locals, 1);
	assert_int_equal(r->nr, 2);
	assert_string_equal(r->rail[1].local, "10.0.9.9");
	assert_int_equal(r->rail[0].way[PWC_WAY_RDMA].state, PWC_RAIL_NOT_OFFERED);
	/* a part out of order ends the connection */
	cmd.rails.total = 8;
	cmd.rails.first = 4;
	cmd.rails.rail[2] = cmd.rails.rail[3] = cmd.rails.rail[0];
	assert_int_equal(pw_cmd_check(&cmd, false), 0);
	fake_deliver(x, &cmd, NULL);
	fake_run(&loop);
	assert_int_equal(t.nr_down, 1);
	assert_int_equal(t.nr_locals, 1);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_failover__at_once_and_applied_once),
		CASE(test_return__between_two_calls),
		CASE(test_offer__adds_rails_and_tells_of_rdma),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
