/* SPDX-License-Identifier: Apache-2.0 */
/* test_peer.c -- calls over lost connections, lost sessions, timeouts and signals */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "client_fs/peer.h"
#include "common/err.h"
#include "conn_fixture.h"

#define NR 16

struct test_call {
	struct pwc_call call;
	uint32_t nr_done;
	int err;
	uint32_t out_len;
	uint8_t out[64];
};

static struct {
	struct pwc_peer *p;
	struct test_call calls[NR];
	uint32_t nr_up, nr_down, nr_dead, nr_stopped, opens;
	int dead_err;
	bool brief; /* of the next call */
} t;

static const struct pwc_peer_opts tcp_opts = { .host = "10.0.0.1",
					       .port = 7470,
					       .conn.transport = PW_TRANSPORT_TCP };

static const struct pwc_peer_opts auto_opts = { .host = "10.0.0.1", .port = 7470 };

static void on_up(struct pwc_peer *p, bool first)
{
	assert_ptr_equal(pwc_peer_owner(p), &t);
	assert_int_equal(first, !t.nr_up);
	t.nr_up++;
}

static void on_down(struct pwc_peer *p, int err, const char *why)
{
	(void)p;
	(void)err;
	assert_true(*why);
	t.nr_down++;
}

static void on_dead(struct pwc_peer *p, int err, const char *why)
{
	(void)p;
	assert_true(*why);
	t.dead_err = err;
	t.nr_dead++;
}

static bool next_open(struct pwc_peer *p, uint64_t *iter, uint64_t *ino, uint32_t *opens)
{
	(void)p;
	if (*iter == t.opens)
		return false;
	*ino = 100 + (*iter)++;
	*opens = 2;
	return true;
}

static void on_stopped(struct pwc_peer *p)
{
	(void)p;
	t.nr_stopped++;
}

static const struct pwc_peer_ops ops = {
	.on_up = on_up,
	.on_down = on_down,
	.on_dead = on_dead,
	.next_open = next_open,
	.on_stopped = on_stopped,
};

static void call_done(struct pwc_call *c, int err, const struct pw_cmd *rsp, uint32_t out_len)
{
	struct test_call *tc = pw_container_of(c, struct test_call, call);

	tc->nr_done++;
	tc->err = err;
	tc->out_len = out_len;
	assert_true(rsp || err || c->send.cmd.op == PW_OP_RELEASE);
}

static struct test_call *call(uint32_t i, enum pw_op op)
{
	struct test_call *tc = &t.calls[i];

	memset(tc, 0, sizeof(*tc));
	pw_cmd_init(&tc->call.send.cmd, PW_MSG_REQ, op);
	if (op == PW_OP_READ) {
		tc->call.send.cmd.io.ino = 5;
		tc->call.send.cmd.io.len = sizeof(tc->out);
	} else if (op == PW_OP_UNLINK) {
		tc->call.send.cmd.name.parent = 1;
		tc->call.send.cmd.payload_len = 4;
		tc->call.payload = "name";
	} else {
		tc->call.send.cmd.ino.ino = 5;
		tc->call.send.cmd.ino.flags = op == PW_OP_RELEASE;
	}
	tc->call.out = tc->out;
	tc->call.out_max = op == PW_OP_READ ? sizeof(tc->out) : 0;
	tc->call.done = call_done;
	tc->call.brief = t.brief;
	pwc_peer_call(t.p, &tc->call);
	return tc;
}

/* A node answers on the newest transport until the peer is up (or the test goes on by hand). */
static void welcome(uint32_t flags, uint32_t nr_slots)
{
	struct pw_cmd hello, cmd;

	fake_connected(fake.last);
	fake_take(fake.last, PW_MSG_HELLO, &hello);
	make_challenge(&cmd, &hello, node_id.key);
	fake_deliver(fake.last, &cmd, NULL);
	fake_take(fake.last, PW_MSG_PROOF, &cmd);
	make_welcome(&cmd);
	cmd.welcome.flags = flags;
	cmd.welcome.nr_slots = nr_slots;
	fake_deliver(fake.last, &cmd, NULL);
	fake_run(&loop);
}

static void answer(const struct pw_cmd *req, uint32_t status, uint32_t len)
{
	uint8_t data[64];
	struct pw_cmd rsp;

	memset(data, 0xd0, sizeof(data));
	pw_cmd_init(&rsp, PW_MSG_RSP, req->op);
	rsp.slot = req->slot;
	rsp.seq = req->seq;
	rsp.status = status;
	rsp.payload_len = len;
	if (req->op == PW_OP_GETATTR && !status) {
		rsp.attr.attr.ino = req->ino.ino;
		rsp.attr.attr.mode = S_IFREG | 0644;
	}
	fake_deliver(fake.last, &rsp, len ? data : NULL);
	fake_run(&loop);
}

