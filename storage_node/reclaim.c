/* SPDX-License-Identifier: Apache-2.0 */
/* reclaim.c -- from an O row to nothing
 *
 * One job, one inode:
 *	look    a transaction decides what there is to do; an inode without data goes at once
 *	prepare the store takes the range
 *	rows    a transaction removes store rows, as many as fit, and with the last of them the
 *	        inode or its mark -> prepare again while rows are left
 *
 * What can fail: the store or the index. The O row is still there then: it is tried again after the
 * next kick or the next start. A file that was opened meanwhile is left alone; its last release
 * kicks.
 */
#include "storage_node/reclaim.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/err.h"
#include "common/fault.h"
#include "common/log.h"
#include "common/plant.h"
#include "storage_node/node.h"

static void job_end(struct pws_reclaim_job *j);

static struct pws_reclaim_job *job_of_txn(struct pws_txn *t)
{
	return pw_container_of(t, struct pws_reclaim_job, txn);
}

static void wake_waiters(struct pws_reclaim *rc)
{
	struct pw_list waiters, *pos;

	pw_list_init(&waiters);
	pw_list_splice_tail(&waiters, &rc->waiters);
	while ((pos = pw_list_pop(&waiters))) {
		struct pws_reclaim_waiter *w = pw_list_entry(pos, struct pws_reclaim_waiter, node);

		w->done(w);
	}
}

/* Attempts ---------------------------------------------------------------------------------- */

/* Nobody can reach it: no name, no open, and no client that may still claim one. */
static bool is_garbage(const struct pws_reclaim_job *j, const struct pws_inode *i)
{
	if (PW_PLANT("reclaim-open"))
		return !i->nlink;
	return !i->nlink && !j->rc->grace && !pws_opens_get(&j->rc->n->opens, j->ino);
}

static void delete_key(struct pws_txn *t, void (*make)(struct pws_key *k, uint64_t ino),
		       uint64_t ino)
{
	struct pws_key k;

	make(&k, ino);
	pws_txn_del(t, pws_key_slice(&k));
}

static int look_attempt(struct pws_txn *t)
{
	struct pws_reclaim_job *j = job_of_txn(t);
	struct pws_slice val;
	struct pws_inode i;
	struct pws_key k;
	int err;

	j->kind = PWS_RECLAIM_NOTHING;
	pws_key_orphan(&k, j->ino);
	err = pws_txn_get(t, pws_key_slice(&k), &val);
	if (err)
		return err == -ENOENT ? 0 : err;
	err = pws_meta_inode_get(t, j->ino, &i, NULL);
	if (err == -ESTALE) {
		delete_key(t, pws_key_orphan, j->ino);
		return 0;
	}
	if (err)
		return err;
	if (!i.nlink && !S_ISREG(i.mode)) {
		if (is_garbage(j, &i)) {
			delete_key(t, pws_key_inode, j->ino);
			delete_key(t, pws_key_orphan, j->ino);
		}
	} else if (!i.nlink && is_garbage(j, &i)) {
		j->kind = PWS_RECLAIM_ORPHAN;
	} else if (i.dead_gen) {
		j->kind = PWS_RECLAIM_TAIL;
	} else if (i.nlink) {
		delete_key(t, pws_key_orphan, j->ino);
	}
	return 0;
}

/* The whole file goes: its inode with its last rows, else it is marked dead from the start on. */
static void finish_orphan(struct pws_reclaim_job *j, struct pws_txn *t, struct pws_inode *i)
{
	if (!j->more) {
		delete_key(t, pws_key_inode, j->ino);
		delete_key(t, pws_key_orphan, j->ino);
		j->deleted = true;
		return;
	}
	i->size = 0;
	i->trunc_gen++;
	i->dead_from = 0;
	i->dead_gen = i->trunc_gen;
	pws_meta_inode_put(t, j->ino, i, (struct pws_slice){ NULL, 0 });
}

static void finish_tail(struct pws_reclaim_job *j, struct pws_txn *t, struct pws_inode *i)
{
	if (!j->more) {
		i->dead_from = i->dead_gen = 0;
		if (i->nlink)
			delete_key(t, pws_key_orphan, j->ino);
	}
	pws_meta_inode_put(t, j->ino, i, (struct pws_slice){ NULL, 0 });
}

static int rows_attempt(struct pws_txn *t)
{
	struct pws_reclaim_job *j = job_of_txn(t);
	struct pws_store *s = j->rc->n->store;
	struct pws_inode i;
	int64_t blocks = 0;
	int err = pws_meta_inode_get(t, j->ino, &i, NULL);

	if (err == -ESTALE && j->deleted)
		return 0; /* an earlier attempt, whose outcome was unknown, has done it */
	if (err)
		return err;
	if (j->kind == PWS_RECLAIM_ORPHAN ? !is_garbage(j, &i) : !i.dead_gen)
		return -EBUSY;
	err = s->ops->trunc_rows(s, &j->trunc, t, &i, &blocks, &j->more);
	if (err)
		return err;
	i.blocks += (uint64_t)blocks;
	if (j->kind == PWS_RECLAIM_ORPHAN)
		finish_orphan(j, t, &i);
	else
		finish_tail(j, t, &i);
	return 0;
}

