/* SPDX-License-Identifier: Apache-2.0 */
/* blocks.h -- big blocks of memory that a mount may come to know, for libpagewire-alloc.so
 *
 * One arena for the process: an address range, in which chunks are mapped as blocks need them. A
 * chunk is a memfd, sparse until a mount is met; then it is registered, all of it. Who finds no
 * room gets NULL, and takes memory from elsewhere.
 * A child of fork() gets a private copy of what is in use, at the same addresses, and an arena of
 * its own for what comes later.
 * Thread: any, not in signal handlers.      Must not know: malloc.
 */
#ifndef LIBPAGEWIRE_BLOCKS_H
#define LIBPAGEWIRE_BLOCKS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* smaller blocks are not worth it; addresses and lengths are multiples of it */
#define PW_BLOCKS_GRANULE ((size_t)64 << 10)

struct pw_blocks_range {
	_Atomic(uintptr_t) base; /* written once, before the first block */
	_Atomic(size_t) len;	 /* 0: there is no block yet */
};
extern struct pw_blocks_range pw_blocks_range;

/* Blocks that are smaller are not for us. */
extern _Atomic(size_t) pw_blocks_min;

/**
 * pw_blocks_start - read PAGEWIRE_ALLOC_* of the environment; before that there are no blocks
 */
void pw_blocks_start(void);

/**
 * pw_blocks_have - is that an address of the arena? Costs two comparisons.
 */
static inline bool pw_blocks_have(const void *p)
{
	size_t len = atomic_load_explicit(&pw_blocks_range.len, memory_order_relaxed);

	return (uintptr_t)p -
		       atomic_load_explicit(&pw_blocks_range.base, memory_order_relaxed) <
	       len;
}

/**
 * pw_blocks_get - a block of @len bytes at least, at a multiple of @align
 * @align:     a power of two
 * @ret_zero:  it is known to be zero
 *
 * Return: NULL: take other memory. errno is as before.
 */
void *pw_blocks_get(size_t len, size_t align, bool *ret_zero);

/**
 * pw_blocks_size - how many bytes the block at @p has
 *
 * Return: 0 when no block begins there.
 */
size_t pw_blocks_size(const void *p);

/**
 * pw_blocks_put - give the block that begins at @p back
 */
void pw_blocks_put(void *p);

/**
 * pw_blocks_resize - make the block at @p longer or shorter where it is
 *
 * Return: false it cannot.
 */
bool pw_blocks_resize(void *p, size_t len);

/**
 * pw_blocks_discard - whole pages of the arena become zero, as by MADV_DONTNEED in private memory
 */
void pw_blocks_discard(void *p, size_t len);

/**
 * pw_blocks_meet - the program has opened @fd with O_DIRECT: if that is of a pagewire mount, and
 * the kernel finds registered memory by itself, register what there is and what comes
 *
 * errno is as before.
 */
void pw_blocks_meet(int fd);

#endif
