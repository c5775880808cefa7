/* SPDX-License-Identifier: Apache-2.0 */
/* test_node_req.c -- requests: order, replay, early arrivals, and the operations on data */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "common/err.h"
#include "common/log.h"

#include "node_fixture.h"

static uint8_t data[FX_MAX_IO];

static int setup(void **state)
{
	static struct fx f;

	for (uint32_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7 + i / 256);
	fx_init(&f);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	fx_fini(*state);
	return 0;
}

static uint64_t size_of(struct fx *f, struct pw_conn *c, uint64_t ino)
{
	assert_int_equal(fx_call(f, c, 1, 1, fx_ino(PW_OP_GETATTR, ino, 0), NULL), 0);
	return f->rsp.attr.attr.size;
}

static void check_read(struct fx *f, struct pw_conn *c, uint64_t ino, uint64_t off,
		       const uint8_t *want, uint32_t len)
{
	assert_int_equal(fx_call(f, c, 1, 1, fx_io(PW_OP_READ, ino, off, len, 0), NULL), 0);
	assert_int_equal(f->rsp.payload_len, len);
	assert_memory_equal(f->out, want, len);
}

/* Order -------------------------------------------------------------------------------------- */

static void test_seq__old_number_ends_the_connection(void **state)
{
	struct fx *f = *state;
	struct pw_conn *c = fx_connect(f, 1, 1);

	f->seq[1][1] = 5;
	assert_int_equal(fx_call(f, c, 1, 1, fx_name(PW_OP_LOOKUP, "x"), "x"), -ENOENT);
	f->seq[1][1] = 5;
	fx_send(f, c, 1, 1, fx_name(PW_OP_LOOKUP, "x"), "x");
	assert_true(fake_is_up(c)); /* a replay */
	f->seq[1][1] = 3;
	fx_send(f, c, 1, 1, fx_name(PW_OP_LOOKUP, "x"), "x");
	assert_false(fake_is_up(c));
	vloop_settle(f->loop);
	assert_int_equal(fake_nr_conns(), 0);
	assert_int_equal(f->node->stats.bad_msgs, 1);
}

/* A request that its client gave up while it was away may never have come here. */
static void test_seq__gap_is_fine(void **state)
{
	struct fx *f = *state;
	struct pw_conn *c = fx_connect(f, 1, 1);

	assert_int_equal(fx_call(f, c, 1, 1, fx_name(PW_OP_LOOKUP, "x"), "x"), -ENOENT);
	fx_break(f, c);
	c = fx_connect(f, 1, 2);
	f->seq[1][1] += 1;
	assert_int_equal(fx_call(f, c, 1, 1, fx_name(PW_OP_LOOKUP, "x"), "x"), -ENOENT);
}

static void test_seq__zero_ends_the_connection(void **state)
{
	struct fx *f = *state;
	struct pw_conn *c = fx_connect(f, 1, 1);
	struct pw_cmd cmd = fx_ino(PW_OP_GETATTR, 1, 0);

	cmd.slot = 1;
	assert_false(fake_deliver(c, &cmd, NULL));
	vloop_settle(f->loop);
}

static void test_slot__not_granted_ends_the_connection(void **state)
{
	struct fx *f = *state;
	struct pw_conn *c = fx_connect(f, 1, 1);
	struct pw_cmd cmd = fx_ino(PW_OP_GETATTR, 1, 0);

	cmd.slot = FX_SLOTS;
	cmd.seq = 1;
	assert_false(fake_deliver(c, &cmd, NULL));
	vloop_settle(f->loop);
}

static void test_payload__larger_than_max_io(void **state)
{
	struct fx *f = *state;
	struct pw_conn *c = fx_connect(f, 1, 1);
	struct pw_cmd cmd = fx_io(PW_OP_WRITE, 1, 0, FX_MAX_IO + 3 * PWS_BLOCK, 0);

	cmd.slot = 1;
	cmd.seq = 1;
	assert_null(fake_deliver_cmd(c, &cmd));
	vloop_settle(f->loop);
	assert_int_equal(fake_nr_conns(), 0);
}

