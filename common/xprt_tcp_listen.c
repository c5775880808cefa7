/* SPDX-License-Identifier: Apache-2.0 */
/* xprt_tcp_listen.c -- a listening socket with one multishot accept
 *
 * What can fail after the start: the process is out of descriptors or memory. Then accepting
 * pauses, so that the loop does not spin on a socket that stays readable, and goes on with the next
 * try.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/fault.h"
#include "common/log.h"
#include "common/xprt_tcp_impl.h"

#define BACKLOG 128
#define PAUSE_NS (100 * PW_NS_PER_MS)

struct tcp_listener {
	struct pw_xprt_listener base;
	struct pw_loop *loop;
	int fd; /* owns */
	uint16_t port;
	bool multishot; /* until the kernel refuses it */
	bool in_event; /* on_event() is on the stack */
	bool freed; /* the last completion, or the end of on_event(), frees */
	struct pw_io io;
	struct pw_timer pause;
	pw_xprt_accept_fn *on_accept;
	void *arg;
};

static void arm(struct tcp_listener *l)
{
	struct io_uring_sqe *sqe = pw_io_sqe(l->loop, &l->io);

	if (l->multishot)
		io_uring_prep_multishot_accept(sqe, l->fd, NULL, NULL, SOCK_CLOEXEC);
	else
		io_uring_prep_accept(sqe, l->fd, NULL, NULL, SOCK_CLOEXEC);
	pw_io_sqe_data(sqe, &l->io);
}

static void take(struct tcp_listener *l, int fd)
{
	struct sockaddr_storage sa = { .ss_family = AF_UNSPEC };
	socklen_t len = sizeof(sa);
	struct pw_tcp *x;
	char name[64];

	/* gone again already: nothing to name, nothing to serve */
	if (getpeername(fd, (struct sockaddr *)&sa, &len) < 0 || pw_tcp_new(l->loop, &x)) {
		close(fd);
		return;
	}
	x->fd = fd;
	pw_addr_text((struct sockaddr *)&sa, name, sizeof(name));
	if (l->on_accept(l->arg, &x->base, name, &x->ops, &x->owner)) {
		close(fd);
		x->fd = -1;
		x->closed = true;
		pw_tcp_free(&x->base);
		return;
	}
	if (!x->closing)
		pw_tcp_start(x);
}

static void destroy(struct tcp_listener *l)
{
	close(l->fd);
	pw_io_fini(l->loop, &l->io);
	pw_timer_cancel(l->loop, &l->pause);
	free(l);
}

static void on_pause_over(struct pw_timer *t)
{
	struct tcp_listener *l = pw_container_of(t, struct tcp_listener, pause);

	arm(l);
}

static void on_event(struct pw_io *io, int res, uint32_t flags)
{
	struct tcp_listener *l = pw_container_of(io, struct tcp_listener, io);
	bool pause = false;

	(void)flags;
	if (l->freed) {
		if (res >= 0)
			close(res);
		if (!io->pending)
			destroy(l);
		return;
	}
	l->in_event = true;
	if (res >= 0) {
		take(l, res);
	} else if (res == -EINVAL && l->multishot) {
		l->multishot = false; /* UNTESTED: kernels before 5.19 */
	} else if (res == -EMFILE || res == -ENFILE || res == -ENOMEM || res == -ENOBUFS) {
		pw_log_rl(PW_LOG_WARN, "listener port %u: accept failed, %s, pausing", l->port,
			  strerror(-res));
		pause = true;
	}
	l->in_event = false;
	if (l->io.pending)
		return;
	if (l->freed)
		destroy(l);
	else if (pause)
		pw_timer_arm(l->loop, &l->pause, pw_loop_now(l->loop) + PAUSE_NS);
	else
		arm(l);
}

static int open_socket(const struct addrinfo *ai, int *ret_fd, uint16_t *ret_port)
{
	struct sockaddr_storage sa = { .ss_family = AF_UNSPEC };
	socklen_t len = sizeof(sa);
	int one = 1, err, fd;

	err = PW_FAULT_ERR("tcp.listen", -EMFILE);
	if (err)
		return err;
	fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    bind(fd, ai->ai_addr, ai->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0 ||
	    getsockname(fd, (struct sockaddr *)&sa, &len) < 0) {
		err = -errno;
		close(fd);
		return err;
	}
	*ret_fd = fd;
	*ret_port = ntohs(sa.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&sa)->sin6_port :
						     ((struct sockaddr_in *)&sa)->sin_port);
	return 0;
}

int pw_tcp_listen(struct pw_loop *loop, const char *host, uint16_t port,
		  pw_xprt_accept_fn *on_accept, void *arg, struct pw_xprt_listener **ret)
{
	struct tcp_listener *l;
	struct addrinfo *ai;
	int err;

	if (!host || !*host)
		return -EINVAL;
	err = pw_addr_to_listen(host, port, &ai);
	if (err)
		return err;
	l = calloc(1, sizeof(*l));
	if (!l) {
		err = -ENOMEM;
		goto free_ai;
	}
	l->base.type = &pw_tcp_type;
	l->loop = loop;
	l->on_accept = on_accept;
	l->arg = arg;
	l->multishot = true;
	pw_timer_init(&l->pause, on_pause_over);
	err = open_socket(ai, &l->fd, &l->port);
	if (err)
		goto free_l;
	err = pw_io_init(loop, &l->io, on_event);
	if (err)
		goto close_fd;
	arm(l);
	freeaddrinfo(ai);
	*ret = &l->base;
	return 0;

close_fd:
	close(l->fd);
free_l:
	free(l);
free_ai:
	freeaddrinfo(ai);
	return err;
}

uint16_t pw_tcp_listener_port(const struct pw_xprt_listener *base)
{
	return pw_container_of(base, struct tcp_listener, base)->port;
}

void pw_tcp_listener_free(struct pw_xprt_listener *base)
{
	struct tcp_listener *l = pw_container_of(base, struct tcp_listener, base);

	l->freed = true;
	pw_timer_cancel(l->loop, &l->pause);
	if (l->io.pending)
		pw_io_cancel(l->loop, &l->io);
	else if (!l->in_event)
		destroy(l);
}
