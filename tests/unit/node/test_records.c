/* SPDX-License-Identifier: Apache-2.0 */
/* test_records.c -- golden keys and values; ranges hold exactly what they should */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "storage_node/meta/records.h"
#include "storage_node/meta_kv/kv_map.h"
#include "storage_node/store/segment.h"

static const uint8_t sip_key[16] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };
static const uint8_t client[16] = { 0xff, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xff };

static void expect_key(const struct pws_key *k, const char *hex)
{
	char got[2 * PWS_KV_KEY_MAX + 1] = "";

	for (uint32_t i = 0; i < k->n; i++)
		snprintf(got + 2 * i, 3, "%02x", k->b[i]);
	assert_string_equal(got, hex);
}

static void test_keys__golden(void **state)
{
	struct pws_key k;

	(void)state;
	pws_key_inode(&k, 0x0001000000000002);
	expect_key(&k, "490001000000000002");
	/* SipHash-2-4 of 00 01 02 ... 0e under this key is a129ca6149be45e5 in the paper (appendix
	 * A); the top bit is cleared */
	pws_key_dirent(&k, sip_key, 1, "\0\1\2\3\4\5\6\7\10\11\12\13\14\15\16", 15);
	expect_key(&k, "440000000000000001"
		       "2129ca6149be45e5"
		       "000102030405060708090a0b0c0d0e");
	pws_key_segment(&k, 0x0102030405060708, 0x0a0b0c0d, 63);
	expect_key(&k, "4201020304050607080a0b0c0d3f");
	pws_key_orphan(&k, 5);
	expect_key(&k, "4f0000000000000005");
	pws_key_reply(&k, client, 0x0102);
	expect_key(&k, "52ff0102030405060708090a0b0c0d0eff0102");
	pws_key_client(&k, client);
	expect_key(&k, "43ff0102030405060708090a0b0c0d0eff");
	pws_key_alloc(&k);
	expect_key(&k, "41");
}

static void test_dirent__parse(void **state)
{
	char name[PW_NAME_MAX + 1];
	const char *got;
	struct pws_key k;
	uint64_t cookie;
	uint32_t len;

	(void)state;
	memset(name, 'x', sizeof(name));
	for (uint32_t n = 1; n <= PW_NAME_MAX; n++) {
		pws_key_dirent(&k, sip_key, 7, name, n);
		assert_true(pws_key_dirent_parse(pws_key_slice(&k), &cookie, &got, &len));
		assert_int_equal(len, n);
		assert_memory_equal(got, name, n);
		assert_in_range(cookie, 1, INT64_MAX);
	}
	pws_key_inode(&k, 7);
	assert_false(pws_key_dirent_parse(pws_key_slice(&k), &cookie, &got, &len));
	pws_key_dirent(&k, sip_key, 7, "a", 1);
	k.n--;
	assert_false(pws_key_dirent_parse(pws_key_slice(&k), &cookie, &got, &len));
}

static bool in_range(const struct pws_key *k, const struct pws_key *begin,
		     const struct pws_key *end)
{
	return pws_slice_cmp(pws_key_slice(k), pws_key_slice(begin)) >= 0 &&
	       pws_slice_cmp(pws_key_slice(k), pws_key_slice(end)) < 0;
}

static void test_dirent_range__cookies_after(void **state)
{
	struct pws_key k, begin, end;
	const char *name;
	uint64_t cookie;
	uint32_t len;

	(void)state;
	pws_key_dirent(&k, sip_key, 7, "name", 4);
	assert_true(pws_key_dirent_parse(pws_key_slice(&k), &cookie, &name, &len));
	pws_key_dirent_range(&begin, &end, 7, 0);
	assert_true(in_range(&k, &begin, &end));
	pws_key_dirent_range(&begin, &end, 7, cookie - 1);
	assert_true(in_range(&k, &begin, &end));
	pws_key_dirent_range(&begin, &end, 7, cookie);
	assert_false(in_range(&k, &begin, &end));
	pws_key_dirent_range(&begin, &end, 6, 0);
	assert_false(in_range(&k, &begin, &end));
	pws_key_dirent_range(&begin, &end, 8, 0);
	assert_false(in_range(&k, &begin, &end));
	/* any number that a client may send */
	pws_key_dirent_range(&begin, &end, 7, UINT64_MAX);
	assert_false(in_range(&k, &begin, &end));
	assert_true(pws_slice_cmp(pws_key_slice(&begin), pws_key_slice(&end)) <= 0);
	pws_key_dirent_range(&begin, &end, UINT64_MAX, INT64_MAX);
	assert_true(pws_slice_cmp(pws_key_slice(&begin), pws_key_slice(&end)) <= 0);
}