static void test_names__of_no_file_are_refused(void **state)
{
	struct fx *f = *state;
	struct pw_conn *c = fx_connect(f, 1, 1);

	assert_int_equal(fx_call(f, c, 1, 1, fx_name(PW_OP_LOOKUP, ".."), ".."), -EINVAL);
	assert_int_equal(fx_call(f, c, 1, 1, fx_create("a/b", 0), "a/b"), -EINVAL);
	assert_int_equal(fx_call(f, c, 1, 1, fx_name(PW_OP_UNLINK, "ab"), "a\0"), -EINVAL);
	assert_true(fake_is_up(c));
}

/* Replay ------------------------------------------------------------------------------------- */

static void test_replay__answered_mutation_is_answered_the_same(void **state)
{
	struct fx *f = *state;
	struct pw_conn *c = fx_connect(f, 1, 1);
	struct pw_cmd cmd = fx_send(f, c, 1, 1, fx_create("a", PW_CREATE_EXCL), "a"), first;

	assert_int_equal(fx_wait(f, c), 0);
	first = f->rsp;
	fx_break(f, c);
	c = fx_connect(f, 1, 2);
	assert_true(fake_deliver(c, &cmd, "a"));
	assert_int_equal(fx_wait(f, c), 0);
	assert_memory_equal(&f->rsp, &first, sizeof(first));
	assert_int_equal(f->node->opens.total, 1);
	assert_int_equal(f->node->stats.replays_answered, 1);
}

static void test_replay__after_restart_from_the_reply_row(void **state)
{
	struct fx *f = *state;
	struct pw_conn *c = fx_connect(f, 1, 1);
	struct pw_cmd cmd = fx_send(f, c, 1, 1, fx_create("a", PW_CREATE_EXCL), "a"), first;

	assert_int_equal(fx_wait(f, c), 0);
	first = f->rsp;
	fx_restart(f);
	c = fx_connect(f, 1, 2);
	assert_true(fake_deliver(c, &cmd, "a"));
	assert_int_equal(fx_wait(f, c), 0);
	assert_memory_equal(&f->rsp, &first, sizeof(first));
	assert_int_equal(f->node->opens.total, 1);
}

static void test_replay__refusal_stays_a_refusal(void **state)
{
	struct fx *f = *state;
	struct pw_conn *c = fx_connect(f, 1, 1);
	struct pw_cmd cmd;

	fx_file(f, c, 1, "a");
	cmd = fx_send(f, c, 1, 2, fx_create("a", PW_CREATE_EXCL), "a");
	assert_int_equal(fx_wait(f, c), -EEXIST);
	assert_int_equal(fx_call(f, c, 1, 1, fx_name(PW_OP_UNLINK, "a"), "a"), 0);
	fx_restart(f);
	c = fx_connect(f, 1, 2);
	assert_true(fake_deliver(c, &cmd, "a"));
	assert_int_equal(fx_wait(f, c), -EEXIST);
}

static void test_replay__unlink_is_not_done_twice(void **state)
{
	struct fx *f = *state;
	struct pw_conn *c = fx_connect(f, 1, 1);
	struct pw_cmd cmd;

	fx_file(f, c, 1, "a");
	cmd = fx_send(f, c, 1, 2, fx_name(PW_OP_UNLINK, "a"), "a");
	assert_int_equal(fx_wait(f, c), 0);
	fx_file(f, c, 1, "a");
	fx_restart(f);
	c = fx_connect(f, 1, 2);
	assert_true(fake_deliver(c, &cmd, "a"));
	assert_int_equal(fx_wait(f, c), 0);
	assert_int_equal(fx_call(f, c, 1, 3, fx_name(PW_OP_LOOKUP, "a"), "a"), 0);
}

