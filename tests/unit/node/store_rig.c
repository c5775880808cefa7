/* SPDX-License-Identifier: Apache-2.0 */
/* store_rig.c -- see store_rig.h */
#include <assert.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "storage_node/meta_kv/journal_batch.h"
#include "storage_node/store/chunk.h"

#include "store_rig.h"

#define RIG_JOURNAL_BYTES (2 * PW_ROUND_UP(PWS_BATCH_MAX_BYTES, PWS_BLOCK) + 65536ull)

/* The engine: kv_mem, but for what is on media. media_seq() and wait() have no room for another
 * argument, so the rig that they serve is the newest one. */
static struct rig *cur;
static struct pws_kv_ops ops;
static const struct pws_kv_ops *real_ops;

bool sr_faults(void)
{
	const char *s = getenv("PW_FAULT");

	return s && *s && strcmp(s, "count");
}

static uint64_t media_seq(const struct pws_kv *kv)
{
	return cur->hold_media ? cur->media_seq : real_ops->media_seq(kv);
}

static void wait(struct pws_kv *kv, struct pws_kv_waiter *w)
{
	if (!w->sync || !cur->hold_media) {
		real_ops->wait(kv, w);
		return;
	}
	cur->nr_media_waits++;
	pw_list_add_tail(&cur->media_waiters, &w->node);
}

void sr_flush(struct rig *rig)
{
	struct pw_list *n;

	rig->media_seq = rig->kv->ops->last_seq(rig->kv);
	while ((n = pw_list_pop(&rig->media_waiters))) {
		struct pws_kv_waiter *w = pw_list_entry(n, struct pws_kv_waiter, node);

		w->err = 0;
		w->done(w);
	}
}

uint64_t sr_journal_bytes(void)
{
	return RIG_JOURNAL_BYTES;
}

struct syncer {
	struct pws_kv_waiter w;
	bool done;
};

static void synced(struct pws_kv_waiter *w)
{
	pw_container_of(w, struct syncer, w)->done = true;
}

void sr_sync(struct rig *rig)
{
	struct syncer s = { .w = { .sync = true, .done = synced } };

	s.w.seq = rig->kv->ops->last_seq(rig->kv);
	pw_list_init(&s.w.node);
	rig->kv->ops->wait(rig->kv, &s.w);
	if (!vloop_run_until(rig->loop, &s.done) || s.w.err)
		fail_msg("the engine does not flush");
}

static void on_bad_block(void *arg, uint64_t ino, uint64_t chunk, uint32_t block)
{
	struct rig *rig = arg;

	rig->nr_bad++;
	rig->bad_ino = ino;
	rig->bad_chunk = chunk;
	rig->bad_block = block;
}

static int open_store(struct rig *rig)
{
	struct pws_store_opts o = {
		.kv = rig->kv,
		.bufs = rig->bufs,
		.max_io = RIG_MAX_IO,
		.max_inflight = RIG_INFLIGHT,
		.disk = rig->disk,
		.data_off = rig->data_off,
		.memory_bytes = rig->o.memory_bytes,
		.on_bad_block = on_bad_block,
		.arg = rig,
	};

	switch (rig->o.kind) {
	case RIG_CHUNK:
		return pws_store_open_chunk(rig->loop, &o, &rig->store);
	case RIG_MEMORY:
		return pws_store_open_memory(rig->loop, &o, &rig->store);
	default:
		return pws_store_open_null(rig->loop, &o, &rig->store);
	}
}

static int open_mem(struct rig *rig)
{
	int err = pws_kv_mem_open(rig->loop, &rig->kv);

	if (err)
		return err;
	real_ops = rig->kv->ops;
	ops = *real_ops;
	ops.media_seq = media_seq;
	ops.wait = wait;
	rig->kv->ops = &ops;
	return 0;
}

static bool verify(void *arg, const struct pws_kv_mut *mut)
{
	struct rig *rig = arg;

	return pws_store_verify_row(rig->disk, rig->data_off, mut);
}

static int open_journal(struct rig *rig)
{
	struct pws_kv_lmdb_opts o = {
		.index_dir = "index",
		.disk = rig->disk,
		.journal_bytes = RIG_JOURNAL_BYTES,
		.interval_ns = rig->o.interval_ns,
		.map_bytes = PW_GIB,
		.verify = verify,
		.verify_arg = rig,
	};

	index_store_use(rig->index);
	return pws_kv_lmdb_open(rig->loop, &o, &rig->kv);
}

int sr_new(struct rig **ret, const struct rig_opts *o)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	uint64_t size = o->disk_bytes ? o->disk_bytes : 64 * PW_MIB;
	uint32_t nr_bufs = RIG_INFLIGHT * 2 + (uint32_t)(o->memory_bytes / RIG_MAX_IO);
	int err;

	vrandom_seed(o->seed);
	pw_list_init(&rig->lent);
	cur = rig;
	rig->o = *o;
	rig->data_off = o->journal ? RIG_JOURNAL_BYTES : RIG_DATA_OFF;
	pw_list_init(&rig->media_waiters);
	rig->loop = vloop_new();
	rig->disk = fake_disk_new(rig->loop, size, PW_MAX(o->disk_max, size));
	if (o->journal)
		rig->index = index_store_new();
	err = o->journal ? open_journal(rig) : open_mem(rig);
	if (!err) {
		err = pws_bufpool_new(nr_bufs, RIG_MAX_IO + 2 * PWS_BLOCK, &rig->bufs);
	}
	if (!err)
		err = open_store(rig);
	if (err) {
		sr_free(rig);
		rig = NULL;
	}
	*ret = rig;
	return err;
}

static void set_flag(void *arg)
{
	*(bool *)arg = true;
}

