/* SPDX-License-Identifier: Apache-2.0 */
/* sim_index.c -- storage_node/meta_kv/kv_index.h: records in a map that survives the node
 *
 * An apply takes a while and then happens as a whole. When the node dies in between, it has
 * happened or not.
 */
#include <errno.h>
#include <stdlib.h>

#include "storage_node/meta_kv/kv_commit.h"
#include "storage_node/meta_kv/kv_index.h"
#include "tests/sim/sim.h"

struct pws_kv_index {
	struct pw_loop *loop;
	struct pw_ready ready;
	struct pws_kv_index_apply *apply; /* NULL: none is running */
};

static struct {
	struct pws_kv_map *map; /* owns; the world's memory */
	struct pws_kv_index_state state;
	bool has_state;
	struct pws_kv_index *open;
	uint64_t apply_id;
} idx;

static void apply_map(const struct pws_kv_index_apply *a)
{
	const struct pws_kv_ent *e = pws_kv_map_seek(a->map, (struct pws_slice){ "", 0 });
	struct sim_proc *old = sim_enter(NULL);

	for (; e; e = pws_kv_map_after(e)) {
		struct pws_slice key = pws_kv_ent_key(e), val = pws_kv_ent_val(e);

		if (!val.p) {
			pws_kv_map_erase(idx.map, key);
			continue;
		}
		if (pws_kv_map_reserve(idx.map, 1, key.n + val.n))
			abort();
		pws_kv_map_put(idx.map, key, val, e->seq);
	}
	idx.state = a->state;
	idx.has_state = true;
	sim_leave(old);
}

static void step(struct pw_ready *r)
{
	struct pws_kv_index *x = pw_container_of(r, struct pws_kv_index, ready);
	struct pws_kv_index_apply *a = x->apply;

	x->apply = NULL;
	apply_map(a);
	a->err = 0;
	a->done(a);
}

static void on_applied(void *arg, uint64_t id)
{
	(void)arg;
	if (idx.open && id == idx.apply_id)
		pw_loop_ready(idx.open->loop, &idx.open->ready);
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
	pw_ready_init(&x->ready, step);
	idx.open = x;
	*ret = x;
	*ret_new = !idx.has_state;
	return 0;
}

void pws_kv_index_close(struct pws_kv_index *x)
{
	if (!x)
		return;
	idx.open = NULL;
	idx.apply_id++;
	free(x);
}

void pws_kv_index_get_state(const struct pws_kv_index *x, struct pws_kv_index_state *ret)
{
	(void)x;
	*ret = idx.state;
}

int pws_kv_index_get(struct pws_kv_index *x, struct pws_slice key, struct pws_kv_rec *ret)
{
	(void)x;
	return pws_kv_rec_set(ret, pws_kv_map_get(idx.map, key));
}

int pws_kv_index_next(struct pws_kv_index *x, struct pws_slice begin, struct pws_slice end,
		      struct pws_kv_rec *ret)
{
	const struct pws_kv_ent *e = pws_kv_map_seek(idx.map, begin);

	(void)x;
	if (e && pws_slice_cmp(pws_kv_ent_key(e), end) >= 0)
		e = NULL;
	return pws_kv_rec_set(ret, e);
}

void pws_kv_index_apply(struct pws_kv_index *x, struct pws_kv_index_apply *a)
{
	if (x->apply)
		sim_fail("two applies at once");
	x->apply = a;
	sim_after(PW_NS_PER_MS + sim_below(SIM_RND_WORLD, 20 * PW_NS_PER_MS), on_applied, NULL,
		  ++idx.apply_id);
}

int pws_kv_index_apply_now(struct pws_kv_index *x, struct pws_kv_index_apply *a)
{
	(void)x;
	apply_map(a);
	a->err = 0;
	return 0;
}

uint64_t pws_kv_index_room(const struct pws_kv_index *x)
{
	(void)x;
	return PW_GIB;
}

void sim_index_init(void)
{
	idx.has_state = false;
	idx.open = NULL;
	if (pws_kv_map_new(&idx.map))
		abort();
}

void sim_index_fini(void)
{
	pws_kv_map_free(idx.map);
	idx.map = NULL;
}

void sim_index_crash(void)
{
	if (idx.open && idx.open->apply && sim_chance(SIM_RND_WORLD, 500))
		apply_map(idx.open->apply);
	idx.open = NULL;
	idx.apply_id++;
}
