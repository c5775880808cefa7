/* SPDX-License-Identifier: Apache-2.0 */
/* blocks.c -- see blocks.h
 *
 * A chunk:	sparse -> registered, when a mount is met; either -> private, in a child of fork()
 *
 * sparse:	what is given back has its pages taken away: it is zero, and costs nothing
 * registered:	all pages are there and stay, as a network device may have them; zeroing is writing
 * private:	a copy of what was in use at fork(); gives back, but gives no new blocks
 *
 * What the program closes behind our back is not ours any more: see owned_fd.h.
 */
#include "libpagewire/alloc/blocks.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "libpagewire/alloc/meeting.h"
#include "libpagewire/alloc/owned_fd.h"
#include "libpagewire/alloc/granules.h"
#include "libpagewire/alloc/say.h"
#include "libpagewire/alloc/settings.h"

#define CHUNK_BYTES ((size_t)16 << 20) /* the first; each further one is twice as long */
#define CHUNK_ALIGN ((size_t)2 << 20)
#define MAX_CHUNKS  64u

struct chunk {
	uint8_t *base; /* owns the mapping */
	size_t len;
	struct pw_granules runs; /* owns its row, a mapping */
	struct pw_owned_fd mem; /* -1: private */
	bool registered;
	bool stale;    /* what was given back may not be zero */
	uint8_t *copy; /* owns, while fork() runs */
};

static struct {
	pthread_mutex_t lock; /* of all that is below */
	bool started;
	struct pw_settings set;
	uint8_t *top, *end; /* of the address range: what no chunk has yet */
	size_t given;	    /* bytes of chunks that are not private */
	struct chunk chunks[MAX_CHUNKS];
	uint32_t nr_chunks;
	struct pw_meeting met;
	uint64_t nr, bytes, elsewhere; /* blocks given, and those for which there was no room */
} st = { .lock = PTHREAD_MUTEX_INITIALIZER, .met.sock.fd = -1 };

struct pw_blocks_range pw_blocks_range;
_Atomic(size_t) pw_blocks_min = SIZE_MAX;

/* madvise() of this library's preload would give it another meaning. */
static int advise(void *p, size_t len, int what)
{
	return (int)syscall(SYS_madvise, p, len, what);
}

/* In the thread that forks, from our turn before to our turn afterwards: handlers of others that
 * run meanwhile get no block, and what they give back is lost: in the child it is the parent's. */
static __thread bool in_fork;

static bool enter(void)
{
	if (in_fork)
		return false;
	pthread_mutex_lock(&st.lock);
	return true;
}

static void leave(void)
{
	pthread_mutex_unlock(&st.lock);
}

/* --------------------------------------------------------------------------------- registration */

static void register_chunk(struct chunk *c)
{
	if (c->mem.fd < 0 || c->registered)
		return;
	c->registered = pw_meeting_register(&st.met, &c->mem, c->len);
	c->stale = c->stale || c->registered;
}

static void register_all(void)
{
	for (uint32_t i = 0; i < st.nr_chunks; i++)
		register_chunk(&st.chunks[i]);
}

void pw_blocks_meet(int fd)
{
	int saved = errno;

	if (!enter())
		return;
	if (st.started && pw_meeting_at(&st.met, fd))
		register_all();
	leave();
	errno = saved;
}

/* --------------------------------------------------------------------------------------- chunks */

static int make_memfd(size_t len)
{
	struct rlimit most;
	int fd;

	/* longer would be a signal */
	if (!getrlimit(RLIMIT_FSIZE, &most) && most.rlim_cur != RLIM_INFINITY &&
	    most.rlim_cur < len)
		return -1;
	fd = memfd_create("pagewire-alloc", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd >= 0 && (ftruncate(fd, (off_t)len) ||
			fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW))) {
		close(fd);
		return -1;
	}
	return fd;
}

/* A private chunk in which nothing is used any more leaves its addresses. */
static struct chunk *place_for(size_t len, size_t *ret_len)
{
	struct chunk *c;

	for (uint32_t i = 0; i < st.nr_chunks; i++) {
		c = &st.chunks[i];
		if (c->mem.fd < 0 && !c->runs.used && c->len >= len) {
			*ret_len = c->len;
			return c;
		}
	}
	if (st.nr_chunks == MAX_CHUNKS || (size_t)(st.end - st.top) < len)
		return NULL;
	c = &st.chunks[st.nr_chunks];
	*c = (struct chunk){ .base = st.top, .mem.fd = -1 };
	*ret_len = len;
	return c;
}

