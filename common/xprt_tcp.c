/* SPDX-License-Identifier: Apache-2.0 */
/* xprt_tcp.c -- one TCP connection on io_uring: connect, options, the orderly end
 *
 * Happy path: literal address or resolver thread -> CONNECT -> TCP_NODELAY -> receive
 * (xprt_tcp_rx.c) and send (xprt_tcp_tx.c) until pw_tcp_close().
 * What can fail: each step reports to pw_tcp_failf(), which is pw_tcp_close(). The close itself
 * runs as a step of the loop: cancel what is out -> wait until receive and send have come to rest
 * -> close the socket (with a reset where the kernel still has bytes of ours, which also brings the
 * missing zero-copy notifications) -> every queued message gets done(err) -> on_closed(). Buffers
 * are borrowed until that.
 */
#include <assert.h>
#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/err.h"
#include "common/fault.h"
#include "common/xprt_tcp_impl.h"

/* Send buffer towards this machine itself, where no delay has to be filled. What the kernel holds
 * in between then stays in the cache: with four 1 MiB writes in flight half the CPU time per byte
 * of the automatic size, which grows to some MiB. Towards other machines the kernel knows best. */
#define LOCAL_SND_BYTES (512 << 10)

/* End --------------------------------------------------------------------------------------- */

void pw_tcp_close(struct pw_xprt *base, int err, const char *why)
{
	struct pw_tcp *x = pw_tcp_of(base);

	if (x->closing)
		return;
	x->closing = true;
	x->err = err;
	snprintf(x->why, sizeof(x->why), "%s", why);
	pw_flush_cancel(&x->tx.flush);
	pw_loop_ready(x->loop, &x->ready);
}

