/* SPDX-License-Identifier: Apache-2.0 */
/* control.c -- accept -> read a line -> answer -> close; a timer shuts down what takes too long
 *
 * Each connection has one pw_io that is either receiving or sending. It ends by shutdown(2), which
 * completes whatever is under way; only then is its memory freed. A link in REGISTER_DIR lets
 * `pagewire status` find the nodes of a machine; who may not write there is found by its directory
 * only.
 */
#include "storage_node/control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/log.h"
#include "common/uring.h"

#define CLIENTS_MAX  16u
#define LINE_MAX     4096u
#define DEADLINE_NS  (5 * PW_NS_PER_S)
#define REGISTER_DIR "/run/pagewire"

struct control_conn {
	struct pw_list node;
	struct pws_control *c;
	int fd; /* owns */
	struct pw_io io;
	struct pw_timer timer;
	char line[LINE_MAX];
	uint32_t len;
	char *answer; /* owns; NULL while the line comes in */
	size_t answer_len, sent;
};

struct pws_control {
	struct pw_loop *loop;
	const struct pws_status_source *src; /* borrowed */
	char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	char link[64]; /* to it; "" when there is none */
	int fd;	       /* owns */
	struct pw_fd listener;
	struct pw_list conns;
	uint32_t nr_conns;
	bool stopping, listening;
	void (*closed)(void *arg);
	void *arg;
};

/* Connections ------------------------------------------------------------------------------- */

static void check_stopped(struct pws_control *c)
{
	if (c->stopping && !c->listening && !c->nr_conns)
		c->closed(c->arg);
}

static void conn_free(struct control_conn *cc)
{
	struct pws_control *c = cc->c;

	pw_timer_cancel(c->loop, &cc->timer);
	pw_io_fini(c->loop, &cc->io);
	close(cc->fd);
	pw_list_del(&cc->node);
	c->nr_conns--;
	free(cc->answer);
	free(cc);
	check_stopped(c);
}

static void conn_recv(struct control_conn *cc)
{
	struct io_uring_sqe *sqe = pw_io_sqe(cc->c->loop, &cc->io);

	io_uring_prep_recv(sqe, cc->fd, cc->line + cc->len, LINE_MAX - cc->len, 0);
	pw_io_sqe_data(sqe, &cc->io);
}

static void conn_send(struct control_conn *cc)
{
	struct io_uring_sqe *sqe = pw_io_sqe(cc->c->loop, &cc->io);

	io_uring_prep_send(sqe, cc->fd, cc->answer + cc->sent, cc->answer_len - cc->sent,
			   MSG_NOSIGNAL);
	pw_io_sqe_data(sqe, &cc->io);
}

static json_t *answer_of(const struct pws_status_source *src, const char *line, size_t len)
{
	json_t *req = json_loadb(line, len, 0, NULL);
	const char *cmd = json_string_value(json_object_get(req, "cmd"));
	json_t *rsp;

	if (cmd && !strcmp(cmd, "ping"))
		rsp = json_pack("{s:s, s:b}", "schema", "pagewire.pong/1", "ok", 1);
	else if (cmd && !strcmp(cmd, "status"))
		rsp = pws_status_json(src);
	else if (cmd && !strcmp(cmd, "stats"))
		rsp = pws_stats_json(src);
	else
		rsp = json_pack("{s:s, s:s}", "schema", "pagewire.error/1", "error",
				"want {\"cmd\":\"ping\"|\"status\"|\"stats\"}");
	json_decref(req);
	return rsp;
}

/* False: no memory. */
static bool conn_answer(struct control_conn *cc)
{
	json_t *rsp = answer_of(cc->c->src, cc->line, cc->len);
	char *text = json_dumps(rsp, JSON_COMPACT);

	json_decref(rsp);
	if (!text)
		return false;
	/* the final zero makes room for the end of the line */
	cc->answer = text;
	cc->answer_len = strlen(text) + 1;
	text[cc->answer_len - 1] = '\n';
	return true;
}

static void on_io(struct pw_io *io, int res, uint32_t flags)
{
	struct control_conn *cc = pw_container_of(io, struct control_conn, io);

	(void)flags;
	if (res <= 0 || cc->c->stopping) {
		conn_free(cc);
		return;
	}
	if (cc->answer) {
		cc->sent += (size_t)res;
		if (cc->sent == cc->answer_len)
			conn_free(cc);
		else
			conn_send(cc);
		return;
	}
	cc->len += (uint32_t)res;
	if (!memchr(cc->line, '\n', cc->len)) {
		if (cc->len == LINE_MAX)
			conn_free(cc);
		else
			conn_recv(cc);
		return;
	}
	if (conn_answer(cc))
		conn_send(cc);
	else
		conn_free(cc);
}

