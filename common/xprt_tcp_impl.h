/* SPDX-License-Identifier: Apache-2.0 */
/* xprt_tcp_impl.h -- what the xprt_tcp*.c files share; nobody else includes it */
#ifndef PW_XPRT_TCP_IMPL_H
#define PW_XPRT_TCP_IMPL_H

#include <netdb.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "common/addr.h"
#include "common/uring.h"
#include "common/xprt_impl.h"

/* One SENDMSG takes at most this many pieces (a message has one or two, or some runs) ... */
#define PW_TCP_IOVS 64u
/* ... and ends with the message that reaches this many bytes, so that done() is not held up for
 * long. */
#define PW_TCP_BATCH_BYTES (2u << 20)
/* Bytes that may land in a guessed buffer; what turns out to belong elsewhere must fit in the
 * stage. */
#define PW_TCP_GUESS_MAX 8192u
#define PW_TCP_ZC_OPS 8u
/* One receive takes at most so many runs of a payload, and what follows it. */
#define PW_TCP_RX_RUNS 16u

/* One SENDMSG. A zero-copy one comes back twice: sent, and later the memory is free again. */
struct pw_tcp_op {
	struct pw_io io;
	struct pw_tcp *x;
	struct pw_list sends; /* pw_send.node; owns: sent whole, wait for the notification */
	uint64_t bytes; /* asked for */
	bool zc;
	bool wait; /* sent short: nothing follows until the notification */
	struct msghdr msg;
	struct iovec iov[PW_TCP_IOVS];
};

enum pw_tcp_zc {
	PW_TCP_ZC_PROBE, /* a few sends ask the kernel whether it copies */
	PW_TCP_ZC_ON,
	PW_TCP_ZC_OFF,
};

struct pw_tcp_tx {
	struct pw_flush flush;
	/* pw_send.node; borrows until done; the first ones may be with the kernel */
	struct pw_list queue;
	uint64_t head_off; /* bytes of the first message that are sent */
	struct pw_tcp_op *busy; /* the one that is sending; NULL: none */
	struct pw_tcp_op plain;
	struct pw_tcp_op *zc_op; /* owns; array of PW_TCP_ZC_OPS, made when first wanted */
	enum pw_tcp_zc zc;
	uint32_t zc_asked, zc_told, zc_told_copied; /* of the current judgement */
};

struct pw_tcp_rx {
	struct pw_io io;
	struct msghdr msg;
	struct iovec iov[PW_TCP_RX_RUNS + 1];
	uint32_t asked, asked_stage; /* bytes of the pieces; of them, at the end of the stage */
	uint32_t small_run; /* messages in a row with little or no payload */
	uint8_t *guess; /* borrowed by the receive that is out; NULL: it has none */
	uint8_t *dest; /* where the payload of cmd goes, borrowed; NULL: between messages */
	const struct pw_runs *runs; /* it goes here, dest is the beginning; borrowed, or NULL */
	uint32_t dest_have;
	uint32_t stage_have;
	struct pw_cmd cmd; /* whose payload is coming in */
	uint8_t stage[PW_CMD_BYTES + PW_TCP_GUESS_MAX]; /* bytes from the start of a message on */
};

struct pw_tcp {
	struct pw_xprt base;
	struct pw_loop *loop;
	const struct pw_xprt_ops *ops;
	void *owner;
	bool to_node; /* this end is the client's */
	bool closing;
	bool closed; /* on_closed() was called */
	int fd; /* owns; -1: none */
	struct pw_ready ready; /* steps the close */
	int err;
	char why[192];

	struct pw_addr_lookup *lookup; /* shared with a thread; NULL: none runs */
	struct addrinfo *addrs; /* owns; what the name resolved to */
	struct addrinfo *addr; /* the one that is being tried */
	struct sockaddr_storage local; /* to connect from; family 0: any */
	socklen_t local_len;
	struct pw_io connect;

	struct pw_tcp_tx tx;
	struct pw_tcp_rx rx;
	struct pw_conn_stats stats;
};

static inline struct pw_tcp *pw_tcp_of(const struct pw_xprt *base)
{
	return pw_container_of(base, struct pw_tcp, base);
}

/* xprt_tcp.c */
int pw_tcp_new(struct pw_loop *loop, struct pw_tcp **ret);
/* An accepted or connected socket: options, first receive. */
void pw_tcp_start(struct pw_tcp *x);
void pw_tcp_failf(struct pw_tcp *x, int err, const char *fmt, ...) PW_PRINTF(3, 4);
void pw_tcp_try_next(struct pw_tcp *x);
/* An io has come to rest; in closing, that may be the last one. */
void pw_tcp_settle(struct pw_tcp *x);
void pw_tcp_close(struct pw_xprt *base, int err, const char *why);
void pw_tcp_free(struct pw_xprt *base);

/* xprt_tcp_tx.c */
void pw_tcp_send(struct pw_xprt *base, struct pw_send *s);
int pw_tcp_tx_init(struct pw_tcp *x);
void pw_tcp_tx_fini(struct pw_tcp *x);
/* nothing is being sent; notifications may be missing */
bool pw_tcp_tx_idle(const struct pw_tcp *x);
bool pw_tcp_tx_drained(const struct pw_tcp *x);
void pw_tcp_tx_cancel(struct pw_tcp *x);
void pw_tcp_tx_fail_queue(struct pw_tcp *x);

/* xprt_tcp_rx.c */
int pw_tcp_rx_init(struct pw_tcp *x);
void pw_tcp_rx_post(struct pw_tcp *x);

/* xprt_tcp_listen.c */
int pw_tcp_listen(struct pw_loop *loop, const char *host, uint16_t port,
		  pw_xprt_accept_fn *on_accept, void *arg, struct pw_xprt_listener **ret);
uint16_t pw_tcp_listener_port(const struct pw_xprt_listener *base);
void pw_tcp_listener_free(struct pw_xprt_listener *base);

#endif
