/* SPDX-License-Identifier: Apache-2.0 */
/* kv_rig.c -- set-up, commits and the model of the engine tests */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/random.h"

#include "kv_rig.h"

void rig_init(struct rig *r)
{
	memset(r, 0, sizeof(*r));
	r->loop = vloop_new();
	r->disk = vdisk_new(r->loop, RIG_DISK_BYTES);
	r->store = index_store_new();
	r->o = (struct pws_kv_lmdb_opts){
		.index_dir = "index",
		.journal_bytes = RIG_JOURNAL_BYTES,
		.map_bytes = PW_GIB,
	};
}

void rig_fini(struct rig *r)
{
	if (r->kv)
		rig_crash(r, VDISK_KEEP_ALL);
	for (uint32_t i = 0; i < r->nr; i++)
		free(r->all[i]);
	free(r->all);
	pws_disk_close(r->disk);
	index_store_free(r->store);
	vloop_free(r->loop);
}

int rig_set_up(void **state, uint64_t seed)
{
	struct rig *r = malloc(sizeof(*r));

	vrandom_seed(seed);
	rig_init(r);
	*state = r;
	return 0;
}

int rig_tear_down(void **state)
{
	rig_fini(*state);
	free(*state);
	return 0;
}

struct pws_kv_stats rig_stats(const struct rig *r)
{
	struct pws_kv_stats s;

	pws_kv_get_stats(r->kv, &s);
	return s;
}

void rig_open(struct rig *r)
{
	index_store_use(r->store);
	r->o.disk = r->disk;
	assert_int_equal(pws_kv_lmdb_open(r->loop, &r->o, &r->kv), 0);
}

static void on_stopped(void *arg, int err)
{
	struct rig *r = arg;

	r->stopped = true;
	r->stop_err = err;
}

int rig_stop(struct rig *r)
{
	r->stopped = false;
	r->kv->ops->stop(r->kv, on_stopped, r);
	assert_true(vloop_run_until(r->loop, &r->stopped));
	r->kv->ops->close(r->kv);
	r->kv = NULL;
	return r->stop_err;
}

void rig_crash(struct rig *r, enum vdisk_cut cut)
{
	struct pws_disk *disk = vdisk_after_cut(r->disk, cut);
	struct index_store *store = index_store_copy(r->store);

	/* the old engine ends on a disk and an index that nobody will see */
	vdisk_break(r->disk);
	vloop_settle(r->loop);
	r->store->hold = false;
	rig_stop(r);
	pws_disk_close(r->disk);
	index_store_free(r->store);
	r->disk = disk;
	r->store = store;
}

struct pws_slice rig_key(uint32_t i, char buf[16])
{
	return (struct pws_slice){ buf, (uint32_t)snprintf(buf, 16, "k%03u", i) };
}

static void on_done(struct pws_kv_commit *c)
{
	struct rig_commit *rc = pw_container_of(c, struct rig_commit, c);

	assert_false(rc->told);
	rc->told = true;
}

static struct rig_commit *new_commit(struct rig *r, bool sync)
{
	struct rig_commit *rc = calloc(1, sizeof(*rc));

	rc->c.done = on_done;
	rc->c.sync = sync;
	pw_list_init(&rc->c.node);
	if (r->nr == r->max) {
		r->max = r->max ? 2 * r->max : 64;
		r->all = realloc(r->all, r->max * sizeof(*r->all));
	}
	r->all[r->nr++] = rc;
	return rc;
}

static void submit(struct rig *r, struct rig_commit *rc)
{
	static uint8_t val[RIG_MUTS][RIG_VAL_MAX];
	struct pws_kv_mut muts[RIG_MUTS];
	char keys[RIG_MUTS][16];

	for (uint32_t i = 0; i < rc->nr; i++) {
		memset(val[i], rc->mut[i].fill, rc->mut[i].len);
		muts[i].key = rig_key(rc->mut[i].key, keys[i]);
		muts[i].val.p = rc->mut[i].del ? NULL : val[i];
		muts[i].val.n = rc->mut[i].len;
	}
	rc->c.muts = muts;
	rc->c.nr_muts = rc->nr;
	r->kv->ops->commit(r->kv, &rc->c);
	assert_false(rc->told); /* never from within commit */
	/* what was lent is gone */
	memset(muts, 0xaa, sizeof(muts));
	memset(val, 0xbb, sizeof(val[0]) * rc->nr);
	memset(keys, 0xcc, sizeof(keys));
}

struct rig_commit *rig_commit(struct rig *r, bool sync)
{
	struct rig_commit *rc = new_commit(r, sync);

