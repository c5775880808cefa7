/* SPDX-License-Identifier: Apache-2.0 */
/* test_index_check.c -- no damage of the index's file passes that takes a row away
 *
 * An index is made as the engine makes it, over many transactions. Then its file is damaged, in
 * hundreds of ways: either that is told, or LMDB still finds every row, and no others.
 */
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

#include "common/log.h"
#include "common/uring.h"
#include "storage_node/meta_kv/index_check.h"
#include "storage_node/meta_kv/kv_index.h"

#define NR_KEYS	 1500u
#define PAGE	 4096u
#define VAL_MAX	 6000u /* some take pages of their own */
#define NR_TXNS	 7u

static struct {
	struct pw_loop *loop;
	char dir[64], index[80], data[96], lock[96];
	uint8_t *good; /* the file */
	size_t size;
	uint32_t rnd;
} w;

static uint32_t below(uint32_t n)
{
	w.rnd = w.rnd * 1664525u + 1013904223u;
	return (uint32_t)((uint64_t)w.rnd * n >> 32);
}

static struct pws_slice key_of(uint32_t i, char buf[PWS_KV_KEY_MAX])
{
	/* lengths differ; so does what the first bytes share */
	int n = snprintf(buf, PWS_KV_KEY_MAX, "%c%05u%.*s", 'A' + (int)(i % 5), i * 37 % 100000,
			 (int)(i % 90), "........................................................"
					"..................................");

	return (struct pws_slice){ buf, (uint32_t)n };
}

/* What key @i has after transaction @txn: 0 nothing, else the length of its value and one. */
static uint32_t len_of(uint32_t i, uint32_t txn)
{
	uint32_t h = (i * 2654435761u) ^ (txn * 40503u);

	h ^= h >> 13;
	if (h % 3 == 0)
		return 0;
	return 1 + (i % 40 == 7 ? VAL_MAX - h % 2000 : h % 200);
}

/* Transaction @txn changes a third of the keys. */
static bool is_of(uint32_t i, uint32_t txn)
{
	return (i + txn) % 3 == 0;
}

static int open_it(struct pws_kv_index **x)
{
	bool is_new;

	return pws_kv_index_open(w.loop, w.index, PW_GIB, x, &is_new);
}

static void apply_txn(struct pws_kv_index *x, uint32_t txn)
{
	static uint8_t val[VAL_MAX];
	struct pws_kv_index_apply a = { .state.mark = { .salt = 1, .epoch = 1, .seq = txn } };
	struct pws_kv_map *m;
	char buf[PWS_KV_KEY_MAX];

	assert_int_equal(pws_kv_map_new(&m), 0);
	for (uint32_t i = 0; i < NR_KEYS; i++) {
		uint32_t len = len_of(i, txn);
		struct pws_slice v = { len ? val : NULL, len ? len - 1 : 0 };

		if (!is_of(i, txn))
			continue;
		memset(val, (int)(i + txn), sizeof(val));
		assert_int_equal(pws_kv_map_reserve(m, 1, VAL_MAX + PWS_KV_KEY_MAX), 0);
		pws_kv_map_put(m, key_of(i, buf), v, txn);
	}
	a.map = m;
	assert_int_equal(pws_kv_index_apply_now(x, &a), 0);
	pws_kv_map_free(m);
}

static uint8_t *read_file(size_t *ret_size)
{
	int fd = open(w.data, O_RDONLY | O_CLOEXEC);
	struct stat st;
	uint8_t *mem;

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	mem = malloc((size_t)st.st_size);
	assert_int_equal(pread(fd, mem, (size_t)st.st_size, 0), st.st_size);
	close(fd);
	*ret_size = (size_t)st.st_size;
	return mem;
}

static void write_file(const uint8_t *mem, size_t size)
{
	int fd = open(w.data, O_WRONLY | O_TRUNC | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, mem, size, 0), (ssize_t)size);
	close(fd);
}

