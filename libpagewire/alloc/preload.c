/* SPDX-License-Identifier: Apache-2.0 */
/* preload.c -- libpagewire-alloc.so: malloc() and its family, with big blocks out of blocks.c
 *
 * A block of PAGEWIRE_ALLOC_MIN bytes or more comes from there when there is room; all else, and
 * everything before the constructor has run, is of whoever comes next (the C library).
 */
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "libpagewire/alloc/blocks.h"
#include "libpagewire/alloc/next.h"

#define EXPORT __attribute__((visibility("default")))

static bool is_big(size_t len)
{
	return len >= atomic_load_explicit(&pw_blocks_min, memory_order_relaxed);
}

static void *big(size_t len, size_t align)
{
	bool zero;

	return is_big(len) ? pw_blocks_get(len, align, &zero) : NULL;
}

static size_t page_bytes(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

__attribute__((constructor)) static void start(void)
{
	pw_blocks_start();
}

EXPORT void *malloc(size_t len)
{
	void *p = big(len, 1);

	return p ? p : NEXT(malloc)(len);
}

EXPORT void free(void *p)
{
	if (pw_blocks_have(p))
		pw_blocks_put(p);
	else if (!pw_next_is_early(p))
		NEXT(free)(p);
}

EXPORT void *calloc(size_t nr, size_t each)
{
	bool zero = false;
	size_t len;
	void *p = NULL;

	if (!__builtin_mul_overflow(nr, each, &len) && is_big(len))
		p = pw_blocks_get(len, 1, &zero);
	if (!p)
		return pw_next_calloc(nr, each);
	if (!zero)
		memset(p, 0, len);
	return p;
}

/* To or from the arena: a copy. */
static void *move(void *old, size_t old_len, size_t len)
{
	void *p = malloc(len);

	if (!p)
		return NULL;
	memcpy(p, old, old_len < len ? old_len : len);
	free(old);
	return p;
}

EXPORT void *realloc(void *p, size_t len)
{
	if (!p)
		return malloc(len);
	if (pw_blocks_have(p)) {
		if (!len) {
			free(p);
			return NULL;
		}
		if (is_big(len) && pw_blocks_resize(p, len))
			return p;
		return move(p, pw_blocks_size(p), len);
	}
	if (pw_next_is_early(p))
		return move(p, pw_next_early_size(p), len);
	if (is_big(len)) {
		size_t old_len = NEXT(malloc_usable_size)(p);
		void *q = big(len, 1);

		if (q) {
			memcpy(q, p, old_len < len ? old_len : len);
			NEXT(free)(p);
			return q;
		}
	}
	return NEXT(realloc)(p, len);
}

EXPORT void *reallocarray(void *p, size_t nr, size_t each)
{
	size_t len;

	if (__builtin_mul_overflow(nr, each, &len)) {
		errno = ENOMEM;
		return NULL;
	}
	return realloc(p, len);
}

static bool is_power(size_t n)
{
	return n && !(n & (n - 1));
}

EXPORT void *memalign(size_t align, size_t len)
{
	void *p = is_power(align) ? big(len, align) : NULL;

	return p ? p : NEXT(memalign)(align, len);
}

EXPORT void *aligned_alloc(size_t align, size_t len)
{
	void *p = is_power(align) ? big(len, align) : NULL;

	return p ? p : NEXT(aligned_alloc)(align, len);
}

EXPORT int posix_memalign(void **ret, size_t align, size_t len)
{
	void *p = is_power(align) && align >= sizeof(void *) ? big(len, align) : NULL;

	if (!p)
		return NEXT(posix_memalign)(ret, align, len);
	*ret = p;
	return 0;
}

EXPORT void *valloc(size_t len)
{
	void *p = big(len, page_bytes());

	return p ? p : NEXT(valloc)(len);
}

EXPORT void *pvalloc(size_t len)
{
	void *p = big(len, page_bytes());

	return p ? p : NEXT(pvalloc)(len);
}

EXPORT size_t malloc_usable_size(void *p)
{
	if (pw_blocks_have(p))
		return pw_blocks_size(p);
	return pw_next_is_early(p) ? pw_next_early_size(p) : NEXT(malloc_usable_size)(p);
}

/* Blocks are shared memory, and are to be as private as other memory is. */
EXPORT int madvise(void *p, size_t len, int what)
{
	if (!pw_blocks_have(p) || !len || !pw_blocks_have((uint8_t *)p + len - 1))
		return NEXT(madvise)(p, len, what);
	switch (what) {
	case MADV_DONTNEED:
		if ((uintptr_t)p % page_bytes()) {
			errno = EINVAL;
			return -1;
		}
		pw_blocks_discard(p, (len + page_bytes() - 1) & ~(page_bytes() - 1));
		return 0;
	case MADV_FREE: /* may be zero afterwards, or not */
	case MADV_DOFORK:
	case MADV_DONTFORK: /* a child has a copy */
		return 0;
	default:
		return NEXT(madvise)(p, len, what);
	}
}
