/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_umount.c -- pagewire umount [-f] [-l] DIR
 *
 *	orderly   umount(2), then wait for the end of the client; says what it waits for
 *	-l        detach: the name is free at once, the client ends with its last user
 *	-f        what waits gets EIO: the client gives up its calls, the kernel cuts the
 *	          connection, detach
 *
 * Any system call on a mount may hang when its client does. So those calls are made in a child
 * that is left behind when its time is over; this process only reads the kernel's list and sockets.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client_fs/cli/ask.h"
#include "client_fs/cli/cli.h"
#include "client_fs/cli/mountinfo.h"
#include "client_fs/cli/users.h"
#include "client_fs/control.h"

#define UMOUNT_MS    30000u /* an orderly end flushes: as long as a slow node may take */
#define FORCE_MS     5000u
#define SAY_AFTER_MS 2000u

struct job {
	struct pwc_cli *cli;
	bool force, lazy;
	uint32_t timeout_ms;
	char dir[PATH_MAX];
	uint32_t connection; /* of the kernel, below /sys/fs/fuse/connections */
	pid_t client;	     /* 0: nobody */
	int pidfd;	     /* of the client; -1 */
	bool is_stopped;     /* by a signal: it answers nothing */
};

static int open_pidfd(pid_t pid)
{
	return (int)syscall(SYS_pidfd_open, pid, 0);
}

/* Return: true, it ended; false, @timeout_ms are over. */
static bool wait_pidfd(int fd, uint32_t timeout_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, (int)timeout_ms) > 0;
}

/* Waits in two parts, so that whoever looks at the screen learns what takes so long. */
static bool wait_saying(const struct job *j, int fd, const char *what)
{
	uint32_t first = PW_MIN(j->timeout_ms, SAY_AFTER_MS);

	if (wait_pidfd(fd, first))
		return true;
	if (j->timeout_ms == first)
		return false;
	pwc_cli_say(j->cli, "%s: waiting for %s (up to %u s)", j->dir, what, j->timeout_ms / 1000);
	return wait_pidfd(fd, j->timeout_ms - first);
}

/**
 * umount_in_child - umount2(2) with a deadline
 * Return: 0; -errno of umount2(); -ETIMEDOUT: the child still hangs in it and ends when the mount
 * does.
 */
static int umount_in_child(const struct job *j, int flags, const char *what)
{
	int status, fd, err = 0;
	pid_t pid = fork();

	if (pid < 0)
		return -errno;
	if (!pid) {
		/* it may stay for long: nobody is to wait for the end of a pipe that it has */
		close_range(0, ~0u, 0);
		_exit(umount2(j->dir, flags | UMOUNT_NOFOLLOW) < 0 ? errno : 0);
	}
	fd = open_pidfd(pid);
	if (fd < 0) {
		err = -errno;
		kill(pid, SIGKILL);
		return err;
	}
	if (!wait_saying(j, fd, what)) {
		kill(pid, SIGKILL);
		err = -ETIMEDOUT;
	} else if (waitpid(pid, &status, 0) == pid) {
		err = WIFEXITED(status) ? -WEXITSTATUS(status) : -EINTR;
	}
	close(fd);
	return err;
}

static int explain(const struct job *j, int err)
{
	struct pwc_cli *cli = j->cli;

	switch (err) {
	case -EBUSY:
		pwc_cli_error(cli, "%s is in use", j->dir);
		if (!pwc_users_print(j->dir, stderr))
			fprintf(stderr,
				"  by a call under way, or by who cannot be seen from here\n");
		fprintf(stderr, "  end them, or detach it now: pagewire umount -l %s\n", j->dir);
		return PW_EXIT_ERROR;
	case -EPERM:
	case -EACCES:
		pwc_cli_error(cli, "only root may unmount %s", j->dir);
		return PW_EXIT_PERM;
	case -ETIMEDOUT:
		if (j->is_stopped)
			pwc_cli_error(cli,
				      "%s: its client, process %d, is stopped; continue it with "
				      "kill -CONT %d, or give up: pagewire umount -f %s",
				      j->dir, (int)j->client, (int)j->client, j->dir);
		else
			pwc_cli_error(
				cli,
				"%s is not unmounted after %u s; the node may be away "
				"(pagewire status). Give up what waits: pagewire umount -f %s",
				j->dir, j->timeout_ms / 1000, j->dir);
		return PW_EXIT_UNREACHABLE;
	default:
		pwc_cli_error(cli, "%s: %s", j->dir, pw_err_text(err));
		return PW_EXIT_ERROR;
	}
}

/* To the client; learns on the way who it is. */
static void ask(struct job *j, const char *cmd)
{
	struct pwc_asks asks = { .nr = 0 };
	char path[108];

	pwc_control_path(j->dir, path, sizeof(path));
	if (pwc_asks_add(&asks, path))
		return;
	pwc_asks_run(&asks, cmd, PWC_ASK_DEADLINE_MS);
	j->client = asks.ask->pid;
	j->is_stopped = asks.ask->state == 'T';
	pwc_asks_fini(&asks);
}

static void say_done(const struct job *j, const char *how)
{
	if (j->cli->json)
		printf("{\"schema\": \"pagewire.umount/1\", \"result\": \"%s\", \"client\": %d}\n",
		       how, (int)j->client);
	else
		pwc_cli_say(j->cli, "%s: %s", j->dir, how);
}

