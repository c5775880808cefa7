/* SPDX-License-Identifier: Apache-2.0 */
/* test_journal.c -- bytes of a batch; the ring: order, flushes, wrap-around, torn ends, damage */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/crc32c.h"
#include "common/random.h"
#include "storage_node/meta_kv/journal.h"

#include "vdisk.h"
#include "vloop.h"

#define RING_OFF 8192u
#define RING_BYTES (1280ull << 10)

struct world {
	struct pw_loop *loop;
	struct pws_disk *disk;
	struct pws_journal *j;
	struct pws_journal_opts o;
	struct pws_journal_mark start;
	uint32_t progress;
	uint64_t replayed; /* commits that the replay saw, checked one by one */
	uint64_t first; /* seq of the first one that it must see */
};

static void on_progress(void *arg)
{
	((struct world *)arg)->progress++;
}

static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	vrandom_seed(7);
	w->loop = vloop_new();
	w->disk = vdisk_new(w->loop, RING_OFF + RING_BYTES);
	w->o = (struct pws_journal_opts){ w->disk, RING_OFF, RING_BYTES, on_progress, w };
	w->start = (struct pws_journal_mark){ .salt = 0x1122334455667788, .epoch = 1 };
	w->first = 1;
	assert_int_equal(pws_journal_new(&w->o, &w->start, &w->j), 0);
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	vdisk_break(w->disk);
	vloop_settle(w->loop);
	pws_journal_free(w->j);
	pws_disk_close(w->disk);
	vloop_free(w->loop);
	free(w);
	return 0;
}

/* Commit @seq has a size and contents that follow from its number. */
static void make_muts(uint64_t seq, struct pws_kv_mut muts[2], char *key, uint8_t *val)
{
	uint32_t n = (uint32_t)(seq * 7919 % 9000);

	snprintf(key, 16, "key%08llu", (unsigned long long)seq);
	memset(val, (int)(seq & 0xff), n);
	muts[0] = (struct pws_kv_mut){ { key, 11 }, { val, n } };
	muts[1] = (struct pws_kv_mut){ { key, 10 }, { NULL, 0 } };
}

static void append(struct world *w, uint64_t seq)
{
	struct pws_kv_mut muts[2];
	static uint8_t val[9000];
	char key[16];

	make_muts(seq, muts, key, val);
	assert_int_equal(pws_journal_reserve(w->j, pws_batch_commit_bytes(muts, 2)), 0);
	pws_journal_append(w->j, seq, muts, 2);
}

static int check_commit(void *arg, uint64_t seq, const struct pws_kv_mut *muts, uint32_t nr)
{
	struct world *w = arg;
	struct pws_kv_mut want[2];
	static uint8_t val[9000];
	char key[16];

	assert_int_equal(seq, w->first + w->replayed);
	make_muts(seq, want, key, val);
	assert_int_equal(nr, 2);
	for (uint32_t i = 0; i < 2; i++) {
		assert_int_equal(muts[i].key.n, want[i].key.n);
		assert_memory_equal(muts[i].key.p, want[i].key.p, want[i].key.n);
		assert_int_equal(!!muts[i].val.p, !!want[i].val.p);
		assert_int_equal(muts[i].val.n, want[i].val.n);
		if (want[i].val.n)
			assert_memory_equal(muts[i].val.p, want[i].val.p, want[i].val.n);
	}
	w->replayed++;
	return 0;
}

static int replay_from(struct world *w, struct pws_disk *disk, const struct pws_journal_mark *from,
		       struct pws_journal_end *end)
{
	struct pws_journal_opts o = w->o;

	o.disk = disk;
	w->replayed = 0;
	w->first = from->seq + 1;
	return pws_journal_replay(&o, from, UINT64_MAX, check_commit, w, end);
}

static int replay(struct world *w, struct pws_journal_end *end)
{
	return replay_from(w, w->disk, &w->start, end);
}

/* Golden ------------------------------------------------------------------------------------- */

