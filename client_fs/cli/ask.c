/* SPDX-License-Identifier: Apache-2.0 */
/* ask.c -- sockets are non-blocking, one poll(2) waits for all of them */
#include "client_fs/cli/ask.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* More than any answer has; a socket that sends for ever is not one of ours. */
#define ANSWER_MAX (4u * 1024 * 1024)

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / PW_NS_PER_MS;
}

int pwc_asks_add(struct pwc_asks *a, const char *path)
{
	struct pwc_ask *grown = reallocarray(a->ask, a->nr + 1, sizeof(*grown));
	char *copy;

	if (!grown)
		return -ENOMEM;
	a->ask = grown;
	copy = strdup(path);
	if (!copy)
		return -ENOMEM;
	a->ask[a->nr++] = (struct pwc_ask){ .path = copy, .fd = -1 };
	return 0;
}

int pwc_asks_add_dir(struct pwc_asks *a, const char *dir, const char *prefix)
{
	char path[PATH_MAX];
	DIR *d = opendir(dir);
	struct dirent *e;
	int err = 0;

	if (!d)
		return errno == ENOENT ? 0 : -errno;
	while (!err && (e = readdir(d))) {
		if (strncmp(e->d_name, prefix, strlen(prefix)) || e->d_name[0] == '.' ||
		    (e->d_type != DT_SOCK && e->d_type != DT_LNK && e->d_type != DT_UNKNOWN))
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		err = pwc_asks_add(a, path);
	}
	closedir(d);
	return err;
}

/* 0 when it cannot be told. */
static char process_state(pid_t pid)
{
	char path[64], state = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	/* the name in parentheses may hold anything: the state is behind the last one */
	for (int c = getc(f), depth = 0; c != EOF; c = getc(f)) {
		if (c == ')')
			depth = 2;
		else if (depth == 2 && c == ' ')
			depth = 1;
		else if (depth == 1) {
			state = (char)c;
			depth = 0;
		}
		if (c == '\n')
			break;
	}
	fclose(f);
	return state;
}

static void end(struct pwc_ask *a, int err)
{
	if (a->fd >= 0)
		close(a->fd);
	a->fd = -1;
	a->err = err;
	if (a->pid)
		a->state = process_state(a->pid);
}

static void begin(struct pwc_ask *a)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	struct ucred who;
	socklen_t len = sizeof(who);

	if (strlen(a->path) >= sizeof(to.sun_path)) {
		a->err = -ENAMETOOLONG;
		return;
	}
	strcpy(to.sun_path, a->path);
	a->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (a->fd < 0) {
		a->err = -errno;
		return;
	}
	/* a full backlog is -EAGAIN: somebody is there and does not come */
	if (connect(a->fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
		end(a, errno == EAGAIN ? -ETIMEDOUT : -errno);
		return;
	}
	if (!getsockopt(a->fd, SOL_SOCKET, SO_PEERCRED, &who, &len))
		a->pid = who.pid;
}

static void do_send(struct pwc_ask *a, const char *text)
{
	ssize_t n = send(a->fd, text + a->sent, strlen(text) - a->sent, MSG_NOSIGNAL);

	if (n >= 0)
		a->sent += (size_t)n;
	else if (errno != EAGAIN && errno != EINTR)
		end(a, -errno);
}

/* The answer ends with its line, or with the connection. */
static void check_answer(struct pwc_ask *a, bool eof)
{
	json_error_t e;

	if (!eof && (!a->len || a->buf[a->len - 1] != '\n'))
		return;
	a->answer = json_loadb(a->buf ? a->buf : "", a->len, 0, &e);
	if (a->answer && !json_is_object(a->answer)) {
		json_decref(a->answer);
		a->answer = NULL;
	}
	if (a->answer || eof)
		end(a, a->answer ? 0 : -EPROTO);
}

static void do_receive(struct pwc_ask *a)
{
	ssize_t n;

	if (a->len == a->cap) {
		size_t cap = a->cap ? 2 * a->cap : 16 * PW_KIB;
		char *grown = cap <= ANSWER_MAX ? realloc(a->buf, cap) : NULL;

		if (!grown) {
			end(a, cap <= ANSWER_MAX ? -ENOMEM : -EPROTO);
			return;
		}
		a->buf = grown;
		a->cap = cap;
	}
	n = recv(a->fd, a->buf + a->len, a->cap - a->len, 0);
	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR)
			end(a, -errno);
		return;
	}
	a->len += (size_t)n;
	check_answer(a, !n);
}

/* One round of poll(2). Return: false: nobody is left to wait for. */
static bool turn(struct pwc_asks *as, struct pollfd *fds, const char *text, int timeout_ms)
{
	bool any = false;

	for (size_t i = 0; i < as->nr; i++) {
		struct pwc_ask *a = &as->ask[i];

		fds[i] = (struct pollfd){ .fd = a->fd,
					  .events = a->sent < strlen(text) ? POLLOUT : POLLIN };
		any = any || a->fd >= 0;
	}
	if (!any)
		return false;
	if (poll(fds, as->nr, timeout_ms) <= 0)
		return true;
	for (size_t i = 0; i < as->nr; i++) {
		struct pwc_ask *a = &as->ask[i];

		if (a->fd < 0 || !fds[i].revents)
			continue;
		if (a->sent < strlen(text))
			do_send(a, text);
		else
			do_receive(a);
	}
	return true;
}

void pwc_asks_run(struct pwc_asks *as, const char *cmd, uint32_t deadline_ms)
{
	uint64_t end_ms = now_ms() + deadline_ms, now = 0;
	struct pollfd *fds = calloc(as->nr ? as->nr : 1, sizeof(*fds));
	char text[128];

	snprintf(text, sizeof(text), "{\"cmd\": \"%s\"}\n", cmd);
	for (size_t i = 0; i < as->nr; i++)
		begin(&as->ask[i]);
	while (fds && (now = now_ms()) < end_ms)
		if (!turn(as, fds, text, (int)(end_ms - now)))
			break;
	for (size_t i = 0; i < as->nr; i++)
		if (as->ask[i].fd >= 0)
			end(&as->ask[i], fds ? -ETIMEDOUT : -ENOMEM);
	free(fds);
}

void pwc_asks_fini(struct pwc_asks *as)
{
	for (size_t i = 0; i < as->nr; i++) {
		struct pwc_ask *a = &as->ask[i];

		if (a->fd >= 0)
			close(a->fd);
		free(a->path);
		free(a->buf);
		json_decref(a->answer);
	}
	free(as->ask);
	*as = (struct pwc_asks){ .nr = 0 };
}
