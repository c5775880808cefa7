/* SPDX-License-Identifier: Apache-2.0 */
/* kv_ckpt.c -- checkpoints of the "lmdb" engine: the overlay goes into the index
 *
 *	freeze -> wait until all of it is flushed -> the index applies it -> drop it, free the ring
 *
 * Started when the active overlay has filled its half of the ring, some time after the first
 * change, each second while the index has no room, and by stop. No room on the index's disk: tried
 * again, the journal has it all; commits go on until the ring's other half is full, too. Any other
 * failure is final, as that of a flush.
 */
#include <assert.h>
#include <errno.h>

#include "common/err.h"
#include "common/fault.h"
#include "common/log.h"
#include "storage_node/meta_kv/kv_lmdb.h"

#define CKPT_AFTER_NS (30 * PW_NS_PER_S)
#define CKPT_SOON_NS  (1 * PW_NS_PER_S) /* when room is short: what is deleted may make some */
#define CKPT_RETRY_NS (1 * PW_NS_PER_S)

/* Without room also with nothing to apply: only an apply asks the disk below how much there is now.
 */
static bool is_wanted(const struct kv_lmdb *k)
{
	return pws_kv_map_nr(k->active) || !kv_admit_has_room(&k->kv);
}

static void on_applied(struct pws_kv_index_apply *a)
{
	struct kv_lmdb *k = pw_container_of(a, struct kv_lmdb, apply);

	k->applying = false;
	switch (a->err) {
	case 0:
		pws_kv_map_free(k->frozen);
		k->frozen = NULL;
		k->stats.checkpoints++;
		if (is_wanted(k))
			kv_ckpt_arm(k);
		break;
	case -ENOSPC:
	case -ENOMEM:
	case -EAGAIN:
		pw_log_rl(PW_LOG_WARN, "index %s: checkpoint failed, %s; trying again",
			  k->o.index_dir, pw_err_text(a->err));
		pw_timer_arm(k->kv.loop, &k->ckpt_timer, pw_loop_now(k->kv.loop) + CKPT_RETRY_NS);
		break;
	default:
		kv_lmdb_fail(k, a->err, "checkpoint failed");
		break;
	}
	kv_admit_kick(k);
}

void kv_ckpt_step(struct kv_lmdb *k)
{
	if (!k->frozen || k->applying || k->err || pw_timer_armed(&k->ckpt_timer) ||
	    pws_journal_flushed_seq(k->journal) < k->frozen_end_seq)
		return;
	k->applying = true;
	pws_kv_index_apply(k->index, &k->apply);
}

static void freeze(struct kv_lmdb *k)
{
	struct pws_kv_map *fresh;
	int err;

	err = PW_FAULT_ERR("kv.checkpoint", -ENOMEM);
	if (!err)
		err = pws_kv_map_new(&fresh);
	if (err) {
		pw_timer_arm(k->kv.loop, &k->ckpt_timer, pw_loop_now(k->kv.loop) + CKPT_RETRY_NS);
		return;
	}
	pw_timer_cancel(k->kv.loop, &k->ckpt_timer);
	k->frozen = k->active;
	k->active = fresh;
	k->apply.map = k->frozen;
	k->apply.state.ring_off = k->o.journal_off;
	k->apply.state.ring_bytes = k->o.journal_bytes;
	k->apply.err = 0;
	pws_journal_cut(k->journal, &k->apply.state.mark);
	k->frozen_end_seq = k->apply.state.mark.seq;
	k->active_pos = k->apply.state.mark.pos;
	pws_journal_want_flush(k->journal, k->frozen_end_seq);
	kv_ckpt_step(k);
}

void kv_ckpt_start(struct kv_lmdb *k)
{
	if (!k->frozen && !k->err && pws_kv_map_nr(k->active))
		freeze(k);
}

void kv_ckpt_arm(struct kv_lmdb *k)
{
	uint64_t at = pw_loop_now(k->kv.loop);

	at += kv_admit_has_room(&k->kv) ? CKPT_AFTER_NS : CKPT_SOON_NS;
	if (k->frozen || (pw_timer_armed(&k->ckpt_timer) && k->ckpt_timer.deadline_ns <= at))
		return;
	pw_timer_arm(k->kv.loop, &k->ckpt_timer, at);
}

static void on_timer(struct pw_timer *t)
{
	struct kv_lmdb *k = pw_container_of(t, struct kv_lmdb, ckpt_timer);

	if (k->frozen)
		kv_ckpt_step(k);
	else if (!k->err && !k->stopping && is_wanted(k))
		freeze(k);
	/* those in line may have waited for nothing but memory */
	kv_admit_kick(k);
}

void kv_ckpt_init(struct kv_lmdb *k)
{
	k->apply.done = on_applied;
	pw_timer_init(&k->ckpt_timer, on_timer);
}

void kv_ckpt_fini(struct kv_lmdb *k)
{
	assert(!k->applying);
	pw_timer_cancel(k->kv.loop, &k->ckpt_timer);
}
