/* SPDX-License-Identifier: Apache-2.0 */
/* xprt_rdma_payload.c -- how a payload travels: behind its command, by RDMA WRITE to where the peer
 * has allowed it, or by RDMA READ
 *
 * A device sends no more than its port's max_msg_sz with one request (soft-RoCE: 8 MiB): longer
 * payloads go in pieces, in one chain.
 *
 * What can fail: a registration for a payload that lies in no announced memory.
 */
#include <errno.h>
#include <string.h>

#include "common/fault.h"
#include "common/xprt_rdma_impl.h"

/* Shorter payloads are copied behind the command rather than gathered by the device. */
#define COPY_MAX 256u

uint32_t pw_rdma_pieces(const struct pw_rdma *x, uint32_t len)
{
	return len <= PW_RDMA_INLINE_MAX ? 0 : (len - 1) / x->limits.max_msg + 1;
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
	int err = payload_key(x, out, s, &lkey);

	if (err)
		return err;
	for (uint32_t at = 0, n; at < s->cmd.payload_len; at += n) {
		struct ibv_send_wr *wr = pw_rdma_wr(x);

		n = PW_MIN(s->cmd.payload_len - at, x->limits.max_msg);
		wr->opcode = IBV_WR_RDMA_WRITE;
		wr->wr.rdma.remote_addr = to + at;
		wr->wr.rdma.rkey = rkey;
		pw_rdma_add_sge(wr, from + at, n, lkey);
	}
	return 0;
}

/* Behind the command: copied if it is short or not registered, else gathered. */
void pw_rdma_put_inline(struct pw_rdma *x, const struct pw_send *s, uint8_t *to, uint32_t *len,
			struct ibv_sge *more)
{
	uint32_t n = s->cmd.payload_len;
	struct ibv_mr *mr;

	if (!n)
		return;
	mr = n > COPY_MAX && x->limits.send_sge > 1 ? pw_rdma_pd_find(x->pd, s->payload, n) : NULL;
	if (mr) {
		*more = (struct ibv_sge){
			.addr = (uintptr_t)s->payload,
			.length = n,
			.lkey = mr->lkey,
		};
		return;
	}
	memcpy(to, s->payload, n);
	*len += n;
	x->stats.copied_bytes += n;
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
	if (!x->pd->dev->windows || !s->answer || s->answer_max <= PW_RDMA_INLINE_MAX)
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

	if (n > PW_RDMA_INLINE_MAX && sl->window.open && n <= sl->window.len) {
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

int pw_rdma_put_read(struct pw_rdma *x, struct pw_rdma_slot *sl)
{
	const struct pw_rdma_head *h = sl->held->view.head;
	struct ibv_mr *mr = pw_rdma_pd_find(x->pd, sl->held->dest, h->len);
	int err = PW_FAULT_ERR("rdma.read", -ENOMEM);

	if (!mr && !err)
		mr = sl->pull.mr = x->v->reg_mr(x->pd->pd, sl->held->dest, h->len,
						IBV_ACCESS_LOCAL_WRITE);
	if (!mr)
		return err ? err : pw_verbs_err();
	sl->nr_reads = 0;
	for (uint32_t at = 0, n; at < h->len; at += n) {
		struct ibv_send_wr *wr = pw_rdma_wr(x);

		n = PW_MIN(h->len - at, x->limits.max_msg);
		wr->opcode = IBV_WR_RDMA_READ;
		wr->send_flags = IBV_SEND_SIGNALED;
		wr->wr_id |= PW_RDMA_READ_BIT | (uint64_t)sl->idx << PW_RDMA_READ_SLOT_SHIFT;
		wr->wr.rdma.remote_addr = h->addr + at;
		wr->wr.rdma.rkey = h->rkey;
		pw_rdma_add_sge(wr, (uint8_t *)sl->held->dest + at, n, mr->lkey);
		sl->nr_reads++;
	}
	sl->job.done = pw_rdma_read_done;
	sl->job.last_wr = x->tx.posted + x->tx.nr_wr;
	pw_list_add_tail(&x->tx.reading, &sl->job.node);
	return 0;
}
