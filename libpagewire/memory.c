/* SPDX-License-Identifier: Apache-2.0 */
/* memory.c -- pw_alloc(), pw_import(), pw_release(): memory, and the mount's knowledge of it
 *
 * Happy path: memfd -> seal its size -> all its pages -> map -> fill with zeros -> hand it over.
 * The mount seals the rest. Can fail: no memory, no huge pages set aside, a limit of the mount.
 */
#include "libpagewire/session.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#ifndef DMA_BUF_MAGIC
#define DMA_BUF_MAGIC 0x444d4142 /* linux/magic.h */
#endif

/* not for user space, and yet what drivers answer */
#define KERNEL_ENOTSUPP 524

#define PAGE_BYTES    4096u
#define LOOK_AGAIN_MS 2

static size_t page_of(unsigned int flags)
{
	if (flags & PW_HUGE_1G)
		return (size_t)1 << 30;
	return flags & PW_HUGE_2M ? (size_t)2 << 20 : PAGE_BYTES;
}

static int make_file(size_t len, unsigned int flags)
{
	unsigned int mfd = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	struct rlimit most;
	int fd, err = 0;

	/* ftruncate() would end the program with SIGXFSZ */
	if (!getrlimit(RLIMIT_FSIZE, &most) && most.rlim_cur != RLIM_INFINITY &&
	    most.rlim_cur < len)
		return -EFBIG;
	if (flags & PW_HUGE_1G)
		mfd |= MFD_HUGETLB | MFD_HUGE_1GB;
	else if (flags & PW_HUGE_2M)
		mfd |= MFD_HUGETLB | MFD_HUGE_2MB;
	fd = memfd_create("pagewire-region", mfd);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)len) || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW))
		err = -errno;
	if (err) {
		close(fd);
		return err;
	}
	return fd;
}

static int add_to_mount(struct pw_region *r, off_t off)
{
	struct pw_region_msg m = {
		.version = PW_REGION_VERSION,
		.op = PW_REGION_ADD,
		.off = (uint64_t)off,
		.len = r->len,
	};
	struct pw_region_answer rsp;
	int err = pw_session_ask(r->pw, &m, r->fd, &rsp);

	if (err || rsp.err)
		return err ? err : rsp.err;
	r->id = rsp.id;
	r->key = rsp.key;
	r->registered = true;
	return 0;
}

/* fallocate() of a memfd has left its pages to be zeroed when they are first met. When the mount
 * pins them, that would be in the thread that serves everybody. Linux before 5.14 cannot, nor can
 * memory of some dma-bufs: then it is so. */
static void fill(const struct pw_region *r)
{
#ifdef MADV_POPULATE_WRITE
	madvise(r->base, r->len, MADV_POPULATE_WRITE);
#endif
}

static void destroy(struct pw_region *r)
{
	if (r->base)
		munmap(r->base, r->len);
	close(r->fd);
	free(r);
}

static bool is_dmabuf(int fd)
{
	struct statfs st;

	return !fstatfs(fd, &st) && st.f_type == DMA_BUF_MAGIC;
}

/* Takes @fd over, also when it fails. */
static int make_region(struct pw *pw, int fd, off_t off, size_t len, bool reg,
		       struct pw_region **ret)
{
	struct pw_region *r = calloc(1, sizeof(*r));
	struct stat st;
	void *p;
	int err;

	if (!r) {
		close(fd);
		return -ENOMEM;
	}
	*r = (struct pw_region){ .pw = pw, .len = len, .fd = fd };
	/* page by page later would be a signal where there is no memory; the mount wants all of the
	 * file */
	if (fstat(fd, &st) || (!is_dmabuf(fd) && fallocate(fd, 0, 0, st.st_size))) {
		err = errno == ENOSPC ? -ENOMEM : -errno;
		goto fail;
	}
	p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, off);
	if (p == MAP_FAILED) {
		err = errno == KERNEL_ENOTSUPP ? -EOPNOTSUPP : -errno;
		goto fail;
	}
	r->base = p;
	if (reg && pw->sock >= 0) {
		fill(r);
		err = add_to_mount(r, off);
		if (err)
			goto fail;
	}
	pthread_mutex_lock(&pw->lock);
	r->next = pw->first;
	pw->first = r;
	pthread_mutex_unlock(&pw->lock);
	*ret = r;
	return 0;

fail:
	destroy(r);
	return err;
}

PW_API int pw_alloc(pw_t *pw, size_t len, unsigned int flags, pw_region_t **ret)
{
	size_t page = page_of(flags);
	int fd;

	if (!pw || !ret || !len || flags & ~(PW_HUGE_2M | PW_HUGE_1G | PW_NOREG) ||
	    len > SIZE_MAX / 2)
		return -EINVAL;
	len = (len + page - 1) / page * page;
	fd = make_file(len, flags);
	if (fd < 0)
		return fd;
	return make_region(pw, fd, 0, len, !(flags & PW_NOREG), ret);
}

PW_API int pw_import(pw_t *pw, int fd, off_t off, size_t len, unsigned int flags, pw_region_t **ret)
{
	int own;

	if (!pw || !ret || !len || flags & ~PW_NOREG)
		return -EINVAL;
	own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (own < 0)
		return -errno;
	return make_region(pw, own, off, len, !(flags & PW_NOREG), ret);
}

PW_API void *pw_addr(const pw_region_t *r, size_t *ret_len, int *ret_fd)
{
	if (ret_len)
		*ret_len = r->len;
	if (ret_fd)
		*ret_fd = r->fd;
	return r->base;
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* The mount ends it now, and says so when nothing uses it any more. */
static int end_at_mount(struct pw_region *r, int timeout_ms)
{
	struct pw_region_msg m = {
		.version = PW_REGION_VERSION,
		.op = PW_REGION_END,
		.id = r->id,
		.key = r->key,
	};
	const struct timespec pause = { .tv_nsec = LOOK_AGAIN_MS * 1000000 };
	int64_t end_ms = now_ms() + timeout_ms;
	struct pw_region_answer rsp;

	for (;;) {
		int err = pw_session_ask(r->pw, &m, -1, &rsp);

		if (err) /* the mount is gone, and what it had with it */
			return 0;
		if (rsp.err != -EBUSY)
			return rsp.err;
		if (timeout_ms >= 0 && now_ms() >= end_ms)
			return -EBUSY;
		nanosleep(&pause, NULL);
	}
}

PW_API int pw_release(pw_region_t *r, int timeout_ms)
{
	struct pw *pw;
	int err;

	if (!r)
		return 0;
	pw = r->pw;
	err = r->registered ? end_at_mount(r, timeout_ms) : 0;
	if (err)
		return err;
	pthread_mutex_lock(&pw->lock);
	for (struct pw_region **p = &pw->first; *p; p = &(*p)->next) {
		if (*p == r) {
			*p = r->next;
			break;
		}
	}
	pthread_mutex_unlock(&pw->lock);
	destroy(r);
	return 0;
}