static const uint8_t golden[] = {
	/* magic, crc (checked with an independent CRC-32C), len, nr_commits */
	0x50, 0x57, 0x4a, 0x31, 0xd4, 0x41, 0x52, 0x6a, 0x81, 0x00, 0x00, 0x00, 0x02, 0x00,
	0x00, 0x00,
	/* version, reserved, prev_crc */
	0x01, 0x00, 0x00, 0x00, 0x44, 0x33, 0x22, 0x11,
	/* salt, epoch, pos, first_seq, last_seq, flushed_seq, reserved */
	0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01,
	0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x00, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x0a, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x0b, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x09, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	/* commit of 32 bytes, 2 mutations: put I1 -> xyz, delete D22 */
	0x20, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00,
	0x02, 0x00, 0x00, 0x00, 0x03, 0x00, 0x00, 0x00, 0x49, 0x31, 0x78, 0x79, 0x7a,
	0x03, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x44, 0x32, 0x32,
	/* commit of 17 bytes, 1 mutation: put O -> nothing */
	0x11, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00,
	0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x4f,
};

static void test_batch_encode__golden(void **state)
{
	const struct pws_kv_mut muts[] = {
		{ { "I1", 2 }, { "xyz", 3 } },
		{ { "D22", 3 }, { NULL, 0 } },
	};
	const struct pws_kv_mut empty = { { "O", 1 }, { "", 0 } };
	struct pws_batch_head h = {
		.prev_crc = 0x11223344,
		.nr_commits = 2,
		.salt = 0x0102030405060708,
		.epoch = 3,
		.pos = 4096,
		.first_seq = 10,
		.last_seq = 11,
		.flushed_seq = 9,
	}, got;
	struct pws_kv_mut back[PWS_KV_MUTS_MAX];
	uint32_t pos = PWS_BATCH_HEAD_BYTES, nr;
	uint8_t buf[256] = { 0 };

	(void)state;
	h.len = PWS_BATCH_HEAD_BYTES + pws_batch_commit_bytes(muts, 2);
	pws_batch_put_commit(buf + PWS_BATCH_HEAD_BYTES, muts, 2);
	pws_batch_put_commit(buf + h.len, &empty, 1);
	h.len += pws_batch_commit_bytes(&empty, 1);
	pws_batch_encode(buf, &h);
	assert_int_equal(h.len, sizeof(golden));
	assert_memory_equal(buf, golden, sizeof(golden));

	assert_int_equal(pws_batch_decode(golden, &got), 0);
	assert_true(pws_batch_intact(golden, &got));
	assert_memory_equal(&got, &h, sizeof(h));
	assert_int_equal(pws_batch_next(golden, got.len, &pos, back, &nr), 0);
	assert_int_equal(nr, 2);
	assert_memory_equal(back[0].val.p, "xyz", 3);
	assert_null(back[1].val.p);
	assert_int_equal(pws_batch_next(golden, got.len, &pos, back, &nr), 0);
	assert_non_null(back[0].val.p); /* empty is not deleted */
	assert_int_equal(back[0].val.n, 0);
	assert_int_equal(pws_batch_next(golden, got.len, &pos, back, &nr), -ENOENT);
}

static void test_batch_next__garbage_is_refused(void **state)
{
	struct pws_kv_mut back[PWS_KV_MUTS_MAX];
	uint8_t buf[sizeof(golden)];
	uint32_t accepted = 0;

	(void)state;
	/* every byte behind the header, every bit: refused or decoded within bounds */
	for (uint32_t i = PWS_BATCH_HEAD_BYTES; i < sizeof(golden); i++) {
		for (uint32_t bit = 0; bit < 8; bit++) {
			uint8_t *exact = malloc(sizeof(golden)); /* ASan's red zone behind it */
			uint32_t pos = PWS_BATCH_HEAD_BYTES, nr;
			int err;

			memcpy(buf, golden, sizeof(golden));
			buf[i] ^= (uint8_t)(1u << bit);
			memcpy(exact, buf, sizeof(golden));
			while (!(err = pws_batch_next(exact, sizeof(golden), &pos, back, &nr)))
				;
			accepted += err == -ENOENT;
			assert_true(err == -ENOENT || err == -EBADMSG);
			free(exact);
		}
	}
	assert_true(accepted > 0); /* changes of keys and values are the checksum's business */
}