static void reclaim_answer(void)
{
	struct pw_cmd cmd;

	fake_take(fake.last, PW_MSG_REQ, &cmd);
	assert_int_equal(cmd.op, PW_OP_RECLAIM);
	assert_int_equal(cmd.slot, 0);
	assert_int_equal(cmd.reclaim.nr, t.opens);
	assert_true(cmd.reclaim.last);
	answer(&cmd, 0, 0);
	assert_int_equal(pwc_peer_state(t.p), PWC_PEER_UP);
}

static void start(uint32_t timeout_ms, uint32_t nr_slots)
{
	struct pwc_peer_opts o = tcp_opts;

	o.timeout_ms = timeout_ms;
	assert_int_equal(pwc_peer_new(&loop, &o, &ops, &t, &client_id, &t.p), 0);
	pwc_peer_start(t.p);
	welcome(0, nr_slots);
	reclaim_answer();
	assert_int_equal(t.nr_up, 1);
}

static void lose(void)
{
	fake_broken(fake.last, -ECONNRESET, "reset by the test");
	fake_run(&loop);
	assert_int_equal(pwc_peer_state(t.p), PWC_PEER_WAITING);
}

/* Time goes by until the peer tries again. */
static void retry(uint32_t flags)
{
	struct pw_xprt *old = fake.last;
	int i;

	for (i = 0; i < 3000 && (fake.last == old || !fake.nr_xprts); i++)
		fake_pass(&loop, 1);
	welcome(flags, 4);
}

static int set_up(void **state)
{
	memset(&t, 0, sizeof(t));
	return fixture_set_up(state);
}

static int tear_down(void **state)
{
	if (pwc_peer_state(t.p) != PWC_PEER_DEAD) {
		pwc_peer_stop(t.p);
		while (fake.nr_xprts && fake_first(fake.last))
			fake_sent(fake.last);
		fake_pass(&loop, 2);
		assert_int_equal(t.nr_stopped, 1);
	}
	pwc_peer_free(t.p);
	return fixture_tear_down(state);
}

static void test_call__answer_and_payload_arrive(void **state)
{
	struct test_call *tc;
	struct pw_cmd req;

	(void)state;
	start(0, 4);
	tc = call(0, PW_OP_READ);
	assert_int_equal(tc->nr_done, 0);
	fake_take(fake.last, PW_MSG_REQ, &req);
	assert_int_equal(req.seq, 1);
	answer(&req, 0, 10);
	assert_int_equal(tc->nr_done, 1);
	assert_int_equal(tc->err, 0);
	assert_int_equal(tc->out_len, 10);
	assert_int_equal(tc->out[9], 0xd0);
	tc = call(0, PW_OP_GETATTR);
	fake_take(fake.last, PW_MSG_REQ, &req);
	answer(&req, PW_WERR_STALE, 0);
	assert_int_equal(tc->err, -ESTALE);
}

static void test_call__waits_in_line_for_a_slot(void **state)
{
	struct pw_cmd req[4];
	uint32_t i;

	(void)state;
	start(0, 3); /* two for requests */
	for (i = 0; i < 4; i++)
		call(i, PW_OP_GETATTR);
	fake_take(fake.last, PW_MSG_REQ, &req[0]);
	fake_take(fake.last, PW_MSG_REQ, &req[1]);
	assert_null(fake_first(fake.last));
	answer(&req[1], 0, 0);
	assert_int_equal(t.calls[1].nr_done, 1);
	fake_take(fake.last, PW_MSG_REQ, &req[2]);
	assert_int_equal(req[2].slot, req[1].slot);
	assert_int_equal(req[2].seq, req[1].seq + 1);
	answer(&req[0], 0, 0);
	fake_take(fake.last, PW_MSG_REQ, &req[3]);
	answer(&req[2], 0, 0);
	answer(&req[3], 0, 0);
	for (i = 0; i < 4; i++)
		assert_int_equal(t.calls[i].nr_done, 1);
}

