/* SPDX-License-Identifier: Apache-2.0 */
/* fuse_dev.c -- read, sort out what has no answer, start the rest
 *
 * Happy path: readable -> read(2) into a free buffer -> pwc_req_start() -> reply() writes header
 * and answer. Can fail: no free buffer (reading pauses until one is answered); a request that the
 * kernel has dropped while it was read or answered (ENOENT, harmless); the end of the connection
 * (ENODEV, ECONNABORTED).
 */
#include "client_fs/fuse_dev.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/fault.h"
#include "common/log.h"

#define READS_PER_TURN 32u

static_assert(PWC_DEV_HEAD == 80, "the data of a WRITE begins 80 bytes into what is read");

static void give_back(struct pwc_dev_buf *b)
{
	struct pwc_dev *dev = b->dev;

	pw_list_add_head(&dev->free, &b->free);
	dev->nr_free++;
	if (dev->starved && !dev->gone) {
		dev->starved = false;
		pw_loop_ready(dev->loop, &dev->again);
	}
}

static void reply(struct pwc_req *r, int err, uint32_t out_len)
{
	struct pwc_dev_buf *b = pw_container_of(r, struct pwc_dev_buf, req);
	struct fuse_out_header h = {
		.len = (uint32_t)sizeof(h) + out_len,
		.error = err,
		.unique = r->unique,
	};
	struct iovec iov[2] = { { &h, sizeof(h) }, { r->out, out_len } };

	/* ENOENT: interrupted or aborted meanwhile */
	if (writev(b->dev->fd.fd, iov, out_len ? 2 : 1) < 0 && errno != ENOENT && !b->dev->gone &&
	    errno != ENODEV && errno != ENOTCONN && errno != ECONNABORTED)
		pw_log_rl(PW_LOG_WARN, "fuse: answer to opcode %u was refused, %m", r->opcode);
	pwc_req_free(r);
	give_back(b);
}

static void on_batch_forget(struct pwc_dev *dev, const uint8_t *p, uint32_t len)
{
	const struct fuse_batch_forget_in *in = (const void *)p;
	const struct fuse_forget_one *one = (const void *)(in + 1);

	if (len < sizeof(*in) || in->count > (len - sizeof(*in)) / sizeof(*one))
		return;
	for (uint32_t i = 0; i < in->count; i++)
		dev->ops->on_forget(dev, one[i].nodeid);
}

/* What has no answer, or one of its own; true: the buffer is free again. */
static bool handle_special(struct pwc_dev *dev, struct pwc_dev_buf *b, uint32_t len)
{
	struct fuse_in_header *h = (void *)b->head;
	uint8_t *arg = b->head + sizeof(*h);

	switch (h->opcode) {
	case FUSE_FORGET:
		dev->ops->on_forget(dev, h->nodeid);
		return true;
	case FUSE_BATCH_FORGET:
		on_batch_forget(dev, arg, len - (uint32_t)sizeof(*h));
		return true;
	case FUSE_INTERRUPT:
		if (len >= sizeof(*h) + sizeof(struct fuse_interrupt_in))
			dev->ops->on_interrupt(dev, h->unique,
					       ((struct fuse_interrupt_in *)(void *)arg)->unique);
		return true;
	case FUSE_INIT:
		dev->ops->on_init(dev, b->head, len);
		return true;
	default:
		return false;
	}
}

static void handle(struct pwc_dev *dev, struct pwc_dev_buf *b, uint32_t len)
{
	int err = pwc_req_parse(&b->req, b->head, len);

	if (err) {
		pw_log_rl(PW_LOG_WARN, "fuse: %u bytes that are no request", len);
		give_back(b);
	} else if (handle_special(dev, b, len)) {
		give_back(b);
	} else {
		b->req.out = b->head + PWC_DEV_HEAD;
		b->req.out_max = dev->arena->o.payload_bytes;
		pwc_req_start(&b->req);
	}
}

static void lose(struct pwc_dev *dev, int err)
{
	if (dev->gone)
		return;
	dev->gone = true;
	dev->ops->on_gone(dev, err == -ENODEV ? 0 : err);
}

/* Return: a request (or nothing of interest) was read; false: nothing is there, or nothing can
 * be. */
static bool read_one(struct pwc_dev *dev)
{
	struct pwc_dev_buf *b;
	ssize_t n;

	if (!dev->nr_free) {
		dev->starved = true;
		dev->stalls++;
		return false;
	}
	b = pw_list_first(&dev->free, struct pwc_dev_buf, free);
	if (PW_FAULT("dev.read")) {
		lose(dev, -EIO);
		return false;
	}
	n = read(dev->fd.fd, b->head, dev->read_len);
	if (n > 0) {
		pw_list_del(&b->free);
		dev->nr_free--;
		handle(dev, b, (uint32_t)n);
		return true;
	}
	if (!n) { /* never from /dev/fuse; from a socket that a test has closed */
		lose(dev, -ENODEV);
		return false;
	}
	switch (errno) {
	case ENOENT: /* dropped while it was copied */
	case EINTR:
		return true;
	case EAGAIN:
		return false;
	default:
		lose(dev, -errno);
		return false;
	}
}

static void read_some(struct pwc_dev *dev)
{
	for (uint32_t i = 0; i < READS_PER_TURN; i++)
		if (dev->gone || dev->fd.closing || !read_one(dev))
			return;
	/* the poll tells of new requests only */
	pw_loop_ready(dev->loop, &dev->again);
}

static void on_readable(struct pw_fd *f)
{
	read_some(pw_container_of(f, struct pwc_dev, fd));
}

static void on_again(struct pw_ready *r)
{
	read_some(pw_container_of(r, struct pwc_dev, again));
}

int pwc_dev_init(struct pwc_dev *dev, struct pw_loop *loop, struct pwc_shard *sh,
		 const struct pwc_arena *arena, const struct pwc_dev_ops *ops, void *owner,
		 uint32_t first_idx)
{
	*dev = (struct pwc_dev){
		.loop = loop,
		.arena = arena,
		.ops = ops,
		.owner = owner,
		.nr_bufs = arena->o.nr_dev_bufs,
		.nr_free = arena->o.nr_dev_bufs,
		.read_len = (uint32_t)PWC_DEV_HEAD + arena->o.payload_bytes,
	};
	pw_list_init(&dev->free);
	pw_ready_init(&dev->again, on_again);
	dev->buf = calloc(dev->nr_bufs, sizeof(*dev->buf));
	if (!dev->buf || PW_FAULT("dev.init"))
		return -ENOMEM;
	for (uint32_t i = 0; i < dev->nr_bufs; i++) {
		struct pwc_dev_buf *b = &dev->buf[i];

		pwc_req_init(&b->req, sh, first_idx + i, PWC_PATH_DEV, reply);
		b->dev = dev;
		b->head = pwc_arena_dev_data(arena, i) - PWC_DEV_HEAD;
		pw_list_add_tail(&dev->free, &b->free);
	}
	return 0;
}

void pwc_dev_fini(struct pwc_dev *dev)
{
	if (dev->buf)
		pw_ready_cancel(&dev->again);
	free(dev->buf);
	dev->buf = NULL;
}

int pwc_dev_start(struct pwc_dev *dev, int fd)
{
	int err = pw_fd_start(dev->loop, &dev->fd, fd, on_readable);

	dev->started = !err;
	return err;
}

void pwc_dev_stop(struct pwc_dev *dev, void (*closed)(struct pw_fd *f))
{
	pw_ready_cancel(&dev->again);
	pw_fd_stop(&dev->fd, closed);
}
