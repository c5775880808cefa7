/* SPDX-License-Identifier: Apache-2.0 */
/* journal.c -- the writing side of the ring
 *
 *	append -> open batch -> closed -> being written -> written -> flushed
 *
 * At most one batch is being written, so that what is written is always a prefix. A batch that
 * crosses the end of the ring is written in two parts.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/fault.h"
#include "common/log.h"
#include "storage_node/meta_kv/journal.h"

#define SPARE_MAX 3u

struct batch {
	struct pw_list node;
	uint8_t *mem; /* owns; PWS_BATCH_MAX_BYTES, aligned for the disk */
	struct pws_batch_head head;
};

struct pws_journal {
	struct pws_journal_opts o;
	struct batch *open;    /* fills; NULL: none */
	struct pw_list closed; /* batch.node; complete, in order */
	struct batch *writing;
	struct pw_list spare; /* batch.node */
	uint32_t nr_spare;

	struct pws_journal_mark end; /* behind the last closed batch; seq: last appended */
	struct pws_disk_io write[2], flush;
	uint32_t nr_writes; /* parts of the batch still being written */
	int write_err;
	bool flushing;
	uint64_t flush_seq;	   /* what the running flush covers */
	uint64_t want_lo, want_hi; /* wanted and not flushed: some in between; lo > hi: none */
	uint64_t written_seq, flushed_seq;
	uint64_t told_seq; /* flushed_seq of the last closed batch */
	int err;
	struct pws_journal_stats stats;
};

static void start_write(struct pws_journal *j);
static void start_flush(struct pws_journal *j);

static void batch_free(struct batch *b)
{
	if (b) {
		free(b->mem);
		free(b);
	}
}

static int batch_new(struct pws_journal *j)
{
	struct batch *b = PW_FAULT("journal.buffer") ? NULL : calloc(1, sizeof(*b));

	if (!b)
		return -ENOMEM;
	b->mem = aligned_alloc(PWS_BLOCK, PWS_BATCH_MAX_BYTES);
	if (!b->mem) {
		free(b);
		return -ENOMEM;
	}
	pw_list_add_tail(&j->spare, &b->node);
	j->nr_spare++;
	return 0;
}

static void batch_put(struct pws_journal *j, struct batch *b)
{
	if (j->nr_spare >= SPARE_MAX) {
		batch_free(b);
		return;
	}
	pw_list_add_head(&j->spare, &b->node);
	j->nr_spare++;
}

static uint64_t disk_bytes(uint64_t len)
{
	return PW_ROUND_UP(len, PWS_BLOCK);
}

/* The open batch becomes a closed one; its successor is known from now on. */
static void close_open(struct pws_journal *j)
{
	struct batch *b = j->open;
	uint64_t bytes;

	if (!b)
		return;
	j->open = NULL;
	b->head.prev_crc = j->end.crc;
	b->head.salt = j->end.salt;
	b->head.epoch = j->end.epoch;
	b->head.pos = j->end.pos;
	b->head.last_seq = j->end.seq;
	b->head.flushed_seq = j->told_seq = j->flushed_seq;
	bytes = disk_bytes(b->head.len);
	memset(b->mem + b->head.len, 0, bytes - b->head.len);
	pws_batch_encode(b->mem, &b->head);
	j->end.pos += bytes;
	j->end.crc = b->head.crc;
	pw_list_add_tail(&j->closed, &b->node);
}

static void fail(struct pws_journal *j, int err, const char *what)
{
	if (j->err)
		return;
	j->err = err;
	pw_log_err("journal: %s failed, %s; nothing is committed any more", what, pw_err_text(err));
}

static void part_written(struct pws_journal *j, struct pws_disk_io *io)
{
	struct batch *b = j->writing;

	if (io->err)
		j->write_err = io->err;
	if (--j->nr_writes)
		return;
	j->writing = NULL;
	if (j->write_err) {
		fail(j, j->write_err, "write");
	} else {
		j->written_seq = b->head.last_seq;
		j->stats.batches++;
		j->stats.bytes += disk_bytes(b->head.len);
	}
	batch_put(j, b);
	start_write(j);
	start_flush(j);
	j->o.progress(j->o.arg);
}

static void on_first_part(struct pws_disk_io *io)
{
	part_written(pw_container_of(io, struct pws_journal, write[0]), io);
}

static void on_second_part(struct pws_disk_io *io)
{
	part_written(pw_container_of(io, struct pws_journal, write[1]), io);
}

static void start_write(struct pws_journal *j)
{
	uint64_t at, bytes, first;
	struct pw_list *n;

	if (j->writing || j->err)
		return;
	if (pw_list_empty(&j->closed))
		close_open(j);
	n = pw_list_pop(&j->closed);
	if (!n)
		return;
	j->writing = pw_list_entry(n, struct batch, node);
	at = j->writing->head.pos % j->o.bytes;
	bytes = disk_bytes(j->writing->head.len);
	first = PW_MIN(bytes, j->o.bytes - at);
	j->write_err = PW_FAULT("journal.write");
	j->nr_writes = first < bytes ? 2 : 1;
	j->write[0] = (struct pws_disk_io){
		.op = PWS_DISK_WRITE,
		.buf = j->writing->mem,
		.off = j->o.off + at,
		.len = (uint32_t)first,
		.done = on_first_part,
	};
	j->write[1] = (struct pws_disk_io){
		.op = PWS_DISK_WRITE,
		.buf = j->writing->mem + first,
		.off = j->o.off,
		.len = (uint32_t)(bytes - first),
		.done = on_second_part,
	};
	for (uint32_t i = 0, nr = j->nr_writes; i < nr; i++) {
		pw_list_init(&j->write[i].node);
		pws_disk_submit(j->o.disk, &j->write[i]);
	}
}