/* Steps ------------------------------------------------------------------------------------- */

static void prepare(struct pws_reclaim_job *j)
{
	struct pws_store *s = j->rc->n->store;

	s->ops->trunc_prepare(s, &j->trunc);
}

static void note_failure(struct pws_reclaim_job *j, int err)
{
	if (err == -EBUSY || err == -ESTALE)
		return;
	j->rc->failed++;
	pw_log_rl(PW_LOG_WARN, "reclaim: inode %llu stays for now, %s", (unsigned long long)j->ino,
		  pw_err_text(err));
}

static void rows_done(struct pws_txn *t, int err)
{
	struct pws_reclaim_job *j = job_of_txn(t);
	struct pws_reclaim *rc = j->rc;
	struct pws_store *s = rc->n->store;

	s->ops->trunc_finish(s, &j->trunc, pws_outcome(t, !err));
	if (err) {
		note_failure(j, err);
	} else if (j->more && !rc->stopping) {
		prepare(j);
		wake_waiters(rc);
		return;
	} else if (!j->more) {
		if (j->kind == PWS_RECLAIM_ORPHAN)
			rc->reclaimed_inodes++;
		else
			rc->reclaimed_tails++;
	}
	job_end(j);
}

static void on_prepared(struct pws_store_trunc *tr)
{
	struct pws_reclaim_job *j = pw_container_of(tr, struct pws_reclaim_job, trunc);

	if (tr->err) {
		note_failure(j, tr->err);
		job_end(j);
		return;
	}
	pws_txn_start(&j->txn, rows_attempt, rows_done);
}

static void look_done(struct pws_txn *t, int err)
{
	struct pws_reclaim_job *j = job_of_txn(t);

	if (err)
		note_failure(j, err);
	if (err || j->kind == PWS_RECLAIM_NOTHING || j->rc->stopping) {
		job_end(j);
		return;
	}
	j->trunc = (struct pws_store_trunc){
		.ino = j->ino,
		.buf = j->buf,
		.reclaim = j->kind == PWS_RECLAIM_TAIL,
		.ready = on_prepared,
	};
	pw_list_init(&j->trunc.node);
	j->deleted = false;
	prepare(j);
}

/* The queue --------------------------------------------------------------------------------- */

static void enqueue(struct pws_reclaim *rc, uint64_t ino)
{
	if (rc->nr == PWS_RECLAIM_QUEUE) {
		/* the O rows know everything */
		rc->scan = true;
		rc->scan_after = 0;
		return;
	}
	rc->queue[(rc->head + rc->nr++) % PWS_RECLAIM_QUEUE] = ino;
}

static void job_end(struct pws_reclaim_job *j)
{
	struct pws_reclaim *rc = j->rc;

	if (j->again)
		enqueue(rc, j->ino);
	j->again = false;
	j->ino = 0;
	rc->nr_running--;
	if (!rc->stopping)
		pw_loop_ready(rc->n->loop, &rc->ready);
	wake_waiters(rc);
	pws_node_idle_check(rc->n);
}

/* 0; -EINPROGRESS; -ENOENT no O row behind scan_after */
static int scan_next(struct pws_reclaim *rc, uint64_t *ret_ino)
{
	struct pws_kv *kv = rc->n->kv;
	struct pws_key begin, end;
	struct pws_kv_rec rec;
	uint64_t be;
	int err;

	pws_key_orphan_range(&begin, &end, rc->scan_after);
	err = kv->ops->next(kv, pws_key_slice(&begin), pws_key_slice(&end), &rec, &rc->fetch);
	if (err)
		return err;
	if (rec.key.n != 1 + sizeof(be))
		return -EBADMSG;
	memcpy(&be, (const uint8_t *)rec.key.p + 1, sizeof(be));
	*ret_ino = rc->scan_after = __builtin_bswap64(be);
	return 0;
}

static bool next_ino(struct pws_reclaim *rc, uint64_t *ret_ino)
{
	int err;

	if (rc->nr) {
		*ret_ino = rc->queue[rc->head];
		rc->head = (rc->head + 1) % PWS_RECLAIM_QUEUE;
		rc->nr--;
		return true;
	}
	if (!rc->scan || rc->fetching)
		return false;
	err = scan_next(rc, ret_ino);
	if (!err)
		return true;
	rc->fetching = err == -EINPROGRESS;
	if (rc->fetching)
		return false;
	rc->scan = false;
	if (err != -ENOENT)
		pw_log_warn("reclaim: cannot look for orphans, %s", pw_err_text(err));
	return false;
}

