/* SPDX-License-Identifier: Apache-2.0 */
/* fuse_mount.h -- libfuse's part: the mount, INIT, and the slow operations
 *
 * libfuse mounts (by itself or through fusermount3), answers INIT, and decodes the operations that
 * the table in req.c gives it. Its loops are never run and it never reads: everything comes from
 * fuse_ring.c and fuse_dev.c, and everything that it writes comes through one function here, which
 * knows each request by a tag in `unique` and hands the answer to where the request came from. Its
 * answer to INIT is replaced by our own.
 * Thread: the loop's own.
 */
#ifndef PWC_FUSE_MOUNT_H
#define PWC_FUSE_MOUNT_H

#include "client_fs/mount_id.h"
#include "client_fs/req.h"

struct fuse_session;

struct pwc_mount {
	struct pwc_shard *sh;
	struct fuse_session *se;
	int fd; /* /dev/fuse; libfuse's */
	bool is_mounted;
	struct pwc_mount_id info;
	uint32_t kernel_minor;
	uint64_t kernel_flags; /* as offered by INIT */
	uint64_t flags; /* as agreed */
	const struct fuse_init_in *init_in; /* of the INIT that is being answered */
	uint64_t init_unique; /* 0: none is being answered */
	bool init_done;
	struct pwc_req *current; /* handed to libfuse by the call that is running */
	uint8_t *scratch; /* a request as /dev/fuse would have it */
};

/* Mounts at sh->o->dir. Return: 0; -ENOENT or -EACCES no usable /dev/fuse; -errno. */
int pwc_mount_start(struct pwc_mount *m, struct pwc_shard *sh);
/* The two halves of it that involve no kernel: a session, and the descriptor that it writes to
 * (borrowed by the caller's leave: the session closes it). Return: 0 or -errno. */
int pwc_mount_open(struct pwc_mount *m, struct pwc_shard *sh);
int pwc_mount_attach(struct pwc_mount *m, int fd);
/* The mount itself is gone or left to the kernel; closes /dev/fuse. Accepts all zero. */
void pwc_mount_fini(struct pwc_mount *m);

/* An INIT as read: answers it, then tells the shard. */
void pwc_mount_on_init(struct pwc_mount *m, void *buf, uint32_t len);

enum pwc_umount {
	PWC_UMOUNT_PLAIN,
	PWC_UMOUNT_LAZY, /* detach; who uses it goes on */
	PWC_UMOUNT_FORCE, /* cut the connection, then detach; root only */
};
/* Starts `umount` for the mount as a child process: it may ask us things, and must not hold up the
 * loop.
 * Return: 0, ret_pid set; -errno. */
int pwc_mount_spawn_umount(const struct pwc_mount *m, enum pwc_umount how, int *ret_pid);

/* Cuts the connection (fusectl): every request ends. Return: 0 or -errno. */
int pwc_mount_abort(const struct pwc_mount *m);

/* Flags that we want when they are offered (@want_more: besides those of every mount), and the
 * answer to an INIT; pure. */
struct fuse_init_out pwc_mount_init_answer(const struct fuse_init_in *in, uint32_t max_io,
					   uint64_t want_more);
/* The request that libfuse is decoding just now. */
struct pwc_req *pwc_mount_current(struct pwc_mount *m);

#endif
