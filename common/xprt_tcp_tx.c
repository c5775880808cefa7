/* SPDX-License-Identifier: Apache-2.0 */
/* xprt_tcp_tx.c -- the sending half: many messages in one SENDMSG, zero copy where it is one
 *
 * pw_tcp_send() queues; the flush at the end of the turn gathers what is queued into one SENDMSG.
 * One is with the kernel at a time, since TCP has an order; the kernel carries on with what did not
 * fit the socket buffer (MSG_WAITALL) and reports once. Payloads go from the borrowed buffers.
 *
 * Zero copy (SENDMSG_ZC) comes back twice: "sent", after which the next may follow, and the
 * notification, after which the memory is free and the messages are done. The kernel may copy after
 * all: always over loopback, and where the device cannot gather. Then zero copy is a loss, pinning
 * and notification for nothing. So the first large sends of a connection ask for a usage report,
 * and it decides; later reports can revise it. A kernel that refuses the request decides, too.
 *
 * A payload may lie in runs. One with more of them than a SENDMSG takes goes with several, without
 * zero copy: the notification of its first part must not be that of its last.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/compat_uring.h"
#include "common/fault.h"
#include "common/xprt_tcp_impl.h"

/* Payload per message from which zero copy is tried: below, pinning pages costs more than copying
 * them. */
#define ZC_MIN_BYTES (32u << 10)
#define ZC_PROBES 3u
#define ZC_WINDOW 64u /* reports per later judgement */

static uint64_t msg_bytes(const struct pw_send *s)
{
	return sizeof(s->cmd) + s->cmd.payload_len;
}

/* So many pieces, whole or not at all for zero copy. */
static uint32_t msg_pieces(const struct pw_send *s)
{
	return 1 + (s->runs ? s->runs->nr : s->cmd.payload_len != 0);
}

static void finish(struct pw_tcp *x, struct pw_send *s, int err)
{
	if (!err)
		x->stats.msgs_tx++;
	if (s->done)
		s->done(s, err);
}

static void finish_all(struct pw_tcp *x, struct pw_list *sends, int err)
{
	struct pw_list *node;

	while ((node = pw_list_pop(sends)))
		finish(x, pw_list_entry(node, struct pw_send, node), err);
}

/* Operations ---------------------------------------------------------------------------------- */

static void on_op(struct pw_io *io, int res, uint32_t flags);

static int op_init(struct pw_tcp *x, struct pw_tcp_op *op, bool zc)
{
	int err = pw_io_init(x->loop, &op->io, on_op);

	if (err)
		return err;
	op->x = x;
	op->zc = zc;
	op->msg.msg_iov = op->iov;
	pw_list_init(&op->sends);
	return 0;
}

static void ops_free(struct pw_tcp *x, struct pw_tcp_op *ops, uint32_t nr)
{
	for (uint32_t i = 0; i < nr; i++)
		pw_io_fini(x->loop, &ops[i].io);
	free(ops);
}

static struct pw_tcp_op *ops_new(struct pw_tcp *x, uint32_t nr)
{
	struct pw_tcp_op *ops = PW_FAULT("tcp.zc_ops") ? NULL : calloc(nr, sizeof(*ops));

	for (uint32_t i = 0; ops && i < nr; i++) {
		if (op_init(x, &ops[i], true)) {
			ops_free(x, ops, i);
			return NULL;
		}
	}
	return ops;
}

/* Zero copy or not --------------------------------------------------------------------------- */

static void zc_judge(struct pw_tcp_tx *tx)
{
	uint32_t enough = tx->zc == PW_TCP_ZC_PROBE ? ZC_PROBES : ZC_WINDOW;

	if (tx->zc == PW_TCP_ZC_OFF || tx->zc_told < enough)
		return;
	tx->zc = 2 * tx->zc_told_copied > tx->zc_told ? PW_TCP_ZC_OFF : PW_TCP_ZC_ON;
	tx->zc_told = tx->zc_told_copied = 0;
}

/* Made when the first large message comes: most connections of strangers never have one. */
static bool zc_have_ops(struct pw_tcp *x)
{
	struct pw_tcp_tx *tx = &x->tx;

	if (!tx->zc_op)
		tx->zc_op = ops_new(x, PW_TCP_ZC_OPS);
	if (!tx->zc_op)
		tx->zc = PW_TCP_ZC_OFF;
	return tx->zc_op;
}

/* A free zero-copy operation, if the first message of the queue is worth one. */
static struct pw_tcp_op *zc_pick(struct pw_tcp *x)
{
	struct pw_tcp_tx *tx = &x->tx;
	const struct pw_send *s = pw_list_first(&tx->queue, struct pw_send, node);

