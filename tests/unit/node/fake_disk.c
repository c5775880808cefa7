/* SPDX-License-Identifier: Apache-2.0 */
/* fake_disk.c -- see fake_disk.h
 *
 * @now is what reads return, @media what is durable. A flush takes with it what was written when it
 * started; its copy of those sectors reaches the media when it ends.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/fault.h"
#include "common/random.h"

#include "fake_disk.h"

#define SECTOR 512u

struct sectors { /* what one flush will make durable */
	struct pw_list node;
	struct pws_disk_io *io;
	uint32_t nr;
	uint32_t *idx;
	uint8_t *data;
};

struct pws_disk {
	struct pw_loop *loop;
	uint64_t size, max, capacity; /* capacity: of the arrays */
	uint8_t *now, *media;
	uint8_t *dirty; /* by sector */
	struct pw_list pending;
	struct pw_list flushes;
	uint32_t nr_pending;
	bool hold;
	struct pw_ready ready;
	uint32_t fail_nth[3];
	int fail_err[3];
	bool flip, broken;
	struct pw_ready grown;
	uint64_t grow_to, grow_step_max; /* 0: any */
	void (*grow_done)(void *arg, int err);
	void *grow_arg;
	void (*on_write)(void *arg, uint64_t off, uint32_t len);
	void *on_write_arg;
	struct pws_disk_stats stats;
};

static struct sectors *take_dirty(struct pws_disk *d, struct pws_disk_io *io)
{
	struct sectors *s = calloc(1, sizeof(*s));
	uint64_t nr = d->size / SECTOR;

	for (uint64_t i = 0; i < nr; i++)
		s->nr += d->dirty[i];
	s->idx = calloc(s->nr + 1, sizeof(*s->idx));
	s->data = malloc((size_t)s->nr * SECTOR + 1);
	s->nr = 0;
	for (uint64_t i = 0; i < nr; i++) {
		if (!d->dirty[i])
			continue;
		s->idx[s->nr] = (uint32_t)i;
		memcpy(s->data + (size_t)s->nr++ * SECTOR, d->now + i * SECTOR, SECTOR);
	}
	s->io = io;
	return s;
}

static void free_sectors(struct sectors *s)
{
	free(s->idx);
	free(s->data);
	free(s);
}

static void end_flush(struct pws_disk *d, struct pws_disk_io *io)
{
	struct pw_list *pos, *tmp;

	pw_list_for_each_safe(pos, tmp, &d->flushes) {
		struct sectors *s = pw_list_entry(pos, struct sectors, node);

		if (s->io != io)
			continue;
		for (uint32_t i = 0; i < s->nr && !io->err; i++) {
			uint8_t *to = d->media + (size_t)s->idx[i] * SECTOR;

			memcpy(to, s->data + (size_t)i * SECTOR, SECTOR);
			if (!memcmp(to, d->now + (size_t)s->idx[i] * SECTOR, SECTOR))
				d->dirty[s->idx[i]] = 0;
		}
		pw_list_del(pos);
		free_sectors(s);
	}
}

static int transfer(struct pws_disk *d, enum pws_disk_op op, void *buf, uint64_t off, uint32_t len)
{
	if (off % PWS_BLOCK || len % PWS_BLOCK || (uintptr_t)buf % PWS_BLOCK || off + len > d->size)
		return -EINVAL;
	if (op == PWS_DISK_READ) {
		d->stats.reads++;
		d->stats.bytes_read += len;
		memcpy(buf, d->now + off, len);
		if (d->flip)
			((uint8_t *)buf)[len / 2] ^= 4;
		d->flip = false;
	} else if (op == PWS_DISK_WRITE) {
		d->stats.writes++;
		d->stats.bytes_written += len;
		memcpy(d->now + off, buf, len);
		memset(d->dirty + off / SECTOR, 1, len / SECTOR);
	}
	return 0;
}

static void complete(struct pws_disk *d, struct pws_disk_io *io)
{
	io->err = d->broken ? -EIO : PW_FAULT("fake_disk.io");
	if (d->fail_nth[io->op] && !--d->fail_nth[io->op])
		io->err = d->fail_err[io->op];
	if (!io->err)
		io->err = transfer(d, io->op, io->buf, io->off, io->len);
	if (io->op == PWS_DISK_FLUSH)
		end_flush(d, io);
	pw_list_del(&io->node);
	d->nr_pending--;
	io->done(io);
}

/* Each one that is pending when the turn begins completes with probability 1/2. */
static void on_ready(struct pw_ready *r)
{
	struct pws_disk *d = pw_container_of(r, struct pws_disk, ready);
	struct pw_list turn = PW_LIST_INIT(turn);
	struct pw_list *n;

	if (d->hold)
		return;
	pw_list_splice_tail(&turn, &d->pending);
	while ((n = pw_list_pop(&turn))) {
		if (pw_random_below(2)) {
			complete(d, pw_list_entry(n, struct pws_disk_io, node));
		} else if (pw_random_below(2)) {
			pw_list_add_tail(&d->pending, n);
		} else {
			pw_list_add_head(&d->pending, n);
		}
	}
	if (!pw_list_empty(&d->pending))
		pw_loop_ready(d->loop, &d->ready);
}

static void on_grown(struct pw_ready *r)
{
	struct pws_disk *d = pw_container_of(r, struct pws_disk, grown);
	int err = PW_FAULT_ERR("fake_disk.grow", -ENOSPC);

	if (!err && (d->grow_to > d->max ||
		     (d->grow_step_max && d->grow_to - d->size > d->grow_step_max)))
		err = -ENOSPC;
	if (!err)
		d->size = d->grow_to;
	d->grow_to = 0;
	d->grow_done(d->grow_arg, err);
}

