/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_conn.c -- a peer's stream through the receive path and a node's connection, without a kernel
 *
 * xprt_tcp_rx.c and conn*.c are the real ones; the ring, the loop and the sending half are played
 * here. Input: a program of steps, one byte each, some followed by arguments: messages that are
 * right (hand-shake with true proofs, requests with payload), bytes that are anything, how finely
 * the stream is cut, what the owner guesses, time. Whatever comes: nobody is up who did not prove
 * the key, every payload that is delivered is what was sent, each send is done once, and the end
 * comes once.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/auth.h"
#include "common/compat_uring.h"
#include "common/conn_impl.h"
#include "common/xprt_tcp_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(cond)                                                                                 \
	do {                                                                                       \
		if (!(cond))                                                                       \
			abort();                                                                   \
	} while (0)

#define MAX_PAYLOAD 20000u
#define STREAM_MAX (128u << 10)

static struct {
	uint64_t now_ns;
	struct pw_timer *timer; /* the connection has one */
	struct pw_tcp x;
	struct pw_conn *c;
	struct io_uring_sqe sqe;
	bool posted; /* a receive is out */
	/* the peer's stream, as it was written and as far as it was read */
	uint8_t stream[STREAM_MAX];
	uint32_t nr_stream, nr_read;
	uint32_t cut_size, cut; /* at most so many bytes per receive; left of them in this one */
	uint32_t guess;
	/* what the owner saw */
	bool up, proved, down, wild; /* wild: bytes that are anything were sent */
	uint32_t nr_msgs, nr_reqs;
	struct pw_cmd hello, challenge;
	uint8_t buf[MAX_PAYLOAD], other[MAX_PAYLOAD];
	struct pw_send answer;
	uint32_t answers_out;
} w;

static const struct pw_identity node_id = {
	.fsid = "fs",
	.id = "node",
	.key = "k",
	.have_key = true,
};

/* Loop ---------------------------------------------------------------------------------------- */

uint64_t pw_loop_now(const struct pw_loop *loop)
{
	return w.now_ns;
}

void pw_timer_init(struct pw_timer *t, void (*fn)(struct pw_timer *t))
{
	t->fn = fn;
	t->heap_idx = UINT32_MAX;
}

void pw_timer_arm(struct pw_loop *loop, struct pw_timer *t, uint64_t deadline_ns)
{
	t->deadline_ns = deadline_ns;
	t->heap_idx = 0;
	w.timer = t;
}

void pw_timer_cancel(struct pw_loop *loop, struct pw_timer *t)
{
	t->heap_idx = UINT32_MAX;
}

int pw_io_init(struct pw_loop *loop, struct pw_io *io, void (*done)(struct pw_io *, int, uint32_t))
{
	io->done = done;
	return 0;
}

struct io_uring_sqe *pw_io_sqe(struct pw_loop *loop, struct pw_io *io)
{
	MUST(!w.posted);
	w.posted = true;
	memset(&w.sqe, 0, sizeof(w.sqe));
	return &w.sqe;
}

void pw_io_sqe_data(struct io_uring_sqe *sqe, const struct pw_io *io)
{
}

/* Transport ----------------------------------------------------------------------------------- */

void pw_xprt_send(struct pw_xprt *base, struct pw_send *s)
{
	struct pw_tcp *x = pw_tcp_of(base);

	MUST(!x->closing);
	MUST(!pw_cmd_check(&s->cmd, false));
	pw_list_add_tail(&x->tx.queue, &s->node);
	if (s->cmd.type == PW_MSG_CHALLENGE)
		w.challenge = s->cmd;
	if (s->cmd.type == PW_MSG_WELCOME)
		MUST(w.proved);
}

void pw_xprt_set_up(struct pw_xprt *base, uint32_t nr_slots)
{
	MUST(w.proved && nr_slots == 4);
}

void pw_xprt_grant(struct pw_xprt *base, uint16_t slot, void *buf, uint32_t len)
{
}

bool pw_xprt_revoke(struct pw_xprt *base, uint16_t slot, struct pw_revoke *r)
{
	(void)base;
	(void)slot;
	(void)r;
	return false;
}

enum pw_gather pw_xprt_gathers(const struct pw_xprt *base, const struct pw_runs *runs, bool in)
{
	return PW_GATHER_NEVER;
}

bool pw_xprt_places(const struct pw_xprt *base)
{
	return false;
}

void pw_xprt_close(struct pw_xprt *base, int err, const char *why)
{
	struct pw_tcp *x = pw_tcp_of(base);

	if (x->closing)
		return;
	x->closing = true;
	x->err = err;
	snprintf(x->why, sizeof(x->why), "%s", why);
}

void pw_tcp_failf(struct pw_tcp *x, int err, const char *fmt, ...)
{
	pw_xprt_close(&x->base, err, fmt);
}

void pw_tcp_settle(struct pw_tcp *x)
{
}

void pw_xprt_free(struct pw_xprt *base)
{
	MUST(pw_tcp_of(base)->closed);
}

