/* SPDX-License-Identifier: Apache-2.0 */
/* probe.c -- see probe.h */
#include "client_fs/cli/probe.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int pwc_probe_mount(const char *dir, uint32_t timeout_ms)
{
	struct pollfd p = { .events = POLLIN };
	int status, err = -ETIMEDOUT;
	struct statfs st;
	pid_t pid = fork();

	if (pid < 0)
		return -errno;
	if (!pid) {
		/* it may stay for long: nobody is to wait for the end of a pipe that it has */
		close_range(0, ~0u, 0);
		_exit(statfs(dir, &st) < 0 ? errno : 0);
	}
	p.fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (p.fd < 0)
		err = -errno;
	else if (poll(&p, 1, (int)timeout_ms) > 0 && waitpid(pid, &status, 0) == pid)
		err = WIFEXITED(status) ? -WEXITSTATUS(status) : -EINTR;
	else
		kill(pid, SIGKILL); /* it ends when the mount does */
	if (p.fd >= 0)
		close(p.fd);
	return err;
}
