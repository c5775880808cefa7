/* SPDX-License-Identifier: Apache-2.0 */
/* program.c -- see program.h */
#include "client_fs/cli/program.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* The directory of the running program, links resolved: /sbin/mount.pagewire may be one. */
static int own_dir(char *ret)
{
	ssize_t n = readlink("/proc/self/exe", ret, PATH_MAX - 1);
	char *slash;

	if (n < 0)
		return -errno;
	ret[n] = '\0';
	slash = strrchr(ret, '/');
	if (!slash)
		return -ENOENT;
	*slash = '\0';
	return 0;
}

static bool try_dir(const char *dir, size_t dir_len, const char *name, char *ret)
{
	int n = snprintf(ret, PATH_MAX, "%.*s/%s", (int)dir_len, dir, name);

	return n > 0 && n < PATH_MAX && access(ret, X_OK) == 0;
}

int pwc_program_find(const char *name, char *ret)
{
	static const char *const places[] = { "/usr/libexec/pagewire", "/usr/local/sbin",
					      "/usr/local/bin", "/usr/sbin", "/usr/bin" };
	const char *path = getenv("PATH");
	char dir[PATH_MAX];

	if (!own_dir(dir) && try_dir(dir, strlen(dir), name, ret))
		return 0;
	for (size_t i = 0; i < PW_ARRAY_SIZE(places); i++)
		if (try_dir(places[i], strlen(places[i]), name, ret))
			return 0;
	while (path && *path) {
		size_t len = strcspn(path, ":");

		if (len && try_dir(path, len, name, ret))
			return 0;
		path += len + (path[len] == ':');
	}
	return -ENOENT;
}

int pwc_program_exec(const char *const *argv)
{
	char path[PATH_MAX];
	int err = pwc_program_find(argv[0], path);

	if (err)
		return err;
	fflush(NULL);
	execv(path, (char *const *)(uintptr_t)argv);
	return -errno;
}

static int start(const char *const *argv, posix_spawn_file_actions_t *actions, pid_t *ret_pid)
{
	char path[PATH_MAX];
	int err = pwc_program_find(argv[0], path);

	if (err)
		return err;
	fflush(NULL);
	return -posix_spawn(ret_pid, path, actions, NULL, (char *const *)(uintptr_t)argv, environ);
}

static int wait_for(pid_t pid, int *ret_code)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	*ret_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	return 0;
}

int pwc_program_run(const char *const *argv, int *ret_code)
{
	pid_t pid;
	int err = start(argv, NULL, &pid);

	return err ? err : wait_for(pid, ret_code);
}

/* Everything until the end, as a string. */
static int read_all(int fd, char **ret)
{
	size_t len = 0, cap = 4096;
	char *buf = malloc(cap);
	ssize_t n = 0;

	while (buf && (n = read(fd, buf + len, cap - len - 1)) != 0) {
		if (n < 0 && errno != EINTR)
			break;
		len += n > 0 ? (size_t)n : 0;
		if (cap - len < 1024) {
			char *grown = realloc(buf, cap *= 2);

			if (!grown)
				free(buf);
			buf = grown;
		}
	}
	if (!buf)
		return -ENOMEM;
	if (n < 0) {
		n = -errno;
		free(buf);
		return (int)n;
	}
	buf[len] = '\0';
	*ret = buf;
	return 0;
}

int pwc_program_capture(const char *const *argv, int fd, char **ret_text, int *ret_code)
{
	posix_spawn_file_actions_t actions;
	int pipe_fd[2], err, end;
	char *text = NULL;
	pid_t pid;

	if (pipe2(pipe_fd, O_CLOEXEC) < 0)
		return -errno;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, pipe_fd[1], fd);
	err = start(argv, &actions, &pid);
	posix_spawn_file_actions_destroy(&actions);
	close(pipe_fd[1]);
	if (!err) {
		err = read_all(pipe_fd[0], &text);
		end = wait_for(pid, ret_code);
		err = err ? err : end;
	}
	close(pipe_fd[0]);
	if (err)
		free(text);
	else
		*ret_text = text;
	return err;
}
