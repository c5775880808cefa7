/* SPDX-License-Identifier: Apache-2.0 */
/* test_peer_runs.c -- calls whose payload lies in runs, over connections that gather and that do
 * not
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "client_fs/peer.h"
#include "conn_fixture.h"
#include "tests/unit/fault_file.h"

static struct {
	struct pwc_peer *p;
	struct pwc_call call;
	uint32_t nr_done, out_len;
	int want_err;
	uint8_t mem[64], spare[64];
	struct iovec v[2];
	struct pw_runs runs;
} t;

static void on_up(struct pwc_peer *p, bool first)
{
}

static void on_down(struct pwc_peer *p, int err, const char *why)
{
}

static bool next_open(struct pwc_peer *p, uint64_t *iter, uint64_t *ino, uint32_t *opens)
{
	return false;
}

static void on_stopped(struct pwc_peer *p)
{
}

static const struct pwc_peer_ops ops = {
	.on_up = on_up,
	.on_down = on_down,
	.on_dead = on_down,
	.next_open = next_open,
	.on_stopped = on_stopped,
};

static void call_done(struct pwc_call *c, int err, const struct pw_cmd *rsp, uint32_t out_len)
{
	assert_int_equal(err, t.want_err);
	t.nr_done++;
	t.out_len = out_len;
}

static void deliver_rsp(const struct pw_cmd *req, uint32_t len)
{
	uint8_t data[64];
	struct pw_cmd rsp;

	for (uint32_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(100 + i);
	pw_cmd_init(&rsp, PW_MSG_RSP, req->op);
	rsp.slot = req->slot;
	rsp.seq = req->seq;
	rsp.payload_len = len;
	if (req->op == PW_OP_WRITE) {
		rsp.attr.attr.ino = 5;
		rsp.attr.attr.mode = S_IFREG | 0644;
	}
	fake_deliver(fake.last, &rsp, len ? data : NULL);
	fake_run(&loop);
}

/* A node answers on the newest transport until the peer is up. */
static void welcome(uint32_t flags)
{
	struct pw_cmd hello, cmd;

	fake_connected(fake.last);
	fake_take(fake.last, PW_MSG_HELLO, &hello);
	make_challenge(&cmd, &hello, node_id.key);
	fake_deliver(fake.last, &cmd, NULL);
	fake_take(fake.last, PW_MSG_PROOF, &cmd);
	make_welcome(&cmd);
	cmd.welcome.flags = flags;
	fake_deliver(fake.last, &cmd, NULL);
	fake_run(&loop);
	fake_take(fake.last, PW_MSG_REQ, &cmd);
	deliver_rsp(&cmd, 0);
	assert_int_equal(pwc_peer_state(t.p), PWC_PEER_UP);
}

static int set_up(void **state)
{
	static const struct pwc_peer_opts o = { .host = "10.0.0.1",
						.port = 7470,
						.conn.transport = PW_TRANSPORT_TCP };

	memset(&t, 0, sizeof(t));
	if (fixture_set_up(state) || pwc_peer_new(&loop, &o, &ops, &t, &client_id, &t.p))
		return -1;
	pwc_peer_start(t.p);
	fake_run(&loop);
	welcome(0);
	for (uint32_t i = 0; i < sizeof(t.mem); i++)
		t.mem[i] = (uint8_t)i;
	t.v[0] = (struct iovec){ t.mem + 40, 10 };
	t.v[1] = (struct iovec){ t.mem + 5, 20 };
	t.runs = (struct pw_runs){ t.v, 2 };
	return 0;
}

static int tear_down(void **state)
{
	pwc_peer_stop(t.p);
	while (fake.nr_xprts && fake_first(fake.last))
		fake_sent(fake.last);
	fake_pass(&loop, 2);
	pwc_peer_free(t.p);
	return fixture_tear_down(state);
}

