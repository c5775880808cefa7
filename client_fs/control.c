/* SPDX-License-Identifier: Apache-2.0 */
/* control.c -- accept, read a line, answer it, close
 *
 * Connection:	READING -> [ASKING the node] -> answered, closing -> freed
 */
#include "client_fs/control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "client_fs/shard.h"
#include "client_fs/status.h"
#include "common/err.h"
#include "common/fault.h"
#include "common/log.h"

#define LINE_MAX_BYTES 512u
#define ASK_NODE_NS (500 * PW_NS_PER_MS)
#define MAX_CONNS 32u

struct asker {
	struct pw_list node;
	struct pw_fd fd;
	struct pwc_control *c;
	struct pwc_call call; /* STATFS for "status" */
	struct pw_timer timer;
	bool asking; /* the call is out */
	bool answered, closed;
	size_t len;
	char line[LINE_MAX_BYTES];
};

struct pwc_control {
	struct pwc_shard *sh;
	struct pw_fd listen;
	bool listening, stopping;
	struct pw_list askers;
	uint32_t nr_askers;
	struct sockaddr_un addr;
};

static void free_when_idle(struct asker *a)
{
	struct pwc_control *c = a->c;

	if (!a->closed || a->asking)
		return;
	pw_timer_cancel(c->sh->loop, &a->timer);
	pw_list_del(&a->node);
	c->nr_askers--;
	close(a->fd.fd);
	free(a);
}

static void on_asker_closed(struct pw_fd *f)
{
	struct asker *a = pw_container_of(f, struct asker, fd);

	a->closed = true;
	free_when_idle(a);
}

