/* SPDX-License-Identifier: Apache-2.0 */
/* launch.h -- the launcher waits until its daemon is usable, or says why it is not
 *
 * The fork comes first of all: no loop, no ring, no FUSE descriptor exists yet. The daemon sends
 * one report through a pipe; without one its end is a failure too.
 * Thread: two processes.
 */
#ifndef PWC_LAUNCH_H
#define PWC_LAUNCH_H

#include "common/compiler.h"

struct pwc_launch {
	int fd; /* daemon's end of the pipe; -1: in the foreground, or reported */
};

/* Returns in the daemon only; the launcher exits with what the daemon reports. Return: 0 or
 * -errno. */
int pwc_launch_fork(struct pwc_launch *l);
/* In the daemon: usable. Its stderr becomes the journal, or nothing. */
void pwc_launch_ready(struct pwc_launch *l);
/* In the daemon: failed. @code: enum pw_exit; @why: printed by the launcher. */
void pwc_launch_failed(struct pwc_launch *l, int code, const char *why);

/* stderr becomes the journal, or nothing. */
void pwc_launch_leave_stderr(void);

#endif
