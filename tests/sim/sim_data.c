/* SPDX-License-Identifier: Apache-2.0 */
/* sim_data.c -- contents of files: which write may each word that was read come from?
 *
 * A word is 8 bytes: the number of its write and a mix of number, file and place, so that bytes of
 * another place, another file or another time are recognized. Rules for a read: the write had
 * begun; no other write (or truncation) that covers the word began after that one had ended and
 * ended before the read began. What a read has seen counts as ended from then on, acknowledged or
 * not: it may not go away again. Change numbers order the acknowledged writes of a file: they must
 * be distinct and fit the ticks; at the end that order gives the exact contents and size when the
 * outcome of every write is known.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim_oracle.h"

#define WORD 8u
#define OPEN_END UINT64_MAX
#define NOT_YET UINT64_MAX

struct sim_write {
	struct sim_file *f;
	uint32_t id; /* 0: the zeros of a truncation, or those from the beginning */
	uint64_t off, end; /* bytes; end OPEN_END for a truncation */
	uint64_t inv, resp; /* ticks; resp NOT_YET: may still not have happened */
	uint64_t acked; /* tick of the answer, or NOT_YET; survives a power cut */
	uint64_t change; /* 0: unknown */
	uint32_t cuts_before, cuts_acked; /* power cuts before it began, before its answer */
	bool durable, append, failed;
};

struct sim_file {
	struct sim_file *next;
	uint64_t ino;
	struct sim_write **w; /* owns, each of them too */
	uint32_t nr, cap;
	bool created; /* somebody was told that he made it */
	bool unsure; /* an outcome is unknown, or a power cut took some */
};

static struct {
	struct sim_file *files; /* newest first */
	uint32_t next_id, nr_cuts;
	uint64_t cut_tick; /* of the last power cut that may have taken something */
} d;

static uint64_t word_of(const struct sim_file *f, uint32_t id, uint64_t off)
{
	uint64_t mix = (f->ino << 40 ^ off ^ (uint64_t)id << 20) * 0x9e3779b97f4a7c15ull;

	return (uint64_t)id << 32 | mix >> 32;
}

static struct sim_file *file_of(uint64_t ino)
{
	for (struct sim_file *f = d.files; f; f = f->next)
		if (f->ino == ino)
			return f;
	return NULL;
}

static struct sim_write *add_write(struct sim_file *f)
{
	struct sim_write *w = sim_alloc(sizeof(*w));

	if (f->nr == f->cap) {
		f->cap = f->cap ? 2 * f->cap : 16;
		f->w = sim_realloc(f->w, f->cap * sizeof(*f->w));
	}
	w->f = f;
	f->w[f->nr++] = w;
	return w;
}

static void add_file(uint64_t ino)
{
	struct sim_file *f = sim_alloc(sizeof(*f));

	f->ino = ino;
	f->next = d.files;
	d.files = f;
}

static struct sim_file *need_file(uint64_t ino)
{
	if (!file_of(ino))
		add_file(ino);
	return file_of(ino);
}

/* Others may have seen it before its creator was told. */
void sim_data_created(uint64_t ino)
{
	struct sim_file *f = need_file(ino);

	if (f->created)
		sim_fail("data: number %llu was given to two files", (unsigned long long)ino);
	f->created = true;
}

struct sim_write *sim_data_begin(uint64_t ino, uint64_t off, uint32_t len)
{
	struct sim_write *w = add_write(need_file(ino));

	w->id = len ? ++d.next_id : 0;
	w->append = off == SIM_APPEND;
	w->off = w->append ? 0 : off;
	w->end = len ? w->off + len : OPEN_END;
	w->inv = ++sim.tick;
	sim_trace("data: write %u [%llu of inode %llu at %llu, %u bytes", w->id,
		  (unsigned long long)w->inv, (unsigned long long)ino, (unsigned long long)off,
		  len);
	w->cuts_before = d.nr_cuts;
	w->resp = w->acked = NOT_YET;
	return w;
}

/* An append does not know its place: its words are numbered from 0. */
void sim_data_fill(const struct sim_write *w, void *buf)
{
	uint64_t base = w->append ? 0 : w->off;
	uint8_t *p = buf;

	for (uint64_t off = base; off < base + (w->end - w->off); off += WORD, p += WORD) {
		uint64_t v = word_of(w->f, w->id, off);

		memcpy(p, &v, WORD);
	}
}

