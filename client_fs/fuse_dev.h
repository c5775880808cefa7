/* SPDX-License-Identifier: Apache-2.0 */
/* fuse_dev.h -- /dev/fuse: read for ever, also beside a ring
 *
 * It is the whole data path where there is no ring. FORGET and INTERRUPT come only here, and so
 * does what was queued before the ring was ready. Each request is read into a buffer of the arena
 * whose place makes the data of a WRITE page aligned; its answer is written from the same buffer.
 * One read and one write(2) per request, on the loop thread; both never block.
 * Thread: the loop's own.      Allocates: in init.      Must not know: what a request means.
 */
#ifndef PWC_FUSE_DEV_H
#define PWC_FUSE_DEV_H

#include "client_fs/fuse_arena.h"
#include "client_fs/req.h"
#include "common/uring.h"

struct pwc_dev_buf {
	struct pwc_req req;
	struct pw_list free; /* on the free list, last used first */
	struct pwc_dev *dev;
	uint8_t *head; /* where read(2) goes; PWC_DEV_HEAD before data */
};

struct pwc_dev_ops {
	/* An INIT was read; it is handled before the call returns. */
	void (*on_init)(struct pwc_dev *dev, void *buf, uint32_t len);
	void (*on_interrupt)(struct pwc_dev *dev, uint64_t unique, uint64_t target);
	void (*on_forget)(struct pwc_dev *dev, uint64_t ino);
	/* The kernel has ended the connection. @err: 0 unmounted; -errno. No reads any more. */
	void (*on_gone)(struct pwc_dev *dev, int err);
};

struct pwc_dev {
	struct pw_loop *loop;
	const struct pwc_arena *arena;
	const struct pwc_dev_ops *ops;
	void *owner;
	struct pw_fd fd; /* the descriptor is borrowed */
	struct pw_ready again; /* more may be there than one turn reads */
	struct pwc_dev_buf *buf; /* owns */
	struct pw_list free;
	uint32_t nr_bufs, nr_free;
	uint32_t read_len; /* bytes that a read asks for */
	uint64_t stalls; /* times that no buffer was free */
	bool started, starved, gone;
};

/* @first_idx: index of the first buffer's request in @sh's table. Return: 0 or -ENOMEM. */
int pwc_dev_init(struct pwc_dev *dev, struct pw_loop *loop, struct pwc_shard *sh,
		 const struct pwc_arena *arena, const struct pwc_dev_ops *ops, void *owner,
		 uint32_t first_idx);
/* After stop() has finished, or never started. */
void pwc_dev_fini(struct pwc_dev *dev);

/* @fd: nonblocking, mounted. Return: 0 or -errno. */
int pwc_dev_start(struct pwc_dev *dev, int fd);
/* No more reads; @closed comes from the loop. Answers may still be written. */
void pwc_dev_stop(struct pwc_dev *dev, void (*closed)(struct pw_fd *f));

#endif