static void test_segment_range__from_an_offset(void **state)
{
	struct pws_key k, begin, end;
	uint64_t ino;
	uint32_t chunk;
	uint8_t segment;

	(void)state;
	pws_key_segment(&k, 9, 3, 5);
	assert_true(pws_key_segment_parse(pws_key_slice(&k), &ino, &chunk, &segment));
	assert_int_equal(ino, 9);
	assert_int_equal(chunk, 3);
	assert_int_equal(segment, 5);
	pws_key_segment_range(&begin, &end, 9, 0);
	assert_true(in_range(&k, &begin, &end));
	/* the segment that holds the byte is in */
	pws_key_segment_range(&begin, &end, 9, 3ull * PWS_CHUNK_BYTES + 6 * PWS_SEGMENT_BYTES - 1);
	assert_true(in_range(&k, &begin, &end));
	pws_key_segment_range(&begin, &end, 9, 3ull * PWS_CHUNK_BYTES + 6 * PWS_SEGMENT_BYTES);
	assert_false(in_range(&k, &begin, &end));
	pws_key_segment_range(&begin, &end, 8, 0);
	assert_false(in_range(&k, &begin, &end));
	pws_key_segment_range(&begin, &end, 10, 0);
	assert_false(in_range(&k, &begin, &end));
	pws_key_segment(&k, 9, UINT32_MAX, 63);
	pws_key_segment_range(&begin, &end, 9, 0);
	assert_true(in_range(&k, &begin, &end));
	pws_key_segment_range(&begin, &end, 9, PWS_STORE_FILE_MAX - 1);
	assert_true(in_range(&k, &begin, &end));
	/* no row lies behind what chunk numbers can say */
	pws_key_segment_range(&begin, &end, 9, PWS_STORE_FILE_MAX);
	assert_false(in_range(&k, &begin, &end));
	pws_key_segment_range(&begin, &end, 9, UINT64_MAX);
	assert_false(in_range(&k, &begin, &end));
}

static void test_other_ranges(void **state)
{
	struct pws_key k, begin, end;
	uint8_t other[16];

	(void)state;
	pws_key_orphan_range(&begin, &end, 0);
	pws_key_orphan(&k, UINT64_MAX);
	assert_true(in_range(&k, &begin, &end));
	pws_key_orphan(&k, 1);
	assert_true(in_range(&k, &begin, &end));
	pws_key_orphan_range(&begin, &end, 1);
	assert_false(in_range(&k, &begin, &end));
	pws_key_orphan(&k, 2);
	assert_true(in_range(&k, &begin, &end));

	pws_key_reply_range(&begin, &end, client);
	pws_key_reply(&k, client, 0);
	assert_true(in_range(&k, &begin, &end));
	pws_key_reply(&k, client, UINT16_MAX);
	assert_true(in_range(&k, &begin, &end));
	memcpy(other, client, 16);
	other[15]--;
	pws_key_reply(&k, other, UINT16_MAX);
	assert_false(in_range(&k, &begin, &end));

	pws_key_client_range(&begin, &end);
	pws_key_client(&k, client);
	assert_true(in_range(&k, &begin, &end));
	pws_key_alloc(&k);
	assert_false(in_range(&k, &begin, &end));
	pws_key_dirent(&k, sip_key, 1, "a", 1);
	assert_false(in_range(&k, &begin, &end));
}

