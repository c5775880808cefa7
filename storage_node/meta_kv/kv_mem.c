/* SPDX-License-Identifier: Apache-2.0 */
/* kv_mem.c -- the volatile engine, and the one that tests make fail
 *
 * All records are in one map; a deleted key is taken out (its version is 0 again), so nothing
 * grows. A commit is judged and applied at once. What is told later (commits, waiters, fetches)
 * stands in line until the next turn, or until a timer with an injected delay: the line keeps its
 * order and is told as a whole.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "common/fault.h"
#include "common/random.h"
#include "storage_node/meta_kv/kv_commit.h"

struct kv_mem {
	struct pws_kv kv;
	struct pws_kv_map *map; /* owns */
	struct pws_kv_stats stats;
	struct pws_kv_mem_faults faults;
	struct pw_list commits, waiters, fetches; /* to be told; borrowed until then */
	struct pw_ready ready;
	struct pw_timer timer;
	uint64_t last_seq;
	void (*stopped)(void *arg, int err); /* NULL: nobody waits for the end */
	void *stopped_arg;
};

static struct kv_mem *to_mem(struct pws_kv *kv)
{
	return pw_container_of(kv, struct kv_mem, kv);
}

static bool chance(uint32_t per_mille)
{
	return per_mille && pw_random_below(1000) < per_mille;
}

static void tell_later(struct kv_mem *m)
{
	uint64_t max = m->faults.delay_ns_max;

	if (pw_timer_armed(&m->timer) || !pw_list_empty(&m->ready.node))
		return;
	if (max)
		pw_timer_arm(m->kv.loop, &m->timer,
			     pw_loop_now(m->kv.loop) + pw_random_below(max + 1));
	else
		pw_loop_ready(m->kv.loop, &m->ready);
}

static void tell(struct kv_mem *m)
{
	struct pw_list commits, waiters, fetches, *n;

	pw_list_init(&commits);
	pw_list_init(&waiters);
	pw_list_init(&fetches);
	pw_list_splice_tail(&commits, &m->commits);
	pw_list_splice_tail(&waiters, &m->waiters);
	pw_list_splice_tail(&fetches, &m->fetches);
	while ((n = pw_list_pop(&commits))) {
		struct pws_kv_commit *c = pw_list_entry(n, struct pws_kv_commit, node);

		c->done(c);
	}
	while ((n = pw_list_pop(&waiters))) {
		struct pws_kv_waiter *w = pw_list_entry(n, struct pws_kv_waiter, node);

		w->done(w);
	}
	while ((n = pw_list_pop(&fetches))) {
		struct pws_kv_fetch *f = pw_list_entry(n, struct pws_kv_fetch, node);

		f->done(f);
	}
	if (m->stopped && pw_list_empty(&m->commits) && pw_list_empty(&m->waiters)) {
		void (*stopped)(void *arg, int err) = m->stopped;

		m->stopped = NULL;
		stopped(m->stopped_arg, 0);
	}
}

static void on_ready(struct pw_ready *r)
{
	tell(pw_container_of(r, struct kv_mem, ready));
}

static void on_timer(struct pw_timer *t)
{
	tell(pw_container_of(t, struct kv_mem, timer));
}

static bool read_waits(struct kv_mem *m, struct pws_kv_fetch *f)
{
	if (!chance(m->faults.read_async))
		return false;
	pw_list_add_tail(&m->fetches, &f->node);
	tell_later(m);
	return true;
}

static int mem_get(struct pws_kv *kv, struct pws_slice key, struct pws_kv_rec *rec,
		   struct pws_kv_fetch *f)
{
	struct kv_mem *m = to_mem(kv);
	const struct pws_kv_ent *e;
	int err = PW_FAULT("kv.mem.get");

	if (err)
		return err;
	if (read_waits(m, f))
		return -EINPROGRESS;
	e = pws_kv_map_get(m->map, key);
	return pws_kv_rec_set(rec, e);
}

static int mem_next(struct pws_kv *kv, struct pws_slice begin, struct pws_slice end,
		    struct pws_kv_rec *rec, struct pws_kv_fetch *f)
{
	struct kv_mem *m = to_mem(kv);
	const struct pws_kv_ent *e;
	int err = PW_FAULT("kv.mem.next");

