/* SPDX-License-Identifier: Apache-2.0 */
/* meeting.c -- see meeting.h */
#include "libpagewire/alloc/meeting.h"

#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "libpagewire/alloc/say.h"
#include "libpagewire/session.h"

/* @always: registered memory is wanted also where the kernel does not find it by itself. */
static int meet(struct pw_meeting *m, const char *path, bool always)
{
	struct pw *pw;
	int err = pw_open(&pw, path, 0);

	if (err)
		return err;
	if (!always && !(pw->info.flags & PW_REGION_INFO_KERNEL)) {
		pw_say("nothing is registered: this kernel does not find registered memory by "
		       "itself, only pw_pread() and pw_pwrite() have zero copies here");
		pw_close(pw);
		return -EOPNOTSUPP;
	}
	pw_own_fd(&m->sock, pw->sock);
	pw->sock = m->sock.fd;
	m->pw = pw;
	snprintf(m->path, sizeof(m->path), "%s", path);
	pw_say("met the mount of %s", path);
	return 0;
}

bool pw_meeting_at(struct pw_meeting *m, int fd)
{
	char link[64], path[sizeof(m->path)];
	struct statfs fs;
	struct stat s;
	ssize_t n;

	if (m->pw || m->asked || fstatfs(fd, &fs) || fs.f_type != FUSE_SUPER_MAGIC ||
	    fstat(fd, &s) || s.st_dev == m->no_mount)
		return false;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n <= 0)
		return false;
	path[n] = '\0';
	if (!meet(m, path, false))
		return true;
	m->no_mount = s.st_dev;
	return false;
}

static bool meet_asked(struct pw_meeting *m)
{
	const char *path = m->asked;
	int err = meet(m, path, true);

	m->asked = NULL; /* once is enough */
	if (err)
		pw_say("nothing is registered: %s: %s", path, strerror(-err));
	return !err;
}

bool pw_meeting_known(struct pw_meeting *m)
{
	char path[sizeof(m->path)], *slash;
	int err;

	if (m->pw)
		return false;
	if (m->asked)
		return meet_asked(m);
	if (!*m->path)
		return false;
	memcpy(path, m->path, sizeof(path));
	do { /* the file may be gone: its folder */
		err = meet(m, path, true);
		slash = strrchr(path, '/');
		if (slash)
			*slash = '\0';
	} while (err == -ENOENT && *path);
	if (err) /* once is enough */
		*m->path = '\0';
	return !err;
}

bool pw_meeting_register(struct pw_meeting *m, const struct pw_owned_fd *mem, size_t len)
{
	pw_region_t *r;
	int err;

	if (!m->pw)
		return false;
	if (!pw_owned_fd_is_ours(&m->sock) || !pw_owned_fd_is_ours(mem)) {
		pw_say("%zu MiB not registered: the program has closed our descriptors",
		       len >> 20);
		return false;
	}
	err = pw_import(m->pw, mem->fd, 0, len, 0, &r);
	if (err) {
		pw_say("%zu MiB not registered: %s", len >> 20,
		       *m->pw->why ? m->pw->why : strerror(-err));
		return false;
	}
	/* the caller has a mapping and a descriptor of its own */
	munmap(r->base, r->len);
	close(r->fd);
	r->base = NULL;
	r->fd = -1;
	pw_say("%zu MiB registered", len >> 20);
	return true;
}

void pw_meeting_forget(struct pw_meeting *m)
{
	/* what is left of it here is some bytes of memory */
	pw_disown_fd(&m->sock);
	m->pw = NULL;
	m->no_mount = 0;
}