static void test_call__answer_before_the_send_is_done_waits_for_it(void **state)
{
	struct test_call *tc;
	struct pw_cmd req;

	(void)state;
	start(0, 4);
	tc = call(0, PW_OP_UNLINK);
	fake_run(&loop);
	req = fake_first(fake.last)->cmd;
	answer(&req, 0, 0);
	assert_int_equal(tc->nr_done, 0);
	fake_sent(fake.last);
	fake_run(&loop);
	assert_int_equal(tc->nr_done, 1);
}

static void test_reconnect__replays_with_the_same_slot_and_seq(void **state)
{
	struct pw_cmd sent, again;
	struct test_call *tc;

	(void)state;
	t.opens = 3;
	start(0, 4);
	tc = call(0, PW_OP_UNLINK);
	fake_take(fake.last, PW_MSG_REQ, &sent);
	lose();
	assert_int_equal(t.nr_down, 1);
	assert_int_equal(tc->nr_done, 0);
	call(1, PW_OP_GETATTR);
	retry(PW_WELCOME_SESSION_KNOWN);
	assert_int_equal(pwc_peer_state(t.p), PWC_PEER_RECLAIMING);
	reclaim_answer();
	fake_take(fake.last, PW_MSG_REQ, &again);
	assert_int_equal(again.slot, sent.slot);
	assert_int_equal(again.seq, sent.seq);
	assert_int_equal(again.op, PW_OP_UNLINK);
	answer(&again, 0, 0);
	assert_int_equal(tc->nr_done, 1);
	assert_int_equal(tc->err, 0);
	fake_take(fake.last, PW_MSG_REQ, &again);
	answer(&again, 0, 0);
	assert_int_equal(t.calls[1].nr_done, 1);
}

static void test_reconnect__lost_session_fails_changes_but_not_reads(void **state)
{
	struct test_call *change, *look, *release;
	struct pw_cmd req;

	(void)state;
	start(0, 4);
	change = call(0, PW_OP_UNLINK);
	look = call(1, PW_OP_GETATTR);
	release = call(2, PW_OP_RELEASE);
	while (fake_first(fake.last))
		fake_take(fake.last, PW_MSG_REQ, &req);
	lose();
	retry(0);
	reclaim_answer();
	assert_int_equal(change->nr_done, 1);
	assert_int_equal(change->err, -EIO);
	assert_int_equal(release->nr_done, 1);
	assert_int_equal(release->err, 0);
	assert_int_equal(look->nr_done, 0);
	fake_take(fake.last, PW_MSG_REQ, &req);
	assert_int_equal(req.op, PW_OP_GETATTR);
	assert_int_equal(req.seq, 1);
	answer(&req, 0, 0);
	assert_int_equal(look->nr_done, 1);
}

/* Else a node that dies before the record is durable would take the replay for a new request. */
static void test_connect__nothing_goes_out_before_the_session_is_on_record(void **state)
{
	struct test_call *change;
	struct pw_cmd req;

	(void)state;
	assert_int_equal(pwc_peer_new(&loop, &tcp_opts, &ops, &t, &client_id, &t.p), 0);
	change = call(0, PW_OP_UNLINK);
	pwc_peer_start(t.p);
	welcome(0, 4);
	assert_int_equal(pwc_peer_state(t.p), PWC_PEER_RECLAIMING);
	fake_take(fake.last, PW_MSG_REQ, &req);
	assert_int_equal(req.op, PW_OP_RECLAIM);
	assert_true(req.reclaim.last);
	assert_null(fake_first(fake.last));
	/* the node dies before it answers: nobody was up, and the next life starts from scratch */
	fake_broken(fake.last, -ECONNRESET, "reset by the test");
	fake_run(&loop);
	assert_int_equal(t.nr_up + t.nr_down + t.nr_dead, 0);
	retry(0);
	reclaim_answer();
	assert_int_equal(t.nr_up, 1);
	fake_take(fake.last, PW_MSG_REQ, &req);
	assert_int_equal(req.op, PW_OP_UNLINK);
	assert_int_equal(req.seq, 1);
	answer(&req, 0, 0);
	assert_int_equal(change->err, 0);
	assert_int_equal(change->nr_done, 1);
}