static void test_replay__of_a_running_request_gets_its_answer(void **state)
{
	struct fx *f = *state;
	struct pw_conn *c = fx_connect(f, 1, 1);
	const struct pws_kv_mem_faults slow = { .delay_ns_max = PW_NS_PER_S };
	uint64_t ino = fx_file(f, c, 1, "a");
	struct pw_cmd cmd;

	pws_kv_mem_set_faults(f->kv, &slow);
	cmd = fx_send(f, c, 1, 2, fx_io(PW_OP_WRITE, ino, 0, 4096, 0), data);
	vloop_settle(f->loop);
	assert_int_equal(f->node->nr_busy, 1);
	fx_break(f, c);
	c = fx_connect(f, 1, 2);
	assert_non_null(c);
	assert_int_equal(f->node->nr_busy, 1);
	memset(data, 0xee, 4096); /* if it were written again, this would be seen */
	assert_true(fake_deliver(c, &cmd, data));
	vloop_advance(f->loop, 3 * PW_NS_PER_S);
	assert_int_equal(fx_wait(f, c), 0);
	assert_int_equal(f->rsp.seq, cmd.seq);
	assert_false(fake_take(c, &f->rsp, NULL, 0));
	assert_int_equal(f->node->stats.reqs[PW_OP_WRITE], 1);
	for (uint32_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7 + i / 256);
	check_read(f, c, ino, 0, data, 4096);
}

static void test_replay__read_runs_again(void **state)
{
	struct fx *f = *state;
	struct pw_conn *c = fx_connect(f, 1, 1);
	uint64_t ino = fx_file(f, c, 1, "a");
	struct pw_cmd cmd;

	assert_int_equal(fx_call(f, c, 1, 1, fx_io(PW_OP_WRITE, ino, 0, 5000, 0), data), 0);
	cmd = fx_send(f, c, 1, 2, fx_io(PW_OP_READ, ino, 0, 5000, 0), NULL);
	assert_int_equal(fx_wait(f, c), 0);
	fx_break(f, c);
	c = fx_connect(f, 1, 2);
	assert_true(fake_deliver(c, &cmd, NULL));
	assert_int_equal(fx_wait(f, c), 0);
	assert_int_equal(f->rsp.payload_len, 5000);
	assert_memory_equal(f->out, data, 5000);
}

static void test_replay__open_is_counted_once(void **state)
{
	struct fx *f = *state;
	struct pw_conn *c = fx_connect(f, 1, 1);
	uint64_t ino = fx_file(f, c, 1, "a");
	struct pw_cmd cmd = fx_send(f, c, 1, 2, fx_ino(PW_OP_OPEN, ino, 0), NULL);

	assert_int_equal(fx_wait(f, c), 0);
	fx_break(f, c);
	c = fx_connect(f, 1, 2);
	assert_true(fake_deliver(c, &cmd, NULL));
	assert_int_equal(fx_wait(f, c), 0);
	assert_int_equal(f->node->opens.total, 2);
}

static void test_replay__another_op_with_the_same_number(void **state)
{
	struct fx *f = *state;
	struct pw_conn *c = fx_connect(f, 1, 1);
	struct pw_cmd cmd = fx_ino(PW_OP_GETATTR, 1, 0);

	fx_file(f, c, 1, "a");
	cmd.slot = 1;
	cmd.seq = f->seq[1][1];
	assert_false(fake_deliver(c, &cmd, NULL));
	vloop_settle(f->loop);
}

/* Early arrivals and broken connections ------------------------------------------------------ */

static void test_park__next_request_before_the_transport_is_done(void **state)
{
	struct fx *f = *state;
	struct pw_conn *c = fx_connect(f, 1, 1);
	uint64_t ino = fx_file(f, c, 1, "a");

	assert_int_equal(fx_call(f, c, 1, 2, fx_io(PW_OP_WRITE, ino, 0, FX_MAX_IO, 0), data), 0);
	fake_hold_sends(c, true);
	assert_int_equal(fx_call(f, c, 1, 2, fx_io(PW_OP_READ, ino, 0, 4096, 0), NULL), 0);
	/* the client has its answer, the transport still has the buffer */
	fx_send(f, c, 1, 2, fx_io(PW_OP_WRITE, ino, FX_MAX_IO, 300, 0), data);
	vloop_settle(f->loop);
	assert_false(fake_take(c, &f->rsp, NULL, 0));
	assert_int_equal(f->node->stats.parked, 1);
	/* one may come early, not two */
	fake_hold_sends(c, false);
	assert_int_equal(fx_wait(f, c), 0);
	assert_int_equal(f->rsp.op, PW_OP_WRITE);
	check_read(f, c, ino, FX_MAX_IO, data, 300);
}

