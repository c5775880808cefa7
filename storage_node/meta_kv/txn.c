/* SPDX-License-Identifier: Apache-2.0 */
/* txn.c -- optimistic transactions over meta_kv.h
 *
 *	start -> RUN --0, puts-----------> COMMIT --0-------------> done(result)
 *	         ^ | --refused, keeps----/   | |--EAGAIN--> RUN, from the 10th time on after a pause
 *	         | |                         | `--EINPROGRESS--> BARRIER --> RUN
 *	         | |                         `--else--> done(err)
 *	         | `--nothing to write--> WAIT until what was read is durable --> done(result)
 *	         |                        (again: both go on with RUN, on media, in place of done)
 *	         `----fetched, EAGAIN----
 *
 * The keys that an attempt read or wrote are kept sorted: lookups are binary searches, walks that
 * delete as they go append, and the commit is in order as it stands. Keys and values are copied
 * into blocks that never move during an attempt, because the attempt may hold slices of them.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/fault.h"
#include "common/random.h"
#include "storage_node/meta_kv/kv_map.h"

#include "storage_node/meta_kv/txn.h"

#define TRIES_AT_ONCE  10u
#define PAUSE_NS       (1 * PW_NS_PER_MS)
#define PAUSE_MAX_NS   (50 * PW_NS_PER_MS)
/* What an idle transaction may hold on to. */
#define KEEP_BUF_BYTES (64u << 10)
#define KEEP_KEYS      1024u

static void run(struct pws_txn *t);

/* Buffer ------------------------------------------------------------------------------------- */

struct txn_block {     /* at the start of a buffer that is not the inline one */
	uint8_t *prev; /* inline_buf ends the chain */
};

static uint32_t buf_start(const struct pws_txn *t)
{
	return t->buf == t->inline_buf ? 0 : sizeof(struct txn_block);
}

static uint8_t *buf_prev(const uint8_t *buf)
{
	struct txn_block b;

	memcpy(&b, buf, sizeof(b));
	return b.prev;
}

static void buf_set_prev(uint8_t *buf, uint8_t *prev)
{
	struct txn_block b = { prev };

	memcpy(buf, &b, sizeof(b));
}

/* Keeps the newest block, the largest one, unless it is too large for an idle object. */
static void buf_reset(struct pws_txn *t, uint32_t keep_bytes)
{
	if (t->buf != t->inline_buf) {
		uint8_t *buf = buf_prev(t->buf);

		while (buf != t->inline_buf) {
			uint8_t *prev = buf_prev(buf);

			free(buf);
			buf = prev;
		}
		buf_set_prev(t->buf, t->inline_buf);
		if (t->size > keep_bytes) {
			free(t->buf);
			t->buf = t->inline_buf;
			t->size = sizeof(t->inline_buf);
		}
	}
	t->used = buf_start(t);
}

static void fail(struct pws_txn *t, int err)
{
	if (!t->overflow) {
		t->overflow = true;
		t->oops = err;
	}
}

static uint8_t *buf_get(struct pws_txn *t, uint32_t n)
{
	uint8_t *p;

	if (t->size - t->used < n) {
		uint32_t size = PW_MAX(2 * t->size, (uint32_t)(2 * sizeof(struct txn_block)) + n);
		uint8_t *buf = PW_FAULT("txn.grow") ? NULL : malloc(size);

		if (!buf) {
			fail(t, -ENOMEM);
			return NULL;
		}
		buf_set_prev(buf, t->buf);
		t->buf = buf;
		t->size = size;
		t->used = buf_start(t);
	}
	p = t->buf + t->used;
	t->used += n;
	return p;
}

/* An empty value still has an address: NULL means deletion. */
static bool copy_slice(struct pws_txn *t, struct pws_slice from, struct pws_slice *ret)
{
	uint8_t *p = buf_get(t, from.n ? from.n : 1);

	if (!p)
		return false;
	if (from.n)
		memcpy(p, from.p, from.n);
	*ret = (struct pws_slice){ p, from.n };
	return true;
}

/* Keys --------------------------------------------------------------------------------------- */