static int orderly(struct job *j)
{
	int err;

	/* it would only hang: whoever stopped it is to decide */
	if (j->is_stopped)
		return explain(j, -ETIMEDOUT);
	err = umount_in_child(j, 0, "the kernel to write back what is dirty");
	if (err)
		return explain(j, err);
	if (j->pidfd >= 0) {
		char what[64];

		snprintf(what, sizeof(what), "its client, process %d, to end", (int)j->client);
		if (!wait_saying(j, j->pidfd, what)) {
			pwc_cli_error(j->cli,
				      "%s is unmounted, but its client, process %d, has not "
				      "ended after %u s",
				      j->dir, (int)j->client, j->timeout_ms / 1000);
			return PW_EXIT_DEGRADED;
		}
	}
	say_done(j, "unmounted");
	return PW_EXIT_OK;
}

static int lazy(struct job *j)
{
	int err = umount_in_child(j, MNT_DETACH, "the kernel to detach it");

	if (err)
		return explain(j, err);
	say_done(j, j->pidfd >= 0 && !wait_pidfd(j->pidfd, 200)
			    ? "detached; its client ends with the last user"
			    : "detached");
	return PW_EXIT_OK;
}

/* The kernel's side of the connection. It works when nobody listens any more. */
static void cut_connection(const struct job *j)
{
	char path[96];
	int fd;

	snprintf(path, sizeof(path), "/sys/fs/fuse/connections/%u/abort", j->connection);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return; /* not mounted there: MNT_FORCE does the same */
	(void)!write(fd, "1", 1);
	close(fd);
}

static int force(struct job *j)
{
	int err;

	/* first the gentle half: the client ends its calls and unmounts by itself */
	if (j->client && !j->is_stopped)
		ask(j, "abort");
	cut_connection(j);
	err = umount_in_child(j, MNT_FORCE | MNT_DETACH, "the kernel to cut the connection");
	/* the client was faster, or what is under a dead mount was already detached */
	if (err && err != -EINVAL && err != -ENOENT)
		return explain(j, err);
	/*
	 * A request that the ring has handed over ends with its client only, whatever else is cut
	 * (Linux 6.18: such an entry waits for task work of that process). It has nothing left to
	 * serve: let it run and end.
	 */
	if (j->pidfd >= 0 && j->is_stopped)
		syscall(SYS_pidfd_send_signal, j->pidfd, SIGCONT, NULL, 0);
	if (j->pidfd >= 0 && !wait_pidfd(j->pidfd, j->timeout_ms)) {
		pwc_cli_error(j->cli,
			      "%s is unmounted, but its client, process %d, has not ended: end "
			      "it with kill %d",
			      j->dir, (int)j->client, (int)j->client);
		return PW_EXIT_DEGRADED;
	}
	say_done(j, "unmounted by force");
	return PW_EXIT_OK;
}

/* Who is mounted at @dir, and what is to be said when it is not ours. */
static int find_mount(struct job *j, const char *dir)
{
	struct pwc_mountinfos all;
	const struct pwc_mountinfo *m;
	int err = pwc_mountinfo_path(dir, j->dir);

	if (err) {
		pwc_cli_error(j->cli, "%s: %s", dir, pw_err_text(err));
		return PW_EXIT_ERROR;
	}
	err = pwc_mountinfo_read(NULL, &all);
	if (err) {
		pwc_cli_error(j->cli, "/proc/self/mountinfo: %s", pw_err_text(err));
		return PW_EXIT_ERROR;
	}
	m = pwc_mountinfo_at(&all, j->dir);
	if (!m) {
		pwc_cli_error(j->cli, "%s is not a mount point", j->dir);
		err = PW_EXIT_ERROR;
	} else if (strcmp(m->type, PWC_MOUNTINFO_TYPE)) {
		pwc_cli_error(j->cli, "%s is a mount of type %s, not pagewire's", j->dir, m->type);
		err = PW_EXIT_ERROR;
	} else {
		j->connection = m->dev_minor;
	}
	pwc_mountinfo_fini(&all);
	return err;
}

static int parse_timeout(struct job *j, const char *text)
{
	char *end;
	unsigned long s = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || s > 3600) {
		pwc_cli_error(j->cli, "--timeout %s: seconds are expected", text);
		return PW_EXIT_USAGE;
	}
	j->timeout_ms = (uint32_t)s * 1000;
	return 0;
}

int pwc_cmd_umount(struct pwc_cli *cli, int argc, char **argv)
{
	static const struct option longs[] = { { "force", no_argument, NULL, 'f' },
					       { "lazy", no_argument, NULL, 'l' },
					       { "timeout", required_argument, NULL, PWC_CLI_OWN },
					       PWC_CLI_OPTIONS };
	struct job j = { .cli = cli, .pidfd = -1 };
	int c, code = PW_EXIT_OK;

	while ((c = getopt_long(argc, argv, "flq", longs, NULL)) != -1) {
		if (c == 'f')
			j.force = true;
		else if (c == 'l')
			j.lazy = true;
		else if (c == PWC_CLI_OWN)
			code = parse_timeout(&j, optarg);
		else if (!pwc_cli_option(cli, c, &code))
			return code;
		if (code)
			return code;
	}
	if (argc - optind != 1)
		return pwc_cli_usage(cli);
	if (!j.timeout_ms)
		j.timeout_ms = j.force || j.lazy ? FORCE_MS : UMOUNT_MS;
	code = find_mount(&j, argv[optind]);
	if (code)
		return code;
	ask(&j, "status");
	if (j.client)
		j.pidfd = open_pidfd(j.client);
	code = j.force ? force(&j) : j.lazy ? lazy(&j) : orderly(&j);
	if (j.pidfd >= 0)
		close(j.pidfd);
	return code;
}
