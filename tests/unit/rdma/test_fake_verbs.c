/* SPDX-License-Identifier: Apache-2.0 */
/* test_fake_verbs.c -- the fake device refuses what a device refuses, and sees what it must see */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "common/rdma_probe.h"

#include "raw_end.h"

static struct raw_end a, b;

static void begin(uint64_t seed)
{
	fake_begin(seed);
	raw_open(&a);
	raw_open(&b);
}

static int set_up(void **state)
{
	begin(1);
	return 0;
}

static void turn(void)
{
	fake_turn();
	raw_poll(&a);
	raw_poll(&b);
}

static int tear_down(void **state)
{
	raw_close(&a, turn);
	raw_close(&b, turn);
	assert_int_equal(fake_end(), 0);
	return 0;
}

static void turns(uint32_t n)
{
	while (n--)
		turn();
}

static void settle(void)
{
	uint32_t n = 0;

	for (turns(2); !fake_is_idle(); turn())
		assert_true(n++ < 1000);
	turn();
}

static void connect_both(void)
{
	raw_connect(&a, raw_listen(&b, 0));
	settle();
	assert_true(a.up && b.up);
}

static void expect(int status)
{
	settle();
	assert_int_equal(a.posted, a.completed);
	assert_int_equal(a.last.status, status);
}

static void test_connect__private_data_travels_padded(void **state)
{
	memcpy(a.data, "hello", 5);
	a.data_len = 5;
	memcpy(b.data, "welcome", 7);
	b.data_len = 7;
	connect_both();
	assert_int_equal(b.peer_data_len, 56);
	assert_string_equal((char *)b.peer_data, "hello");
	assert_int_equal(a.peer_data_len, 196);
	assert_string_equal((char *)a.peer_data, "welcome");
}

static void test_connect__nobody_listens(void **state)
{
	raw_connect(&a, 7);
	settle();
	assert_true(a.ended);
	assert_int_equal(a.end_event, RDMA_CM_EVENT_REJECTED);
	assert_int_equal(a.end_status, 8);
}

static void test_connect__rejected_with_a_reason(void **state)
{
	b.want_reject = true;
	b.data_len = 3;
	memcpy(b.data, "no", 3);
	raw_connect(&a, raw_listen(&b, 0));
	settle();
	assert_int_equal(a.end_event, RDMA_CM_EVENT_REJECTED);
	assert_int_equal(a.end_status, 28);
	assert_string_equal((char *)a.peer_data, "no");
}

static void test_connect__blackhole(void **state)
{
	fake_opts.blackhole = true;
	raw_connect(&a, raw_listen(&b, 0));
	settle();
	assert_int_equal(a.end_event, RDMA_CM_EVENT_UNREACHABLE);
}

static void test_messages__arrive_in_order(void **state)
{
	connect_both();
	for (uint32_t i = 0; i < 40; i++)
		assert_int_equal(raw_send(&a, &i, sizeof(i)), 0);
	expect(0);
	assert_int_equal(b.nr_recv, 40);
	for (uint32_t i = 0; i < 40; i++)
		assert_memory_equal(raw_message(&b, i), &i, sizeof(i));
}

static void test_write__is_there_before_the_message(void **state)
{
	connect_both();
	memset(a.mem, 7, 100);
	raw_write(&a, (uintptr_t)b.mem + 50, b.mr->rkey, 0, 100);
	raw_send(&a, "x", 1);
	while (!b.nr_recv)
		turn();
	assert_int_equal(b.mem[49], 0);
	assert_memory_equal(b.mem + 50, a.mem, 100);
	assert_int_equal(b.mem[150], 0);
	expect(0);
}

static void test_write__outside_is_refused_and_ends_both(void **state)
{
	const uint64_t end = (uintptr_t)b.mem + RAW_MEM + RAW_NR_RECV * RAW_MSG;

	connect_both();
	raw_write(&a, end - 99, b.mr->rkey, 0, 100);
	expect(IBV_WC_REM_ACCESS_ERR);
	assert_int_equal(a.id->qp->state, IBV_QPS_ERR);
	assert_int_equal(b.id->qp->state, IBV_QPS_ERR);
	assert_int_equal(fake_stats.access_errs, 1);
	assert_int_equal(b.nr_recv_completed, RAW_NR_RECV);
}