static void test_timeout__ends_calls_while_the_node_is_away(void **state)
{
	struct test_call *sent, *waiting;
	struct pw_cmd req;

	(void)state;
	start(3000, 4);
	sent = call(0, PW_OP_UNLINK);
	fake_take(fake.last, PW_MSG_REQ, &req);
	fake.connect_err = -ENETUNREACH;
	lose();
	waiting = call(1, PW_OP_GETATTR);
	fake_pass(&loop, 2800);
	assert_int_equal(sent->nr_done + waiting->nr_done, 0);
	fake_pass(&loop, 400);
	assert_int_equal(sent->nr_done, 1);
	assert_int_equal(sent->err, -EIO);
	assert_int_equal(waiting->err, -EIO);
	/* The abandoned slot starts its next request with a new seq. */
	fake.connect_err = 0;
	retry(PW_WELCOME_SESSION_KNOWN);
	reclaim_answer();
	call(2, PW_OP_GETATTR);
	fake_take(fake.last, PW_MSG_REQ, &req);
	answer(&req, 0, 0);
	assert_int_equal(t.calls[2].err, 0);
}

static void test_brief__does_not_wait_for_a_node_that_is_away(void **state)
{
	struct test_call *sent, *patient, *late;
	struct pw_cmd req;

	(void)state;
	start(0, 4);
	t.brief = true;
	sent = call(0, PW_OP_GETATTR);
	t.brief = false;
	patient = call(1, PW_OP_GETATTR);
	fake_take(fake.last, PW_MSG_REQ, &req);
	fake.connect_err = -ENETUNREACH;
	assert_int_equal(sent->nr_done, 0);
	lose();
	assert_int_equal(sent->nr_done, 1);
	assert_int_equal(sent->err, -EHOSTDOWN);
	t.brief = true;
	late = call(2, PW_OP_STATFS);
	assert_int_equal(late->nr_done, 0);
	fake_pass(&loop, 1);
	assert_int_equal(late->nr_done, 1);
	assert_int_equal(late->err, -EHOSTDOWN);
	fake_pass(&loop, 60000);
	assert_int_equal(patient->nr_done, 0);
	/* Nothing is left of them: the slot goes on with the next call. */
	fake.connect_err = 0;
	retry(PW_WELCOME_SESSION_KNOWN);
	reclaim_answer();
	fake_take(fake.last, PW_MSG_REQ, &req);
	answer(&req, 0, 0);
	assert_int_equal(patient->nr_done, 1);
	assert_int_equal(patient->err, 0);
	assert_int_equal(sent->nr_done + late->nr_done, 2);
}

static void test_abort__ends_at_once_what_is_not_with_the_node(void **state)
{
	struct test_call *sent, *parked;
	struct pw_cmd req;

	(void)state;
	start(0, 4);
	sent = call(0, PW_OP_READ);
	fake_take(fake.last, PW_MSG_REQ, &req);
	pwc_call_abort(t.p, &sent->call);
	fake_run(&loop);
	assert_int_equal(sent->nr_done, 0); /* its buffer may still be written to */
	answer(&req, 0, 8);
	assert_int_equal(sent->err, 0);
	parked = call(1, PW_OP_READ);
	fake_take(fake.last, PW_MSG_REQ, &req);
	lose();
	pwc_call_abort(t.p, &parked->call);
	assert_int_equal(parked->nr_done, 0); /* never from within */
	fake_run(&loop);
	assert_int_equal(parked->err, -EINTR);
}

static void test_give_up__fails_everything_until_the_node_is_back(void **state)
{
	struct test_call *tc;

	(void)state;
	start(0, 4);
	lose();
	fake.connect_err = -EHOSTUNREACH;
	tc = call(0, PW_OP_GETATTR);
	pwc_peer_give_up(t.p);
	fake_pass(&loop, 1);
	assert_int_equal(tc->err, -EIO);
	tc = call(1, PW_OP_GETATTR);
	fake_pass(&loop, 1);
	assert_int_equal(tc->err, -EIO);
}

static void test_answer__to_nothing_ends_the_connection(void **state)
{
	struct pw_cmd req;

	(void)state;
	start(0, 4);
	call(0, PW_OP_GETATTR);
	fake_take(fake.last, PW_MSG_REQ, &req);
	req.seq++;
	answer(&req, 0, 0);
	assert_int_equal(t.nr_down, 1);
	assert_int_equal(t.calls[0].nr_done, 0);
}

static void test_start__wrong_key_is_final(void **state)
{
	struct pw_cmd hello, cmd;

	(void)state;
	assert_int_equal(pwc_peer_new(&loop, &tcp_opts, &ops, &t, &client_id, &t.p), 0);
	pwc_peer_start(t.p);
	fake_connected(fake.last);
	fake_take(fake.last, PW_MSG_HELLO, &hello);
	make_challenge(&cmd, &hello, (const uint8_t[32]){ "wrong" });
	fake_deliver(fake.last, &cmd, NULL);
	fake_run(&loop);
	assert_int_equal(t.nr_dead, 1);
	assert_int_equal(t.dead_err, -EKEYREJECTED);
	assert_int_equal(pwc_peer_state(t.p), PWC_PEER_DEAD);
}

