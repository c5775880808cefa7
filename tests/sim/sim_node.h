/* SPDX-License-Identifier: Apache-2.0 */
/* sim_node.h -- the parts of the node that runs, for the oracles that look inside */
#ifndef SIM_NODE_H
#define SIM_NODE_H

#include "tests/sim/sim.h"

struct pws_bufpool;
struct pws_disk;
struct pws_kv;
struct pws_node;
struct pws_store;

extern struct sim_node_parts {
	struct pws_disk *disk;
	struct pws_kv *kv;
	struct pws_bufpool *bufs;
	struct pws_store *store;
	struct pws_node *node;
} sim_node;

#endif
