/* SPDX-License-Identifier: Apache-2.0 */
/* granules.h -- which parts of a chunk are taken: a row of runs of granules, each free or used
 *
 * First fit; free neighbours grow together when somebody looks for room. Pure.
 * Thread: under a lock of the caller.      Allocates: nothing.
 */
#ifndef LIBPAGEWIRE_GRANULES_H
#define LIBPAGEWIRE_GRANULES_H

#include <stdbool.h>
#include <stdint.h>

#define PW_GRANULE_NONE UINT32_MAX

struct pw_granules {
	uint32_t *run; /* borrows: zeroed; at the first granule of a run its length, and if used */
	uint32_t nr;   /* granules, less than 2^31 */
	uint32_t used; /* of them */
};

/**
 * pw_granules_init - one free run
 * @run:  borrows: @nr zeroed entries
 */
void pw_granules_init(struct pw_granules *r, uint32_t *run, uint32_t nr);

/**
 * pw_granules_get - take @nr granules whose first is a multiple of @align after adding @skew
 *
 * Return: the first, or PW_GRANULE_NONE.
 */
uint32_t pw_granules_get(struct pw_granules *r, uint32_t nr, uint32_t align, uint32_t skew);

/**
 * pw_granules_len - granules of the used run that begins at @at
 *
 * Return: 0 when none does.
 */
uint32_t pw_granules_len(const struct pw_granules *r, uint32_t at);

/**
 * pw_granules_next - the first used run at or after @at, where a run begins or the row ends
 *
 * Return: where it begins, or PW_GRANULE_NONE.
 */
uint32_t pw_granules_next(const struct pw_granules *r, uint32_t at);

/**
 * pw_granules_put - give the used run that begins at @at back
 */
void pw_granules_put(struct pw_granules *r, uint32_t at);

/**
 * pw_granules_resize - make the used run at @at shorter, or longer where its neighbour is free
 *
 * Return: false there is no room; nothing has changed.
 */
bool pw_granules_resize(struct pw_granules *r, uint32_t at, uint32_t nr);

#endif