static void test_write__key_of_another_domain_is_refused(void **state)
{
	connect_both();
	raw_write(&a, (uintptr_t)a.mem, a.mr->rkey, 0, 100);
	expect(IBV_WC_REM_ACCESS_ERR);
}

static void test_read__fetches(void **state)
{
	connect_both();
	memset(b.mem, 9, 1000);
	raw_read(&a, (uintptr_t)b.mem, b.mr->rkey, 500, 1000);
	expect(0);
	assert_memory_equal(a.mem + 500, b.mem, 1000);
}

/* Without a fence, what comes after a READ may overtake it. */
static void test_read__may_be_late(void **state)
{
	bool late = false;

	for (uint64_t seed = 0; seed < 20; seed++) {
		tear_down(state);
		begin(seed);
		connect_both();
		raw_read(&a, (uintptr_t)b.mem, b.mr->rkey, 0, 1);
		raw_send(&a, "x", 1);
		while (!b.nr_recv)
			turn();
		/* the peer believes that the READ is over */
		b.mem[0] = 1;
		expect(0);
		late |= a.mem[0];
	}
	assert_true(late);
}

static void bind_window(struct ibv_mw *mw, uint8_t *at, uint64_t len, unsigned int access)
{
	struct ibv_send_wr wr = { .opcode = IBV_WR_BIND_MW };

	wr.bind_mw.mw = mw;
	wr.bind_mw.rkey = ibv_inc_rkey(mw->rkey);
	wr.bind_mw.bind_info.mr = b.mr;
	wr.bind_mw.bind_info.addr = (uintptr_t)at;
	wr.bind_mw.bind_info.length = len;
	wr.bind_mw.bind_info.mw_access_flags = access;
	assert_int_equal(raw_post(&b, &wr), 0);
	mw->rkey = wr.bind_mw.rkey;
}

static void test_window__is_exactly_its_range_until_invalidated(void **state)
{
	struct ibv_send_wr inv = { .opcode = IBV_WR_LOCAL_INV };
	struct ibv_mw *mw;

	connect_both();
	mw = ibv_alloc_mw(b.pd, IBV_MW_TYPE_2);
	assert_non_null(mw);
	bind_window(mw, b.mem + 4096, 100, IBV_ACCESS_REMOTE_WRITE);
	settle();
	memset(a.mem, 3, 100);
	raw_write(&a, (uintptr_t)b.mem + 4096, mw->rkey, 0, 100);
	expect(0);
	assert_memory_equal(b.mem + 4096, a.mem, 100);
	inv.invalidate_rkey = mw->rkey;
	assert_int_equal(raw_post(&b, &inv), 0);
	settle();
	raw_write(&a, (uintptr_t)b.mem + 4096, mw->rkey, 0, 1);
	expect(IBV_WC_REM_ACCESS_ERR);
	assert_int_equal(ibv_dealloc_mw(mw), 0);
}

static void test_window__of_an_old_binding_is_refused(void **state)
{
	struct ibv_send_wr inv = { .opcode = IBV_WR_LOCAL_INV };
	struct ibv_mw *mw;
	uint32_t old;

	connect_both();
	mw = ibv_alloc_mw(b.pd, IBV_MW_TYPE_2);
	bind_window(mw, b.mem, 100, IBV_ACCESS_REMOTE_WRITE);
	old = inv.invalidate_rkey = mw->rkey;
	raw_post(&b, &inv);
	bind_window(mw, b.mem, 100, IBV_ACCESS_REMOTE_WRITE);
	settle();
	raw_write(&a, (uintptr_t)b.mem, old, 0, 1);
	expect(IBV_WC_REM_ACCESS_ERR);
	assert_int_equal(ibv_dealloc_mw(mw), 0);
}

