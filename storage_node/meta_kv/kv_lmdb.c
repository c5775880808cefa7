/* SPDX-License-Identifier: Apache-2.0 */
/* kv_lmdb.c -- the "lmdb" engine: open and recovery, reads, stop; its parts are named in kv_lmdb.h
 *
 * Recovery. The index holds everything up to its mark; batches behind it are replayed into a map.
 * Data blocks are written before the commit that names them but may not be on media when the power
 * goes, so the records of batches that are not known to be flushed are verified. Only those that
 * the replay leaves in place: blocks of a record that a later, durable commit replaced may carry
 * something else by now. If one fails, its batch and all later ones were never durable; the replay
 * is done again up to there. (Why the rest is sound: take the last durable commit D. What is in
 * place after D names blocks that were flushed with it, and that nobody may have reused, because
 * they become free only by a later commit that is durable. So a replay up to D passes; one beyond D
 * passes only if all that it names is there.) What stands is flushed (after kill -9 it may never
 * have been), applied to the index with the next epoch, and only then is anything written to the
 * ring.
 *
 * Batches tell up to where the ones before them are on media; a journal that has nothing to do says
 * it in a seal of its own. So damage of what was acknowledged is not taken for a power cut, but in
 * the moment before the seal is written.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/fault.h"
#include "common/log.h"
#include "common/random.h"
#include "storage_node/meta_kv/kv_lmdb.h"

#define SEAL_AFTER_NS (100 * PW_NS_PER_MS)

/* Reads -------------------------------------------------------------------------------------- */

int kv_lmdb_find(struct kv_lmdb *k, struct pws_slice key, struct pws_kv_rec *ret)
{
	const struct pws_kv_ent *e = pws_kv_map_get(k->active, key);
	int err;

	if (!e && k->frozen)
		e = pws_kv_map_get(k->frozen, key);
	if (e)
		return pws_kv_rec_set(ret, e);
	err = pws_kv_index_get(k->index, key, ret);
	return err == -ENOENT ? pws_kv_rec_set(ret, NULL) : err;
}

static int lmdb_get(struct pws_kv *kv, struct pws_slice key, struct pws_kv_rec *rec,
		    struct pws_kv_fetch *f)
{
	int err = PW_FAULT("kv.get");

	(void)f;
	return err ? err : kv_lmdb_find(kv_to_lmdb(kv), key, rec);
}

/* A walk over the three places at once; each stands at its first record that is not passed yet. */
struct merge {
	struct kv_lmdb *k;
	struct pws_slice end;
	const struct pws_kv_ent *active, *frozen; /* NULL: at the end */
	struct pws_kv_rec index;
	bool has_index;
	uint64_t seen_seq; /* newest deletion that was passed */
};

static const struct pws_kv_ent *within(const struct merge *m, const struct pws_kv_ent *e)
{
	return e && pws_slice_cmp(pws_kv_ent_key(e), m->end) < 0 ? e : NULL;
}

static int seek_index(struct merge *m, struct pws_slice begin)
{
	int err = pws_kv_index_next(m->k->index, begin, m->end, &m->index);

	m->has_index = !err;
	return err == -ENOENT ? 0 : err;
}

/* @e is a deletion: passes it, and what it hides. */
static int pass(struct merge *m, const struct pws_kv_ent *e)
{
	struct pws_slice key = pws_kv_ent_key(e);
	uint8_t after[PWS_KV_KEY_MAX + 1];
	bool hides = m->has_index && !pws_slice_cmp(m->index.key, key);

	m->seen_seq = PW_MAX(m->seen_seq, e->seq);
	if (m->frozen && m->frozen != e && !pws_slice_cmp(pws_kv_ent_key(m->frozen), key))
		m->frozen = within(m, pws_kv_map_after(m->frozen));
	if (m->active == e)
		m->active = within(m, pws_kv_map_after(e));
	else
		m->frozen = within(m, pws_kv_map_after(e));
	if (!hides)
		return 0;
	memcpy(after, key.p, key.n);
	after[key.n] = 0;
	return seek_index(m, (struct pws_slice){ after, key.n + 1 });
}

