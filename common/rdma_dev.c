/* SPDX-License-Identifier: Apache-2.0 */
/* rdma_dev.c -- see rdma_dev.h
 *
 * What can fail: a registration, because the kernel may not lock so much memory for this process or
 * the device cannot take so much at once. Pieces are halved until they fit or are too small to be
 * sensible (soft-RoCE says "any size" and takes 1 GiB).
 */
#include "common/rdma_dev.h"

#include <errno.h>
#include <stdlib.h>

#include "common/err.h"
#include "common/fault.h"
#include "common/log.h"
#include "common/wire.h"

#define PIECE_MAX PW_GIB
#define PIECE_MIN (64 * PW_MIB)
/* 65,536 small pages: to pin them takes some 20 ms once they are there. */
#define STEP_MAX  (256 * PW_MIB)
/* A payload and the two blocks around it: what pieces overlap by. */
#define OVERLAP (PW_MAX_IO + 2 * 4096ull)

/* What siw says of itself: "bmt". */
#define SIW_VENDOR_ID 0x626d74u

static struct pw_list devices = PW_LIST_INIT(devices); /* pw_rdma_dev.node */

/* Registrations ------------------------------------------------------------------------------- */

static void area_unregister(struct pw_rdma_pd *pd, struct pw_rdma_area *a)
{
	for (uint32_t i = 0; i < a->nr_pieces; i++)
		pd->dev->v->dereg_mr(a->mr[i]);
	free(a->mr);
	*a = (struct pw_rdma_area){ .mr = NULL };
}

/* A piece of @m at @at. A window cannot be bound to one of a dma-buf. Return: NULL, and errno. */
static struct ibv_mr *piece_register(const struct pw_rdma_pd *pd, const struct pw_mem_area *m,
				     size_t at, size_t len)
{
	const struct pw_verbs *v = pd->dev->v;
	int access = IBV_ACCESS_LOCAL_WRITE;

	if (!m->dmabuf)
		return v->reg_mr(pd->pd, m->base + at, len,
				 access | (pd->dev->windows ? IBV_ACCESS_MW_BIND : 0));
	errno = EOPNOTSUPP;
	return v->reg_dmabuf_mr ? v->reg_dmabuf_mr(pd->pd, at, len, (uintptr_t)m->base + at, m->fd,
						   access) : NULL;
}

static int area_begin(struct pw_rdma_area *a, const struct pw_mem_area *m, size_t piece)
{
	int err = PW_FAULT_ERR("rdma.area", -ENOMEM);

	piece = PW_ROUND_DOWN(piece, 4096);
	a->nr_wanted = (uint32_t)((m->len + piece - 1) / piece);
	a->piece_bytes = piece;
	a->mr = err ? NULL : calloc(a->nr_wanted, sizeof(struct ibv_mr *));
	return a->mr ? 0 : -ENOMEM;
}

/* The largest piece that is tried; of what is registered in steps, one that does not take long. */
static size_t piece_max(const struct pw_rdma_pd *pd, const struct pw_mem_area *m)
{
	uint64_t limit = PW_MIN(pd->dev->attr.max_mr_size, m->steps ? STEP_MAX : PIECE_MAX);

	return PW_MAX(limit, PIECE_MIN + OVERLAP) - OVERLAP;
}

/* One more piece; or all anew in smaller ones. Return: 1 there is more to do; 0; -errno. */
static int area_step(struct pw_rdma_pd *pd, struct pw_rdma_area *a, const struct pw_mem_area *m)
{
	size_t piece, at;
	int err = a->mr ? 0 : area_begin(a, m, piece_max(pd, m));

	if (err)
		return err;
	piece = a->piece_bytes;
	at = a->nr_pieces * piece;
	a->mr[a->nr_pieces] = piece_register(pd, m, at, PW_MIN(piece + OVERLAP, m->len - at));
	if (a->mr[a->nr_pieces])
		return ++a->nr_pieces < a->nr_wanted;
	err = pw_verbs_err();
	area_unregister(pd, a);
	/* smaller pieces would be the same */
	if ((err != -ENOMEM && err != -EINVAL) || m->len <= piece / 2 || piece / 2 < PIECE_MIN)
		return err;
	err = area_begin(a, m, piece / 2);
	return err ? err : 1;
}

