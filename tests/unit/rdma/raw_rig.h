/* SPDX-License-Identifier: Apache-2.0 */
/* raw_rig.h -- one end is ours, the other is played by hand and speaks the protocol of messages */
#ifndef RAW_RIG_H
#define RAW_RIG_H

#include "tests/unit/conn/xprt_rig.h"
#include "common/rdma_wire.h"
#include "raw_end.h"
#include "world_rdma.h"

struct raw_msg {
	struct pw_rdma_head head;
	struct pw_cmd cmd;
	uint8_t payload[PW_RDMA_INLINE_MAX];
};

extern struct raw_end raw;
extern uint32_t raw_want_recv; /* messages, for raw_received() */
extern struct pw_rdma_grant raw_grants[RIG_SLOTS]; /* what a node of ours has granted */

int raw_set_up(void **state);
int raw_tear_down(void **state);
void raw_begin(void); /* a new end, after the last one is closed */
void raw_turn(void);

void raw_make(struct raw_msg *m, enum pw_rdma_type type);
void raw_send_message(const struct raw_msg *m, uint32_t payload_len);
/* Its arrival ends the window of @rkey. */
void raw_send_inv(const struct raw_msg *m, uint32_t rkey);

/* For run_until() */
bool raw_received(void);
bool raw_ended(void);
bool raw_sent(void);

/* The node is ours, slots are granted. */
void raw_client(void);
/* The client is ours. */
void raw_node(void);
/* Waits for our end to close, for @err unless that is 0; a next one may begin. */
void raw_node_ended(int err);
void raw_client_ended(int err);

#endif