static int merge_next(struct merge *m, struct pws_kv_rec *rec)
{
	for (;;) {
		const struct pws_kv_ent *e = m->active;
		int err;

		/* of equal keys the active overlay's counts, then the frozen one's */
		if (m->frozen &&
		    (!e || pws_slice_cmp(pws_kv_ent_key(m->frozen), pws_kv_ent_key(e)) < 0))
			e = m->frozen;
		if (m->has_index && (!e || pws_slice_cmp(m->index.key, pws_kv_ent_key(e)) < 0)) {
			*rec = m->index;
			rec->seen_seq = PW_MAX(m->seen_seq, rec->seq);
			return 0;
		}
		if (!e) {
			*rec = (struct pws_kv_rec){ .seen_seq = m->seen_seq };
			return -ENOENT;
		}
		if (e->val) {
			pws_kv_rec_set(rec, e);
			rec->seen_seq = PW_MAX(m->seen_seq, e->seq);
			return 0;
		}
		err = pass(m, e);
		if (err)
			return err;
	}
}

static int lmdb_next(struct pws_kv *kv, struct pws_slice begin, struct pws_slice end,
		     struct pws_kv_rec *rec, struct pws_kv_fetch *f)
{
	struct kv_lmdb *k = kv_to_lmdb(kv);
	struct merge m = { .k = k, .end = end };
	int err = PW_FAULT("kv.next");

	(void)f;
	if (!err)
		err = seek_index(&m, begin);
	if (err)
		return err;
	m.active = within(&m, pws_kv_map_seek(k->active, begin));
	if (k->frozen)
		m.frozen = within(&m, pws_kv_map_seek(k->frozen, begin));
	return merge_next(&m, rec);
}

/* Life --------------------------------------------------------------------------------------- */

void kv_lmdb_fail(struct kv_lmdb *k, int err, const char *why)
{
	if (k->err)
		return;
	k->err = -EIO;
	if (why)
		pw_log_err("index: %s, %s; nothing is committed any more", why, pw_err_text(err));
	kv_admit_kick(k);
}

/* Not for what the index will have had since; and never beyond the active overlay's half. */
static void on_seal(struct pw_timer *t)
{
	struct kv_lmdb *k = pw_container_of(t, struct kv_lmdb, seal);
	uint64_t end = pws_journal_end_after(k->journal, 0) + PWS_BLOCK;

	if (pws_kv_map_nr(k->active) && end - k->active_pos <= k->half_bytes)
		pws_journal_seal(k->journal);
}

static void on_journal(void *arg)
{
	struct kv_lmdb *k = arg;
	int err = pws_journal_err(k->journal);

	if (err)
		kv_lmdb_fail(k, err, NULL); /* the journal has told why */
	else if (pws_journal_unsealed(k->journal) && !k->stopping && !pw_timer_armed(&k->seal))
		pw_timer_arm(k->kv.loop, &k->seal, pw_loop_now(k->kv.loop) + SEAL_AFTER_NS);
	kv_ckpt_step(k);
	kv_admit_kick(k);
}

static uint64_t lmdb_last_seq(const struct pws_kv *kv)
{
	return pw_container_of(kv, const struct kv_lmdb, kv)->last_seq;
}

static uint64_t lmdb_media_seq(const struct pws_kv *kv)
{
	return pws_journal_flushed_seq(pw_container_of(kv, const struct kv_lmdb, kv)->journal);
}

static void lmdb_get_stats(const struct pws_kv *kv, struct pws_kv_stats *ret)
{
	const struct kv_lmdb *k = pw_container_of(kv, const struct kv_lmdb, kv);
	struct pws_journal_stats j;

	pws_journal_get_stats(k->journal, &j);
	*ret = k->stats;
	ret->batches = j.batches;
	ret->seals = j.seals;
	ret->flushes = j.flushes;
	ret->journal_bytes = j.bytes;
	ret->overlay_bytes =
		pws_kv_map_mem_bytes(k->active) + (k->frozen ? pws_kv_map_mem_bytes(k->frozen) : 0);
}