static int area_go_on(struct pw_rdma_pd *pd, uint32_t idx)
{
	const struct pw_mem_area *m = pw_mem_area(idx);
	int err = area_step(pd, &pd->area[idx], m);

	if (err > 0)
		return err;
	pw_mem_note(idx, pd->dev->name, err);
	pd->area[idx].refused = err;
	if (err && m->optional) {
		pw_log_warn("%s: %zu bytes of memory of a program are not registered (%s): "
			    "payloads there are copied", pd->dev->name, m->len, pw_err_text(err));
		err = 0;
	}
	return err;
}

int pw_rdma_pd_register(struct pw_rdma_pd *pd)
{
	pd->registers = true;
	for (uint32_t i = 0; i < PW_MEM_MAX_AREAS; i++) {
		int err = pw_mem_area(i)->base && !pd->area[i].mr;

		while (err > 0)
			err = area_go_on(pd, i);
		if (err)
			return err;
	}
	return 0;
}

struct ibv_mr *pw_rdma_pd_find(const struct pw_rdma_pd *pd, const void *p, size_t len)
{
	const struct pw_rdma_area *a;
	const struct pw_mem_area *m;
	uint32_t idx;
	size_t piece;

	m = pw_mem_find(p, len, &idx);
	if (!m || !pd->area[idx].mr || len > OVERLAP)
		return NULL;
	a = &pd->area[idx];
	/* until all of it is there, the pieces can be exchanged for smaller ones */
	if (a->nr_pieces < a->nr_wanted)
		return NULL;
	piece = (size_t)((const uint8_t *)p - m->base) / a->piece_bytes;
	return a->mr[piece];
}

/* Domains ------------------------------------------------------------------------------------- */

static void dev_put(struct pw_rdma_dev *dev)
{
	if (--dev->refs)
		return;
	pw_list_del(&dev->node);
	free(dev);
}

static void pd_free(struct pw_rdma_pd *pd)
{
	struct pw_rdma_dev *dev = pd->dev;

	for (uint32_t i = 0; i < PW_MEM_MAX_AREAS; i++)
		area_unregister(pd, &pd->area[i]);
	pw_mem_user_del(&pd->user);
	if (pd->shared)
		dev->shared = NULL;
	dev->v->dealloc_pd(pd->pd);
	free(pd);
	dev_put(dev);
}

static bool has_areas(const struct pw_rdma_pd *pd)
{
	for (uint32_t i = 0; i < PW_MEM_MAX_AREAS; i++)
		if (pd->area[i].mr)
			return true;
	return false;
}

/* A mount's arena comes after its first connection, whose node says how large it has to be; the
 * memory of an application comes at any time. */
static bool on_announced(struct pw_mem_user *u, uint32_t area_idx)
{
	struct pw_rdma_pd *pd = pw_container_of(u, struct pw_rdma_pd, user);
	const struct pw_rdma_area *a = &pd->area[area_idx];
	int err;

	if (!pd->registers || a->refused || (a->mr && a->nr_pieces == a->nr_wanted))
		return false;
	err = area_go_on(pd, area_idx);
	if (err < 0)
		pw_log_warn("%s: %zu bytes of memory not registered (%s): payloads there take "
			    "longer", pd->dev->name, pw_mem_area(area_idx)->len, pw_err_text(err));
	return err > 0;
}

static void on_withdrawn(struct pw_mem_user *u, uint32_t area_idx)
{
	struct pw_rdma_pd *pd = pw_container_of(u, struct pw_rdma_pd, user);

	area_unregister(pd, &pd->area[area_idx]);
	if (!pd->refs && !has_areas(pd))
		pd_free(pd);
}

static int dev_find(const struct pw_verbs *v, struct ibv_context *ctx, struct pw_rdma_dev **ret)
{
	struct pw_rdma_dev *dev;
	struct pw_list *pos;
	unsigned int caps;
	int err;

	pw_list_for_each(pos, &devices) {
		dev = pw_list_entry(pos, struct pw_rdma_dev, node);
		if (dev->ctx == ctx) {
			*ret = dev;
			return 0;
		}
	}
	err = PW_FAULT_ERR("rdma.dev", -ENOMEM);
	dev = err ? NULL : calloc(1, sizeof(*dev));
	if (!dev)
		return -ENOMEM;
	err = -v->query_device(ctx, &dev->attr);
	if (err) {
		free(dev);
		return err;
	}
	caps = dev->attr.device_cap_flags;
	pw_list_init(&dev->conns);
	pw_list_init(&dev->srqs);
	dev->why_own = "";
	dev->v = v;
	dev->ctx = ctx;
	dev->name = v->get_device_name(ctx->device);
	dev->iwarp = ctx->device->transport_type == IBV_TRANSPORT_IWARP;
	dev->soft_iwarp = dev->iwarp && dev->attr.vendor_id == SIW_VENDOR_ID;
	dev->windows = dev->attr.max_mw > 0 &&
		       caps & (IBV_DEVICE_MEM_WINDOW_TYPE_2A | IBV_DEVICE_MEM_WINDOW_TYPE_2B);
	dev->send_inv = dev->windows && caps & IBV_DEVICE_MEM_MGT_EXTENSIONS;
	pw_list_add_tail(&devices, &dev->node);
	*ret = dev;
	return 0;
}