/* Ring --------------------------------------------------------------------------------------- */

static void test_append__idle_journal_writes_at_once(void **state)
{
	struct world *w = *state;

	vdisk_hold(w->disk, true);
	append(w, 1);
	assert_int_equal(vdisk_in_flight(w->disk), 1); /* no turn of the loop has passed */
	append(w, 2);
	append(w, 3);
	assert_int_equal(vdisk_in_flight(w->disk), 1); /* one batch at a time */
	assert_true(vdisk_step(w->disk));
	assert_int_equal(pws_journal_written_seq(w->j), 1);
	assert_int_equal(vdisk_in_flight(w->disk), 1);
	assert_true(vdisk_step(w->disk));
	assert_int_equal(pws_journal_written_seq(w->j), 3); /* what came meanwhile shares a batch */
	assert_int_equal(pws_journal_flushed_seq(w->j), 0); /* nobody wanted it */
	assert_int_equal(w->progress, 2);
}

static void test_flush__starts_after_the_write_and_is_shared(void **state)
{
	struct world *w = *state;

	vdisk_hold(w->disk, true);
	append(w, 1);
	pws_journal_want_flush(w->j, 1);
	assert_int_equal(vdisk_in_flight(w->disk), 1); /* the write only */
	assert_true(vdisk_step(w->disk));
	assert_int_equal(vdisk_in_flight(w->disk), 1); /* the flush */
	append(w, 2);
	pws_journal_want_flush(w->j, 2);
	append(w, 3);
	pws_journal_want_flush(w->j, 3);
	assert_int_equal(vdisk_in_flight(w->disk), 2); /* and a write beside it */
	assert_true(vdisk_step(w->disk)); /* flush 1 */
	assert_int_equal(pws_journal_flushed_seq(w->j), 1);
	assert_int_equal(vdisk_in_flight(w->disk), 1); /* commit 2 is not written yet: no flush */
	assert_true(vdisk_step(w->disk)); /* write 2; write 3 and a flush follow */
	assert_int_equal(vdisk_in_flight(w->disk), 2);
	vdisk_hold(w->disk, false);
	vloop_settle(w->loop);
	assert_int_equal(pws_journal_flushed_seq(w->j), 3);
}

static void test_failed_flush__is_for_ever(void **state)
{
	struct world *w = *state;

	vdisk_fail_flush(w->disk, 1);
	append(w, 1);
	pws_journal_want_flush(w->j, 1);
	vloop_settle(w->loop);
	assert_int_equal(pws_journal_err(w->j), -EIO);
	append(w, 2);
	pws_journal_want_flush(w->j, 2);
	vloop_settle(w->loop);
	assert_int_equal(pws_journal_flushed_seq(w->j), 0);
	assert_int_equal(pws_journal_written_seq(w->j), 1);
}

static void test_failed_write__is_for_ever(void **state)
{
	struct world *w = *state;

	vdisk_fail_write(w->disk, 2);
	append(w, 1);
	append(w, 2);
	vloop_settle(w->loop);
	assert_int_equal(pws_journal_err(w->j), -EIO);
	append(w, 3);
	vloop_settle(w->loop);
	assert_int_equal(pws_journal_written_seq(w->j), 1);
}

static void test_replay__what_was_written_in_order(void **state)
{
	struct world *w = *state;
	struct pws_journal_end end;

	assert_int_equal(replay(w, &end), 0);
	assert_int_equal(w->replayed, 0);
	assert_int_equal(pws_journal_in_use(&w->o), 0);
	for (uint64_t seq = 1; seq <= 100; seq++) {
		append(w, seq);
		if (seq % 3 == 0)
			vloop_settle(w->loop);
	}
	vloop_settle(w->loop);
	assert_int_equal(replay(w, &end), 0);
	assert_int_equal(w->replayed, 100);
	assert_int_equal(end.mark.seq, 100);
	assert_int_equal(pws_journal_in_use(&w->o), 1);
}