static void test_window__ends_with_the_message_that_says_so(void **state)
{
	struct ibv_send_wr wr = { .opcode = IBV_WR_SEND_WITH_INV };
	struct ibv_mw *mw;

	connect_both();
	mw = ibv_alloc_mw(b.pd, IBV_MW_TYPE_2);
	bind_window(mw, b.mem, 100, IBV_ACCESS_REMOTE_WRITE);
	settle();
	assert_true(fake_memory_exposed(b.mem, 1, IBV_ACCESS_REMOTE_WRITE));
	wr.invalidate_rkey = mw->rkey;
	assert_int_equal(raw_post(&a, &wr), 0);
	expect(0);
	assert_int_equal(b.nr_recv, 1);
	assert_int_equal(b.recv[0].wc_flags, IBV_WC_WITH_INV);
	assert_int_equal(b.recv[0].invalidated_rkey, mw->rkey);
	assert_int_equal(ibv_dealloc_mw(mw), 0);
}

static void test_no_windows__are_refused(void **state)
{
	fake_opts.max_mw = 0;
	connect_both();
	assert_null(ibv_alloc_mw(b.pd, IBV_MW_TYPE_2));
	assert_int_equal(errno, EOPNOTSUPP);
}

static void test_send_queue__full_until_completions_are_taken(void **state)
{
	connect_both();
	for (uint32_t i = 0; i < 64; i++)
		assert_int_equal(raw_write(&a, (uintptr_t)b.mem, b.mr->rkey, 0, 1), 0);
	for (uint32_t i = 0; i < 100; i++)
		fake_turn();
	assert_int_equal(raw_write(&a, (uintptr_t)b.mem, b.mr->rkey, 0, 1), -ENOMEM);
	assert_true(fake_memory_in_use(a.mem, 1));
	raw_poll(&a);
	assert_false(fake_memory_in_use(a.mem, 1));
	assert_int_equal(raw_write(&a, (uintptr_t)b.mem, b.mr->rkey, 0, 1), 0);
}

static void test_channel__one_event_for_each_arming(void **state)
{
	struct ibv_cq *cq;
	uint32_t events = 0;
	void *context;

	connect_both();
	fcntl(b.cc->fd, F_SETFL, O_NONBLOCK);
	assert_int_equal(ibv_req_notify_cq(b.cq, 0), 0);
	raw_send(&a, "x", 1);
	raw_send(&a, "y", 1);
	settle();
	while (!fake_table.get_cq_event(b.cc, &cq, &context)) {
		assert_ptr_equal(cq, b.cq);
		events++;
	}
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(events, 1);
	fake_table.ack_cq_events(b.cq, 1);
}

static void test_peer_without_power__is_a_timeout_of_the_request(void **state)
{
	connect_both();
	raw_power_off(&b);
	raw_send(&a, "x", 1);
	expect(IBV_WC_RETRY_EXC_ERR);
	assert_false(a.ended);
}

static void test_peer_disconnects__is_told_both_ends(void **state)
{
	connect_both();
	fake_table.cm_disconnect(b.id);
	settle();
	assert_true(a.ended);
	assert_int_equal(a.end_event, RDMA_CM_EVENT_DISCONNECTED);
	assert_false(b.ended);
	fake_table.cm_disconnect(a.id);
	settle();
	assert_true(b.ended);
}

/* What the fake is for: it finds what a device would not forgive. */
static void test_violations__of_memory(void **state)
{
	struct ibv_sge sge = { .addr = (uintptr_t)a.mem, .length = 100 };
	struct ibv_send_wr wr = { .opcode = IBV_WR_SEND, .sg_list = &sge, .num_sge = 1 };
	struct ibv_mr *mr;

	connect_both();
	raw_send(&a, "x", 1);
	a.mem[RAW_MEM - RAW_MSG]++; /* before it was sent, and before it was done */
	settle();
	assert_int_equal(fake_forgive(), 2);
	mr = fake_table.reg_mr(a.pd, a.mem, 100, IBV_ACCESS_LOCAL_WRITE);
	sge.lkey = mr->lkey;
	assert_int_equal(raw_post(&a, &wr), 0);
	assert_int_equal(fake_table.dealloc_pd(a.pd), EBUSY);
	assert_int_equal(fake_forgive(), 1);
	fake_table.dereg_mr(mr); /* under way */
	assert_int_equal(fake_forgive(), 1);
	expect(IBV_WC_LOC_PROT_ERR); /* executed without a region */
	assert_int_equal(fake_forgive(), 1);
}