static void on_deadline(struct pw_timer *t)
{
	shutdown(pw_container_of(t, struct control_conn, timer)->fd, SHUT_RDWR);
}

static bool may_ask(int fd)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len))
		return false;
	return !cred.uid || cred.uid == geteuid();
}

static int conn_new(struct pws_control *c, int fd)
{
	struct control_conn *cc;

	if (c->nr_conns == CLIENTS_MAX || !may_ask(fd))
		return -EPERM;
	cc = calloc(1, sizeof(*cc));
	if (!cc)
		return -ENOMEM;
	if (pw_io_init(c->loop, &cc->io, on_io)) {
		free(cc);
		return -ENOSPC;
	}
	cc->c = c;
	cc->fd = fd;
	pw_timer_init(&cc->timer, on_deadline);
	pw_timer_arm(c->loop, &cc->timer, pw_loop_now(c->loop) + DEADLINE_NS);
	pw_list_add_tail(&c->conns, &cc->node);
	c->nr_conns++;
	conn_recv(cc);
	return 0;
}

static void on_listener(struct pw_fd *f)
{
	struct pws_control *c = pw_container_of(f, struct pws_control, listener);
	int fd;

	while ((fd = accept4(c->fd, NULL, NULL, SOCK_CLOEXEC)) >= 0)
		if (conn_new(c, fd))
			close(fd);
}

/* Life -------------------------------------------------------------------------------------- */

/* A socket that nobody listens on any more is left over from a node that was killed. */
static int remove_stale(const struct sockaddr_un *a)
{
	struct stat st;
	int fd, err = 0;

	if (lstat(a->sun_path, &st))
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (!connect(fd, (const struct sockaddr *)a, sizeof(*a)) || errno != ECONNREFUSED)
		err = -EADDRINUSE;
	close(fd);
	if (!err && unlink(a->sun_path) && errno != ENOENT)
		err = -errno;
	return err;
}

static int listen_on(struct pws_control *c)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	mode_t mask;
	int err;

	memcpy(a.sun_path, c->path, sizeof(a.sun_path));
	err = remove_stale(&a);
	if (err)
		return err;
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd < 0)
		return -errno;
	/* nobody else may connect, not even between bind and chmod; no thread of ours makes files
	 * here */
	mask = umask(0177);
	err = bind(c->fd, (const struct sockaddr *)&a, sizeof(a)) ? -errno : 0;
	umask(mask);
	if (!err && listen(c->fd, CLIENTS_MAX))
		err = -errno;
	if (err)
		close(c->fd);
	return err;
}

static void register_socket(struct pws_control *c)
{
	if (mkdir(REGISTER_DIR, 0755) && errno != EEXIST)
		return;
	snprintf(c->link, sizeof(c->link), REGISTER_DIR "/node-%d.sock", (int)getpid());
	/* a process id comes again: what is there was left by a node that was killed */
	unlink(c->link);
	if (symlink(c->path, c->link))
		c->link[0] = 0;
}

int pws_control_new(struct pw_loop *loop, const char *path, const struct pws_status_source *src,
		    struct pws_control **ret)
{
	struct pws_control *c;
	int err;

	if (strlen(path) >= sizeof(c->path))
		return -ENAMETOOLONG;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->loop = loop;
	c->src = src;
	memcpy(c->path, path, strlen(path) + 1);
	pw_list_init(&c->conns);
	err = listen_on(c);
	if (err)
		goto free_control;
	err = pw_fd_start(loop, &c->listener, c->fd, on_listener);
	if (err)
		goto close_fd;
	c->listening = true;
	register_socket(c);
	*ret = c;
	return 0;

close_fd:
	unlink(c->path);
	close(c->fd);
free_control:
	free(c);
	return err;
}

static void on_listener_closed(struct pw_fd *f)
{
	struct pws_control *c = pw_container_of(f, struct pws_control, listener);

	close(c->fd);
	c->listening = false;
	check_stopped(c);
}

void pws_control_stop(struct pws_control *c, void (*closed)(void *arg), void *arg)
{
	struct pw_list *pos;

	c->stopping = true;
	c->closed = closed;
	c->arg = arg;
	unlink(c->path);
	if (c->link[0])
		unlink(c->link);
	pw_list_for_each(pos, &c->conns)
		shutdown(pw_list_entry(pos, struct control_conn, node)->fd, SHUT_RDWR);
	pw_fd_stop(&c->listener, on_listener_closed);
}

void pws_control_free(struct pws_control *c)
{
	free(c);
}
