/* SPDX-License-Identifier: Apache-2.0 */
/* range.c -- a hash of the inodes that have ranges, each with its list in the order of their coming
 *
 * The lists are short (the requests in flight on one file), so overlap is found by looking at each.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "common/plant.h"
#include "storage_node/store/range.h"

struct pws_range_inode {
	struct pw_list node; /* in its bucket, or free */
	struct pw_list ranges;
	uint64_t ino;
	uint32_t nr_waiting;
};

struct pws_ranges {
	struct pw_loop *loop;
	struct pw_list *buckets; /* owned */
	uint32_t bucket_shift;
	struct pw_list free;
	struct pws_range_inode inodes[];
};

int pws_ranges_new(struct pw_loop *loop, uint32_t nr, struct pws_ranges **ret)
{
	struct pws_ranges *rs = calloc(1, sizeof(*rs) + nr * sizeof(rs->inodes[0]));
	uint32_t bits = 1;

	if (!rs)
		return -ENOMEM;
	while (bits < 31 && 1u << bits < nr)
		bits++;
	rs->buckets = calloc((size_t)1 << bits, sizeof(*rs->buckets));
	if (!rs->buckets) {
		free(rs);
		return -ENOMEM;
	}
	rs->loop = loop;
	rs->bucket_shift = 64 - bits;
	for (size_t i = 0; i < (size_t)1 << bits; i++)
		pw_list_init(&rs->buckets[i]);
	pw_list_init(&rs->free);
	for (uint32_t i = 0; i < nr; i++)
		pw_list_add_tail(&rs->free, &rs->inodes[i].node);
	*ret = rs;
	return 0;
}

void pws_ranges_free(struct pws_ranges *rs)
{
	if (!rs)
		return;
	free(rs->buckets);
	free(rs);
}

static struct pws_range_inode *inode_get(struct pws_ranges *rs, uint64_t ino)
{
	/* Fibonacci hashing: inode numbers are sequential */
	struct pw_list *bucket = &rs->buckets[ino * 0x9e3779b97f4a7c15ull >> rs->bucket_shift];
	struct pws_range_inode *i;
	struct pw_list *pos;

	pw_list_for_each(pos, bucket) {
		i = pw_list_entry(pos, struct pws_range_inode, node);
		if (i->ino == ino)
			return i;
	}
	pos = pw_list_pop(&rs->free);
	assert(pos); /* the caller keeps to the number that it gave to new */
	i = pw_list_entry(pos, struct pws_range_inode, node);
	i->ino = ino;
	i->nr_waiting = 0;
	pw_list_init(&i->ranges);
	pw_list_add_head(bucket, &i->node);
	return i;
}

/* Does one that came before @r (all, when @r is on no list) stand in its way? */
static bool must_wait(const struct pws_range_inode *i, const struct pws_range *r)
{
	struct pw_list *pos;

	pw_list_for_each(pos, &i->ranges) {
		const struct pws_range *e = pw_list_entry(pos, struct pws_range, node);

		if (e == r || PW_PLANT("no-range"))
			break;
		if (e->first <= r->last && r->first <= e->last && !(e->shared && r->shared))
			return true;
	}
	return false;
}

bool pws_range_take(struct pws_ranges *rs, struct pws_range *r, uint64_t ino, uint64_t first,
		    uint64_t last, bool shared, struct pw_ready *ready)
{
	struct pws_range_inode *i = inode_get(rs, ino);

	assert(!r->inode && first <= last);
	r->inode = i;
	r->first = first;
	r->last = last;
	r->shared = shared;
	r->ready = ready;
	r->granted = !must_wait(i, r);
	if (!r->granted)
		i->nr_waiting++;
	pw_list_add_tail(&i->ranges, &r->node);
	return r->granted;
}

void pws_range_drop(struct pws_ranges *rs, struct pws_range *r)
{
	struct pws_range_inode *i = r->inode;
	struct pw_list *pos;

	if (!i)
		return;
	if (!r->granted)
		i->nr_waiting--;
	r->inode = NULL;
	pw_list_del(&r->node);
	if (pw_list_empty(&i->ranges)) {
		pw_list_del(&i->node);
		pw_list_add_head(&rs->free, &i->node);
		return;
	}
	for (pos = i->ranges.next; i->nr_waiting && pos != &i->ranges; pos = pos->next) {
		struct pws_range *e = pw_list_entry(pos, struct pws_range, node);

		if (e->granted || must_wait(i, e))
			continue;
		e->granted = true;
		i->nr_waiting--;
		pw_loop_ready(rs->loop, e->ready);
	}
}
