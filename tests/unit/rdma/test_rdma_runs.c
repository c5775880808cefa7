/* SPDX-License-Identifier: Apache-2.0 */
/* test_rdma_runs.c -- payloads in runs: gathered by WRITEs, scattered by READs, and never copied
 *
 * The rig's payloads tell where each byte belongs; its runs lie in memory the other way round.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/conn/xprt_rig.h"
#include "common/xprt_rdma_impl.h"
#include "world_rdma.h"

static void connect_with_runs(uint32_t nr)
{
	rig_connect_pair();
	run_turns(100);
	rig_max_runs = nr;
	rig_all_runs = true;
}

static uint64_t div_up(uint64_t a, uint64_t b)
{
	return (a + b - 1) / b;
}

static void test_write__gathers_as_many_as_the_device_takes(void **state)
{
	connect_with_runs(20);
	rig_call(1, 700, 1u << 20, 0);
	rig_finish_calls();
	assert_int_equal(rig_nr_gathered, 1);
	assert_int_equal(fake_stats.wr_write, div_up(20, PW_RDMA_SGE_MAX));
	assert_int_equal(fake_stats.bytes_write, 1u << 20);
	assert_int_equal(side_stats(&client).copied_bytes, 0);
	assert_int_equal(side_stats(&node).copied_bytes, 0);
}

/* Pulled, whether the client has windows or not. */
static void test_read__scatters_as_many_as_the_device_takes(void **state)
{
	uint32_t sge = PW_MIN(fake_opts.max_sge_rd, (uint32_t)PW_RDMA_SGE_MAX);

	connect_with_runs(20);
	rig_call(1, 0, 0, 1u << 20);
	rig_finish_calls();
	assert_int_equal(rig_nr_gathered, 1);
	assert_int_equal(fake_stats.wr_read, div_up(20, sge));
	assert_int_equal(fake_stats.bytes_read, 1u << 20);
	assert_int_equal(fake_stats.wr_write, 0);
	assert_int_equal(side_stats(&client).copied_bytes, 0);
	assert_int_equal(side_stats(&node).copied_bytes, 0);
}

static void test_small_write__is_gathered_behind_its_command(void **state)
{
	connect_with_runs(3);
	rig_call(1, 0, 4096, 0);
	rig_finish_calls();
	assert_int_equal(fake_stats.wr_write, 0);
	assert_int_equal(side_stats(&client).copied_bytes, 0);
	/* more than the SEND takes beside the command */
	rig_max_runs = PW_RDMA_SGE_MAX;
	rig_call(1, 0, 4096, 0);
	rig_finish_calls();
	assert_int_equal(side_stats(&client).copied_bytes, 4096);
	/* so short that a copy is better */
	rig_max_runs = 2;
	rig_call(1, 0, 100, 0);
	rig_finish_calls();
	assert_int_equal(side_stats(&client).copied_bytes, 4196);
	assert_int_equal(rig_nr_gathered, 3);
}

static void test_short_read__is_copied_unless_no_copy_is_wanted(void **state)
{
	bool windows = fake_opts.max_mw;
	uint64_t placed;

	rig_connect_pair();
	run_turns(100);
	rig_call(1, 0, 0, 4096);
	rig_finish_calls();
	assert_int_equal(side_stats(&client).copied_bytes, 4096);
	rig_direct = true;
	for (uint32_t i = 0; i < 16; i++) {
		rig_call(2, 0, 0, 3000);
		rig_finish_calls();
	}
	/* the node has some of its payloads where its device does not know them */
	placed = fake_stats.wr_write;
	assert_true(windows ? placed > 8 : !placed);
	assert_int_equal(side_stats(&client).copied_bytes, 4096 + (16 - placed) * 3000);
	assert_int_equal(fake_stats.wr_read, 0);
	/* what is very short is not worth a window */
	rig_call(1, 0, 0, 200);
	rig_finish_calls();
	assert_int_equal(fake_stats.wr_write, placed);
}

static void test_one_piece_at_once__is_what_some_devices_take(void **state)
{
	fake_opts.max_sge = fake_opts.max_sge_rd = 1;
	connect_with_runs(7);
	rig_call(1, 0, 100000, 0);
	rig_call(2, 0, 0, 100000);
	rig_call(3, 0, 4096, 0);
	rig_finish_calls();
	assert_int_equal(rig_nr_gathered, 3);
	assert_int_equal(fake_stats.wr_write, 7);
	assert_int_equal(fake_stats.wr_read, 7);
	assert_int_equal(side_stats(&client).copied_bytes, 4096);
}

