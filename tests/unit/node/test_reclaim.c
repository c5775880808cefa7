/* SPDX-License-Identifier: Apache-2.0 */
/* test_reclaim.c -- what nobody can reach goes away, what somebody can does not */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "common/log.h"

#include "node_fixture.h"

static uint8_t data[FX_MAX_IO];

static int setup(void **state)
{
	static struct fx f;

	memset(data, 7, sizeof(data));
	fx_init(&f);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	fx_fini(*state);
	return 0;
}

static void end_grace(struct fx *f)
{
	vloop_advance(f->loop, (FX_LEASE_MS + 1) * PW_NS_PER_MS);
	assert_false(f->node->reclaim.grace);
}

static uint64_t store_free(struct fx *f)
{
	struct pws_store_space sp;

	f->store->ops->space(f->store, &sp);
	return sp.free;
}

static bool has_orphan_row(struct fx *f, uint64_t ino)
{
	struct pws_key k;

	pws_key_orphan(&k, ino);
	return fx_has_row(f, &k);
}

static uint64_t written_file(struct fx *f, struct pw_conn *c, const char *name)
{
	uint64_t ino = fx_file(f, c, 1, name);

	assert_int_equal(fx_call(f, c, 1, 1, fx_io(PW_OP_WRITE, ino, 0, FX_MAX_IO, 0), data), 0);
	return ino;
}

static void test_orphan__open_file_stays_until_its_release(void **state)
{
	struct fx *f = *state;
	struct pw_conn *c = fx_connect(f, 1, 1);
	uint64_t before, ino;

	before = store_free(f);
	ino = written_file(f, c, "a");
	assert_int_equal(fx_call(f, c, 1, 1, fx_name(PW_OP_UNLINK, "a"), "a"), 0);
	assert_true(fx_has_inode(f, ino));
	assert_true(has_orphan_row(f, ino));
	/* still readable and writable */
	assert_int_equal(fx_call(f, c, 1, 1, fx_io(PW_OP_READ, ino, 0, 4096, 0), NULL), 0);
	assert_memory_equal(f->out, data, 4096);
	assert_int_equal(fx_call(f, c, 1, 1, fx_io(PW_OP_WRITE, ino, 0, 4096, 0), data), 0);
	assert_int_equal(fx_call(f, c, 1, 1, fx_ino(PW_OP_RELEASE, ino, 1), NULL), 0);
	assert_false(fx_has_inode(f, ino));
	assert_false(has_orphan_row(f, ino));
	assert_int_equal(store_free(f), before);
	assert_int_equal(f->node->reclaim.reclaimed_inodes, 1);
}

static void test_orphan__unopened_file_goes_at_once(void **state)
{
	struct fx *f = *state;
	struct pw_conn *c = fx_connect(f, 1, 1);
	uint64_t ino;

	ino = written_file(f, c, "a");
	assert_int_equal(fx_call(f, c, 1, 1, fx_ino(PW_OP_RELEASE, ino, 1), NULL), 0);
	assert_true(fx_has_inode(f, ino));
	assert_int_equal(fx_call(f, c, 1, 1, fx_name(PW_OP_UNLINK, "a"), "a"), 0);
	assert_false(fx_has_inode(f, ino));
}

static void test_orphan__of_other_types(void **state)
{
	struct fx *f = *state;
	struct pw_conn *c = fx_connect(f, 1, 1);
	struct pw_cmd cmd = fx_create("d", 0);
	uint64_t ino;

	cmd.op = PW_OP_MKNODE;
	cmd.mknode.mode = S_IFDIR | 0700;
	assert_int_equal(fx_call(f, c, 1, 1, cmd, "d"), 0);
	ino = f->rsp.attr.attr.ino;
	assert_int_equal(fx_call(f, c, 1, 1, fx_name(PW_OP_RMDIR, "d"), "d"), 0);
	assert_false(fx_has_inode(f, ino));
	assert_false(has_orphan_row(f, ino));
}

static void test_grace__nothing_goes_before_its_end(void **state)
{
	struct fx *f = *state;
	struct pw_conn *c = fx_connect(f, 1, 1);
	uint64_t a = written_file(f, c, "a"), b = written_file(f, c, "b");

	assert_int_equal(fx_call(f, c, 1, 1, fx_name(PW_OP_UNLINK, "a"), "a"), 0);
	assert_int_equal(fx_call(f, c, 1, 1, fx_name(PW_OP_UNLINK, "b"), "b"), 0);
	fx_restart(f);
	c = fx_connect(f, 1, 2);
	/* the client still has a open; b it has closed meanwhile */
	{
		struct {
			uint64_t ino;
			uint32_t opens, reserved;
		} list = { a, 1, 0 };
		struct pw_cmd cmd;

		pw_cmd_init(&cmd, PW_MSG_REQ, PW_OP_RECLAIM);
		cmd.reclaim.nr = cmd.reclaim.last = 1;
		cmd.payload_len = sizeof(list);
		assert_int_equal(fx_call(f, c, 1, 0, cmd, &list), 0);
	}
	assert_true(fx_has_inode(f, a) && fx_has_inode(f, b));
	end_grace(f);
	assert_true(fx_has_inode(f, a));
	assert_false(fx_has_inode(f, b));
	fake_goodbye(c);
	vloop_settle(f->loop);
	assert_false(fx_has_inode(f, a));
}

