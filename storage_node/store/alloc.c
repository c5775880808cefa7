/* SPDX-License-Identifier: Apache-2.0 */
/* alloc.c -- next fit over a set of free blocks, limbo, growth
 *
 * take:	a run of the wanted length near the cursor, else the pieces that follow it
 * not enough:	the file can grow: wait for that
 *		limbo would do: ask the engine for a flush (readers end by themselves), wait
 *		else -ENOSPC, at once
 * Whatever makes blocks free wakes all waiters in order; who still finds too little waits again.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "common/err.h"
#include "common/fault.h"
#include "common/log.h"
#include "common/plant.h"
#include "storage_node/store/alloc.h"
#include "storage_node/store/blockset.h"
#include "storage_node/store/segment.h"

#define GROW_STEP_MIN	(256 * PW_MIB)
#define GROW_STEP_MAX	(8 * PW_GIB)
#define GROW_UNIT	PW_MIB
#define GROW_RETRY_NS	PW_NS_PER_S
#define RESERVE_MIN	(16 * PW_MIB)
#define RESERVE_MAX	PW_GIB
#define RESERVE_DIVISOR 20    /* 5 % */
#define SPARE_BLOCKS	256u  /* never for writes: copies of cut last blocks */
#define GROWABLE_TAKES	1024u /* the disk is asked how much it could grow once in so many */
#define WRAP_DIVISOR	4
#define FIT_TRIES	32u /* runs that are looked at for one that is long enough */

struct limbo {
	struct pws_blockset set;
	uint64_t seq; /* newest commit that retired one of them */
};

struct pws_alloc {
	struct pw_loop *loop;
	struct pws_alloc_opts o;
	struct pws_blockset free;
	uint64_t nr_blocks; /* that the file has now */
	uint64_t cursor;    /* where the last take ended */
	uint64_t high;	    /* blocks from here on were never written */
	struct limbo limbo[2];
	uint32_t collecting; /* idx of the set that collects; the other one waits */
	uint64_t wait_epoch; /* reads pinned up to this one hold the waiting set */
	uint64_t epoch;
	struct pw_list pins; /* oldest first */
	struct pw_list waiters;
	uint64_t nr_stalls;
	struct pws_kv_waiter flush;
	bool flushing;
	int flush_err;
	bool growing;
	uint64_t grow_bytes;	/* that the growth in progress adds */
	uint64_t grow_max;	/* bytes; halved by each failure */
	uint64_t grow_after_ns; /* after the failure of the smallest step not before this */
	uint64_t growable;	/* bytes, when the disk was last asked */
	uint64_t nr_takes;
	bool stopping;
	struct pw_ready *stopped;
};

static uint64_t reserve_bytes(const struct pws_alloc *a)
{
	uint64_t share = (a->nr_blocks * PWS_BLOCK + a->growable) / RESERVE_DIVISOR;

	return PW_MIN(PW_MAX(share, RESERVE_MIN), RESERVE_MAX);
}

/* Bytes that growth may still add: the reserve is left in the filesystem, for its other users. */
static uint64_t grow_room(const struct pws_alloc *a)
{
	uint64_t reserve = reserve_bytes(a), size = a->nr_blocks * PWS_BLOCK;
	uint64_t room = a->growable > reserve ? a->growable - reserve : 0;
	uint64_t cap = a->free.capacity * PWS_BLOCK - size;

	return PW_ROUND_DOWN(PW_MIN(room, cap), GROW_UNIT);
}

/* Blocks of the file that writes leave alone. */
static uint64_t kept_blocks(const struct pws_alloc *a)
{
	uint64_t reserve = reserve_bytes(a);
	uint64_t here = reserve > a->growable ? (reserve - a->growable) / PWS_BLOCK : 0;

	return PW_MAX(here, PW_MIN((uint64_t)SPARE_BLOCKS, a->nr_blocks / 16));
}

/* Not while it grows: what the growth takes would count on neither side. */
static void ask_growable(struct pws_alloc *a)
{
	if (!a->growing)
		a->growable = pws_disk_growable(a->o.disk);
}