static void test_park__two_early_requests_end_the_connection(void **state)
{
	struct fx *f = *state;
	struct pw_conn *c = fx_connect(f, 1, 1);

	fake_hold_sends(c, true);
	assert_int_equal(fx_call(f, c, 1, 2, fx_ino(PW_OP_GETATTR, 1, 0), NULL), 0);
	fx_send(f, c, 1, 2, fx_ino(PW_OP_GETATTR, 1, 0), NULL);
	assert_true(fake_is_up(c));
	fx_send(f, c, 1, 2, fx_ino(PW_OP_GETATTR, 1, 0), NULL);
	assert_false(fake_is_up(c));
	vloop_settle(f->loop);
}

/* The client gave up what runs (timeout=) and uses the slot again after a reconnect. */
static void test_park__running_request_that_nobody_wants(void **state)
{
	struct fx *f = *state;
	struct pw_conn *c = fx_connect(f, 1, 1);
	const struct pws_kv_mem_faults slow = { .delay_ns_max = PW_NS_PER_S }, none = { 0 };
	uint64_t ino = fx_file(f, c, 1, "a");

	pws_kv_mem_set_faults(f->kv, &slow);
	fx_send(f, c, 1, 2, fx_io(PW_OP_WRITE, ino, 0, 4096, 0), data);
	vloop_settle(f->loop);
	fx_break(f, c);
	pws_kv_mem_set_faults(f->kv, &none);
	c = fx_connect(f, 1, 2);
	fx_send(f, c, 1, 2, fx_io(PW_OP_WRITE, ino, 0, 100, 0), data + 4096);
	vloop_advance(f->loop, 3 * PW_NS_PER_S);
	assert_int_equal(fx_wait(f, c), 0);
	assert_int_equal(f->rsp.seq, f->seq[1][2]);
	assert_false(fake_take(c, &f->rsp, NULL, 0));
	check_read(f, c, ino, 0, data + 4096, 100);
	assert_int_equal(size_of(f, c, ino), 4096);
}

static void test_break__half_a_payload_never_happened(void **state)
{
	struct fx *f = *state;
	struct pw_conn *c = fx_connect(f, 1, 1);
	uint64_t ino = fx_file(f, c, 1, "a");
	struct pw_cmd cmd = fx_io(PW_OP_WRITE, ino, 0, 4096, 0);

	cmd.slot = 2;
	cmd.seq = ++f->seq[1][2];
	assert_non_null(fake_deliver_cmd(c, &cmd));
	fx_break(f, c);
	assert_int_equal(f->node->nr_busy, 0);
	c = fx_connect(f, 1, 2);
	assert_true(fake_deliver(c, &cmd, data));
	assert_int_equal(fx_wait(f, c), 0);
	check_read(f, c, ino, 0, data, 4096);
}

static void test_break__buffers_go_home(void **state)
{
	struct fx *f = *state;
	uint32_t nr_free = pws_bufpool_nr_free(f->bufs);
	struct pw_conn *c = fx_connect(f, 1, 1);

	fx_file(f, c, 1, "a");
	assert_int_equal(pws_bufpool_nr_free(f->bufs), nr_free - FX_SLOTS);
	fx_break(f, c);
	assert_int_equal(pws_bufpool_nr_free(f->bufs), nr_free);
}

/* Data --------------------------------------------------------------------------------------- */

