/* SPDX-License-Identifier: Apache-2.0 */
/* test_alloc.c -- free, used, limbo: when may a block be written again; reserve and growth */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/compiler.h"
#include "storage_node/store/alloc.h"

#include "fake_disk.h"
#include "vloop.h"

#define MAX_TAKE 16384u

/* An engine of which the test says what is committed and what is flushed. */
struct ctx {
	struct pws_kv kv; /* first: the ops get it */
	uint64_t last_seq, media_seq;
	struct pw_list waiters;
	uint32_t nr_waits;
	struct pw_loop *loop;
	struct pws_disk *disk;
	struct pws_alloc *a;
	struct pw_ready ready;
	uint32_t nr_ready;
	uint64_t blk[MAX_TAKE];
};

static uint64_t last_seq(const struct pws_kv *kv)
{
	return ((const struct ctx *)kv)->last_seq;
}

static uint64_t media_seq(const struct pws_kv *kv)
{
	return ((const struct ctx *)kv)->media_seq;
}

static void wait(struct pws_kv *kv, struct pws_kv_waiter *w)
{
	struct ctx *c = (struct ctx *)kv;

	assert_true(w->sync && w->seq <= c->last_seq);
	c->nr_waits++;
	pw_list_add_tail(&c->waiters, &w->node);
}

static const struct pws_kv_ops ops = {
	.name = "test", .last_seq = last_seq, .media_seq = media_seq, .wait = wait
};

static void flush(struct ctx *c, int err)
{
	struct pw_list *n;

	if (!err)
		c->media_seq = c->last_seq;
	while ((n = pw_list_pop(&c->waiters))) {
		struct pws_kv_waiter *w = pw_list_entry(n, struct pws_kv_waiter, node);

		w->err = err;
		w->done(w);
	}
	vloop_settle(c->loop);
}

static void on_ready(struct pw_ready *r)
{
	pw_container_of(r, struct ctx, ready)->nr_ready++;
}

static struct ctx *new_ctx(uint64_t size, uint64_t max, uint64_t max_bytes)
{
	struct ctx *c = calloc(1, sizeof(*c));
	struct pws_alloc_opts o = { .kv = &c->kv, .max_bytes = max_bytes };

	c->loop = vloop_new();
	c->kv = (struct pws_kv){ &ops, c->loop };
	pw_list_init(&c->waiters);
	pw_ready_init(&c->ready, on_ready);
	c->disk = fake_disk_new(c->loop, size, max);
	o.disk = c->disk;
	assert_int_equal(pws_alloc_open(c->loop, &o, &c->a), 0);
	return c;
}

static void free_ctx(struct ctx *c)
{
	vloop_settle(c->loop);
	assert_true(pws_alloc_stop(c->a, &c->ready));
	pws_alloc_close(c->a);
	pws_disk_close(c->disk);
	vloop_free(c->loop);
	free(c);
}

static uint64_t nr_free(struct ctx *c)
{
	uint64_t f, limbo, all;

	pws_alloc_counts(c->a, &f, &limbo, &all);
	return f;
}

static uint64_t nr_limbo(struct ctx *c)
{
	uint64_t f, limbo, all;

	pws_alloc_counts(c->a, &f, &limbo, &all);
	return limbo;
}

/* As the store's tests run under numbered faults too. */
static int take(struct ctx *c, uint32_t nr, bool spare)
{
	int err = pws_alloc_take(c->a, nr, spare, c->blk);

	if (err == -ENOSPC && getenv("PW_FAULT"))
		err = pws_alloc_take(c->a, nr, spare, c->blk);
	return err;
}

static void test_take__side_by_side(void **state)
{
	struct ctx *c = new_ctx(64 * PW_MIB, 64 * PW_MIB, 0);

	for (uint32_t n = 1; n < 100; n += 7) {
		assert_int_equal(take(c, n, false), 0);
		for (uint32_t i = 1; i < n; i++)
			assert_int_equal(c->blk[i], c->blk[0] + i);
	}
	free_ctx(c);
}

