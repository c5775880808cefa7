/* SPDX-License-Identifier: Apache-2.0 */
/* mountinfo.h -- the kernel's list of mounts (proc_pid_mountinfo(5))
 *
 * Reading it touches no mount, so it works while a FUSE daemon is stopped or its node is away.
 * Thread: any.      Allocates: yes.
 */
#ifndef PWC_CLI_MOUNTINFO_H
#define PWC_CLI_MOUNTINFO_H

#include <stdio.h>

#include "common/compiler.h"

#define PWC_MOUNTINFO_TYPE "fuse.pagewire"

struct pwc_mountinfo {
	uint32_t dev_major, dev_minor;	     /* a FUSE mount's connection is 0:minor */
	char *dir, *type, *source, *options; /* owns, unescaped; options: of the mount */
};

struct pwc_mountinfos {
	struct pwc_mountinfo *row; /* owns; the kernel's order: a later one may hide another */
	size_t nr;
};

/* Every mount of @type, all when NULL. Return: 0; -errno; -EINVAL a line is not understood. */
int pwc_mountinfo_parse(FILE *f, const char *type, struct pwc_mountinfos *ret);
/* The same of this process's mount namespace. */
int pwc_mountinfo_read(const char *type, struct pwc_mountinfos *ret);
void pwc_mountinfo_fini(struct pwc_mountinfos *m);

/* What is on top of @dir, which is absolute and without links; NULL: nothing is mounted there. */
const struct pwc_mountinfo *pwc_mountinfo_at(const struct pwc_mountinfos *m, const char *dir);

/**
 * pwc_mountinfo_path - the absolute name of a mount point, without asking what is mounted there
 * @ret: PATH_MAX bytes
 *
 * Links in the way are resolved; the last component is only read as a link, never stat()ed.
 * Return: 0; -errno.
 */
int pwc_mountinfo_path(const char *dir, char *ret);

#endif
