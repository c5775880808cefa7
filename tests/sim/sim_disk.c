/* SPDX-License-Identifier: Apache-2.0 */
/* sim_disk.c -- storage_node/store/disk.h over memory that forgets when the power goes
 *
 * Each 4 KiB block has what is on the media and what the system has written: those of the second
 * kind that no flush has covered are dirty. A flush takes what is dirty when it begins and makes it
 * stable when it ends. A power cut decides for each dirty 512-byte sector: new, old, or torn
 * within.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "storage_node/store/disk.h"
#include "tests/sim/sim.h"

#define SECTOR 512u
#define SECTORS (PWS_BLOCK / SECTOR)
#define MAX_IOS 4096u

struct block {
	bool dirty;
	bool flushing; /* snap is valid: a flush is on its way */
	uint8_t *now, *stable, *snap; /* own; NULL: zeros */
};

struct inflight {
	struct pws_disk_io *io; /* NULL: free */
	uint64_t id;
};

struct pws_disk {
	struct pw_loop *loop;
	struct pw_ready ready;
	struct pw_list over; /* pws_disk_io.node: to be told */
	bool growing, grown;
	int grow_err;
	void (*grow_done)(void *arg, int err);
	void *grow_arg;
	struct pws_disk_stats stats;
};

struct indices { /* of blocks */
	uint32_t *at; /* owns; room for all */
	uint32_t nr;
};

static struct {
	struct block *block; /* owns */
	struct indices dirty, flushing;
	uint64_t nr_blocks; /* of the filesystem */
	uint64_t size; /* bytes that the file has */
	struct pws_disk *open; /* the node's; NULL: closed */
	struct inflight ios[MAX_IOS];
	uint64_t next_id;
	uint64_t grow_id, grow_to;
	uint64_t flush_id; /* 0: none */
	uint32_t fail_next;
	uint32_t die_at;
	void (*die)(void);
} media;

static void set_bytes(uint8_t **to, const uint8_t *from)
{
	if (!*to)
		*to = sim_alloc(PWS_BLOCK);
	if (from)
		memcpy(*to, from, PWS_BLOCK);
	else
		memset(*to, 0, PWS_BLOCK);
}

static struct block *block_at(uint64_t off)
{
	assert(off / PWS_BLOCK < media.nr_blocks);
	return &media.block[off / PWS_BLOCK];
}

static void set_dirty(struct block *b)
{
	if (!b->dirty)
		media.dirty.at[media.dirty.nr++] = (uint32_t)(b - media.block);
	b->dirty = true;
}

static void write_block(uint64_t off, const uint8_t *from, uint8_t sectors)
{
	struct block *b = block_at(off);

	if (!b->now)
		b->now = sim_alloc(PWS_BLOCK);
	for (uint32_t i = 0; i < SECTORS; i++)
		if (sectors & 1u << i)
			memcpy(b->now + i * SECTOR, from + i * SECTOR, SECTOR);
	set_dirty(b);
}

static void transfer(enum pws_disk_op op, uint8_t *buf, uint64_t off, uint32_t len)
{
	for (uint32_t i = 0; i < len; i += PWS_BLOCK) {
		struct block *b = block_at(off + i);

		if (op == PWS_DISK_WRITE)
			write_block(off + i, buf + i, 0xff);
		else if (b->now)
			memcpy(buf + i, b->now, PWS_BLOCK);
		else
			memset(buf + i, 0, PWS_BLOCK);
	}
}

static void flush_begin(void)
{
	struct indices swap = media.flushing;

	for (uint32_t i = 0; i < media.dirty.nr; i++) {
		struct block *b = &media.block[media.dirty.at[i]];

		set_bytes(&b->snap, b->now);
		b->flushing = true;
		b->dirty = false;
	}
	media.flushing = media.dirty;
	media.dirty = swap;
	media.dirty.nr = 0;
}

static void flush_end(bool ok)
{
	for (uint32_t i = 0; i < media.flushing.nr; i++) {
		struct block *b = &media.block[media.flushing.at[i]];

		b->flushing = false;
		if (ok)
			set_bytes(&b->stable, b->snap);
		else
			set_dirty(b);
	}
	media.flushing.nr = 0;
}

static int check_range(uint64_t off, uint32_t len)
{
	assert(off % PWS_BLOCK == 0 && len % PWS_BLOCK == 0);
	return off + len <= media.size ? 0 : -EIO;
}

/* Asynchronous ------------------------------------------------------------------------------- */

static uint64_t draw_latency(enum pws_disk_op op)
{
	uint64_t ns = 10 * PW_NS_PER_US + sim_below(SIM_RND_WORLD, 60 * PW_NS_PER_US);

	if (op == PWS_DISK_FLUSH)
		ns += 100 * PW_NS_PER_US + sim_below(SIM_RND_WORLD, PW_NS_PER_MS);
	if (sim.sw.slow_disk && !sim.quiet_phase && sim_chance(SIM_RND_WORLD, 50))
		ns += sim_below(SIM_RND_WORLD, sim.sw.disk_max_ns);
	return ns;
}

