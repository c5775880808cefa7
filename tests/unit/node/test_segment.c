/* SPDX-License-Identifier: Apache-2.0 */
/* test_segment.c -- rows of the chunk index: golden bytes, and what the decoder refuses */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "storage_node/store/segment.h"

static const uint8_t golden_run[] = {
	0x01, 0x01, 0x0c, 0x80, /* version, contiguous, blocks 2, 3 and 15 */
	0x04, 0x03, 0x02, 0x01, /* trunc_gen */
	0x88, 0x77, 0x66, 0x55, 0x44, 0x00, 0x00, 0x00,				/* base */
	0xef, 0xbe, 0xad, 0xde, 0x01, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, /* crcs */
};

static const struct pws_segment run = {
	.trunc_gen = 0x01020304,
	.present = 0x800c,
	.block = { [2] = 0x4455667788, [3] = 0x4455667789, [15] = 0x445566778a },
	.crc = { [2] = 0xdeadbeef, [3] = 1, [15] = 0xffffffff },
};

static const uint8_t golden_list[] = {
	0x01, 0x00, 0x01, 0x80, /* version, a list, blocks 0 and 15 */
	0x00, 0x00, 0x00, 0x00, /* trunc_gen */
	0x05, 0x04, 0x03, 0x02, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, /* u40 each */
	0x78, 0x56, 0x34, 0x12, 0x00, 0x00, 0x00, 0x00,		    /* crcs */
};

static const struct pws_segment list = {
	.present = 0x8001,
	.block = { [0] = 0x0102030405, [15] = 0 },
	.crc = { [0] = 0x12345678 },
};

static int decode(const uint8_t *p, size_t n, struct pws_segment *ret)
{
	return pws_segment_decode((struct pws_slice){ p, (uint32_t)n }, ret);
}

static void check_golden(const struct pws_segment *s, const uint8_t *bytes, size_t n)
{
	uint8_t buf[PWS_SEGMENT_VAL_MAX];
	struct pws_segment back;

	assert_int_equal(pws_segment_encode(s, buf), n);
	assert_memory_equal(buf, bytes, n);
	assert_int_equal(decode(bytes, n, &back), 0);
	assert_memory_equal(&back, s, sizeof(back));
}

static void test_encode__contiguous(void **state)
{
	check_golden(&run, golden_run, sizeof(golden_run));
}

static void test_encode__list(void **state)
{
	check_golden(&list, golden_list, sizeof(golden_list));
}

static void test_encode__largest(void **state)
{
	struct pws_segment s = { .present = 0xffff, .trunc_gen = UINT32_MAX }, back;
	uint8_t buf[PWS_SEGMENT_VAL_MAX];

	for (uint32_t i = 0; i < PWS_SEGMENT_BLOCKS; i++)
		s.block[i] = PWS_BLOCK_NR_MAX - 2 * i;
	assert_int_equal(pws_segment_encode(&s, buf), PWS_SEGMENT_VAL_MAX);
	assert_int_equal(decode(buf, sizeof(buf), &back), 0);
	assert_memory_equal(&back, &s, sizeof(s));
}

static void test_decode__every_length_but_one(void **state)
{
	uint8_t buf[sizeof(golden_run) + 8] = { 0 };
	struct pws_segment s;

	memcpy(buf, golden_run, sizeof(golden_run));
	for (size_t n = 0; n <= sizeof(buf); n++)
		assert_int_equal(decode(buf, n, &s), n == sizeof(golden_run) ? 0 : -EBADMSG);
	assert_int_equal(decode(NULL, 8, &s), -EBADMSG);
}

static void refuse(const uint8_t *good, size_t n, size_t at, uint8_t value)
{
	uint8_t buf[PWS_SEGMENT_VAL_MAX];
	struct pws_segment s;

	memcpy(buf, good, n);
	buf[at] = value;
	assert_int_equal(decode(buf, n, &s), -EBADMSG);
}

static void test_decode__bad_fields(void **state)
{
	const size_t n = sizeof(golden_run);

	refuse(golden_run, n, 0, 0); /* version */
	refuse(golden_run, n, 0, 2);
	refuse(golden_run, n, 1, 3);	/* an unknown flag */
	refuse(golden_run, n, 2, 0x0d); /* one block more than the length */
	refuse(golden_run, n, 13, 1);	/* base beyond 2^40 */
	refuse(golden_run, n, 15, 0x80);
}

static void test_decode__no_block(void **state)
{
	static const uint8_t none[] = { 1, 0, 0, 0, 0, 0, 0, 0 };
	struct pws_segment s;

	assert_int_equal(decode(none, sizeof(none), &s), -EBADMSG);
}

static void test_decode__block_twice(void **state)
{
	uint8_t buf[sizeof(golden_list)];
	struct pws_segment s;

	memcpy(buf, golden_list, sizeof(buf));
	memcpy(buf + 13, buf + 8, 5);
	assert_int_equal(decode(buf, sizeof(buf), &s), -EBADMSG);
}

static void test_decode__run_written_as_list(void **state)
{
	uint8_t buf[sizeof(golden_list)];
	struct pws_segment s;

	memcpy(buf, golden_list, sizeof(buf));
	memcpy(buf + 13, buf + 8, 5);
	buf[13]++;
	assert_int_equal(decode(buf, sizeof(buf), &s), -EBADMSG);
}

static void test_dead(void **state)
{
	struct pws_segment s = { .trunc_gen = 4 };
	struct pws_inode i = { .dead_from = 100000, .dead_gen = 5 };

	assert_true(pws_segment_dead(&s, 131072, &i));
	assert_false(pws_segment_dead(&s, 65536, &i)); /* the row that the cut went through */
	s.trunc_gen = 5;
	assert_false(pws_segment_dead(&s, 131072, &i));
	i.dead_gen = 0;
	s.trunc_gen = 0;
	assert_false(pws_segment_dead(&s, 131072, &i));
}

static void test_key(void **state)
{
	struct pws_key k;
	uint64_t ino;
	uint32_t chunk;
	uint8_t segment;

	pws_segment_key(&k, 7, PWS_STORE_FILE_MAX - 1);
	assert_true(pws_key_segment_parse(pws_key_slice(&k), &ino, &chunk, &segment));
	assert_int_equal(ino, 7);
	assert_int_equal(chunk, UINT32_MAX);
	assert_int_equal(segment, 63);
	assert_int_equal(pws_segment_off(chunk, segment), PWS_STORE_FILE_MAX - PWS_SEGMENT_BYTES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_encode__contiguous),
		cmocka_unit_test(test_encode__list),
		cmocka_unit_test(test_encode__largest),
		cmocka_unit_test(test_decode__every_length_but_one),
		cmocka_unit_test(test_decode__bad_fields),
		cmocka_unit_test(test_decode__no_block),
		cmocka_unit_test(test_decode__block_twice),
		cmocka_unit_test(test_decode__run_written_as_list),
		cmocka_unit_test(test_dead),
		cmocka_unit_test(test_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