static void call(enum pw_op op)
{
	struct pw_cmd *cmd = &t.call.send.cmd;

	memset(&t.call, 0, sizeof(t.call));
	pw_cmd_init(cmd, PW_MSG_REQ, op);
	cmd->io.ino = 5;
	cmd->io.len = 30;
	cmd->payload_len = op == PW_OP_WRITE ? 30 : 0;
	t.call.payload = t.call.spare = t.spare;
	t.call.out = op == PW_OP_READ ? t.spare : NULL;
	t.call.out_max = op == PW_OP_READ ? 30 : 0;
	t.call.runs = &t.runs;
	t.call.done = call_done;
	pwc_peer_call(t.p, &t.call);
	fake_run(&loop);
}

static void call_answered(enum pw_op op)
{
	struct pw_cmd req;

	call(op);
	fake_take(fake.last, PW_MSG_REQ, &req);
	deliver_rsp(&req, op == PW_OP_READ ? 30 : 0);
}

static uint64_t copied(void)
{
	struct pwc_peer_stats st;

	pwc_peer_get_stats(t.p, &st);
	return st.runs_copied;
}

static void expect_scattered(uint32_t len)
{
	for (uint32_t i = 0; i < 30; i++) {
		const uint8_t *p = i < 10 ? t.mem + 40 + i : t.mem + 5 + i - 10;

		assert_int_equal(*p, i < len ? 100 + i : (uint8_t)(p - t.mem));
	}
	assert_int_equal(t.mem[4], 4);
	assert_int_equal(t.mem[25], 25);
	assert_int_equal(t.mem[50], 50);
}

static void test_write__hands_its_runs_on(void **state)
{
	struct pw_cmd req;

	fake.gathers = PW_GATHER_OK;
	call(PW_OP_WRITE);
	assert_ptr_equal(fake_first(fake.last)->runs, &t.runs);
	fake_take(fake.last, PW_MSG_REQ, &req);
	deliver_rsp(&req, 0);
	assert_int_equal(t.nr_done, 1);
	assert_int_equal(copied(), 0);
}

static void test_write__is_brought_together_where_nothing_gathers(void **state)
{
	const struct pw_send *s;
	struct pw_cmd req;

	fake.gathers = PW_GATHER_UNREGISTERED;
	call(PW_OP_WRITE);
	s = fake_first(fake.last);
	assert_null(s->runs);
	assert_ptr_equal(s->payload, t.spare);
	assert_memory_equal(t.spare, t.mem + 40, 10);
	assert_memory_equal(t.spare + 10, t.mem + 5, 20);
	fake_take(fake.last, PW_MSG_REQ, &req);
	deliver_rsp(&req, 0);
	assert_int_equal(t.nr_done, 1);
	assert_int_equal(copied(), 30);
}

static void test_read__lands_in_its_runs(void **state)
{
	struct pw_cmd req;

	fake.gathers = PW_GATHER_OK;
	call(PW_OP_READ);
	assert_null(fake_first(fake.last)->answer);
	fake_take(fake.last, PW_MSG_REQ, &req);
	deliver_rsp(&req, 14);
	assert_int_equal(t.out_len, 14);
	expect_scattered(14);
	assert_int_equal(copied(), 0);
}

/* A guess is where the bytes of other answers land when they come first, and an application would
 * see them: its memory is no guess, but what it gets may not be read ahead of its place, either. */
