/* SPDX-License-Identifier: Apache-2.0 */
/* vdisk.c -- a disk in memory that keeps apart what was written and what is on media */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/random.h"

#include "vdisk.h"

#define SECTOR 512u

struct pws_disk {
	struct pw_loop *loop;
	uint64_t size;
	uint8_t *cache;	      /* as reads see it */
	uint8_t *media;	      /* as a power cut leaves it at worst */
	bool *dirty;	      /* sector: written, and no flush since */
	bool *flushing;	      /* sector: was dirty when the running flush started */
	uint8_t *flush_img;   /* its bytes at that time */
	struct pw_list queue; /* pws_disk_io.node */
	struct pw_ready ready;
	bool hold, broken;
	uint32_t fail_write, fail_flush;
	struct pws_disk_stats stats;
};

static void on_ready(struct pw_ready *r);

struct pws_disk *vdisk_new(struct pw_loop *loop, uint64_t size)
{
	struct pws_disk *d = calloc(1, sizeof(*d));

	d->loop = loop;
	d->size = size;
	d->cache = calloc(1, size);
	d->media = calloc(1, size);
	d->flush_img = calloc(1, size);
	d->dirty = calloc(size / SECTOR, sizeof(bool));
	d->flushing = calloc(size / SECTOR, sizeof(bool));
	pw_list_init(&d->queue);
	pw_ready_init(&d->ready, on_ready);
	return d;
}

void pws_disk_close(struct pws_disk *d)
{
	if (!pw_list_empty(&d->queue))
		abort();
	pw_ready_cancel(&d->ready);
	free(d->cache);
	free(d->media);
	free(d->flush_img);
	free(d->dirty);
	free(d->flushing);
	free(d);
}

static bool keeps(enum vdisk_cut cut)
{
	return cut == VDISK_KEEP_ALL || (cut == VDISK_KEEP_SOME && pw_random_below(2));
}

static void keep_sector(struct pws_disk *d, enum vdisk_cut cut, uint64_t at, const uint8_t *from)
{
	memcpy(d->cache + at, from, SECTOR);
	if (cut == VDISK_KEEP_ALL)
		d->dirty[at / SECTOR] = true; /* only the process died: still not flushed */
	else
		memcpy(d->media + at, from, SECTOR);
}

struct pws_disk *vdisk_after_cut(struct pws_disk *from, enum vdisk_cut cut)
{
	struct pws_disk *d = vdisk_new(from->loop, from->size);
	struct pw_list *n;

	memcpy(d->cache, from->media, from->size);
	memcpy(d->media, from->media, from->size);
	for (uint64_t s = 0; s < from->size / SECTOR; s++)
		if (from->dirty[s] && keeps(cut))
			keep_sector(d, cut, s * SECTOR, from->cache + s * SECTOR);
	/* what is on its way may be there in part */
	pw_list_for_each(n, &from->queue) {
		const struct pws_disk_io *io = pw_list_entry(n, struct pws_disk_io, node);
		bool all = pw_random_below(2); /* of a killed process: all or nothing */

		for (uint32_t i = 0; io->op == PWS_DISK_WRITE && i < io->len; i += SECTOR)
			if (cut == VDISK_KEEP_ALL ? all : keeps(cut))
				keep_sector(d, cut, io->off + i, (const uint8_t *)io->buf + i);
	}
	return d;
}

static void start_flush(struct pws_disk *d)
{
	for (uint64_t s = 0; s < d->size / SECTOR; s++) {
		if (!d->dirty[s])
			continue;
		d->flushing[s] = true;
		memcpy(d->flush_img + s * SECTOR, d->cache + s * SECTOR, SECTOR);
	}
}

static void end_flush(struct pws_disk *d)
{
	for (uint64_t s = 0; s < d->size / SECTOR; s++) {
		uint64_t at = s * SECTOR;

		if (!d->flushing[s])
			continue;
		d->flushing[s] = false;
		memcpy(d->media + at, d->flush_img + at, SECTOR);
		/* written again meanwhile: still dirty */
		if (!memcmp(d->cache + at, d->flush_img + at, SECTOR))
			d->dirty[s] = false;
	}
}

static int transfer(struct pws_disk *d, enum pws_disk_op op, void *buf, uint64_t off, uint32_t len)
{
	if (d->broken || (op != PWS_DISK_FLUSH && off + len > d->size))
		return -EIO;
	switch (op) {
	case PWS_DISK_READ:
		memcpy(buf, d->cache + off, len);
		d->stats.reads++;
		return 0;
	case PWS_DISK_WRITE:
		if (d->fail_write && !--d->fail_write)
			return -EIO;
		memcpy(d->cache + off, buf, len);
		for (uint64_t s = off / SECTOR; s < (off + len) / SECTOR; s++)
			d->dirty[s] = true;
		d->stats.writes++;
		return 0;
	default:
		if (d->fail_flush && !--d->fail_flush)
			return -EIO;
		end_flush(d);
		d->stats.flushes++;
		return 0;
	}
}

void pws_disk_submit(struct pws_disk *d, struct pws_disk_io *io)
{
	if (io->op == PWS_DISK_FLUSH)
		start_flush(d);
	pw_list_add_tail(&d->queue, &io->node);
	pw_loop_ready(d->loop, &d->ready);
}

bool vdisk_step(struct pws_disk *d)
{
	struct pw_list *n = pw_list_pop(&d->queue);
	struct pws_disk_io *io;

	if (!n)
		return false;
	io = pw_list_entry(n, struct pws_disk_io, node);
	io->err = transfer(d, io->op, io->buf, io->off, io->len);
	io->done(io);
	return true;
}

static void on_ready(struct pw_ready *r)
{
	struct pws_disk *d = pw_container_of(r, struct pws_disk, ready);

	if (d->hold)
		return;
	vdisk_step(d);
	if (!pw_list_empty(&d->queue))
		pw_loop_ready(d->loop, &d->ready);
}

void vdisk_hold(struct pws_disk *d, bool hold)
{
	d->hold = hold;
	if (!hold && !pw_list_empty(&d->queue))
		pw_loop_ready(d->loop, &d->ready);
}

uint32_t vdisk_in_flight(const struct pws_disk *d)
{
	struct pw_list *n;
	uint32_t nr = 0;

	pw_list_for_each(n, &d->queue)
		nr++;
	return nr;
}

void vdisk_fail_write(struct pws_disk *d, uint32_t nth)
{
	d->fail_write = nth;
}

void vdisk_fail_flush(struct pws_disk *d, uint32_t nth)
{
	d->fail_flush = nth;
}

void vdisk_break(struct pws_disk *d)
{
	d->broken = true;
	vdisk_hold(d, false);
}

uint8_t *vdisk_mem(struct pws_disk *d)
{
	return d->cache;
}

int pws_disk_do(struct pws_disk *d, enum pws_disk_op op, void *buf, uint64_t off, uint32_t len)
{
	if (op == PWS_DISK_FLUSH)
		start_flush(d);
	return transfer(d, op, buf, off, len);
}

uint64_t pws_disk_size(const struct pws_disk *d)
{
	return d->size;
}

void pws_disk_get_stats(const struct pws_disk *d, struct pws_disk_stats *ret)
{
	*ret = d->stats;
}
