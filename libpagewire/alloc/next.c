/* SPDX-License-Identifier: Apache-2.0 */
/* next.c -- see next.h */
#include "libpagewire/alloc/next.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define STORE_BYTES 16384u

static _Alignas(16) uint8_t store[STORE_BYTES];
static size_t store_used;
static __thread bool looking;

void *pw_next_symbol(const char *name)
{
	void *p;

	looking = true;
	p = dlsym(RTLD_NEXT, name);
	looking = false;
	if (!p) {
		dprintf(STDERR_FILENO, "pagewire-alloc: no %s() behind this library\n", name);
		abort();
	}
	return p;
}

static void *from_store(size_t len)
{
	size_t need = (len + 15) / 16 * 16 + 16, at;

	if (len > STORE_BYTES)
		return NULL;
	at = __atomic_fetch_add(&store_used, need, __ATOMIC_RELAXED);
	if (at + need > STORE_BYTES)
		return NULL;
	*(size_t *)(void *)(store + at) = len;
	return store + at + 16;
}

void *pw_next_calloc(size_t nr, size_t each)
{
	size_t len;

	if (!looking)
		return NEXT(calloc)(nr, each);
	return __builtin_mul_overflow(nr, each, &len) ? NULL : from_store(len);
}

bool pw_next_is_early(const void *p)
{
	return (uintptr_t)p - (uintptr_t)store < STORE_BYTES;
}

size_t pw_next_early_size(const void *p)
{
	return *(const size_t *)(const void *)((const uint8_t *)p - 16);
}
