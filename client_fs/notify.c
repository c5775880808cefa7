/* SPDX-License-Identifier: Apache-2.0 */
/* notify.c -- a queue, a thread, one kind of message: what you know is old */
#include "client_fs/notify.h"

#include <errno.h>
#include <signal.h>
#include <sys/uio.h>

#include "common/fault.h"
#include "common/log.h"

static void send_inval(int fd, const struct pwc_notify_job *job)
{
	struct fuse_notify_inval_inode_out out = {
		.ino = job->ino,
		.off = job->len ? (int64_t)job->off : -1,
		.len = (int64_t)job->len,
	};
	struct fuse_out_header h = {
		.len = sizeof(h) + sizeof(out),
		.error = FUSE_NOTIFY_INVAL_INODE,
	};
	struct iovec iov[2] = { { &h, sizeof(h) }, { &out, sizeof(out) } };

	/* ENOENT: the kernel does not know the inode (any more), so it knows nothing that is old
	 * either */
	if (writev(fd, iov, 2) < 0 && errno != ENOENT && errno != ENOTCONN && errno != ENODEV)
		pw_log_rl(PW_LOG_WARN, "fuse: notification failed, %m");
}

static void on_back(struct pw_loop_msg *m)
{
	struct pwc_notify_job *job = pw_container_of(m, struct pwc_notify_job, msg);

	job->done(job);
}

static void *run(void *arg)
{
	struct pwc_notify *n = arg;

	pthread_mutex_lock(&n->lock);
	for (;;) {
		struct pwc_notify_job *job;

		while (!n->first && !n->stop)
			pthread_cond_wait(&n->more, &n->lock);
		job = n->first;
		if (!job)
			break;
		n->first = job->next;
		if (!n->first)
			n->last = &n->first;
		pthread_mutex_unlock(&n->lock);
		send_inval(n->fd, job);
		job->msg.fn = on_back;
		pw_loop_post(n->loop, &job->msg);
		pthread_mutex_lock(&n->lock);
	}
	pthread_mutex_unlock(&n->lock);
	return NULL;
}

int pwc_notify_start(struct pwc_notify *n, struct pw_loop *loop, int fd)
{
	sigset_t all, old;
	int err;

	*n = (struct pwc_notify){ .loop = loop, .fd = fd };
	n->last = &n->first;
	pthread_mutex_init(&n->lock, NULL);
	pthread_cond_init(&n->more, NULL);
	/* signals are the loop's */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = -PW_FAULT_ERR("notify.thread", -EAGAIN);
	if (!err)
		err = pthread_create(&n->thread, NULL, run, n);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	n->running = !err;
	return -err;
}

void pwc_notify_stop(struct pwc_notify *n)
{
	if (!n->running)
		return;
	pthread_mutex_lock(&n->lock);
	n->stop = true;
	pthread_cond_signal(&n->more);
	pthread_mutex_unlock(&n->lock);
	pthread_join(n->thread, NULL);
	pthread_cond_destroy(&n->more);
	pthread_mutex_destroy(&n->lock);
	n->running = false;
}

static void queue(struct pwc_notify *n, struct pwc_notify_job *job)
{
	job->next = NULL;
	pthread_mutex_lock(&n->lock);
	*n->last = job;
	n->last = &job->next;
	pthread_cond_signal(&n->more);
	pthread_mutex_unlock(&n->lock);
}

void pwc_notify_inval_attr(struct pwc_notify *n, struct pwc_notify_job *job)
{
	job->off = job->len = 0;
	queue(n, job);
}

void pwc_notify_inval_data(struct pwc_notify *n, struct pwc_notify_job *job)
{
	queue(n, job);
}

void pwc_notify_inval_all(struct pwc_notify *n, struct pwc_notify_job *job)
{
	job->off = 0;
	job->len = INT64_MAX;
	queue(n, job);
}
