/* SPDX-License-Identifier: Apache-2.0 */
/* xprt_tcp_rx.c -- the receiving half: a command, then its payload straight to where it belongs
 *
 *	between messages   what is missing of the command, into the stage; and, when the owner
 *	                   guesses where the next payload lands, on into the guess
 *	in a payload       the rest of it, into the owner's buffer
 *
 * One receive is with the ring at a time. When it completes and the socket has more, plain
 * recvmsg() calls that do not wait take a few messages at once: one turn of the loop for all of
 * them, and one send for their answers. After messages with little or no payload the stage takes
 * several commands with one receive.
 *
 * What lands in the wrong place (behind a wrong guess, or payload in the stage) is moved: to the
 * right buffer, and what belongs to later messages to the stage, which can hold all that a guess
 * can bring. Moved payload bytes are counted.
 * What can fail: the socket, end of stream, a command that pw_cmd_check() or the owner refuses. The
 * peer may cut the stream at any byte.
 */
#include <errno.h>
#include <string.h>

#include "common/compat_uring.h"
#include "common/fault.h"
#include "common/xprt_tcp_impl.h"

/* Messages that one completion may bring along: other connections have their turn, too. */
#define DIRECT_MAX 32u
/* A payload of which more than this is missing comes through the ring: it has to be waited for. */
#define DIRECT_BYTES (64u << 10)
/* After so many messages with payloads of so many bytes at most, the stage reads ahead. */
#define SMALL_RUN 2u
#define SMALL_BYTES 256u
#define AHEAD_BYTES 2048u

static_assert(AHEAD_BYTES <= sizeof(((struct pw_tcp_rx *)0)->stage), "it lands there");

/* Prepare ------------------------------------------------------------------------------------- */

static uint32_t payload_missing(const struct pw_tcp_rx *rx)
{
	return rx->cmd.payload_len - rx->dest_have;
}

static void add_piece(struct pw_tcp_rx *rx, void *base, uint32_t len)
{
	rx->iov[rx->msg.msg_iovlen++] = (struct iovec){ .iov_base = base, .iov_len = len };
	rx->asked += len;
}

/* What is missing of the payload. Return: false, there are more runs than pieces. */
static bool add_missing(struct pw_tcp_rx *rx)
{
	uint64_t n;

	if (!rx->runs) {
		add_piece(rx, rx->dest + rx->dest_have, payload_missing(rx));
		return true;
	}
	rx->msg.msg_iovlen = pw_runs_pick(rx->runs, rx->dest_have, payload_missing(rx), rx->iov,
					  PW_TCP_RX_RUNS, &n);
	rx->asked = (uint32_t)n;
	return n == payload_missing(rx);
}

static void begin(struct pw_tcp_rx *rx)
{
	rx->msg = (struct msghdr){ .msg_iov = rx->iov };
	rx->asked = 0;
	rx->guess = NULL;
}

static void prepare_command(struct pw_tcp *x)
{
	struct pw_tcp_rx *rx = &x->rx;
	uint32_t guess_len = 0;

	if (x->ops->guess_payload)
		rx->guess = x->ops->guess_payload(x->owner, &guess_len);
	if (!guess_len)
		rx->guess = NULL;
	rx->asked_stage = PW_CMD_BYTES - rx->stage_have;
	if (!guess_len && rx->small_run >= SMALL_RUN)
		rx->asked_stage = AHEAD_BYTES - rx->stage_have;
	add_piece(rx, rx->stage + rx->stage_have, rx->asked_stage);
	if (rx->guess)
		add_piece(rx, rx->guess, PW_MIN(guess_len, PW_TCP_GUESS_MAX));
}

/* Into the ring; @empty: the socket had no more, so the kernel need not look before it waits. */
static void post(struct pw_tcp *x, bool empty)
{
	struct pw_tcp_rx *rx = &x->rx;
	struct io_uring_sqe *sqe = pw_io_sqe(x->loop, &rx->io);
	const struct iovec *v = rx->iov;

	begin(rx);
	if (rx->dest) {
		add_missing(rx);
		if (rx->runs)
			io_uring_prep_recvmsg(sqe, x->fd, &rx->msg, MSG_WAITALL);
		else
			io_uring_prep_recv(sqe, x->fd, v->iov_base, v->iov_len, MSG_WAITALL);
	} else {
		prepare_command(x);
		if (rx->guess)
			io_uring_prep_recvmsg(sqe, x->fd, &rx->msg, 0);
		else
			io_uring_prep_recv(sqe, x->fd, v->iov_base, v->iov_len, 0);
	}
	if (empty)
		sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;
	pw_io_sqe_data(sqe, &rx->io);
}

void pw_tcp_rx_post(struct pw_tcp *x)
{
	post(x, false);
}

/* Take ---------------------------------------------------------------------------------------- */

static void deliver(struct pw_tcp *x, const struct pw_cmd *cmd, void *payload)
{
	x->stats.msgs_rx++;
	x->rx.small_run = cmd->payload_len > SMALL_BYTES ? 0 : x->rx.small_run + 1;
	x->ops->on_msg(x->owner, cmd, payload);
}

static void put(const struct pw_tcp_rx *rx, uint8_t *dest, const uint8_t *from, uint32_t n)
{
	if (pw_unlikely(rx->runs))
		pw_runs_fill(rx->runs, from, n);
	else if (n)
		memmove(dest, from, n);
}

/* Puts what there is of the payload of rx->cmd into @dest: @len bytes that a guess brought, or
 * bytes of the stage from @from on. Return: the stage's first byte that belongs to the next
 * message. */