/* Twice as long as the last one, as far as the total goes; 0: @need is more than is left. */
static size_t next_len(size_t need)
{
	size_t len = CHUNK_BYTES, left = st.set.total_bytes - st.given;

	for (uint32_t i = 0; i < st.nr_chunks && len < left; i++)
		len *= st.chunks[i].mem.fd >= 0 ? 2 : 1;
	if (len < need)
		len = need;
	len = (len + CHUNK_ALIGN - 1) & ~(CHUNK_ALIGN - 1);
	if (len > left)
		len = left & ~(CHUNK_ALIGN - 1);
	return len < need ? 0 : len;
}

static bool map_chunk(struct chunk *c, size_t len)
{
	size_t row = len / PW_BLOCKS_GRANULE * sizeof(uint32_t);
	int fd = make_memfd(len);
	uint32_t *run = fd < 0 ? MAP_FAILED
			       : mmap(NULL, row, PROT_READ | PROT_WRITE,
				      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (run == MAP_FAILED ||
	    mmap(c->base, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) ==
		    MAP_FAILED) {
		if (run != MAP_FAILED)
			munmap(run, row);
		if (fd >= 0)
			close(fd);
		return false;
	}
	pw_own_fd(&c->mem, fd);
	if (c->runs.run)
		munmap(c->runs.run, row);
	pw_granules_init(&c->runs, run, (uint32_t)(len / PW_BLOCKS_GRANULE));
	return true;
}

static struct chunk *add_chunk(size_t need)
{
	size_t len = next_len(need);
	struct chunk *c;

	if (!len)
		return NULL;
	c = place_for(len, &len);
	if (!c || !map_chunk(c, len))
		return NULL;
	if (c == &st.chunks[st.nr_chunks]) {
		st.nr_chunks++;
		st.top += len;
	}
	c->len = len;
	c->registered = c->stale = false;
	st.given += len;
	pw_say("a chunk of %zu MiB", len >> 20);
	if (pw_meeting_known(&st.met))
		register_all();
	else
		register_chunk(c);
	return c;
}

/* --------------------------------------------------------------------------------------- blocks */

static struct chunk *chunk_of(const void *p)
{
	for (uint32_t i = 0; i < st.nr_chunks; i++) {
		struct chunk *c = &st.chunks[i];

		if ((uintptr_t)p - (uintptr_t)c->base < c->len)
			return c;
	}
	return NULL;
}

static uint32_t granule_of(const struct chunk *c, const void *p)
{
	return (uint32_t)(((uintptr_t)p - (uintptr_t)c->base) / PW_BLOCKS_GRANULE);
}

/* What nobody uses any more. */
static void take_pages(struct chunk *c, uint8_t *p, size_t len)
{
	if (c->mem.fd < 0)
		advise(p, len, MADV_DONTNEED);
	else if (!c->registered && advise(p, len, MADV_REMOVE))
		c->stale = true;
}

static void *take(struct chunk *c, size_t len, size_t align)
{
	size_t step = align / PW_BLOCKS_GRANULE;
	uint32_t at;

	if (step < 1)
		step = 1;
	if (c->mem.fd < 0 || step > c->runs.nr || len > c->len)
		return NULL;
	at = pw_granules_get(&c->runs, (uint32_t)(len / PW_BLOCKS_GRANULE), (uint32_t)step,
			 (uint32_t)((uintptr_t)c->base / PW_BLOCKS_GRANULE % step));
	return at == PW_GRANULE_NONE ? NULL : c->base + at * PW_BLOCKS_GRANULE;
}

void *pw_blocks_get(size_t len, size_t align, bool *ret_zero)
{
	int saved = errno;
	struct chunk *c;
	void *p = NULL;

	if (len > SIZE_MAX / 4 || align > SIZE_MAX / 4)
		return NULL;
	len = (len + PW_BLOCKS_GRANULE - 1) & ~(PW_BLOCKS_GRANULE - 1);
	if (!enter())
		return NULL;
	for (uint32_t i = 0; i < st.nr_chunks && !p; i++) {
		c = &st.chunks[i];
		p = take(c, len, align);
	}
	if (!p && st.started) {
		c = add_chunk(len + (align > PW_BLOCKS_GRANULE ? align : 0));
		p = c ? take(c, len, align) : NULL;
	}
	if (p) {
		*ret_zero = !c->stale;
		st.nr++;
		st.bytes += len;
	} else {
		st.elsewhere++;
	}
	leave();
	errno = saved;
	return p;
}

/* Return: the chunk of the block that begins at @p; NULL: none does. */
static struct chunk *block_at(const void *p, size_t *ret_len)
{
	struct chunk *c = chunk_of(p);
	uint32_t nr = 0;

	if (c && !((uintptr_t)p % PW_BLOCKS_GRANULE))
		nr = pw_granules_len(&c->runs, granule_of(c, p));
	*ret_len = nr * PW_BLOCKS_GRANULE;
	return nr ? c : NULL;
}

size_t pw_blocks_size(const void *p)
{
	bool locked = enter(); /* else nobody changes it */
	size_t len;

	block_at(p, &len);
	if (locked)
		leave();
	return len;
}

void pw_blocks_put(void *p)
{
	int saved = errno;
	struct chunk *c;
	size_t len;

	if (!enter())
		return;
	c = block_at(p, &len);
	if (!c) {
		leave();
		dprintf(STDERR_FILENO, "pagewire-alloc: free() of %p, where no block begins\n", p);
		abort();
	}
	take_pages(c, p, len);
	pw_granules_put(&c->runs, granule_of(c, p));
	leave();
	errno = saved;
}

bool pw_blocks_resize(void *p, size_t len)
{
	int saved = errno;
	struct chunk *c;
	bool ok = false;
	size_t old;

	if (len > SIZE_MAX / 4 || !enter())
		return false;
	len = (len + PW_BLOCKS_GRANULE - 1) & ~(PW_BLOCKS_GRANULE - 1);
	c = block_at(p, &old);
	if (c && len < old)
		take_pages(c, (uint8_t *)p + len, old - len);
	/* in a private chunk there is nothing that could be given */
	if (c && (len <= old || c->mem.fd >= 0))
		ok = pw_granules_resize(&c->runs, granule_of(c, p),
				    (uint32_t)(len / PW_BLOCKS_GRANULE));
	leave();
	errno = saved;
	return ok;
}

void pw_blocks_discard(void *p, size_t len)
{
	struct chunk *c;

	if (!enter())
		return;
	c = chunk_of(p);
	if (c && c->mem.fd < 0)
		advise(p, len, MADV_DONTNEED);
	else if (advise(p, len, MADV_REMOVE)) /* registered pages stay */
		memset(p, 0, len);
	leave();
}

/* ----------------------------------------------------------------------------------------- fork */

static void copy_bytes(struct chunk *c, size_t at, size_t len)
{
	ssize_t n = 0;

	while (len && (n = pread(c->mem.fd, c->copy + at, len, (off_t)at)) > 0) {
		at += (size_t)n;
		len -= (size_t)n;
	}
	if (len)
		memcpy(c->copy + at, c->base + at, len);
}

/* What of it was ever written. Through the descriptor, as the program may have forbidden itself to
 * read some of it; without that, through the mapping. */
static void copy_run(struct chunk *c, size_t at, size_t len)
{
	size_t end = at + len;

	if (!pw_owned_fd_is_ours(&c->mem)) {
		memcpy(c->copy + at, c->base + at, len);
		return;
	}
	while (at < end) {
		off_t data = lseek(c->mem.fd, (off_t)at, SEEK_DATA), hole;

		if (data < 0 && errno == ENXIO)
			return;
		hole = data < 0 ? -1 : lseek(c->mem.fd, data, SEEK_HOLE);
		if (data < 0 || hole < 0)
			data = (off_t)at, hole = (off_t)end;
		if ((size_t)data >= end)
			return;
		if ((size_t)hole > end)
			hole = (off_t)end;
		copy_bytes(c, (size_t)data, (size_t)(hole - data));
		at = (size_t)hole;
	}
}

static void before_fork(void)
{
	pthread_mutex_lock(&st.lock);
	in_fork = true;
	for (uint32_t i = 0; i < st.nr_chunks; i++) {
		struct chunk *c = &st.chunks[i];
		uint32_t at = 0;
		void *p;

		if (c->mem.fd < 0 || !c->runs.used)
			continue;
		p = mmap(NULL, c->len, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		c->copy = p == MAP_FAILED ? NULL : p;
		while (c->copy && (at = pw_granules_next(&c->runs, at)) != PW_GRANULE_NONE) {
			uint32_t nr = pw_granules_len(&c->runs, at);

			copy_run(c, at * PW_BLOCKS_GRANULE, nr * PW_BLOCKS_GRANULE);
			at += nr;
		}
	}
}

static void after_fork_parent(void)
{
	for (uint32_t i = 0; i < st.nr_chunks; i++) {
		struct chunk *c = &st.chunks[i];

		if (c->copy)
			munmap(c->copy, c->len);
		c->copy = NULL;
	}
	in_fork = false;
	pthread_mutex_unlock(&st.lock);
}

/* Until now it is inherited, and shared: with MADV_DONTFORK there would be a hole, and who is told
 * of the fork before us may have mapped something there. */
static void make_private(struct chunk *c)
{
	void *p;

	if (c->copy) {
		p = mremap(c->copy, c->len, c->len, MREMAP_MAYMOVE | MREMAP_FIXED, c->base);
	} else {
		p = mmap(c->base, c->len, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
		if (c->runs.used)
			dprintf(STDERR_FILENO,
				"pagewire-alloc: no memory for a copy of %zu MiB at fork(): "
				"process %d can end or exec, and has lost them\n",
				c->len >> 20, (int)getpid());
	}
	if (p == MAP_FAILED)
		abort();
	c->copy = NULL;
	pw_disown_fd(&c->mem);
	c->registered = c->stale = false;
	st.given -= c->len;
}

static void after_fork_child(void)
{
	for (uint32_t i = 0; i < st.nr_chunks; i++) {
		if (st.chunks[i].mem.fd >= 0)
			make_private(&st.chunks[i]);
	}
	pw_meeting_forget(&st.met);
	st.nr = st.bytes = st.elsewhere = 0;
	in_fork = false;
	pthread_mutex_init(&st.lock, NULL);
}

/* ---------------------------------------------------------------------------------------- start */

void pw_blocks_start(void)
{
	struct rlimit most;
	size_t len;
	uint8_t *p;

	pw_settings_read(&st.set);
	if (st.set.verbose)
		pw_say_start();
	st.met.asked = st.set.mount;
	len = (st.set.total_bytes + CHUNK_ALIGN - 1) & ~(CHUNK_ALIGN - 1);
	/* addresses only; where they are limited, the program shall have them */
	if (getrlimit(RLIMIT_AS, &most) || most.rlim_cur != RLIM_INFINITY) {
		pw_say("off: addresses are limited (ulimit -v)");
		return;
	}
	p = mmap(NULL, len + CHUNK_ALIGN, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		 -1, 0);
	if (p == MAP_FAILED || pthread_atfork(before_fork, after_fork_parent, after_fork_child)) {
		pw_say("off: no %zu MiB of addresses", len >> 20);
		return;
	}
	pthread_mutex_lock(&st.lock);
	st.top = (uint8_t *)(((uintptr_t)p + CHUNK_ALIGN - 1) & ~(CHUNK_ALIGN - 1));
	st.end = st.top + len;
	st.set.total_bytes = len;
	atomic_store(&pw_blocks_range.base, (uintptr_t)st.top);
	atomic_store(&pw_blocks_range.len, len);
	st.started = true;
	pthread_mutex_unlock(&st.lock);
	atomic_store(&pw_blocks_min, st.set.min_bytes);
}

__attribute__((destructor)) static void tell(void)
{
	uint64_t mib = 0;

	for (uint32_t i = 0; i < st.nr_chunks; i++)
		mib += st.chunks[i].registered ? st.chunks[i].len >> 20 : 0;
	if (!st.nr && !st.elsewhere)
		return;
	pw_say("%llu blocks of %llu MiB, %llu not served, %llu MiB registered at the end",
	    (unsigned long long)st.nr, (unsigned long long)st.bytes >> 20,
	    (unsigned long long)st.elsewhere, (unsigned long long)mib);
}