static void on_io(void *arg, uint64_t id)
{
	struct inflight *f = arg;
	struct pws_disk_io *io = f->io;
	struct pws_disk *d = media.open;

	if (!io || f->id != id)
		return; /* of an earlier life */
	f->io = NULL;
	if (io->op == PWS_DISK_FLUSH) {
		flush_end(!io->err);
		media.flush_id = 0;
	} else if (!io->err) {
		io->err = check_range(io->off, io->len);
		if (!io->err)
			transfer(io->op, io->buf, io->off, io->len);
	}
	pw_list_add_tail(&d->over, &io->node);
	pw_loop_ready(d->loop, &d->ready);
}

void pws_disk_submit(struct pws_disk *d, struct pws_disk_io *io)
{
	static uint32_t at;
	uint32_t tries = 0;

	for (at = 0; media.ios[at].io; at++)
		if (++tries == MAX_IOS - 1)
			abort();
	io->err = 0;
	if (media.fail_next && !sim.quiet_phase) {
		media.fail_next--;
		io->err = -EIO;
	}
	media.ios[at] = (struct inflight){ .io = io, .id = ++media.next_id };
	if (io->op == PWS_DISK_FLUSH) {
		/* one at a time: the journal's rule */
		if (media.flush_id)
			sim_fail("two flushes at once");
		media.flush_id = media.next_id;
		flush_begin();
	}
	sim_after(draw_latency(io->op), on_io, &media.ios[at], media.next_id);
	(void)d;
}

static void step(struct pw_ready *r)
{
	struct pws_disk *d = pw_container_of(r, struct pws_disk, ready);
	struct pw_list *n;

	while ((n = pw_list_pop(&d->over))) {
		struct pws_disk_io *io = pw_list_entry(n, struct pws_disk_io, node);

		io->done(io);
	}
	if (d->grown) {
		d->grown = d->growing = false;
		d->grow_done(d->grow_arg, d->grow_err);
	}
}

static void on_grown(void *arg, uint64_t id)
{
	struct pws_disk *d = media.open;

	(void)arg;
	if (!d || id != media.grow_id)
		return;
	d->grow_err = media.grow_to > media.nr_blocks * PWS_BLOCK ? -ENOSPC : 0;
	if (!d->grow_err)
		media.size = PW_MAX(media.size, media.grow_to);
	d->grown = true;
	pw_loop_ready(d->loop, &d->ready);
}

void pws_disk_grow(struct pws_disk *d, uint64_t size, void (*done)(void *arg, int err), void *arg)
{
	assert(!d->growing);
	d->growing = true;
	d->grow_done = done;
	d->grow_arg = arg;
	media.grow_to = size;
	media.grow_id = ++media.next_id;
	sim_after(draw_latency(PWS_DISK_FLUSH), on_grown, NULL, media.grow_id);
}

/* Blocking and the rest ---------------------------------------------------------------------- */

int pws_disk_open(struct pw_loop *loop, const char *path, bool create, uint64_t min_size,
		  struct pws_disk **ret)
{
	struct pws_disk *d = calloc(1, sizeof(*d));

	(void)path;
	(void)create;
	if (!d)
		return -ENOMEM;
	assert(!media.open);
	d->loop = loop;
	pw_list_init(&d->over);
	pw_ready_init(&d->ready, step);
	media.size = PW_MAX(media.size, PW_ROUND_UP(min_size, (uint64_t)PWS_BLOCK));
	assert(media.size <= media.nr_blocks * PWS_BLOCK);
	media.open = d;
	*ret = d;
	return 0;
}

void pws_disk_close(struct pws_disk *d)
{
	for (uint32_t i = 0; i < MAX_IOS; i++)
		if (media.ios[i].io)
			sim_fail("the disk is closed with an io in flight");
	pw_ready_cancel(&d->ready);
	media.open = NULL;
	free(d);
}

int pws_disk_do(struct pws_disk *d, enum pws_disk_op op, void *buf, uint64_t off, uint32_t len)
{
	(void)d;
	if (media.die_at && !--media.die_at)
		media.die();
	if (op == PWS_DISK_FLUSH) {
		flush_begin();
		flush_end(true);
		return 0;
	}
	if (check_range(off, len))
		return -EIO;
	transfer(op, buf, off, len);
	return 0;
}

uint64_t pws_disk_size(const struct pws_disk *d)
{
	(void)d;
	return media.size;
}

uint64_t pws_disk_growable(const struct pws_disk *d)
{
	(void)d;
	return media.nr_blocks * PWS_BLOCK - media.size;
}

