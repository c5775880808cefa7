/* SPDX-License-Identifier: Apache-2.0 */
/* notify.h -- tells the kernel to forget what it knows of an inode; from a thread of its own
 *
 * Such a write(2) to /dev/fuse takes locks of the VFS, whose holders may be waiting for an answer
 * of the loop thread: so the loop thread never does it. Jobs are done in order; each comes back
 * through the loop.
 * Thread: the loop's own, but for the one inside.      Allocates: at start.
 */
#ifndef PWC_NOTIFY_H
#define PWC_NOTIFY_H

#include <pthread.h>

#include "client_fs/fuse_uapi.h"
#include "common/uring.h"

struct pwc_notify_job {
	struct pw_loop_msg msg; /* the loop's while it comes back */
	struct pwc_notify_job *next; /* in the thread's queue */
	uint64_t ino;
	uint64_t off, len; /* bytes whose cached pages are old, too; len 0: none */
	void (*done)(struct pwc_notify_job *job); /* on the loop thread; it is forgotten */
};

struct pwc_notify {
	struct pw_loop *loop;
	int fd; /* /dev/fuse, borrowed */
	bool running;
	pthread_t thread;
	pthread_mutex_t lock; /* of the fields below */
	pthread_cond_t more;
	struct pwc_notify_job *first, **last;
	bool stop;
};

/* Return: 0 or -errno. */
int pwc_notify_start(struct pwc_notify *n, struct pw_loop *loop, int fd);
/* Waits for the jobs that are out, but not for their way back. Accepts one that was never
 * started. */
void pwc_notify_stop(struct pwc_notify *n);

/* @job: ino and done are set; borrowed until done(). */
void pwc_notify_inval_attr(struct pwc_notify *n, struct pwc_notify_job *job);
/* The same for attributes and the pages of off and len. */
void pwc_notify_inval_data(struct pwc_notify *n, struct pwc_notify_job *job);
/* The same for attributes and all pages. */
void pwc_notify_inval_all(struct pwc_notify *n, struct pwc_notify_job *job);

#endif
