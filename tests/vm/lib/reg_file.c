/* SPDX-License-Identifier: Apache-2.0 */
/* reg_file.c -- the server's one file, and its data in payload buffers or in regions */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "reg_server.h"

static void fill_attr(uint64_t ino, struct fuse_attr *a)
{
	memset(a, 0, sizeof(*a));
	a->ino = ino;
	a->nlink = 1;
	a->blksize = PAGE;
	a->mode = ino == 1 ? S_IFDIR | 0755 : S_IFREG | 0666;
	a->size = ino == 1 ? 0 : STORE_BYTES;
}

static long lookup(char *payload)
{
	struct fuse_entry_out *o = (void *)payload;

	if (strcmp(payload, "f"))
		return -ENOENT;
	memset(o, 0, sizeof(*o));
	o->nodeid = 2;
	o->entry_valid = o->attr_valid = 3600;
	fill_attr(2, &o->attr);
	return sizeof(*o);
}

static long getattr(uint64_t ino, char *payload)
{
	struct fuse_attr_out *o = (void *)payload;

	memset(o, 0, sizeof(*o));
	fill_attr(ino, &o->attr);
	o->attr_valid = 3600;
	return sizeof(*o);
}

static long open_file(uint32_t opcode, char *payload)
{
	struct fuse_open_out *o = (void *)payload;

	memset(o, 0, sizeof(*o));
	if (opcode == FUSE_OPEN)
		o->open_flags = FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES |
				(reg_srv.o->zero_copy ? FOPEN_IO_URING_ZERO_COPY : 0);
	return sizeof(*o);
}

/* Between the file and a run of a region. */
static bool copy_run(const struct abi_seg *s, char *store, bool write)
{
	char *mem;

	if (s->id >= NR_IDS || !reg_srv.region[s->id].addr)
		return false;
	if (s->off > reg_srv.region[s->id].len || s->len > reg_srv.region[s->id].len - s->off)
		return false;
	mem = reg_srv.region[s->id].addr + s->off;
	memcpy(write ? store : mem, write ? mem : store, s->len);
	return true;
}

static bool copy_hit(const struct fuse_uring_ent_in_out *io, const char *payload, char *store,
		     uint32_t size, bool write)
{
	uint64_t low = io->reserved & ((1ull << ABI_ID_SHIFT) - 1);
	struct abi_seg one = { low, size, (uint32_t)(io->reserved >> ABI_ID_SHIFT) };
	const struct abi_seg *seg = &one;
	uint64_t nr = 1, done = 0, i;

	if (io->flags & ABI_ENT_REG_SG) {
		struct reg_shared *sh = reg_srv.o->sh;

		seg = (const void *)payload;
		nr = low;
		if (nr < 2 || nr > ABI_MAX_SEGS)
			return false;
		memcpy(sh->seg, seg, sizeof(sh->seg));
	}
	reg_srv.o->sh->nr_segs = (unsigned int)nr;
	for (i = 0; i < nr; i++) {
		if (seg[i].len > size - done || !copy_run(&seg[i], store + done, write))
			return false;
		done += seg[i].len;
	}
	return done == size;
}

static long data_op(struct fuse_uring_req_header *h, char *payload, bool write)
{
	struct reg_shared *sh = reg_srv.o->sh;
	const struct fuse_uring_ent_in_out *io = &h->ring_ent_in_out;
	const struct fuse_write_in *w = (void *)h->op_in;
	const struct fuse_read_in *r = (void *)h->op_in;
	uint64_t pos = write ? w->offset : r->offset;
	uint32_t size = write ? w->size : r->size;
	bool hit = io->flags & ABI_ENT_REG, lent = io->flags & ABI_ENT_ZERO_COPY;

	if (pos > STORE_BYTES || size > STORE_BYTES - pos || (write && io->payload_sz != size) ||
	    (hit && lent)) {
		sh->bad++;
		return -EIO;
	}
	sh->last_reg = io->reserved;
	sh->last_flags = io->flags;
	if (sh->hold) {
		sh->held++;
		while (sh->hold)
			usleep(1000);
		sh->held--;
	}
	if (hit && !copy_hit(io, payload, sh->store + pos, size, write)) {
		sh->bad++;
		return -EIO;
	}
	if (!hit && !lent)
		memcpy(write ? sh->store + pos : payload, write ? payload : sh->store + pos, size);
	sh->hits += hit;
	sh->lent += lent;
	sh->copies += !hit && !lent;
	sh->sg += !!(io->flags & ABI_ENT_REG_SG);
	if (!write)
		return size;
	*(struct fuse_write_out *)payload = (struct fuse_write_out){ .size = size };
	return sizeof(struct fuse_write_out);
}

long reg_file_op(struct fuse_uring_req_header *h, char *payload)
{
	const struct fuse_in_header *in = (void *)h->in_out;

	switch (in->opcode) {
	case FUSE_LOOKUP:
		return lookup(payload);
	case FUSE_GETATTR:
	case FUSE_SETATTR:
		return getattr(in->nodeid, payload);
	case FUSE_OPEN:
	case FUSE_OPENDIR:
		return open_file(in->opcode, payload);
	case FUSE_READ:
	case FUSE_WRITE:
		return data_op(h, payload, in->opcode == FUSE_WRITE);
	case FUSE_RELEASE:
	case FUSE_RELEASEDIR:
	case FUSE_FLUSH:
	case FUSE_FSYNC:
	case FUSE_ACCESS:
		return 0;
	default:
		return -ENOSYS;
	}
}
