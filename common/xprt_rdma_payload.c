/* SPDX-License-Identifier: Apache-2.0 */
/* xprt_rdma_payload.c -- how a payload travels: behind its command, by RDMA WRITE to where the peer
 * has allowed it, or by RDMA READ
 *
 * A device sends no more than its port's max_msg_sz with one request (soft-RoCE: 8 MiB): longer
 * payloads go in pieces, in one chain.
 *
 * A payload in runs, which only a client has: a request's is gathered by the WRITE, as many runs at
 * once as the device takes. An answer has no such way: a window is one range of addresses, and a
 * window for each run would be a bind, an invalidation and a key on the wire for each. So its
 * request opens no window, and the node offers the answer to be read: one READ scatters to as many
 * runs as the device takes. That is one more round trip, and no copy: against the copy of a
 * payload of more than PW_RDMA_INLINE_MAX bytes it loses only where a round trip takes longer than
 * the copy, and there the processor has better things to do. Shorter answers come behind their
 * command, and are copied from there; but one for memory of an application that lies in one piece
 * (answer_direct) gets a window all the same, because no copy is what that memory is for.
 *
 * What can fail: a registration for a payload that lies in no announced memory.
 */
#include <errno.h>
#include <string.h>

#include "common/fault.h"
#include "common/xprt_rdma_impl.h"

/* Shorter payloads are copied behind the command rather than gathered by the device. */
#define COPY_MAX 256u

static_assert(PW_RUNS_SHORT >= PW_RDMA_INLINE_MAX, "longer ones are not copied here");

/* What the next request moves of the @len bytes at @at: @v has room for as many pieces as one may
 * have. */
static uint32_t next_pieces(const struct pw_rdma *x, const struct pw_runs *runs, uint32_t at,
			    uint32_t len, bool in, struct iovec *v, uint32_t *ret_bytes)
{
	uint32_t max = in ? x->limits.read_sge : x->limits.send_sge;
	uint64_t n;
	uint32_t nr = pw_runs_pick(runs, at, PW_MIN(len, x->limits.max_msg), v, max, &n);

	*ret_bytes = (uint32_t)n;
	return nr;
}

uint32_t pw_rdma_pieces(const struct pw_rdma *x, const struct pw_runs *runs, uint32_t len, bool in)
{
	uint32_t nr = 0, n;

	if (len <= PW_RDMA_INLINE_MAX && !in)
		return 0;
	if (!runs)
		return (len - 1) / x->limits.max_msg + 1;
	for (uint32_t at = 0; at < len; at += n) {
		if (!next_pieces(x, runs, at, len - at, in, NULL, &n))
			return UINT32_MAX; /* they are not @len bytes */
		nr++;
	}
	return nr;
}

bool pw_rdma_is_inline(const struct pw_rdma *x, const struct pw_rdma_slot *sl,
		       const struct pw_send *s)
{
	uint32_t n = s->cmd.payload_len;

	if (!n || n > PW_RDMA_INLINE_MAX)
		return !n;
	/* a window that is no longer than this is for a short answer */
	return !x->node || !sl || !sl->window.open || sl->window.len > PW_RDMA_INLINE_MAX ||
	       n > sl->window.len || !pw_rdma_pd_find(x->pd, s->payload, n);
}

enum pw_gather pw_rdma_gathers(const struct pw_xprt *base, const struct pw_runs *runs, bool in)
{
	const struct pw_rdma *x = pw_rdma_of(base);
	uint64_t len = 0;

	for (uint32_t i = 0; i < runs->nr; i++) {
		if (!pw_rdma_pd_find(x->pd, runs->v[i].iov_base, runs->v[i].iov_len))
			return PW_GATHER_UNREGISTERED;
		len += runs->v[i].iov_len;
	}
	/* short ones go with their command, and this side may have to copy them */
	if (runs->foreign && !in && len <= PW_RUNS_SHORT)
		return PW_GATHER_NEVER;
	if (len > PW_MAX_IO ||
	    pw_rdma_pieces(x, runs, (uint32_t)len, in) > x->limits.sq - PW_RDMA_ROOM)
		return PW_GATHER_TOO_MANY;
	return PW_GATHER_OK;
}

/* A WRITE to the peer's memory, or for the answer in @reading a READ from there. */
static struct ibv_send_wr *rdma_wr(struct pw_rdma *x, struct pw_rdma_slot *reading,
				   uint64_t remote, uint32_t rkey)
{
	struct ibv_send_wr *wr = pw_rdma_wr(x);

	wr->opcode = reading ? IBV_WR_RDMA_READ : IBV_WR_RDMA_WRITE;
	wr->wr.rdma.remote_addr = remote;
	wr->wr.rdma.rkey = rkey;
	if (reading) {
		wr->send_flags = IBV_SEND_SIGNALED;
		wr->wr_id |= PW_RDMA_READ_BIT |
			     (uint64_t)reading->idx << PW_RDMA_READ_SLOT_SHIFT;
		reading->nr_reads++;
	}
	return wr;
}