static void check_change(struct sim_write *w)
{
	for (uint32_t i = 0; i < w->f->nr; i++) {
		const struct sim_write *o = w->f->w[i];

		if (o == w || !o->change || !w->change || o->acked < d.cut_tick)
			continue;
		if (o->change == w->change)
			sim_fail("data: inode %llu: two changes have number %llu",
				 (unsigned long long)w->f->ino, (unsigned long long)w->change);
		else if (o->acked < w->inv && o->change > w->change)
			sim_fail(
				"data: inode %llu: change %llu was answered before change %llu "
				"began",
				(unsigned long long)w->f->ino, (unsigned long long)o->change,
				(unsigned long long)w->change);
		if (o->append && w->append && o->off < w->end && w->off < o->end)
			for (uint32_t j = 0;; j++) {
				if (j == w->f->nr) {
					sim_fail("data: inode %llu: two appends at the same place",
						 (unsigned long long)w->f->ino);
					break;
				}
				if (w->f->w[j]->end == OPEN_END)
					break; /* a truncation may explain it */
			}
	}
}

void sim_data_end(struct sim_write *w, int err, bool unknown, uint64_t off, uint64_t change)
{
	if (unknown) {
		w->f->unsure = true;
		return;
	}
	if (err) {
		w->failed = true;
		return;
	}
	if (w->append) {
		w->end = off + (w->end - w->off);
		w->off = off;
	}
	/* the answer was on its way when the power went: what it tells may be gone */
	if (sim.sw.interval && w->cuts_before != d.nr_cuts) {
		w->f->unsure = true;
		return;
	}
	w->resp = w->acked = ++sim.tick;
	w->cuts_acked = d.nr_cuts;
	w->change = change;
	check_change(w);
}

/* Reads -------------------------------------------------------------------------------------- */

/* What rules about one word: when the last write began that had surely ended before the read
 * began; when the last zeros ended that may be seen. */
struct rule {
	uint64_t barrier, zeros;
};

static void add_rules(const struct sim_file *f, uint64_t off, uint64_t end, uint64_t inv,
		      struct rule *r)
{
	for (uint32_t i = 0; i < f->nr; i++) {
		const struct sim_write *w = f->w[i];
		uint64_t from = PW_MAX(w->off, off), to = PW_MIN(w->end, end);

		if (w->failed || (w->append && w->resp == NOT_YET))
			continue;
		/* bytes of a word that a truncation cuts in two do not occur: all is aligned */
		for (uint64_t at = from; at < to; at += WORD) {
			struct rule *x = &r[(at - off) / WORD];

			if (w->resp < inv)
				x->barrier = PW_MAX(x->barrier, w->inv);
			if (!w->id)
				x->zeros = PW_MAX(x->zeros, w->resp);
		}
	}
}

static struct sim_write *writer_of(const struct sim_file *f, uint32_t id)
{
	for (uint32_t i = 0; i < f->nr; i++)
		if (id && f->w[i]->id == id)
			return f->w[i];
	return NULL;
}

static void seen(struct sim_write *w)
{
	struct sim_file *f = w->f;

	if (w->resp == NOT_YET)
		sim_fault_seen();
	w->resp = PW_MIN(w->resp, sim.tick);
	/* one that was not answered before the power cut is sent again after it: that tells
	 * nothing */
	if (!sim.sw.interval || w->acked >= d.cut_tick)
		return;
	/* it survived the power cut: then all that was acknowledged before it began did, too */
	for (uint32_t i = 0; i < f->nr; i++)
		if (f->w[i]->acked < w->inv && f->w[i]->cuts_acked == w->cuts_before)
			f->w[i]->resp = PW_MIN(f->w[i]->resp, sim.tick);
}

static void bad_word(const struct sim_file *f, uint64_t off, uint64_t v, uint64_t barrier,
		     const char *what)
{
	sim_fail("data: inode %llu at %llu: read %016llx (write %llu): %s (barrier %llu)",
		 (unsigned long long)f->ino, (unsigned long long)off, (unsigned long long)v,
		 (unsigned long long)(v >> 32), what, (unsigned long long)barrier);
}

static bool check_word(struct sim_file *f, uint64_t off, uint64_t v, const struct rule *r,
		       struct sim_write **last)
{
	struct sim_write *w = *last;