static void test_runs__longer_than_a_message_of_the_device(void **state)
{
	fake_opts.max_msg = 1u << 20;
	connect_with_runs(2);
	rig_call(1, 0, 3u << 20, 0);
	rig_call(2, 0, 0, 3u << 20);
	rig_finish_calls();
	assert_int_equal(rig_nr_gathered, 2);
	assert_int_equal(fake_stats.bytes_write + fake_stats.bytes_read, 6u << 20);
	assert_int_equal(side_stats(&client).copied_bytes, 0);
}

/* The area's registrations: runs of one payload lie in several of them. */
static void test_runs__in_several_registrations(void **state)
{
	static const uint32_t at[] = { 3, 1, 2, 0 };
	size_t piece = 260u << 20, size = 4 * piece;
	uint8_t *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct call *c = &rig_calls[1];
	uint8_t *whole = malloc(80000);

	assert_true(p != MAP_FAILED && whole);
	fake_opts.mr_fails_above = 300u << 20;
	rig_connect_pair();
	assert_int_equal(pw_mem_announce(p, size), 0);
	rig_call(1, 0, 80000, 0);
	fill(whole, c->seq, 80000);
	for (uint32_t i = 0; i < PW_ARRAY_SIZE(at); i++)
		c->v[i] = (struct iovec){ p + at[i] * piece + i * 4096 + 5, 20000 };
	c->runs = (struct pw_runs){ c->v, PW_ARRAY_SIZE(at) };
	assert_int_equal(pw_xprt_gathers(client.x, &c->runs, false), PW_GATHER_OK);
	pw_runs_fill(&c->runs, whole, 80000);
	c->out->send.runs = &c->runs;
	rig_finish_calls();
	assert_int_equal(side_stats(&client).copied_bytes, 0);
	pw_mem_withdraw(p);
	munmap(p, size);
	free(whole);
}

/* Steps that make pages only do not count. */
static bool step_of_pieces(void *p)
{
	uint64_t before = fake_stats.reg_mr;

	while (pw_mem_step(p))
		if (fake_stats.reg_mr != before)
			return true;
	return false;
}

static void sent(struct pw_send *s, int err)
{
	(void)s;
	(void)err;
}

/* The pieces that there are go when the next one is refused, and smaller ones are tried: nothing
 * may be on its way from there. */
static void test_area__is_refused_while_a_payload_is_under_way(void **state)
{
	size_t size = 300u << 20; /* two pieces */
	uint8_t *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct iovec v = { p, 65536 };
	struct pw_runs runs = { &v, 1 };
	struct pw_send s = { .runs = &runs, .done = sent };

	assert_true(p != MAP_FAILED);
	rig_connect_pair();
	run_turns(100);
	assert_int_equal(pw_mem_announce_optional(p, size), 0);
	assert_true(step_of_pieces(p));
	fake_opts.hold = true;
	make_req(&s.cmd, 1, 65536);
	if (pw_xprt_gathers(client.x, &runs, false) == PW_GATHER_OK)
		pw_xprt_send(client.x, &s);
	run_turns(20);
	fake_opts.max_mr = fake_count(FAKE_MR);
	while (pw_mem_step(p))
		;
	assert_int_equal(fake_violations(), 0);
	fake_opts.max_mr = 65536;
	fake_opts.hold = false;
	assert_int_equal(pw_xprt_gathers(client.x, &runs, false), PW_GATHER_UNREGISTERED);
	pw_mem_withdraw(p);
	munmap(p, size);
}

