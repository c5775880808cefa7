/* SPDX-License-Identifier: Apache-2.0 */
/* granules.c -- see granules.h */
#include "libpagewire/alloc/granules.h"

#define USED (1u << 31)

static uint32_t len_at(const struct pw_granules *r, uint32_t at)
{
	return r->run[at] & ~USED;
}

static bool is_used(const struct pw_granules *r, uint32_t at)
{
	return r->run[at] & USED;
}

void pw_granules_init(struct pw_granules *r, uint32_t *run, uint32_t nr)
{
	*r = (struct pw_granules){ .run = run, .nr = nr };
	run[0] = nr;
}

/* Free runs that follow a free one become part of it. */
static uint32_t merge(struct pw_granules *r, uint32_t at)
{
	uint32_t next = at + len_at(r, at);

	while (next < r->nr && !is_used(r, next)) {
		uint32_t len = len_at(r, next);

		r->run[next] = 0;
		r->run[at] += len;
		next += len;
	}
	return len_at(r, at);
}

/* Out of the free run [@at, @at + @len): [@from, @from + @nr) is used, the rest stays free. */
static void carve(struct pw_granules *r, uint32_t at, uint32_t len, uint32_t from, uint32_t nr)
{
	uint32_t rest = at + len - (from + nr);

	if (from > at)
		r->run[at] = from - at;
	r->run[from] = nr | USED;
	if (rest)
		r->run[from + nr] = rest;
	r->used += nr;
}

uint32_t pw_granules_get(struct pw_granules *r, uint32_t nr, uint32_t align, uint32_t skew)
{
	for (uint32_t at = 0; at < r->nr; at += len_at(r, at)) {
		uint32_t len, gap;

		if (is_used(r, at))
			continue;
		len = merge(r, at);
		gap = (align - (at + skew) % align) % align;
		if (len < nr || len - nr < gap)
			continue;
		carve(r, at, len, at + gap, nr);
		return at + gap;
	}
	return PW_GRANULE_NONE;
}

uint32_t pw_granules_len(const struct pw_granules *r, uint32_t at)
{
	return at < r->nr && is_used(r, at) ? len_at(r, at) : 0;
}

uint32_t pw_granules_next(const struct pw_granules *r, uint32_t at)
{
	while (at < r->nr && !is_used(r, at))
		at += len_at(r, at);
	return at < r->nr ? at : PW_GRANULE_NONE;
}

void pw_granules_put(struct pw_granules *r, uint32_t at)
{
	r->run[at] &= ~USED;
	r->used -= r->run[at];
}

bool pw_granules_resize(struct pw_granules *r, uint32_t at, uint32_t nr)
{
	uint32_t old = len_at(r, at), next = at + old, room = old;

	if (nr > old && next < r->nr && !is_used(r, next))
		room += merge(r, next);
	if (nr > room)
		return false;
	if (room > old)
		r->run[next] = 0;
	r->run[at] = nr | USED;
	if (room > nr)
		r->run[at + nr] = room - nr;
	r->used += nr - old;
	return true;
}
