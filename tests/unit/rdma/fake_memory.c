/* SPDX-License-Identifier: Apache-2.0 */
/* fake_memory.c -- protection domains, regions, windows of type 2: who may touch what */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "common/fault.h"
#include "fake_impl.h"

#define REMOTE                                                             \
	((unsigned int)(IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ | \
			IBV_ACCESS_REMOTE_ATOMIC))

static struct fake_pd *pd_of(struct ibv_pd *pd)
{
	return pw_container_of(pd, struct fake_pd, ib);
}

static bool within(uint64_t addr, uint64_t len, uint64_t base, uint64_t size)
{
	return addr >= base && len <= size && addr - base <= size - len;
}

static bool overlaps(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
	return a_len && b_len && a < b + b_len && b < a + a_len;
}

/* Index in the upper 24 bits, never used again; a random lower byte. */
static uint32_t new_key(void)
{
	return fake.next_key++ << 8 | fake_below(256);
}

/* Protection domains ------------------------------------------------------------------------- */

struct ibv_pd *fake_alloc_pd(struct ibv_context *context)
{
	int err = PW_FAULT_ERR("fake.alloc_pd", -ENOMEM);
	struct fake_pd *pd;

	if (err || fake.count[FAKE_PD] >= fake_opts.max_pd) {
		errno = err ? -err : ENOMEM;
		return NULL;
	}
	pd = calloc(1, sizeof(*pd));
	if (!pd)
		return NULL;
	pd->ib.context = context;
	fake.count[FAKE_PD]++;
	return &pd->ib;
}

int fake_dealloc_pd(struct ibv_pd *ib)
{
	struct fake_pd *pd = pd_of(ib);

	if (pd->users) {
		fake_violation("a protection domain is freed that %u objects use", pd->users);
		return EBUSY;
	}
	fake.count[FAKE_PD]--;
	free(pd);
	return 0;
}

/* Regions ------------------------------------------------------------------------------------ */

struct ibv_mr *fake_reg_mr(struct ibv_pd *pd, void *addr, size_t length, int access)
{
	int err = PW_FAULT_ERR("fake.reg_mr", -ENOMEM);
	struct fake_mr *mr;

	if (!err && (!length || length > fake_opts.max_mr_size ||
		     ((access & (IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_ATOMIC)) &&
		      !(access & IBV_ACCESS_LOCAL_WRITE))))
		err = -EINVAL;
	if (!err && (length > fake_opts.mr_fails_above || fake.count[FAKE_MR] >= fake_opts.max_mr))
		err = -ENOMEM;
	mr = err ? NULL : calloc(1, sizeof(*mr));
	if (!mr) {
		errno = err ? -err : ENOMEM;
		return NULL;
	}
	mr->ib.context = pd->context;
	mr->ib.pd = pd;
	mr->ib.addr = addr;
	mr->ib.length = length;
	mr->ib.lkey = new_key();
	mr->ib.rkey = (unsigned int)access & REMOTE ? mr->ib.lkey : 0;
	mr->access = access;
	pw_list_add_tail(&fake.mrs, &mr->node);
	pd_of(pd)->users++;
	fake.count[FAKE_MR]++;
	fake_stats.reg_mr++;
	return &mr->ib;
}

/* What the device reaches through the descriptor is what is mapped at @iova, as a test has it. */
struct ibv_mr *fake_reg_dmabuf_mr(struct ibv_pd *pd, uint64_t offset, size_t length, uint64_t iova,
				  int fd, int access)
{
	const int allowed = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE |
			    IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC |
			    IBV_ACCESS_RELAXED_ORDERING;
	struct ibv_mr *mr;

	if (!fake_opts.dmabuf || access & ~allowed || offset % 4096 != iova % 4096) {
		errno = fake_opts.dmabuf ? EINVAL : EOPNOTSUPP;
		return NULL;
	}
	if (fcntl(fd, F_GETFD) < 0) /* EBADF, as of the kernel: after all that */
		return NULL;
	mr = fake_reg_mr(pd, (void *)(uintptr_t)iova, length, access);
	fake_stats.reg_dmabuf_mr += mr != NULL;
	return mr;
}

static struct fake_mr *mr_by_key(uint32_t key)
{
	struct pw_list *pos;

	pw_list_for_each(pos, &fake.mrs) {
		struct fake_mr *mr = pw_list_entry(pos, struct fake_mr, node);

		if (mr->ib.lkey == key)
			return mr;
	}
	return NULL;
}

static bool sges_use(const struct ibv_sge *sge, int nr, const struct fake_mr *mr, uint64_t addr,
		     uint64_t len)
{
	for (int i = 0; i < nr; i++)
		if (mr ? sge[i].length && sge[i].lkey == mr->ib.lkey
		       : overlaps(sge[i].addr, sge[i].length, addr, len))
			return true;
	return false;
}