	if (tx->zc == PW_TCP_ZC_OFF || s->cmd.payload_len < ZC_MIN_BYTES ||
	    msg_pieces(s) > PW_TCP_IOVS)
		return NULL;
	if (tx->zc == PW_TCP_ZC_PROBE && tx->zc_asked >= ZC_PROBES)
		return NULL; /* the answers are not in yet */
	if (!zc_have_ops(x))
		return NULL;
	for (uint32_t i = 0; i < PW_TCP_ZC_OPS; i++)
		if (!tx->zc_op[i].io.pending)
			return &tx->zc_op[i];
	return NULL;
}

/* Send ---------------------------------------------------------------------------------------- */

static void add_piece(struct pw_tcp_op *op, const void *base, uint64_t len)
{
	struct iovec *v = &op->iov[op->msg.msg_iovlen++];

	v->iov_base = (void *)(uintptr_t)base;
	v->iov_len = len;
	op->bytes += len;
}

/* Bytes of the payload of @s from @skip on. Return: false, they are not all of it. */
static bool add_payload(struct pw_tcp_op *op, const struct pw_send *s, uint64_t skip)
{
	uint64_t left = s->cmd.payload_len - skip, n;

	if (!s->runs) {
		add_piece(op, (const uint8_t *)s->payload + skip, left);
		return true;
	}
	op->msg.msg_iovlen += pw_runs_pick(s->runs, skip, left, op->iov + op->msg.msg_iovlen,
					   PW_TCP_IOVS - (uint32_t)op->msg.msg_iovlen, &n);
	op->bytes += n;
	return n == left;
}

/* Fills @op from the head of the queue; for zero copy only with messages that are worth it. */
static void gather(struct pw_tcp_tx *tx, struct pw_tcp_op *op)
{
	uint64_t skip = tx->head_off;
	struct pw_list *pos;

	op->bytes = 0;
	op->msg.msg_iovlen = 0;
	pw_list_for_each(pos, &tx->queue) {
		const struct pw_send *s = pw_list_entry(pos, struct pw_send, node);

		if (op->msg.msg_iovlen + 2 > PW_TCP_IOVS || op->bytes >= PW_TCP_BATCH_BYTES)
			break;
		if (op->zc && (s->cmd.payload_len < ZC_MIN_BYTES ||
			       op->msg.msg_iovlen + msg_pieces(s) > PW_TCP_IOVS))
			break;
		if (skip < sizeof(s->cmd)) {
			add_piece(op, (const uint8_t *)&s->cmd + skip, sizeof(s->cmd) - skip);
			skip = sizeof(s->cmd);
		}
		skip -= sizeof(s->cmd);
		if (s->cmd.payload_len && !add_payload(op, s, skip))
			break;
		skip = 0;
	}
}

static void submit(struct pw_tcp *x, struct pw_tcp_op *op)
{
	struct io_uring_sqe *sqe = pw_io_sqe(x->loop, &op->io);
	const unsigned int flags = MSG_NOSIGNAL | MSG_WAITALL;

	if (op->zc) {
		io_uring_prep_sendmsg_zc(sqe, x->fd, &op->msg, flags);
		sqe->ioprio |= IORING_SEND_ZC_REPORT_USAGE;
		x->tx.zc_asked++;
		x->stats.zc_sends++;
	} else {
		io_uring_prep_sendmsg(sqe, x->fd, &op->msg, flags);
	}
	pw_io_sqe_data(sqe, &op->io);
	x->tx.busy = op;
}

static void on_flush(struct pw_flush *f)
{
	struct pw_tcp *x = pw_container_of(f, struct pw_tcp, tx.flush);
	struct pw_tcp_tx *tx = &x->tx;
	struct pw_tcp_op *op;

	if (x->closing || tx->busy || pw_list_empty(&tx->queue) || x->fd < 0)
		return;
	op = zc_pick(x);
	if (!op)
		op = &tx->plain;
	gather(tx, op);
	submit(x, op);
}

void pw_tcp_send(struct pw_xprt *base, struct pw_send *s)
{
	struct pw_tcp *x = pw_tcp_of(base);

	pw_list_add_tail(&x->tx.queue, &s->node);
	if (!x->tx.busy)
		pw_loop_on_flush(x->loop, &x->tx.flush);
	/* in closing, the last step gives it back */
}

/* Sent ---------------------------------------------------------------------------------------- */

