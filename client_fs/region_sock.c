/* SPDX-License-Identifier: Apache-2.0 */
/* region_sock.c -- see region_sock.h
 *
 * Connection:	READING <-> [ADDING: the kernel is asked about a region] -> closing -> freed
 *
 * Nothing that comes from here is believed: what is no message ends the connection, and with it the
 * regions of whoever sent it.
 */
#include "client_fs/region_sock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "client_fs/control.h"
#include "client_fs/shard.h"
#include "common/err.h"
#include "common/fault.h"
#include "common/log.h"
#include "common/region_wire.h"

#define MAX_APPS	 256u
/* of one user who is not root: others have a right to some */
#define MAX_APPS_OF_USER 64u
#define MAX_FDS		 4u
/* In one turn of the loop; then others have theirs. */
#define MESSAGES_A_TURN	 8u
#define CONNECTIONS_A_TURN 8u

struct app {
	struct pw_list node;
	struct pw_fd fd;
	struct pw_ready more; /* there may be more to read */
	struct pwc_region_sock *s;
	struct pwc_region_owner owner;
	bool adding; /* a region is: its answer comes before the next question is read */
	bool closing;
};

struct pwc_region_sock {
	struct pwc_shard *sh;
	struct pw_fd listen;
	struct pw_ready more; /* there may be more connections */
	bool listening, stopping;
	struct pw_list apps;
	uint32_t nr_apps;
	struct sockaddr_un addr;
};

/* ------------------------------------------------------------------------------ one application */

static void on_app_closed(struct pw_fd *f)
{
	struct app *a = pw_container_of(f, struct app, fd);

	pw_list_del(&a->node);
	a->s->nr_apps--;
	close(a->fd.fd);
	free(a);
}

static void hang_up(struct app *a)
{
	if (a->closing)
		return;
	a->closing = true;
	pw_ready_cancel(&a->more);
	pwc_regions_end_owner(&a->s->sh->regions, &a->owner);
	pw_fd_stop(&a->fd, on_app_closed);
}

/* Small against the socket's buffer; who does not read has no use for us. */
static void answer(struct app *a, const struct pw_region_answer *rsp)
{
	if (send(a->fd.fd, rsp, sizeof(*rsp), MSG_NOSIGNAL | MSG_DONTWAIT) != sizeof(*rsp))
		hang_up(a);
}

static void answer_region(struct app *a, const struct pwc_region *r)
{
	struct pw_region_answer rsp = {
		.id = r->id,
		.key = r->key,
		.in_kernel = r->in_kernel,
		.kernel_err = r->kernel_err,
	};

	answer(a, &rsp);
}

static void add(struct app *a, const struct pw_region_msg *m, int fd)
{
	struct pw_region_answer rsp = { .err = -EBADF };
	struct pwc_region_ask ask = { fd, (off_t)m->off, (size_t)m->len };
	struct pwc_region *r = NULL;

	if (fd < 0)
		snprintf(rsp.text, sizeof(rsp.text), "no descriptor came with the message");
	else
		rsp.err = pwc_region_add(&a->s->sh->regions, &a->owner, &ask, &r, rsp.text,
					 sizeof(rsp.text));
	if (!r) {
		answer(a, &rsp);
		return;
	}
	a->adding = r->sm.state == PWC_REGION_ADDING;
	if (!a->adding)
		answer_region(a, r);
}

static void end(struct app *a, const struct pw_region_msg *m)
{
	struct pw_region_answer rsp = { .id = m->id, .key = m->key };
	struct pwc_regions *t = &a->s->sh->regions;
	struct pwc_region *r = pwc_region_find(t, m->id, m->key, a->owner.uid);

	if (r && r->owner != &a->owner) {
		rsp.err = -EPERM;
		snprintf(rsp.text, sizeof(rsp.text), "the region is another process's");
	} else if (r) {
		pwc_region_end(r);
		rsp.err = r->sm.state == PWC_REGION_FREE ? 0 : -EBUSY;
	}
	answer(a, &rsp);
}

/* Return: the first descriptor, or -1; further ones are nobody's. */
static int take_fds(struct msghdr *h)
{
	int first = -1, fds[MAX_FDS];

	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
		size_t nr = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		nr = PW_MIN(nr, (size_t)MAX_FDS);
		memcpy(fds, CMSG_DATA(c), nr * sizeof(int));
		for (size_t i = 0; i < nr; i++) {
			if (first < 0)
				first = fds[i];
			else
				close(fds[i]);
		}
	}
	return first;
}

static void refuse(struct app *a)
{
	struct pw_region_answer rsp = { .err = -EPROTO };

	snprintf(rsp.text, sizeof(rsp.text), "not understood: libpagewire is of another version");
	answer(a, &rsp);
	hang_up(a);
}

/* Return: false: nothing more to read now. */
static bool read_one(struct app *a)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(MAX_FDS * sizeof(int))];
	struct pw_region_msg m;
	struct iovec iov = { &m, sizeof(m) };
	struct msghdr h = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	ssize_t n = recvmsg(a->fd.fd, &h, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	bool known;
	int fd;

	if (n < 0 && errno == EINTR)
		return true;
	if (n < 0 && errno == EAGAIN)
		return false;
	/* a message of no bytes looks like the end, and may carry descriptors all the same */
	fd = n < 0 ? -1 : take_fds(&h);
	known = n == sizeof(m) && !(h.msg_flags & MSG_TRUNC) && m.version == PW_REGION_VERSION &&
		!m.reserved;
	if (n <= 0)
		hang_up(a);
	else if (known && m.op == PW_REGION_ADD)
		add(a, &m, fd);
	else if (known && m.op == PW_REGION_END)
		end(a, &m);
	else
		refuse(a);
	if (fd >= 0)
		close(fd);
	return n > 0;
}