static bool rq_uses(const struct fake_rq *rq, const struct fake_mr *mr, uint64_t addr, uint64_t len)
{
	for (uint64_t i = rq->head; i < rq->tail; i++) {
		const struct fake_rwr *r = &rq->ring[i % rq->size];

		if (sges_use(r->sge, r->nr_sge, mr, addr, len))
			return true;
	}
	return false;
}

/* A request is under way until its own completion, or a later one of its queue, has been taken. */
static bool qp_uses(struct fake_qp *qp, const struct fake_mr *mr, uint64_t addr, uint64_t len)
{
	for (uint64_t i = qp->sq_head; i < qp->sq_tail; i++) {
		struct fake_swr *s = fake_swr_at(qp, i);

		if (s->wr.send_flags & IBV_SEND_INLINE)
			continue;
		if (sges_use(s->sge, s->wr.num_sge, mr, addr, len))
			return true;
		if (mr && s->wr.opcode == IBV_WR_BIND_MW && s->state == FAKE_WR_POSTED &&
		    s->wr.bind_mw.bind_info.mr == &mr->ib)
			return true;
	}
	return qp->rq.ring && rq_uses(&qp->rq, mr, addr, len);
}

static bool anyone_uses(const struct fake_mr *mr, uint64_t addr, uint64_t len)
{
	struct pw_list *pos;

	pw_list_for_each(pos, &fake.qps) {
		struct fake_qp *qp = pw_list_entry(pos, struct fake_qp, node);

		if (!qp->silent && qp_uses(qp, mr, addr, len))
			return true;
	}
	pw_list_for_each(pos, &fake.srqs)
		if (rq_uses(&pw_list_entry(pos, struct fake_srq, node)->rq, mr, addr, len))
			return true;
	return false;
}

int fake_dereg_mr(struct ibv_mr *ib)
{
	struct fake_mr *mr = pw_container_of(ib, struct fake_mr, ib);

	if (mr->nr_windows) {
		fake_violation("a region is deregistered to which %u windows are bound",
			       mr->nr_windows);
		return EINVAL;
	}
	if (anyone_uses(mr, 0, 0))
		fake_violation("a region is deregistered to which a work request refers");
	pd_of(ib->pd)->users--;
	fake.count[FAKE_MR]--;
	pw_list_del(&mr->node);
	free(mr);
	return 0;
}

/* Windows ------------------------------------------------------------------------------------ */

struct ibv_mw *fake_alloc_mw(struct ibv_pd *pd, enum ibv_mw_type type)
{
	int err = PW_FAULT_ERR("fake.alloc_mw", -ENOMEM);
	struct fake_mw *mw;

	if (!err && !fake_opts.max_mw)
		err = -EOPNOTSUPP;
	if (!err && fake.count[FAKE_MW] >= fake_opts.max_mw)
		err = -ENOMEM;
	if (!err && type != IBV_MW_TYPE_2)
		err = -EINVAL;
	mw = err ? NULL : calloc(1, sizeof(*mw));
	if (!mw) {
		errno = err ? -err : ENOMEM;
		return NULL;
	}
	mw->ib.context = pd->context;
	mw->ib.pd = pd;
	mw->ib.type = type;
	mw->ib.rkey = mw->rkey = new_key();
	pw_list_add_tail(&fake.mws, &mw->node);
	pd_of(pd)->users++;
	fake.count[FAKE_MW]++;
	return &mw->ib;
}

static void unbind(struct fake_mw *mw)
{
	if (!mw->qp)
		return;
	mw->mr->nr_windows--;
	mw->mr = NULL;
	mw->qp = NULL;
	mw->access = 0;
}

int fake_dealloc_mw(struct ibv_mw *ib)
{
	struct fake_mw *mw = pw_container_of(ib, struct fake_mw, ib);
	struct pw_list *pos;

	pw_list_for_each(pos, &fake.qps) {
		struct fake_qp *qp = pw_list_entry(pos, struct fake_qp, node);

		for (uint64_t i = qp->sq_exec; i < qp->sq_tail; i++) {
			struct fake_swr *s = fake_swr_at(qp, i);

			if (s->wr.opcode == IBV_WR_BIND_MW && s->wr.bind_mw.mw == ib && !qp->silent)
				fake_violation("a window is freed whose bind is under way");
		}
	}
	unbind(mw);
	pd_of(ib->pd)->users--;
	fake.count[FAKE_MW]--;
	pw_list_del(&mw->node);
	free(mw);
	return 0;
}

static struct fake_mw *mw_by_key(uint32_t key)
{
	struct pw_list *pos;

	pw_list_for_each(pos, &fake.mws) {
		struct fake_mw *mw = pw_list_entry(pos, struct fake_mw, node);

		if (mw->rkey == key)
			return mw;
	}
	return NULL;
}