static void test_take__pieces(void **state)
{
	struct ctx *c = new_ctx(32 * PW_MIB, 32 * PW_MIB, 0);
	uint64_t all = 32 * PW_MIB / PWS_BLOCK;
	bool seen[32 * PW_MIB / PWS_BLOCK] = { false };

	/* every third block is free */
	for (uint64_t b = 0; b < all; b++)
		assert_int_equal(pws_alloc_claim(c->a, b, 1), 0);
	for (uint64_t b = 0; b < all; b += 3)
		pws_alloc_give(c->a, b, 1);
	assert_int_equal(take(c, 500, true), 0);
	for (uint32_t i = 0; i < 500; i++) {
		assert_int_equal(c->blk[i] % 3, 0);
		assert_false(seen[c->blk[i]]);
		seen[c->blk[i]] = true;
	}
	free_ctx(c);
}

/* Before blocks that were never written. */
static void test_take__again_what_was_written(void **state)
{
	struct ctx *c = new_ctx(64 * PW_MIB, 64 * PW_MIB, 0);

	assert_int_equal(take(c, 1000, false), 0);
	pws_alloc_give(c->a, 100, 200); /* a fifth: not worth it yet */
	assert_int_equal(take(c, 100, false), 0);
	assert_int_equal(c->blk[0], 1000);
	pws_alloc_give(c->a, 300, 200);
	assert_int_equal(take(c, 100, false), 0);
	assert_int_equal(c->blk[0], 100);
	assert_int_equal(take(c, 100, false), 0);
	assert_int_equal(c->blk[0], 200);
	/* nothing but never written ones has so much in one place */
	assert_int_equal(take(c, 300, false), 0);
	assert_int_equal(c->blk[0], 1100);
	free_ctx(c);
}

static void test_claim__refuses(void **state)
{
	struct ctx *c = new_ctx(32 * PW_MIB, 32 * PW_MIB, 0);
	uint64_t all = 32 * PW_MIB / PWS_BLOCK;

	assert_int_equal(pws_alloc_claim(c->a, 5, 10), 0);
	assert_int_equal(pws_alloc_claim(c->a, 14, 1), -EBADMSG);
	assert_int_equal(pws_alloc_claim(c->a, all, 1), -EBADMSG);
	assert_int_equal(pws_alloc_claim(c->a, all - 1, 2), -EBADMSG);
	assert_int_equal(pws_alloc_claim(c->a, UINT64_MAX, 2), -EBADMSG);
	assert_int_equal(pws_alloc_claim(c->a, all - 1, 1), 0);
	free_ctx(c);
}

static void test_take__keeps_the_reserve(void **state)
{
	/* 16 MiB are the least reserve */
	struct ctx *c = new_ctx(20 * PW_MIB, 20 * PW_MIB, 0);
	uint64_t total, bytes;

	pws_alloc_space(c->a, &total, &bytes);
	assert_int_equal(total, 20 * PW_MIB);
	assert_int_equal(bytes, 4 * PW_MIB);
	assert_int_equal(take(c, 1025, false), -ENOSPC);
	assert_int_equal(take(c, 1024, false), 0);
	assert_int_equal(take(c, 1, false), -ENOSPC);
	assert_int_equal(take(c, 1, true), 0); /* a cut frees as much */
	assert_int_equal(c->nr_waits, 0);
	free_ctx(c);
}

static void test_retire__waits_for_the_flush(void **state)
{
	struct ctx *c = new_ctx(64 * PW_MIB, 64 * PW_MIB, 0);
	uint64_t before = nr_free(c);

	assert_int_equal(take(c, 8, false), 0);
	c->last_seq = 7;
	c->media_seq = 6;
	pws_alloc_retire(c->a, c->blk[0], 8);
	assert_int_equal(nr_free(c), before - 8);
	assert_int_equal(nr_limbo(c), 8);
	/* a later one goes to the other set */
	assert_int_equal(take(c, 1, false), 0);
	c->last_seq = 9;
	pws_alloc_retire(c->a, c->blk[0], 1);
	c->media_seq = 7;
	assert_int_equal(take(c, 1, false), 0);
	assert_int_equal(nr_limbo(c), 1);
	c->media_seq = 9;
	pws_alloc_give(c->a, c->blk[0], 1);
	assert_int_equal(take(c, 1, false), 0);
	assert_int_equal(nr_limbo(c), 0);
	assert_int_equal(nr_free(c), before - 1);
	free_ctx(c);
}

