/* SPDX-License-Identifier: Apache-2.0 */
/* fault.c -- decides at each fault point whether it fails now; see fault.h for the syntax of
 * PW_FAULT
 *
 * A value of PW_FAULT that is not understood ends the process: a fault test that injects nothing
 * must not pass.
 */
#include "common/fault.h"
#include "common/plant.h"

#ifdef PW_FAULT_POINTS

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *pw_plant;

enum fault_mode { FAULT_OFF, FAULT_COUNT, FAULT_NTH, FAULT_NAMED };

static struct {
	enum fault_mode mode;
	uint64_t nth; /* counted from 1 */
	char name[64];
	int err; /* what the named point returns */
	bool kill;
	char file[256]; /* the named one fails while it exists; "" always */
} fault; /* written once, before the first point returns */

static uint64_t nr_points; /* atomic */

static int errno_of(const char *name, size_t len)
{
	for (int e = 1; e < 134; e++) {
		const char *n = strerrorname_np(e);

		if (n && strlen(n) == len && !strncmp(n, name, len))
			return e;
	}
	return 0;
}

static void print_count(void)
{
	fprintf(stderr, "fault points: %llu\n",
		(unsigned long long)__atomic_load_n(&nr_points, __ATOMIC_RELAXED));
}

/* "name:EIO", "name:kill", either with "@FILE" */
static bool parse_named(const char *s)
{
	const char *colon = strchr(s, ':');
	const char *action = colon ? colon + 1 : NULL;
	const char *at = action ? strchr(action, '@') : NULL;
	size_t len = !action ? 0 : at ? (size_t)(at - action) : strlen(action);

	if (!action || colon == s || (size_t)(colon - s) >= sizeof(fault.name) ||
	    (at && (!at[1] || strlen(at + 1) >= sizeof(fault.file))))
		return false;
	memcpy(fault.name, s, (size_t)(colon - s));
	if (at)
		memcpy(fault.file, at + 1, strlen(at + 1));
	fault.mode = FAULT_NAMED;
	fault.kill = len == 4 && !strncmp(action, "kill", 4);
	fault.err = fault.kill ? 0 : -errno_of(action, len);
	return fault.kill || fault.err;
}

static void parse(void)
{
	const char *s = getenv("PW_FAULT");
	char *end;

	if (!s || !*s)
		return;
	if (!strcmp(s, "count")) {
		fault.mode = FAULT_COUNT;
		atexit(print_count);
		return;
	}
	if (strspn(s, "0123456789") == strlen(s)) {
		fault.mode = FAULT_NTH;
		fault.nth = strtoull(s, &end, 10);
		return;
	}
	if (!parse_named(s)) {
		fprintf(stderr, "fault: PW_FAULT is '%s': ", s);
		fprintf(stderr, "want count, N, NAME:ERRNO[@FILE] or NAME:kill[@FILE]\n");
		_exit(2);
	}
}

int pw_fault_hit(const char *name, int err)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	uint64_t n;

	pthread_once(&once, parse);
	switch (fault.mode) {
	case FAULT_OFF:
		return 0;
	case FAULT_COUNT:
	case FAULT_NTH:
		n = __atomic_add_fetch(&nr_points, 1, __ATOMIC_RELAXED);
		return fault.mode == FAULT_NTH && n == fault.nth ? (err ? err : -EIO) : 0;
	case FAULT_NAMED:
		break;
	}
	if (strcmp(name, fault.name) || (fault.file[0] && access(fault.file, F_OK)))
		return 0;
	if (fault.kill)
		kill(getpid(), SIGKILL);
	return fault.err;
}

#endif
