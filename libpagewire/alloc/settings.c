/* SPDX-License-Identifier: Apache-2.0 */
/* settings.c -- see settings.h */
#include "libpagewire/alloc/settings.h"

#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libpagewire/alloc/blocks.h"

#define MIN_BYTES ((size_t)1 << 20)

/* "64K", "4MiB", "1g". */
static bool parse_size(const char *text, size_t *ret)
{
	static const char units[] = "kmgt";
	unsigned long long n;
	const char *u;
	char *end;

	errno = 0;
	n = strtoull(text, &end, 10);
	if (!isdigit((unsigned char)*text) || errno)
		return false;
	u = *end ? strchr(units, tolower((unsigned char)*end)) : NULL;
	if (u) {
		unsigned int shift = (unsigned int)(u - units + 1) * 10;

		if (n > SIZE_MAX >> shift)
			return false;
		n <<= shift;
		end++;
	}
	if (strcmp(end, "") && strcasecmp(end, "b") && strcasecmp(end, "ib"))
		return false;
	*ret = (size_t)n;
	return true;
}

static size_t size_from(const char *name, size_t least, size_t otherwise)
{
	const char *text = getenv(name);
	size_t n;

	if (!text || !*text)
		return otherwise;
	if (parse_size(text, &n) && n >= least)
		return n;
	dprintf(STDERR_FILENO,
		"pagewire-alloc: %s=%s: not a size of %zu KiB or more, as 4M; using %zu KiB\n",
		name, text, least >> 10, otherwise >> 10);
	return otherwise;
}

/* As much as a mount takes from one program at most. */
static size_t quarter_of_memory(void)
{
	long pages = sysconf(_SC_PHYS_PAGES), bytes = sysconf(_SC_PAGESIZE);

	return pages > 0 && bytes > 0 ? (size_t)pages / 4 * (size_t)bytes : (size_t)1 << 30;
}

void pw_settings_read(struct pw_settings *ret)
{
	const char *verbose = getenv("PAGEWIRE_ALLOC_VERBOSE");
	const char *mount = getenv("PAGEWIRE_ALLOC_MOUNT");

	*ret = (struct pw_settings){
		.min_bytes = size_from("PAGEWIRE_ALLOC_MIN", PW_BLOCKS_GRANULE, MIN_BYTES),
		.total_bytes = size_from("PAGEWIRE_ALLOC_TOTAL", MIN_BYTES, quarter_of_memory()),
		.mount = mount && *mount ? mount : NULL,
		.verbose = verbose && *verbose && strcmp(verbose, "0"),
	};
}
