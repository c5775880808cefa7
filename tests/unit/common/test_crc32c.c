/* SPDX-License-Identifier: Apache-2.0 */
/* test_crc32c.c -- known answers of RFC 3720 B.4, pieces, a bit at a time */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "common/crc32c.h"

static void test_crc32c__known_answers(void **state)
{
	uint8_t b[32];

	assert_int_equal(pw_crc32c(0, "123456789", 9), 0xe3069283);
	assert_int_equal(pw_crc32c(0, "", 0), 0);
	memset(b, 0, sizeof(b));
	assert_int_equal(pw_crc32c(0, b, 32), 0x8a9136aa);
	memset(b, 0xff, sizeof(b));
	assert_int_equal(pw_crc32c(0, b, 32), 0x62a8ab43);
	for (int i = 0; i < 32; i++)
		b[i] = (uint8_t)i;
	assert_int_equal(pw_crc32c(0, b, 32), 0x46dd794e);
	for (int i = 0; i < 32; i++)
		b[i] = (uint8_t)(31 - i);
	assert_int_equal(pw_crc32c(0, b, 32), 0x113fdb5c);
}

/* The definition: reflected polynomial 0x82f63b78. */
static uint32_t slow(const uint8_t *p, size_t len)
{
	uint32_t crc = ~0u;

	while (len--) {
		crc ^= *p++;
		for (int i = 0; i < 8; i++)
			crc = crc & 1 ? crc >> 1 ^ 0x82f63b78 : crc >> 1;
	}
	return ~crc;
}

static void test_crc32c__any_length_alignment_and_split(void **state)
{
	static uint8_t b[8192 + 16];

	for (size_t i = 0; i < sizeof(b); i++)
		b[i] = (uint8_t)(i * 37 + i / 251);
	for (size_t off = 0; off < 9; off++)
		for (size_t len = 0; len < 300; len += 7)
			assert_int_equal(pw_crc32c(0, b + off, len), slow(b + off, len));
	assert_int_equal(pw_crc32c(0, b, 8192), slow(b, 8192));
	for (size_t cut = 0; cut <= 4096; cut += 511)
		assert_int_equal(pw_crc32c(pw_crc32c(0, b, cut), b + cut, 4096 - cut),
				 slow(b, 4096));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_crc32c__known_answers),
		cmocka_unit_test(test_crc32c__any_length_alignment_and_split),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
