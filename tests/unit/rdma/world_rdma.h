/* SPDX-License-Identifier: Apache-2.0 */
/* world_rdma.h -- what tests of the RDMA transport alone want to know of its world */
#ifndef WORLD_RDMA_H
#define WORLD_RDMA_H

#include "fake_verbs.h"

struct world_rdma {
	uint32_t nr_bad; /* memory that was given back too early */
};
extern struct world_rdma world_rdma;

#endif