static int pd_new(struct pw_rdma_dev *dev, bool shared, struct pw_rdma_pd **ret)
{
	int err = PW_FAULT_ERR("rdma.pd", -ENOMEM);
	struct pw_rdma_pd *pd = err ? NULL : calloc(1, sizeof(*pd));

	if (!pd)
		return -ENOMEM;
	pd->pd = dev->v->alloc_pd(dev->ctx);
	if (!pd->pd) {
		err = pw_verbs_err();
		free(pd);
		return err;
	}
	pd->dev = dev;
	pd->shared = shared;
	pw_mem_user_add(&pd->user, on_announced, on_withdrawn);
	dev->refs++;
	if (shared)
		dev->shared = pd;
	*ret = pd;
	return 0;
}

int pw_rdma_pd_get(const struct pw_verbs *v, struct ibv_context *ctx, bool node,
		   struct pw_rdma_pd **ret)
{
	struct pw_rdma_dev *dev;
	struct pw_rdma_pd *pd;
	bool shared;
	int err;

	err = dev_find(v, ctx, &dev);
	if (err)
		return err;
	shared = !node || dev->windows;
	pd = shared ? dev->shared : NULL;
	dev->refs++;
	if (!pd)
		err = pd_new(dev, shared, &pd);
	dev_put(dev);
	if (!pd)
		return err;
	pd->refs++;
	*ret = pd;
	return 0;
}

void pw_rdma_pd_put(struct pw_rdma_pd *pd)
{
	if (pd && !--pd->refs && (pd->dev->dead || !pd->shared || !has_areas(pd)))
		pd_free(pd);
}

void pw_rdma_dev_removed(struct pw_rdma_dev *dev)
{
	dev->dead = true;
	dev->srq = NULL;
	pw_list_del(&dev->node);
}

void pw_rdma_dev_each(void (*fn)(struct pw_rdma_dev *dev, void *arg), void *arg)
{
	struct pw_list *pos;

	pw_list_for_each(pos, &devices)
		fn(pw_list_entry(pos, struct pw_rdma_dev, node), arg);
}

/* Limits -------------------------------------------------------------------------------------- */

int pw_rdma_port_attr(const struct pw_verbs *v, struct ibv_context *ctx, uint8_t port,
		      struct ibv_port_attr *ret)
{
	*ret = (struct ibv_port_attr){ .state = IBV_PORT_NOP };
	return -v->query_port(ctx, port, (struct _compat_ibv_port_attr *)(void *)ret);
}

int pw_rdma_dev_limits(const struct pw_rdma_dev *dev, uint8_t port, struct pw_rdma_limits *ret)
{
	const struct ibv_device_attr *a = &dev->attr;
	uint32_t cqe = (uint32_t)PW_MAX(a->max_cqe, 2), wr = (uint32_t)PW_MAX(a->max_qp_wr, 1);
	struct ibv_port_attr p;
	int err = pw_rdma_port_attr(dev->v, dev->ctx, port, &p);

	if (err)
		return err;
	ret->rq = PW_MIN(wr, cqe / 2);
	ret->sq = PW_MIN(wr, cqe / 2);
	ret->send_sge = (uint32_t)PW_MIN(PW_MAX(a->max_sge, 1), PW_RDMA_SGE_MAX);
	/* zero here, too; soft-iWARP: 1 */
	ret->read_sge = PW_MIN((uint32_t)PW_MAX(a->max_sge_rd, 1), ret->send_sge);
	/* zero is what a driver says that has not thought of it */
	ret->max_msg = p.max_msg_sz ? PW_MIN(p.max_msg_sz, PW_MAX_IO) : PW_MAX_IO;
	return 0;
}
