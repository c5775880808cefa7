/* SPDX-License-Identifier: Apache-2.0 */
/* fuse_reg.c -- see fuse_reg.h
 *
 * Both commands pin or unpin memory, so io_uring hands them to a worker: the loop does not wait.
 * The id is ours to choose, as a request may name the region before the answer to REG_FD is read.
 * Can fail: whatever the kernel says, which region.c judges.
 */
#include "client_fs/fuse_reg.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static_assert(sizeof(struct fuse_uring_reg_cmd) == 64, "kernel ABI");
static_assert(sizeof(struct fuse_uring_reg_seg) == 16, "kernel ABI");
static_assert(FUSE_URING_REG_MAX_SEGS == PW_RUNS_MAX, "all that the kernel tells");

static void on_cqe(struct pw_io *io, int res, uint32_t flags)
{
	struct pwc_reg_cmd *c = pw_container_of(io, struct pwc_reg_cmd, io);
	struct pwc_region *r = c->r;

	(void)flags;
	c->reg->nr_out--;
	c->r = NULL;
	pwc_region_on_kernel(r, res);
}

static int submit(struct pwc_reg *reg, struct pwc_region *r, uint32_t cmd_op,
		  const struct fuse_uring_reg_cmd *cmd)
{
	struct pwc_reg_cmd *c = &reg->cmd[r->id];
	struct io_uring_sqe *sqe;

	if (c->r)
		return -EBUSY;
	sqe = pw_io_sqe(reg->loop, &c->io);
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = reg->fd;
	sqe->cmd_op = cmd_op;
	memcpy(sqe->cmd, cmd, sizeof(*cmd));
	c->r = r;
	reg->nr_out++;
	return 0;
}

static int do_reg(void *owner, struct pwc_region *r)
{
	struct fuse_uring_reg_cmd cmd = {
		.off = (uint64_t)r->off,
		.len = r->len,
		.fd = r->fd,
		.id = r->id,
	};

	/* found by where it is mapped, here and there */
	if (r->dmabuf) {
		cmd.flags = FUSE_URING_REG_F_DMABUF;
		cmd.uaddr = (uintptr_t)r->base;
	}
	return submit(owner, r, FUSE_IO_URING_CMD_REG_FD, &cmd);
}

static int do_unreg(void *owner, struct pwc_region *r)
{
	struct fuse_uring_reg_cmd cmd = { .id = r->id };

	return submit(owner, r, FUSE_IO_URING_CMD_UNREG_FD, &cmd);
}

int pwc_reg_init(struct pwc_reg *reg, struct pw_loop *loop, int fd)
{
	int err = 0;

	*reg = (struct pwc_reg){ .loop = loop, .fd = fd };
	reg->kernel = (struct pwc_region_kernel){ do_reg, do_unreg, reg };
	for (uint32_t i = 0; !err && i < PWC_REGIONS_MAX; i++) {
		reg->cmd[i].reg = reg;
		err = pw_io_init(loop, &reg->cmd[i].io, on_cqe);
		reg->nr_ios += !err;
	}
	if (err)
		pwc_reg_fini(reg);
	return err;
}

void pwc_reg_fini(struct pwc_reg *reg)
{
	assert(!reg->nr_out);
	for (uint32_t i = 0; i < reg->nr_ios; i++)
		pw_io_fini(reg->loop, &reg->cmd[i].io);
	*reg = (struct pwc_reg){ .loop = NULL };
}

/* Return: the bytes of the runs; 0: they are not those of a request. */
static uint64_t take_list(const struct pwc_region *r, const struct fuse_uring_reg_seg *list,
			  uint32_t nr, struct iovec *v)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < nr; i++) {
		const struct fuse_uring_reg_seg *s = &list[i];
		uint8_t *mem = pwc_region_mem(r, s->off, s->len);

		if (s->id != r->id || !s->len || !mem)
			return 0;
		v[i] = (struct iovec){ mem, s->len };
		sum += s->len;
	}
	return sum;
}

bool pwc_reg_find(struct pwc_regions *t, const struct fuse_uring_ent_in_out *ent, uint32_t len,
		  const struct fuse_uring_reg_seg *list, struct iovec *v,
		  struct pwc_reg_hit *ret)
{
	uint64_t arg = ent->reserved & ((1ULL << FUSE_URING_REG_ID_SHIFT) - 1);
	struct pwc_reg_hit hit = {
		.region = pwc_region_of_kernel(t, ent->reserved >> FUSE_URING_REG_ID_SHIFT),
	};

	if (!hit.region)
		return false;
	if (ent->flags & FUSE_URING_ENT_REG_SG) {
		if (!len || !arg || arg > FUSE_URING_REG_MAX_SEGS)
			return false;
		hit.listed = true;
		hit.nr_runs = (uint32_t)arg;
		if (take_list(hit.region, list, hit.nr_runs, v) != len)
			return false;
	} else {
		*v = (struct iovec){ pwc_region_mem(hit.region, arg, len), len };
		if (!v->iov_base)
			return false;
		hit.nr_runs = 1;
	}
	*ret = hit;
	return true;
}
