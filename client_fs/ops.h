/* SPDX-License-Identifier: Apache-2.0 */
/* ops.h -- the table of operations: which are ours from end to end, which go through libfuse
 *
 * Thread: the loop's own.
 */
#ifndef PWC_OPS_H
#define PWC_OPS_H

#include "client_fs/req.h"

enum pwc_op_kind {
	PWC_OP_NONE, /* ENOSYS: the kernel does without, and does not ask again */
	PWC_OP_NATIVE,
	PWC_OP_LIBFUSE,
};

struct pwc_op {
	const char *name;
	enum pwc_op_kind kind;
	uint16_t op_in_len; /* bytes of the operation's header */
	uint8_t nr_names; /* NUL-terminated strings that must follow it */
	void (*start)(struct pwc_req *r);
};

/* NULL: an opcode that this version does not know. */
const struct pwc_op *pwc_op_get(uint32_t opcode);

/* Bytes of a file, and where they are or will be in this process. */
struct pwc_data {
	uint64_t off; /* in the file */
	uint32_t len;
	uint32_t flags; /* of a write: PW_IO_* */
	uint8_t *mem; /* borrowed until the call is done */
	const struct pw_runs *runs; /* they are there instead, as in struct pwc_call; or NULL */
};
typedef void pwc_call_done_fn(struct pwc_call *c, int err, const struct pw_cmd *rsp,
			      uint32_t out_len);

/* op_read.c, op_write.c */
void pwc_op_read_start(struct pwc_req *r);
void pwc_op_write_start(struct pwc_req *r);
/* The call to the node. Return: 0; -errno, nothing was sent; of a read -ENODATA: no file can have
 * bytes there. */
int pwc_op_read_send(struct pwc_req *r, const struct pwc_data *d, pwc_call_done_fn *done);
int pwc_op_write_send(struct pwc_req *r, const struct pwc_data *d, pwc_call_done_fn *done);
/* What PW_IO_* the flags of an open file mean. */
uint32_t pwc_op_write_flags(uint32_t open_flags);

/* op_ioctl.c */
void pwc_op_ioctl_start(struct pwc_req *r);

/* op_meta.c */
void pwc_op_lookup_start(struct pwc_req *r);
void pwc_op_getattr_start(struct pwc_req *r);
void pwc_op_setattr_start(struct pwc_req *r);
void pwc_op_fsync_start(struct pwc_req *r);
void pwc_op_flush_start(struct pwc_req *r);

/* op_open.c */
void pwc_op_open_start(struct pwc_req *r);
void pwc_op_create_start(struct pwc_req *r);
void pwc_op_release_start(struct pwc_req *r);

/* fuse_mount.c: hands the request to libfuse, which calls ll_ops.c */
void pwc_mount_ll_start(struct pwc_req *r);

#endif
