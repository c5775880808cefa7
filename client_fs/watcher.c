/* SPDX-License-Identifier: Apache-2.0 */
/* watcher.c -- reads the pipe until it ends; then looks whether a goodbye came first */
#include "client_fs/watcher.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client_fs/control.h"
#include "client_fs/launch.h"
#include "client_fs/mount_id.h"
#include "common/err.h"
#include "common/log.h"

struct word {
	uint64_t mount_id; /* 0: goodbye */
};

static int detach(const char *dir)
{
	static char prog[] = "fusermount3", u[] = "-u", z[] = "-z", q[] = "-q";
	char *argv[] = { prog, u, z, q, (char *)(uintptr_t)dir, NULL };

	if (!umount2(dir, MNT_DETACH | UMOUNT_NOFOLLOW))
		return 0;
	if (errno != EPERM)
		return -errno;
	execvp(argv[0], argv); /* this process has nothing else to do */
	return -errno;
}

/* Only what is still ours: somebody may have mounted anew, or unmounted by hand. */
static void clean_up(const struct pwc_options *o, uint64_t mount_id)
{
	struct pwc_mount_id now;
	char path[108];
	int err = pwc_mount_id_find(o->dir, o->source, &now);

	if (err || now.id != mount_id)
		return;
	pw_log_warn("mount %s: the client is gone, detaching", o->dir);
	pwc_control_path(o->dir, path, sizeof(path));
	unlink(path);
	err = detach(o->dir);
	if (err)
		pw_log_err("mount %s: cannot be detached, %s", o->dir, pw_err_text(err));
}

static void watch(int fd, const struct pwc_options *o)
{
	uint64_t mount_id = 0;
	struct word w;
	ssize_t n;

	for (;;) {
		n = read(fd, &w, sizeof(w));
		if (n < 0 && errno == EINTR)
			continue;
		if (n != sizeof(w))
			break;
		if (!w.mount_id)
			return;
		mount_id = w.mount_id;
	}
	if (mount_id)
		clean_up(o, mount_id);
}

/* The signals that end the daemon go to its whole group or session: this process outlives it by
 * design. */
static void shut_ears(void)
{
	static const int nr[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGPIPE, SIGTSTP };

	for (size_t i = 0; i < PW_ARRAY_SIZE(nr); i++)
		signal(nr[i], SIG_IGN);
}

int pwc_watcher_start(struct pwc_watcher *w, const struct pwc_options *o)
{
	int fd[2];
	pid_t pid;

	w->fd = -1;
	if (pipe2(fd, O_CLOEXEC))
		return -errno;
	pid = fork();
	if (pid < 0) {
		int err = -errno;

		close(fd[0]);
		close(fd[1]);
		return err;
	}
	if (!pid) {
		/* the pipe, and nothing that others wait for the end of */
		dup2(fd[0], STDERR_FILENO + 1);
		close_range(STDERR_FILENO + 2, ~0u, 0);
		if (!o->foreground)
			pwc_launch_leave_stderr();
		shut_ears();
		prctl(PR_SET_NAME, "pagewire-watch");
		watch(STDERR_FILENO + 1, o);
		_exit(0);
	}
	close(fd[0]);
	w->fd = fd[1];
	w->pid = pid;
	return 0;
}

static void tell(struct pwc_watcher *w, uint64_t mount_id)
{
	struct word word = { mount_id };

	if (w->fd >= 0 && write(w->fd, &word, sizeof(word)) != sizeof(word))
		pw_log_warn("watcher: cannot be told, %m");
}

void pwc_watcher_mounted(struct pwc_watcher *w, uint64_t mount_id)
{
	tell(w, mount_id);
}

void pwc_watcher_goodbye(struct pwc_watcher *w)
{
	tell(w, 0);
}

void pwc_watcher_end(struct pwc_watcher *w)
{
	if (w->fd < 0)
		return;
	close(w->fd);
	w->fd = -1;
	while (waitpid(w->pid, NULL, 0) < 0 && errno == EINTR)
		;
}