/* @len bytes of @runs: every piece with the key of its own registration. */
static int put_runs(struct pw_rdma *x, const struct pw_runs *runs, uint32_t len,
		    struct pw_rdma_slot *reading, uint64_t remote, uint32_t rkey)
{
	struct iovec v[PW_RDMA_SGE_MAX];

	for (uint32_t at = 0, n; at < len; at += n) {
		uint32_t nr = next_pieces(x, runs, at, len - at, reading, v, &n);
		struct ibv_send_wr *wr;

		if (!nr)
			return -EFAULT;
		wr = rdma_wr(x, reading, remote + at, rkey);
		for (uint32_t i = 0; i < nr; i++) {
			struct ibv_mr *mr = pw_rdma_pd_find(x->pd, v[i].iov_base, v[i].iov_len);

			if (!mr)
				return -EFAULT;
			pw_rdma_add_sge(wr, v[i].iov_base, (uint32_t)v[i].iov_len, mr->lkey);
		}
	}
	return 0;
}

/* The key for a payload; registers it for this message if it lies in no area. */
static int payload_key(struct pw_rdma *x, struct pw_rdma_out *out, const struct pw_send *s,
		       uint32_t *ret)
{
	struct ibv_mr *mr = pw_rdma_pd_find(x->pd, s->payload, s->cmd.payload_len);
	int err = PW_FAULT_ERR("rdma.payload", -ENOMEM);

	if (!mr) {
		if (!err)
			out->mr = x->v->reg_mr(x->pd->pd, (void *)(uintptr_t)s->payload,
					       s->cmd.payload_len, 0);
		if (!out->mr)
			return err ? err : pw_verbs_err();
		mr = out->mr;
	}
	*ret = mr->lkey;
	return 0;
}

static int put_write(struct pw_rdma *x, struct pw_rdma_out *out, const struct pw_send *s,
		     uint64_t to, uint32_t rkey)
{
	const uint8_t *from = s->payload;
	uint32_t lkey = 0;
	int err;

	if (s->runs)
		return put_runs(x, s->runs, s->cmd.payload_len, NULL, to, rkey);
	err = payload_key(x, out, s, &lkey);
	if (err)
		return err;
	for (uint32_t at = 0, n; at < s->cmd.payload_len; at += n) {
		n = PW_MIN(s->cmd.payload_len - at, x->limits.max_msg);
		pw_rdma_add_sge(rdma_wr(x, NULL, to + at, rkey), from + at, n, lkey);
	}
	return 0;
}

/* Return: false, it has more pieces than fit beside the message, or one that is not registered. */
static bool gather_inline(const struct pw_rdma *x, const struct pw_send *s,
			  struct pw_rdma_more *more)
{
	struct iovec v[PW_RDMA_SGE_MAX] = { { (void *)(uintptr_t)s->payload, s->cmd.payload_len } };
	uint64_t n = s->cmd.payload_len;
	uint32_t nr = x->limits.send_sge > 1;

	if (s->runs)
		nr = pw_runs_pick(s->runs, 0, n, v, x->limits.send_sge - 1, &n);
	if (!nr || n < s->cmd.payload_len)
		return false;
	for (uint32_t i = 0; i < nr; i++) {
		struct ibv_mr *mr = pw_rdma_pd_find(x->pd, v[i].iov_base, v[i].iov_len);

		if (!mr)
			return false;
		more->sge[i] = (struct ibv_sge){
			.addr = (uintptr_t)v[i].iov_base,
			.length = (uint32_t)v[i].iov_len,
			.lkey = mr->lkey,
		};
	}
	more->nr = nr;
	more->bytes = s->cmd.payload_len;
	return true;
}

/* Behind the command: copied if it is short or not registered, else gathered. */
void pw_rdma_put_inline(struct pw_rdma *x, const struct pw_send *s, uint8_t *to, uint32_t *len,
			struct pw_rdma_more *more)
{
	uint32_t n = s->cmd.payload_len;

	if (!n || (n > COPY_MAX && gather_inline(x, s, more)))
		return;
	if (s->runs)
		pw_runs_read(s->runs, to, n);
	else
		memcpy(to, s->payload, n);
	*len += n;
	x->stats.copied_bytes += n;
}

/* A bind and an invalidation cost more than the copy of what is short. */
static bool wants_window(const struct pw_rdma *x, const struct pw_send *s)
{
	if (s->answer_max > PW_RDMA_INLINE_MAX)
		return true;
	return s->answer_direct && s->answer_max > COPY_MAX &&
	       pw_rdma_pd_find(x->pd, s->answer, s->answer_max);
}

