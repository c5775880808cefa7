/* SPDX-License-Identifier: Apache-2.0 */
/* index_map.c -- the index as a map; an apply takes effect when it is done, whole */
#include <errno.h>
#include <stdlib.h>

#include "index_map.h"

struct pws_kv_index {
	struct pw_loop *loop;
	struct index_store *store;
	struct pws_kv_index_apply *apply;
	struct pw_timer timer;
};

static struct index_store *used;

struct index_store *index_store_new(void)
{
	struct index_store *s = calloc(1, sizeof(*s));

	if (!s || pws_kv_map_new(&s->map))
		abort();
	s->room = UINT64_MAX / 2;
	return s;
}

static void put(struct index_store *s, const struct pws_kv_ent *e)
{
	if (!e->val) {
		pws_kv_map_erase(s->map, pws_kv_ent_key(e));
		return;
	}
	if (pws_kv_map_reserve(s->map, 1, e->key_len + e->val_len))
		abort();
	pws_kv_map_put(s->map, pws_kv_ent_key(e), pws_kv_ent_val(e), e->seq);
}

static void put_all(struct index_store *s, const struct pws_kv_map *from)
{
	const struct pws_kv_ent *e = pws_kv_map_seek(from, (struct pws_slice){ "", 0 });

	for (; e; e = pws_kv_map_after(e))
		put(s, e);
}

struct index_store *index_store_copy(const struct index_store *from)
{
	struct index_store *s = index_store_new();

	put_all(s, from->map);
	s->state = from->state;
	s->has_state = from->has_state;
	s->room = from->room;
	s->applies = from->applies;
	return s;
}

void index_store_free(struct index_store *s)
{
	pws_kv_map_free(s->map);
	free(s);
}

void index_store_use(struct index_store *s)
{
	used = s;
}

static void on_timer(struct pw_timer *t)
{
	struct pws_kv_index *x = pw_container_of(t, struct pws_kv_index, timer);
	struct pws_kv_index_apply *a = x->apply;

	if (x->store->hold) {
		pw_timer_arm(x->loop, t, pw_loop_now(x->loop) + PW_NS_PER_MS);
		return;
	}
	x->apply = NULL;
	pws_kv_index_apply_now(x, a);
	a->done(a);
}

int pws_kv_index_open(struct pw_loop *loop, const char *dir, uint64_t map_bytes,
		      struct pws_kv_index **ret, bool *ret_new)
{
	struct pws_kv_index *x = calloc(1, sizeof(*x));

	(void)dir;
	(void)map_bytes;
	if (!x)
		return -ENOMEM;
	x->loop = loop;
	x->store = used;
	pw_timer_init(&x->timer, on_timer);
	*ret = x;
	*ret_new = !used->has_state;
	return 0;
}

void pws_kv_index_close(struct pws_kv_index *x)
{
	if (x)
		pw_timer_cancel(x->loop, &x->timer);
	free(x);
}

void pws_kv_index_get_state(const struct pws_kv_index *x, struct pws_kv_index_state *ret)
{
	*ret = x->store->state;
}

static int set_rec(struct pws_kv_rec *rec, const struct pws_kv_ent *e)
{
	*rec = (struct pws_kv_rec){ pws_kv_ent_key(e), pws_kv_ent_val(e), e->seq, e->seq };
	return 0;
}

int pws_kv_index_get(struct pws_kv_index *x, struct pws_slice key, struct pws_kv_rec *ret)
{
	const struct pws_kv_ent *e = pws_kv_map_get(x->store->map, key);

	return e ? set_rec(ret, e) : -ENOENT;
}

int pws_kv_index_next(struct pws_kv_index *x, struct pws_slice begin, struct pws_slice end,
		      struct pws_kv_rec *ret)
{
	const struct pws_kv_ent *e = pws_kv_map_seek(x->store->map, begin);

	return e && pws_slice_cmp(pws_kv_ent_key(e), end) < 0 ? set_rec(ret, e) : -ENOENT;
}

int pws_kv_index_apply_now(struct pws_kv_index *x, struct pws_kv_index_apply *a)
{
	a->err = x->store->fail;
	x->store->fail = 0;
	if (a->err)
		return a->err;
	put_all(x->store, a->map);
	x->store->state = a->state;
	x->store->has_state = true;
	x->store->applies++;
	return 0;
}

void pws_kv_index_apply(struct pws_kv_index *x, struct pws_kv_index_apply *a)
{
	if (x->apply)
		abort();
	x->apply = a;
	pw_timer_arm(x->loop, &x->timer, pw_loop_now(x->loop) + PW_NS_PER_MS);
}

uint64_t pws_kv_index_room(const struct pws_kv_index *x)
{
	return x->store->room;
}