static void close_store(struct rig *rig)
{
	bool stopped = false;

	if (!rig->store)
		return;
	rig->store->ops->stop(rig->store, set_flag, &stopped);
	if (!vloop_run_until(rig->loop, &stopped))
		fail_msg("the store does not stop");
	rig->store->ops->close(rig->store);
	rig->store = NULL;
}

int sr_reopen(struct rig *rig)
{
	close_store(rig);
	return open_store(rig);
}

static void kv_stopped(void *arg, int err)
{
	*(bool *)arg = true;
}

static void close_kv(struct rig *rig)
{
	bool stopped = false;

	if (!rig->kv)
		return;
	rig->kv->ops->stop(rig->kv, kv_stopped, &stopped);
	if (!vloop_run_until(rig->loop, &stopped))
		fail_msg("the engine does not stop");
	rig->kv->ops->close(rig->kv);
	rig->kv = NULL;
}

int sr_crash(struct rig *rig)
{
	struct pws_disk *disk = fake_disk_after_power_cut(rig->disk);
	struct index_store *index = index_store_copy(rig->index);
	int err;

	/* what runs ends on a disk and an index that nobody will see */
	fake_disk_break(rig->disk);
	sr_run(rig);
	close_store(rig);
	close_kv(rig);
	pws_disk_close(rig->disk);
	index_store_free(rig->index);
	rig->disk = disk;
	rig->index = index;
	err = open_journal(rig);
	return err ? err : open_store(rig);
}

void sr_free(struct rig *rig)
{
	if (!rig)
		return;
	close_store(rig);
	vloop_settle(rig->loop);
	pws_bufpool_free(rig->bufs);
	close_kv(rig);
	pws_disk_close(rig->disk);
	if (rig->index)
		index_store_free(rig->index);
	vloop_free(rig->loop);
	free(rig);
}

/* The engine knows itself by its own table. */
static void set_faults(struct rig *rig, const struct pws_kv_mem_faults *f)
{
	if (rig->o.journal)
		return;
	rig->kv->ops = real_ops;
	pws_kv_mem_set_faults(rig->kv, f);
	rig->kv->ops = &ops;
}

void sr_set_faults(struct rig *rig, const struct pws_kv_mem_faults *f)
{
	rig->faults = *f;
	set_faults(rig, f);
}

struct putter {
	struct pws_kv_commit c;
	bool done;
};

static void put_done(struct pws_kv_commit *c)
{
	pw_container_of(c, struct putter, c)->done = true;
}

void sr_put(struct rig *rig, struct pws_slice key, struct pws_slice val)
{
	struct pws_kv_mut mut = { key, val };
	struct putter p = { .c = { .muts = &mut, .nr_muts = 1, .done = put_done } };

	pw_list_init(&p.c.node);
	rig->kv->ops->commit(rig->kv, &p.c);
	vloop_run_until(rig->loop, &p.done);
	assert_int_equal(p.c.err, 0);
}

/* Inodes ------------------------------------------------------------------------------------ */

struct maker {
	struct pws_txn t;
	uint64_t ino;
	bool done;
};

static int make_attempt(struct pws_txn *t)
{
	struct maker *m = pw_container_of(t, struct maker, t);
	struct pws_inode i = { .version = PWS_RECORD_VERSION, .mode = 0100644, .nlink = 1 };

	struct pws_key k;

	pws_key_inode(&k, m->ino);
	pws_txn_put(t, pws_key_slice(&k), (struct pws_slice){ &i, sizeof(i) });
	return 0;
}

static void make_done(struct pws_txn *t, int err)
{
	pw_container_of(t, struct maker, t)->done = true;
}

void sr_make(struct rig *rig, uint64_t ino)
{
	struct maker m = { .ino = ino };

	pws_txn_init(&m.t, rig->kv);
	pws_txn_start(&m.t, make_attempt, make_done);
	vloop_run_until(rig->loop, &m.done);
	pws_txn_fini(&m.t);
}

int sr_row(struct rig *rig, const struct pws_key *k, struct pws_kv_rec *rec)
{
	struct pws_kv_mem_faults none = { 0 };
	int err;

	/* asked by the test, not by the code under test: no fault but a numbered one */
	set_faults(rig, &none);
	err = rig->kv->ops->get(rig->kv, pws_key_slice(k), rec, NULL);
	if (err && sr_faults()) /* one point fails in a run */
		err = rig->kv->ops->get(rig->kv, pws_key_slice(k), rec, NULL);
	set_faults(rig, &rig->faults);
	return err;
}

void sr_inode(struct rig *rig, uint64_t ino, struct pws_inode *ret)
{
	struct pws_kv_rec rec;
	struct pws_key k;

	memset(ret, 0, sizeof(*ret));
	pws_key_inode(&k, ino);
	if (!sr_row(rig, &k, &rec))
		assert_int_equal(pws_inode_decode(rec.val, ret, NULL), 0);
}

uint64_t sr_where(struct rig *rig, uint64_t ino, uint64_t file_block)
{
	uint32_t slot = (uint32_t)(file_block % PWS_SEGMENT_BLOCKS);
	struct pws_segment row;
	struct pws_kv_rec rec;
	struct pws_key k;

	pws_segment_key(&k, ino, file_block * PWS_BLOCK);
	if (sr_row(rig, &k, &rec))
		return UINT64_MAX;
	assert_int_equal(pws_segment_decode(rec.val, &row), 0);
	return row.present & 1u << slot ? rig->data_off + row.block[slot] * PWS_BLOCK : UINT64_MAX;
}

void sr_blocks(struct rig *rig, uint64_t *ret_free, uint64_t *ret_limbo, uint64_t *ret_all)
{
	pws_alloc_counts(pws_chunk_of(rig->store)->alloc, ret_free, ret_limbo, ret_all);
}
