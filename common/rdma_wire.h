/* SPDX-License-Identifier: Apache-2.0 */
/* rdma_wire.h -- what a SEND carries in front of a command, and the private data of rdma_cm
 *
 *	[ head 32 | grants, 24 each | command 128 | payload up to the inline limit ]
 *
 * The same rules as in wire.h: little-endian, no padding, what is reserved is zero. pw_rdma_parse()
 * is the only door for these bytes; the command behind them still goes through pw_cmd_check().
 * PROTOCOL.md section 12 says what the fields mean.
 */
#ifndef PW_RDMA_WIRE_H
#define PW_RDMA_WIRE_H

#include "common/wire.h"

#define PW_RDMA_MAGIC 0x31525750u /* "PWR1" */
#define PW_RDMA_VERSION 1u

/* Longest payload inside of a message, and the size of every receive buffer. */
#define PW_RDMA_INLINE_MAX 4096u
#define PW_RDMA_MSG_BYTES 4608u

enum pw_rdma_type {
	PW_RDMA_MSG = 1, /* a command follows */
	PW_RDMA_CREDIT = 2, /* nothing but credits and grants */
	PW_RDMA_PULLED = 3, /* the payload of the answer in @slot was read: its right may end */
	PW_RDMA_TYPE_NR
};

/* Of PW_RDMA_MSG: where the payload is. None of them: there is none, or it is inline. */
#define PW_RDMA_PLACED 1u /* it was written to where the receiver had allowed it */
#define PW_RDMA_PULL 2u /* at addr, rkey, len: the receiver reads it */
#define PW_RDMA_WINDOW 4u /* of a REQ: its answer's payload may be written to addr, rkey, len */

struct pw_rdma_head {
	uint32_t magic;
	uint8_t type; /* enum pw_rdma_type */
	uint8_t flags; /* PW_RDMA_PLACED, _PULL, _WINDOW */
	uint16_t nr_grants;
	uint32_t credits; /* messages that the receiver may have sent in all; wraps around */
	uint16_t slot; /* PULLED */
	uint16_t reserved;
	uint64_t addr;
	uint32_t rkey;
	uint32_t len; /* bytes */
};
static_assert(sizeof(struct pw_rdma_head) == 32, "wire format");

/* To the client: payloads of requests in @slot are written here from now on. */
struct pw_rdma_grant {
	uint16_t slot;
	uint16_t reserved;
	uint32_t rkey;
	uint64_t addr;
	uint32_t len; /* bytes */
	uint32_t reserved2;
};
static_assert(sizeof(struct pw_rdma_grant) == 24, "wire format");

#define PW_RDMA_MAX_GRANTS                                                                         \
	((PW_RDMA_MSG_BYTES - (uint32_t)sizeof(struct pw_rdma_head) - PW_CMD_BYTES) /              \
	 (uint32_t)sizeof(struct pw_rdma_grant))

/* Private data of connect and accept. */
struct pw_rdma_cm {
	uint32_t magic;
	uint8_t version;
	uint8_t reserved;
	uint16_t credits; /* receives that are posted already */
	uint32_t msg_bytes; /* size of each */
	uint32_t reserved2;
};
static_assert(sizeof(struct pw_rdma_cm) == 16, "wire format");

/* A message of a peer, taken apart; everything points into its bytes. */
struct pw_rdma_view {
	const struct pw_rdma_head *head;
	const struct pw_rdma_grant *grants; /* head->nr_grants of them */
	const struct pw_cmd *cmd; /* of PW_RDMA_MSG; else NULL */
	const uint8_t *payload; /* inline, cmd->payload_len bytes; NULL: elsewhere, or none */
};

/**
 * pw_rdma_parse - judge a message of a peer
 * @buf: @len bytes, aligned to 8
 * @to_node: true on the node's side
 *
 * Also judges the command. Lengths and flags agree with each other afterwards; what needs state
 * (slots, rights, credits) is for the caller.
 * Return: 0; -EPROTO.
 */
int pw_rdma_parse(const void *buf, uint32_t len, bool to_node,
		  struct pw_rdma_view *ret) PW_WARN_UNUSED;

void pw_rdma_cm_init(struct pw_rdma_cm *p, uint16_t credits);
/* Return: 0; -EPROTO no data of ours; -EPROTONOSUPPORT another version. */
int pw_rdma_cm_check(const void *data, uint32_t len, struct pw_rdma_cm *ret) PW_WARN_UNUSED;

#endif