/* Writes @nr rings full; keeps marks a quarter of the ring behind and replays from them. */
static void test_ring__wraps_around_many_times(void **state)
{
	struct world *w = *state;
	struct pws_journal_mark mark = w->start, next;
	struct pws_journal_end end;
	uint64_t seq = 0;

	while (mark.pos < 20 * RING_BYTES) {
		while (pws_journal_end_after(w->j, 9100) - mark.pos < RING_BYTES / 4) {
			append(w, ++seq);
			if (pw_random_below(3) == 0)
				vloop_settle(w->loop);
		}
		pws_journal_cut(w->j, &next);
		assert_int_equal(next.seq, seq);
		vloop_settle(w->loop);
		assert_int_equal(replay_from(w, w->disk, &mark, &end), 0);
		assert_int_equal(end.mark.seq, seq);
		assert_memory_equal(&end.mark, &next, sizeof(next));
		mark = next;
	}
	assert_true(mark.pos % RING_BYTES != 0);
}

static void test_end_after__tells_what_append_does(void **state)
{
	struct world *w = *state;
	struct pws_journal_mark mark;

	vdisk_hold(w->disk, true);
	for (uint64_t seq = 1; seq <= 60; seq++) {
		struct pws_kv_mut muts[2];
		static uint8_t val[9000];
		char key[16];
		uint64_t want;

		make_muts(seq, muts, key, val);
		want = pws_journal_end_after(w->j, pws_batch_commit_bytes(muts, 2));
		append(w, seq);
		assert_int_equal(pws_journal_end_after(w->j, 0), want);
		if (seq % 10 == 0) {
			pws_journal_cut(w->j, &mark);
			assert_int_equal(mark.pos, want);
			vdisk_step(w->disk);
		}
	}
}

/* Torn ends and damage ----------------------------------------------------------------------- */

#define NR_BATCHES 6u

/* Batches of one commit each; @ends: where they end in the ring. */
static void write_batches(struct world *w, uint64_t ends[NR_BATCHES + 1], bool flush)
{
	struct pws_journal_mark mark;

	ends[0] = 0;
	for (uint32_t i = 1; i <= NR_BATCHES; i++) {
		append(w, i);
		if (flush)
			pws_journal_want_flush(w->j, i);
		pws_journal_cut(w->j, &mark);
		vloop_settle(w->loop);
		ends[i] = mark.pos;
	}
}

static void test_replay__cut_anywhere_leaves_a_prefix(void **state)
{
	struct world *w = *state;
	uint64_t ends[NR_BATCHES + 1];
	uint8_t *ring = vdisk_mem(w->disk) + RING_OFF;
	struct pws_journal_end end;
	uint8_t *saved;

	write_batches(w, ends, false);
	saved = malloc(ends[NR_BATCHES]);
	memcpy(saved, ring, ends[NR_BATCHES]);
	/* from the end backwards, sector by sector, the ring was never written */
	for (uint64_t cut = ends[NR_BATCHES]; cut > 0; cut -= 512) {
		uint32_t whole = 0;

		memset(ring + cut - 512, 0, 512);
		/* a batch ends where its bytes end; the padding of its last block is not missed */
		for (uint32_t i = 0; i < NR_BATCHES; i++) {
			struct pws_batch_head h;

			assert_int_equal(pws_batch_decode(saved + ends[i], &h), 0);
			if (ends[i] + h.len <= cut - 512)
				whole = i + 1;
		}
		assert_int_equal(replay(w, &end), 0);
		assert_int_equal(w->replayed, whole);
		assert_int_equal(end.mark.pos, ends[whole]);
	}
	free(saved);
}

