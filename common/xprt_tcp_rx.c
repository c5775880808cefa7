/* SPDX-License-Identifier: Apache-2.0 */
/* xprt_tcp_rx.c -- the receiving half: a command, then its payload straight to where it belongs
 *
 *	between messages   RECV of what is missing of the command, into the stage; or, when the
 *	                   owner guesses where the next payload lands, RECVMSG into {stage, guess}
 *	in a payload       RECV of the rest (MSG_WAITALL) into the owner's buffer
 *
 * A wrong guess is mended by moving what had arrived there: to the right buffer, and what belongs
 * to later messages back to the stage, which can hold all that a guess can bring. Moved bytes are
 * counted.
 * What can fail: the socket, end of stream, a command that pw_cmd_check() or the owner refuses. The
 * peer may cut the stream at any byte.
 */
#include <errno.h>
#include <string.h>

#include "common/fault.h"
#include "common/xprt_tcp_impl.h"

static void post_payload(struct pw_xprt *x)
{
	struct pw_tcp_rx *rx = &x->rx;
	struct io_uring_sqe *sqe = pw_io_sqe(x->loop, &rx->io);

	io_uring_prep_recv(sqe, x->fd, rx->dest + rx->dest_have,
			   rx->cmd.payload_len - rx->dest_have, MSG_WAITALL);
	pw_io_sqe_data(sqe, &rx->io);
}

static void post_command(struct pw_xprt *x)
{
	struct pw_tcp_rx *rx = &x->rx;
	struct io_uring_sqe *sqe = pw_io_sqe(x->loop, &rx->io);
	uint8_t *into = rx->stage + rx->stage_have;
	uint32_t missing = PW_CMD_BYTES - rx->stage_have;
	uint32_t guess_len = 0;

	rx->guess = x->ops->guess_payload ? x->ops->guess_payload(x->owner, &guess_len) : NULL;
	if (rx->guess && guess_len) {
		rx->iov[0] = (struct iovec){ .iov_base = into, .iov_len = missing };
		rx->iov[1] = (struct iovec){ .iov_base = rx->guess,
					     .iov_len = PW_MIN(guess_len, PW_TCP_GUESS_MAX) };
		rx->msg = (struct msghdr){ .msg_iov = rx->iov, .msg_iovlen = 2 };
		io_uring_prep_recvmsg(sqe, x->fd, &rx->msg, 0);
	} else {
		io_uring_prep_recv(sqe, x->fd, into, missing, 0);
	}
	pw_io_sqe_data(sqe, &rx->io);
}

void pw_tcp_rx_post(struct pw_xprt *x)
{
	if (x->rx.dest)
		post_payload(x);
	else
		post_command(x);
}

static void deliver(struct pw_xprt *x, const struct pw_cmd *cmd, void *payload)
{
	x->stats.msgs_rx++;
	x->ops->on_msg(x->owner, cmd, payload);
}

/* Puts what there is of the payload of rx->cmd into @dest: @len bytes that a guess brought, or
 * bytes of the stage from @from on. Return: the stage's first byte that belongs to the next
 * message. */
static uint32_t place_payload(struct pw_xprt *x, uint8_t *dest, uint32_t len, uint32_t from)
{
	struct pw_tcp_rx *rx = &x->rx;
	uint32_t want = rx->cmd.payload_len;

	if (len) {
		uint32_t n = PW_MIN(len, want), rest = len - n;

		/* first the bytes of the next message: @dest may overlap the guess */
		memcpy(rx->stage, rx->guess + n, rest);
		if (dest != rx->guess && n)
			memmove(dest, rx->guess, n);
		x->stats.copied_bytes += rest + (dest == rx->guess ? 0 : n);
		rx->stage_have = rest;
		rx->dest_have = n;
		return 0;
	}
	rx->dest_have = PW_MIN(rx->stage_have - from, want);
	if (rx->dest_have)
		memcpy(dest, rx->stage + from, rx->dest_have);
	x->stats.copied_bytes += rx->dest_have;
	return from + rx->dest_have;
}

/* Takes one command from the stage at @pos; @len bytes after it are in the guess.
 * Return: where the stage goes on, or the same @pos when the connection is over. */
static uint32_t take_command(struct pw_xprt *x, uint32_t pos, uint32_t len)
{
	struct pw_tcp_rx *rx = &x->rx;
	uint8_t *dest = rx->guess;

	memcpy(&rx->cmd, rx->stage + pos, sizeof(rx->cmd));
	if (pw_cmd_check(&rx->cmd, !x->to_node)) {
		pw_tcp_failf(x, -EPROTO, "malformed message of type %u", rx->cmd.type);
		return pos;
	}
	if (rx->cmd.payload_len) {
		dest = x->ops->on_payload(x->owner, &rx->cmd);
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

/* @n bytes came in between messages: the first ones into the stage, the rest into the guess. */
static void on_command_bytes(struct pw_xprt *x, uint32_t n)
{
	struct pw_tcp_rx *rx = &x->rx;
	uint32_t in_stage = PW_MIN(n, PW_CMD_BYTES - rx->stage_have);
	uint32_t in_guess = n - in_stage, pos = 0;

	rx->stage_have += in_stage;
	while (rx->stage_have - pos >= PW_CMD_BYTES && !rx->dest) {
		pos = take_command(x, pos, in_guess);
		if (x->closing)
			return;
		in_guess = 0;
	}
	rx->stage_have -= pos;
	memmove(rx->stage, rx->stage + pos, rx->stage_have);
}

static void on_payload_bytes(struct pw_xprt *x, uint32_t n)
{
	struct pw_tcp_rx *rx = &x->rx;
	void *dest = rx->dest;

	rx->dest_have += n;
	if (rx->dest_have < rx->cmd.payload_len)
		return;
	rx->dest = NULL;
	deliver(x, &rx->cmd, dest);
}

static void on_recv(struct pw_io *io, int res, uint32_t flags)
{
	struct pw_xprt *x = pw_container_of(io, struct pw_xprt, rx.io);

	(void)flags;
	if (x->closing) {
		pw_tcp_settle(x);
		return;
	}
	if (res > 0 && PW_FAULT("tcp.recv"))
		res = -ECONNRESET;
	if (res <= 0 && res != -EINTR && res != -EAGAIN) {
		if (!res)
			pw_tcp_failf(x, -ECONNRESET, "closed by the peer");
		else
			pw_tcp_failf(x, res, "receive: %s", strerror(-res));
		return;
	}
	if (res > 0) {
		x->stats.bytes_rx += (uint32_t)res;
		if (x->rx.dest)
			on_payload_bytes(x, (uint32_t)res);
		else
			on_command_bytes(x, (uint32_t)res);
	}
	if (!x->closing)
		pw_tcp_rx_post(x);
}

int pw_tcp_rx_init(struct pw_xprt *x)
{
	return pw_io_init(x->loop, &x->rx.io, on_recv);
}