static uint64_t disk_blocks(const struct pws_alloc_opts *o)
{
	uint64_t size = pws_disk_size(o->disk);
	uint64_t bytes = size > o->data_off ? size - o->data_off : 0;

	if (o->max_bytes && bytes > o->max_bytes)
		bytes = o->max_bytes;
	return PW_MIN(bytes / PWS_BLOCK, PWS_BLOCK_NR_MAX + 1);
}

int pws_alloc_open(struct pw_loop *loop, const struct pws_alloc_opts *o, struct pws_alloc **ret)
{
	struct pws_alloc *a = calloc(1, sizeof(*a));
	uint64_t capacity;

	if (!a)
		return -ENOMEM;
	a->loop = loop;
	a->o = *o;
	a->nr_blocks = disk_blocks(o);
	a->growable = pws_disk_growable(o->disk);
	pw_list_init(&a->pins);
	pw_list_init(&a->waiters);
	a->grow_max = UINT64_MAX;
	/* not what is free now: others may make room in the filesystem later */
	capacity = pws_disk_limit(o->disk) / PWS_BLOCK;
	if (o->max_bytes)
		capacity = PW_MIN(capacity, o->max_bytes / PWS_BLOCK);
	capacity = PW_MIN(PW_MAX(capacity, a->nr_blocks), PWS_BLOCK_NR_MAX + 1);
	if (pws_blockset_init(&a->free, capacity) ||
	    pws_blockset_init(&a->limbo[0].set, capacity) ||
	    pws_blockset_init(&a->limbo[1].set, capacity)) {
		pws_alloc_close(a);
		return -ENOMEM;
	}
	pws_blockset_add(&a->free, 0, a->nr_blocks);
	*ret = a;
	return 0;
}

void pws_alloc_close(struct pws_alloc *a)
{
	if (!a)
		return;
	assert(!a->growing && !a->flushing);
	pws_blockset_fini(&a->free);
	pws_blockset_fini(&a->limbo[0].set);
	pws_blockset_fini(&a->limbo[1].set);
	free(a);
}

int pws_alloc_claim(struct pws_alloc *a, uint64_t start, uint64_t nr)
{
	if (start >= a->nr_blocks || nr > a->nr_blocks - start)
		return -EBADMSG;
	a->high = PW_MAX(a->high, start + nr);
	return pws_blockset_remove(&a->free, start, nr) == nr ? 0 : -EBADMSG;
}

static void wake_waiters(struct pws_alloc *a)
{
	struct pw_list *n;

	while ((n = pw_list_pop(&a->waiters)))
		pw_loop_ready(a->loop, pw_list_entry(n, struct pws_alloc_wait, node)->ready);
}

/* Moves the waiting set to the free one if nothing holds it any more. */
static bool release_limbo(struct pws_alloc *a)
{
	struct limbo *l = &a->limbo[!a->collecting];
	uint64_t start = 0, nr, added;

	if (!l->set.count)
		return false;
	if (a->o.kv->ops->media_seq(a->o.kv) < l->seq && !PW_PLANT("reuse-early"))
		return false;
	if (!pw_list_empty(&a->pins) &&
	    pw_list_first(&a->pins, struct pws_alloc_pin, node)->epoch <= a->wait_epoch)
		return false;
	while ((start = pws_blockset_next(&l->set, start)) != PWS_BLOCKSET_NONE) {
		nr = pws_blockset_run(&l->set, start, UINT32_MAX);
		added = pws_blockset_add(&a->free, start, nr);
		assert(added == nr);
		pws_blockset_remove(&l->set, start, nr);
		start += nr;
	}
	return true;
}

static void settle(struct pws_alloc *a)
{
	bool released = false;

	for (;;) {
		released |= release_limbo(a);
		if (a->limbo[!a->collecting].set.count || !a->limbo[a->collecting].set.count)
			break;
		a->collecting = !a->collecting;
		a->wait_epoch = a->epoch++;
	}
	if (released)
		wake_waiters(a);
}

static void check_stopped(struct pws_alloc *a)
{
	if (a->stopping && a->stopped && !a->growing && !a->flushing)
		pw_loop_ready(a->loop, a->stopped);
}

static void on_flushed(struct pws_kv_waiter *w)
{
	struct pws_alloc *a = pw_container_of(w, struct pws_alloc, flush);

	a->flushing = false;
	a->flush_err = w->err;
	settle(a);
	/* also when nothing was released: who waits for a flush has to see that it failed */
	wake_waiters(a);
	check_stopped(a);
}

