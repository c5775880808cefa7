/* SPDX-License-Identifier: Apache-2.0 */
/* xprt_rdma_right.c -- memory that the peer may reach: opened for a slot or for one answer, and
 * ended before the memory is anybody else's
 *
 * On a device with windows a right is a type 2 window, bound and ended by work requests on this
 * connection's queue; nobody but this connection's peer can use it. On one without it is a
 * registration in this connection's own domain, made and ended by calls that wait for the device.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "common/fault.h"
#include "common/xprt_rdma_impl.h"

static int register_now(struct pw_rdma *x, struct pw_rdma_right *r, const void *p, uint32_t len,
			int access)
{
	int err = PW_FAULT_ERR("rdma.right", -ENOMEM);

	if (access & IBV_ACCESS_REMOTE_WRITE)
		access |= IBV_ACCESS_LOCAL_WRITE;
	if (!err)
		r->mr = x->v->reg_mr(x->pd->pd, (void *)(uintptr_t)p, len, access);
	if (!r->mr)
		return err ? err : pw_verbs_err();
	return 0;
}

static int bind_window(struct pw_rdma *x, struct pw_rdma_right *r, const void *p, uint32_t len,
		       int access)
{
	struct ibv_mr *mr = pw_rdma_pd_find(x->pd, p, len);
	struct ibv_send_wr *wr;
	int err;

	if (!mr) {
		err = register_now(x, r, p, len, IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_MW_BIND);
		if (err)
			return err;
		mr = r->mr;
	}
	if (!r->mw) {
		err = PW_FAULT_ERR("rdma.window", -ENOMEM);
		r->mw = err ? NULL : ibv_alloc_mw(x->pd->pd, IBV_MW_TYPE_2);
		if (!r->mw)
			return err ? err : pw_verbs_err();
		r->rkey = r->mw->rkey;
	}
	r->rkey = ibv_inc_rkey(r->rkey);
	wr = pw_rdma_wr(x);
	wr->opcode = IBV_WR_BIND_MW;
	wr->bind_mw.mw = r->mw;
	wr->bind_mw.rkey = r->rkey;
	wr->bind_mw.bind_info = (struct ibv_mw_bind_info){
		.mr = mr,
		.addr = (uintptr_t)p,
		.length = len,
		.mw_access_flags = (unsigned int)access,
	};
	return 0;
}

int pw_rdma_right_open(struct pw_rdma *x, struct pw_rdma_right *r, const void *p, uint32_t len,
		       int access)
{
	int err;

	if (x->pd->dev->windows) {
		err = bind_window(x, r, p, len, access);
	} else {
		err = register_now(x, r, p, len, access);
		if (!err)
			r->rkey = r->mr->rkey;
	}
	if (err)
		return err;
	r->base = (uint8_t *)(uintptr_t)p;
	r->len = len;
	r->open = true;
	return 0;
}

void pw_rdma_right_end(struct pw_rdma *x, struct pw_rdma_right *r)
{
	if (r->mr)
		x->v->dereg_mr(r->mr);
	r->mr = NULL;
	r->open = false;
}

bool pw_rdma_right_close(struct pw_rdma *x, struct pw_rdma_right *r)
{
	struct ibv_send_wr *wr;

	if (!r->open || !r->mw) {
		pw_rdma_right_end(x, r);
		return false;
	}
	wr = pw_rdma_wr(x);
	wr->opcode = IBV_WR_LOCAL_INV;
	wr->invalidate_rkey = r->rkey;
	return true;
}

void pw_rdma_right_forget(struct pw_rdma_right *r)
{
	if (r->mw)
		ibv_dealloc_mw(r->mw);
	r->mw = NULL;
}

/* Slots --------------------------------------------------------------------------------------- */

void pw_rdma_revoked(struct pw_rdma *x, struct pw_rdma_slot *s)
{
	struct pw_revoke *r = s->revoke;

	s->revoke = NULL;
	if (r)
		r->done(r);
	if (s->want && !x->closing && pw_list_empty(&s->grant_node)) {
		pw_list_add_tail(&x->tx.grants, &s->grant_node);
		pw_rdma_kick(x);
	}
}

static void grant_closed(struct pw_rdma *x, struct pw_rdma_job *j, int err)
{
	struct pw_rdma_slot *s = pw_container_of(j, struct pw_rdma_slot, grant_job);

	/* the window is bound still: the end of the queue pair goes on with it */
	if (err)
		return;
	pw_rdma_right_end(x, &s->grant);
	pw_rdma_revoked(x, s);
}

void pw_rdma_bind_grant(struct pw_rdma *x, struct pw_rdma_slot *s)
{
	int err = 0;

	pw_list_del(&s->grant_node);
	if (s->revoke) {
		pw_rdma_close_right(x, &s->grant_job, &s->grant, grant_closed);
		return;
	}
	/* memory of no area would need a registration that outlives its window */
	if (x->pd->dev->windows && !pw_rdma_pd_find(x->pd, s->want, s->want_len))
		err = -EINVAL;
	if (!err) {
		pw_rdma_right_close(x, &s->grant);
		err = pw_rdma_right_open(x, &s->grant, s->want, s->want_len,
					 IBV_ACCESS_REMOTE_WRITE);
	}
	if (err)
		pw_rdma_failf(x, err, "memory of slot %u not granted: %s", s->idx, strerror(-err));
	else
		pw_list_add_tail(&x->tx.tell, &s->grant_node);
}

void pw_rdma_grant(struct pw_xprt *base, uint16_t slot, void *buf, uint32_t len)
{
	struct pw_rdma *x = pw_rdma_of(base);
	struct pw_rdma_slot *s;

	if (x->closing || slot >= x->nr_slots)
		return;
	s = &x->slots[slot];
	if (s->want == buf && s->want_len == len)
		return;
	s->want = buf;
	s->want_len = len;
	/* pw_rdma_revoked() goes on with it */
	if (s->revoke)
		return;
	/* whether it is to be bound, or was bound and is to be told: once more, from the start */
	pw_list_del(&s->grant_node);
	pw_list_add_tail(&x->tx.grants, &s->grant_node);
	pw_rdma_kick(x);
}

bool pw_rdma_revoke(struct pw_xprt *base, uint16_t slot, struct pw_revoke *r)
{
	struct pw_rdma *x = pw_rdma_of(base);
	struct pw_rdma_slot *s;

	if (slot >= x->nr_slots)
		return false;
	s = &x->slots[slot];
	pw_list_del(&s->grant_node);
	s->want = NULL;
	s->want_len = 0;
	if (!s->grant.open)
		return false;
	assert(!s->revoke);
	s->revoke = r;
	/* in closing, the end of the queue pair is the proof */
	if (!x->closing)
		pw_list_add_tail(&x->tx.grants, &s->grant_node);
	pw_rdma_kick(x);
	return true;
}
