/* SPDX-License-Identifier: Apache-2.0 */
/* scrub.c -- one row after the other
 *
 *	TIMER -> ROW (next row, pinned) -> DISK (its blocks) -> checked -> TIMER
 *
 * The pin keeps the blocks of the row from being used again while they are read, so a mismatch is
 * real. It is read once more all the same: the first read may have failed on its way.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/crc32c.h"
#include "common/log.h"
#include "storage_node/store/scrub.h"

#define SCRUB_IOS 2u

enum scrub_state {
	SCRUB_IDLE,
	SCRUB_TIMER,
	SCRUB_ROW,
	SCRUB_DISK
};

struct scrub_io {
	struct pws_disk_io io;
	struct pws_scrub *sc;
	bool busy;
};

struct pws_scrub {
	struct pws_chunk *c;
	enum scrub_state state;
	uint64_t bytes_per_s;
	struct pw_timer timer;
	struct pw_ready ready;
	struct pw_ready *stopped;
	bool stopping;
	struct pws_kv_fetch fetch;
	struct pws_alloc_pin pin;
	struct pws_key at; /* where the walk goes on */
	uint64_t pass_rows;
	/* the row */
	uint64_t ino, off;
	struct pws_segment row;
	uint32_t next; /* first slot that is not submitted */
	bool reread;
	int err;
	uint8_t *mem; /* owned: one segment */
	struct scrub_io ios[SCRUB_IOS];
};

static bool is_inflight(const struct pws_scrub *sc)
{
	for (uint32_t i = 0; i < SCRUB_IOS; i++) {
		if (sc->ios[i].busy)
			return true;
	}
	return false;
}

static void on_io(struct pws_disk_io *io)
{
	struct scrub_io *sio = pw_container_of(io, struct scrub_io, io);

	sio->busy = false;
	if (io->err && !sio->sc->err)
		sio->sc->err = io->err;
	pw_loop_ready(sio->sc->c->base.loop, &sio->sc->ready);
}

/* One io for each run of blocks that lie side by side in the file and on the disk. */
static void submit_blocks(struct pws_scrub *sc)
{
	const struct pws_segment *row = &sc->row;

	for (uint32_t i = 0; i < SCRUB_IOS; i++) {
		struct scrub_io *sio = &sc->ios[i];
		uint32_t first, end;

		if (sio->busy)
			continue;
		while (sc->next < PWS_SEGMENT_BLOCKS && !(row->present & 1u << sc->next))
			sc->next++;
		if (sc->next == PWS_SEGMENT_BLOCKS)
			return;
		first = sc->next;
		end = first + 1;
		while (end < PWS_SEGMENT_BLOCKS && row->present & 1u << end &&
		       row->block[end] == row->block[end - 1] + 1)
			end++;
		sc->next = end;
		sio->io = (struct pws_disk_io){
			.op = PWS_DISK_READ,
			.buf = sc->mem + (size_t)first * PWS_BLOCK,
			.off = sc->c->o.data_off + row->block[first] * PWS_BLOCK,
			.len = (end - first) * PWS_BLOCK,
			.done = on_io,
		};
		pw_list_init(&sio->io.node);
		sio->busy = true;
		pws_disk_submit(sc->c->o.disk, &sio->io);
	}
}

/* Return: false when some were wrong for the first time: they are to be read again. */
static bool check_blocks(struct pws_scrub *sc)
{
	struct pws_chunk *c = sc->c;

	for (uint32_t slot = 0; slot < PWS_SEGMENT_BLOCKS; slot++) {
		uint32_t crc;

		if (!(sc->row.present & 1u << slot))
			continue;
		crc = pw_crc32c(0, sc->mem + (size_t)slot * PWS_BLOCK, PWS_BLOCK);
		if (crc == sc->row.crc[slot])
			continue;
		if (!sc->reread)
			return false;
		c->stats.scrub_errors++;
		pws_chunk_bad_block(c, sc->ino, sc->off / PWS_BLOCK + slot, sc->row.crc[slot], crc);
	}
	return true;
}

static void wait_for_turn(struct pws_scrub *sc, uint64_t bytes)
{
	uint64_t now = pw_loop_now(sc->c->base.loop);

	pws_alloc_unpin(sc->c->alloc, &sc->pin);
	if (sc->stopping || !sc->bytes_per_s) {
		sc->state = SCRUB_IDLE;
		if (sc->stopping && sc->stopped)
			pw_loop_ready(sc->c->base.loop, sc->stopped);
		return;
	}
	sc->state = SCRUB_TIMER;
	pw_timer_arm(sc->c->base.loop, &sc->timer, now + bytes * PW_NS_PER_S / sc->bytes_per_s);
}