static void start_flush(struct pws_alloc *a)
{
	const struct pws_kv_ops *ops = a->o.kv->ops;
	uint64_t seq = PW_MAX(a->limbo[0].seq, a->limbo[1].seq);

	if (a->flushing || a->stopping || ops->media_seq(a->o.kv) >= seq)
		return;
	a->flush = (struct pws_kv_waiter){ .seq = seq, .sync = true, .done = on_flushed };
	pw_list_init(&a->flush.node);
	a->flushing = true;
	ops->wait(a->o.kv, &a->flush);
}

static void on_grown(void *arg, int err)
{
	struct pws_alloc *a = arg;
	uint64_t nr = PW_MIN(disk_blocks(&a->o), a->free.capacity);

	a->growing = false;
	ask_growable(a);
	a->grow_max = err ? PW_ROUND_DOWN(a->grow_bytes / 2, GROW_UNIT) : UINT64_MAX;
	if (err) {
		if (!a->grow_max) {
			a->grow_max = UINT64_MAX;
			a->grow_after_ns = pw_loop_now(a->loop) + GROW_RETRY_NS;
		}
		pw_log_rl(PW_LOG_WARN, "store: the data file cannot grow by %llu MiB, %s",
			  (unsigned long long)(a->grow_bytes / PW_MIB), pw_err_text(err));
	}
	if (nr > a->nr_blocks) {
		pws_blockset_add(&a->free, a->nr_blocks, nr - a->nr_blocks);
		a->nr_blocks = nr;
	}
	wake_waiters(a);
	check_stopped(a);
}

/* Return: true when growth is on its way. */
static bool start_grow(struct pws_alloc *a, uint64_t want_bytes)
{
	uint64_t size = a->nr_blocks * PWS_BLOCK, room = grow_room(a);
	uint64_t step = PW_MIN(PW_MAX(size / 8, GROW_STEP_MIN), GROW_STEP_MAX);

	if (a->growing)
		return true;
	if (a->stopping || !room || pw_loop_now(a->loop) < a->grow_after_ns)
		return false;
	step = PW_MAX(step, PW_ROUND_UP(want_bytes, GROW_UNIT));
	a->grow_bytes = PW_MIN(PW_MIN(step, a->grow_max), room);
	a->growing = true;
	pws_disk_grow(a->o.disk, a->o.data_off + size + a->grow_bytes, on_grown, a);
	return true;
}

static void take_run(struct pws_alloc *a, uint64_t start, uint64_t nr, uint64_t *ret)
{
	uint64_t removed = pws_blockset_remove(&a->free, start, nr);

	assert(removed == nr);
	for (uint64_t i = 0; i < nr; i++)
		ret[i] = start + i;
	a->cursor = start + nr;
	a->high = PW_MAX(a->high, a->cursor);
}

/* The first write of a block of a file that was only allocated costs the filesystem more than any
 * later one, so there is a new round through what was written before when a quarter of it is free.
 */
static void choose_cursor(struct pws_alloc *a, uint32_t nr)
{
	uint64_t written_free = a->free.count - (a->nr_blocks - a->high);

	if (a->cursor >= a->high && written_free >= nr && written_free >= a->high / WRAP_DIVISOR)
		a->cursor = 0;
}

/* First member at or after @from, beginning again at 0; the set is not empty. */
static uint64_t next_free(const struct pws_alloc *a, uint64_t from)
{
	uint64_t start = pws_blockset_next(&a->free, from);

	return start == PWS_BLOCKSET_NONE ? pws_blockset_next(&a->free, 0) : start;
}

static void take_pieces(struct pws_alloc *a, uint32_t nr, uint64_t *ret)
{
	uint64_t start = a->cursor, got;

	for (uint32_t tries = 0; tries < FIT_TRIES; tries++) {
		start = next_free(a, start);
		got = pws_blockset_run(&a->free, start, nr);
		if (got == nr) {
			take_run(a, start, nr, ret);
			return;
		}
		start += got;
	}
	for (uint32_t done = 0; done < nr; done += (uint32_t)got) {
		start = next_free(a, a->cursor);
		got = pws_blockset_run(&a->free, start, nr - done);
		take_run(a, start, got, ret + done);
	}
}

