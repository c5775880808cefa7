/* SPDX-License-Identifier: Apache-2.0 */
/* test_superblock.c -- a data directory: new, again, somebody else's, damaged, locked, half made */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "storage_node/superblock.h"

struct ctx {
	char dir[64], path[128];
	struct pws_superblock sb;
	struct pws_refusal why;
	int lock_fd;
};

static const struct pws_superblock_want want = {
	.store = "chunk",
	.journal_bytes = 1 << 20,
	.data_off = 1 << 20,
	.block_bytes = 4096,
};

static const struct pws_superblock golden = {
	.fsid = { 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 1, 2, 3, 4, 5, 6, 7, 8 },
	.node_id = { 0xff },
	.sip_key = { 0xaa, 0xbb },
	.store = "chunk",
	.created_ns = 1700000000123456789,
	.journal_bytes = 134217728,
	.data_off = 134217728,
	.block_bytes = 4096,
	.formatted = true,
};

/* Format 1, byte for byte: what is on disks cannot change. */
static const char golden_text[] = "pagewire superblock 1\n"
				  "fsid 01234567-89ab-cdef-0102-030405060708\n"
				  "node_id ff000000-0000-0000-0000-000000000000\n"
				  "sip_key aabb0000000000000000000000000000\n"
				  "store chunk\n"
				  "created_ns 1700000000123456789\n"
				  "journal_bytes 134217728\n"
				  "data_off 134217728\n"
				  "block_bytes 4096\n"
				  "formatted 1\n"
				  "crc32c d95f1302\n";

static int setup(void **state)
{
	struct ctx *c = calloc(1, sizeof(*c));

	snprintf(c->dir, sizeof(c->dir), "/tmp/pw-test-XXXXXX");
	if (!mkdtemp(c->dir))
		return -1;
	c->lock_fd = -1;
	*state = c;
	return 0;
}

static int teardown(void **state)
{
	struct ctx *c = *state;
	char cmd[128];

	if (c->lock_fd >= 0)
		close(c->lock_fd);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", c->dir);
	free(c);
	return system(cmd);
}

static int open_it(struct ctx *c)
{
	c->why.code = PW_EXIT_OK;
	return pws_superblock_open(c->dir, &want, &c->sb, &c->lock_fd, &c->why);
}

static void close_it(struct ctx *c)
{
	close(c->lock_fd);
	c->lock_fd = -1;
}

static const char *file(struct ctx *c, const char *name)
{
	snprintf(c->path, sizeof(c->path), "%s/%s", c->dir, name);
	return c->path;
}

static void write_text(const char *path, const char *text, size_t len)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, len, f), len);
	fclose(f);
}

static void test_text__golden(void **state)
{
	char text[1024];
	size_t n = pws_superblock_encode(&golden, text, sizeof(text));
	struct pws_superblock sb;

	(void)state;
	assert_int_equal(n, sizeof(golden_text) - 1);
	assert_string_equal(text, golden_text);
	assert_int_equal(pws_superblock_decode(text, n, &sb), 0);
	assert_memory_equal(&sb, &golden, sizeof(sb));
}

/* Whatever byte is changed, it is noticed. */
static void test_text__every_flipped_bit_is_noticed(void **state)
{
	char text[1024], bad[1024];
	size_t n = pws_superblock_encode(&golden, text, sizeof(text));
	struct pws_superblock sb;

	(void)state;
	for (size_t i = 0; i < n * 8; i++) {
		memcpy(bad, text, n);
		bad[i / 8] ^= (char)(1 << i % 8);
		assert_int_not_equal(pws_superblock_decode(bad, n, &sb), 0);
	}
	for (size_t len = 0; len < n; len++)
		assert_int_not_equal(pws_superblock_decode(text, len, &sb), 0);
	text[n] = '\n';
	assert_int_equal(pws_superblock_decode(text, n + 1, &sb), -EBADMSG);
}

