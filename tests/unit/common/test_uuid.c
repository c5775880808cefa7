/* SPDX-License-Identifier: Apache-2.0 */
/* test_uuid.c -- the text of an identity, there and back */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/uuid.h"

static void test_uuid__round_trip(void **state)
{
	uint8_t id[16], back[16];
	char text[PW_UUID_TEXT];

	(void)state;
	for (int i = 0; i < 16; i++)
		id[i] = (uint8_t)(i * 17);
	pw_uuid_text(id, text);
	assert_string_equal(text, "00112233-4455-6677-8899-aabbccddeeff");
	assert_int_equal(pw_uuid_parse("00112233-4455-6677-8899-AABBCCDDEEFF", back), 0);
	assert_memory_equal(id, back, 16);
}

static void test_uuid__other_forms_are_refused(void **state)
{
	static const char *const bad[] = {
		"", "001122334455-6677-8899-aabbccddeeff-", "0011223g-4455-6677-8899-aabbccddeeff",
		"00112233-4455-6677-8899-aabbccddeef", "00112233-4455-6677-8899-aabbccddeeff0",
		"{0112233-4455-6677-8899-aabbccddeef}",
	};
	uint8_t id[16];

	(void)state;
	for (size_t i = 0; i < PW_ARRAY_SIZE(bad); i++)
		assert_int_equal(pw_uuid_parse(bad[i], id), -EINVAL);
}

static void test_hex__there_and_back(void **state)
{
	const uint8_t bytes[3] = { 0x00, 0x9a, 0xff };
	uint8_t back[3];
	char text[7];

	(void)state;
	pw_hex_text(bytes, sizeof(bytes), text);
	assert_string_equal(text, "009aff");
	assert_int_equal(pw_hex_parse("009AFFxx", back, sizeof(back)), 0);
	assert_memory_equal(bytes, back, sizeof(back));
	assert_int_equal(pw_hex_parse("009a", back, sizeof(back)), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_uuid__round_trip),
		cmocka_unit_test(test_uuid__other_forms_are_refused),
		cmocka_unit_test(test_hex__there_and_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