static void lmdb_stop(struct pws_kv *kv, void (*done)(void *arg, int err), void *arg)
{
	struct kv_lmdb *k = kv_to_lmdb(kv);

	assert(!k->stopping);
	k->stopping = true;
	pw_timer_cancel(k->kv.loop, &k->seal);
	k->stopped = done;
	k->stopped_arg = arg;
	kv_admit_kick(k);
}

void kv_lmdb_step_stop(struct kv_lmdb *k)
{
	void (*stopped)(void *arg, int err) = k->stopped;
	int err = k->err;

	if (!stopped || k->applying || pws_journal_busy(k->journal) || !kv_admit_idle(k))
		return;
	if (!err) {
		if (!k->frozen)
			kv_ckpt_start(k);
		if (k->frozen && !k->applying && k->apply.err == -ENOSPC)
			err = -ENOSPC; /* all of it is in the journal, for the next start */
		else if (k->frozen || pws_kv_map_nr(k->active))
			return;
	}
	k->stopped = NULL;
	stopped(k->stopped_arg, err);
}

/* Nothing is in flight: stopped, or never started. */
static void lmdb_free(struct kv_lmdb *k)
{
	pw_timer_cancel(k->kv.loop, &k->seal);
	kv_admit_fini(k);
	kv_ckpt_fini(k);
	pws_journal_free(k->journal);
	pws_kv_index_close(k->index);
	pws_kv_map_free(k->active);
	pws_kv_map_free(k->frozen);
	free(k);
}

static void lmdb_close(struct pws_kv *kv)
{
	lmdb_free(kv_to_lmdb(kv));
}

static const struct pws_kv_ops lmdb_ops = {
	.name = "lmdb",
	.get = lmdb_get,
	.next = lmdb_next,
	.commit = kv_admit_commit,
	.wait = kv_admit_wait,
	.last_seq = lmdb_last_seq,
	.durable_seq = kv_admit_durable_seq,
	.media_seq = lmdb_media_seq,
	.has_room = kv_admit_has_room,
	.get_stats = lmdb_get_stats,
	.stop = lmdb_stop,
	.close = lmdb_close,
};

/* Recovery ----------------------------------------------------------------------------------- */

static int replay_commit(void *arg, uint64_t seq, const struct pws_kv_mut *muts, uint32_t nr)
{
	struct pws_kv_map *map = arg;
	uint64_t bytes = 0;
	int err;

	for (uint32_t i = 0; i < nr; i++)
		bytes += muts[i].key.n + muts[i].val.n;
	err = pws_kv_map_reserve(map, nr, bytes);
	if (err)
		return err;
	for (uint32_t i = 0; i < nr; i++)
		pws_kv_map_put(map, muts[i].key, muts[i].val, seq);
	return 0;
}

/* The oldest commit of which a record does not stand; UINT64_MAX: all stand. */
static uint64_t first_bad(struct kv_lmdb *k, uint64_t flushed_seq)
{
	const struct pws_kv_ent *e = pws_kv_map_seek(k->active, (struct pws_slice){ "", 0 });
	uint64_t bad = UINT64_MAX;

	for (; e && k->o.verify; e = pws_kv_map_after(e)) {
		struct pws_kv_mut mut = { pws_kv_ent_key(e), pws_kv_ent_val(e) };

		if (e->val && e->seq > flushed_seq && e->seq < bad &&
		    !k->o.verify(k->o.verify_arg, &mut))
			bad = e->seq;
	}
	return bad;
}

static int replay(struct kv_lmdb *k, const struct pws_journal_opts *jo,
		  const struct pws_journal_mark *from, struct pws_journal_end *end)
{
	uint64_t limit_seq = UINT64_MAX, flushed_seq = from->seq, bad;

	for (;;) {
		int err = pws_kv_map_new(&k->active);

		if (!err)
			err = pws_journal_replay(jo, from, limit_seq, replay_commit, k->active,
						 end);
		if (err)
			return err;
		flushed_seq = PW_MAX(flushed_seq, end->flushed_seq);
		bad = first_bad(k, flushed_seq);
		if (bad == UINT64_MAX)
			return 0;
		pw_log_info("journal: data of commit %llu did not reach the disk; it was not "
			    "acknowledged as durable and is given up with what followed",
			    (unsigned long long)bad);
		assert(bad <= limit_seq); /* gets smaller every time */
		limit_seq = bad - 1;
		pws_kv_map_free(k->active);
		k->active = NULL;
	}
}