static void expect_row(struct pws_kv_index *x, uint32_t i, uint32_t txn)
{
	uint32_t len = txn ? len_of(i, txn) : 0;
	static uint8_t val[VAL_MAX];
	char buf[PWS_KV_KEY_MAX];
	struct pws_kv_rec rec;

	assert_int_equal(pws_kv_index_get(x, key_of(i, buf), &rec), len ? 0 : -ENOENT);
	if (!len)
		return;
	memset(val, (int)(i + txn), sizeof(val));
	assert_int_equal(rec.val.n, len - 1);
	assert_memory_equal(rec.val.p, val, len - 1);
}

/* All rows, by their keys and in a walk, as after transaction @nr_txns. */
static void expect_all(struct pws_kv_index *x, uint32_t nr_txns)
{
	uint8_t after[PWS_KV_KEY_MAX + 1] = "A";
	struct pws_slice begin = { after, 1 };
	uint32_t live = 0, seen = 0;
	struct pws_kv_rec rec;
	int err;

	for (uint32_t i = 0; i < NR_KEYS; i++) {
		uint32_t txn = nr_txns;

		while (txn && !is_of(i, txn))
			txn--;
		live += txn && len_of(i, txn);
		expect_row(x, i, txn);
	}
	while (!(err = pws_kv_index_next(x, begin, (struct pws_slice){ "z", 1 }, &rec))) {
		memcpy(after, rec.key.p, rec.key.n);
		after[rec.key.n] = 0;
		begin.n = rec.key.n + 1;
		seen++;
	}
	assert_int_equal(err, -ENOENT);
	assert_int_equal(seen, live);
}

static int set_up(void **state)
{
	const char *tmp = getenv("TMPDIR");
	struct pw_loop_opts o = { .sq_entries = 64, .max_ios = 256 };
	struct pws_kv_index *x;

	(void)state;
	w.rnd = 1;
	snprintf(w.dir, sizeof(w.dir), "%.40s/pw-check-XXXXXX", tmp ? tmp : "/var/tmp");
	assert_non_null(mkdtemp(w.dir));
	snprintf(w.index, sizeof(w.index), "%s/index", w.dir);
	snprintf(w.data, sizeof(w.data), "%s/data.mdb", w.index);
	snprintf(w.lock, sizeof(w.lock), "%s/lock.mdb", w.index);
	assert_int_equal(pw_loop_new(&w.loop, &o), 0);
	assert_int_equal(open_it(&x), 0);
	for (uint32_t txn = 1; txn <= NR_TXNS; txn++)
		apply_txn(x, txn);
	expect_all(x, NR_TXNS);
	pws_kv_index_close(x);
	w.good = read_file(&w.size);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	free(w.good);
	pw_loop_free(w.loop);
	unlink(w.data);
	unlink(w.lock);
	rmdir(w.index);
	rmdir(w.dir);
	return 0;
}

static bool any_row(struct pws_slice key, struct pws_slice val)
{
	(void)key;
	(void)val;
	return true;
}

/* Told; or nothing is missing, nor is it after another transaction. */
static bool is_told(const uint8_t *mem, size_t size)
{
	struct pws_kv_index_state s;
	struct pws_kv_index *x;
	int err;

	write_file(mem, size);
	err = open_it(&x);
	if (err) {
		assert_int_equal(err, -EBADMSG);
		return true;
	}
	pws_kv_index_get_state(x, &s);
	if (s.mark.seq == NR_TXNS - 1) {
		/* a meta page that looks like an older one: for the journal to notice */
		expect_all(x, NR_TXNS - 1);
		pws_kv_index_close(x);
		return true;
	}
	expect_all(x, NR_TXNS);
	if (below(3)) {
		pws_kv_index_close(x);
		return false;
	}
	apply_txn(x, NR_TXNS + 1);
	expect_all(x, NR_TXNS + 1);
	pws_kv_index_close(x);
	assert_int_equal(open_it(&x), 0);
	expect_all(x, NR_TXNS + 1);
	pws_kv_index_close(x);
	return false;
}

static void test_good__passes(void **state)
{
	char why[128];

	(void)state;
	assert_int_equal(pws_index_check(w.data, any_row, why, sizeof(why)), 0);
	assert_false(is_told(w.good, w.size));
	assert_int_equal(pws_index_check("/nowhere", any_row, why, sizeof(why)), -ENOENT);
	write_file(w.good, 0);
	assert_int_equal(pws_index_check(w.data, any_row, why, sizeof(why)), -ENOENT);
}