static void test_write__errors(void **state)
{
	struct fx *f = *state;
	struct pw_conn *c = fx_connect(f, 1, 1);

	assert_int_equal(fx_call(f, c, 1, 1, fx_io(PW_OP_WRITE, 999, 0, 10, 0), data), -ESTALE);
	assert_int_equal(fx_call(f, c, 1, 1, fx_io(PW_OP_WRITE, 1, 0, 10, 0), data), -EISDIR);
	assert_int_equal(fx_call(f, c, 1, 1, fx_io(PW_OP_READ, 1, 0, 10, 0), NULL), -EISDIR);
	assert_int_equal(fx_call(f, c, 1, 1, fx_io(PW_OP_READ, 999, 0, 10, 0), NULL), -ESTALE);
	assert_int_equal(fx_call(f, c, 1, 1, fx_size(1, 10), NULL), -EISDIR);
	assert_int_equal(fx_call(f, c, 1, 1, fx_size(999, 10), NULL), -ESTALE);
}

static void test_write__attributes_in_the_answer(void **state)
{
	struct fx *f = *state;
	struct pw_conn *c = fx_connect(f, 1, 1);
	uint64_t ino = fx_file(f, c, 1, "a"), change = f->rsp.attr.attr.change;

	vloop_advance(f->loop, 1000);
	assert_int_equal(fx_call(f, c, 1, 1, fx_io(PW_OP_WRITE, ino, 100, 50, 0), data), 0);
	assert_int_equal(f->rsp.attr.attr.ino, ino);
	assert_int_equal(f->rsp.attr.attr.size, 150);
	assert_true(f->rsp.attr.attr.change > change);
	assert_int_equal(f->rsp.attr.attr.mtime_ns, (int64_t)pw_loop_realtime(f->loop));
	assert_int_equal(f->rsp.attr.off, 0);
	/* the hole before it reads as zeros */
	memset(data, 0, 100);
	check_read(f, c, ino, 0, data, 100);
}

static void test_write__killpriv_clears_setuid(void **state)
{
	struct fx *f = *state;
	struct pw_conn *c = fx_connect(f, 1, 1);
	struct pw_cmd cmd = fx_create("a", 0);
	uint64_t ino;

	cmd.mknode.mode = S_IFREG | 04755;
	assert_int_equal(fx_call(f, c, 1, 1, cmd, "a"), 0);
	ino = f->rsp.attr.attr.ino;
	assert_int_equal(fx_call(f, c, 1, 1, fx_io(PW_OP_WRITE, ino, 0, 10, 0), data), 0);
	assert_int_equal(f->rsp.attr.attr.mode, S_IFREG | 04755);
	assert_int_equal(fx_call(f, c, 1, 1, fx_io(PW_OP_WRITE, ino, 0, 10, PW_IO_KILLPRIV), data),
			 0);
	assert_int_equal(f->rsp.attr.attr.mode, S_IFREG | 0755);
}

static void test_append__concurrent_ones_do_not_overlap(void **state)
{
	struct fx *f = *state;
	struct pw_conn *c = fx_connect(f, 1, 1);
	uint64_t ino = fx_file(f, c, 1, "a"), sum = 0;
	uint8_t seen[8] = { 0 };

	for (uint16_t s = 1; s < FX_SLOTS; s++) {
		uint8_t rec[100];

		memset(rec, s, sizeof(rec));
		fx_send(f, c, 1, s, fx_io(PW_OP_WRITE, ino, 0, 100, PW_IO_APPEND), rec);
	}
	for (uint16_t s = 1; s < FX_SLOTS; s++) {
		assert_int_equal(fx_wait(f, c), 0);
		sum += f->rsp.attr.off;
	}
	assert_int_equal(sum, 100 * (0 + 1 + 2 + 3 + 4 + 5 + 6));
	assert_int_equal(size_of(f, c, ino), 700);
	assert_int_equal(fx_call(f, c, 1, 1, fx_io(PW_OP_READ, ino, 0, 700, 0), NULL), 0);
	for (uint32_t i = 0; i < 7; i++) {
		assert_memory_equal(f->out + 100 * i, f->out + 100 * i + 1, 99);
		assert_int_equal(seen[f->out[100 * i]]++, 0);
	}
	assert_true(pw_list_empty(&f->node->appends));
}

