/* SPDX-License-Identifier: Apache-2.0 */
/* watcher.h -- a second process that takes the mount away when the daemon just dies
 *
 * A dead mount answers every program with ENOTCONN until somebody unmounts it. The watcher is
 * forked before the loop, the arena and /dev/fuse exist and holds one end of a pipe and nothing
 * else: what it inherited of them would keep a dead connection alive.
 * Thread: a process of its own.
 */
#ifndef PWC_WATCHER_H
#define PWC_WATCHER_H

#include "client_fs/options.h"

struct pwc_watcher {
	int fd; /* our end of the pipe; -1: none */
	int pid;
};

/* Before anything else is opened. Return: 0 or -errno. */
int pwc_watcher_start(struct pwc_watcher *w, const struct pwc_options *o);
/* The mount exists from now on. @mount_id: as in /proc/self/mountinfo. */
void pwc_watcher_mounted(struct pwc_watcher *w, uint64_t mount_id);
/* The mount is gone in order. Who mounts anew at once is safe from the watcher from here on. */
void pwc_watcher_goodbye(struct pwc_watcher *w);
/* Lets it do what is left to do (a mount whose connection was cut), and waits for it. */
void pwc_watcher_end(struct pwc_watcher *w);

#endif