static void test_flipped_bits__are_told_or_harmless(void **state)
{
	uint8_t *mem = malloc(w.size);
	uint32_t told = 0, nr = 400;

	(void)state;
	for (uint32_t n = 0; n < nr; n++) {
		uint32_t page = below((uint32_t)(w.size / PAGE)), at;

		/* half of them in heads of pages, where the most depends on each bit */
		if (n < nr / 2)
			at = below(n % 4 ? 64 : 160);
		else
			at = below(PAGE);
		if (n % 8 == 0)
			page = n / 8 % 2;
		memcpy(mem, w.good, w.size);
		mem[(size_t)page * PAGE + at] ^= (uint8_t)(1u << below(8));
		told += is_told(mem, w.size);
	}
	assert_in_range(told, nr / 4, nr - 1); /* others lay in free pages and free space */
	free(mem);
}

static void test_pages__lost_and_misplaced_ones_are_told_or_harmless(void **state)
{
	uint32_t nr_pages = (uint32_t)(w.size / PAGE), told = 0;
	uint8_t *mem = malloc(w.size);

	(void)state;
	for (uint32_t n = 0; n < 120; n++) {
		uint8_t *page = mem + (size_t)below(nr_pages) * PAGE;
		const uint8_t *other = w.good + (size_t)below(nr_pages) * PAGE;

		memcpy(mem, w.good, w.size);
		switch (n % 4) {
		case 0:
			memset(page, 0, PAGE);
			break;
		case 1:
			for (uint32_t i = 0; i < PAGE; i++)
				page[i] = (uint8_t)below(256);
			break;
		case 2:
			memcpy(page, other, PAGE);
			break;
		default: /* as if it belonged there */
			memcpy(page + 8, other + 8, PAGE - 8);
			break;
		}
		told += is_told(mem, w.size);
	}
	assert_in_range(told, 40, 119);
	free(mem);
}

static void test_start_and_end__are_told(void **state)
{
	uint8_t *mem = malloc(w.size);
	uint32_t newest;
	uint64_t txnid[2];

	(void)state;
	for (uint32_t i = 0; i < 2; i++)
		memcpy(&txnid[i], w.good + i * PAGE + 144, sizeof(txnid[i]));
	newest = txnid[1] > txnid[0];
	assert_int_equal(txnid[newest], txnid[!newest] + 1);
	/* garbage at the start; the newest meta page is not the newest any more */
	memcpy(mem, w.good, w.size);
	memset(mem, 'x', 100);
	assert_true(is_told(mem, w.size));
	memcpy(mem, w.good, w.size);
	txnid[newest] -= 4;
	memcpy(mem + newest * PAGE + 144, &txnid[newest], sizeof(txnid[newest]));
	assert_true(is_told(mem, w.size));
	/* cut off; a file of something else */
	assert_true(is_told(w.good, PAGE));
	assert_true(is_told(w.good, 100));
	assert_true(is_told(w.good, w.size / 2));
	memset(mem, 0, w.size);
	assert_true(is_told(mem, w.size));
	free(mem);
}

static void test_other_version__is_not_called_damage(void **state)
{
	uint8_t *mem = malloc(w.size);
	struct pws_kv_index *x;

	(void)state;
	memcpy(mem, w.good, w.size);
	mem[20] = 2;
	assert_true(is_told(mem, w.size)); /* one page of two */
	mem[PAGE + 20] = 2;
	write_file(mem, w.size);
	assert_int_equal(open_it(&x), -EINVAL);
	free(mem);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
		T(test_good__passes),
		T(test_flipped_bits__are_told_or_harmless),
		T(test_pages__lost_and_misplaced_ones_are_told_or_harmless),
		T(test_start_and_end__are_told),
		T(test_other_version__is_not_called_damage),
	};

	pw_log_init("test");
	pw_log_set_level((enum pw_log_level)(PW_LOG_ERR - 1)); /* every damage has its line */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