bool fake_bind(struct fake_qp *qp, const struct fake_swr *s)
{
	const struct ibv_mw_bind_info *info = &s->wr.bind_mw.bind_info;
	struct fake_mw *mw = mw_by_key(s->mw_rkey);
	struct fake_mr *mr = pw_container_of(info->mr, struct fake_mr, ib);
	const char *why = NULL;

	if (!mw || &mw->ib != s->wr.bind_mw.mw || (s->wr.bind_mw.rkey ^ mw->rkey) & ~0xffu)
		why = "its key is not the window's";
	else if (mw->qp)
		why = "it is bound already";
	else if (s->wr.bind_mw.rkey == mw->rkey)
		why = "it would get the key that it had before";
	else if (mw->ib.pd != qp->ib.pd || mr->ib.pd != qp->ib.pd)
		why = "another protection domain";
	else if (!info->length)
		why = "no length";
	else if (!(mr->access & IBV_ACCESS_MW_BIND))
		why = "the region does not allow it";
	else if ((info->mw_access_flags & IBV_ACCESS_REMOTE_WRITE) &&
		 !(mr->access & IBV_ACCESS_LOCAL_WRITE))
		why = "the region cannot be written";
	else if (!within(info->addr, info->length, (uintptr_t)mr->ib.addr, mr->ib.length))
		why = "not inside the region";
	if (why) {
		fake_violation("a window cannot be bound: %s", why);
		return false;
	}
	mw->rkey = s->wr.bind_mw.rkey;
	mw->qp = qp;
	mw->mr = mr;
	mr->nr_windows++;
	mw->addr = info->addr;
	mw->len = info->length;
	mw->access = info->mw_access_flags;
	return true;
}

bool fake_invalidate(struct fake_qp *qp, uint32_t rkey)
{
	struct fake_mw *mw = mw_by_key(rkey);

	if (!mw || mw->qp != qp)
		return false;
	unbind(mw);
	return true;
}

/* Checks ------------------------------------------------------------------------------------- */

bool fake_local_ok(const struct fake_qp *qp, const struct ibv_sge *sge, int nr, bool write)
{
	return fake_pd_ok(qp->ib.pd, sge, nr, write);
}

bool fake_pd_ok(const struct ibv_pd *pd, const struct ibv_sge *sge, int nr, bool write)
{
	for (int i = 0; i < nr; i++) {
		const struct fake_mr *mr;

		if (!sge[i].length)
			continue;
		mr = mr_by_key(sge[i].lkey);
		if (!mr || mr->ib.pd != pd ||
		    (write && !(mr->access & IBV_ACCESS_LOCAL_WRITE)) ||
		    !within(sge[i].addr, sge[i].length, (uintptr_t)mr->ib.addr, mr->ib.length))
			return false;
	}
	return true;
}

bool fake_remote_ok(const struct fake_qp *qp, uint64_t addr, uint32_t rkey, uint64_t len,
		    unsigned int access)
{
	const struct fake_mw *mw = mw_by_key(rkey);
	const struct fake_mr *mr = mr_by_key(rkey);

	if (!len)
		return true;
	if (mw)
		return mw->qp == qp && (mw->access & access) == access &&
		       within(addr, len, mw->addr, mw->len);
	return mr && mr->ib.pd == qp->ib.pd && ((unsigned int)mr->access & access) == access &&
	       within(addr, len, (uintptr_t)mr->ib.addr, mr->ib.length);
}

/* Can any peer speak to this domain? */
static bool is_reachable(const struct ibv_pd *pd)
{
	struct pw_list *pos;

	pw_list_for_each(pos, &fake.qps) {
		const struct fake_qp *qp = pw_list_entry(pos, struct fake_qp, node);

		if (qp->ib.pd == pd && qp->ib.state == IBV_QPS_RTS)
			return true;
	}
	return false;
}

bool fake_memory_exposed(const void *addr, size_t len, unsigned int access)
{
	uint64_t a = (uintptr_t)addr;
	struct pw_list *pos;

	pw_list_for_each(pos, &fake.mws) {
		const struct fake_mw *mw = pw_list_entry(pos, struct fake_mw, node);

		if (mw->qp && mw->qp->ib.state == IBV_QPS_RTS && (mw->access & access) &&
		    overlaps(a, len, mw->addr, mw->len))
			return true;
	}
	pw_list_for_each(pos, &fake.mrs) {
		const struct fake_mr *mr = pw_list_entry(pos, struct fake_mr, node);

		if (((unsigned int)mr->access & access) && is_reachable(mr->ib.pd) &&
		    overlaps(a, len, (uintptr_t)mr->ib.addr, mr->ib.length))
			return true;
	}
	return false;
}

bool fake_memory_in_use(const void *addr, size_t len)
{
	return anyone_uses(NULL, (uintptr_t)addr, len);
}