static void test_inode__golden_and_decode(void **state)
{
	const struct pws_inode i = {
		.version = 1,
		.mode = S_IFREG | 0644,
		.nlink = 2,
		.uid = 1000,
		.gid = 100,
		.rdev = 3,
		.size = 0x0102030405060708,
		.atime_ns = -1,
		.mtime_ns = 5,
		.ctime_ns = 6,
		.btime_ns = 7,
		.change = 8,
		.parent = 1,
		.blocks = 9,
		.generation = 10,
		.trunc_gen = 11,
		.dead_from = 12,
		.dead_gen = 13,
	};
	static const uint8_t golden[] = {
		1,    0,    0,    0,    0xa4, 0x81, 0,    0,    2,    0,    0, 0, 0xe8, 0x03, 0,
		0,    0x64, 0,    0,    0,    3,    0,    0,    0,    8,    7, 6, 5,    4,    3,
		2,    1,    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 5, 0, 0,    0,    0,
		0,    0,    0,    6,    0,    0,    0,    0,    0,    0,    0, 7, 0,    0,    0,
		0,    0,    0,    0,    8,    0,    0,    0,    0,    0,    0, 0, 1,    0,    0,
		0,    0,    0,    0,    0,    9,    0,    0,    0,    0,    0, 0, 0,    10,   0,
		0,    0,    11,   0,    0,    0,    12,   0,    0,    0,    0, 0, 0,    0,    13,
		0,    0,    0,    0,    0,    0,    0,
	};
	uint8_t buf[sizeof(i) + 8];
	struct pws_slice target;
	struct pws_inode got;
	struct pw_attr attr;

	(void)state;
	assert_int_equal(sizeof(golden), sizeof(i));
	assert_memory_equal(&i, golden, sizeof(golden));
	assert_int_equal(pws_inode_decode((struct pws_slice){ golden, sizeof(golden) }, &got,
					  &target), 0);
	assert_memory_equal(&got, &i, sizeof(i));
	assert_int_equal(target.n, 0);
	memcpy(buf, golden, sizeof(golden));
	for (uint32_t n = 0; n < sizeof(golden); n++)
		assert_int_equal(pws_inode_decode((struct pws_slice){ buf, n }, &got, NULL),
				 -EBADMSG);
	assert_int_equal(pws_inode_decode((struct pws_slice){ buf, sizeof(i) + 1 }, &got, NULL),
			 -EBADMSG);
	buf[0] = 2;
	assert_int_equal(pws_inode_decode((struct pws_slice){ buf, sizeof(i) }, &got, NULL),
			 -EBADMSG);

	/* a symlink's target follows, as long as its size says */
	got = i;
	got.mode = S_IFLNK | 0777;
	got.size = 5;
	memcpy(buf, &got, sizeof(got));
	memcpy(buf + sizeof(got), "there", 5);
	assert_int_equal(pws_inode_decode((struct pws_slice){ buf, sizeof(i) + 5 }, &got, &target),
			 0);
	assert_int_equal(target.n, 5);
	assert_memory_equal(target.p, "there", 5);
	assert_int_equal(pws_inode_decode((struct pws_slice){ buf, sizeof(i) + 4 }, &got, NULL),
			 -EBADMSG);

	pws_inode_attr(77, &i, &attr);
	assert_int_equal(attr.ino, 77);
	assert_int_equal(attr.size, i.size);
	assert_int_equal(attr.blocks, 72); /* of 512 bytes */
	assert_int_equal(attr.mtime_ns, 5);
	assert_int_equal(attr.atime_ns, -1);
	assert_int_equal(attr.mode, i.mode);
	assert_int_equal(attr.nlink, 2);
	assert_int_equal(attr.generation, 10);
	assert_int_equal(attr.change, 8);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keys__golden),
		cmocka_unit_test(test_dirent__parse),
		cmocka_unit_test(test_dirent_range__cookies_after),
		cmocka_unit_test(test_segment_range__from_an_offset),
		cmocka_unit_test(test_other_ranges),
		cmocka_unit_test(test_inode__golden_and_decode),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