/* The map of replayed records goes into the index; the journal continues behind @mark. */
static int take_over(struct kv_lmdb *k, const struct pws_journal_opts *jo,
		     const struct pws_journal_mark *mark)
{
	struct pws_kv_index_apply a = {
		.map = k->active,
		.state = { .mark = *mark, .ring_off = jo->off, .ring_bytes = jo->bytes },
	};
	int err = PW_FAULT("kv.open.flush");

	a.state.mark.epoch++;
	if (!err && pws_kv_map_nr(k->active))
		err = pws_disk_do(jo->disk, PWS_DISK_FLUSH, NULL, 0, 0);
	if (!err)
		err = pws_kv_index_apply_now(k->index, &a);
	pws_kv_map_free(k->active);
	k->active = NULL;
	if (!err)
		err = pws_kv_map_new(&k->active);
	if (!err)
		err = pws_journal_new(jo, &a.state.mark, &k->journal);
	k->last_seq = mark->seq;
	k->active_pos = mark->pos;
	return err;
}

static int recover(struct kv_lmdb *k, const struct pws_journal_opts *jo, bool is_new)
{
	struct pws_kv_index_state state;
	struct pws_journal_end end = { 0 };
	int err;

	if (is_new) {
		err = pws_journal_in_use(jo);
		if (err > 0) {
			pw_log_err("index %s: empty, but the journal on the disk is not: the index "
				   "is lost, or belongs to another disk",
				   k->o.index_dir);
			return -EBADMSG;
		}
		if (!err)
			err = pws_journal_erase(jo);
		if (!err)
			err = pws_kv_map_new(&k->active);
		while (!end.mark.salt)
			end.mark.salt = pw_random_u64();
		return err ? err : take_over(k, jo, &end.mark);
	}
	pws_kv_index_get_state(k->index, &state);
	if (state.ring_off != jo->off || state.ring_bytes != jo->bytes) {
		pw_log_err("index %s: made for a journal of %llu bytes at %llu, not %llu at %llu",
			   k->o.index_dir, (unsigned long long)state.ring_bytes,
			   (unsigned long long)state.ring_off, (unsigned long long)jo->bytes,
			   (unsigned long long)jo->off);
		return -EINVAL;
	}
	err = replay(k, jo, &state.mark, &end);
	if (err)
		return err;
	if (end.nr_commits)
		pw_log_info("journal: replayed %llu commits of %llu batches",
			    (unsigned long long)end.nr_commits, (unsigned long long)end.nr_batches);
	k->stats.replayed = end.nr_commits;
	return take_over(k, jo, &end.mark);
}

int pws_kv_lmdb_open(struct pw_loop *loop, const struct pws_kv_lmdb_opts *o, struct pws_kv **ret)
{
	struct pws_journal_opts jo = {
		.disk = o->disk,
		.off = o->journal_off,
		.bytes = o->journal_bytes,
		.progress = on_journal,
	};
	struct kv_lmdb *k;
	bool is_new = false;
	int err;

	if (jo.off % PWS_BLOCK || jo.bytes % PWS_BLOCK ||
	    jo.bytes / 2 < PW_ROUND_UP(PWS_BATCH_MAX_BYTES, PWS_BLOCK))
		return -EINVAL;
	k = calloc(1, sizeof(*k));
	if (!k)
		return -ENOMEM;
	k->kv.ops = &lmdb_ops;
	k->kv.loop = loop;
	k->o = *o;
	k->half_bytes = PW_ROUND_DOWN(jo.bytes / 2, PWS_BLOCK);
	jo.arg = k;
	pw_timer_init(&k->seal, on_seal);
	kv_admit_init(k);
	kv_ckpt_init(k);
	err = pws_kv_index_open(loop, o->index_dir, o->map_bytes, &k->index, &is_new);
	if (!err)
		err = recover(k, &jo, is_new);
	if (err) {
		lmdb_free(k);
		return err;
	}
	if (!kv_admit_has_room(&k->kv))
		kv_ckpt_arm(k);
	*ret = &k->kv;
	return 0;
}
