/* SPDX-License-Identifier: Apache-2.0 */
/* rdma_probe.c -- see rdma_probe.h */
#include "common/rdma_probe.h"

#include <stdio.h>

#include "common/verbs.h"

/* With a descriptor that there is not: who registers dma-bufs gets as far as looking for it, and
 * who does not says so before. */
static bool takes_dmabuf(const struct pw_verbs *v, struct ibv_context *device)
{
	struct ibv_pd *pd = v->reg_dmabuf_mr ? v->alloc_pd(device) : NULL;
	struct ibv_mr *mr;
	bool takes;

	if (!pd)
		return false;
	errno = 0;
	mr = v->reg_dmabuf_mr(pd, 0, 4096, 0, -1, IBV_ACCESS_LOCAL_WRITE);
	takes = mr || errno == EBADF;
	if (mr)
		v->dereg_mr(mr);
	v->dealloc_pd(pd);
	return takes;
}

int pw_rdma_probe(struct pw_rdma_probe *ret, size_t max, size_t *ret_nr)
{
	const struct pw_verbs *v;
	struct ibv_context **list;
	int nr = 0, err = pw_verbs_get(&v);
	size_t n;

	if (err)
		return err;
	list = v->cm_get_devices(&nr);
	if (!list)
		return pw_verbs_err();
	for (n = 0; n < (size_t)nr && n < max; n++) {
		snprintf(ret[n].name, sizeof(ret[n].name), "%s",
			 v->get_device_name(list[n]->device));
		ret[n].dmabuf = takes_dmabuf(v, list[n]);
	}
	v->cm_free_devices(list);
	*ret_nr = n;
	return n ? 0 : -ENODEV;
}