/* Small against the socket's buffer; who does not read it loses it. */
static void answer(struct asker *a, json_t *j)
{
	char *text = j ? json_dumps(j, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
	size_t len = text ? strlen(text) : 0;

	json_decref(j);
	a->answered = true;
	if (text) {
		text[len] = '\n'; /* over the NUL: length counts from here */
		if (send(a->fd.fd, text, len + 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			pw_log_debug("control: answer was not taken, %m");
	}
	free(text);
	pw_fd_stop(&a->fd, on_asker_closed);
}

static void answer_status(struct asker *a, const struct pw_body_statfs *space)
{
	if (!a->answered)
		answer(a, pwc_status_json(a->c->sh, space));
}

static void on_space(struct pwc_call *call, int err, const struct pw_cmd *rsp, uint32_t out_len)
{
	struct asker *a = pw_container_of(call, struct asker, call);

	(void)out_len;
	a->asking = false;
	answer_status(a, err ? NULL : &rsp->statfs);
	free_when_idle(a);
}

static void on_no_space(struct pw_timer *t)
{
	answer_status(pw_container_of(t, struct asker, timer), NULL);
}

static void ask_space(struct asker *a)
{
	struct pwc_shard *sh = a->c->sh;

	if (pwc_peer_state(sh->peer) != PWC_PEER_UP) {
		answer_status(a, NULL);
		return;
	}
	pw_cmd_init(&a->call.send.cmd, PW_MSG_REQ, PW_OP_STATFS);
	pw_list_init(&a->call.node);
	a->call.done = on_space;
	a->asking = true;
	pw_timer_arm(sh->loop, &a->timer, pw_loop_now(sh->loop) + ASK_NODE_NS);
	pwc_peer_call(sh->peer, &a->call);
}

static void run(struct asker *a, const char *cmd)
{
	struct pwc_shard *sh = a->c->sh;

	if (!strcmp(cmd, "status")) {
		ask_space(a);
	} else if (!strcmp(cmd, "stats")) {
		answer(a, pwc_stats_json(sh));
	} else if (!strcmp(cmd, "regions")) {
		answer(a, pwc_regions_json(sh));
	} else if (!strcmp(cmd, "umount")) {
		answer(a, json_pack("{s:b}", "ok", 1));
		pwc_shard_stop(sh);
	} else if (!strcmp(cmd, "abort")) {
		answer(a, json_pack("{s:b}", "ok", 1));
		pw_log_warn("mount %s: aborted on request", sh->o->dir);
		pwc_shard_abort(sh);
	} else {
		answer(a, json_pack("{s:s}", "error", "unknown command"));
	}
}

static void parse(struct asker *a, size_t len)
{
	json_error_t e;
	json_t *j = json_loadb(a->line, len, 0, &e);
	const char *cmd = json_string_value(json_object_get(j, "cmd"));

	if (cmd)
		run(a, cmd);
	else
		answer(a, json_pack("{s:s}", "error", "not understood"));
	json_decref(j);
}

static void on_asker(struct pw_fd *f)
{
	struct asker *a = pw_container_of(f, struct asker, fd);
	char *end;
	ssize_t n;

	if (a->answered || a->asking)
		return;
	n = recv(f->fd, a->line + a->len, sizeof(a->line) - a->len, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0) {
		a->len += (size_t)n;
		end = memchr(a->line, '\n', a->len);
		if (end) {
			parse(a, (size_t)(end - a->line));
			return;
		}
		if (a->len < sizeof(a->line))
			return;
	}
	a->answered = true;
	pw_fd_stop(f, on_asker_closed);
}

static void take(struct pwc_control *c, int fd)
{
	struct asker *a = c->nr_askers < MAX_CONNS ? calloc(1, sizeof(*a)) : NULL;

	if (!a) {
		close(fd);
		return;
	}
	a->c = c;
	pw_timer_init(&a->timer, on_no_space);
	if (pw_fd_start(c->sh->loop, &a->fd, fd, on_asker)) {
		close(fd);
		free(a);
		return;
	}
	pw_list_add_tail(&c->askers, &a->node);
	c->nr_askers++;
}

static void on_connection(struct pw_fd *f)
{
	struct pwc_control *c = pw_container_of(f, struct pwc_control, listen);
	int fd;

	while ((fd = accept4(f->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0)
		take(c, fd);
}

static int make_socket(struct pwc_control *c)
{
	int err = PW_FAULT_ERR("control.socket", -EACCES);

	if (err)
		return err;
	if (mkdir(PWC_CONTROL_DIR, 0755) && errno != EEXIST)
		return -errno;
	return pwc_control_listen(&c->addr, SOCK_STREAM, 0600, 16);
}

int pwc_control_new(struct pwc_control **ret, struct pwc_shard *sh)
{
	struct pwc_control *c = PW_FAULT("control.new") ? NULL : calloc(1, sizeof(*c));
	int fd, err;

	if (!c)
		return -ENOMEM;
	c->sh = sh;
	pw_list_init(&c->askers);
	c->addr.sun_family = AF_UNIX;
	pwc_control_path(sh->o->dir, c->addr.sun_path, sizeof(c->addr.sun_path));
	fd = make_socket(c);
	if (fd >= 0) {
		err = pw_fd_start(sh->loop, &c->listen, fd, on_connection);
		if (err) {
			close(fd);
			free(c);
			return err;
		}
		c->listening = true;
	} else {
		pw_log_warn("control: no socket %s, %s; status and stats will not find this mount",
			    c->addr.sun_path, pw_err_text(fd));
	}
	*ret = c;
	return 0;
}

static void on_listen_closed(struct pw_fd *f)
{
	struct pwc_control *c = pw_container_of(f, struct pwc_control, listen);

	close(f->fd);
	c->listening = false;
}

void pwc_control_stop(struct pwc_control *c)
{
	struct pw_list *pos;

	if (!c || c->stopping)
		return;
	c->stopping = true;
	if (c->listening) {
		unlink(c->addr.sun_path);
		pw_fd_stop(&c->listen, on_listen_closed);
	}
	pw_list_for_each(pos, &c->askers) {
		struct asker *a = pw_list_entry(pos, struct asker, node);

		a->answered = true;
		pw_fd_stop(&a->fd, on_asker_closed);
	}
}

bool pwc_control_is_stopped(const struct pwc_control *c)
{
	return !c || (c->stopping && !c->listening && !c->nr_askers);
}

void pwc_control_free(struct pwc_control *c)
{
	free(c);
}