	if (err)
		return err;
	if (read_waits(m, f))
		return -EINPROGRESS;
	e = pws_kv_map_seek(m->map, begin);
	if (e && pws_slice_cmp(pws_kv_ent_key(e), end) >= 0)
		e = NULL;
	return pws_kv_rec_set(rec, e);
}

static int judge(struct kv_mem *m, const struct pws_kv_commit *c)
{
	uint64_t bytes;
	int err = pws_kv_commit_check(c, &bytes);

	if (err)
		return err;
	for (uint32_t i = 0; i < c->nr_checks; i++)
		if (!pws_kv_check_holds(&c->checks[i], pws_kv_map_get(m->map, c->checks[i].key)))
			return -EAGAIN;
	if (chance(m->faults.conflict))
		return -EAGAIN;
	if (chance(m->faults.unknown_lost))
		return -EINPROGRESS;
	err = PW_FAULT("kv.mem.commit");
	return err ? err : pws_kv_map_reserve(m->map, c->nr_muts, bytes);
}

static void mem_commit(struct pws_kv *kv, struct pws_kv_commit *c)
{
	struct kv_mem *m = to_mem(kv);

	c->err = judge(m, c);
	if (!c->err) {
		c->seq = ++m->last_seq;
		m->stats.commits++;
		for (uint32_t i = 0; i < c->nr_muts; i++) {
			if (c->muts[i].val.p)
				pws_kv_map_put(m->map, c->muts[i].key, c->muts[i].val, c->seq);
			else
				pws_kv_map_erase(m->map, c->muts[i].key);
		}
		if (chance(m->faults.unknown_applied))
			c->err = -EINPROGRESS;
	}
	pw_list_add_tail(&m->commits, &c->node);
	tell_later(m);
}

static void mem_wait(struct pws_kv *kv, struct pws_kv_waiter *w)
{
	struct kv_mem *m = to_mem(kv);

	w->err = 0;
	pw_list_add_tail(&m->waiters, &w->node);
	tell_later(m);
}

static uint64_t mem_last_seq(const struct pws_kv *kv)
{
	return pw_container_of(kv, const struct kv_mem, kv)->last_seq;
}

static bool mem_has_room(const struct pws_kv *kv)
{
	return true;
}

static void mem_stop(struct pws_kv *kv, void (*done)(void *arg, int err), void *arg)
{
	struct kv_mem *m = to_mem(kv);

	m->stopped = done;
	m->stopped_arg = arg;
	tell_later(m);
}

static void mem_close(struct pws_kv *kv)
{
	struct kv_mem *m = to_mem(kv);

	pw_timer_cancel(m->kv.loop, &m->timer);
	pw_ready_cancel(&m->ready);
	pws_kv_map_free(m->map);
	free(m);
}

static void mem_get_stats(const struct pws_kv *kv, struct pws_kv_stats *ret)
{
	const struct kv_mem *m = pw_container_of(kv, const struct kv_mem, kv);

	*ret = m->stats;
	ret->overlay_bytes = pws_kv_map_mem_bytes(m->map);
}

static const struct pws_kv_ops mem_ops = {
	.name = "memory",
	.get = mem_get,
	.next = mem_next,
	.commit = mem_commit,
	.wait = mem_wait,
	.last_seq = mem_last_seq,
	.durable_seq = mem_last_seq,
	.media_seq = mem_last_seq,
	.has_room = mem_has_room,
	.get_stats = mem_get_stats,
	.stop = mem_stop,
	.close = mem_close,
};

int pws_kv_mem_open(struct pw_loop *loop, struct pws_kv **ret)
{
	struct kv_mem *m = calloc(1, sizeof(*m));
	int err = PW_FAULT("kv.mem.open");

	if (!m)
		return -ENOMEM;
	if (!err)
		err = pws_kv_map_new(&m->map);
	if (err) {
		free(m);
		return err;
	}
	m->kv.ops = &mem_ops;
	m->kv.loop = loop;
	pw_list_init(&m->commits);
	pw_list_init(&m->waiters);
	pw_list_init(&m->fetches);
	pw_ready_init(&m->ready, on_ready);
	pw_timer_init(&m->timer, on_timer);
	*ret = &m->kv;
	return 0;
}

void pws_kv_mem_set_faults(struct pws_kv *kv, const struct pws_kv_mem_faults *f)
{
	assert(kv->ops == &mem_ops);
	to_mem(kv)->faults = *f;
}
