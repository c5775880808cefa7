/* SPDX-License-Identifier: Apache-2.0 */
/* io.c -- pw_pread(), pw_pwrite(): requests by ioctl, none of whose bytes the kernel touches
 *
 * Where that is not possible (no pagewire, another mount, a region that is not registered) plain
 * pread(2) and pwrite(2) do the same with copies, and are counted.
 */
#include <errno.h>
#include <limits.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "libpagewire/session.h"

static ssize_t plain(int fd, struct pw_region *r, const struct pw_region_io *io, size_t len)
{
	uint8_t *p = r->base + io->region_off;
	ssize_t n;

	atomic_fetch_add(&r->pw->plain_io, 1);
	if (io->dir == PW_REGION_READ)
		n = pread(fd, p, len, (off_t)io->file_off);
	else
		n = pwrite(fd, p, len, (off_t)io->file_off);
	return n < 0 ? -errno : n;
}

/* The file is not of this mount, or the mount does not know the region. */
static bool is_elsewhere(int err)
{
	return err == ENOTTY || err == ENXIO || err == EOPNOTSUPP || err == ENOSYS;
}

static ssize_t move(int fd, struct pw_region *r, struct pw_region_io *io, size_t len)
{
	size_t done = 0;

	if (io->region_off > r->len || len > r->len - io->region_off || (int64_t)io->file_off < 0 ||
	    len > SSIZE_MAX)
		return -EINVAL;
	if (!r->registered)
		return plain(fd, r, io, len);
	while (done < len) {
		int n;

		io->len = len - done < r->pw->info.max_io ? (uint32_t)(len - done)
							  : r->pw->info.max_io;
		n = ioctl(fd, PW_IOC_IO, io);
		if (n < 0 && is_elsewhere(errno) && !done)
			return plain(fd, r, io, len);
		if (n < 0)
			return done ? (ssize_t)done : -errno;
		done += (size_t)n;
		io->region_off += (uint32_t)n;
		io->file_off += (uint32_t)n;
		if ((uint32_t)n < io->len)
			break;
	}
	return (ssize_t)done;
}

PW_API ssize_t pw_pread(int fd, pw_region_t *r, size_t region_off, size_t len, off_t file_off)
{
	struct pw_region_io io = {
		.id = r->id,
		.dir = PW_REGION_READ,
		.key = r->key,
		.region_off = region_off,
		.file_off = (uint64_t)file_off,
	};

	return move(fd, r, &io, len);
}

PW_API ssize_t pw_pwrite(int fd, pw_region_t *r, size_t region_off, size_t len, off_t file_off)
{
	struct pw_region_io io = {
		.id = r->id,
		.dir = PW_REGION_WRITE,
		.key = r->key,
		.region_off = region_off,
		.file_off = (uint64_t)file_off,
	};

	return move(fd, r, &io, len);
}
