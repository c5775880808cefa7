/* SPDX-License-Identifier: Apache-2.0 */
/* kv_admit.c -- the life of a commit in the "lmdb" engine, and who is told when
 *
 *	commit -> checked -> [in line for a checkpoint] -> applied, in a batch -> written -> flushed
 *
 * A commit is visible once it is applied. It is told "done" when it is written (durability =
 * interval) or flushed (always, or sync). Whoever failed is told in the next turn, never from
 * within commit().
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/fault.h"
#include "common/plant.h"
#include "storage_node/meta_kv/kv_lmdb.h"

/* Room in the index -------------------------------------------------------------------------- */

/* What a map may make the index grow by: records are copied, pages are half full after splits. */
static uint64_t growth(const struct pws_kv_map *m)
{
	return m ? 2 * pws_kv_map_live_bytes(m) + 64 * pws_kv_map_nr(m) : 0;
}

static uint64_t reserve_bytes(const struct kv_lmdb *k)
{
	return PW_MIN(PW_MAX(k->o.map_bytes / 20, PW_MIB), 64 * PW_MIB);
}

/* Would @more bytes leave @spare bytes of the index free? */
static bool has_room(const struct kv_lmdb *k, uint64_t more, uint64_t spare)
{
	return growth(k->active) + growth(k->frozen) + more + spare <= pws_kv_index_room(k->index);
}

/* By what the index has told, without the high estimates of what the overlays need: with them it
 * would be full long before it is, and only commits can wait for the checkpoint that tells. */
bool kv_admit_has_room(const struct pws_kv *kv)
{
	const struct kv_lmdb *k = pw_container_of(kv, const struct kv_lmdb, kv);

	return reserve_bytes(k) <= pws_kv_index_room(k->index);
}

/* A removal comes with puts of its own (the parent's times, the reply); only what adds is refused.
 */
static bool only_adds(struct kv_lmdb *k, const struct pws_kv_commit *c)
{
	bool adds = false;

	for (uint32_t i = 0; i < c->nr_muts; i++) {
		struct pws_kv_rec old;

		if (!c->muts[i].val.p)
			return false;
		if (kv_lmdb_find(k, c->muts[i].key, &old) || old.val.n < c->muts[i].val.n)
			adds = true;
	}
	return adds;
}

/* Commits ------------------------------------------------------------------------------------ */

static bool flush_before_done(const struct kv_lmdb *k, bool sync)
{
	return sync || (!k->o.interval_ns && !PW_PLANT("ack-before-flush"));
}

static int judge(struct kv_lmdb *k, const struct pws_kv_commit *c, uint64_t bytes)
{
	int err;

	for (uint32_t i = 0; i < c->nr_checks; i++) {
		struct pws_kv_rec rec;
		bool holds;

		err = kv_lmdb_find(k, c->checks[i].key, &rec);
		if (err && err != -ENOENT)
			return err;
		holds = c->checks[i].seq ? rec.seq == c->checks[i].seq : err == -ENOENT;
		if (!holds)
			return -EAGAIN;
	}
	if (!has_room(k, 2 * bytes, reserve_bytes(k) / 2) && only_adds(k, c))
		return -ENOSPC;
	err = PW_FAULT_ERR("kv.commit", -ENOMEM);
	if (!err)
		err = pws_kv_map_reserve(k->active, c->nr_muts, bytes);
	if (!err && c->nr_muts)
		err = pws_journal_reserve(k->journal, pws_batch_commit_bytes(c->muts, c->nr_muts));
	return err;
}

static void arm_interval(struct kv_lmdb *k)
{
	if (k->o.interval_ns && !pw_timer_armed(&k->interval))
		pw_timer_arm(k->kv.loop, &k->interval, pw_loop_now(k->kv.loop) + k->o.interval_ns);
}

/* Nothing can fail from here on. */
static void apply(struct kv_lmdb *k, struct pws_kv_commit *c)
{
	bool flush = flush_before_done(k, c->sync);

	c->err = 0;
	if (c->nr_muts) {
		c->seq = ++k->last_seq;
		for (uint32_t i = 0; i < c->nr_muts; i++)
			pws_kv_map_put(k->active, c->muts[i].key, c->muts[i].val, c->seq);
		pws_journal_append(k->journal, c->seq, c->muts, c->nr_muts);
		k->stats.commits++;
		arm_interval(k);
		kv_ckpt_arm(k);
	} else {
		/* checks only: done when what they saw is durable */
		c->seq = k->last_seq;
		kv_admit_kick(k);
	}
	pw_list_add_tail(flush ? &k->for_flush : &k->for_write, &c->node);
	if (flush)
		pws_journal_want_flush(k->journal, c->seq);
}

