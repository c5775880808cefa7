/* SPDX-License-Identifier: Apache-2.0 */
/* op_ioctl.c -- IOCTL: what a mount tells of itself, and bytes between a file and a region
 *
 * PW_IOC_IO: the request names a region by id and key -> its range is checked -> one call to the
 * node, whose payload is that memory; neither the kernel nor this process copies it -> [WRITE: the
 * kernel forgets pages and attributes, as it has not seen these bytes] -> answer. The kernel says
 * which file it is and who calls; how the file was opened is in the handle that op_open.c gave it.
 * Can fail: a region that is not the caller's, a range outside of it, a file that was not opened
 * for this; whatever the node says. Everything else is ENOTTY, as from a file without ioctls.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "client_fs/ops.h"
#include "client_fs/region_sock.h"
#include "client_fs/shard.h"
#include "common/region_wire.h"

/* @len: bytes behind the header that were written there. */
static void end(struct pwc_req *r, int err, int32_t result, uint32_t len)
{
	struct fuse_ioctl_out *out = (void *)r->out;

	if (!err)
		*out = (struct fuse_ioctl_out){ .result = result };
	pwc_req_end(r, err, (uint32_t)sizeof(*out) + len);
}

static void info(struct pwc_req *r)
{
	struct pwc_shard *sh = r->sh;
	struct pw_region_info i = {
		.version = PW_REGION_VERSION,
		.flags = sh->regions.kernel ? PW_REGION_INFO_KERNEL : 0,
		.max_io = pwc_shard_max_io(sh),
		.max_regions = sh->regions.max_owner,
		.max_bytes = sh->regions.max_bytes_owner,
	};
	const char *transport = pwc_peer_transport(sh->peer);
	const struct fuse_ioctl_in *in = r->op_in;

	if (in->out_size < sizeof(i) || r->out_max < sizeof(struct fuse_ioctl_out) + sizeof(i)) {
		end(r, -EINVAL, 0, 0);
		return;
	}
	memcpy(i.fsid, sh->identity.fsid, sizeof(i.fsid));
	memcpy(i.transport, transport, PW_MIN(strcspn(transport, " "), sizeof(i.transport) - 1));
	strncpy(i.socket, pwc_region_sock_path(sh->region_sock), sizeof(i.socket) - 1);
	memcpy(r->out + sizeof(struct fuse_ioctl_out), &i, sizeof(i));
	end(r, 0, 0, sizeof(i));
}

static void on_forgotten(struct pwc_notify_job *job)
{
	struct pwc_req *r = pw_container_of(job, struct pwc_req, notify);

	end(r, 0, (int32_t)r->aux, 0);
}

static void on_written(struct pwc_call *c, int err, const struct pw_cmd *rsp, uint32_t out_len)
{
	struct pwc_req *r = pwc_req_of_call(c);
	uint32_t len = c->send.cmd.io.len;

	(void)out_len;
	if (err) {
		end(r, err, 0, 0);
		return;
	}
	r->sh->stats.bytes_written[PWC_PATH_REG] += len;
	pwc_req_count_region(r, 0, len);
	pwc_opens_own_change(&r->sh->opens, r->nodeid, rsp->attr.attr.change);
	if (r->sh->o->cache == PWC_CACHE_NONE) {
		end(r, 0, (int32_t)len, 0);
		return;
	}
	r->aux = len;
	r->notify.ino = r->nodeid;
	r->notify.off = c->send.cmd.io.off;
	r->notify.len = len;
	/* where it was appended is not known here */
	if (c->send.cmd.io.flags & PW_IO_APPEND) {
		r->notify.off = 0;
		r->notify.len = INT64_MAX;
	}
	r->notify.done = on_forgotten;
	pwc_notify_inval_data(&r->sh->notify, &r->notify);
}

static void on_read(struct pwc_call *c, int err, const struct pw_cmd *rsp, uint32_t out_len)
{
	struct pwc_req *r = pwc_req_of_call(c);

	(void)rsp;
	if (!err) {
		r->sh->stats.bytes_read[PWC_PATH_REG] += out_len;
		pwc_req_count_region(r, out_len, 0);
	}
	end(r, err, (int32_t)out_len, 0);
}

/* How a file was opened: the flags of the open, which are its handle. */
static int check_handle(const struct fuse_ioctl_in *in, uint32_t dir)
{
	uint32_t mode = (uint32_t)in->fh & O_ACCMODE;

	if (in->flags & FUSE_IOCTL_DIR)
		return -EISDIR;
	if (dir == PW_REGION_READ)
		return mode == O_WRONLY ? -EBADF : 0;
	if (dir == PW_REGION_WRITE)
		return mode == O_RDONLY ? -EBADF : 0;
	return -EINVAL;
}

static int check_io(struct pwc_req *r, const struct pw_region_io *io,
		    struct pwc_region **ret_region)
{
	struct pwc_region *region;
	int err = check_handle(r->op_in, io->dir);

	if (err)
		return err;
	if (io->reserved || io->len > pwc_shard_max_io(r->sh))
		return -EINVAL;
	region = pwc_region_find(&r->sh->regions, io->id, io->key, r->uid);
	if (!region || region->sm.state != PWC_REGION_LIVE) {
		r->sh->regions.refused_io++;
		return -ENXIO;
	}
	r->one = (struct iovec){ pwc_region_mem(region, io->region_off, io->len), io->len };
	if (!r->one.iov_base) {
		r->sh->regions.refused_io++;
		return -EFAULT;
	}
	*ret_region = region;
	return 0;
}

static void io_start(struct pwc_req *r)
{
	const struct fuse_ioctl_in *in = r->op_in;
	struct pwc_region *region;
	struct pw_region_io io = { 0 };
	struct pwc_data d = { .mem = r->out };
	int err = -EINVAL;

	if (r->in_len == sizeof(io)) {
		memcpy(&io, r->in, sizeof(io));
		err = check_io(r, &io, &region);
	}
	if (err || !io.len) {
		end(r, err, 0, 0);
		return;
	}
	d.off = io.file_off;
	d.len = io.len;
	r->region = region;
	pwc_region_hold(region);
	r->one_run = (struct pw_runs){ &r->one, 1, region->dmabuf };
	d.runs = r->runs = &r->one_run;
	if (io.dir == PW_REGION_READ) {
		err = pwc_op_read_send(r, &d, on_read);
	} else {
		d.flags = pwc_op_write_flags((uint32_t)in->fh);
		/* of other users the kernel would ask for it */
		if (r->uid)
			d.flags |= PW_IO_KILLPRIV;
		err = pwc_op_write_send(r, &d, on_written);
	}
	if (err)
		end(r, err == -ENODATA ? 0 : err, 0, 0);
}

void pwc_op_ioctl_start(struct pwc_req *r)
{
	const struct fuse_ioctl_in *in = r->op_in;
	bool ours = in->cmd == PW_IOC_INFO || in->cmd == PW_IOC_IO;

	if (!ours)
		end(r, -ENOTTY, 0, 0);
	else if (r->sh->o->zc == PWC_ZC_OFF)
		end(r, -EOPNOTSUPP, 0, 0);
	else if (in->cmd == PW_IOC_INFO)
		info(r);
	else
		io_start(r);
}
