/* SPDX-License-Identifier: Apache-2.0 */
/* test_identity.c -- the file of starts, and the second node of one identity */
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

#include "common/random.h"
#include "storage_node/identity.h"

struct ctx {
	char dir[64], file[80];
};

static const struct pws_starts golden = {
	.count = 1700000003,
	.boot = { 0xfedcba9876543210, 2, 1 },
};

/* Format 1, byte for byte: what is on disks cannot change. The rest is newlines. */
static const char golden_text[] =
	"pagewire starts 1\n"
	"count 1700000003\n"
	"boots fedcba9876543210 0000000000000002 0000000000000001 0000000000000000 "
	"0000000000000000 0000000000000000 0000000000000000 0000000000000000\n"
	"crc32c 53d754a2\n";

static int setup(void **state)
{
	struct ctx *c = calloc(1, sizeof(*c));

	snprintf(c->dir, sizeof(c->dir), "/tmp/pw-test-XXXXXX");
	if (!mkdtemp(c->dir)) {
		free(c);
		return -1;
	}
	snprintf(c->file, sizeof(c->file), "%s/starts", c->dir);
	*state = c;
	return 0;
}

static int teardown(void **state)
{
	struct ctx *c = *state;

	chmod(c->dir, 0700);
	unlink(c->file);
	rmdir(c->dir);
	free(c);
	return 0;
}

static void test_text__golden(void **state)
{
	char buf[PWS_STARTS_RECORD];
	struct pws_starts s;

	(void)state;
	pws_starts_encode(&golden, buf);
	assert_memory_equal(buf, golden_text, sizeof(golden_text) - 1);
	for (size_t i = sizeof(golden_text) - 1; i < sizeof(buf); i++)
		assert_int_equal(buf[i], '\n');
	assert_int_equal(pws_starts_decode(buf, &s), 0);
	assert_memory_equal(&s, &golden, sizeof(s));
}

static void test_text__every_flipped_bit_is_noticed(void **state)
{
	char buf[PWS_STARTS_RECORD];
	struct pws_starts s;

	(void)state;
	pws_starts_encode(&golden, buf);
	for (size_t i = 0; i < sizeof(buf) * 8; i++) {
		buf[i / 8] ^= (char)(1 << i % 8);
		assert_int_equal(pws_starts_decode(buf, &s), -EBADMSG);
		buf[i / 8] ^= (char)(1 << i % 8);
	}
}

static void test_starts__are_counted_and_remembered(void **state)
{
	struct ctx *c = *state;
	struct pws_starts s[10];

	for (uint32_t i = 0; i < PW_ARRAY_SIZE(s); i++) {
		pws_starts_record(c->dir, &s[i]);
		assert_true(s[i].boot[0]);
		assert_true(s[i].count);
		for (uint32_t j = 1; j <= PW_WELCOME_EARLIER; j++)
			assert_int_equal(s[i].boot[j], j <= i ? s[i - j].boot[0] : 0);
		assert_int_equal(s[i].count, s[0].count + i);
	}
}

/* The record that was being written is torn: the one before it counts. */
static void test_starts__torn_record(void **state)
{
	struct ctx *c = *state;
	struct pws_starts a, b, d;
	int fd;

	pws_starts_record(c->dir, &a);
	pws_starts_record(c->dir, &b);
	fd = open(c->file, O_WRONLY);
	assert_int_equal(pwrite(fd, "xx", 2, (off_t)(b.count % 2 * PWS_STARTS_RECORD) + 40), 2);
	close(fd);
	pws_starts_record(c->dir, &d);
	assert_int_equal(d.count, b.count);
	assert_int_equal(d.boot[1], a.boot[0]);
	assert_int_not_equal(d.boot[0], b.boot[0]);
}

/* All is lost: it goes on with a count that no client can compare. */
static void test_starts__lost_file(void **state)
{
	struct ctx *c = *state;
	struct pws_starts a, b;
	char text[2 * PWS_STARTS_RECORD];
	int fd;

	pws_starts_record(c->dir, &a);
	memset(text, '?', sizeof(text));
	fd = open(c->file, O_WRONLY);
	assert_int_equal(write(fd, text, sizeof(text)), sizeof(text));
	close(fd);
	pws_starts_record(c->dir, &b);
	assert_true(b.count >= a.count);
	assert_int_equal(b.boot[1], 0);
}

static void test_starts__cannot_be_written(void **state)
{
	struct ctx *c = *state;
	struct pws_starts s;

	assert_int_equal(mkdir(c->file, 0700), 0);
	pws_starts_record(c->dir, &s);
	assert_int_equal(s.count, 0);
	assert_true(s.boot[0]);
	rmdir(c->file);
}

static void test_hold__second_node(void **state)
{
	uint8_t id[16], other[16];
	struct pws_refusal why = { .code = PW_EXIT_OK };
	int a, b;

	(void)state;
	pw_random_bytes(id, sizeof(id));
	pw_random_bytes(other, sizeof(other));
	assert_int_equal(pws_identity_hold("/x", id, &a, &why), 0);
	assert_int_equal(pws_identity_hold("/copy", id, &b, &why), -1);
	assert_int_equal(why.code, PW_EXIT_LOCKED);
	assert_non_null(strstr(why.text, "/copy"));
	assert_non_null(strstr(why.text, "--new-identity"));
	assert_int_equal(b, -1);
	assert_int_equal(pws_identity_hold("/y", other, &b, &why), 0);
	close(b);
	close(a);
	assert_int_equal(pws_identity_hold("/copy", id, &b, &why), 0);
	close(b);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_text__golden),
		T(test_text__every_flipped_bit_is_noticed),
		T(test_starts__are_counted_and_remembered),
		T(test_starts__torn_record),
		T(test_starts__lost_file),
		T(test_starts__cannot_be_written),
		T(test_hold__second_node),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