static void test_open__new_then_again(void **state)
{
	struct ctx *c = *state;
	struct pws_superblock first;
	struct stat st;

	assert_int_equal(open_it(c), 0);
	assert_false(c->sb.formatted);
	first = c->sb;
	assert_int_equal(pws_superblock_set_formatted(c->dir, &c->sb, &c->why), 0);
	close_it(c);
	assert_int_equal(open_it(c), 0);
	assert_true(c->sb.formatted);
	assert_memory_equal(c->sb.fsid, first.fsid, 16);
	assert_memory_equal(c->sb.sip_key, first.sip_key, 16);
	assert_int_equal(stat(file(c, "superblock"), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_not_equal(access(file(c, "superblock.tmp"), F_OK), 0);
}

static void test_open__makes_the_directory(void **state)
{
	struct ctx *c = *state;

	snprintf(c->path, sizeof(c->path), "%s/data", c->dir);
	assert_int_equal(pws_superblock_open(c->path, &want, &c->sb, &c->lock_fd, &c->why), 0);
	close_it(c);
	snprintf(c->path, sizeof(c->path), "%s/no/data", c->dir);
	assert_int_equal(pws_superblock_open(c->path, &want, &c->sb, &c->lock_fd, &c->why), -1);
	assert_int_equal(c->why.code, PW_EXIT_ERROR);
	c->lock_fd = -1;
}

static void test_open__not_ours_is_left_alone(void **state)
{
	struct ctx *c = *state;

	write_text(file(c, "letter.txt"), "dear", 4);
	assert_int_equal(open_it(c), -1);
	assert_int_equal(c->why.code, PW_EXIT_NOT_OURS);
	assert_non_null(strstr(c->why.text, "letter.txt"));
	assert_int_not_equal(access(file(c, "lock"), F_OK), 0);
	assert_int_not_equal(access(file(c, "superblock"), F_OK), 0);
	c->lock_fd = -1;
}

static void test_open__another_filesystem(void **state)
{
	struct ctx *c = *state;
	struct pws_superblock_want other = want;
	const uint8_t fsid[16] = { 9 };

	assert_int_equal(open_it(c), 0);
	close_it(c);
	other.fsid = fsid;
	assert_int_equal(pws_superblock_open(c->dir, &other, &c->sb, &c->lock_fd, &c->why), -1);
	assert_int_equal(c->why.code, PW_EXIT_FSID);
	other.fsid = c->sb.fsid;
	assert_int_equal(pws_superblock_open(c->dir, &other, &c->sb, &c->lock_fd, &c->why), 0);
}

static void test_open__another_store(void **state)
{
	struct ctx *c = *state;
	struct pws_superblock_want other = want;

	assert_int_equal(open_it(c), 0);
	close_it(c);
	other.store = "memory";
	assert_int_equal(pws_superblock_open(c->dir, &other, &c->sb, &c->lock_fd, &c->why), -1);
	assert_int_equal(c->why.code, PW_EXIT_CONFIG);
	c->lock_fd = -1;
}

static void test_open__second_node(void **state)
{
	struct ctx *c = *state;
	struct pws_superblock sb;
	int fd;

	assert_int_equal(open_it(c), 0);
	assert_int_equal(pws_superblock_open(c->dir, &want, &sb, &fd, &c->why), -1);
	assert_int_equal(c->why.code, PW_EXIT_LOCKED);
	close_it(c);
	assert_int_equal(open_it(c), 0);
}

static void test_open__damaged(void **state)
{
	struct ctx *c = *state;
	char text[1024];
	ssize_t n;
	int fd;

	assert_int_equal(open_it(c), 0);
	close_it(c);
	fd = open(file(c, "superblock"), O_RDWR);
	n = read(fd, text, sizeof(text));
	text[60] ^= 1;
	assert_int_equal(pwrite(fd, text, (size_t)n, 0), n);
	close(fd);
	assert_int_equal(open_it(c), -1);
	assert_int_equal(c->why.code, PW_EXIT_DAMAGED);
	c->lock_fd = -1;
}

static void test_open__another_version(void **state)
{
	struct ctx *c = *state;
	static const char text[] = "pagewire superblock 2\nfsid whatever comes then\n";

	write_text(file(c, "superblock"), text, sizeof(text) - 1);
	assert_int_equal(open_it(c), -1);
	assert_int_equal(c->why.code, PW_EXIT_NOT_OURS);
	assert_non_null(strstr(c->why.text, "another version"));
	write_text(file(c, "superblock"), "something else", 14);
	assert_int_equal(open_it(c), -1);
	assert_int_equal(c->why.code, PW_EXIT_NOT_OURS);
	c->lock_fd = -1;
}

/* Killed at the first start: the lock file and half a superblock are there, under its other
 * name. */
static void test_open__after_a_killed_first_start(void **state)
{
	struct ctx *c = *state;

	write_text(file(c, "lock"), "", 0);
	write_text(file(c, "superblock.tmp"), golden_text, 40);
	assert_int_equal(open_it(c), 0);
	assert_int_not_equal(access(file(c, "superblock.tmp"), F_OK), 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_text__golden),
		T(test_text__every_flipped_bit_is_noticed),
		T(test_open__new_then_again),
		T(test_open__makes_the_directory),
		T(test_open__not_ours_is_left_alone),
		T(test_open__another_filesystem),
		T(test_open__another_store),
		T(test_open__second_node),
		T(test_open__damaged),
		T(test_open__another_version),
		T(test_open__after_a_killed_first_start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