/* Index of the first key >= @key. */
static uint32_t lower_bound(const struct pws_txn *t, struct pws_slice key, bool *ret_equal)
{
	uint32_t lo = 0, hi = t->nr_keys;

	*ret_equal = false;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		int c = pws_slice_cmp(t->keys[mid].key, key);

		if (!c) {
			*ret_equal = true;
			return mid;
		}
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static bool grow_keys(struct pws_txn *t)
{
	uint32_t max = 2 * t->max_keys;
	struct pws_txn_key *old = t->keys == t->inline_keys ? NULL : t->keys;
	struct pws_txn_key *keys = PW_FAULT("txn.keys") ? NULL : realloc(old, max * sizeof(*keys));

	assert(max > PWS_TXN_INLINE_KEYS);
	if (!keys) {
		fail(t, -ENOMEM);
		return false;
	}
	if (!old)
		memcpy(keys, t->inline_keys, sizeof(t->inline_keys));
	t->keys = keys;
	t->max_keys = max;
	return true;
}

/* The entry of @key, made when there is none; NULL: the transaction has failed. */
static struct pws_txn_key *key_entry(struct pws_txn *t, struct pws_slice key)
{
	bool equal;
	uint32_t i = lower_bound(t, key, &equal);
	struct pws_slice copy;

	if (equal)
		return &t->keys[i];
	if (!key.n || key.n > PWS_KV_KEY_MAX) {
		fail(t, -EINVAL);
		return NULL;
	}
	if (t->nr_keys == t->max_keys && !grow_keys(t))
		return NULL;
	if (!copy_slice(t, key, &copy))
		return NULL;
	memmove(&t->keys[i + 1], &t->keys[i], (t->nr_keys - i) * sizeof(*t->keys));
	t->keys[i] = (struct pws_txn_key){ .key = copy };
	t->nr_keys++;
	return &t->keys[i];
}

static struct pws_txn_key *note_read(struct pws_txn *t, struct pws_slice key, uint64_t seq)
{
	struct pws_txn_key *e = key_entry(t, key);

	if (e) {
		e->read = true;
		e->seq = seq;
	}
	return e;
}

/* Reads -------------------------------------------------------------------------------------- */

static int read_done(struct pws_txn *t, int err, const struct pws_kv_rec *rec)
{
	if (err == -EINPROGRESS) {
		t->fetching = true;
		return -EAGAIN;
	}
	if (!err || err == -ENOENT)
		t->seen_seq = PW_MAX(t->seen_seq, rec->seen_seq);
	return err;
}

int pws_txn_get(struct pws_txn *t, struct pws_slice key, struct pws_slice *ret)
{
	struct pws_kv_rec rec;
	bool equal;
	uint32_t i;
	int err;

	if (t->overflow)
		return t->oops;
	if (t->fetching)
		return -EAGAIN;
	i = lower_bound(t, key, &equal);
	if (equal && t->keys[i].put) {
		if (!t->keys[i].val.p)
			return -ENOENT;
		*ret = t->keys[i].val;
		return 0;
	}
	err = read_done(t, t->kv->ops->get(t->kv, key, &rec, &t->fetch), &rec);
	if (err && err != -ENOENT)
		return err;
	if (!note_read(t, key, rec.seq))
		return t->oops;
	if (!err)
		*ret = rec.val;
	return err;
}

bool pws_txn_on_media(const struct pws_txn *t, struct pws_slice key)
{
	bool equal;
	uint32_t i = lower_bound(t, key, &equal);

	return equal && t->keys[i].read && t->keys[i].seq <= t->kv->ops->media_seq(t->kv);
}

/* The first own put or delete in [begin, end). */
static const struct pws_txn_key *own_next(const struct pws_txn *t, struct pws_slice begin,
					  struct pws_slice end)
{
	bool equal;

	for (uint32_t i = lower_bound(t, begin, &equal); i < t->nr_keys; i++) {
		if (pws_slice_cmp(t->keys[i].key, end) >= 0)
			break;
		if (t->keys[i].put)
			return &t->keys[i];
	}
	return NULL;
}

int pws_txn_next(struct pws_txn *t, struct pws_slice begin, struct pws_slice end,
		 struct pws_slice *ret_key, struct pws_slice *ret_val)
{
	uint8_t after[PWS_KV_KEY_MAX + 1];

	for (;;) {
		const struct pws_txn_key *own;
		struct pws_kv_rec rec;
		int err, c;

		if (t->overflow)
			return t->oops;
		if (t->fetching)
			return -EAGAIN;
		err = read_done(t, t->kv->ops->next(t->kv, begin, end, &rec, &t->fetch), &rec);
		if (err && err != -ENOENT)
			return err;
		own = own_next(t, begin, end);
		c = !own ? -1 : err ? 1 : pws_slice_cmp(rec.key, own->key);
		if (c < 0) {
			const struct pws_txn_key *e;

			if (err)
				return err;
			e = note_read(t, rec.key, rec.seq);
			if (!e)
				return t->oops;
			*ret_key = e->key;
			*ret_val = rec.val;
			return 0;
		}
		if (own->val.p) {
			*ret_key = own->key;
			*ret_val = own->val;
			return 0;
		}
		/* deleted here: look behind it */
		memcpy(after, own->key.p, own->key.n);
		after[own->key.n] = 0;
		begin = (struct pws_slice){ after, own->key.n + 1 };
	}
}

/* Writes ------------------------------------------------------------------------------------- */

static void put(struct pws_txn *t, struct pws_slice key, struct pws_slice val, bool keep)
{
	struct pws_slice copy = { NULL, 0 };
	struct pws_txn_key *e;

	if (t->overflow)
		return;
	if (val.p && val.n > PWS_KV_VAL_MAX) {
		fail(t, -E2BIG);
		return;
	}
	if (val.p && !copy_slice(t, val, &copy))
		return;
	e = key_entry(t, key);
	if (!e)
		return;
	if (e->put) {
		t->put_bytes -= e->val.n;
	} else {
		t->put_bytes += key.n;
		t->nr_puts++;
	}
	t->put_bytes += copy.n;
	e->val = copy;
	e->put = true;
	e->keep |= keep;
	if (t->nr_puts > PWS_KV_MUTS_MAX || t->put_bytes > PWS_KV_COMMIT_MAX)
		fail(t, -E2BIG);
}

void pws_txn_put(struct pws_txn *t, struct pws_slice key, struct pws_slice val)
{
	assert(val.p);
	put(t, key, val, false);
}

void pws_txn_del(struct pws_txn *t, struct pws_slice key)
{
	put(t, key, (struct pws_slice){ NULL, 0 }, false);
}

void pws_txn_keep(struct pws_txn *t, struct pws_slice key, struct pws_slice val)
{
	assert(val.p);
	put(t, key, val, true);
}

bool pws_txn_room(const struct pws_txn *t, uint32_t keys, uint32_t bytes)
{
	return !t->overflow && keys <= PWS_KV_MUTS_MAX - t->nr_puts &&
	       bytes <= PWS_KV_COMMIT_MAX - t->put_bytes;
}

/* Life --------------------------------------------------------------------------------------- */

static void reset(struct pws_txn *t)
{
	buf_reset(t, UINT32_MAX);
	t->nr_keys = 0;
	t->nr_puts = 0;
	t->put_bytes = 0;
	t->seen_seq = 0;
	t->oops = 0;
	t->overflow = false;
	t->fetching = false;
	t->barrier = false;
	t->sync = false;
	t->again = false;
}

static void trim(struct pws_txn *t, uint32_t keep_bytes, uint32_t keep_keys)
{
	buf_reset(t, keep_bytes);
	if (t->keys != t->inline_keys && t->max_keys > keep_keys) {
		free(t->keys);
		t->keys = t->inline_keys;
		t->max_keys = PWS_TXN_INLINE_KEYS;
	}
	t->nr_keys = 0;
}

/* @t may be started again, or be gone, when this returns. */
static void finish(struct pws_txn *t, int err)
{
	trim(t, KEEP_BUF_BYTES, KEEP_KEYS);
	t->done(t, err);
}

static void wait_for(struct pws_txn *t, uint64_t seq)
{
	t->waiter.seq = seq;
	t->waiter.sync = t->sync || t->again;
	t->kv->ops->wait(t->kv, &t->waiter);
}

struct txn_arrays { /* borrowed by the engine during the call of commit() */
	struct pws_kv_check *checks;
	struct pws_kv_mut *muts;
};

static void fill_commit(struct pws_txn *t, const struct txn_arrays *a)
{
	struct pws_kv_commit *c = &t->commit;

	c->nr_checks = c->nr_muts = 0;
	for (uint32_t i = 0; i < t->nr_keys; i++) {
		const struct pws_txn_key *e = &t->keys[i];

		if (e->read)
			a->checks[c->nr_checks++] = (struct pws_kv_check){ e->key, e->seq };
		if (e->put && (e->keep || !t->result))
			a->muts[c->nr_muts++] = (struct pws_kv_mut){ e->key, e->val };
	}
	c->checks = a->checks;
	c->muts = a->muts;
	c->sync = t->sync || t->again;
}

static void commit(struct pws_txn *t)
{
	struct pws_kv_check few_checks[PWS_TXN_INLINE_KEYS];
	struct pws_kv_mut few_muts[PWS_TXN_INLINE_KEYS];
	struct txn_arrays a = { few_checks, few_muts };
	void *many = NULL;

	if (t->nr_keys > PWS_TXN_INLINE_KEYS) {
		many = malloc(t->nr_keys * (sizeof(*a.checks) + sizeof(*a.muts)));
		if (!many) {
			/* UNTESTED: needs a failing malloc */
			t->result = -ENOMEM;
			wait_for(t, t->seen_seq);
			return;
		}
		a.checks = many;
		a.muts = (struct pws_kv_mut *)(a.checks + t->nr_keys);
	}
	fill_commit(t, &a);
	t->kv->ops->commit(t->kv, &t->commit);
	free(many);
}

static bool has_keeps(const struct pws_txn *t)
{
	for (uint32_t i = 0; i < t->nr_keys; i++)
		if (t->keys[i].keep)
			return true;
	return false;
}

static void run(struct pws_txn *t)
{
	int err;

	reset(t);
	err = t->attempt(t);
	if (t->fetching)
		return; /* on_fetch() goes on, whatever the attempt made of it */
	if (t->overflow) {
		t->result = t->oops;
		wait_for(t, t->seen_seq);
		return;
	}
	if (err == -EAGAIN && !t->again) {
		pw_loop_ready(t->kv->loop, &t->ready);
		return;
	}
	t->result = err;
	if (err ? has_keeps(t) : t->nr_puts > 0)
		commit(t);
	else
		wait_for(t, t->seen_seq);
}

static void on_ready(struct pw_ready *r)
{
	run(pw_container_of(r, struct pws_txn, ready));
}

static void on_timer(struct pw_timer *timer)
{
	run(pw_container_of(timer, struct pws_txn, timer));
}

static void on_fetch(struct pws_kv_fetch *f)
{
	run(pw_container_of(f, struct pws_txn, fetch));
}

static void on_wait(struct pws_kv_waiter *w)
{
	struct pws_txn *t = pw_container_of(w, struct pws_txn, waiter);

	if ((t->barrier || (t->again && !t->overflow)) && !w->err)
		run(t);
	else
		finish(t, w->err ? w->err : t->result);
}

static void on_commit(struct pws_kv_commit *c)
{
	struct pws_txn *t = pw_container_of(c, struct pws_txn, commit);
	uint64_t pause;

	switch (c->err) {
	case -EAGAIN:
		if (++t->tries < TRIES_AT_ONCE) {
			run(t);
			return;
		}
		pause = PW_MIN((t->tries - TRIES_AT_ONCE + 1) * PAUSE_NS, PAUSE_MAX_NS);
		pause += pw_random_below(pause);
		pw_timer_arm(t->kv->loop, &t->timer, pw_loop_now(t->kv->loop) + pause);
		return;
	case -EINPROGRESS:
		t->barrier = true;
		t->unsure = true;
		wait_for(t, t->kv->ops->last_seq(t->kv));
		return;
	case 0:
		if (t->again)
			run(t);
		else
			finish(t, t->result);
		return;
	default:
		finish(t, c->err);
		return;
	}
}

void pws_txn_init(struct pws_txn *t, struct pws_kv *kv)
{
	t->kv = kv;
	t->keys = t->inline_keys;
	t->max_keys = PWS_TXN_INLINE_KEYS;
	t->buf = t->inline_buf;
	t->size = sizeof(t->inline_buf);
	t->commit = (struct pws_kv_commit){ .done = on_commit };
	t->waiter = (struct pws_kv_waiter){ .done = on_wait };
	t->fetch = (struct pws_kv_fetch){ .done = on_fetch };
	pw_list_init(&t->commit.node);
	pw_list_init(&t->waiter.node);
	pw_list_init(&t->fetch.node);
	pw_ready_init(&t->ready, on_ready);
	pw_timer_init(&t->timer, on_timer);
	reset(t);
}

void pws_txn_fini(struct pws_txn *t)
{
	assert(pw_list_empty(&t->commit.node) && pw_list_empty(&t->waiter.node) &&
	       pw_list_empty(&t->fetch.node) && pw_list_empty(&t->ready.node) &&
	       !pw_timer_armed(&t->timer));
	trim(t, 0, 0);
}

void pws_txn_start(struct pws_txn *t, int (*attempt)(struct pws_txn *),
		   void (*done)(struct pws_txn *, int err))
{
	t->attempt = attempt;
	t->done = done;
	t->tries = 0;
	t->unsure = false;
	run(t);
}
