/* SPDX-License-Identifier: Apache-2.0 */
/* next.h -- the function of the same name in the library that comes after this one
 *
 * Thread: any.      Allocates: nothing; while one is looked for, calloc() has a small store of its
 * own, as the dynamic linker may allocate then.
 */
#ifndef LIBPAGEWIRE_NEXT_H
#define LIBPAGEWIRE_NEXT_H

#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>

/* Every thread may look it up once: all of them find the same. */
#define NEXT(name)                                                                             \
	(*({                                                                                   \
		static __typeof__(&name) next_;                                                \
		__typeof__(&name) f_ = __atomic_load_n(&next_, __ATOMIC_RELAXED);              \
		if (!f_) {                                                                     \
			f_ = (__typeof__(&name))(uintptr_t)pw_next_symbol(#name);              \
			__atomic_store_n(&next_, f_, __ATOMIC_RELAXED);                        \
		}                                                                              \
		f_;                                                                            \
	}))

/**
 * pw_next_symbol - look @name up behind this library
 *
 * Return: not NULL: without it there is no program to go on with.
 */
void *pw_next_symbol(const char *name);

/**
 * pw_next_calloc - the next calloc(), or the store when that is just being looked for
 */
void *pw_next_calloc(size_t nr, size_t each);

/**
 * pw_next_is_early - is it of that store? It is never given back.
 */
bool pw_next_is_early(const void *p);
size_t pw_next_early_size(const void *p);

#endif
