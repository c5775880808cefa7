/* SPDX-License-Identifier: Apache-2.0 */
/* arena.c -- see arena.h; huge pages are tried first, then normal ones */
#include "common/arena.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fault.h"

#define PAGE_BYTES 4096u
#define HUGE_BYTES (2 * PW_MIB)

static int map(struct pw_arena *a, void *addr, int flags)
{
	int err = PW_FAULT_ERR("arena.map", -ENOMEM);
	void *p;

	if (err)
		return err;
	flags |= addr ? MAP_FIXED_NOREPLACE : 0;
	p = mmap(addr, a->size, PROT_READ | PROT_WRITE, flags, a->fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	if (addr && p != addr) {
		/* UNTESTED: kernels before 4.17 take the flag for a hint */
		munmap(p, a->size);
		return -EEXIST;
	}
	/* a child would keep pages that hardware or a ring writes to, or get copies of them */
	madvise(p, a->size, MADV_DONTFORK);
	a->base = p;
	return 0;
}

static int try_init(struct pw_arena *a, size_t size, uint32_t flags, const char *name, void *addr)
{
	bool huge = flags & PW_ARENA_HUGE;
	int err;

	*a = (struct pw_arena){ .fd = -1, .huge = huge };
	a->size = PW_ROUND_UP(size, huge ? (size_t)HUGE_BYTES : PAGE_BYTES);
	if (!(flags & PW_ARENA_MEMFD))
		return map(a, addr, MAP_PRIVATE | MAP_ANONYMOUS | (huge ? MAP_HUGETLB : 0));
	a->fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | (huge ? MFD_HUGETLB : 0));
	if (a->fd < 0)
		return -errno;
	err = ftruncate(a->fd, (off_t)a->size) ? -errno : map(a, addr, MAP_SHARED);
	if (!err && fcntl(a->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW)) {
		/* UNTESTED: a memfd that allows sealing takes seals */
		err = -errno;
		munmap(a->base, a->size);
	}
	if (err)
		close(a->fd);
	return err;
}

int pw_arena_init(struct pw_arena *a, size_t size, uint32_t flags, const char *name, void *addr)
{
	int err;

	if (!size || size > SIZE_MAX / 2)
		return -EINVAL;
	err = try_init(a, size, flags, name, addr);
	if (err && (flags & PW_ARENA_HUGE) && err != -EEXIST)
		err = try_init(a, size, flags & ~PW_ARENA_HUGE, name, addr);
	if (err)
		*a = (struct pw_arena){ .fd = -1 };
	return err;
}

int pw_arena_attach(struct pw_arena *a, int fd, void *addr)
{
	struct stat st;
	int err;

	if (fstat(fd, &st))
		return -errno;
	if (st.st_size <= 0)
		return -EINVAL;
	*a = (struct pw_arena){ .fd = fd, .size = (size_t)st.st_size };
	a->huge = st.st_blksize >= (blksize_t)HUGE_BYTES;
	err = map(a, addr, MAP_SHARED);
	if (err)
		*a = (struct pw_arena){ .fd = -1 };
	return err;
}

void pw_arena_fini(struct pw_arena *a)
{
	if (!a->base)
		return;
	munmap(a->base, a->size);
	if (a->fd >= 0)
		close(a->fd);
	*a = (struct pw_arena){ .fd = -1 };
}

void *pw_arena_alloc(struct pw_arena *a, size_t len, size_t align)
{
	size_t start;

	assert(align && !(align & (align - 1)) && align <= PAGE_BYTES);
	start = PW_ROUND_UP(a->used, align);
	if (start > a->size || len > a->size - start)
		return NULL;
	a->used = start + len;
	return a->base + start;
}