static void test_auto__takes_tcp_at_once_when_rdma_does_not_come_up(void **state)
{
	struct pw_xprt *rdma;
	int i;

	(void)state;
	assert_int_equal(pwc_peer_new(&loop, &auto_opts, &ops, &t, &client_id, &t.p), 0);
	pwc_peer_start(t.p);
	assert_int_equal(fake.transport, PW_TRANSPORT_RDMA);
	rdma = fake.last;
	fake_broken(rdma, -ECONNREFUSED, "nobody listens for RDMA");
	for (i = 0; i < 10 && fake.last == rdma; i++)
		fake_pass(&loop, 1);
	assert_int_equal(fake.transport, PW_TRANSPORT_TCP);
	welcome(0, 4);
	reclaim_answer();
	assert_string_equal(pwc_peer_no_rdma(t.p), "nobody listens for RDMA");
	/* a new try begins with the better one; and who is up with it has no reason */
	lose();
	retry(PW_WELCOME_SESSION_KNOWN);
	assert_int_equal(fake.transport, PW_TRANSPORT_RDMA);
	reclaim_answer();
	assert_string_equal(pwc_peer_no_rdma(t.p), "");
	assert_int_equal(t.nr_down, 1);
}

static void test_auto__a_node_that_refuses_is_not_asked_again_over_tcp(void **state)
{
	(void)state;
	assert_int_equal(pwc_peer_new(&loop, &auto_opts, &ops, &t, &client_id, &t.p), 0);
	pwc_peer_start(t.p);
	fake_broken(fake.last, -EKEYREJECTED, "another key");
	fake_pass(&loop, 2);
	assert_int_equal(t.nr_dead, 1);
	assert_int_equal(fake.transport, PW_TRANSPORT_RDMA);
}

static void test_rdma__a_host_without_it_ends_the_first_try(void **state)
{
	struct pwc_peer_opts o = tcp_opts;

	(void)state;
	o.conn.transport = PW_TRANSPORT_RDMA;
	assert_int_equal(pwc_peer_new(&loop, &o, &ops, &t, &client_id, &t.p), 0);
	fake.connect_err = -ENODEV;
	pwc_peer_start(t.p);
	assert_int_equal(t.nr_dead, 1);
	assert_int_equal(t.dead_err, -ENODEV);
	assert_non_null(strstr(pwc_peer_why_down(t.p), "no RDMA device"));
}

static void test_start__gives_up_when_nobody_answers(void **state)
{
	const struct pwc_peer_opts o = { .host = "10.0.0.1",
					 .port = 7470,
					 .conn.transport = PW_TRANSPORT_TCP,
					 .connect_wait_ms = 2000 };
	int i;

	(void)state;
	assert_int_equal(pwc_peer_new(&loop, &o, &ops, &t, &client_id, &t.p), 0);
	pwc_peer_start(t.p);
	for (i = 0; i < 6000 && !t.nr_dead; i++) {
		if (fake.nr_xprts)
			fake_broken(fake.last, -ECONNREFUSED, "refused by the test");
		fake_pass(&loop, 1);
	}
	assert_int_equal(t.dead_err, -ECONNREFUSED);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_call__answer_and_payload_arrive),
		CASE(test_call__waits_in_line_for_a_slot),
		CASE(test_call__answer_before_the_send_is_done_waits_for_it),
		CASE(test_reconnect__replays_with_the_same_slot_and_seq),
		CASE(test_reconnect__lost_session_fails_changes_but_not_reads),
		CASE(test_connect__nothing_goes_out_before_the_session_is_on_record),
		CASE(test_timeout__ends_calls_while_the_node_is_away),
		CASE(test_brief__does_not_wait_for_a_node_that_is_away),
		CASE(test_abort__ends_at_once_what_is_not_with_the_node),
		CASE(test_give_up__fails_everything_until_the_node_is_back),
		CASE(test_answer__to_nothing_ends_the_connection),
		CASE(test_start__wrong_key_is_final),
		CASE(test_auto__takes_tcp_at_once_when_rdma_does_not_come_up),
		CASE(test_auto__a_node_that_refuses_is_not_asked_again_over_tcp),
		CASE(test_rdma__a_host_without_it_ends_the_first_try),
		CASE(test_start__gives_up_when_nobody_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