static void test_give__free_at_once(void **state)
{
	struct ctx *c = new_ctx(64 * PW_MIB, 64 * PW_MIB, 0);
	uint64_t before = nr_free(c);

	c->last_seq = 5;
	assert_int_equal(take(c, 8, false), 0);
	pws_alloc_give(c->a, c->blk[0], 8);
	assert_int_equal(nr_free(c), before);
	free_ctx(c);
}

static void test_pin__holds_what_it_may_know(void **state)
{
	struct ctx *c = new_ctx(64 * PW_MIB, 64 * PW_MIB, 0);
	struct pws_alloc_pin early, late;
	uint64_t before = nr_free(c);

	pw_list_init(&early.node);
	pw_list_init(&late.node);
	assert_int_equal(take(c, 2, false), 0);
	pws_alloc_pin(c->a, &early);
	c->last_seq = c->media_seq = 1;
	pws_alloc_retire(c->a, c->blk[0], 1);
	assert_int_equal(nr_limbo(c), 1);
	pws_alloc_pin(c->a, &late); /* cannot know the first, but the second */
	c->last_seq = c->media_seq = 2;
	pws_alloc_retire(c->a, c->blk[1], 1);
	pws_alloc_unpin(c->a, &early);
	assert_int_equal(nr_limbo(c), 1);
	pws_alloc_unpin(c->a, &late);
	pws_alloc_unpin(c->a, &late); /* nothing */
	assert_int_equal(nr_limbo(c), 0);
	assert_int_equal(nr_free(c), before);
	free_ctx(c);
}

static void fill(struct ctx *c, uint32_t nr)
{
	for (uint32_t n; nr; nr -= n) {
		n = PW_MIN(nr, MAX_TAKE);
		assert_int_equal(take(c, n, false), 0);
	}
}

static void test_take__asks_for_a_flush(void **state)
{
	struct ctx *c = new_ctx(17 * PW_MIB, 17 * PW_MIB, 0);
	struct pws_alloc_wait w;

	fill(c, 256);
	c->last_seq = 3;
	pws_alloc_retire(c->a, c->blk[0], 100);
	assert_int_equal(take(c, 101, false), -ENOSPC); /* no use to wait */
	assert_int_equal(c->nr_waits, 0);
	assert_int_equal(take(c, 100, false), -EAGAIN);
	assert_int_equal(c->nr_waits, 1);
	pws_alloc_wait(c->a, &w, &c->ready);
	assert_int_equal(take(c, 100, false), -EAGAIN); /* one flush for all */
	assert_int_equal(c->nr_waits, 1);
	flush(c, 0);
	assert_int_equal(c->nr_ready, 1);
	assert_int_equal(take(c, 100, false), 0);
	assert_int_equal(pws_alloc_stalls(c->a), 1);
	free_ctx(c);
}

static void test_take__engine_cannot_flush(void **state)
{
	struct ctx *c = new_ctx(17 * PW_MIB, 17 * PW_MIB, 0);
	struct pws_alloc_wait w;

	fill(c, 256);
	c->last_seq = 3;
	pws_alloc_retire(c->a, c->blk[0], 100);
	assert_int_equal(take(c, 10, false), -EAGAIN);
	pws_alloc_wait(c->a, &w, &c->ready);
	flush(c, -EIO);
	assert_int_equal(c->nr_ready, 1);
	assert_int_equal(take(c, 10, false), -EIO);
	/* perhaps it can again */
	assert_int_equal(take(c, 10, false), -EAGAIN);
	flush(c, 0);
	assert_int_equal(take(c, 10, false), 0);
	free_ctx(c);
}