static void test_violations__of_life(void **state)
{
	struct ibv_cq *cq;
	struct ibv_pd *pd;
	void *context;

	connect_both();
	ibv_req_notify_cq(b.cq, 0);
	raw_send(&a, "x", 1);
	settle();
	assert_int_equal(fake_table.destroy_cq(b.cq), EBUSY);
	assert_int_equal(fake_forgive(), 1);
	assert_int_equal(fake_table.get_cq_event(b.cc, &cq, &context), 0);
	assert_int_equal(fake_table.get_cq_event(b.cc, &cq, &context), -1); /* blocking */
	assert_int_equal(fake_forgive(), 1);
	fake_table.cm_destroy_qp(b.id);
	assert_int_equal(fake_forgive(), 1); /* with receives */
	fake_table.destroy_cq(b.cq);
	assert_int_equal(fake_forgive(), 1); /* an event is not acked */
	fake_table.destroy_comp_channel(b.cc);
	fake_table.dereg_mr(b.mr);
	pd = b.pd;
	b.cq = NULL;
	raw_close(&a, turn);
	raw_close(&b, turn);
	assert_int_equal(fake_end(), 1); /* the domain */
	fake_table.dealloc_pd(pd);
	set_up(state);
}

static void test_rnr__is_a_violation_unless_allowed(void **state)
{
	connect_both();
	fake_opts.rnr_allowed = true;
	for (uint32_t i = 0; i < RAW_NR_RECV; i++)
		assert_int_equal(raw_send(&a, &i, 4), 0);
	settle();
	raw_send(&a, "x", 1);
	turns(20);
	assert_true(fake_stats.rnr > 0);
	assert_int_equal(fake_violations(), 0);
	assert_int_equal(a.completed, RAW_NR_RECV);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

static void test_rdma_probe__says_who_takes_dmabufs(void **state)
{
	struct pw_rdma_probe p[4];
	size_t nr = 0;

	(void)state;
	for (int takes = 0; takes < 2; takes++) {
		fake_opts.dmabuf = takes;
		assert_int_equal(pw_rdma_probe(p, 4, &nr), 0);
		assert_true(nr >= 1);
		assert_true(*p[0].name);
		for (size_t i = 0; i < nr; i++)
			assert_int_equal(p[i].dmabuf, takes);
	}
	fake_opts.dmabuf = false;
	assert_int_equal(pw_rdma_probe(p, 0, &nr), -ENODEV);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_connect__private_data_travels_padded),
		TEST(test_connect__nobody_listens),
		TEST(test_connect__rejected_with_a_reason),
		TEST(test_connect__blackhole),
		TEST(test_messages__arrive_in_order),
		TEST(test_write__is_there_before_the_message),
		TEST(test_write__outside_is_refused_and_ends_both),
		TEST(test_write__key_of_another_domain_is_refused),
		TEST(test_read__fetches),
		TEST(test_read__may_be_late),
		TEST(test_window__is_exactly_its_range_until_invalidated),
		TEST(test_window__of_an_old_binding_is_refused),
		TEST(test_window__ends_with_the_message_that_says_so),
		TEST(test_no_windows__are_refused),
		TEST(test_send_queue__full_until_completions_are_taken),
		TEST(test_channel__one_event_for_each_arming),
		TEST(test_peer_without_power__is_a_timeout_of_the_request),
		TEST(test_peer_disconnects__is_told_both_ends),
		TEST(test_violations__of_memory),
		TEST(test_violations__of_life),
		TEST(test_rnr__is_a_violation_unless_allowed),
		TEST(test_rdma_probe__says_who_takes_dmabufs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