	rc->nr = 1 + (uint32_t)pw_random_below(RIG_MUTS);
	for (uint32_t i = 0; i < rc->nr; i++) {
		/* keys differ: each mutation takes from its own share */
		rc->mut[i].key = (uint32_t)pw_random_below(RIG_KEYS / RIG_MUTS) * RIG_MUTS + i;
		rc->mut[i].del = pw_random_below(4) == 0;
		if (rc->mut[i].del)
			continue;
		rc->mut[i].len = (uint32_t)pw_random_below(pw_random_below(8) ? 300 : RIG_VAL_MAX);
		rc->mut[i].fill = (uint8_t)pw_random_u64();
	}
	submit(r, rc);
	return rc;
}

static struct rig_commit *one(struct rig *r, uint32_t key, bool del, uint32_t len)
{
	struct rig_commit *rc = new_commit(r, false);

	rc->nr = 1;
	rc->mut[0].key = key;
	rc->mut[0].del = del;
	rc->mut[0].len = len;
	rc->mut[0].fill = (uint8_t)r->nr;
	submit(r, rc);
	return rc;
}

struct rig_commit *rig_put(struct rig *r, uint32_t key, uint32_t len)
{
	return one(r, key, false, len);
}

struct rig_commit *rig_del(struct rig *r, uint32_t key)
{
	return one(r, key, true, 0);
}

void rig_wait(struct rig *r, struct rig_commit *c)
{
	assert_true(vloop_run_until(r->loop, &c->told));
}

static int by_seq(const void *a, const void *b)
{
	const struct rig_commit *const *x = a, *const *y = b;

	return (*x)->c.seq < (*y)->c.seq ? -1 : (*x)->c.seq > (*y)->c.seq;
}

void rig_model(const struct rig *r, uint64_t seq, struct rig_rec model[RIG_KEYS])
{
	struct rig_commit **sorted = malloc((r->nr + 1) * sizeof(*sorted));
	uint64_t next = 1;

	for (uint32_t i = 0; i < r->nr; i++)
		sorted[i] = r->all[i];
	qsort(sorted, r->nr, sizeof(*sorted), by_seq);
	memset(model, 0, RIG_KEYS * sizeof(*model));
	for (uint32_t i = 0; i < r->nr; i++) {
		const struct rig_commit *rc = sorted[i];

		if (!rc->c.seq || rc->c.seq > seq)
			continue;
		assert_int_equal(rc->c.seq, next++); /* no gap, none twice */
		for (uint32_t m = 0; m < rc->nr; m++)
			model[rc->mut[m].key] = (struct rig_rec){
				.live = !rc->mut[m].del,
				.len = rc->mut[m].len,
				.fill = rc->mut[m].fill,
				.seq = rc->c.seq,
			};
	}
	assert_int_equal(next, seq + 1);
	free(sorted);
}

static void check_val(const struct rig_rec *want, const struct pws_kv_rec *rec)
{
	assert_int_equal(rec->seq, want->seq);
	assert_true(rec->seen_seq >= rec->seq);
	assert_int_equal(rec->val.n, want->len);
	for (uint32_t i = 0; i < want->len; i++)
		assert_int_equal(((const uint8_t *)rec->val.p)[i], want->fill);
}

void rig_check(struct rig *r)
{
	struct rig_rec model[RIG_KEYS];
	struct pws_kv_fetch f;
	struct pws_slice begin = { "k", 1 }, end = { "l", 1 };
	uint8_t after[PWS_KV_KEY_MAX + 1];
	struct pws_kv_rec rec;
	char buf[16];

	rig_model(r, r->kv->ops->last_seq(r->kv), model);
	for (uint32_t i = 0; i < RIG_KEYS; i++) {
		int err = r->kv->ops->get(r->kv, rig_key(i, buf), &rec, &f);

		assert_int_equal(err, model[i].live ? 0 : -ENOENT);
		if (!err)
			check_val(&model[i], &rec);
		else
			assert_true(rec.seq == 0 || rec.seq == model[i].seq);
	}
	for (uint32_t i = 0; i < RIG_KEYS; i++) {
		struct pws_slice key = rig_key(i, buf);

		if (!model[i].live)
			continue;
		assert_int_equal(r->kv->ops->next(r->kv, begin, end, &rec, &f), 0);
		assert_int_equal(pws_slice_cmp(rec.key, key), 0);
		check_val(&model[i], &rec);
		memcpy(after, key.p, key.n);
		after[key.n] = 0;
		begin = (struct pws_slice){ after, key.n + 1 };
	}
	assert_int_equal(r->kv->ops->next(r->kv, begin, end, &rec, &f), -ENOENT);
}

void rig_history_ends(struct rig *r, uint64_t seq)
{
	uint32_t nr = 0;

	for (uint32_t i = 0; i < r->nr; i++) {
		struct rig_commit *rc = r->all[i];

		if (rc->c.seq && rc->c.seq <= seq) {
			/* whatever was told about it, it stands */
			r->all[nr++] = rc;
			continue;
		}
		free(rc);
	}
	r->nr = nr;
}