static void test_take__waits_for_readers(void **state)
{
	struct ctx *c = new_ctx(17 * PW_MIB, 17 * PW_MIB, 0);
	struct pws_alloc_wait w;
	struct pws_alloc_pin pin;

	fill(c, 256);
	pw_list_init(&pin.node);
	pws_alloc_pin(c->a, &pin);
	c->last_seq = c->media_seq = 3;
	pws_alloc_retire(c->a, c->blk[0], 100);
	assert_int_equal(take(c, 10, false), -EAGAIN);
	assert_int_equal(c->nr_waits, 0); /* it is flushed already */
	pws_alloc_wait(c->a, &w, &c->ready);
	pws_alloc_unpin(c->a, &pin);
	vloop_settle(c->loop);
	assert_int_equal(c->nr_ready, 1);
	assert_int_equal(take(c, 10, false), 0);
	free_ctx(c);
}

static void test_cancel__is_not_woken(void **state)
{
	struct ctx *c = new_ctx(17 * PW_MIB, 17 * PW_MIB, 0);
	struct pws_alloc_wait w;

	fill(c, 256);
	pws_alloc_wait(c->a, &w, &c->ready);
	pws_alloc_cancel(&w);
	pws_alloc_give(c->a, c->blk[0], 1);
	vloop_settle(c->loop);
	assert_int_equal(c->nr_ready, 0);
	free_ctx(c);
}

static void test_grow__ahead_of_need(void **state)
{
	struct ctx *c = new_ctx(64 * PW_MIB, 1024 * PW_MIB, 0);
	uint64_t f, limbo, all, total, bytes;

	assert_int_equal(take(c, 1, false), 0);
	vloop_settle(c->loop);
	if (getenv("PW_FAULT")) {
		vloop_advance(c->loop, 2 * PW_NS_PER_S);
		take(c, 1, false);
		vloop_settle(c->loop);
	}
	pws_alloc_counts(c->a, &f, &limbo, &all);
	/* the step behind a failed one is half as large */
	assert_true(all >= (64 + (getenv("PW_FAULT") ? 128 : 256)) * PW_MIB / PWS_BLOCK);
	/* the reserve stays outside of the file */
	pws_alloc_space(c->a, &total, &bytes);
	assert_true(total <= (1024 - 51) * PW_MIB && total > (1024 - 54) * PW_MIB);
	free_ctx(c);
}

static void test_grow__waits(void **state)
{
	struct ctx *c = new_ctx(PW_MIB, 512 * PW_MIB, 0);
	struct pws_alloc_wait w;

	assert_int_equal(take(c, 1000, false), -EAGAIN);
	pws_alloc_wait(c->a, &w, &c->ready);
	vloop_settle(c->loop);
	assert_int_equal(c->nr_ready, 1);
	if (!getenv("PW_FAULT"))
		assert_int_equal(take(c, 1000, false), 0);
	free_ctx(c);
}

static void test_grow__no_more_than_allowed(void **state)
{
	struct ctx *c = new_ctx(8 * PW_MIB, 512 * PW_MIB, 40 * PW_MIB);
	uint64_t f, limbo, all;

	for (uint32_t i = 0; i < 20; i++) {
		take(c, 500, false);
		vloop_advance(c->loop, 2 * PW_NS_PER_S);
	}
	pws_alloc_counts(c->a, &f, &limbo, &all);
	assert_int_equal(all, 40 * PW_MIB / PWS_BLOCK);
	assert_int_equal(take(c, 500, false), -ENOSPC);
	free_ctx(c);
}

static void test_grow__others_filled_the_filesystem(void **state)
{
	struct ctx *c = new_ctx(64 * PW_MIB, 1024 * PW_MIB, 0);
	struct pws_alloc_wait w;

	fake_disk_set_max(c->disk, 64 * PW_MIB);
	/* it learns of that when the growth fails */
	assert_int_equal(take(c, 16000, false), 0);
	vloop_settle(c->loop);
	assert_int_equal(take(c, 1000, false), -ENOSPC);
	/* room again, but not asked for every time */
	fake_disk_set_max(c->disk, 1024 * PW_MIB);
	vloop_advance(c->loop, 2 * PW_NS_PER_S);
	assert_int_equal(take(c, 1000, false), -EAGAIN);
	pws_alloc_wait(c->a, &w, &c->ready);
	vloop_settle(c->loop);
	assert_int_equal(c->nr_ready, 1);
	if (!getenv("PW_FAULT"))
		assert_int_equal(take(c, 1000, false), 0);
	free_ctx(c);
}

