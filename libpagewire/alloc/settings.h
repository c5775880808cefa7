/* SPDX-License-Identifier: Apache-2.0 */
/* settings.h -- what PAGEWIRE_ALLOC_* of the environment says
 *
 * Thread: the first one, before main().      Allocates: nothing.
 */
#ifndef LIBPAGEWIRE_SETTINGS_H
#define LIBPAGEWIRE_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>

struct pw_settings {
	size_t min_bytes;   /* of a block */
	size_t total_bytes; /* of all chunks */
	const char *mount;  /* borrows from the environment; NULL: the first that is met */
	bool verbose;
};

/**
 * pw_settings_read - what is not there or wrong has its default; what is wrong is said on stderr
 */
void pw_settings_read(struct pw_settings *ret);

#endif
