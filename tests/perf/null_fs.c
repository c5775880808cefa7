/* SPDX-License-Identifier: Apache-2.0 */
/* null_fs.c -- answers of the null FUSE server
 *
 * Attributes and names are cached by the kernel for an hour, so that what is measured is the
 * data request and nothing else.
 */
#include "null_fs.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define CACHE_SECONDS 3600
#define INIT_OVER_IO_URING_HI (1u << (41 - 32))	/* bit 41 of the INIT flags */

enum { NODE_ROOT = 1, NODE_DIRECT = 2, NODE_CACHED = 3 };

static uint64_t file_size_bytes;

static void fill_attr(uint64_t node, struct fuse_attr *attr)
{
	memset(attr, 0, sizeof(*attr));
	attr->ino = node;
	attr->nlink = 1;
	attr->blksize = 4096;
	if (node == NODE_ROOT) {
		attr->mode = S_IFDIR | 0755;
		return;
	}
	attr->mode = S_IFREG | 0666;
	attr->size = file_size_bytes;
	attr->blocks = file_size_bytes / 512;
}

static int do_lookup(struct null_req *req)
{
	struct fuse_entry_out *entry = req->out;
	uint64_t node;

	if (strcmp(req->name, "f") == 0)
		node = NODE_DIRECT;
	else if (strcmp(req->name, "c") == 0)
		node = NODE_CACHED;
	else
		return -ENOENT;
	memset(entry, 0, sizeof(*entry));
	entry->nodeid = node;
	entry->entry_valid = CACHE_SECONDS;
	entry->attr_valid = CACHE_SECONDS;
	fill_attr(node, &entry->attr);
	req->out_len_bytes = sizeof(*entry);
	return 0;
}

static int do_attr(struct null_req *req)
{
	struct fuse_attr_out *attr = req->out;

	memset(attr, 0, sizeof(*attr));
	attr->attr_valid = CACHE_SECONDS;
	fill_attr(req->in->nodeid, &attr->attr);
	req->out_len_bytes = sizeof(*attr);
	return 0;
}

static int do_open(struct null_req *req)
{
	struct fuse_open_out *open_out = req->out;

	memset(open_out, 0, sizeof(*open_out));
	if (req->in->nodeid == NODE_DIRECT)
		open_out->open_flags = FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES;
	req->out_len_bytes = sizeof(*open_out);
	return 0;
}

static size_t add_dirent(char *buf, uint64_t node, char name, uint64_t next)
{
	struct fuse_dirent entry = {
		.ino = node, .off = next, .namelen = 1, .type = S_IFREG >> 12,
	};

	memcpy(buf, &entry, FUSE_NAME_OFFSET);
	memset(buf + FUSE_NAME_OFFSET, 0, 8);
	buf[FUSE_NAME_OFFSET] = name;
	return FUSE_NAME_OFFSET + 8;
}

static int do_readdir(struct null_req *req)
{
	const struct fuse_read_in *read_in = req->op_in;
	char *out = req->out;
	size_t len = 0;

	if (read_in->size < 2 * (FUSE_NAME_OFFSET + 8))
		return -EINVAL;
	if (read_in->offset < 1)
		len += add_dirent(out + len, NODE_DIRECT, 'f', 1);
	if (read_in->offset < 2)
		len += add_dirent(out + len, NODE_CACHED, 'c', 2);
	req->out_len_bytes = len;
	return 0;
}

static int do_read(struct null_req *req)
{
	const struct fuse_read_in *read_in = req->op_in;
	uint64_t left = 0;

	if (read_in->size > NULL_FS_MAX_IO)
		return -EINVAL;
	if (read_in->offset < file_size_bytes)
		left = file_size_bytes - read_in->offset;
	req->out_len_bytes = left < read_in->size ? left : read_in->size;
	return 0;
}

static int do_write(struct null_req *req)
{
	const struct fuse_write_in *write_in = req->op_in;
	struct fuse_write_out write_out = { .size = write_in->size };

	if (write_in->offset + write_in->size > file_size_bytes)
		return -ENOSPC;
	memcpy(req->out, &write_out, sizeof(write_out));
	req->out_len_bytes = sizeof(write_out);
	return 0;
}

static int do_statfs(struct null_req *req)
{
	struct fuse_statfs_out *statfs_out = req->out;

	memset(statfs_out, 0, sizeof(*statfs_out));
	statfs_out->st.bsize = 4096;
	statfs_out->st.frsize = 4096;
	statfs_out->st.namelen = 255;
	statfs_out->st.blocks = file_size_bytes / 4096 * 2;
	statfs_out->st.bfree = file_size_bytes / 4096;
	statfs_out->st.bavail = file_size_bytes / 4096;
	req->out_len_bytes = sizeof(*statfs_out);
	return 0;
}

void null_fs_init(uint64_t size_bytes)
{
	file_size_bytes = size_bytes;
}

int null_fs_handle(struct null_req *req)
{
	req->out_len_bytes = 0;
	switch (req->in->opcode) {
	case FUSE_READ:
		return do_read(req);
	case FUSE_WRITE:
		return do_write(req);
	case FUSE_LOOKUP:
		return do_lookup(req);
	case FUSE_GETATTR:
	case FUSE_SETATTR:
		return do_attr(req);
	case FUSE_OPEN:
	case FUSE_OPENDIR:
		return do_open(req);
	case FUSE_READDIR:
		return do_readdir(req);
	case FUSE_STATFS:
		return do_statfs(req);
	case FUSE_FSYNC:		/* a real round trip: it is part of what is measured */
	case FUSE_RELEASE:
	case FUSE_RELEASEDIR:
		return 0;
	default:
		return -ENOSYS;
	}
}

int null_fs_init_reply(const struct fuse_init_in *in, int want_ring, struct fuse_init_out *ret_out)
{
	uint32_t want = FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_ASYNC_DIO | FUSE_MAX_PAGES |
			FUSE_PARALLEL_DIROPS | FUSE_INIT_EXT;
	uint32_t want_hi = want_ring ? INIT_OVER_IO_URING_HI : 0;

	memset(ret_out, 0, sizeof(*ret_out));
	ret_out->major = FUSE_KERNEL_VERSION;
	ret_out->minor = in->minor;
	ret_out->max_readahead = NULL_FS_MAX_IO;
	ret_out->flags = in->flags & want;
	if (in->flags & FUSE_INIT_EXT)
		ret_out->flags2 = in->flags2 & want_hi;
	ret_out->max_background = 256;
	ret_out->congestion_threshold = 192;
	ret_out->max_write = NULL_FS_MAX_IO;
	ret_out->max_pages = NULL_FS_MAX_IO / 4096;
	ret_out->time_gran = 1;
	return ret_out->flags2 != 0;
}