/* The client's request: its payload to the slot, a window for its answer. */
static int place_request(struct pw_rdma *x, struct pw_rdma_slot *sl, struct pw_rdma_out *out,
			 struct pw_send *s)
{
	struct pw_rdma_head *h = pw_rdma_head_of(out);
	int err;

	sl->window.base = NULL;
	if (s->cmd.payload_len > PW_RDMA_INLINE_MAX) {
		err = put_write(x, out, s, sl->remote_addr + pw_cmd_head(&s->cmd), sl->grant.rkey);
		if (err)
			return err;
		h->flags |= PW_RDMA_PLACED;
	}
	if (!x->pd->dev->windows || !s->answer || !wants_window(x, s))
		return 0;
	err = pw_rdma_right_open(x, &sl->window, s->answer, s->answer_max,
				 IBV_ACCESS_REMOTE_WRITE);
	if (err)
		return err;
	h->flags |= PW_RDMA_WINDOW;
	h->addr = (uintptr_t)s->answer;
	h->rkey = sl->window.rkey;
	h->len = s->answer_max;
	return 0;
}

/* The node's answer: its payload to the client's window, or offered to be read. */
static int place_answer(struct pw_rdma *x, struct pw_rdma_slot *sl, struct pw_rdma_out *out,
			struct pw_send *s, uint32_t *inv)
{
	struct pw_rdma_head *h = pw_rdma_head_of(out);
	uint32_t n = s->cmd.payload_len;
	int err = 0;

	if (sl->window.open && n <= sl->window.len && !pw_rdma_is_inline(x, sl, s)) {
		err = put_write(x, out, s, sl->window_addr, sl->window.rkey);
		h->flags |= PW_RDMA_PLACED;
	} else if (n > PW_RDMA_INLINE_MAX) {
		err = pw_rdma_right_open(x, &sl->pull, s->payload, n, IBV_ACCESS_REMOTE_READ);
		h->flags |= PW_RDMA_PULL;
		h->addr = (uintptr_t)s->payload;
		h->rkey = sl->pull.rkey;
		h->len = n;
		sl->pulled = s;
		out->s = NULL;
	}
	if (sl->window.open && x->pd->dev->send_inv)
		*inv = sl->window.rkey;
	sl->window.open = false;
	return err;
}

int pw_rdma_place(struct pw_rdma *x, struct pw_rdma_slot *sl, struct pw_rdma_out *out,
		  struct pw_send *s, uint32_t *inv)
{
	return x->node ? place_answer(x, sl, out, s, inv) : place_request(x, sl, out, s);
}

bool pw_rdma_is_placeable(const struct pw_rdma *x, const struct pw_rdma_slot *sl,
			  const struct pw_send *s)
{
	uint32_t n = s->cmd.payload_len;

	if (n <= PW_RDMA_INLINE_MAX)
		return true;
	if (x->node)
		return !sl->pulled && !sl->pull.open && sl->todo == PW_RDMA_TODO_NONE;
	return sl->grant.open && pw_cmd_head(&s->cmd) + n <= sl->grant.len;
}

static int put_read_whole(struct pw_rdma *x, struct pw_rdma_slot *sl)
{
	const struct pw_rdma_head *h = sl->held->view.head;
	struct ibv_mr *mr = pw_rdma_pd_find(x->pd, sl->held->dest, h->len);

	if (!mr)
		mr = sl->pull.mr = x->v->reg_mr(x->pd->pd, sl->held->dest, h->len,
						IBV_ACCESS_LOCAL_WRITE);
	if (!mr)
		return pw_verbs_err();
	for (uint32_t at = 0, n; at < h->len; at += n) {
		n = PW_MIN(h->len - at, x->limits.max_msg);
		pw_rdma_add_sge(rdma_wr(x, sl, h->addr + at, h->rkey),
				(uint8_t *)sl->held->dest + at, n, mr->lkey);
	}
	return 0;
}

int pw_rdma_put_read(struct pw_rdma *x, struct pw_rdma_slot *sl)
{
	const struct pw_rdma_head *h = sl->held->view.head;
	int err = PW_FAULT_ERR("rdma.read", -ENOMEM);

	sl->nr_reads = 0;
	sl->job.done = pw_rdma_read_done;
	if (!err && sl->held->runs)
		err = put_runs(x, sl->held->runs, h->len, sl, h->addr, h->rkey);
	else if (!err)
		err = put_read_whole(x, sl);
	if (err)
		return err;
	sl->job.last_wr = x->tx.posted + x->tx.nr_wr;
	pw_list_add_tail(&x->tx.reading, &sl->job.node);
	return 0;
}