void pw_xprt_get_stats(const struct pw_xprt *base, struct pw_conn_stats *ret)
{
	*ret = pw_tcp_of(base)->stats;
}

const char *pw_xprt_name(const struct pw_xprt *x)
{
	return "fuzz";
}

int pw_xprt_connect(struct pw_loop *loop, const char *host, uint16_t port, const char *local,
		    enum pw_transport transport, const struct pw_xprt_ops *ops, void *owner,
		    struct pw_xprt **ret)
{
	return -ENOSYS;
}

void pw_listener_forget(struct pw_conn *c)
{
}

/* Owner --------------------------------------------------------------------------------------- */

static uint8_t payload_byte(uint64_t seq, uint32_t i)
{
	return (uint8_t)(seq * 37 + i * 11 + (i >> 8));
}

static int on_hello(struct pw_conn *c, const struct pw_body_hello *hello,
		    struct pw_body_welcome *welcome)
{
	MUST(w.proved);
	welcome->nr_slots = 4;
	welcome->max_io = MAX_PAYLOAD;
	welcome->lease_ms = 1;
	return hello->want_slots == 0x77 ? -EBUSY : 0;
}

static void on_up(struct pw_conn *c, const struct pw_body_welcome *welcome)
{
	MUST(w.proved && !w.up);
	w.up = true;
}

static void *on_payload(struct pw_conn *c, const struct pw_cmd *cmd)
{
	MUST(w.up && cmd->payload_len);
	if (cmd->slot >= 4 || cmd->payload_len > MAX_PAYLOAD)
		return NULL;
	return w.buf;
}

static void *guess_payload(struct pw_conn *c, uint32_t *ret_len)
{
	MUST(w.up);
	*ret_len = MAX_PAYLOAD - 1000;
	switch (w.guess % 5) {
	case 1:
		return w.buf;
	case 2:
		return w.other;
	case 3:
		*ret_len = 1 + w.guess;
		return w.buf + w.guess;
	case 4: /* none, and a payload comes */
		return NULL;
	default:
		*ret_len = 0;
		return NULL;
	}
}

static void answered(struct pw_send *s, int err)
{
	MUST(w.answers_out == 1);
	w.answers_out--;
}

static void on_msg(struct pw_conn *c, const struct pw_cmd *cmd, void *payload)
{
	MUST(w.up && !w.down && cmd->type == PW_MSG_REQ);
	MUST(!pw_cmd_check(cmd, true));
	MUST(payload == (cmd->payload_len ? w.buf : NULL));
	w.nr_msgs++;
	for (uint32_t i = 0; !w.wild && i < cmd->payload_len; i++)
		MUST(w.buf[i] == payload_byte(cmd->seq, i));
	MUST(w.wild || cmd->seq == w.nr_msgs);
	if (w.answers_out)
		return;
	pw_cmd_init(&w.answer.cmd, PW_MSG_RSP, PW_OP_RECLAIM);
	w.answer.done = answered;
	w.answers_out++;
	MUST(!pw_conn_send(c, &w.answer));
}

static void on_down(struct pw_conn *c, int err, const char *why)
{
	MUST(!w.down && err < 0 && *why);
	MUST(!w.answers_out);
	w.down = true;
}

static const struct pw_conn_ops conn_ops = {
	.on_hello = on_hello,
	.on_up = on_up,
	.on_payload = on_payload,
	.guess_payload = guess_payload,
	.on_msg = on_msg,
	.on_down = on_down,
};

/* Peer ---------------------------------------------------------------------------------------- */

static void put(const void *bytes, uint32_t n)
{
	if (w.nr_stream + n > STREAM_MAX)
		return;
	memcpy(w.stream + w.nr_stream, bytes, n);
	w.nr_stream += n;
}

static uint32_t take(uint8_t *to, uint64_t len)
{
	uint32_t n = (uint32_t)PW_MIN(len, w.nr_stream - w.nr_read);

	n = PW_MIN(n, w.cut);
	memcpy(to, w.stream + w.nr_read, n);
	w.nr_read += n;
	w.cut -= n;
	return n;
}

static uint32_t take_pieces(const struct msghdr *m)
{
	uint32_t n = 0;

	for (size_t i = 0; i < m->msg_iovlen; i++)
		n += take(m->msg_iov[i].iov_base, m->msg_iov[i].iov_len);
	return n;
}

/* In place of the system call, for receives that do not wait. */
ssize_t recvmsg(int fd, struct msghdr *m, int flags)
{
	MUST(flags == MSG_DONTWAIT && !w.posted);
	w.cut = w.cut_size;
	if (w.nr_read < w.nr_stream)
		return take_pieces(m);
	errno = EAGAIN;
	return -1;
}

/* Plays the ring: completes the receive that is out with what there is, until nothing is left. */
static void pump(uint32_t cut)
{
	while (w.posted && !w.x.closing && w.nr_read < w.nr_stream) {
		uint32_t n, flags = 0;

		w.cut = w.cut_size = cut;
		w.posted = false;
		if (w.sqe.opcode == IORING_OP_RECVMSG)
			n = take_pieces((const void *)(uintptr_t)w.sqe.addr);
		else
			n = take((uint8_t *)(uintptr_t)w.sqe.addr, w.sqe.len);
		if (w.nr_read < w.nr_stream)
			flags = IORING_CQE_F_SOCK_NONEMPTY;
		w.x.rx.io.done(&w.x.rx.io, (int)n, flags);
	}
}

