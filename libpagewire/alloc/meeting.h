/* SPDX-License-Identifier: Apache-2.0 */
/* meeting.h -- the mount that a program under libpagewire-alloc.so has to do with
 *
 * It is the one that was asked for, or the first on which a file is opened with O_DIRECT; only the
 * latter has to be on a kernel that finds registered memory by itself.
 * Thread: under a lock of the caller.      Allocates: a session, for ever.
 */
#ifndef LIBPAGEWIRE_MEETING_H
#define LIBPAGEWIRE_MEETING_H

#include <stdbool.h>
#include <stddef.h>

#include "libpagewire/alloc/owned_fd.h"

struct pw;

struct pw_meeting {
	const char *asked; /* borrows: a path, when one mount was asked for and not tried yet */
	struct pw *pw;	   /* owns; NULL: none yet */
	struct pw_owned_fd sock;
	char path[4096]; /* of a file there: a child of fork() meets it again */
	dev_t no_mount;	 /* the last filesystem that is none */
};

/**
 * pw_meeting_at - @fd is of a file that was opened with O_DIRECT
 *
 * Return: a mount was met now.
 */
bool pw_meeting_at(struct pw_meeting *m, int fd);

/**
 * pw_meeting_known - the mount that was asked for, or, in a child of fork(), that of its parent
 *
 * Return: a mount was met now.
 */
bool pw_meeting_known(struct pw_meeting *m);

/**
 * pw_meeting_register - a whole memfd of @len bytes, for as long as the process lives
 *
 * Return: false there is no mount, or it does not want it.
 */
bool pw_meeting_register(struct pw_meeting *m, const struct pw_owned_fd *mem, size_t len);

/**
 * pw_meeting_forget - in a child of fork(): the connection is its parent's
 */
void pw_meeting_forget(struct pw_meeting *m);

#endif
