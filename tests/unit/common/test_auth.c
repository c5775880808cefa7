/* SPDX-License-Identifier: Apache-2.0 */
/* test_auth.c -- the proof (golden values, every byte of the transcript counts), key files */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/auth.h"

static uint8_t key[32];
static struct pw_body_hello hello;
static struct pw_body_challenge ch;

static int setup(void **state)
{
	for (size_t i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)i;
	for (size_t i = 0; i < sizeof(hello); i++)
		((uint8_t *)&hello)[i] = (uint8_t)(i + 0x20);
	for (size_t i = 0; i < sizeof(ch); i++)
		((uint8_t *)&ch)[i] = (uint8_t)(i + 0x90);
	return 0;
}

/* Made by hashing the layout of auth.h with another implementation (Python's hashlib). */
static const uint8_t golden_node[32] = {
	0x36, 0x5a, 0xde, 0x64, 0x68, 0x79, 0x68, 0x90,
	0xe0, 0x09, 0x90, 0x15, 0x76, 0xad, 0xf8, 0x9a,
	0xb1, 0xee, 0x50, 0x43, 0x6f, 0x6c, 0xda, 0x9f,
	0x39, 0x03, 0xf9, 0xc9, 0x7d, 0x53, 0xf3, 0x92,
};
static const uint8_t golden_client[32] = {
	0x1b, 0xde, 0x3a, 0xda, 0xf2, 0x07, 0x7b, 0xda,
	0xc4, 0x4a, 0x32, 0x0a, 0xf7, 0x4d, 0x2a, 0x95,
	0x22, 0x5d, 0x54, 0x93, 0xf3, 0xbf, 0xa8, 0xc0,
	0x00, 0xa9, 0xa9, 0x7a, 0xfc, 0x16, 0xe4, 0xe8,
};

static void test_auth_proof__golden(void **state)
{
	uint8_t p[32];

	pw_auth_proof(p, key, "node", &hello, &ch);
	assert_memory_equal(p, golden_node, 32);
	pw_auth_proof(p, key, "client", &hello, &ch);
	assert_memory_equal(p, golden_client, 32);
	assert_false(pw_auth_equal(golden_node, golden_client));
}

static void test_auth_proof__every_byte_counts_but_the_proof(void **state)
{
	uint8_t p[32], *h = (uint8_t *)&hello, *c = (uint8_t *)&ch;

	for (size_t i = 0; i < 32; i++) {
		key[i] ^= 1;
		pw_auth_proof(p, key, "node", &hello, &ch);
		assert_false(pw_auth_equal(p, golden_node));
		key[i] ^= 1;
	}
	for (size_t i = 0; i < sizeof(hello); i++) {
		h[i] ^= 0x80;
		pw_auth_proof(p, key, "node", &hello, &ch);
		assert_false(pw_auth_equal(p, golden_node));
		h[i] ^= 0x80;
	}
	for (size_t i = 0; i < sizeof(ch); i++) {
		c[i] ^= 1;
		pw_auth_proof(p, key, "node", &hello, &ch);
		assert_int_equal(pw_auth_equal(p, golden_node), i >= 64);
		c[i] ^= 1;
	}
	/* in place, as the node does it */
	pw_auth_proof(ch.proof, key, "node", &hello, &ch);
	assert_true(pw_auth_equal(ch.proof, golden_node));
}

static char path[] = "/tmp/pw-test-auth-XXXXXX";
static char err[512];

static int load(const void *content, size_t len, mode_t mode, uint8_t ret[32])
{
	int fd, res;

	strcpy(path + strlen(path) - 6, "XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, content, len), len);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
	err[0] = '\0';
	memset(ret, 0xee, 32);
	res = pw_auth_key_load(path, ret, err, sizeof(err));
	unlink(path);
	if (res)
		assert_non_null(strstr(err, path));
	return res;
}

#define HEX "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F"

static void test_key_load__hex_and_raw(void **state)
{
	static const char *const good[] = { HEX, HEX "\n", HEX "\r\n" };
	uint8_t k[32];

	for (size_t i = 0; i < PW_ARRAY_SIZE(good); i++) {
		assert_int_equal(load(good[i], strlen(good[i]), 0600, k), 0);
		assert_memory_equal(k, key, 32);
	}
	assert_int_equal(load(key, 32, 0400, k), 0);
	assert_memory_equal(k, key, 32);
	/* a service's group may read it */
	assert_int_equal(load(key, 32, 0640, k), 0);
}

static void test_key_load__not_a_key(void **state)
{
	static const char *const bad[] = {
		"",	  "\n",
		"0001",	  HEX "0",
		HEX "00", HEX "\n\n\n\n",
		"0x" HEX, " " HEX,
		HEX " x", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1g"
	};
	uint8_t k[32], untouched[32];

	memset(untouched, 0xee, 32);
	for (size_t i = 0; i < PW_ARRAY_SIZE(bad); i++) {
		assert_int_equal(load(bad[i], strlen(bad[i]), 0600, k), -EINVAL);
		assert_non_null(strstr(err, "64 hexadecimal digits"));
		assert_memory_equal(k, untouched, 32);
	}
	assert_int_equal(load("1234567890123456789012345678901234567890", 33, 0600, k), -EINVAL);
	assert_int_equal(load("1234567890123456789012345678901234567890", 31, 0600, k), -EINVAL);
}

static void test_key_load__others_can_get_at_it(void **state)
{
	static const mode_t bad[] = { 0644, 0604, 0602, 0601, 0660, 0620 };
	uint8_t k[32];

	for (size_t i = 0; i < PW_ARRAY_SIZE(bad); i++) {
		assert_int_equal(load(key, 32, bad[i], k), -EPERM);
		assert_non_null(strstr(err, "chmod 600"));
	}
}

static void test_key_load__no_file_or_not_a_file(void **state)
{
	uint8_t k[32];

	assert_int_equal(pw_auth_key_load("/nonexistent/key", k, err, sizeof(err)), -ENOENT);
	assert_string_equal(err, "key file /nonexistent/key: no such file or directory");
	assert_int_equal(pw_auth_key_load("/", k, err, sizeof(err)), -EINVAL);
	assert_non_null(strstr(err, "not a regular file"));
	assert_int_equal(pw_auth_key_load("/dev/zero", k, err, sizeof(err)), -EINVAL);
}

#define T(name) cmocka_unit_test_setup(name, setup)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_auth_proof__golden),
		T(test_auth_proof__every_byte_counts_but_the_proof),
		T(test_key_load__hex_and_raw),
		T(test_key_load__not_a_key),
		T(test_key_load__others_can_get_at_it),
		T(test_key_load__no_file_or_not_a_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
