/* SPDX-License-Identifier: Apache-2.0 */
/* attr.c -- pure conversions */
#include "client_fs/attr.h"

#include <string.h>
#include <sys/stat.h>

#define NS 1000000000

/* Times before 1970 have a negative second and a nanosecond that counts forward. */
static void split(int64_t ns, uint64_t *ret_sec, uint32_t *ret_nsec)
{
	int64_t sec = ns / NS, rest = ns % NS;

	if (rest < 0) {
		rest += NS;
		sec--;
	}
	*ret_sec = (uint64_t)sec;
	*ret_nsec = (uint32_t)rest;
}

int64_t pwc_attr_time(int64_t sec, uint32_t nsec)
{
	int64_t ns;

	if (__builtin_mul_overflow(sec, (int64_t)NS, &ns) ||
	    __builtin_add_overflow(ns, (int64_t)nsec, &ns))
		return sec < 0 ? INT64_MIN : INT64_MAX;
	return ns;
}

uint32_t pwc_attr_rdev_from_wire(uint32_t rdev)
{
	uint32_t major = rdev >> 20, minor = rdev & 0xfffff;

	return (minor & 0xff) | major << 8 | (minor & ~0xffu) << 12;
}

uint32_t pwc_attr_rdev_to_wire(uint32_t dev)
{
	uint32_t major = dev >> 8 & 0xfff, minor = (dev & 0xff) | (dev >> 12 & 0xfff00);

	return major << 20 | minor;
}

void pwc_attr_to_fuse(const struct pw_attr *a, struct fuse_attr *ret)
{
	*ret = (struct fuse_attr){
		.ino = a->ino,
		.size = a->size,
		.blocks = a->blocks,
		.mode = a->mode,
		.nlink = a->nlink,
		.uid = a->uid,
		.gid = a->gid,
		.rdev = pwc_attr_rdev_from_wire(a->rdev),
		.blksize = PWC_ATTR_BLKSIZE,
	};
	split(a->atime_ns, &ret->atime, &ret->atimensec);
	split(a->mtime_ns, &ret->mtime, &ret->mtimensec);
	split(a->ctime_ns, &ret->ctime, &ret->ctimensec);
}

static struct timespec to_timespec(int64_t ns)
{
	uint64_t sec;
	uint32_t nsec;

	split(ns, &sec, &nsec);
	return (struct timespec){ .tv_sec = (time_t)sec, .tv_nsec = nsec };
}

void pwc_attr_to_stat(const struct pw_attr *a, struct stat *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->st_ino = a->ino;
	ret->st_size = (off_t)a->size;
	ret->st_blocks = (blkcnt_t)a->blocks;
	ret->st_mode = a->mode;
	ret->st_nlink = a->nlink;
	ret->st_uid = a->uid;
	ret->st_gid = a->gid;
	ret->st_rdev = pwc_attr_rdev_from_wire(a->rdev);
	ret->st_blksize = PWC_ATTR_BLKSIZE;
	ret->st_atim = to_timespec(a->atime_ns);
	ret->st_mtim = to_timespec(a->mtime_ns);
	ret->st_ctim = to_timespec(a->ctime_ns);
}
