/* SPDX-License-Identifier: Apache-2.0 */
/* arena.h -- one area of memory for payloads: mapped once, registered once, carved up at start
 *
 * Its owner registers [base, base + size) with io_uring as one fixed buffer (and with each NIC,
 * later). It is never resized, advised or unmapped while a ring lives that knows it. A child made
 * by fork() does not get it. With PW_ARENA_MEMFD it is shared memory whose descriptor can be kept
 * across a restart: the successor maps it at the same address by pw_arena_attach().
 * Thread: allocation by the owner at start; then plain memory.      Allocates: in init only.
 */
#ifndef PW_ARENA_H
#define PW_ARENA_H

#include "common/compiler.h"

#define PW_ARENA_HUGE 1u /* 2 MiB pages when the system has them set aside, else normal ones */
#define PW_ARENA_MEMFD 2u

struct pw_arena {
	uint8_t *base; /* owns */
	size_t size; /* bytes, whole pages */
	size_t used; /* bytes from base */
	int fd; /* owns; -1 without PW_ARENA_MEMFD */
	bool huge; /* got them */
};

/**
 * pw_arena_init - map an arena, zeroed
 * @size: bytes, rounded up to pages
 * @flags: PW_ARENA_*
 * @name: shown in /proc for a memfd
 * @addr: where to, or NULL for anywhere
 *
 * Return: 0; -ENOMEM; -EEXIST something else is at @addr; -EINVAL @size is 0.
 */
int pw_arena_init(struct pw_arena *a, size_t size, uint32_t flags, const char *name, void *addr);

/**
 * pw_arena_attach - map the memfd of an earlier arena, contents kept, nothing allocated
 * @fd: owned by the arena on success, by the caller otherwise
 * @addr: as in pw_arena_init(); pointers stored in the area need the address of before
 */
int pw_arena_attach(struct pw_arena *a, int fd, void *addr);

/* Accepts a zeroed struct. */
void pw_arena_fini(struct pw_arena *a);

/* At start only. @align: power of two. Return: NULL when the arena is used up. */
void *pw_arena_alloc(struct pw_arena *a, size_t len, size_t align);

#endif