static void test_append__beside_a_write_that_grows_the_file(void **state)
{
	struct fx *f = *state;
	struct pw_conn *c = fx_connect(f, 1, 1);
	uint64_t ino = fx_file(f, c, 1, "a");

	fx_send(f, c, 1, 1, fx_io(PW_OP_WRITE, ino, 0, 5000, 0), data);
	fx_send(f, c, 1, 2, fx_io(PW_OP_WRITE, ino, 0, 100, PW_IO_APPEND), data + 8192);
	assert_int_equal(fx_wait(f, c), 0);
	assert_int_equal(fx_wait(f, c), 0);
	assert_int_equal(size_of(f, c, ino), 5100);
	check_read(f, c, ino, 0, data, 5000);
	check_read(f, c, ino, 5000, data + 8192, 100);
}

static void test_truncate__shrink_grow(void **state)
{
	struct fx *f = *state;
	struct pw_conn *c = fx_connect(f, 1, 1);
	uint64_t ino = fx_file(f, c, 1, "a");

	assert_int_equal(fx_call(f, c, 1, 1, fx_io(PW_OP_WRITE, ino, 0, 10000, 0), data), 0);
	assert_int_equal(fx_call(f, c, 1, 1, fx_size(ino, 5000), NULL), 0);
	assert_int_equal(f->rsp.attr.attr.size, 5000);
	assert_int_equal(fx_call(f, c, 1, 1, fx_size(ino, 9000), NULL), 0);
	assert_int_equal(f->rsp.attr.attr.size, 9000);
	memset(data + 5000, 0, 4000);
	check_read(f, c, ino, 0, data, 9000);
	/* the same size: only times */
	assert_int_equal(fx_call(f, c, 1, 1, fx_size(ino, 9000), NULL), 0);
	check_read(f, c, ino, 0, data, 9000);
}

static void test_truncate__replay_does_not_cut_what_came_after(void **state)
{
	struct fx *f = *state;
	struct pw_conn *c = fx_connect(f, 1, 1);
	uint64_t ino = fx_file(f, c, 1, "a");
	struct pw_cmd cmd;

	assert_int_equal(fx_call(f, c, 1, 1, fx_io(PW_OP_WRITE, ino, 0, 10000, 0), data), 0);
	cmd = fx_send(f, c, 1, 2, fx_size(ino, 0), NULL);
	assert_int_equal(fx_wait(f, c), 0);
	assert_int_equal(fx_call(f, c, 1, 1, fx_io(PW_OP_WRITE, ino, 0, 500, 0), data), 0);
	fx_restart(f);
	c = fx_connect(f, 1, 2);
	assert_true(fake_deliver(c, &cmd, NULL));
	assert_int_equal(fx_wait(f, c), 0);
	assert_int_equal(f->rsp.attr.attr.size, 0);
	assert_int_equal(size_of(f, c, ino), 500);
}

static void test_open__truncates_once(void **state)
{
	struct fx *f = *state;
	struct pw_conn *c = fx_connect(f, 1, 1);
	uint64_t ino = fx_file(f, c, 1, "a");
	struct pw_cmd cmd;

	assert_int_equal(fx_call(f, c, 1, 1, fx_io(PW_OP_WRITE, ino, 0, 10000, 0), data), 0);
	cmd = fx_send(f, c, 1, 2, fx_ino(PW_OP_OPEN, ino, PW_OPEN_TRUNC | PW_OPEN_WRITE), NULL);
	assert_int_equal(fx_wait(f, c), 0);
	assert_int_equal(f->rsp.attr.attr.size, 0);
	assert_int_equal(f->node->opens.total, 2);
	assert_int_equal(fx_call(f, c, 1, 1, fx_io(PW_OP_WRITE, ino, 0, 500, 0), data), 0);
	fx_restart(f);
	c = fx_connect(f, 1, 2);
	assert_true(fake_deliver(c, &cmd, NULL));
	assert_int_equal(fx_wait(f, c), 0);
	assert_int_equal(f->rsp.attr.attr.size, 500);
	assert_int_equal(f->node->opens.total, 1);
	check_read(f, c, ino, 0, data, 500);
}