/* @n more bytes are with the kernel: messages that are complete move to @done. */
static void advance(struct pw_tcp *x, uint64_t n, struct pw_list *done)
{
	struct pw_tcp_tx *tx = &x->tx;

	x->stats.bytes_tx += n;
	n += tx->head_off;
	while (!pw_list_empty(&tx->queue)) {
		struct pw_send *s = pw_list_first(&tx->queue, struct pw_send, node);

		if (n < msg_bytes(s))
			break;
		n -= msg_bytes(s);
		pw_list_del(&s->node);
		pw_list_add_tail(done, &s->node);
	}
	tx->head_off = n;
}

/* The kernel does not want to send like this; what it may want is a plain send. */
static bool is_zc_refusal(int res)
{
	return res == -EINVAL || res == -EOPNOTSUPP || res == -ENOMEM || res == -ENOBUFS ||
	       res == -EPERM;
}

static void on_sent(struct pw_tcp *x, struct pw_tcp_op *op, int res)
{
	struct pw_tcp_tx *tx = &x->tx;

	if (res > 0)
		advance(x, (uint64_t)res, &op->sends);
	if (x->closing)
		return;
	if (res > 0) {
		/* Sent short: the rest of a message must not share the notification of its first
		 * part. UNTESTED: with MSG_WAITALL the kernel does it when interrupted only. */
		op->wait = op->zc && (uint64_t)res < op->bytes && op->io.pending;
	} else if (op->zc && is_zc_refusal(res)) {
		tx->zc = PW_TCP_ZC_OFF;
	} else if (res != -EINTR && res != -EAGAIN) {
		pw_tcp_failf(x, res ? res : -EPIPE, "send: %s", strerror(res ? -res : EPIPE));
		return;
	}
	if (op->wait)
		return;
	tx->busy = NULL;
	if (!pw_list_empty(&tx->queue))
		pw_loop_on_flush(x->loop, &tx->flush);
}

static void on_notification(struct pw_tcp *x, struct pw_tcp_op *op, int res)
{
	struct pw_tcp_tx *tx = &x->tx;

	tx->zc_told++;
	if ((uint32_t)res & IORING_NOTIF_USAGE_ZC_COPIED) {
		tx->zc_told_copied++;
		x->stats.zc_copied++;
	}
	zc_judge(tx);
	if (op->wait) {
		op->wait = false;
		tx->busy = NULL;
	}
	/* also when every operation was waiting */
	if (!x->closing && !tx->busy && !pw_list_empty(&tx->queue))
		pw_loop_on_flush(x->loop, &tx->flush);
}

static void on_op(struct pw_io *io, int res, uint32_t flags)
{
	struct pw_tcp_op *op = pw_container_of(io, struct pw_tcp_op, io);
	struct pw_tcp *x = op->x;

	if (flags & IORING_CQE_F_NOTIF) {
		on_notification(x, op, res);
	} else {
		int fault = res > 0 ? PW_FAULT_ERR("tcp.send", -ECONNRESET) : 0;

		on_sent(x, op, fault ? fault : res);
	}
	if (x->closing && x->tx.busy == op)
		x->tx.busy = NULL;
	if (!io->pending)
		finish_all(x, &op->sends, x->closing ? x->err : 0);
	pw_tcp_settle(x);
}

/* Life ---------------------------------------------------------------------------------------- */

int pw_tcp_tx_init(struct pw_tcp *x)
{
	pw_list_init(&x->tx.queue);
	pw_flush_init(&x->tx.flush, on_flush);
	x->tx.zc = PW_TCP_ZC_PROBE;
	return op_init(x, &x->tx.plain, false);
}

void pw_tcp_tx_fini(struct pw_tcp *x)
{
	pw_io_fini(x->loop, &x->tx.plain.io);
	if (x->tx.zc_op)
		ops_free(x, x->tx.zc_op, PW_TCP_ZC_OPS);
}

bool pw_tcp_tx_idle(const struct pw_tcp *x)
{
	return !x->tx.busy || x->tx.busy->wait;
}

bool pw_tcp_tx_drained(const struct pw_tcp *x)
{
	if (x->tx.plain.io.pending)
		return false;
	for (uint32_t i = 0; x->tx.zc_op && i < PW_TCP_ZC_OPS; i++)
		if (x->tx.zc_op[i].io.pending)
			return false;
	return true;
}

void pw_tcp_tx_cancel(struct pw_tcp *x)
{
	if (!pw_tcp_tx_idle(x))
		pw_io_cancel(x->loop, &x->tx.busy->io);
}

void pw_tcp_tx_fail_queue(struct pw_tcp *x)
{
	finish_all(x, &x->tx.queue, x->err);
}