	if (!v) {
		if (r->barrier && r->zeros < r->barrier)
			bad_word(f, off, v, r->barrier, "an acknowledged write is lost");
		return !sim.failed;
	}
	if (!w || w->id != v >> 32)
		w = *last = writer_of(f, (uint32_t)(v >> 32));
	if (!w) {
		bad_word(f, off, v, r->barrier, "no write of this file");
		return false;
	}
	/* an append whose answer is not here yet shows where it went */
	if (w->append && w->resp == NOT_YET) {
		for (uint64_t at = 0; at < w->end - w->off; at += WORD)
			if (word_of(f, w->id, at) == v) {
				w->end = off - at + (w->end - w->off);
				w->off = off - at;
				break;
			}
	}
	if (v != word_of(f, w->id, w->append ? off - w->off : off))
		bad_word(f, off, v, r->barrier, "bytes of another place");
	else if (w->failed)
		bad_word(f, off, v, r->barrier, "a write that was refused");
	else if (w->resp < r->barrier)
		bad_word(f, off, v, r->barrier, "an older state");
	return !sim.failed;
}

void sim_data_read(uint64_t ino, uint64_t off, uint32_t want, const void *buf, uint32_t len,
		   uint64_t inv)
{
	struct sim_file *f = need_file(ino);
	uint32_t nr = want / WORD;
	struct rule *r = sim_alloc((nr + 1) * sizeof(*r));
	struct sim_write *last = NULL;

	++sim.tick;
	if (len > want || len % WORD)
		sim_fail("data: inode %llu: a read of %u bytes returned %u",
			 (unsigned long long)ino, want, len);
	add_rules(f, off, off + want, inv, r);
	for (uint32_t i = 0; i < nr && !sim.failed; i++) {
		uint64_t v = 0;

		/* behind the end of the file is nothing: it counts as zeros */
		if (i * WORD < len)
			memcpy(&v, (const uint8_t *)buf + (size_t)i * WORD, WORD);
		if (!check_word(f, off + (uint64_t)i * WORD, v, &r[i], &last))
			break;
	}
	for (uint32_t i = 0; i < len / WORD && !sim.failed; i++) {
		uint64_t v;

		memcpy(&v, (const uint8_t *)buf + (size_t)i * WORD, WORD);
		if (!v || (last && v >> 32 == last->id && i))
			continue;
		last = writer_of(f, (uint32_t)(v >> 32));
		if (last)
			seen(last);
	}
	sim_free(r);
}

/* Power and the end -------------------------------------------------------------------------- */

void sim_data_synced(uint64_t inv)
{
	for (struct sim_file *f = d.files; f; f = f->next)
		for (uint32_t i = 0; i < f->nr; i++)
			if (f->w[i]->resp < inv)
				f->w[i]->durable = true;
}

void sim_data_power_cut(void)
{
	d.cut_tick = ++sim.tick;
	d.nr_cuts++;
	for (struct sim_file *f = d.files; f; f = f->next) {
		for (uint32_t i = 0; i < f->nr; i++) {
			struct sim_write *w = f->w[i];

			if (w->durable || w->failed)
				continue;
			w->resp = NOT_YET;
			f->unsure = true;
		}
	}
}

static int by_change(const void *a, const void *b)
{
	const struct sim_write *x = *(struct sim_write *const *)a,
			       *y = *(struct sim_write *const *)b;

	return x->change < y->change ? -1 : x->change > y->change;
}

int sim_data_final(uint64_t ino, uint64_t size)
{
	struct sim_file *f = file_of(ino);
	uint64_t expect = 0;
	uint32_t nr = 0;

	if (!f || f->unsure)
		return -1;
	if (!f->nr)
		return 0;
	qsort(f->w, f->nr, sizeof(*f->w), by_change);
	for (uint32_t i = 0; i < f->nr; i++) {
		const struct sim_write *w = f->w[i];

		if (w->failed)
			continue;
		if (w->resp == NOT_YET || !w->change)
			return -1;
		nr++;
		if (w->append && w->off != expect)
			sim_fail("data: inode %llu: an append went to %llu, the end was at %llu",
				 (unsigned long long)ino, (unsigned long long)w->off,
				 (unsigned long long)expect);
		expect = w->id ? PW_MAX(expect, w->end) : w->off;
	}
	if (size != expect)
		sim_fail("data: inode %llu has %llu bytes, %llu after its last change",
			 (unsigned long long)ino, (unsigned long long)size,
			 (unsigned long long)expect);
	return (int)nr;
}

void sim_data_init(void)
{
	memset(&d, 0, sizeof(d));
}

void sim_data_fini(void)
{
	struct sim_file *f;

	while ((f = d.files)) {
		d.files = f->next;
		for (uint32_t i = 0; i < f->nr; i++)
			sim_free(f->w[i]);
		sim_free(f->w);
		sim_free(f);
	}
}