static void test_grace__only_where_somebody_may_come_back(void **state)
{
	struct fx *f = *state;
	struct pw_conn *c = fx_connect(f, 1, 1);
	uint64_t ino;

	assert_false(f->node->reclaim.grace); /* a new directory */
	fx_file(f, c, 1, "a");
	fx_restart(f);
	assert_true(f->node->reclaim.grace);
	c = fx_connect(f, 1, 2);
	fake_goodbye(c);
	vloop_settle(f->loop);
	fx_restart(f);
	assert_false(f->node->reclaim.grace);
	c = fx_connect(f, 2, 1);
	ino = written_file(f, c, "b");
	assert_int_equal(fx_call(f, c, 1, 1, fx_ino(PW_OP_RELEASE, ino, 1), NULL), 0);
	assert_int_equal(fx_call(f, c, 1, 1, fx_name(PW_OP_UNLINK, "b"), "b"), 0);
	assert_false(fx_has_inode(f, ino));
}

static void test_start__finds_what_the_life_before_left(void **state)
{
	struct fx *f = *state;
	struct pw_conn *c = fx_connect(f, 1, 1);
	uint64_t inos[20];
	char name[16];

	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		inos[i] = fx_file(f, c, 1, name);
		assert_int_equal(fx_call(f, c, 1, 1, fx_name(PW_OP_UNLINK, name), name), 0);
	}
	fx_restart(f);
	vloop_advance(f->loop, 2 * FX_LEASE_MS * PW_NS_PER_MS);
	for (int i = 0; i < 20; i++)
		assert_false(fx_has_inode(f, inos[i]) || has_orphan_row(f, inos[i]));
}

static void test_expiry__releases_orphans(void **state)
{
	struct fx *f = *state;
	struct pw_conn *c = fx_connect(f, 1, 1);
	uint64_t ino;

	ino = written_file(f, c, "a");
	assert_int_equal(fx_call(f, c, 1, 1, fx_name(PW_OP_UNLINK, "a"), "a"), 0);
	fx_break(f, c);
	assert_true(fx_has_inode(f, ino));
	vloop_advance(f->loop, (FX_LEASE_MS + 1) * PW_NS_PER_MS);
	assert_false(fx_has_inode(f, ino));
}

/* More at once than the queue holds: the O rows are walked instead. */
static void test_queue__overflow_loses_nothing(void **state)
{
	struct fx *f = *state;
	struct pw_conn *c = fx_connect(f, 1, 1);
	uint64_t ino;

	ino = written_file(f, c, "a");
	assert_int_equal(fx_call(f, c, 1, 1, fx_name(PW_OP_UNLINK, "a"), "a"), 0);
	for (uint32_t i = 0; i < PWS_RECLAIM_QUEUE; i++)
		pws_reclaim_kick(&f->node->reclaim, 1000 + i);
	assert_false(f->node->reclaim.scan);
	fx_send(f, c, 1, 1, fx_ino(PW_OP_RELEASE, ino, 1), NULL);
	assert_true(f->node->reclaim.scan);
	assert_int_equal(fx_wait(f, c), 0);
	assert_false(fx_has_inode(f, ino));
}

/* The index makes everything difficult: conflicts, lost answers, slow reads. */
static void test_faults__in_the_end_all_is_gone(void **state)
{
	struct fx *f = *state;
	struct pw_conn *c = fx_connect(f, 1, 1);
	const struct pws_kv_mem_faults faults = {
		.conflict = 200,
		.unknown_applied = 100,
		.unknown_lost = 100,
		.read_async = 200,
		.delay_ns_max = PW_NS_PER_MS,
	};
	uint64_t before, inos[16];
	char name[16];

	before = store_free(f);
	for (int i = 0; i < 16; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		inos[i] = written_file(f, c, name);
	}
	pws_kv_mem_set_faults(f->kv, &faults);
	for (int i = 0; i < 16; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		fx_send(f, c, 1, 1, fx_name(PW_OP_UNLINK, name), name);
		vloop_advance(f->loop, PW_NS_PER_S);
		assert_int_equal(fx_wait(f, c), 0);
	}
	fake_goodbye(c);
	vloop_advance(f->loop, 10 * PW_NS_PER_S);
	pws_kv_mem_set_faults(f->kv, &(struct pws_kv_mem_faults){ 0 });
	for (int i = 0; i < 16; i++)
		assert_false(fx_has_inode(f, inos[i]) || has_orphan_row(f, inos[i]));
	assert_int_equal(store_free(f), before);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_orphan__open_file_stays_until_its_release),
		T(test_orphan__unopened_file_goes_at_once),
		T(test_orphan__of_other_types),
		T(test_grace__nothing_goes_before_its_end),
		T(test_grace__only_where_somebody_may_come_back),
		T(test_start__finds_what_the_life_before_left),
		T(test_expiry__releases_orphans),
		T(test_queue__overflow_loses_nothing),
		T(test_faults__in_the_end_all_is_gone),
	};

	pw_log_init("test");
	pw_log_set_level(PW_LOG_ERR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
