/* SPDX-License-Identifier: Apache-2.0 */
/* opens.c -- linear probing, deletion by moving later entries back: no tombstones, so no decay */
#include "storage_node/opens.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/fault.h"

#define PLACES_MIN 64u
#define PLACES_MAX (1u << 30)

void pws_opens_init(struct pws_opens *o)
{
	*o = (struct pws_opens){ .places = NULL };
}

void pws_opens_fini(struct pws_opens *o)
{
	free(o->places);
	*o = (struct pws_opens){ .places = NULL };
}

void pws_opens_clear(struct pws_opens *o)
{
	if (o->nr)
		memset(o->places, 0, o->nr_places * sizeof(*o->places));
	o->nr = 0;
	o->total = 0;
}

static uint32_t home_of(const struct pws_opens *o, uint64_t ino)
{
	return (uint32_t)(ino * 0x9e3779b97f4a7c15ull >> 32) & (o->nr_places - 1);
}

/* Where @ino is, or the free place where it would go. */
static uint32_t place_of(const struct pws_opens *o, uint64_t ino)
{
	uint32_t i = home_of(o, ino);

	while (o->places[i].ino && o->places[i].ino != ino)
		i = (i + 1) & (o->nr_places - 1);
	return i;
}

int pws_opens_reserve(struct pws_opens *o, uint32_t more)
{
	struct pws_opens bigger = { .nr = o->nr, .total = o->total };
	uint64_t want = (uint64_t)o->nr + more, places = PW_MAX(o->nr_places, PLACES_MIN);
	int err;

	/* at most three quarters full */
	while (want * 4 > places * 3)
		places *= 2;
	if (places == o->nr_places)
		return 0;
	if (places > PLACES_MAX)
		return -ENOMEM;
	err = PW_FAULT_ERR("opens.grow", -ENOMEM);
	bigger.places = err ? NULL : calloc(places, sizeof(*bigger.places));
	if (!bigger.places)
		return -ENOMEM;
	bigger.nr_places = (uint32_t)places;
	for (uint32_t i = 0; i < o->nr_places; i++)
		if (o->places[i].ino)
			bigger.places[place_of(&bigger, o->places[i].ino)] = o->places[i];
	free(o->places);
	*o = bigger;
	return 0;
}

void pws_opens_add(struct pws_opens *o, uint64_t ino, uint64_t nr)
{
	uint32_t i;

	assert(ino && nr && o->nr < o->nr_places);
	i = place_of(o, ino);
	if (!o->places[i].ino) {
		o->places[i].ino = ino;
		o->nr++;
	}
	o->places[i].opens += nr;
	o->total += nr;
}

/* Closes the gap at @i: whoever probed past it moves back. */
static void remove_place(struct pws_opens *o, uint32_t i)
{
	uint32_t mask = o->nr_places - 1, j = i;

	for (;;) {
		o->places[i] = (struct pws_open_count){ 0, 0 };
		do {
			j = (j + 1) & mask;
			if (!o->places[j].ino)
				return;
			/* stays when its home lies cyclically in (i, j] */
		} while (((j - home_of(o, o->places[j].ino)) & mask) < ((j - i) & mask));
		o->places[i] = o->places[j];
		i = j;
	}
}

uint64_t pws_opens_sub(struct pws_opens *o, uint64_t ino, uint64_t nr)
{
	uint32_t i;

	if (!o->nr || !ino)
		return 0;
	i = place_of(o, ino);
	if (!o->places[i].ino)
		return 0;
	nr = PW_MIN(nr, o->places[i].opens);
	o->places[i].opens -= nr;
	o->total -= nr;
	if (!o->places[i].opens) {
		remove_place(o, i);
		o->nr--;
	}
	return nr;
}

uint64_t pws_opens_get(const struct pws_opens *o, uint64_t ino)
{
	if (!o->nr || !ino)
		return 0;
	return o->places[place_of(o, ino)].opens;
}

bool pws_opens_next(const struct pws_opens *o, uint32_t *pos, uint64_t *ret_ino, uint64_t *ret_nr)
{
	for (; *pos < o->nr_places; (*pos)++) {
		if (!o->places[*pos].ino)
			continue;
		*ret_ino = o->places[*pos].ino;
		*ret_nr = o->places[*pos].opens;
		(*pos)++;
		return true;
	}
	return false;
}
