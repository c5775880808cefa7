/* SPDX-License-Identifier: Apache-2.0 */
/* launch.c -- fork, wait for one report, pass it on */
#include "client_fs/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/err.h"
#include "common/log.h"

struct report {
	int32_t code;
	char why[256];
};

static void wait_for_report(int fd) __attribute__((noreturn));
static void wait_for_report(int fd)
{
	struct report r;
	size_t have = 0;
	ssize_t n;

	while (have < sizeof(r)) {
		n = read(fd, (char *)&r + have, sizeof(r) - have);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		have += (size_t)n;
	}
	if (have < sizeof(r)) {
		fprintf(stderr, "pagewire-client: the daemon died before the mount was usable\n");
		_exit(PW_EXIT_ERROR);
	}
	r.why[sizeof(r.why) - 1] = '\0';
	if (r.code)
		fprintf(stderr, "pagewire-client: %s\n", r.why);
	_exit(r.code);
}

int pwc_launch_fork(struct pwc_launch *l)
{
	int fd[2], null;
	pid_t pid;

	if (pipe2(fd, O_CLOEXEC))
		return -errno;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid) {
		close(fd[1]);
		wait_for_report(fd[0]);
	}
	close(fd[0]);
	l->fd = fd[1];
	setsid();
	/* what the launcher's own parent left open is nothing that a daemon should hold for ever */
	if (l->fd > STDERR_FILENO + 1)
		close_range(STDERR_FILENO + 1, (unsigned int)l->fd - 1, 0);
	close_range((unsigned int)l->fd + 1, ~0u, 0);
	if (chdir("/"))
		return -errno;
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
		close(null);
	}
	return 0;
}

/* journald's stream socket: a few lines that say who we are, then log lines with <N> priorities. */
static int open_journal(void)
{
	static const char head[] = "pagewire-client\n\n6\n1\n0\n0\n0\n";
	struct sockaddr_un to = {
		.sun_family = AF_UNIX,
		.sun_path = "/run/systemd/journal/stdout",
	};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct stat st;
	char id[64];

	if (fd < 0)
		return -1;
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) ||
	    write(fd, head, sizeof(head) - 1) != sizeof(head) - 1 || fstat(fd, &st)) {
		close(fd);
		return -1;
	}
	snprintf(id, sizeof(id), "%llu:%llu", (unsigned long long)st.st_dev,
		 (unsigned long long)st.st_ino);
	setenv("JOURNAL_STREAM", id, 1);
	return fd;
}

/* The launcher's stderr may be a pipe that somebody reads until it ends: do not keep it. */
void pwc_launch_leave_stderr(void)
{
	int fd = open_journal();

	if (fd < 0)
		fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	dup2(fd, STDERR_FILENO);
	close(fd);
	pw_log_init("pagewire-client");
}

static void report(struct pwc_launch *l, int code, const char *why)
{
	struct report r = { .code = code };

	snprintf(r.why, sizeof(r.why), "%s", why);
	/* a launcher that is gone does not change what the daemon does */
	(void)!write(l->fd, &r, sizeof(r));
	close(l->fd);
	l->fd = -1;
}

void pwc_launch_ready(struct pwc_launch *l)
{
	if (l->fd < 0)
		return;
	pwc_launch_leave_stderr();
	report(l, PW_EXIT_OK, "");
}

void pwc_launch_failed(struct pwc_launch *l, int code, const char *why)
{
	if (l->fd >= 0)
		report(l, code, why);
	else
		fprintf(stderr, "pagewire-client: %s\n", why);
}