static void settle(struct kv_lmdb *k, struct pws_kv_commit *c, int err)
{
	c->err = err;
	pw_list_add_tail(&k->over, &c->node);
	kv_admit_kick(k);
}

static void judge_and_apply(struct kv_lmdb *k, struct pws_kv_commit *c, uint64_t bytes)
{
	int err = judge(k, c, bytes);

	if (err)
		settle(k, c, err);
	else
		apply(k, c);
}

/* Is the active overlay's half of the ring, or the index, too small for this commit as things
 * stand? */
static bool lacks_room(struct kv_lmdb *k, const struct pws_kv_commit *c, uint64_t bytes)
{
	uint32_t n = pws_batch_commit_bytes(c->muts, c->nr_muts);

	if (pws_journal_end_after(k->journal, n) - k->active_pos > k->half_bytes)
		return true;
	/* estimates of what the overlays need are high: a checkpoint tells */
	return (k->frozen || pws_kv_map_nr(k->active)) &&
	       !has_room(k, 2 * bytes, reserve_bytes(k) / 2) && only_adds(k, c);
}

static bool must_wait(struct kv_lmdb *k, const struct pws_kv_commit *c, uint64_t bytes)
{
	if (!c->nr_muts || !lacks_room(k, c, bytes))
		return false;
	kv_ckpt_start(k);
	return lacks_room(k, c, bytes);
}

/* What the caller lent for the call only, copied. */
struct line_copy {
	const struct pws_kv_check *lent_checks;
	const struct pws_kv_mut *lent_muts;
	struct pws_kv_check checks[]; /* then the mutations, then the bytes */
};

static uint8_t *copy_slice(uint8_t *p, struct pws_slice *s)
{
	if (!s->p)
		return p;
	if (s->n)
		memcpy(p, s->p, s->n);
	s->p = p;
	return p + s->n;
}

static int stand_in_line(struct kv_lmdb *k, struct pws_kv_commit *c, uint64_t bytes)
{
	size_t size = c->nr_checks * sizeof(*c->checks) + c->nr_muts * sizeof(*c->muts) + bytes;
	struct line_copy *copy;
	struct pws_kv_mut *muts;
	uint8_t *p;

	for (uint32_t i = 0; i < c->nr_checks; i++)
		size += c->checks[i].key.n;
	copy = PW_FAULT("kv.line") ? NULL : malloc(sizeof(*copy) + size);
	if (!copy)
		return -ENOMEM;
	copy->lent_checks = c->checks;
	copy->lent_muts = c->muts;
	muts = (struct pws_kv_mut *)(copy->checks + c->nr_checks);
	p = (uint8_t *)(muts + c->nr_muts);
	for (uint32_t i = 0; i < c->nr_checks; i++) {
		copy->checks[i] = c->checks[i];
		p = copy_slice(p, &copy->checks[i].key);
	}
	for (uint32_t i = 0; i < c->nr_muts; i++) {
		muts[i] = c->muts[i];
		p = copy_slice(p, &muts[i].key);
		p = copy_slice(p, &muts[i].val);
	}
	c->checks = copy->checks;
	c->muts = muts;
	pw_list_add_tail(&k->line, &c->node);
	return 0;
}

static void line_release(struct pws_kv_commit *c)
{
	struct line_copy *copy = pw_container_of(c->checks, struct line_copy, checks[0]);

	c->checks = copy->lent_checks;
	c->muts = copy->lent_muts;
	free(copy);
}

static struct pws_kv_commit *line_pop(struct kv_lmdb *k)
{
	return pw_list_entry(pw_list_pop(&k->line), struct pws_kv_commit, node);
}

static void step_line(struct kv_lmdb *k)
{
	while (!k->err && !pw_list_empty(&k->line)) {
		struct pws_kv_commit *c = pw_list_first(&k->line, struct pws_kv_commit, node);
		uint64_t bytes = 0;
		int err = pws_kv_commit_check(c, &bytes);

		assert(!err); /* it was good when it came */
		(void)err;
		if (must_wait(k, c, bytes))
			return;
		line_pop(k);
		judge_and_apply(k, c, bytes);
		line_release(c); /* nobody was told yet: c is still there */
	}
}

void kv_admit_commit(struct pws_kv *kv, struct pws_kv_commit *c)
{
	struct kv_lmdb *k = kv_to_lmdb(kv);
	uint64_t bytes = 0;
	int err = k->err ? k->err : k->stopping ? -ESHUTDOWN : pws_kv_commit_check(c, &bytes);

	if (!err && (!pw_list_empty(&k->line) || must_wait(k, c, bytes))) {
		err = stand_in_line(k, c, bytes);
		if (!err)
			return;
	}
	if (err)
		settle(k, c, err);
	else
		judge_and_apply(k, c, bytes);
}

/* Waiters ------------------------------------------------------------------------------------ */