void pw_tcp_failf(struct pw_tcp *x, int err, const char *fmt, ...)
{
	char why[sizeof(x->why)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	pw_tcp_close(&x->base, err, why);
}

void pw_tcp_settle(struct pw_tcp *x)
{
	if (x->closing)
		pw_loop_ready(x->loop, &x->ready);
}

/* A reset where bytes of ours are unsent or not free: it takes them from the kernel at once, while
 * an orderly end would keep trying to deliver them to a peer that may be dead. Without any, nothing
 * that the peer has yet to read (REJECT, GOODBYE) may be thrown away. */
static void close_socket(struct pw_tcp *x)
{
	struct linger hard = { .l_onoff = 1, .l_linger = 0 };

	if (x->fd < 0)
		return;
	if (!pw_tcp_tx_drained(x) || !pw_list_empty(&x->tx.queue))
		setsockopt(x->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	close(x->fd);
	x->fd = -1;
}

static void step_close(struct pw_ready *r)
{
	struct pw_tcp *x = pw_container_of(r, struct pw_tcp, ready);

	assert(x->closing);
	if (x->closed)
		return;
	if (x->lookup && !pw_addr_lookup_cancel(x->lookup))
		return;
	x->lookup = NULL;
	if (x->connect.pending || x->rx.io.pending || !pw_tcp_tx_idle(x)) {
		pw_io_cancel(x->loop, &x->connect);
		pw_io_cancel(x->loop, &x->rx.io);
		pw_tcp_tx_cancel(x);
		if (x->fd >= 0)
			shutdown(x->fd, SHUT_RD);
		return;
	}
	close_socket(x);
	if (!pw_tcp_tx_drained(x))
		return;
	pw_tcp_tx_fail_queue(x);
	x->closed = true;
	x->ops->on_closed(x->owner, x->err, x->why);
}

void pw_tcp_free(struct pw_xprt *base)
{
	struct pw_tcp *x = pw_tcp_of(base);

	assert(x->closed && x->fd < 0);
	pw_ready_cancel(&x->ready);
	pw_flush_cancel(&x->tx.flush);
	pw_io_fini(x->loop, &x->connect);
	pw_io_fini(x->loop, &x->rx.io);
	pw_tcp_tx_fini(x);
	if (x->addrs)
		freeaddrinfo(x->addrs);
	free(x);
}

/* Start ------------------------------------------------------------------------------------- */

/* Both ends on this machine: over loopback, or from an address to itself. */
static bool is_local(int fd)
{
	struct sockaddr_storage own = { .ss_family = AF_UNSPEC }, peer = { .ss_family = AF_UNSPEC };
	socklen_t own_len = sizeof(own), peer_len = sizeof(peer);

	if (getsockname(fd, (struct sockaddr *)&own, &own_len) < 0 ||
	    getpeername(fd, (struct sockaddr *)&peer, &peer_len) < 0)
		return false;
	if (own.ss_family == AF_INET6 && peer.ss_family == AF_INET6)
		return IN6_ARE_ADDR_EQUAL(&((struct sockaddr_in6 *)&own)->sin6_addr,
					  &((struct sockaddr_in6 *)&peer)->sin6_addr);
	return own.ss_family == AF_INET && peer.ss_family == AF_INET &&
	       ((struct sockaddr_in *)&own)->sin_addr.s_addr ==
		       ((struct sockaddr_in *)&peer)->sin_addr.s_addr;
}

void pw_tcp_start(struct pw_tcp *x)
{
	int one = 1, snd_bytes = LOCAL_SND_BYTES;

	/* a socket that cannot have these still works */
	(void)setsockopt(x->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (is_local(x->fd))
		(void)setsockopt(x->fd, SOL_SOCKET, SO_SNDBUF, &snd_bytes, sizeof(snd_bytes));
	pw_tcp_rx_post(x);
}

/* The address that the connection is to come from, where one was asked for. */
static int bind_local(struct pw_tcp *x)
{
	int one = 1;

	if (!x->local.ss_family)
		return 0;
	/* the port is chosen at connect, when the peer is known: more of them can be had */
	(void)setsockopt(x->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
	return bind(x->fd, (struct sockaddr *)&x->local, x->local_len) < 0 ? -errno : 0;
}

/* Opens a socket for the address at x->addr and asks for the connection; skips families that this
 * host does not have. */
void pw_tcp_try_next(struct pw_tcp *x)
{
	int err = -EADDRNOTAVAIL;

	for (; x->addr; x->addr = x->addr->ai_next) {
		struct io_uring_sqe *sqe;

		err = PW_FAULT_ERR("tcp.socket", -EMFILE);
		if (err)
			break;
		x->fd = socket(x->addr->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (x->fd < 0) {
			err = -errno;
			continue;
		}
		err = bind_local(x);
		if (err) {
			close(x->fd);
			x->fd = -1;
			continue;
		}
		sqe = pw_io_sqe(x->loop, &x->connect);
		io_uring_prep_connect(sqe, x->fd, x->addr->ai_addr, x->addr->ai_addrlen);
		pw_io_sqe_data(sqe, &x->connect);
		return;
	}
	pw_tcp_failf(x, err, "no socket: %s", pw_err_text(err));
}

static void on_connect(struct pw_io *io, int res, uint32_t flags)
{
	struct pw_tcp *x = pw_container_of(io, struct pw_tcp, connect);
	char name[64];

	(void)flags;
	if (x->closing) {
		pw_tcp_settle(x);
		return;
	}
	if (!res)
		res = PW_FAULT_ERR("tcp.connect", -ECONNREFUSED);
	pw_addr_text(x->addr->ai_addr, name, sizeof(name));
	if (res < 0) {
		if (!x->addr->ai_next) {
			pw_tcp_failf(x, res, "connecting to %s: %s", name, strerror(-res));
			return;
		}
		close(x->fd);
		x->fd = -1;
		x->addr = x->addr->ai_next;
		pw_tcp_try_next(x);
		return;
	}
	x->ops->on_connected(x->owner, name);
	if (!x->closing)
		pw_tcp_start(x);
}

static void on_resolved(void *owner, int gai_err, struct addrinfo *addrs)
{
	struct pw_tcp *x = owner;

	x->lookup = NULL;
	x->addrs = x->addr = addrs;
	if (x->closing) {
		pw_tcp_settle(x);
		return;
	}
	if (gai_err) {
		pw_tcp_failf(x, gai_err == EAI_MEMORY ? -ENOMEM : -EHOSTUNREACH,
			     "name not resolved: %s", gai_strerror(gai_err));
		return;
	}
	pw_tcp_try_next(x);
}

int pw_tcp_new(struct pw_loop *loop, struct pw_tcp **ret)
{
	int err = PW_FAULT_ERR("tcp.alloc", -ENOMEM);
	struct pw_tcp *x = err ? NULL : calloc(1, sizeof(*x));

	if (!x)
		return -ENOMEM;
	x->base.type = &pw_tcp_type;
	x->loop = loop;
	x->fd = -1;
	pw_ready_init(&x->ready, step_close);
	err = pw_io_init(loop, &x->connect, on_connect);
	if (err)
		goto free_x;
	err = pw_tcp_rx_init(x);
	if (err)
		goto fini_connect;
	err = pw_tcp_tx_init(x);
	if (err)
		goto fini_rx;
	*ret = x;
	return 0;

fini_rx:
	pw_io_fini(loop, &x->rx.io);
fini_connect:
	pw_io_fini(loop, &x->connect);
free_x:
	free(x);
	return err;
}

static int tcp_connect(struct pw_loop *loop, const char *host, uint16_t port, const char *local,
		       const struct pw_xprt_ops *ops, void *owner, struct pw_xprt **ret)
{
	struct addrinfo *addrs = NULL;
	struct pw_tcp *x;
	int err;

	if (strlen(host) >= NI_MAXHOST)
		return -EINVAL;
	err = pw_tcp_new(loop, &x);
	if (err)
		return err;
	x->ops = ops;
	x->owner = owner;
	x->to_node = true;
	err = pw_addr_local(local, &x->local, &x->local_len);
	if (!err)
		err = pw_addr_literal(host, port, &addrs);
	if (!err) {
		x->addrs = x->addr = addrs;
		pw_tcp_try_next(x);
	} else if (err == -ENOENT) {
		err = pw_addr_lookup_start(loop, host, port, on_resolved, x, &x->lookup);
	}
	if (err) {
		x->closed = true; /* nothing was started */
		pw_tcp_free(&x->base);
		return err;
	}
	*ret = &x->base;
	return 0;
}

/* Seen from outside ------------------------------------------------------------------------- */

/* Bytes of a large message in flight are known to the kernel only: its counters say whether
 * anything moves. */
static void add_kernel_view(const struct pw_tcp *x, struct pw_conn_stats *s)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);

	if (x->fd < 0 || getsockopt(x->fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
		return;
	s->bytes_rx = PW_MAX(s->bytes_rx, info.tcpi_bytes_received);
	/* acked counts the SYN, too */
	if (info.tcpi_bytes_acked)
		s->bytes_tx = PW_MAX(s->bytes_tx, info.tcpi_bytes_acked - 1);
}

static void tcp_get_stats(const struct pw_xprt *base, struct pw_conn_stats *ret)
{
	const struct pw_tcp *x = pw_tcp_of(base);

	*ret = x->stats;
	add_kernel_view(x, ret);
}

static const char *tcp_name(const struct pw_xprt *base)
{
	static const char *const names[] = {
		[PW_TCP_ZC_PROBE] = "tcp",
		[PW_TCP_ZC_ON] = "tcp+zc",
		[PW_TCP_ZC_OFF] = "tcp",
	};

	return names[pw_tcp_of(base)->tx.zc];
}

/* The kernel moves every byte between socket and memory anyway: it takes them from runs as well.
 * What a device may take away could end the connection. */
static enum pw_gather tcp_gathers(const struct pw_xprt *x, const struct pw_runs *runs, bool in)
{
	(void)x;
	(void)in;
	if (runs->foreign)
		return PW_GATHER_NEVER;
	return runs->nr > PW_RUNS_MAX ? PW_GATHER_TOO_MANY : PW_GATHER_OK;
}

const struct pw_xprt_type pw_tcp_type = {
	.connect = tcp_connect,
	.send = pw_tcp_send,
	.close = pw_tcp_close,
	.free = pw_tcp_free,
	.get_stats = tcp_get_stats,
	.name = tcp_name,
	.gathers = tcp_gathers,
	.listen = pw_tcp_listen,
	.listener_port = pw_tcp_listener_port,
	.listener_free = pw_tcp_listener_free,
};
