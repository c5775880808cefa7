/* SPDX-License-Identifier: Apache-2.0 */
/* fuse_ring_abi.h -- the FUSE-over-io_uring structures that the null server needs
 *
 * Older <linux/fuse.h> do not have them. They carry names of our own, so that the file also
 * compiles beside a header that does. Layout: Linux 6.14 and later.
 */
#ifndef FUSE_RING_ABI_H
#define FUSE_RING_ABI_H

#include <stdint.h>

enum { RING_CMD_REGISTER = 1, RING_CMD_COMMIT_AND_FETCH = 2 };

/* header of one ring entry; the kernel fills it for a request, the server for the answer */
struct ring_header {
	char in_out[128];		/* fuse_in_header, then fuse_out_header */
	char op_in[128];		/* the operation's own header */
	uint64_t flags;
	uint64_t commit_id;		/* names the request in COMMIT_AND_FETCH */
	uint32_t payload_len_bytes;
	uint32_t offset;
	uint64_t reserved;
};

/* lies in the command area of a 128 byte SQE */
struct ring_cmd {
	uint64_t flags;
	uint64_t commit_id;
	uint16_t queue_id;
	uint8_t padding[6];
};

_Static_assert(sizeof(struct ring_header) == 288, "kernel ABI");
_Static_assert(sizeof(struct ring_cmd) == 24, "kernel ABI");

#endif
