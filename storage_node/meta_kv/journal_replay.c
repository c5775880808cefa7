/* SPDX-License-Identifier: Apache-2.0 */
/* journal_replay.c -- the reading side of the ring, at start-up
 *
 * A batch stands if it is where its predecessor ended, is intact, and names its predecessor:
 * position, first commit, checksum of the one before, salt and epoch. The epoch keeps out what an
 * earlier replay gave up: those batches may still lie further on in the ring.
 * The first one that does not stand ends the replay: it is what a power cut left unfinished. Unless
 * a later batch exists which says that this place had been flushed, if only one without commits
 * (a seal): then acknowledged commits are damaged, and that must not be passed over in silence. Nor
 * may a batch of a later epoch exist: the index knows every epoch before its first batch is
 * written, so it is not the index that it was.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/fault.h"
#include "common/log.h"
#include "common/plant.h"
#include "storage_node/meta_kv/journal.h"

#define SCAN_BYTES (1u << 20)

struct replay {
	const struct pws_journal_opts *o;
	uint8_t *buf;		 /* owns; one batch */
	struct pws_kv_mut *muts; /* owns */
};

/* Bytes of the ring at position @pos, around its end. */
static int read_ring(const struct pws_journal_opts *o, uint64_t pos, uint8_t *buf, uint64_t len)
{
	uint64_t at = pos % o->bytes;
	uint64_t first = PW_MIN(len, o->bytes - at);
	int err = PW_FAULT("journal.read");

	if (!err)
		err = pws_disk_do(o->disk, PWS_DISK_READ, buf, o->off + at, (uint32_t)first);
	if (!err && first < len)
		err = pws_disk_do(o->disk, PWS_DISK_READ, buf + first, o->off,
				  (uint32_t)(len - first));
	return err;
}

/* The batch at @pos, whole. -ENOENT: none that is intact. */
static int read_batch(struct replay *r, uint64_t pos, struct pws_batch_head *ret)
{
	int err = read_ring(r->o, pos, r->buf, PWS_BLOCK), version;
	uint64_t len;

	if (err)
		return err;
	version = pws_batch_decode(r->buf, ret);
	if (version == -ENOENT)
		return version;
	len = PW_ROUND_UP((uint64_t)ret->len, PWS_BLOCK);
	if (len > r->o->bytes)
		return -ENOENT;
	if (len > PWS_BLOCK)
		err = read_ring(r->o, pos + PWS_BLOCK, r->buf + PWS_BLOCK, len - PWS_BLOCK);
	if (err)
		return err;
	/* another version is only believed from a batch that is not garbage */
	return pws_batch_intact(r->buf, ret) || PW_PLANT("replay-torn") ? version : -ENOENT;
}

static bool is_successor(const struct pws_batch_head *h, const struct pws_journal_mark *m)
{
	return h->salt == m->salt && h->epoch == m->epoch && h->pos == m->pos &&
	       h->first_seq == m->seq + 1 && h->prev_crc == m->crc &&
	       h->last_seq - h->first_seq + 1 == h->nr_commits;
}

static int replay_batch(struct replay *r, const struct pws_batch_head *h, pws_journal_commit_fn fn,
			void *arg)
{
	uint32_t pos = PWS_BATCH_HEAD_BYTES, nr;
	uint64_t seq = h->first_seq;
	int err;

	while (!(err = pws_batch_next(r->buf, h->len, &pos, r->muts, &nr))) {
		err = fn(arg, seq++, r->muts, nr);
		if (err)
			return err;
	}
	if (err == -EBADMSG || seq != h->last_seq + 1) {
		pw_log_err("journal: batch of commit %llu has a good checksum and bad contents",
			   (unsigned long long)h->first_seq);
		return -EBADMSG;
	}
	return 0;
}

/* Worth reading whole? With @m: does it say that there was more than replay has found? */
static bool is_wanted(const struct pws_batch_head *h, const struct pws_journal_mark *m)
{
	return !m || (h->salt == m->salt && (h->epoch > m->epoch ||
					     (h->epoch == m->epoch && h->flushed_seq > m->seq)));
}