static uint32_t place_payload(struct pw_tcp *x, uint8_t *dest, uint32_t len, uint32_t from)
{
	struct pw_tcp_rx *rx = &x->rx;
	uint32_t want = rx->cmd.payload_len;

	if (len) {
		uint32_t n = PW_MIN(len, want), rest = len - n;
		bool is_here = dest == rx->guess && !rx->runs;

		/* first the bytes of the next message: @dest may overlap the guess */
		memcpy(rx->stage, rx->guess + n, rest);
		if (!is_here)
			put(rx, dest, rx->guess, n);
		x->stats.copied_bytes += rest + (is_here ? 0 : n);
		rx->stage_have = rest;
		rx->dest_have = n;
		return 0;
	}
	rx->dest_have = PW_MIN(rx->stage_have - from, want);
	put(rx, dest, rx->stage + from, rx->dest_have);
	x->stats.copied_bytes += rx->dest_have;
	return from + rx->dest_have;
}

/* Takes one command from the stage at @pos; @len bytes after it are in the guess.
 * Return: where the stage goes on, or the same @pos when the connection is over. */
static uint32_t take_command(struct pw_tcp *x, uint32_t pos, uint32_t len)
{
	struct pw_tcp_rx *rx = &x->rx;
	uint8_t *dest = rx->guess;

	memcpy(&rx->cmd, rx->stage + pos, sizeof(rx->cmd));
	if (pw_cmd_check(&rx->cmd, !x->to_node)) {
		pw_tcp_failf(x, -EPROTO, "malformed message of type %u", rx->cmd.type);
		return pos;
	}
	rx->runs = NULL;
	if (rx->cmd.payload_len) {
		rx->runs = x->ops->on_runs ? x->ops->on_runs(x->owner, &rx->cmd) : NULL;
		dest = rx->runs ? rx->runs->v->iov_base :
				  x->ops->on_payload(x->owner, &rx->cmd);
		if (!dest) {
			pw_tcp_failf(x, -EPROTO, "unexpected payload in slot %u", rx->cmd.slot);
			return pos;
		}
	}
	pos = place_payload(x, dest, len, pos + PW_CMD_BYTES);
	if (rx->dest_have < rx->cmd.payload_len)
		rx->dest = dest;
	else
		deliver(x, &rx->cmd, rx->cmd.payload_len ? dest : NULL);
	return pos;
}

/* Takes the commands that the stage holds; @in_guess bytes after the first one are in the guess. */
static void take_stage(struct pw_tcp *x, uint32_t in_guess)
{
	struct pw_tcp_rx *rx = &x->rx;
	uint32_t pos = 0;

	while (rx->stage_have - pos >= PW_CMD_BYTES && !rx->dest) {
		pos = take_command(x, pos, in_guess);
		if (x->closing)
			return;
		in_guess = 0;
	}
	rx->stage_have -= pos;
	if (pos && rx->stage_have)
		memmove(rx->stage, rx->stage + pos, rx->stage_have);
}

/* @n bytes have come in, in the order of the pieces that were asked for. */
static void take_bytes(struct pw_tcp *x, uint32_t n)
{
	struct pw_tcp_rx *rx = &x->rx;
	uint32_t len;

	x->stats.bytes_rx += n;
	if (rx->dest) {
		void *dest = rx->dest;

		len = PW_MIN(n, payload_missing(rx));
		rx->dest_have += len;
		rx->stage_have = n - len;
		if (payload_missing(rx))
			return;
		rx->dest = NULL;
		deliver(x, &rx->cmd, dest);
		if (!x->closing && rx->stage_have)
			take_stage(x, 0);
		return;
	}
	len = PW_MIN(n, rx->asked_stage);
	rx->stage_have += len;
	take_stage(x, n - len);
}

/* The result of a receive. Return: false, the connection is over. */
static bool take_result(struct pw_tcp *x, int res)
{
	if (res > 0 && PW_FAULT("tcp.recv"))
		res = -ECONNRESET;
	if (res > 0)
		take_bytes(x, (uint32_t)res);
	else if (!res)
		pw_tcp_failf(x, -ECONNRESET, "closed by the peer");
	else if (res != -EAGAIN && res != -EINTR)
		pw_tcp_failf(x, res, "receive: %s", strerror(-res));
	return !x->closing;
}

/* Without waiting: a payload's rest together with the next command, or what the ring would be asked
 * for. Return: bytes, or -errno. */
static int receive_now(struct pw_tcp *x)
{
	struct pw_tcp_rx *rx = &x->rx;
	ssize_t n;

	begin(rx);
	if (rx->dest) {
		if (add_missing(rx))
			add_piece(rx, rx->stage, PW_CMD_BYTES);
	} else {
		prepare_command(x);
	}
	n = recvmsg(x->fd, &rx->msg, MSG_DONTWAIT);
	return n < 0 ? -errno : (int)n;
}

static void on_recv(struct pw_io *io, int res, uint32_t flags)
{
	struct pw_tcp *x = pw_container_of(io, struct pw_tcp, rx.io);
	struct pw_tcp_rx *rx = &x->rx;
	bool more = flags & IORING_CQE_F_SOCK_NONEMPTY;

	if (x->closing) {
		pw_tcp_settle(x);
		return;
	}
	if (!take_result(x, res))
		return;
	for (uint32_t n = 0; more && n < DIRECT_MAX; n++) {
		if (rx->dest && payload_missing(rx) > DIRECT_BYTES)
			break;
		res = receive_now(x);
		if (!take_result(x, res))
			return;
		more = res > 0 && (uint32_t)res == rx->asked;
	}
	post(x, !more);
}

int pw_tcp_rx_init(struct pw_tcp *x)
{
	return pw_io_init(x->loop, &x->rx.io, on_recv);
}