/* One question at a time: who has to wait for the kernel is read on when it has answered. Who asks
 * without end keeps nobody waiting. */
static void read_some(struct app *a)
{
	for (uint32_t i = 0; i < MESSAGES_A_TURN; i++)
		if (a->closing || a->adding || !read_one(a))
			return;
	if (!a->closing)
		pw_loop_ready(a->s->sh->loop, &a->more);
}

static void on_readable(struct pw_fd *f)
{
	read_some(pw_container_of(f, struct app, fd));
}

static void read_more(struct pw_ready *r)
{
	read_some(pw_container_of(r, struct app, more));
}

static void on_live(struct pwc_region_owner *o, struct pwc_region *r)
{
	struct app *a = pw_container_of(o, struct app, owner);

	a->adding = false;
	answer_region(a, r);
	read_some(a);
}

/* --------------------------------------------------------------------------------- who comes in */

static bool is_welcome(const struct pwc_region_sock *s, const struct ucred *who)
{
	const struct pw_list *pos;
	uint32_t nr = 0;

	if (who->uid && who->uid != geteuid() && !s->sh->o->allow_other)
		return false;
	if (s->nr_apps == MAX_APPS)
		return false;
	pw_list_for_each(pos, &s->apps)
		nr += pw_list_entry(pos, struct app, node)->owner.uid == who->uid;
	return !who->uid || nr < MAX_APPS_OF_USER;
}

static void take(struct pwc_region_sock *s, int fd)
{
	struct ucred who;
	socklen_t len = sizeof(who);
	struct app *a = NULL;

	if (!getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) && is_welcome(s, &who))
		a = PW_FAULT("region_sock.app") ? NULL : calloc(1, sizeof(*a));
	if (!a) {
		close(fd);
		return;
	}
	a->s = s;
	pw_ready_init(&a->more, read_more);
	a->owner = (struct pwc_region_owner){ .uid = who.uid, .pid = who.pid, .on_live = on_live };
	if (pw_fd_start(s->sh->loop, &a->fd, fd, on_readable)) {
		close(fd);
		free(a);
		return;
	}
	pw_list_add_tail(&s->apps, &a->node);
	s->nr_apps++;
}

static void accept_some(struct pwc_region_sock *s)
{
	for (uint32_t i = 0; i < CONNECTIONS_A_TURN; i++) {
		int fd = accept4(s->listen.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0)
			return;
		take(s, fd);
	}
	pw_loop_ready(s->sh->loop, &s->more);
}

static void on_connection(struct pw_fd *f)
{
	accept_some(pw_container_of(f, struct pwc_region_sock, listen));
}

static void accept_more(struct pw_ready *r)
{
	accept_some(pw_container_of(r, struct pwc_region_sock, more));
}

static int make_socket(struct pwc_region_sock *s)
{
	int err = PW_FAULT_ERR("region_sock.socket", -EACCES);

	/* the control socket has made the folder */
	return err ? err : pwc_control_listen(&s->addr, SOCK_SEQPACKET, 0666, 64);
}

int pwc_region_sock_new(struct pwc_region_sock **ret, struct pwc_shard *sh)
{
	struct pwc_region_sock *s = PW_FAULT("region_sock.new") ? NULL : calloc(1, sizeof(*s));
	int fd, err;

	if (!s)
		return -ENOMEM;
	s->sh = sh;
	pw_ready_init(&s->more, accept_more);
	pw_list_init(&s->apps);
	s->addr.sun_family = AF_UNIX;
	pwc_control_region_path(sh->o->dir, s->addr.sun_path, sizeof(s->addr.sun_path));
	fd = make_socket(s);
	if (fd < 0) {
		pw_log_warn("mount %s: no socket %s, %s; buffers cannot be registered", sh->o->dir,
			    s->addr.sun_path, pw_err_text(fd));
		free(s);
		return 0;
	}
	err = pw_fd_start(sh->loop, &s->listen, fd, on_connection);
	if (err) {
		close(fd);
		free(s);
		return err;
	}
	s->listening = true;
	*ret = s;
	return 0;
}

static void on_listen_closed(struct pw_fd *f)
{
	struct pwc_region_sock *s = pw_container_of(f, struct pwc_region_sock, listen);

	close(f->fd);
	s->listening = false;
}

void pwc_region_sock_stop(struct pwc_region_sock *s)
{
	struct pw_list *pos, *tmp;

	if (!s || s->stopping)
		return;
	s->stopping = true;
	pw_ready_cancel(&s->more);
	unlink(s->addr.sun_path);
	pw_fd_stop(&s->listen, on_listen_closed);
	pw_list_for_each_safe(pos, tmp, &s->apps)
		hang_up(pw_list_entry(pos, struct app, node));
}

bool pwc_region_sock_is_stopped(const struct pwc_region_sock *s)
{
	return !s || (s->stopping && !s->listening && !s->nr_apps);
}

void pwc_region_sock_free(struct pwc_region_sock *s)
{
	free(s);
}

const char *pwc_region_sock_path(const struct pwc_region_sock *s)
{
	return s ? s->addr.sun_path : "";
}
