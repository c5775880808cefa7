/* SPDX-License-Identifier: Apache-2.0 */
/* test_readdir.c -- pages of a directory: every name once, whatever the page size */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "fake_kernel.h"
#include "fake_peer.h"

#define NR_FILES 50u

/* The kernel's records; not in fuse_uapi.h because only libfuse writes them. */
struct dirent_head {
	uint64_t ino, off;
	uint32_t namelen, type;
};

static int setup(void **state)
{
	char name[64];

	(void)state;
	fake_peer_reset();
	for (uint32_t i = 0; i < NR_FILES; i++) {
		snprintf(name, sizeof(name), "%0*u", 1 + (int)(i * 7 % 40), i);
		assert_non_null(fake_peer_add(1, name, S_IFREG | 0644));
	}
	kernel_start("rw");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	kernel_stop();
	assert_int_equal(fake.bad_cmds, 0);
	return 0;
}

/* Reads the whole directory; counts names in @seen by their number. Return: pages. */
static uint32_t read_all(bool plus, uint32_t size, uint32_t *seen, uint32_t *ret_dots)
{
	struct fuse_read_in in = { .size = size };
	uint32_t pages = 0;

	memset(seen, 0, NR_FILES * sizeof(*seen));
	*ret_dots = 0;
	for (;;) {
		uint32_t pos = 0;

		assert_int_equal(kernel_call(plus ? FUSE_READDIRPLUS : FUSE_READDIR, 1, &in,
					     sizeof(in), NULL, 0), 0);
		assert_true(kernel.answer.len <= size);
		if (!kernel.answer.len)
			return pages;
		pages++;
		while (pos < kernel.answer.len) {
			const struct fuse_entry_out *e = (void *)(kernel.answer.data + pos);
			const struct dirent_head *d;
			unsigned int nr;
			char name[256];

			pos += plus ? sizeof(*e) : 0;
			d = (void *)(kernel.answer.data + pos);
			memcpy(name, d + 1, d->namelen);
			name[d->namelen] = '\0';
			pos += PW_ROUND_UP((uint32_t)sizeof(*d) + d->namelen, 8);
			in.offset = d->off;
			if (name[0] == '.') {
				++*ret_dots;
				if (plus)
					assert_int_equal(e->nodeid, 0);
				continue;
			}
			assert_int_equal(sscanf(name, "%u", &nr), 1);
			assert_true(nr < NR_FILES);
			seen[nr]++;
			assert_int_equal(d->type, S_IFREG >> 12);
			if (plus)
				assert_int_equal(e->nodeid, d->ino);
		}
		assert_int_equal(pos, kernel.answer.len);
	}
}

static void check(bool plus, uint32_t size)
{
	uint32_t seen[NR_FILES], dots, pages = read_all(plus, size, seen, &dots);

	assert_true(pages >= 1);
	assert_int_equal(dots, 2);
	for (uint32_t i = 0; i < NR_FILES; i++)
		assert_int_equal(seen[i], 1);
}

static void test_readdir__every_name_once(void **state)
{
	static const uint32_t sizes[] = { 128, 200, 512, 1000, 4096, 65536 };

	(void)state;
	for (size_t i = 0; i < PW_ARRAY_SIZE(sizes); i++)
		check(false, sizes[i]);
}

static void test_readdirplus__every_name_once(void **state)
{
	static const uint32_t sizes[] = { 256, 300, 777, 4096, 65536 };

	(void)state;
	for (size_t i = 0; i < PW_ARRAY_SIZE(sizes); i++)
		check(true, sizes[i]);
}

static void test_readdir__two_names_of_one_cookie_stay_together(void **state)
{
	(void)state;
	for (uint32_t i = 1; i < FAKE_NODES; i += 2)
		fake.node[i].cookie = 1000 + i + 1;
	for (uint32_t size = 256; size < 600; size += 8)
		check(false, size);
}

static void test_readdir__garbage_of_a_node_is_eio(void **state)
{
	struct fuse_read_in in = { .size = 4096 };

	(void)state;
	fake.garble_readdir = true;
	assert_int_equal(kernel_call(FUSE_READDIR, 1, &in, sizeof(in), NULL, 0), -EIO);
	fake.garble_readdir = false;
	assert_int_equal(kernel_call(FUSE_READDIR, 999, &in, sizeof(in), NULL, 0), -ESTALE);
}

static void test_opendir__costs_no_message(void **state)
{
	struct fuse_open_in in = { .flags = 0 };
	struct fuse_release_in rel = { .fh = 0 };

	(void)state;
	assert_int_equal(kernel_call(FUSE_OPENDIR, 1, &in, sizeof(in), NULL, 0), 0);
	assert_int_equal(kernel_call(FUSE_RELEASEDIR, 1, &rel, sizeof(rel), NULL, 0), 0);
	for (uint32_t i = 0; i < PW_OP_NR; i++)
		assert_int_equal(fake.nr_calls[i], 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_readdir__every_name_once),
		T(test_readdirplus__every_name_once),
		T(test_readdir__two_names_of_one_cookie_stay_together),
		T(test_readdir__garbage_of_a_node_is_eio),
		T(test_opendir__costs_no_message),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