/* Not calloc(): most of a large disk is never touched. */
static uint8_t *new_area(uint64_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	assert(p != MAP_FAILED);
	return p;
}

struct pws_disk *fake_disk_new(struct pw_loop *loop, uint64_t size, uint64_t max)
{
	struct pws_disk *d = calloc(1, sizeof(*d));

	d->loop = loop;
	d->size = size;
	d->max = d->capacity = max;
	d->now = new_area(max);
	d->media = new_area(max);
	d->dirty = new_area(max / SECTOR);
	pw_list_init(&d->pending);
	pw_list_init(&d->flushes);
	pw_ready_init(&d->ready, on_ready);
	pw_ready_init(&d->grown, on_grown);
	return d;
}

uint8_t *fake_disk_mem(struct pws_disk *d)
{
	return d->now;
}

void fake_disk_hold(struct pws_disk *d, bool on)
{
	d->hold = on;
	if (!on && !pw_list_empty(&d->pending))
		pw_loop_ready(d->loop, &d->ready);
}

uint32_t fake_disk_pending(const struct pws_disk *d)
{
	return d->nr_pending;
}

void fake_disk_fail(struct pws_disk *d, enum pws_disk_op op, uint32_t nth, int err)
{
	d->fail_nth[op] = nth;
	d->fail_err[op] = err;
}

void fake_disk_flip_next_read(struct pws_disk *d)
{
	d->flip = true;
}

void fake_disk_break(struct pws_disk *d)
{
	d->broken = true;
	fake_disk_hold(d, false);
}

void fake_disk_set_max(struct pws_disk *d, uint64_t max)
{
	assert(max <= d->capacity);
	d->max = max;
}

void fake_disk_grow_at_most(struct pws_disk *d, uint64_t bytes)
{
	d->grow_step_max = bytes;
}

void fake_disk_on_write(struct pws_disk *d, void (*fn)(void *arg, uint64_t off, uint32_t len),
			void *arg)
{
	d->on_write = fn;
	d->on_write_arg = arg;
}

/* To an area of zeros. */
static void copy_touched(uint8_t *to, const uint8_t *from, uint64_t size)
{
	static const uint8_t zeros[PWS_BLOCK];

	for (uint64_t at = 0; at < size; at += PWS_BLOCK) {
		if (memcmp(from + at, zeros, PWS_BLOCK))
			memcpy(to + at, from + at, PWS_BLOCK);
	}
}

struct pws_disk *fake_disk_after_power_cut(struct pws_disk *d)
{
	struct pws_disk *n = fake_disk_new(d->loop, d->size, d->capacity);
	struct pw_list *pos;

	copy_touched(n->now, d->media, d->size);
	for (uint64_t i = 0; i < d->size / SECTOR; i++) {
		if (d->dirty[i] && pw_random_below(2))
			memcpy(n->now + i * SECTOR, d->now + i * SECTOR, SECTOR);
	}
	/* writes that had not completed are torn */
	pw_list_for_each(pos, &d->pending) {
		struct pws_disk_io *io = pw_list_entry(pos, struct pws_disk_io, node);

		for (uint32_t at = 0; io->op == PWS_DISK_WRITE && at < io->len; at += SECTOR) {
			if (pw_random_below(2))
				memcpy(n->now + io->off + at, (uint8_t *)io->buf + at, SECTOR);
		}
	}
	copy_touched(n->media, n->now, n->size);
	return n;
}

/* disk.h ------------------------------------------------------------------------------------ */

int pws_disk_open(struct pw_loop *loop, const char *path, bool create, uint64_t min_size,
		  struct pws_disk **ret)
{
	return -ENOSYS; /* tests make theirs with fake_disk_new() */
}

void pws_disk_close(struct pws_disk *d)
{
	assert(!d->nr_pending && !d->grow_to);
	munmap(d->now, d->capacity);
	munmap(d->media, d->capacity);
	munmap(d->dirty, d->capacity / SECTOR);
	free(d);
}

void pws_disk_submit(struct pws_disk *d, struct pws_disk_io *io)
{
	if (io->op == PWS_DISK_WRITE && d->on_write)
		d->on_write(d->on_write_arg, io->off, io->len);
	if (io->op == PWS_DISK_FLUSH)
		pw_list_add_tail(&d->flushes, &take_dirty(d, io)->node);
	pw_list_add_tail(&d->pending, &io->node);
	d->nr_pending++;
	if (!d->hold)
		pw_loop_ready(d->loop, &d->ready);
}

int pws_disk_do(struct pws_disk *d, enum pws_disk_op op, void *buf, uint64_t off, uint32_t len)
{
	int err = PW_FAULT("fake_disk.do");

	return err ? err : transfer(d, op, buf, off, len);
}

uint64_t pws_disk_size(const struct pws_disk *d)
{
	return d->size;
}

void pws_disk_grow(struct pws_disk *d, uint64_t size, void (*done)(void *arg, int err), void *arg)
{
	assert(!d->grow_to);
	d->grow_to = size;
	d->grow_done = done;
	d->grow_arg = arg;
	pw_loop_ready(d->loop, &d->grown);
}

uint64_t pws_disk_growable(const struct pws_disk *d)
{
	return d->max > d->size ? d->max - d->size : 0;
}

uint64_t pws_disk_limit(const struct pws_disk *d)
{
	return d->capacity;
}

int pws_disk_register(struct pws_disk *d, void *base, size_t len)
{
	return 0;
}

void pws_disk_get_stats(const struct pws_disk *d, struct pws_disk_stats *ret)
{
	*ret = d->stats;
}