static void test_replay__flipped_bit_ends_it_before_that_batch(void **state)
{
	struct world *w = *state;
	uint64_t ends[NR_BATCHES + 1];
	uint8_t *ring = vdisk_mem(w->disk) + RING_OFF;
	struct pws_journal_end end;

	write_batches(w, ends, false);
	for (uint32_t i = 0; i < NR_BATCHES; i += 2) {
		struct pws_batch_head h;

		assert_int_equal(pws_batch_decode(ring + ends[i], &h), 0);
		for (uint32_t n = 0; n < 100; n++) {
			/* the header byte by byte, the rest here and there */
			uint64_t bit = n < 80 ? n * 8 + n % 8 : pw_random_below(8ull * h.len);
			uint8_t *p = ring + ends[i] + bit / 8;

			*p ^= (uint8_t)(1u << bit % 8);
			assert_int_equal(replay(w, &end), 0);
			assert_int_equal(w->replayed, i);
			*p ^= (uint8_t)(1u << bit % 8);
		}
	}
	assert_int_equal(replay(w, &end), 0);
	assert_int_equal(w->replayed, NR_BATCHES);
}

static void test_replay__damage_to_what_was_flushed_is_told(void **state)
{
	struct world *w = *state;
	uint64_t ends[NR_BATCHES + 1];
	uint8_t *ring = vdisk_mem(w->disk) + RING_OFF;
	struct pws_journal_end end;

	write_batches(w, ends, true);
	assert_int_equal(replay(w, &end), 0);
	assert_int_equal(end.flushed_seq, NR_BATCHES - 1);
	for (uint32_t i = 0; i < NR_BATCHES; i++) {
		ring[ends[i] + 100] ^= 4;
		/* of the last one nobody says that it was flushed */
		assert_int_equal(replay(w, &end), i + 1 == NR_BATCHES ? 0 : -EBADMSG);
		assert_int_equal(w->replayed, i);
		ring[ends[i] + 100] ^= 4;
	}
}

static void test_seal__says_that_the_last_batch_was_flushed(void **state)
{
	struct world *w = *state;
	uint64_t ends[NR_BATCHES + 1];
	uint8_t *ring = vdisk_mem(w->disk) + RING_OFF;
	struct pws_journal_mark mark;
	struct pws_journal_end end;

	write_batches(w, ends, true);
	pws_journal_seal(w->j);
	pws_journal_seal(w->j); /* one is on its way */
	vloop_settle(w->loop);
	assert_false(pws_journal_unsealed(w->j));
	pws_journal_cut(w->j, &mark);
	assert_int_equal(mark.pos, ends[NR_BATCHES] + PWS_BLOCK);
	assert_int_equal(replay(w, &end), 0);
	assert_int_equal(end.flushed_seq, NR_BATCHES);
	assert_memory_equal(&end.mark, &mark, sizeof(mark));
	for (uint32_t i = 0; i < NR_BATCHES; i++) {
		ring[ends[i] + 100] ^= 4;
		assert_int_equal(replay(w, &end), -EBADMSG);
		ring[ends[i] + 100] ^= 4;
	}
	append(w, NR_BATCHES + 1); /* it goes on behind the seal */
	vloop_settle(w->loop);
	assert_int_equal(replay(w, &end), 0);
	assert_int_equal(w->replayed, NR_BATCHES + 1);
}

static void test_replay__from_before_a_later_start_is_told(void **state)
{
	struct world *w = *state;
	struct pws_journal_mark mark;
	struct pws_journal_end end;
	struct pws_journal *j;

	append(w, 1);
	vloop_settle(w->loop);
	assert_int_equal(replay(w, &end), 0);
	mark = end.mark;
	mark.epoch++;
	assert_int_equal(pws_journal_new(&w->o, &mark, &j), 0);
	pws_journal_free(w->j);
	w->j = j;
	/* the index knows the new epoch before anything is written */
	append(w, 2);
	vloop_settle(w->loop);
	assert_int_equal(replay_from(w, w->disk, &mark, &end), 0);
	assert_int_equal(w->replayed, 1);
	/* an index from before that start */
	assert_int_equal(replay(w, &end), -EBADMSG);
}

