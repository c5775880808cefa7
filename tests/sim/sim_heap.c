/* SPDX-License-Identifier: Apache-2.0 */
/* sim_heap.c -- a heap for each process: malloc and mmap are wrapped by the linker (--wrap)
 *
 * Memory comes from the real allocator (so that a sanitizer sees all of it); a set of live pointers
 * for each process knows what to free when it is killed. Outside of any process nothing is noted.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/sim/sim.h"

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t m);
void *__real_realloc(void *p, size_t n);
void *__real_reallocarray(void *p, size_t n, size_t m);
void *__real_aligned_alloc(size_t align, size_t n);
char *__real_strdup(const char *s);
void __real_free(void *p);
void *__real_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off);
int __real_munmap(void *addr, size_t len);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t m);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_reallocarray(void *p, size_t n, size_t m);
void *__wrap_aligned_alloc(size_t align, size_t n);
char *__wrap_strdup(const char *s);
void __wrap_free(void *p);
void *__wrap_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off);
int __wrap_munmap(void *addr, size_t len);

struct sim_map {
	struct sim_map *next;
	void *addr;
	size_t len;
};

static size_t home_of(const struct sim_heap *h, uintptr_t p)
{
	return (p >> 4) * 0x9e3779b97f4a7c15ull >> 20 & (h->cap - 1);
}

static void grow(struct sim_heap *h)
{
	struct sim_heap old = *h;

	h->cap = old.cap ? 2 * old.cap : 1024;
	h->slot = __real_calloc(h->cap, sizeof(*h->slot));
	if (!h->slot)
		abort();
	for (size_t i = 0; i < old.cap; i++) {
		size_t at;

		if (!old.slot[i])
			continue;
		for (at = home_of(h, old.slot[i]); h->slot[at]; at = (at + 1) & (h->cap - 1))
			;
		h->slot[at] = old.slot[i];
	}
	__real_free(old.slot);
}

static void *note(void *p)
{
	struct sim_heap *h = sim.cur ? &sim.cur->heap : NULL;
	size_t at;

	if (!p || !h)
		return p;
	if (2 * (h->nr + 1) > h->cap)
		grow(h);
	for (at = home_of(h, (uintptr_t)p); h->slot[at]; at = (at + 1) & (h->cap - 1))
		;
	h->slot[at] = (uintptr_t)p;
	h->nr++;
	return p;
}

static void forget(void *ptr)
{
	struct sim_heap *h = sim.cur ? &sim.cur->heap : NULL;
	uintptr_t p = (uintptr_t)ptr;
	size_t at, next, mask;

	if (!p || !h || !h->cap)
		return;
	mask = h->cap - 1;
	for (at = home_of(h, p); h->slot[at] != p; at = (at + 1) & mask)
		if (!h->slot[at])
			return; /* the world's */
	h->nr--;
	/* those behind it move back to where a search finds them */
	for (next = at;;) {
		h->slot[at] = 0;
		do {
			next = (next + 1) & mask;
			if (!h->slot[next])
				return;
		} while (((next - home_of(h, h->slot[next])) & mask) < ((next - at) & mask));
		h->slot[at] = h->slot[next];
		at = next;
	}
}

void *__wrap_malloc(size_t n)
{
	return note(__real_malloc(n));
}

void *__wrap_calloc(size_t n, size_t m)
{
	return note(__real_calloc(n, m));
}

void *__wrap_realloc(void *p, size_t n)
{
	forget(p);
	return note(__real_realloc(p, n));
}

void *__wrap_reallocarray(void *p, size_t n, size_t m)
{
	forget(p);
	return note(__real_reallocarray(p, n, m));
}

void *__wrap_aligned_alloc(size_t align, size_t n)
{
	return note(__real_aligned_alloc(align, n));
}

char *__wrap_strdup(const char *s)
{
	return note(__real_strdup(s));
}

void __wrap_free(void *p)
{
	forget(p);
	__real_free(p);
}

void *__wrap_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	void *p = __real_mmap(addr, len, prot, flags, fd, off);
	struct sim_map *m;

	if (p == MAP_FAILED || !sim.cur)
		return p;
	m = __real_malloc(sizeof(*m));
	if (!m)
		abort();
	*m = (struct sim_map){ .next = sim.cur->heap.maps, .addr = p, .len = len };
	sim.cur->heap.maps = m;
	return p;
}

int __wrap_munmap(void *addr, size_t len)
{
	struct sim_map **at = sim.cur ? &sim.cur->heap.maps : NULL;

	for (; at && *at; at = &(*at)->next) {
		struct sim_map *m = *at;

		if (m->addr != addr)
			continue;
		*at = m->next;
		__real_free(m);
		break;
	}
	return __real_munmap(addr, len);
}

void *sim_alloc(size_t n)
{
	void *p = __real_calloc(1, n);

	if (!p)
		abort();
	return p;
}

void *sim_realloc(void *p, size_t n)
{
	p = __real_realloc(p, n);
	if (!p)
		abort();
	return p;
}

void sim_free(void *p)
{
	__real_free(p);
}

void sim_heap_drop(struct sim_heap *h)
{
	struct sim_map *m;

	for (size_t i = 0; i < h->cap; i++)
		if (h->slot[i])
			__real_free((void *)h->slot[i]);
	__real_free(h->slot);
	while ((m = h->maps)) {
		h->maps = m->next;
		__real_munmap(m->addr, m->len);
		__real_free(m);
	}
	*h = (struct sim_heap){ .slot = NULL };
}