/* Looks through the whole ring for an intact batch that is wanted. 1, 0 or -errno */
static int scan(struct replay *r, const struct pws_journal_mark *m, struct pws_batch_head *ret)
{
	uint8_t *area = aligned_alloc(PWS_BLOCK, SCAN_BYTES);
	int found = area ? 0 : -ENOMEM;

	for (uint64_t at = 0; !found && at < r->o->bytes; at += SCAN_BYTES) {
		uint64_t len = PW_MIN(r->o->bytes - at, (uint64_t)SCAN_BYTES);

		found = read_ring(r->o, at, area, len);
		for (uint64_t i = 0; !found && i < len; i += PWS_BLOCK) {
			if (pws_batch_decode(area + i, ret) == -ENOENT || !is_wanted(ret, m))
				continue;
			found = read_batch(r, at + i, ret);
			if (found == -ENOENT)
				found = 0;
			else if (!found || found == -EINVAL)
				found = 1;
		}
	}
	free(area);
	return found;
}

/* The replay ends at @m: by a power cut, or by damage that is to be told? */
static int judge_end(struct replay *r, const struct pws_journal_mark *m)
{
	struct pws_batch_head h;
	int found = scan(r, m, &h);

	if (found <= 0)
		return found;
	if (h.epoch > m->epoch)
		pw_log_err("journal: it goes on after the index: the index is an old copy, or lost "
			   "its last changes");
	else
		pw_log_err("journal: damaged: commit %llu was on media and is not readable",
			   (unsigned long long)(m->seq + 1));
	return -EBADMSG;
}

static int replay_all(struct replay *r, uint64_t limit_seq, pws_journal_commit_fn fn, void *arg,
		      struct pws_journal_end *end)
{
	for (;;) {
		struct pws_batch_head h;
		int err = read_batch(r, end->mark.pos, &h);

		if (err && err != -ENOENT)
			return err;
		if (err || !is_successor(&h, &end->mark))
			return judge_end(r, &end->mark);
		end->flushed_seq = PW_MAX(end->flushed_seq, h.flushed_seq);
		if (h.last_seq > limit_seq)
			return 0;
		err = replay_batch(r, &h, fn, arg);
		if (err)
			return err;
		end->mark.pos += PW_ROUND_UP((uint64_t)h.len, PWS_BLOCK);
		end->mark.seq = h.last_seq;
		end->mark.crc = h.crc;
		end->nr_batches++;
		end->nr_commits += h.nr_commits;
	}
}

static int replay_init(struct replay *r, const struct pws_journal_opts *o)
{
	r->o = o;
	r->buf = aligned_alloc(PWS_BLOCK, PWS_BATCH_MAX_BYTES);
	r->muts = calloc(PWS_KV_MUTS_MAX, sizeof(*r->muts));
	return r->buf && r->muts ? 0 : -ENOMEM;
}

static void replay_fini(struct replay *r)
{
	free(r->buf);
	free(r->muts);
}

int pws_journal_replay(const struct pws_journal_opts *o, const struct pws_journal_mark *from,
		       uint64_t limit_seq, pws_journal_commit_fn fn, void *arg,
		       struct pws_journal_end *ret)
{
	struct pws_journal_end end = { .mark = *from, .flushed_seq = from->seq };
	struct replay r;
	int err = replay_init(&r, o);

	if (!err)
		err = replay_all(&r, limit_seq, fn, arg, &end);
	replay_fini(&r);
	if (!err)
		*ret = end;
	return err;
}

int pws_journal_in_use(const struct pws_journal_opts *o)
{
	struct pws_batch_head h;
	struct replay r;
	int found = replay_init(&r, o);

	if (!found)
		found = scan(&r, NULL, &h);
	replay_fini(&r);
	return found;
}

int pws_journal_erase(const struct pws_journal_opts *o)
{
	uint8_t *zeros = aligned_alloc(PWS_BLOCK, SCAN_BYTES);
	int err = zeros ? PW_FAULT("journal.erase") : -ENOMEM;

	if (zeros)
		memset(zeros, 0, SCAN_BYTES);
	for (uint64_t at = 0; !err && at < o->bytes; at += SCAN_BYTES)
		err = pws_disk_do(o->disk, PWS_DISK_WRITE, zeros, o->off + at,
				  (uint32_t)PW_MIN(o->bytes - at, (uint64_t)SCAN_BYTES));
	if (!err)
		err = pws_disk_do(o->disk, PWS_DISK_FLUSH, NULL, 0, 0);
	free(zeros);
	return err;
}