static void on_flushed(struct pws_disk_io *io)
{
	struct pws_journal *j = pw_container_of(io, struct pws_journal, flush);
	int err = io->err ? io->err : PW_FAULT("journal.flush");

	j->flushing = false;
	if (err) {
		fail(j, err, "flush");
	} else {
		j->flushed_seq = j->flush_seq;
		j->want_lo = PW_MAX(j->want_lo, j->flushed_seq + 1);
		j->stats.flushes++;
	}
	start_flush(j);
	j->o.progress(j->o.arg);
}

/* Not before the first of those who wait is written: it would wait for two flushes. */
static void start_flush(struct pws_journal *j)
{
	if (j->flushing || j->err || j->want_lo > j->want_hi || j->want_lo > j->written_seq)
		return;
	j->flushing = true;
	j->flush_seq = j->written_seq;
	j->flush = (struct pws_disk_io){ .op = PWS_DISK_FLUSH, .done = on_flushed };
	pw_list_init(&j->flush.node);
	pws_disk_submit(j->o.disk, &j->flush);
}

static void open_batch(struct pws_journal *j)
{
	struct batch *b;

	assert(j->nr_spare); /* reserve() was called, or none is in use */
	b = pw_list_entry(pw_list_pop(&j->spare), struct batch, node);
	j->nr_spare--;
	b->head = (struct pws_batch_head){
		.len = PWS_BATCH_HEAD_BYTES,
		.first_seq = j->end.seq + 1,
	};
	j->open = b;
}

static bool fits_open(const struct pws_journal *j, uint32_t bytes)
{
	return j->open && bytes <= PWS_BATCH_MAX_BYTES - j->open->head.len;
}

uint64_t pws_journal_end_after(const struct pws_journal *j, uint32_t bytes)
{
	uint64_t end = j->end.pos;

	if (fits_open(j, bytes))
		return end + disk_bytes(j->open->head.len + bytes);
	if (j->open)
		end += disk_bytes(j->open->head.len);
	return bytes ? end + disk_bytes(PWS_BATCH_HEAD_BYTES + bytes) : end;
}

int pws_journal_reserve(struct pws_journal *j, uint32_t bytes)
{
	assert(bytes <= PWS_BATCH_MAX_BYTES - PWS_BATCH_HEAD_BYTES);
	return fits_open(j, bytes) || j->nr_spare ? 0 : batch_new(j);
}

void pws_journal_append(struct pws_journal *j, uint64_t seq, const struct pws_kv_mut *muts,
			uint32_t nr)
{
	uint32_t bytes = pws_batch_commit_bytes(muts, nr);

	assert(seq == j->end.seq + 1);
	if (!fits_open(j, bytes)) {
		close_open(j);
		open_batch(j);
	}
	pws_batch_put_commit(j->open->mem + j->open->head.len, muts, nr);
	j->open->head.len += bytes;
	j->open->head.nr_commits++;
	j->end.seq = seq;
	start_write(j);
}

void pws_journal_want_flush(struct pws_journal *j, uint64_t seq)
{
	if (seq <= j->flushed_seq)
		return;
	if (j->want_lo > j->want_hi) {
		j->want_lo = j->want_hi = seq;
	} else {
		j->want_lo = PW_MIN(j->want_lo, seq);
		j->want_hi = PW_MAX(j->want_hi, seq);
	}
	start_flush(j);
}

void pws_journal_cut(struct pws_journal *j, struct pws_journal_mark *ret)
{
	close_open(j);
	*ret = j->end;
	start_write(j);
}

int pws_journal_new(const struct pws_journal_opts *o, const struct pws_journal_mark *from,
		    struct pws_journal **ret)
{
	struct pws_journal *j;

	if (o->off % PWS_BLOCK || o->bytes % PWS_BLOCK || o->bytes < PWS_BATCH_MAX_BYTES)
		return -EINVAL;
	j = calloc(1, sizeof(*j));
	if (!j)
		return -ENOMEM;
	j->o = *o;
	j->end = *from;
	j->written_seq = j->flushed_seq = j->told_seq = from->seq;
	j->want_lo = 1;
	pw_list_init(&j->closed);
	pw_list_init(&j->spare);
	while (j->nr_spare < 2) { /* one is written while the other fills */
		if (!batch_new(j))
			continue;
		pws_journal_free(j);
		return -ENOMEM;
	}
	*ret = j;
	return 0;
}

static void free_list(struct pw_list *list)
{
	struct pw_list *n;

	while ((n = pw_list_pop(list)))
		batch_free(pw_list_entry(n, struct batch, node));
}

void pws_journal_free(struct pws_journal *j)
{
	if (!j)
		return;
	assert(!pws_journal_busy(j));
	batch_free(j->open);
	free_list(&j->closed);
	free_list(&j->spare);
	free(j);
}

uint64_t pws_journal_written_seq(const struct pws_journal *j)
{
	return j->written_seq;
}

uint64_t pws_journal_flushed_seq(const struct pws_journal *j)
{
	return j->flushed_seq;
}

int pws_journal_err(const struct pws_journal *j)
{
	return j->err;
}

bool pws_journal_busy(const struct pws_journal *j)
{
	return j->writing || j->flushing;
}

bool pws_journal_unsealed(const struct pws_journal *j)
{
	return j->told_seq < j->flushed_seq;
}

void pws_journal_seal(struct pws_journal *j)
{
	if (j->err || j->open || pws_journal_busy(j) || !pws_journal_unsealed(j))
		return;
	open_batch(j);
	j->stats.seals++;
	start_write(j);
}

void pws_journal_get_stats(const struct pws_journal *j, struct pws_journal_stats *ret)
{
	*ret = j->stats;
}