uint64_t pws_disk_limit(const struct pws_disk *d)
{
	(void)d;
	return media.nr_blocks * PWS_BLOCK;
}

int pws_disk_register(struct pws_disk *d, void *base, size_t len)
{
	(void)d;
	(void)base;
	(void)len;
	return 0;
}

void pws_disk_get_stats(const struct pws_disk *d, struct pws_disk_stats *ret)
{
	*ret = d->stats;
}

/* Faults ------------------------------------------------------------------------------------- */

static void half_done(struct pws_disk_io *io)
{
	uint64_t how = sim_below(SIM_RND_WORLD, 3);

	if (io->op != PWS_DISK_WRITE || io->err || check_range(io->off, io->len) || !how)
		return;
	for (uint32_t i = 0; i < io->len; i += PWS_BLOCK)
		write_block(io->off + i, (uint8_t *)io->buf + i,
			    how == 1 ? 0xff : (uint8_t)sim_rnd(SIM_RND_WORLD));
}

static void tear(struct block *b)
{
	static const uint8_t zeros[PWS_BLOCK];
	const uint8_t *old = b->stable ? b->stable : zeros;

	for (uint32_t i = 0; i < PWS_BLOCK; i += SECTOR) {
		uint32_t n = SECTOR;

		switch (sim_below(SIM_RND_WORLD, 8)) {
		case 0:
		case 1:
		case 2:
			n = 0; /* new */
			break;
		case 3:
			n = (uint32_t)sim_below(SIM_RND_WORLD, SECTOR); /* torn: the front is old */
			break;
		case 4:
			if (b->flushing)
				memcpy(b->now + i, b->snap + i, SECTOR);
			n = 0;
			break;
		default:
			break; /* old */
		}
		memcpy(b->now + i, old + i, n);
	}
}

static void lose_power(void)
{
	/* sometimes nothing at all, or everything that was not flushed, gets there */
	uint64_t how = sim_below(SIM_RND_WORLD, 6);

	for (uint32_t i = 0; i < media.dirty.nr; i++) {
		struct block *b = &media.block[media.dirty.at[i]];

		if (how == 0)
			set_bytes(&b->now, b->stable);
		else if (how > 1)
			tear(b);
		set_bytes(&b->stable, b->now);
		b->dirty = b->flushing = false;
	}
	media.dirty.nr = media.flushing.nr = 0;
}

void sim_disk_crash(bool power)
{
	for (uint32_t i = 0; i < MAX_IOS; i++) {
		if (media.ios[i].io)
			half_done(media.ios[i].io);
		media.ios[i].io = NULL;
	}
	media.open = NULL;
	media.flush_id = media.grow_id = 0;
	/* dirty again, but tear() may still choose what the flush had under way */
	for (uint32_t i = 0; i < media.flushing.nr; i++)
		set_dirty(&media.block[media.flushing.at[i]]);
	if (power)
		lose_power();
	else
		for (uint32_t i = 0; i < media.flushing.nr; i++)
			media.block[media.flushing.at[i]].flushing = false;
	media.flushing.nr = 0;
}

bool sim_disk_flip(uint64_t from_off)
{
	uint64_t first = from_off / PWS_BLOCK, nr = 0, pick;

	for (uint64_t i = first; i < media.nr_blocks; i++)
		nr += media.block[i].now != NULL;
	pick = sim_below(SIM_RND_WORLD, nr);
	for (uint64_t i = first; i < media.nr_blocks; i++) {
		uint64_t bit = sim_below(SIM_RND_WORLD, 8ull * PWS_BLOCK);

		if (!media.block[i].now || pick--)
			continue;
		media.block[i].now[bit / 8] ^= (uint8_t)(1u << bit % 8);
		sim.nr_flips++;
		return true;
	}
	return false;
}

void sim_disk_fail_ios(uint32_t nr)
{
	media.fail_next = nr;
	sim.nr_disk_err += nr;
}

void sim_disk_die_at(uint32_t nth, void (*die)(void))
{
	media.die_at = nth;
	media.die = die;
}

void sim_disk_init(uint64_t fs_bytes)
{
	memset(&media, 0, sizeof(media));
	media.nr_blocks = fs_bytes / PWS_BLOCK;
	media.block = sim_alloc(media.nr_blocks * sizeof(*media.block));
	media.dirty.at = sim_alloc(media.nr_blocks * sizeof(uint32_t));
	media.flushing.at = sim_alloc(media.nr_blocks * sizeof(uint32_t));
}

void sim_disk_fini(void)
{
	for (uint64_t i = 0; i < media.nr_blocks; i++) {
		sim_free(media.block[i].now);
		sim_free(media.block[i].stable);
		sim_free(media.block[i].snap);
	}
	sim_free(media.block);
	sim_free(media.dirty.at);
	sim_free(media.flushing.at);
	media.block = NULL;
}
