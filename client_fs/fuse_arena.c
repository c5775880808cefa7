/* SPDX-License-Identifier: Apache-2.0 */
/* fuse_arena.c -- one memfd, mapped once; can fail only while the mount starts */
#include "client_fs/fuse_arena.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/fault.h"
#include "common/mem.h"

/* Same address in every generation of the daemon; far from where the system puts mappings by
 * itself. */
#define ARENA_ADDR ((void *)0x200000000000ull)

static_assert(sizeof(struct pwc_arena_head) == 512, "heads do not straddle pages");

static void *map(size_t len, int fd)
{
	int flags = MAP_SHARED | MAP_NORESERVE;
	void *p = mmap(ARENA_ADDR, len, PROT_READ | PROT_WRITE, flags | MAP_FIXED_NOREPLACE, fd, 0);

	/* Taken, or not ours to use under a sanitizer: then any place, and no take-over later. */
	if (p == MAP_FAILED)
		p = mmap(NULL, len, PROT_READ | PROT_WRITE, flags, fd, 0);
	return p;
}

int pwc_arena_init(struct pwc_arena *a, const struct pwc_arena_opts *o)
{
	size_t heads = PW_ROUND_UP((size_t)o->nr_entries * sizeof(struct pwc_arena_head), 4096);
	int err;
	void *p;

	assert(o->payload_bytes % 4096 == 0);
	*a = (struct pwc_arena){ .fd = -1, .o = *o };
	a->payload_off = heads;
	a->dev_off = heads + (size_t)o->nr_entries * o->payload_bytes;
	a->len = a->dev_off + (size_t)o->nr_dev_bufs * (PWC_DEV_DATA_OFF + o->payload_bytes);
	a->fd = memfd_create("pagewire-arena", MFD_CLOEXEC);
	if (a->fd < 0)
		return -errno;
	err = PW_FAULT_ERR("arena.size", -ENOMEM);
	if (!err && ftruncate(a->fd, (off_t)a->len))
		err = -errno;
	if (err)
		goto close_fd;
	p = map(a->len, a->fd);
	if (p == MAP_FAILED) {
		err = -errno;
		goto close_fd;
	}
	/* A child that inherits it would hold pages that the ring of a dead server is still writing
	 * to. */
	madvise(p, a->len, MADV_DONTFORK);
	err = pw_mem_announce_begin(p, a->len);
	if (err)
		goto unmap;
	a->base = p;
	return 0;

unmap:
	munmap(p, a->len);
close_fd:
	close(a->fd);
	a->fd = -1;
	return err;
}

bool pwc_arena_step(struct pwc_arena *a)
{
	return pw_mem_step(a->base);
}

void pwc_arena_fini(struct pwc_arena *a)
{
	if (a->base) {
		pw_mem_withdraw(a->base);
		munmap(a->base, a->len);
	}
	if (a->fd >= 0)
		close(a->fd);
	*a = (struct pwc_arena){ .fd = -1 };
}