static void test_read__memory_of_an_application_is_no_guess(void **state)
{
	const struct pw_xprt_ops *o = fake.last->ops;
	struct pw_cmd req;
	uint32_t len = 0;

	for (t.runs.nr = 1; t.runs.nr <= 2; t.runs.nr++) {
		t.v[0].iov_len = t.runs.nr == 1 ? 30 : 10;
		fake.gathers = PW_GATHER_OK;
		call(PW_OP_READ);
		assert_null(o->guess_payload(fake.last->owner, &len));
		assert_int_equal(len, 30);
		fake_take(fake.last, PW_MSG_REQ, &req);
		deliver_rsp(&req, 30);
	}
	/* what is copied to there is guessed as others are */
	t.runs.nr = 2;
	fake.gathers = PW_GATHER_NEVER;
	call(PW_OP_READ);
	assert_ptr_equal(o->guess_payload(fake.last->owner, &len), t.spare);
	assert_int_equal(len, 30);
	fake_take(fake.last, PW_MSG_REQ, &req);
	deliver_rsp(&req, 30);
	assert_int_equal(t.nr_done, 3);
}

static void test_read__is_spread_where_nothing_gathers(void **state)
{
	struct pw_cmd req;

	fake.gathers = PW_GATHER_TOO_MANY;
	call(PW_OP_READ);
	assert_ptr_equal(fake_first(fake.last)->answer, t.spare);
	assert_int_equal(fake_first(fake.last)->answer_max, 30);
	fake_take(fake.last, PW_MSG_REQ, &req);
	deliver_rsp(&req, 30);
	assert_int_equal(t.nr_done, 1);
	expect_scattered(30);
	assert_int_equal(copied(), 30);
}

