/* SPDX-License-Identifier: Apache-2.0 */
/* dmabuf_mr.c -- preloaded into a client: ibv_reg_dmabuf_mr() for devices whose provider has none
 *
 * The kernel of the tests registers dma-bufs on soft-RoCE (kernel/patches/0015), of which the
 * provider of rdma-core does not know. What the client looks up with dlsym(3) is ours then: the
 * same ioctl that rdma-core makes for other devices (rdma/ib_user_ioctl_cmds.h). ibv_dereg_mr()
 * ends it as any other registration.
 */
#include <dlfcn.h>
#include <infiniband/verbs.h>
#include <rdma/ib_user_ioctl_cmds.h>
#include <rdma/ib_user_ioctl_verbs.h>
#include <rdma/rdma_user_ioctl_cmds.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#define NR_ATTRS 9

/* rdma-core keeps its own words behind struct ibv_mr, and frees them with it. */
#define MR_BYTES (4 * sizeof(struct ibv_mr))

static struct ib_uverbs_attr attr(uint16_t id, uint16_t len, uint64_t data)
{
	return (struct ib_uverbs_attr){
		.attr_id = id,
		.len = len,
		.flags = UVERBS_ATTR_F_MANDATORY,
		.data = data,
	};
}

static struct ibv_mr *reg_dmabuf_mr(struct ibv_pd *pd, uint64_t offset, size_t length,
				    uint64_t iova, int fd, int access)
{
	struct ibv_mr *mr = calloc(1, MR_BYTES);
	struct {
		struct ib_uverbs_ioctl_hdr hdr;
		struct ib_uverbs_attr attrs[NR_ATTRS];
	} cmd = {
		.hdr = {
			.length = sizeof(cmd),
			.object_id = UVERBS_OBJECT_MR,
			.method_id = UVERBS_METHOD_REG_DMABUF_MR,
			.num_attrs = NR_ATTRS,
			.driver_id = RDMA_DRIVER_RXE,
		},
	};

	if (!mr)
		return NULL;
	cmd.attrs[0] = attr(UVERBS_ATTR_REG_DMABUF_MR_HANDLE, 0, 0);
	cmd.attrs[1] = attr(UVERBS_ATTR_REG_DMABUF_MR_PD_HANDLE, 0, pd->handle);
	cmd.attrs[2] = attr(UVERBS_ATTR_REG_DMABUF_MR_OFFSET, 8, offset);
	cmd.attrs[3] = attr(UVERBS_ATTR_REG_DMABUF_MR_LENGTH, 8, length);
	cmd.attrs[4] = attr(UVERBS_ATTR_REG_DMABUF_MR_IOVA, 8, iova);
	cmd.attrs[5] = attr(UVERBS_ATTR_REG_DMABUF_MR_FD, 4, (uint32_t)fd);
	cmd.attrs[6] = attr(UVERBS_ATTR_REG_DMABUF_MR_ACCESS_FLAGS, 4, (uint32_t)access);
	cmd.attrs[7] = attr(UVERBS_ATTR_REG_DMABUF_MR_RESP_LKEY, 4, (uintptr_t)&mr->lkey);
	cmd.attrs[8] = attr(UVERBS_ATTR_REG_DMABUF_MR_RESP_RKEY, 4, (uintptr_t)&mr->rkey);
	if (ioctl(pd->context->cmd_fd, RDMA_VERBS_IOCTL, &cmd)) {
		free(mr);
		return NULL;
	}
	mr->context = pd->context;
	mr->pd = pd;
	mr->length = length;
	mr->handle = (uint32_t)cmd.attrs[0].data;
	return mr;
}

__attribute__((visibility("default"))) void *dlsym(void *restrict handle, const char *restrict name)
{
	static void *(*next)(void *, const char *);

	if (!strcmp(name, "ibv_reg_dmabuf_mr"))
		return (void *)reg_dmabuf_mr;
	if (!next)
		*(void **)&next = dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.34");
	return next ? next(handle, name) : NULL;
}
