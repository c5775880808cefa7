/* SPDX-License-Identifier: Apache-2.0 */
/* test_kv_map.c -- the ordered map against a plain sorted array */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/random.h"
#include "storage_node/meta_kv/kv_map.h"

#include "vloop.h"

#define NR_KEYS	      600u
#define MODEL_VAL_MAX 3000u

struct model_rec {
	bool there, live;
	uint32_t len;
	uint64_t seq;
	uint8_t val[MODEL_VAL_MAX];
};

static struct pws_slice key_of(uint32_t i, char *buf)
{
	/* lengths differ; numeric order is key order */
	int n = snprintf(buf, 32, "%04u%.*s", i, (int)(i % 7), "abcdefg");

	return (struct pws_slice){ buf, (uint32_t)n };
}

static void put(struct pws_kv_map *m, struct pws_slice key, struct pws_slice val, uint64_t seq)
{
	assert_int_equal(pws_kv_map_reserve(m, 1, key.n + val.n), 0);
	pws_kv_map_put(m, key, val, seq);
}

static void check_rec(const struct pws_kv_ent *e, const struct model_rec *r, struct pws_slice key)
{
	assert_non_null(e);
	assert_int_equal(pws_slice_cmp(pws_kv_ent_key(e), key), 0);
	assert_int_equal(e->seq, r->seq);
	assert_int_equal(!!e->val, r->live);
	assert_int_equal(e->val_len, r->live ? r->len : 0);
	if (r->live)
		assert_memory_equal(e->val, r->val, r->len);
}

static void check_all(const struct pws_kv_map *m, const struct model_rec *model)
{
	const struct pws_kv_ent *e = pws_kv_map_seek(m, (struct pws_slice){ "", 0 });
	uint64_t nr = 0, bytes = 0;
	char buf[32];

	for (uint32_t i = 0; i < NR_KEYS; i++) {
		struct pws_slice key = key_of(i, buf);

		if (!model[i].there) {
			assert_null(pws_kv_map_get(m, key));
			continue;
		}
		check_rec(e, &model[i], key);
		check_rec(pws_kv_map_get(m, key), &model[i], key);
		check_rec(pws_kv_map_seek(m, key), &model[i], key);
		nr++;
		bytes += key.n + (model[i].live ? model[i].len : 0);
		e = pws_kv_map_after(e);
	}
	assert_null(e);
	assert_int_equal(pws_kv_map_nr(m), nr);
	assert_int_equal(pws_kv_map_live_bytes(m), bytes);
	assert_true(pws_kv_map_mem_bytes(m) >= bytes);
}

static uint32_t random_len(void)
{
	switch (pw_random_below(4)) {
	case 0:
		return (uint32_t)pw_random_below(4);
	case 1:
		return (uint32_t)pw_random_below(MODEL_VAL_MAX);
	default:
		return 16 + (uint32_t)pw_random_below(200);
	}
}

static void random_op(struct pws_kv_map *m, struct model_rec *model, uint64_t seq)
{
	uint32_t i = (uint32_t)pw_random_below(NR_KEYS);
	struct model_rec *r = &model[i];
	char buf[32];
	struct pws_slice key = key_of(i, buf);

	switch (pw_random_below(8)) {
	case 0:
		pws_kv_map_erase(m, key);
		r->there = false;
		return;
	case 1:
		put(m, key, (struct pws_slice){ NULL, 0 }, seq);
		r->live = false;
		break;
	default:
		r->len = random_len();
		pw_random_bytes(r->val, r->len);
		put(m, key, (struct pws_slice){ r->val, r->len }, seq);
		r->live = true;
		break;
	}
	r->there = true;
	r->seq = seq;
}

static void test_map__random_ops_match_model(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 8; seed++) {
		struct model_rec *model = calloc(NR_KEYS, sizeof(*model));
		struct pws_kv_map *m;

		vrandom_seed(seed);
		assert_int_equal(pws_kv_map_new(&m), 0);
		for (uint64_t seq = 1; seq <= 6000; seq++) {
			random_op(m, model, seq);
			if (seq % 500 == 0)
				check_all(m, model);
		}
		pws_kv_map_free(m);
		free(model);
	}
}

static void test_map__seek_finds_the_next_key(void **state)
{
	struct pws_slice a = { "b", 1 }, before = { "a\xff\xff", 3 }, after = { "b\0", 2 };
	struct pws_kv_map *m;

	(void)state;
	assert_int_equal(pws_kv_map_new(&m), 0);
	assert_null(pws_kv_map_seek(m, a));
	put(m, a, (struct pws_slice){ "v", 1 }, 1);
	assert_non_null(pws_kv_map_seek(m, before));
	assert_non_null(pws_kv_map_seek(m, a));
	assert_null(pws_kv_map_seek(m, after));
	pws_kv_map_free(m);
}

static void test_map_put__same_key_again_takes_no_more_memory(void **state)
{
	uint8_t val[256] = { 0 };
	struct pws_kv_map *m;
	uint64_t mem;

	(void)state;
	vrandom_seed(1);
	assert_int_equal(pws_kv_map_new(&m), 0);
	for (uint32_t i = 0; i < 2000; i++) {
		uint32_t n = 1 + (uint32_t)pw_random_below(sizeof(val));

		put(m, (struct pws_slice){ "k", 1 }, (struct pws_slice){ val, n }, i);
	}
	mem = pws_kv_map_mem_bytes(m);
	for (uint32_t i = 0; i < 100000; i++) {
		uint32_t n = 1 + (uint32_t)pw_random_below(sizeof(val));

		put(m, (struct pws_slice){ "k", 1 }, (struct pws_slice){ val, n }, i);
		if (i % 10 == 0)
			pws_kv_map_erase(m, (struct pws_slice){ "k", 1 });
	}
	assert_int_equal(pws_kv_map_mem_bytes(m), mem);
	pws_kv_map_free(m);
}

static void test_map_reserve__largest_commit_fits(void **state)
{
	uint8_t *val = calloc(1, PWS_KV_VAL_MAX);
	struct pws_kv_map *m;

	(void)state;
	assert_int_equal(pws_kv_map_new(&m), 0);
	/* 15 values of 64 KiB, then 4096 small ones, each commit with one reserve */
	for (uint32_t round = 0; round < 3; round++) {
		uint32_t n = round % 2 ? 200 : PWS_KV_VAL_MAX, nr = round % 2 ? 4096 : 15;

		assert_int_equal(pws_kv_map_reserve(m, nr, (uint64_t)nr * (n + 4)), 0);
		for (uint32_t i = 0; i < nr; i++)
			pws_kv_map_put(m, (struct pws_slice){ &i, sizeof(i) },
				       (struct pws_slice){ val, n }, round);
	}
	assert_int_equal(pws_kv_map_nr(m), 4096);
	pws_kv_map_free(m);
	free(val);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_map__random_ops_match_model),
		cmocka_unit_test(test_map__seek_finds_the_next_key),
		cmocka_unit_test(test_map_put__same_key_again_takes_no_more_memory),
		cmocka_unit_test(test_map_reserve__largest_commit_fits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