/* Memory of a device: never touched here, and an error if it is gone. */
static void test_foreign__memory_that_is_not_there(void **state)
{
	uint8_t *p = mmap(NULL, 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct pwc_peer_stats st;

	assert_true(p != MAP_FAILED);
	t.v[0].iov_base = p;
	t.runs.foreign = true;
	fake.gathers = PW_GATHER_NEVER;
	t.want_err = -EFAULT;
	call(PW_OP_WRITE);
	assert_int_equal(t.nr_done, 1);
	assert_null(fake_first(fake.last));
	call_answered(PW_OP_READ);
	assert_int_equal(t.nr_done, 2);
	/* its slot goes on */
	t.want_err = 0;
	mprotect(p, 8192, PROT_READ | PROT_WRITE);
	call_answered(PW_OP_READ);
	assert_int_equal(p[9], 109);
	assert_int_equal(t.mem[5], 110);
	pwc_peer_get_stats(t.p, &st);
	assert_int_equal(st.inflight, 0);
	munmap(p, 8192);
}

/* Short answers come to this side first, whatever the connection can; no window is opened. */
static void test_foreign__short_answer_is_copied_by_the_kernel(void **state)
{
	struct pw_cmd req;

	t.runs = (struct pw_runs){ t.v, 1, true };
	t.v[0].iov_len = 30;
	t.v[0].iov_base = t.mem;
	fake.gathers = PW_GATHER_OK;
	call(PW_OP_READ);
	assert_null(fake_first(fake.last)->answer);
	fake_take(fake.last, PW_MSG_REQ, &req);
	deliver_rsp(&req, 30);
	assert_int_equal(t.mem[0], 100);
	assert_int_equal(t.mem[29], 129);
	assert_int_equal(t.mem[30], 30);
	assert_int_equal(copied(), 30);
}

/* The device says so, see test_rdma_cq.c: every call goes out once more, and once. */
static void test_replay__once_when_a_completion_queue_broke(void **state)
{
	struct pw_xprt *old = fake.last;
	struct pwc_peer_stats st;
	struct pw_cmd first, again;

	fake.gathers = PW_GATHER_OK;
	call(PW_OP_WRITE);
	fake_take(fake.last, PW_MSG_REQ, &first);
	fake_broken(fake.last, -EIO, "a completion queue of fake0 has failed");
	assert_non_null(strstr(pwc_peer_why_down(t.p), "a completion queue of fake0 has failed"));
	assert_int_equal(t.nr_done, 0);
	for (int j = 0; j < 3000 && (fake.last == old || !fake.nr_xprts); j++)
		fake_pass(&loop, 1);
	welcome(PW_WELCOME_SESSION_KNOWN);
	assert_ptr_equal(fake_first(fake.last)->runs, &t.runs);
	fake_take(fake.last, PW_MSG_REQ, &again);
	assert_int_equal(again.slot, first.slot);
	assert_int_equal(again.seq, first.seq);
	fake_pass(&loop, 100);
	assert_null(fake_first(fake.last));
	deliver_rsp(&again, 0);
	pwc_peer_get_stats(t.p, &st);
	assert_int_equal(st.replays, 1);
	assert_int_equal(t.nr_done, 1);
	assert_int_equal(st.inflight, 0);
}

#ifdef PW_FAULT_POINTS
/* While this file exists, there is no memory to copy foreign runs by. */
static char no_stage[] = "/tmp/test_peer_runs.XXXXXX";

/* The application is told that memory is short, not that its own is bad; and only this call is. */
static void test_foreign__no_memory_to_copy_by(void **state)
{
	struct pwc_peer_stats st;

	fault_file_on(no_stage);
	t.runs.foreign = true;
	fake.gathers = PW_GATHER_NEVER;
	t.want_err = -ENOMEM;
	call(PW_OP_WRITE);
	assert_int_equal(t.nr_done, 1);
	assert_null(fake_first(fake.last));
	call_answered(PW_OP_READ);
	assert_int_equal(t.nr_done, 2);
	expect_scattered(0);
	unlink(no_stage);
	t.want_err = 0;
	call_answered(PW_OP_WRITE);
	call_answered(PW_OP_READ);
	assert_int_equal(t.nr_done, 4);
	expect_scattered(30);
	pwc_peer_get_stats(t.p, &st);
	assert_int_equal(st.inflight, 0);
}
#endif

/* The next connection is on a device that cannot what the last one could, and the other way. */
static void test_replay__asks_the_new_connection(void **state)
{
	struct pwc_peer_stats st;
	struct pw_cmd req;

	fake.gathers = PW_GATHER_OK;
	call(PW_OP_READ);
	fake_take(fake.last, PW_MSG_REQ, &req);
	for (uint32_t i = 0; i < 2; i++) {
		struct pw_xprt *old = fake.last;

		fake_broken(fake.last, -ECONNRESET, "reset");
		for (int j = 0; j < 3000 && (fake.last == old || !fake.nr_xprts); j++)
			fake_pass(&loop, 1);
		fake.gathers = i ? PW_GATHER_OK : PW_GATHER_NEVER;
		welcome(PW_WELCOME_SESSION_KNOWN);
		assert_ptr_equal(fake_first(fake.last)->answer, i ? NULL : t.spare);
		fake_take(fake.last, PW_MSG_REQ, &req);
	}
	deliver_rsp(&req, 30);
	assert_int_equal(t.nr_done, 1);
	expect_scattered(30);
	pwc_peer_get_stats(t.p, &st);
	assert_int_equal(st.runs[PW_GATHER_OK], 2);
	assert_int_equal(st.runs[PW_GATHER_NEVER], 1);
	assert_int_equal(st.runs_copied, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_write__hands_its_runs_on),
		TEST(test_write__is_brought_together_where_nothing_gathers),
		TEST(test_read__lands_in_its_runs),
		TEST(test_read__memory_of_an_application_is_no_guess),
		TEST(test_read__is_spread_where_nothing_gathers),
		TEST(test_replay__asks_the_new_connection),
		TEST(test_replay__once_when_a_completion_queue_broke),
		TEST(test_foreign__memory_that_is_not_there),
		TEST(test_foreign__short_answer_is_copied_by_the_kernel),
#ifdef PW_FAULT_POINTS
		TEST(test_foreign__no_memory_to_copy_by),
#endif
	};

#ifdef PW_FAULT_POINTS
	fault_file_arm("runs_copy.stage:ENOMEM", no_stage);
#endif
	return cmocka_run_group_tests(tests, NULL, NULL);
}
