/* SPDX-License-Identifier: Apache-2.0 */
/* sim_names.h -- the model of the namespace: a state, and what an operation does to it */
#ifndef SIM_NAMES_H
#define SIM_NAMES_H

#include "tests/sim/sim_oracle.h"

#define SIM_NS_INODES 96u

struct sim_ns_inode {
	uint64_t ino; /* 0: the model does not know its number yet */
	uint16_t changes;
	uint8_t type; /* 0: free, 1: file, 2: directory */
	uint8_t nlink;
	uint8_t parent; /* of a directory: index */
	uint8_t reserved[3];
};

struct sim_ns_state {
	uint64_t done; /* bits of operations under way that have happened */
	struct sim_ns_inode i[SIM_NS_INODES]; /* 0: root */
	/* index + 1 of what each name of a directory means; 0: nothing */
	uint8_t ent[SIM_NS_INODES][SIM_NAMES];
};

void sim_ns_start(struct sim_ns_state *s);
/* false: @op cannot have had its result in this state. */
bool sim_ns_apply(struct sim_ns_state *s, const struct sim_ns_op *op);
/* Fails the run, and says what the operation was. */
void sim_ns_explain(const struct sim_ns_op *op, const struct sim_ns_state *s);

#endif