static void finish_row(struct pws_scrub *sc)
{
	if (sc->err) {
		sc->c->stats.scrub_errors++;
		pw_log_rl(PW_LOG_ERR, "store: scrub of inode %llu at %llu: blocks cannot be read",
			  (unsigned long long)sc->ino, (unsigned long long)sc->off);
	} else if (!check_blocks(sc)) {
		sc->reread = true;
		sc->next = 0;
		submit_blocks(sc);
		return;
	}
	sc->c->stats.scrubbed_blocks += pws_segment_nr(&sc->row);
	wait_for_turn(sc, (uint64_t)pws_segment_nr(&sc->row) * PWS_BLOCK);
}

/* The key that stands before all rows, or behind them. */
static void set_bound(struct pws_key *k, uint8_t table)
{
	k->b[0] = table;
	k->n = 1;
}

static void begin_pass(struct pws_scrub *sc)
{
	set_bound(&sc->at, PWS_TABLE_SEGMENT);
	sc->pass_rows = 0;
}

static void load_row(struct pws_scrub *sc)
{
	struct pws_kv *kv = sc->c->o.kv;
	struct pws_kv_rec rec = { 0 };
	struct pws_key end;
	uint32_t chunk;
	uint8_t segment;
	int err;

	set_bound(&end, PWS_TABLE_SEGMENT + 1);
	err = kv->ops->next(kv, pws_key_slice(&sc->at), pws_key_slice(&end), &rec, &sc->fetch);
	if (err == -EINPROGRESS)
		return;
	if (err) {
		if (err == -ENOENT && sc->pass_rows)
			sc->c->stats.scrub_passes++;
		begin_pass(sc);
		/* nothing there, or the engine fails: look again in a second */
		wait_for_turn(sc, sc->bytes_per_s);
		return;
	}
	sc->pass_rows++;
	memcpy(sc->at.b, rec.key.p, rec.key.n);
	sc->at.b[rec.key.n] = 0;
	sc->at.n = rec.key.n + 1;
	if (!pws_key_segment_parse(rec.key, &sc->ino, &chunk, &segment) ||
	    pws_segment_decode(rec.val, &sc->row)) {
		sc->c->stats.scrub_errors++;
		pw_log_rl(PW_LOG_ERR, "store: scrub found a damaged index row");
		wait_for_turn(sc, PWS_BLOCK);
		return;
	}
	sc->off = pws_segment_off(chunk, segment);
	sc->state = SCRUB_DISK;
	sc->next = 0;
	sc->err = 0;
	sc->reread = false;
	submit_blocks(sc);
}

static void step(struct pw_ready *r)
{
	struct pws_scrub *sc = pw_container_of(r, struct pws_scrub, ready);

	switch (sc->state) {
	case SCRUB_ROW:
		load_row(sc);
		return;
	case SCRUB_DISK:
		if (!sc->err)
			submit_blocks(sc);
		if (!is_inflight(sc))
			finish_row(sc);
		return;
	default:
		return;
	}
}

static void on_fetched(struct pws_kv_fetch *f)
{
	struct pws_scrub *sc = pw_container_of(f, struct pws_scrub, fetch);

	pw_loop_ready(sc->c->base.loop, &sc->ready);
}

static void on_timer(struct pw_timer *t)
{
	struct pws_scrub *sc = pw_container_of(t, struct pws_scrub, timer);

	sc->state = SCRUB_ROW;
	pws_alloc_pin(sc->c->alloc, &sc->pin);
	pw_loop_ready(sc->c->base.loop, &sc->ready);
}

int pws_scrub_new(struct pws_chunk *c, struct pws_scrub **ret)
{
	struct pws_scrub *sc = calloc(1, sizeof(*sc));

	if (!sc)
		return -ENOMEM;
	sc->mem = aligned_alloc(PWS_BLOCK, PWS_SEGMENT_BYTES);
	if (!sc->mem) {
		free(sc);
		return -ENOMEM;
	}
	sc->c = c;
	pw_timer_init(&sc->timer, on_timer);
	pw_ready_init(&sc->ready, step);
	pw_list_init(&sc->fetch.node);
	sc->fetch.done = on_fetched;
	pw_list_init(&sc->pin.node);
	for (uint32_t i = 0; i < SCRUB_IOS; i++)
		sc->ios[i].sc = sc;
	begin_pass(sc);
	*ret = sc;
	return 0;
}

void pws_scrub_free(struct pws_scrub *sc)
{
	if (!sc)
		return;
	assert(sc->state == SCRUB_IDLE);
	free(sc->mem);
	free(sc);
}

void pws_scrub_set_rate(struct pws_scrub *sc, uint64_t bytes_per_s)
{
	sc->bytes_per_s = bytes_per_s;
	if (sc->state == SCRUB_TIMER) {
		pw_timer_cancel(sc->c->base.loop, &sc->timer);
		sc->state = SCRUB_IDLE;
	}
	if (sc->state == SCRUB_IDLE && bytes_per_s && !sc->stopping)
		wait_for_turn(sc, 0);
}

bool pws_scrub_stop(struct pws_scrub *sc, struct pw_ready *ready)
{
	pws_scrub_set_rate(sc, 0);
	sc->stopping = true;
	sc->stopped = ready;
	return sc->state == SCRUB_IDLE;
}