/* Large memory of a program: piece by piece, and of use when all of it is registered. */
static void test_area__of_a_program_is_registered_in_steps(void **state)
{
	size_t size = 1u << 30;
	uint8_t *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct iovec v[] = { { p, 4096 }, { p + size - 4096, 4096 } };
	struct pw_runs first = { v, 1 }, both = { v, 2 };
	uint64_t before, steps = 1;

	assert_true(p != MAP_FAILED);
	rig_connect_pair();
	run_turns(100);
	before = fake_stats.reg_mr;
	assert_int_equal(pw_mem_announce_optional(p, size), 0);
	assert_true(step_of_pieces(p));
	assert_int_equal(pw_xprt_gathers(client.x, &first, false), PW_GATHER_UNREGISTERED);
	while (step_of_pieces(p))
		steps++;
	assert_int_equal(pw_xprt_gathers(client.x, &first, false), PW_GATHER_OK);
	assert_true(steps >= 3);
	assert_true(fake_stats.reg_mr - before > steps);
	assert_int_equal(pw_xprt_gathers(client.x, &both, false), PW_GATHER_OK);
	before = fake_stats.reg_mr;
	assert_false(pw_mem_step(p));
	assert_int_equal(fake_stats.reg_mr, before);
	pw_mem_withdraw(p);

	/* gone in the middle of it */
	assert_int_equal(pw_mem_announce_optional(p, size), 0);
	assert_true(step_of_pieces(p));
	pw_mem_withdraw(p);
	assert_false(fake_memory_in_use(p, size));
	assert_false(pw_mem_step(p));

	/* in smaller pieces than it was begun with; or not at all, and not again and again */
	fake_opts.mr_fails_above = 150u << 20;
	assert_int_equal(pw_mem_announce_optional(p, size), 0);
	for (steps = 1; step_of_pieces(p); steps++)
		;
	assert_true(steps >= 8);
	assert_int_equal(pw_xprt_gathers(client.x, &both, false), PW_GATHER_OK);
	pw_mem_withdraw(p);
	fake_opts.mr_fails_above = 10u << 20;
	assert_int_equal(pw_mem_announce_optional(p, size), 0);
	while (pw_mem_step(p))
		;
	assert_int_equal(pw_xprt_gathers(client.x, &first, false), PW_GATHER_UNREGISTERED);
	pw_mem_withdraw(p);
	munmap(p, size);
}

static void test_runs__that_it_cannot_gather(void **state)
{
	uint8_t *p = malloc(3 * 4096);
	struct iovec v[] = { { p, 4096 }, { client.slot[1], 4096 } };
	struct pw_runs runs = { v, 2 };

	connect_with_runs(0);
	v[1].iov_base = client.slot[1];
	assert_int_equal(pw_xprt_gathers(client.x, &runs, true), PW_GATHER_UNREGISTERED);
	v[0].iov_base = client.slot[1] + 8192;
	assert_int_equal(pw_xprt_gathers(client.x, &runs, true), PW_GATHER_OK);
	v[1].iov_len = PW_MAX_IO;
	assert_int_equal(pw_xprt_gathers(client.x, &runs, true), PW_GATHER_TOO_MANY);
	free(p);
}

/* Memory of a program that the device does not take is a program's problem, and no connection's. */
static void test_optional_area__that_is_not_registered(void **state)
{
	uint8_t *p = aligned_alloc(4096, 8192);
	struct iovec v = { p, 8192 };
	struct pw_runs runs = { &v, 1 };
	uint32_t idx = 0;

	assert_non_null(p);
	connect_with_runs(0);
	fake_opts.max_mr = fake_count(FAKE_MR);
	assert_int_equal(pw_mem_announce_optional(p, 8192), 0);
	assert_int_equal(pw_xprt_gathers(client.x, &runs, false), PW_GATHER_UNREGISTERED);
	assert_non_null(pw_mem_find(p, 8192, &idx));
	assert_string_equal(pw_mem_area(idx)->why, "fake0: out of memory");
	fake_opts.max_mr = 65536;
	/* the next connection tries it again */
	rig_forget();
	connect_with_runs(0);
	assert_int_equal(pw_xprt_gathers(client.x, &runs, false), PW_GATHER_OK);
	assert_string_equal(pw_mem_area(idx)->why, "");
	pw_mem_withdraw(p);
	free(p);
}

static void move_foreign(struct iovec *v, uint32_t nr, uint32_t len)
{
	struct pw_runs runs = { v, nr, true };
	struct call *c = &rig_calls[1];
	uint8_t *whole = malloc(len);

	assert_non_null(whole);
	rig_call(1, 0, len, 0);
	fill(whole, c->seq, len);
	pw_runs_fill(&runs, whole, len);
	free(whole);
	memcpy(c->v, v, nr * sizeof(*v));
	c->runs = (struct pw_runs){ c->v, nr, true };
	c->out->send.runs = &c->runs;
	rig_finish_calls();
}