static struct pws_reclaim_job *find_job(struct pws_reclaim *rc, uint64_t ino)
{
	for (uint32_t i = 0; i < PWS_RECLAIM_JOBS; i++)
		if (rc->jobs[i].ino == ino)
			return &rc->jobs[i];
	return NULL;
}

static void on_ready(struct pw_ready *r)
{
	struct pws_reclaim *rc = pw_container_of(r, struct pws_reclaim, ready);
	struct pws_reclaim_job *j;
	uint64_t ino;

	while (!rc->stopping && rc->nr_running < PWS_RECLAIM_JOBS && next_ino(rc, &ino)) {
		j = find_job(rc, ino);
		if (j) {
			j->again = true;
			continue;
		}
		j = find_job(rc, 0);
		j->ino = ino;
		rc->nr_running++;
		pws_txn_start(&j->txn, look_attempt, look_done);
	}
	/* a walk that found nothing, or only what runs: nobody need wait for space any more */
	if (!rc->nr_running)
		wake_waiters(rc);
}

static void on_fetched(struct pws_kv_fetch *f)
{
	struct pws_reclaim *rc = pw_container_of(f, struct pws_reclaim, fetch);

	rc->fetching = false;
	pw_loop_ready(rc->n->loop, &rc->ready);
	pws_node_idle_check(rc->n);
}

static void on_grace_end(struct pw_timer *t)
{
	struct pws_reclaim *rc = pw_container_of(t, struct pws_reclaim, grace_timer);

	rc->grace = false;
	rc->scan = true;
	rc->scan_after = 0;
	pw_loop_ready(rc->n->loop, &rc->ready);
}

/* Life -------------------------------------------------------------------------------------- */

int pws_reclaim_init(struct pws_reclaim *rc, struct pws_node *n)
{
	int err = PW_FAULT_ERR("reclaim.alloc", -ENOMEM);

	memset(rc, 0, sizeof(*rc));
	rc->n = n;
	rc->grace = !PW_PLANT("no-grace");
	pw_list_init(&rc->waiters);
	pw_timer_init(&rc->grace_timer, on_grace_end);
	pw_ready_init(&rc->ready, on_ready);
	rc->fetch.done = on_fetched;
	pw_list_init(&rc->fetch.node);
	for (uint32_t i = 0; i < PWS_RECLAIM_JOBS; i++) {
		rc->jobs[i].rc = rc;
		pws_txn_init(&rc->jobs[i].txn, n->kv);
		rc->jobs[i].buf = pws_buf_get(n->bufs);
		if (!rc->jobs[i].buf)
			err = -ENOMEM;
	}
	rc->queue = err ? NULL : calloc(PWS_RECLAIM_QUEUE, sizeof(*rc->queue));
	if (rc->queue)
		return 0;
	pws_reclaim_fini(rc);
	return -ENOMEM;
}

void pws_reclaim_fini(struct pws_reclaim *rc)
{
	assert(!rc->nr_running);
	pw_timer_cancel(rc->n->loop, &rc->grace_timer);
	pw_ready_cancel(&rc->ready);
	for (uint32_t i = 0; i < PWS_RECLAIM_JOBS; i++) {
		pws_txn_fini(&rc->jobs[i].txn);
		if (rc->jobs[i].buf)
			pws_buf_put(rc->n->bufs, rc->jobs[i].buf);
		rc->jobs[i].buf = NULL;
	}
	free(rc->queue);
	rc->queue = NULL;
}

void pws_reclaim_start(struct pws_reclaim *rc, uint32_t grace_ms)
{
	if (grace_ms)
		pw_timer_arm(rc->n->loop, &rc->grace_timer,
			     pw_loop_now(rc->n->loop) + grace_ms * PW_NS_PER_MS);
	else
		rc->grace = false;
	rc->scan = true;
	rc->scan_after = 0;
	pw_loop_ready(rc->n->loop, &rc->ready);
}

void pws_reclaim_kick(struct pws_reclaim *rc, uint64_t ino)
{
	if (rc->stopping)
		return;
	enqueue(rc, ino);
	pw_loop_ready(rc->n->loop, &rc->ready);
}

void pws_reclaim_stop(struct pws_reclaim *rc)
{
	rc->stopping = true;
	pw_timer_cancel(rc->n->loop, &rc->grace_timer);
	pw_ready_cancel(&rc->ready);
	wake_waiters(rc);
}

bool pws_reclaim_idle(const struct pws_reclaim *rc)
{
	return !rc->nr_running && !rc->fetching;
}

bool pws_reclaim_wait(struct pws_reclaim *rc, struct pws_reclaim_waiter *w)
{
	if (rc->stopping || (!rc->nr_running && !rc->nr && !rc->scan))
		return false;
	pw_list_add_tail(&rc->waiters, &w->node);
	return true;
}
