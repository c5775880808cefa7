/* SPDX-License-Identifier: Apache-2.0 */
/* owned_fd.h -- a descriptor of this library in a program that does not know of it
 *
 * The program may count on the numbers that it gets, close all that it does not know (closefrom(),
 * daemons), and get the number for something else. So ours are out of the way, and are looked at
 * before they are used.
 * Thread: under a lock of the caller.      Allocates: nothing.
 */
#ifndef LIBPAGEWIRE_OWNED_FD_H
#define LIBPAGEWIRE_OWNED_FD_H

#include <stdbool.h>
#include <sys/types.h>

struct pw_owned_fd {
	int fd; /* owns, while it is still the file below; -1 */
	dev_t dev;
	ino_t ino;
};

/**
 * pw_own_fd - keep @fd, under a high number where there is one (ulimit -n)
 * @fd:  taken over; -1 is fine
 */
void pw_own_fd(struct pw_owned_fd *o, int fd);

/**
 * pw_owned_fd_is_ours - is it open, and the same file as before?
 */
bool pw_owned_fd_is_ours(const struct pw_owned_fd *o);

/**
 * pw_disown_fd - close it, if it is still ours
 */
void pw_disown_fd(struct pw_owned_fd *o);

#endif