/* The first step is too much for what others have left, a smaller one is not. */
static void test_grow__smaller_steps_at_once(void **state)
{
	struct ctx *c = new_ctx(64 * PW_MIB, 1024 * PW_MIB, 0);
	struct pws_alloc_wait w;
	uint32_t tries = 0;
	int err;

	/* the disk says that it has room, and fails all the same until a step is small enough */
	fake_disk_grow_at_most(c->disk, 20 * PW_MIB);
	assert_int_equal(take(c, 16000, false), 0);
	while ((err = take(c, 2000, false)) == -EAGAIN && ++tries < 20) {
		pws_alloc_wait(c->a, &w, &c->ready);
		vloop_settle(c->loop);
	}
	if (!getenv("PW_FAULT")) {
		assert_int_equal(err, 0);
		assert_int_equal(pws_disk_size(c->disk), (64 + 16) * PW_MIB);
	}
	free_ctx(c);
}

static void test_grow__room_that_was_made_after_the_start(void **state)
{
	struct ctx *c = new_ctx(64 * PW_MIB, 1024 * PW_MIB, 0);
	struct pws_alloc_opts o = { .kv = &c->kv, .disk = c->disk };
	struct pws_alloc_wait w;
	uint64_t total, bytes;

	pws_alloc_close(c->a);
	fake_disk_set_max(c->disk, 64 * PW_MIB);
	assert_int_equal(pws_alloc_open(c->loop, &o, &c->a), 0);
	pws_alloc_space(c->a, &total, &bytes);
	assert_int_equal(bytes, 48 * PW_MIB);
	assert_int_equal(take(c, 12288, false), 0);
	pws_alloc_space(c->a, &total, &bytes);
	assert_int_equal(bytes, 0);
	assert_int_equal(take(c, 1, false), -ENOSPC);
	/* who asks before he writes is told of it without a write */
	fake_disk_set_max(c->disk, 1024 * PW_MIB);
	pws_alloc_space(c->a, &total, &bytes);
	assert_true(bytes > 900 * PW_MIB);
	assert_int_equal(take(c, 10000, false), -EAGAIN);
	pws_alloc_wait(c->a, &w, &c->ready);
	vloop_settle(c->loop);
	if (!getenv("PW_FAULT"))
		assert_int_equal(take(c, 10000, false), 0);
	free_ctx(c);
}

static void test_stop__waits_for_what_runs(void **state)
{
	struct ctx *c = new_ctx(17 * PW_MIB, 17 * PW_MIB, 0);

	fill(c, 256);
	c->last_seq = 3;
	pws_alloc_retire(c->a, c->blk[0], 100);
	assert_int_equal(take(c, 10, false), -EAGAIN);
	assert_false(pws_alloc_stop(c->a, &c->ready));
	flush(c, 0);
	assert_int_equal(c->nr_ready, 1);
	free_ctx(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_take__side_by_side),
		cmocka_unit_test(test_take__pieces),
		cmocka_unit_test(test_take__again_what_was_written),
		cmocka_unit_test(test_claim__refuses),
		cmocka_unit_test(test_take__keeps_the_reserve),
		cmocka_unit_test(test_retire__waits_for_the_flush),
		cmocka_unit_test(test_give__free_at_once),
		cmocka_unit_test(test_pin__holds_what_it_may_know),
		cmocka_unit_test(test_take__asks_for_a_flush),
		cmocka_unit_test(test_take__engine_cannot_flush),
		cmocka_unit_test(test_take__waits_for_readers),
		cmocka_unit_test(test_cancel__is_not_woken),
		cmocka_unit_test(test_grow__ahead_of_need),
		cmocka_unit_test(test_grow__waits),
		cmocka_unit_test(test_grow__no_more_than_allowed),
		cmocka_unit_test(test_grow__others_filled_the_filesystem),
		cmocka_unit_test(test_grow__smaller_steps_at_once),
		cmocka_unit_test(test_grow__room_that_was_made_after_the_start),
		cmocka_unit_test(test_stop__waits_for_what_runs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
