/* SPDX-License-Identifier: Apache-2.0 */
/* null_fs.h -- the filesystem of the null FUSE server: requests in, constant answers out
 *
 * One flat directory with two names for the same nothing: "f" is opened for direct I/O with
 * parallel writes, "c" goes through the page cache. A read returns as many bytes as were asked
 * for, whatever the buffer holds; a write is dropped.
 *
 * Depends: <linux/fuse.h>.      Must not know: how a request arrived.
 */
#ifndef NULL_FS_H
#define NULL_FS_H

#include <linux/fuse.h>
#include <stddef.h>
#include <stdint.h>

#define NULL_FS_MAX_IO (1u << 20)

/* one request, as both transports can present it; all pointers are borrowed for the call */
struct null_req {
	const struct fuse_in_header *in;
	const void *op_in;		/* the operation's header, NULL if it has none */
	const char *name;		/* first name, for LOOKUP only */
	void *out;			/* answer goes here, NULL_FS_MAX_IO bytes at least */
	size_t out_len_bytes;		/* set by null_fs_handle() */
};

/**
 * null_fs_init - set the size that both files report
 * @size_bytes: file size
 */
void null_fs_init(uint64_t size_bytes);

/**
 * null_fs_handle - answer one request other than INIT
 * @req: the request
 *
 * Return: 0 or a negative errno, which is the answer and not a failure of the server.
 */
int null_fs_handle(struct null_req *req);

/**
 * null_fs_init_reply - negotiate
 * @in:       what the kernel offered
 * @want_ring: ask for FUSE-over-io_uring if it was offered
 * @ret_out:  the answer
 *
 * Return: 1 if the ring was agreed on, 0 if not.
 */
int null_fs_init_reply(const struct fuse_init_in *in, int want_ring, struct fuse_init_out *ret_out);

#endif