static void flush_sends(int err)
{
	struct pw_list *node;

	while ((node = pw_list_pop(&w.x.tx.queue))) {
		struct pw_send *s = pw_list_entry(node, struct pw_send, node);

		if (!err) {
			w.x.stats.msgs_tx++;
			w.x.stats.bytes_tx += sizeof(s->cmd) + s->cmd.payload_len;
		}
		if (s->done)
			s->done(s, err);
	}
}

static void put_hello(uint8_t variant)
{
	pw_cmd_init(&w.hello, PW_MSG_HELLO, 0);
	w.hello.hello.version = variant & 1 ? 9 : 1;
	w.hello.hello.version_min = variant & 2 ? PW_WIRE_VERSION + 1 : 1;
	w.hello.hello.role = 1;
	w.hello.hello.want_slots = variant | 1;
	put(&w.hello, sizeof(w.hello));
}

static void put_proof(bool right)
{
	struct pw_cmd cmd;

	pw_cmd_init(&cmd, PW_MSG_PROOF, 0);
	pw_auth_proof(cmd.proof.proof, node_id.key, right ? "client" : "node", &w.hello.hello,
		      &w.challenge.challenge);
	w.proved |= right;
	put(&cmd, sizeof(cmd));
}

static void put_req(uint32_t len)
{
	static uint8_t payload[MAX_PAYLOAD];
	struct pw_cmd cmd;

	if (w.nr_stream + sizeof(cmd) + len > STREAM_MAX)
		return;
	pw_cmd_init(&cmd, PW_MSG_REQ, len ? PW_OP_WRITE : PW_OP_READ);
	cmd.slot = 1;
	cmd.seq = ++w.nr_reqs;
	cmd.payload_len = len;
	cmd.io.ino = 1;
	cmd.io.len = len ? len : 1;
	for (uint32_t i = 0; i < len; i++)
		payload[i] = payload_byte(cmd.seq, i);
	put(&cmd, sizeof(cmd));
	put(payload, len);
}

static void put_plain(enum pw_msg_type type)
{
	struct pw_cmd cmd;

	pw_cmd_init(&cmd, type, 0);
	put(&cmd, sizeof(cmd));
}

static void pass_time(uint32_t ms)
{
	w.now_ns += ms * PW_NS_PER_MS;
	if (w.timer && pw_timer_armed(w.timer) && w.timer->deadline_ns <= w.now_ns) {
		w.timer->heap_idx = UINT32_MAX;
		w.timer->fn(w.timer);
	}
}

static uint32_t step(const uint8_t *p, size_t left)
{
	uint8_t arg = left > 1 ? p[1] : 0;
	uint32_t n;

	switch (p[0] % 12) {
	case 0:
		put_hello(arg);
		return 2;
	case 1:
		put_proof(true);
		return 1;
	case 2:
		put_proof(false);
		return 1;
	case 3:
		put_req(arg);
		return 2;
	case 4:
		put_req((arg * 257u) % MAX_PAYLOAD);
		return 2;
	case 5:
		put_plain(PW_MSG_PING);
		return 1;
	case 6:
		put_plain(arg & 1 ? PW_MSG_GOODBYE : PW_MSG_PONG);
		return 2;
	case 7:
		n = (uint32_t)PW_MIN(left - 1, 200u);
		w.wild = true;
		put(p + 1, n);
		return 1 + n;
	case 8:
		pump(arg ? arg : UINT32_MAX);
		return 2;
	case 9:
		w.guess = arg;
		return 2;
	case 10:
		flush_sends(0);
		return 1;
	default:
		pass_time(arg * 8u);
		return 2;
	}
}

static void start(void)
{
	memset(&w, 0, sizeof(w));
	w.now_ns = PW_NS_PER_S;
	pw_list_init(&w.x.tx.queue);
	MUST(!pw_conn_alloc(NULL, &conn_ops, NULL, &node_id, NULL, &w.c));
	w.x.ops = &pw_conn_xprt_ops;
	w.x.owner = w.c;
	pw_conn_accepted(w.c, &w.x.base, "peer");
	MUST(!pw_tcp_rx_init(&w.x));
	pw_tcp_rx_post(&w.x);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t pos = 0;

	start();
	while (pos < size && !w.x.closing)
		pos += step(data + pos, size - pos);
	pump(UINT32_MAX);
	if (!w.x.closing && !w.wild && w.up)
		MUST(w.nr_msgs == w.nr_reqs);
	pw_conn_fail(w.c, -ECANCELED, "end");
	MUST(w.x.closing);
	flush_sends(w.x.err);
	w.x.closed = true;
	pw_conn_xprt_ops.on_closed(w.c, w.x.err, w.x.why);
	MUST(w.down);
	pw_conn_free(w.c);
	return 0;
}