/* By a registration of the dma-buf, on a device that has such; never by its pages. */
static void test_dmabuf__is_registered_as_one(void **state)
{
	int fd = memfd_create("dma", MFD_CLOEXEC);
	struct iovec v[2] = { { .iov_len = 30000 }, { .iov_len = 30000 } };
	struct pw_runs runs = { v, 2, true };
	uint64_t mrs;
	uint8_t *p;

	assert_int_equal(ftruncate(fd, 1u << 20), 0);
	p = mmap(NULL, 1u << 20, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(p != MAP_FAILED);
	v[0].iov_base = p + 500000;
	v[1].iov_base = p + 3;
	for (uint32_t has = 0; has < 2; has++) {
		fake_opts.dmabuf = has;
		connect_with_runs(0);
		mrs = fake_stats.reg_mr;
		assert_int_equal(pw_mem_announce_dmabuf(p, 1u << 20, fd), 0);
		assert_int_equal(fake_stats.reg_mr - mrs, has);
		assert_int_equal(fake_stats.reg_dmabuf_mr, has);
		assert_int_equal(pw_xprt_gathers(client.x, &runs, false),
				 has ? PW_GATHER_OK : PW_GATHER_UNREGISTERED);
		assert_int_equal(pw_xprt_gathers(client.x, &runs, true),
				 has ? PW_GATHER_OK : PW_GATHER_UNREGISTERED);
		if (has)
			move_foreign(v, 2, 60000);
		assert_int_equal(side_stats(&client).copied_bytes, 0);
		/* what this side might have to copy */
		v[1].iov_len = v[0].iov_len = PW_RUNS_SHORT / 2;
		if (has)
			assert_int_equal(pw_xprt_gathers(client.x, &runs, false), PW_GATHER_NEVER);
		v[1].iov_len = v[0].iov_len = 30000;
		pw_mem_withdraw(p);
		rig_forget();
	}
	munmap(p, 1u << 20);
	close(fd);
}

/* As many requests as the queue has room for are too many. */
static void test_runs__more_than_the_queue_takes(void **state)
{
	struct iovec v[200];
	struct pw_runs runs = { v, PW_ARRAY_SIZE(v) };

	fake_opts.max_sge = fake_opts.max_sge_rd = 1;
	fake_opts.max_qp_wr = PW_RDMA_DEPTH_MAX;
	connect_with_runs(PW_RDMA_DEPTH_MAX - PW_RDMA_ROOM);
	for (uint32_t i = 0; i < runs.nr; i++)
		v[i] = (struct iovec){ client.slot[1] + i * 8192, 4096 };
	assert_int_equal(pw_xprt_gathers(client.x, &runs, true), PW_GATHER_TOO_MANY);
	assert_int_equal(pw_xprt_gathers(client.x, &runs, false), PW_GATHER_TOO_MANY);
	runs.nr = rig_max_runs;
	assert_int_equal(pw_xprt_gathers(client.x, &runs, false), PW_GATHER_OK);
	for (uint32_t i = 0; i < 4; i++) {
		for (uint16_t slot = 1; slot < RIG_SLOTS; slot++)
			rig_call(slot, 0, slot & 1 ? 65536 : 0, slot & 1 ? 0 : 65536);
		rig_finish_calls();
	}
	assert_int_equal(rig_nr_gathered, 4 * (RIG_SLOTS - 1));
	assert_int_equal(fake_stats.sq_full, 0);
	assert_int_equal(side_stats(&client).copied_bytes, 0);
}

static bool both_closed(void)
{
	return client.closed && node.closed;
}

static void test_queue_pair_breaks__among_runs(void **state)
{
	for (uint32_t turns = 0; turns < 60; turns++) {
		connect_with_runs(40);
		for (uint16_t slot = 1; slot < RIG_SLOTS; slot++)
			rig_call(slot, 0, slot & 1 ? 300000 : 0, slot & 1 ? 0 : 300000);
		run_turns(turns);
		fake_break_qps();
		run_until(both_closed);
		rig_forget();
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_set_up, rig_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_write__gathers_as_many_as_the_device_takes),
		TEST(test_read__scatters_as_many_as_the_device_takes),
		TEST(test_small_write__is_gathered_behind_its_command),
		TEST(test_short_read__is_copied_unless_no_copy_is_wanted),
		TEST(test_one_piece_at_once__is_what_some_devices_take),
		TEST(test_runs__longer_than_a_message_of_the_device),
		TEST(test_runs__in_several_registrations),
		TEST(test_area__is_refused_while_a_payload_is_under_way),
		TEST(test_area__of_a_program_is_registered_in_steps),
		TEST(test_runs__that_it_cannot_gather),
		TEST(test_optional_area__that_is_not_registered),
		TEST(test_dmabuf__is_registered_as_one),
		TEST(test_runs__more_than_the_queue_takes),
		TEST(test_queue_pair_breaks__among_runs),
	};

	rig_set_seed(5);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
