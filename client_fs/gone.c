/* SPDX-License-Identifier: Apache-2.0 */
/* gone.c -- hash by inode; usually it holds a few open directories */
#include "client_fs/gone.h"

#include <errno.h>
#include <stdlib.h>

#include "common/fault.h"

#define MIN_BUCKETS 256u

struct entry {
	struct pw_list hash;
	struct pw_attr attr;
	uint32_t opens; /* of a directory */
	bool removed; /* by us, and not forgotten by the kernel */
};

static struct pw_list *bucket_of(const struct pwc_gone *g, uint64_t ino)
{
	return &g->bucket[ino * 0x9e3779b97f4a7c15ull >> 32 & (g->nr_buckets - 1)];
}

static struct entry *find(const struct pwc_gone *g, uint64_t ino)
{
	struct pw_list *head, *pos;

	if (!g->nr)
		return NULL;
	head = bucket_of(g, ino);
	pw_list_for_each(pos, head) {
		struct entry *e = pw_list_entry(pos, struct entry, hash);

		if (e->attr.ino == ino)
			return e;
	}
	return NULL;
}

/* To twice the buckets; a failure only makes it slower. */
static int grow(struct pwc_gone *g)
{
	uint32_t nr = g->nr_buckets ? 2 * g->nr_buckets : MIN_BUCKETS, old_nr = g->nr_buckets;
	struct pw_list *bucket = malloc(nr * sizeof(*bucket)), *old = g->bucket, *n;

	if (!bucket)
		return -ENOMEM;
	for (uint32_t i = 0; i < nr; i++)
		pw_list_init(&bucket[i]);
	g->bucket = bucket;
	g->nr_buckets = nr;
	for (uint32_t i = 0; i < old_nr; i++)
		while ((n = pw_list_pop(&old[i])))
			pw_list_add_tail(
				bucket_of(g, pw_list_entry(n, struct entry, hash)->attr.ino), n);
	free(old);
	return 0;
}

static struct entry *find_or_add(struct pwc_gone *g, const struct pw_attr *attr)
{
	struct entry *e = find(g, attr->ino);

	if (e) {
		e->attr = *attr;
		return e;
	}
	e = PW_FAULT("gone.add") ? NULL : calloc(1, sizeof(*e));
	if (!e)
		return NULL;
	if (g->nr > 2 * g->nr_buckets)
		(void)grow(g);
	e->attr = *attr;
	pw_list_init(&e->hash);
	pw_list_add_head(bucket_of(g, attr->ino), &e->hash);
	g->nr++;
	return e;
}

static void drop_unless_kept(struct pwc_gone *g, struct entry *e)
{
	if (e->opens || e->removed)
		return;
	pw_list_del(&e->hash);
	g->nr--;
	free(e);
}

int pwc_gone_init(struct pwc_gone *g)
{
	*g = (struct pwc_gone){ .bucket = NULL };
	return grow(g);
}

void pwc_gone_fini(struct pwc_gone *g)
{
	struct pw_list *n;

	for (uint32_t i = 0; i < g->nr_buckets; i++)
		while ((n = pw_list_pop(&g->bucket[i])))
			free(pw_list_entry(n, struct entry, hash));
	free(g->bucket);
	*g = (struct pwc_gone){ .bucket = NULL };
}

int pwc_gone_opendir(struct pwc_gone *g, const struct pw_attr *attr)
{
	struct entry *e = find_or_add(g, attr);

	if (!e)
		return -ENOMEM;
	e->opens++;
	return 0;
}

void pwc_gone_closedir(struct pwc_gone *g, uint64_t ino)
{
	struct entry *e = find(g, ino);

	if (!e || !e->opens)
		return; /* the kernel's bug, not ours to die of */
	e->opens--;
	drop_unless_kept(g, e);
}

void pwc_gone_removed(struct pwc_gone *g, const struct pw_attr *attr)
{
	struct entry *e;

	if (!attr->ino || attr->nlink)
		return;
	e = find_or_add(g, attr);
	if (e)
		e->removed = true;
}

void pwc_gone_forget(struct pwc_gone *g, uint64_t ino)
{
	struct entry *e = find(g, ino);

	if (!e)
		return;
	e->removed = false;
	drop_unless_kept(g, e);
}

void pwc_gone_note(struct pwc_gone *g, const struct pw_attr *attr)
{
	struct entry *e = find(g, attr->ino);

	if (e)
		e->attr = *attr;
}

const struct pw_attr *pwc_gone_find(const struct pwc_gone *g, uint64_t ino)
{
	const struct entry *e = find(g, ino);

	return e ? &e->attr : NULL;
}

bool pwc_gone_last(const struct pwc_gone *g, uint64_t ino, struct pw_attr *ret)
{
	const struct pw_attr *a = pwc_gone_find(g, ino);

	if (!a)
		return false;
	*ret = *a;
	ret->nlink = 0;
	return true;
}
