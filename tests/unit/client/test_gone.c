/* SPDX-License-Identifier: Apache-2.0 */
/* test_gone.c -- what fstat and readdir say of inodes that the node has no more */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
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

/* A name in the root that the kernel has looked up. */
static uint64_t make(const char *name, uint32_t mode)
{
	struct fake_inode *n = fake_peer_add(1, name, mode);

	n->attr.uid = 77;
	assert_int_equal(kernel_call(FUSE_LOOKUP, 1, NULL, 0, name, strlen(name) + 1), 0);
	return n->attr.ino;
}

static int getattr(uint64_t ino)
{
	struct fuse_getattr_in in = { .getattr_flags = 0 };

	return kernel_call(FUSE_GETATTR, ino, &in, sizeof(in), NULL, 0);
}

static const struct fuse_attr *attr(void)
{
	return &((const struct fuse_attr_out *)(const void *)kernel.answer.data)->attr;
}

static int by_name(uint32_t opcode, const char *name)
{
	return kernel_call(opcode, 1, NULL, 0, name, strlen(name) + 1);
}

static int opendir_(uint64_t ino)
{
	struct fuse_open_in in = { .flags = 0 };

	return kernel_call(FUSE_OPENDIR, ino, &in, sizeof(in), NULL, 0);
}

static int closedir_(uint64_t ino)
{
	struct fuse_release_in in = { .fh = 0 };

	return kernel_call(FUSE_RELEASEDIR, ino, &in, sizeof(in), NULL, 0);
}

static int readdir_(uint64_t ino)
{
	struct fuse_read_in in = { .size = 4096 };

	return kernel_call(FUSE_READDIR, ino, &in, sizeof(in), NULL, 0);
}

static void forget(uint64_t ino)
{
	struct fuse_forget_in in = { .nlookup = 1 };

	kernel_send(FUSE_FORGET, ino, &in, sizeof(in), NULL, 0);
}

/* Another machine removes it. */
static void vanish(uint64_t ino)
{
	struct fake_inode *n = fake_peer_find(ino);

	n->attr.ino = 0;
	n->name[0] = '\0';
}

static void test_removed__until_the_kernel_forgets(void **state)
{
	uint64_t ino[3] = { make("dir", S_IFDIR | 0751), make("fifo", S_IFIFO | 0640),
			    make("over", S_IFREG | 0604) };
	static const uint32_t mode[3] = { S_IFDIR | 0751, S_IFIFO | 0640, S_IFREG | 0604 };
	struct fuse_rename2_in in = { .newdir = 1 };

	(void)state;
	make("new", S_IFREG | 0644);
	assert_int_equal(by_name(FUSE_RMDIR, "dir"), 0);
	assert_int_equal(by_name(FUSE_UNLINK, "fifo"), 0);
	assert_int_equal(kernel_call(FUSE_RENAME2, 1, &in, sizeof(in), "new\0over", 9), 0);
	assert_int_equal(kernel.sh->gone.nr, 3);
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(getattr(ino[i]), 0);
		assert_int_equal(attr()->ino, ino[i]);
		assert_int_equal(attr()->nlink, 0);
		assert_int_equal(attr()->mode, mode[i]);
		assert_int_equal(attr()->uid, 77);
		forget(ino[i]);
		assert_int_equal(getattr(ino[i]), -ESTALE);
	}
	assert_int_equal(kernel.sh->gone.nr, 0);
}

static void test_removed__not_while_there_are_names(void **state)
{
	struct fuse_rename2_in in = { .newdir = 1 };

	(void)state;
	make("a", S_IFREG | 0644);
	assert_int_equal(kernel_call(FUSE_RENAME2, 1, &in, sizeof(in), "a\0b", 4), 0);
	assert_int_equal(by_name(FUSE_UNLINK, "none"), -ENOENT);
	assert_int_equal(kernel.sh->gone.nr, 0);
}

static void test_opendir__keeps_what_another_machine_removes(void **state)
{
	uint64_t ino = make("dir", S_IFDIR | 0700);
	uint32_t before = fake.nr_calls[PW_OP_GETATTR];

	(void)state;
	assert_int_equal(opendir_(ino), 0);
	assert_int_equal(opendir_(ino), 0);
	/* the kernel has just looked it up: nobody was asked */
	assert_int_equal(fake.nr_calls[PW_OP_GETATTR], before);
	/* a change that is heard of is not lost */
	fake_peer_find(ino)->attr.mode = S_IFDIR | 0711;
	assert_int_equal(getattr(ino), 0);
	vanish(ino);
	assert_int_equal(closedir_(ino), 0);
	assert_int_equal(getattr(ino), 0);
	assert_int_equal(attr()->nlink, 0);
	assert_int_equal(attr()->mode, S_IFDIR | 0711);
	assert_int_equal(readdir_(ino), -ENOENT);
	assert_int_equal(opendir_(ino), 0); /* open("."), say */
	assert_int_equal(closedir_(ino), 0);
	assert_int_equal(closedir_(ino), 0);
	assert_int_equal(kernel.sh->gone.nr, 0);
	assert_int_equal(getattr(ino), -ESTALE);
	assert_int_equal(readdir_(ino), -ESTALE);
}

static void test_opendir__asks_for_what_it_does_not_remember(void **state)
{
	uint64_t ino = fake_peer_add(1, "dir", S_IFDIR | 0700)->attr.ino;

	(void)state;
	assert_int_equal(opendir_(ino), 0);
	assert_int_equal(fake.nr_calls[PW_OP_GETATTR], 1);
	assert_int_equal(closedir_(ino), 0);
	assert_int_equal(closedir_(ino), 0); /* once too often */
	vanish(ino);
	/* what the kernel was told before is no proof */
	assert_int_equal(opendir_(ino + 1000), -ESTALE);
}

static void test_table__many(void **state)
{
	struct pw_attr a = { .mode = S_IFREG };
	struct pwc_gone g;

	(void)state;
	assert_int_equal(pwc_gone_init(&g), 0);
	for (a.ino = 1; a.ino <= 5000; a.ino++) {
		a.size = a.ino * 3;
		pwc_gone_removed(&g, &a);
	}
	assert_int_equal(g.nr, 5000);
	for (a.ino = 1; a.ino <= 5000; a.ino += 2)
		pwc_gone_forget(&g, a.ino);
	assert_int_equal(g.nr, 2500);
	for (a.ino = 1; a.ino <= 5000; a.ino++) {
		const struct pw_attr *found = pwc_gone_find(&g, a.ino);

		assert_int_equal(!found, a.ino % 2);
		if (found)
			assert_int_equal(found->size, a.ino * 3);
	}
	pwc_gone_fini(&g);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_removed__until_the_kernel_forgets),
		T(test_removed__not_while_there_are_names),
		T(test_opendir__keeps_what_another_machine_removes),
		T(test_opendir__asks_for_what_it_does_not_remember),
		cmocka_unit_test(test_table__many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