/* What could still help a take that found too little? */
static int wait_or_refuse(struct pws_alloc *a, uint64_t need)
{
	uint64_t limbo = a->limbo[0].set.count + a->limbo[1].set.count;
	int err;

	if (start_grow(a, (need - PW_MIN(need, a->free.count)) * PWS_BLOCK))
		return -EAGAIN;
	if (a->free.count + limbo >= need) {
		err = a->flush_err;
		a->flush_err = 0;
		if (err)
			return err;
		start_flush(a);
		return a->stopping ? -ENOSPC : -EAGAIN;
	}
	/* others may have made room in the filesystem since */
	ask_growable(a);
	return start_grow(a, need * PWS_BLOCK) ? -EAGAIN : -ENOSPC;
}

int pws_alloc_take(struct pws_alloc *a, uint32_t nr, bool spare, uint64_t *ret)
{
	uint64_t need = nr + (spare ? 0 : kept_blocks(a));
	int err = PW_FAULT_ERR("store.alloc", -ENOSPC);

	if (err)
		return err;
	settle(a);
	if (++a->nr_takes % GROWABLE_TAKES == 0)
		ask_growable(a);
	if (a->free.count < need)
		return wait_or_refuse(a, need);
	choose_cursor(a, nr);
	take_pieces(a, nr, ret);
	if (a->free.count * PWS_BLOCK < GROW_STEP_MIN / 2)
		start_grow(a, 0);
	return 0;
}

void pws_alloc_wait(struct pws_alloc *a, struct pws_alloc_wait *w, struct pw_ready *ready)
{
	w->ready = ready;
	a->nr_stalls++;
	pw_list_add_tail(&a->waiters, &w->node);
}

void pws_alloc_cancel(struct pws_alloc_wait *w)
{
	pw_list_del(&w->node);
}

void pws_alloc_give(struct pws_alloc *a, uint64_t start, uint64_t nr)
{
	uint64_t added = pws_blockset_add(&a->free, start, nr);

	assert(added == nr);
	wake_waiters(a);
}

void pws_alloc_retire(struct pws_alloc *a, uint64_t start, uint64_t nr)
{
	struct limbo *l = &a->limbo[a->collecting];
	uint64_t added = pws_blockset_add(&l->set, start, nr);

	assert(added == nr && !pws_blockset_has(&a->free, start));
	/* its own commit is not newer than the newest */
	l->seq = a->o.kv->ops->last_seq(a->o.kv);
	settle(a);
}

void pws_alloc_pin(struct pws_alloc *a, struct pws_alloc_pin *p)
{
	p->epoch = a->epoch;
	pw_list_add_tail(&a->pins, &p->node);
}

void pws_alloc_unpin(struct pws_alloc *a, struct pws_alloc_pin *p)
{
	if (pw_list_empty(&p->node))
		return;
	pw_list_del(&p->node);
	settle(a);
}

bool pws_alloc_stop(struct pws_alloc *a, struct pw_ready *ready)
{
	a->stopping = true;
	a->stopped = ready;
	return !a->growing && !a->flushing;
}

void pws_alloc_counts(const struct pws_alloc *a, uint64_t *ret_free, uint64_t *ret_limbo,
		      uint64_t *ret_all)
{
	*ret_free = a->free.count;
	*ret_limbo = a->limbo[0].set.count + a->limbo[1].set.count;
	*ret_all = a->nr_blocks;
}

void pws_alloc_space(struct pws_alloc *a, uint64_t *ret_total, uint64_t *ret_free)
{
	uint64_t free_blocks, limbo, all, kept, room;

	/* who refuses work for want of space does that on today's answer, not on an old one */
	if (grow_room(a) < GROW_STEP_MIN)
		ask_growable(a);
	kept = kept_blocks(a);
	room = grow_room(a);
	pws_alloc_counts(a, &free_blocks, &limbo, &all);
	*ret_total = all * PWS_BLOCK + room;
	free_blocks += limbo;
	*ret_free = (free_blocks > kept ? free_blocks - kept : 0) * PWS_BLOCK + room;
}

uint64_t pws_alloc_stalls(const struct pws_alloc *a)
{
	return a->nr_stalls;
}
