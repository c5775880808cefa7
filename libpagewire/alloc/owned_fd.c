/* SPDX-License-Identifier: Apache-2.0 */
/* owned_fd.c -- see owned_fd.h */
#include "libpagewire/alloc/owned_fd.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define HIGH_FD 512

void pw_own_fd(struct pw_owned_fd *o, int fd)
{
	int high = fcntl(fd, F_DUPFD_CLOEXEC, HIGH_FD);
	struct stat s;

	if (high >= 0) {
		close(fd);
		fd = high;
	}
	*o = (struct pw_owned_fd){ .fd = fd };
	if (!fstat(fd, &s)) {
		o->dev = s.st_dev;
		o->ino = s.st_ino;
	}
}

bool pw_owned_fd_is_ours(const struct pw_owned_fd *o)
{
	struct stat s;

	return o->fd >= 0 && !fstat(o->fd, &s) && s.st_dev == o->dev && s.st_ino == o->ino;
}

void pw_disown_fd(struct pw_owned_fd *o)
{
	if (pw_owned_fd_is_ours(o))
		close(o->fd);
	o->fd = -1;
}