static void test_replay__batches_given_up_earlier_stay_out(void **state)
{
	struct world *w = *state;
	uint64_t ends[NR_BATCHES + 1];
	struct pws_journal_end end;
	struct pws_journal *j;
	struct pws_kv_mut muts[2];
	static uint8_t val[9000];
	char key[16];

	/* replay gave up batch 4 and those after it; the next start writes another batch 4, same
	 * length */
	write_batches(w, ends, false);
	assert_int_equal(pws_journal_replay(&w->o, &w->start, 3, check_commit, w, &end), 0);
	assert_int_equal(end.mark.seq, 3);
	end.mark.epoch++;
	assert_int_equal(pws_journal_new(&w->o, &end.mark, &j), 0);
	make_muts(4, muts, key, val);
	assert_int_equal(pws_journal_reserve(j, pws_batch_commit_bytes(muts, 2)), 0);
	pws_journal_append(j, 4, muts, 2);
	vloop_settle(w->loop);
	pws_journal_free(j);
	/* batch 5 of the first life lies right behind it, intact, and must not be taken */
	assert_int_equal(replay_from(w, w->disk, &end.mark, &end), 0);
	assert_int_equal(w->replayed, 1);
	assert_int_equal(end.mark.pos, ends[4]);
}

static void test_replay__other_version_is_refused(void **state)
{
	struct world *w = *state;
	uint64_t ends[NR_BATCHES + 1];
	uint8_t *ring = vdisk_mem(w->disk) + RING_OFF;
	struct pws_journal_end end;
	struct pws_batch_head h;

	write_batches(w, ends, false);
	assert_int_equal(pws_batch_decode(ring + ends[1], &h), 0);
	ring[ends[1] + 16] = 2;
	assert_int_equal(pws_batch_decode(ring + ends[1], &h), -EINVAL);
	/* without a checksum that fits it is garbage like any other */
	assert_int_equal(replay(w, &end), 0);
	assert_int_equal(w->replayed, 1);
	/* with one that fits it is of another program: not to be passed over */
	memset(ring + ends[1] + 4, 0, 4);
	h.crc = pw_crc32c(0, ring + ends[1], h.len);
	memcpy(ring + ends[1] + 4, &h.crc, 4);
	assert_int_equal(replay(w, &end), -EINVAL);
}

static void test_new__ring_must_hold_a_batch(void **state)
{
	struct world *w = *state;
	struct pws_journal_opts o = w->o;
	struct pws_journal *j;

	o.bytes = PWS_BLOCK;
	assert_int_equal(pws_journal_new(&o, &w->start, &j), -EINVAL);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_batch_encode__golden),
		cmocka_unit_test(test_batch_next__garbage_is_refused),
#define RING_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
		RING_TEST(test_append__idle_journal_writes_at_once),
		RING_TEST(test_flush__starts_after_the_write_and_is_shared),
		RING_TEST(test_failed_flush__is_for_ever),
		RING_TEST(test_failed_write__is_for_ever),
		RING_TEST(test_replay__what_was_written_in_order),
		RING_TEST(test_ring__wraps_around_many_times),
		RING_TEST(test_end_after__tells_what_append_does),
		RING_TEST(test_replay__cut_anywhere_leaves_a_prefix),
		RING_TEST(test_replay__flipped_bit_ends_it_before_that_batch),
		RING_TEST(test_replay__damage_to_what_was_flushed_is_told),
		RING_TEST(test_seal__says_that_the_last_batch_was_flushed),
		RING_TEST(test_replay__from_before_a_later_start_is_told),
		RING_TEST(test_replay__batches_given_up_earlier_stay_out),
		RING_TEST(test_replay__other_version_is_refused),
		RING_TEST(test_new__ring_must_hold_a_batch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
