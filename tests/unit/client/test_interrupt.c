/* SPDX-License-Identifier: Apache-2.0 */
/* test_interrupt.c -- callers that give up, mounts that end, more requests than buffers */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "fake_kernel.h"
#include "fake_peer.h"

static int setup(void **state)
{
	(void)state;
	fake_peer_reset();
	kernel_start("rw");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	kernel_stop();
	assert_int_equal(kernel.exit_code, 0);
	assert_int_equal(fake.bad_cmds, 0);
	return 0;
}

static void test_interrupt__only_a_deadly_signal_gives_up(void **state)
{
	struct fake_inode *n = fake_peer_add(1, "file", S_IFREG | 0644);
	struct fuse_interrupt_in in;
	struct fuse_write_in w = { .size = 1 };

	(void)state;
	fake.hold = fake.is_away = true;
	in.unique = kernel_send(FUSE_WRITE, n->attr.ino, &w, sizeof(w), "x", 1);
	kernel_send(FUSE_INTERRUPT, 0, &in, sizeof(in), NULL, 0);
	kernel_expect_silence();
	/* our own process is the caller, and nobody kills it */
	assert_int_equal(kernel.sh->stats.interrupts, 1);
	assert_int_equal(kernel.sh->stats.aborted, 0);
	fake.is_away = fake.hold = false;
	fake_peer_go();
	kernel_receive();
	assert_int_equal(kernel.answer.unique, in.unique);
	assert_int_equal(kernel.answer.error, 0);
}

static void test_interrupt__a_caller_that_is_gone(void **state)
{
	struct fake_inode *n = fake_peer_add(1, "file", S_IFREG | 0644);
	struct {
		struct fuse_in_header h;
		struct fuse_getattr_in in;
	} q = { { .opcode = FUSE_GETATTR, .nodeid = n->attr.ino, .unique = 1001,
		  .pid = 0x7ffffff0, .len = sizeof(q) } };
	struct fuse_interrupt_in in = { .unique = 1001 };

	(void)state;
	fake.hold = fake.is_away = true;
	kernel_send_raw(&q, sizeof(q));
	kernel_send(FUSE_INTERRUPT, 0, &in, sizeof(in), NULL, 0);
	kernel_receive();
	assert_int_equal(kernel.answer.unique, 1001);
	assert_int_equal(kernel.answer.error, -EINTR);
	assert_int_equal(kernel.sh->stats.aborted, 1);
	fake.hold = fake.is_away = false;
}

static void test_interrupt__before_its_request_is_remembered(void **state)
{
	struct fuse_interrupt_in in = { .unique = 2002 };
	struct {
		struct fuse_in_header h;
		struct fuse_getattr_in in;
	} q = { { .opcode = FUSE_GETATTR, .nodeid = 1, .unique = 2002, .pid = 0x7ffffff0,
		  .len = sizeof(q) } };

	(void)state;
	fake.hold = fake.is_away = true;
	kernel_send(FUSE_INTERRUPT, 0, &in, sizeof(in), NULL, 0);
	kernel_send_raw(&q, sizeof(q));
	kernel_receive();
	assert_int_equal(kernel.answer.unique, 2002);
	assert_int_equal(kernel.answer.error, -EINTR);
	fake.hold = fake.is_away = false;
}

static void test_stop__with_requests_in_flight_ends_them(void **state)
{
	struct fuse_getattr_in in = { 0 };

	(void)state;
	fake.hold = true;
	for (int i = 0; i < 10; i++)
		kernel_send(FUSE_GETATTR, 1, &in, sizeof(in), NULL, 0);
	kernel_expect_silence();
	/* teardown() unmounts: the thread must end */
}

static void test_more_requests_than_buffers__wait_and_are_all_answered(void **state)
{
	struct fuse_getattr_in in = { 0 };
	const uint32_t nr = 300;

	(void)state;
	fake.hold = true;
	for (uint32_t i = 0; i < nr; i++)
		kernel_send(FUSE_GETATTR, 1, &in, sizeof(in), NULL, 0);
	while (__atomic_load_n(&kernel.sh->dev.stalls, __ATOMIC_RELAXED) == 0)
		;
	fake.hold = false;
	fake_peer_go();
	for (uint32_t i = 0; i < nr; i++) {
		kernel_receive();
		assert_int_equal(kernel.answer.error, 0);
	}
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_interrupt__only_a_deadly_signal_gives_up),
		T(test_interrupt__a_caller_that_is_gone),
		T(test_interrupt__before_its_request_is_remembered),
		T(test_stop__with_requests_in_flight_ends_them),
		T(test_more_requests_than_buffers__wait_and_are_all_answered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
