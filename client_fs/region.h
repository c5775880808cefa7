/* SPDX-License-Identifier: Apache-2.0 */
/* region.h -- memory that applications have handed to this mount, to send from and to receive into
 *
 *	FREE -> ADDING -> LIVE -> ENDING -> FREE
 *	           \_______________/
 *
 * A region is a memfd whose size is sealed, or a dma-buf, mapped here once. It begins with its
 * application's wish and ends with its application's wish or death; its memory is kept until the
 * kernel, every request and every transport have let go. Ids are small and reused; a key that
 * cannot be guessed goes with each, so that who is not told of a region cannot name it.
 *
 * Files that cannot be sealed (of tmpfs and hugetlbfs, a memfd with F_SEAL_SEAL and no more) are
 * refused, although the kernel could watch over them (REG_ACTIVATE: a region begins when the
 * devices have its pages, and fails if one was replaced meanwhile). That is true for one moment and
 * one device. Afterwards their owner can truncate them, and a copy here is a signal to this
 * process; or punch a page, and a socket, which sends by address, or a device that is connected to
 * later, has another page than the kernel, which finds the old one in buffers that io_uring has
 * fixed: wrong bytes, and no error.
 *
 * A dma-buf has a size of its own, and its pages are its exporter's, which may be a device that
 * goes away: nothing here touches it, the devices of transports do (those that take dma-bufs) or
 * the kernel does. It waits for no fences: its application is done with it before it writes it.
 *
 * What an application does to its memory harms only itself. A file cannot shrink, its pages cannot
 * be punched out (both sealed) and are all there before the region begins, so that nothing here
 * meets a page that is missing. Bytes that change while a request is under way arrive with their
 * old or new value: checksums are made by the node, over what has arrived there, and nowhere else.
 * Thread: the loop's own.      Allocates: never.      Must not know: sockets, FUSE.
 */
#ifndef PWC_REGION_H
#define PWC_REGION_H

#include <sys/types.h>

#include "common/loop.h"
#include "common/sm.h"

/* As many as can be announced to the transports, beside the memory of the mount itself. */
#define PWC_REGIONS_MAX 56u

enum pwc_region_state {
	PWC_REGION_FREE,
	PWC_REGION_ADDING, /* the kernel is asked to know it; it may use it before it says so. Then
			    * the transports register it, which takes long if it is large. */
	PWC_REGION_LIVE,
	PWC_REGION_ENDING, /* nothing new begins; the kernel and requests let go one by one */
	PWC_REGION_NR_STATES
};

struct pwc_region;
struct pwc_regions;

/* One application, for as long as it is connected. */
struct pwc_region_owner {
	uint32_t uid;
	pid_t pid; /* 0: not to be seen from here */
	/* ADDING is over, @r is LIVE; from the loop. */
	void (*on_live)(struct pwc_region_owner *o, struct pwc_region *r);
};

struct pwc_region {
	struct pw_sm sm;
	struct pwc_regions *t;
	uint32_t id; /* index in the table */
	uint64_t key;
	struct pwc_region_owner *owner; /* borrowed; NULL: it is gone */
	uint32_t uid;			/* of the owner, also when that is gone */
	pid_t pid;
	uint8_t *base; /* owns the mapping */
	size_t len;    /* bytes */
	off_t off;     /* in the file */
	int fd;	       /* owns, a memfd's while the kernel's answer to reg() is awaited; -1 */
	dev_t dev;     /* which file */
	ino_t ino;
	bool huge;	/* of huge pages */
	bool dmabuf;	/* nobody here may touch it: see pw_runs.foreign */
	uint32_t users; /* requests under way */
	bool in_kernel; /* REG_FD was taken, or may be */
	bool pinning;	/* ADDING still: the transports register it, step by step */
	int kernel_err; /* why not; 0 */
	uint64_t reads, writes, bytes_read, bytes_written;
};

/* The kernel's own table of regions. Each call that returns 0 is followed by
 * pwc_region_on_kernel(), never from within. */
struct pwc_region_kernel {
	/* To know the bytes of @r->fd as @r->id. */
	int (*reg)(void *owner, struct pwc_region *r);
	/* To forget it; asked again until it has. */
	int (*unreg)(void *owner, struct pwc_region *r);
	void *owner;
};

struct pwc_regions {
	struct pw_loop *loop;
	const struct pwc_region_kernel *kernel; /* NULL: it has no such table */
	struct pw_timer timer;			/* asks the kernel again, goes on with pinning */
	uint32_t max_owner, max_user; /* regions of one process, of one user but root */
	uint64_t max_bytes_owner, max_bytes_user, max_bytes;
	uint32_t nr;
	uint64_t bytes;
	uint64_t added, refused,
		refused_io; /* refused_io: requests that named no region of theirs */
	void (*on_idle)(struct pwc_regions *t); /* may be NULL: the last one is gone */
	struct pwc_region region[PWC_REGIONS_MAX];
};

/* @kernel: NULL or borrowed for life. Limits of bytes come from the memory of this machine. */
void pwc_regions_init(struct pwc_regions *t, struct pw_loop *loop,
		      const struct pwc_region_kernel *kernel);
/* nr is 0. */
void pwc_regions_fini(struct pwc_regions *t);

/* Bytes of [@off, @off + @len) of a file that @o wants to hand over. */
struct pwc_region_ask {
	int fd; /* borrowed */
	off_t off;
	size_t len;
};

/**
 * pwc_region_add - take memory over
 * @ret:     LIVE, or ADDING and then @o->on_live() follows
 * @ret_why: text for the application when it fails, with what to do
 *
 * Seals the file with F_SEAL_FUTURE_WRITE: who wants to write to it has it mapped by now.
 * Return: 0; -EINVAL no memfd, or not these bytes; -EPERM seals; -EEXIST the file is a region
 * already; -ENOSPC a limit; -ENOMEM.
 */
int pwc_region_add(struct pwc_regions *t, struct pwc_region_owner *o,
		   const struct pwc_region_ask *ask, struct pwc_region **ret, char *ret_why,
		   size_t why_len);

/* Nothing new begins; the region is FREE when the last user has let go, perhaps before this
 * returns. Idempotent. */
void pwc_region_end(struct pwc_region *r);
/* Ends all of @o's; none refers to it afterwards. */
void pwc_regions_end_owner(struct pwc_regions *t, struct pwc_region_owner *o);
/* Every owner is gone and so is the kernel's connection: it knows nothing any more, and what it
 * still answers does not matter. Nothing is added afterwards. */
void pwc_regions_end_all(struct pwc_regions *t);

/* By what an application says, LIVE or ENDING; NULL: no such region, or not @uid's. */
struct pwc_region *pwc_region_find(struct pwc_regions *t, uint32_t id, uint64_t key, uint32_t uid);
/* By what the kernel says. NULL: not one that it can know. */
struct pwc_region *pwc_region_of_kernel(struct pwc_regions *t, uint64_t id);

/* NULL: [@off, @off + @len) does not lie in it. */
static inline uint8_t *pwc_region_mem(const struct pwc_region *r, uint64_t off, uint64_t len)
{
	return off > r->len || len > r->len - off ? NULL : r->base + off;
}

/* A request uses its memory, from now on until put. */
static inline void pwc_region_hold(struct pwc_region *r)
{
	r->users++;
}
void pwc_region_put(struct pwc_region *r);

/* The answer of the kernel to reg(): 0 or -errno; to unreg(): -ENOENT gone, else ask again. */
void pwc_region_on_kernel(struct pwc_region *r, int res);

const char *pwc_region_state_name(const struct pwc_region *r);

#endif
