/* SPDX-License-Identifier: Apache-2.0 */
/* rdma_probe.h -- what RDMA devices this machine has, and what they can do
 *
 * Asks the devices; makes nothing that stays.
 * Thread: any, slow.      Depends: verbs.h.      Must not know: connections.
 */
#ifndef PW_RDMA_PROBE_H
#define PW_RDMA_PROBE_H

#include <stddef.h>

#include "common/compiler.h"

struct pw_rdma_probe {
	char name[64];
	bool dmabuf; /* registers dma-bufs: moves the memory of GPUs by itself */
};

/**
 * pw_rdma_probe - the devices, @max at most
 * @ret_nr:  how many of @ret are filled
 *
 * Return: 0; -ENODEV there is none; -ENOSYS no library, see pw_verbs_why(); -errno.
 */
int pw_rdma_probe(struct pw_rdma_probe *ret, size_t max, size_t *ret_nr);

#endif