static void test_open__failed_one_is_not_counted(void **state)
{
	struct fx *f = *state;
	struct pw_conn *c = fx_connect(f, 1, 1);

	assert_int_equal(fx_call(f, c, 1, 1, fx_ino(PW_OP_OPEN, 999, 0), NULL), -ESTALE);
	assert_int_equal(f->node->opens.total, 0);
	fx_file(f, c, 1, "a");
	assert_int_equal(fx_call(f, c, 1, 1, fx_create("a", PW_CREATE_EXCL), "a"), -EEXIST);
	assert_int_equal(f->node->opens.total, 1);
}

static void test_full__enospc_and_deletes_still_work(void **state)
{
	struct fx *f = *state;
	struct pw_conn *c = fx_connect(f, 1, 1);
	uint64_t ino = fx_file(f, c, 1, "a"), off = 0;
	int err;

	/* the grace period over: deletes give back at once */
	vloop_advance(f->loop, (FX_LEASE_MS + 1) * PW_NS_PER_MS);
	while (!(err = fx_call(f, c, 1, 1, fx_io(PW_OP_WRITE, ino, off, FX_MAX_IO, 0), data)))
		off += FX_MAX_IO;
	assert_int_equal(err, -ENOSPC);
	assert_true(off > 2 * PW_MIB);
	assert_int_equal(fx_call(f, c, 1, 1, fx_create("b", 0), "b"), -ENOSPC);
	check_read(f, c, ino, off - FX_MAX_IO, data, FX_MAX_IO);
	/* a write right behind the delete waits for its space */
	assert_int_equal(fx_call(f, c, 1, 1, fx_name(PW_OP_UNLINK, "a"), "a"), 0);
	fx_send(f, c, 1, 1, fx_ino(PW_OP_RELEASE, ino, 1), NULL);
	fx_send(f, c, 1, 2, fx_create("b", 0), "b");
	assert_int_equal(fx_wait(f, c), 0);
	fx_wait(f, c);
	ino = fx_file(f, c, 1, "c");
	assert_int_equal(fx_call(f, c, 1, 1, fx_io(PW_OP_WRITE, ino, 0, FX_MAX_IO, 0), data), 0);
}

static void test_fsync__answers(void **state)
{
	struct fx *f = *state;
	struct pw_conn *c = fx_connect(f, 1, 1);
	uint64_t ino = fx_file(f, c, 1, "a");

	assert_int_equal(fx_call(f, c, 1, 1, fx_io(PW_OP_WRITE, ino, 0, 100, PW_IO_SYNC), data), 0);
	assert_int_equal(fx_call(f, c, 1, 1, fx_ino(PW_OP_FSYNC, ino, 1), NULL), 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_seq__old_number_ends_the_connection),
		T(test_seq__gap_is_fine),
		T(test_seq__zero_ends_the_connection),
		T(test_slot__not_granted_ends_the_connection),
		T(test_payload__larger_than_max_io),
		T(test_names__of_no_file_are_refused),
		T(test_replay__answered_mutation_is_answered_the_same),
		T(test_replay__after_restart_from_the_reply_row),
		T(test_replay__refusal_stays_a_refusal),
		T(test_replay__unlink_is_not_done_twice),
		T(test_replay__of_a_running_request_gets_its_answer),
		T(test_replay__read_runs_again),
		T(test_replay__open_is_counted_once),
		T(test_replay__another_op_with_the_same_number),
		T(test_park__next_request_before_the_transport_is_done),
		T(test_park__two_early_requests_end_the_connection),
		T(test_park__running_request_that_nobody_wants),
		T(test_break__half_a_payload_never_happened),
		T(test_break__buffers_go_home),
		T(test_write__errors),
		T(test_write__attributes_in_the_answer),
		T(test_write__killpriv_clears_setuid),
		T(test_append__concurrent_ones_do_not_overlap),
		T(test_append__beside_a_write_that_grows_the_file),
		T(test_truncate__shrink_grow),
		T(test_truncate__replay_does_not_cut_what_came_after),
		T(test_open__truncates_once),
		T(test_open__failed_one_is_not_counted),
		T(test_full__enospc_and_deletes_still_work),
		T(test_fsync__answers),
	};

	pw_log_init("test");
	pw_log_set_level(PW_LOG_ERR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