void kv_admit_wait(struct pws_kv *kv, struct pws_kv_waiter *w)
{
	struct kv_lmdb *k = kv_to_lmdb(kv);
	bool flush = flush_before_done(k, w->sync);
	struct pw_list *head = flush ? &k->wait_flush : &k->wait_write;
	struct pw_list *at = head->prev;

	w->err = 0;
	w->seq = PW_MIN(w->seq, k->last_seq);
	/* by seq; nearly always at the end */
	while (at != head && pw_list_entry(at, struct pws_kv_waiter, node)->seq > w->seq)
		at = at->prev;
	pw_list_insert(&w->node, at, at->next);
	if (flush && !k->err)
		pws_journal_want_flush(k->journal, w->seq);
	if (k->err || w->seq <= (flush ? pws_journal_flushed_seq(k->journal)
				       : pws_journal_written_seq(k->journal)))
		kv_admit_kick(k);
}

uint64_t kv_admit_durable_seq(const struct pws_kv *kv)
{
	const struct kv_lmdb *k = pw_container_of(kv, const struct kv_lmdb, kv);

	return k->o.interval_ns ? pws_journal_written_seq(k->journal)
				: pws_journal_flushed_seq(k->journal);
}

/* Telling ------------------------------------------------------------------------------------ */

/* Those up to @seq are done; with @err, all that are left have failed. */
static void tell_commits(struct pw_list *list, uint64_t seq, int err)
{
	while (!pw_list_empty(list)) {
		struct pws_kv_commit *c = pw_list_first(list, struct pws_kv_commit, node);

		if (c->seq > seq && !err)
			return;
		if (c->seq > seq)
			c->err = err;
		pw_list_del(&c->node);
		c->done(c);
	}
}

static void tell_waiters(struct pw_list *list, uint64_t seq, int err)
{
	while (!pw_list_empty(list)) {
		struct pws_kv_waiter *w = pw_list_first(list, struct pws_kv_waiter, node);

		if (w->seq > seq && !err)
			return;
		if (w->seq > seq)
			w->err = err;
		pw_list_del(&w->node);
		w->done(w);
	}
}

static void tell_over(struct kv_lmdb *k)
{
	struct pw_list over, *n;

	/* who fails again while he is told stands in the new list, for the next turn */
	pw_list_init(&over);
	pw_list_splice_tail(&over, &k->over);
	while ((n = pw_list_pop(&over))) {
		struct pws_kv_commit *c = pw_list_entry(n, struct pws_kv_commit, node);

		c->done(c);
	}
}

static void fail_line(struct kv_lmdb *k)
{
	while (k->err && !pw_list_empty(&k->line)) {
		struct pws_kv_commit *c = line_pop(k);

		line_release(c);
		settle(k, c, k->err);
	}
}

static void on_ready(struct pw_ready *r)
{
	struct kv_lmdb *k = pw_container_of(r, struct kv_lmdb, ready);
	uint64_t written = pws_journal_written_seq(k->journal);
	uint64_t flushed = pws_journal_flushed_seq(k->journal);

	fail_line(k);
	tell_commits(&k->for_write, written, k->err);
	tell_commits(&k->for_flush, flushed, k->err);
	tell_over(k);
	tell_waiters(&k->wait_write, written, k->err);
	tell_waiters(&k->wait_flush, flushed, k->err);
	step_line(k);
	kv_lmdb_step_stop(k);
}

static void on_interval(struct pw_timer *t)
{
	struct kv_lmdb *k = pw_container_of(t, struct kv_lmdb, interval);

	if (!k->err)
		pws_journal_want_flush(k->journal, k->last_seq);
}

bool kv_admit_idle(const struct kv_lmdb *k)
{
	return pw_list_empty(&k->line) && pw_list_empty(&k->over) && pw_list_empty(&k->for_write) &&
	       pw_list_empty(&k->for_flush) && pw_list_empty(&k->wait_write) &&
	       pw_list_empty(&k->wait_flush);
}

void kv_admit_kick(struct kv_lmdb *k)
{
	pw_loop_ready(k->kv.loop, &k->ready);
}

void kv_admit_init(struct kv_lmdb *k)
{
	pw_list_init(&k->line);
	pw_list_init(&k->for_write);
	pw_list_init(&k->for_flush);
	pw_list_init(&k->wait_write);
	pw_list_init(&k->wait_flush);
	pw_list_init(&k->over);
	pw_ready_init(&k->ready, on_ready);
	pw_timer_init(&k->interval, on_interval);
}

void kv_admit_fini(struct kv_lmdb *k)
{
	while (!pw_list_empty(&k->line))
		line_release(line_pop(k));
	pw_ready_cancel(&k->ready);
	pw_timer_cancel(k->kv.loop, &k->interval);
}
