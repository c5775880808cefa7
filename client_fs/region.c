/* SPDX-License-Identifier: Apache-2.0 */
/* region.c -- see region.h
 *
 * Happy path: look at the file -> map it -> seal it -> see that all its pages are there -> ask the
 * kernel to know them (before any device pins them: kernel and device then mean the same pages) ->
 * announce them to the transports, a piece in each turn of the loop, as to pin a lot of memory
 * takes long and others are to be served meanwhile -> requests hold and put -> the end: the kernel
 * forgets it, requests drain, transports give their registrations back, unmap. Can fail: only
 * adding, with a sentence for the application. A kernel that refuses a region costs copies,
 * nothing else.
 */
#include "client_fs/region.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "common/err.h"
#include "common/fault.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/random.h"

#define MAX_PER_OWNER 16u
/* somebody else must be able to have some */
#define MAX_PER_USER  (PWC_REGIONS_MAX / 2)
/* How often a region that ends is looked at: nobody waits for it but its own application. */
#define ASK_AGAIN_NS  (5 * PW_NS_PER_MS)
#define PAGE_BYTES    4096u
#ifndef DMA_BUF_MAGIC
#define DMA_BUF_MAGIC 0x444d4142 /* linux/magic.h */
#endif
#ifndef HUGETLBFS_MAGIC
#define HUGETLBFS_MAGIC 0x958458f6
#endif

static const struct pw_sm_state states[] = {
	[PWC_REGION_FREE] = { "free", PW_SM_TO(PWC_REGION_ADDING) },
	[PWC_REGION_ADDING] = { "adding", PW_SM_TO(PWC_REGION_LIVE) | PW_SM_TO(PWC_REGION_ENDING) },
	[PWC_REGION_LIVE] = { "live", PW_SM_TO(PWC_REGION_ENDING) },
	[PWC_REGION_ENDING] = { "ending", PW_SM_TO(PWC_REGION_FREE) },
};
static const struct pw_sm_type region_type = PW_SM_TYPE("region", states);

const char *pwc_region_state_name(const struct pwc_region *r)
{
	return pw_sm_state_name(&r->sm);
}

/* -------------------------------------------------------------------------------- the end */

static void arm(struct pwc_regions *t)
{
	if (!pw_timer_armed(&t->timer))
		pw_timer_arm(t->loop, &t->timer, pw_loop_now(t->loop) + ASK_AGAIN_NS);
}

/* Next turn: others have theirs in between. */
static void arm_now(struct pwc_regions *t)
{
	pw_timer_cancel(t->loop, &t->timer);
	pw_timer_arm(t->loop, &t->timer, pw_loop_now(t->loop) + 1);
}

static void pin_on(struct pwc_region *r);

static void close_fd(struct pwc_region *r)
{
	if (r->fd >= 0)
		close(r->fd);
	r->fd = -1;
}

static void check_ended(struct pwc_region *r)
{
	struct pwc_regions *t = r->t;

	if (r->sm.state != PWC_REGION_ENDING || r->in_kernel || r->users)
		return;
	pw_mem_withdraw(r->base);
	close_fd(r);
	munmap(r->base, r->len);
	r->base = NULL;
	t->nr--;
	t->bytes -= r->len;
	r->owner = NULL;
	pw_sm_move(&r->sm, PWC_REGION_FREE, 0);
	if (!t->nr && t->on_idle)
		t->on_idle(t);
}

static void on_timer(struct pw_timer *timer)
{
	struct pwc_regions *t = pw_container_of(timer, struct pwc_regions, timer);

	for (uint32_t i = 0; i < PWC_REGIONS_MAX; i++) {
		struct pwc_region *r = &t->region[i];

		if (r->pinning)
			pin_on(r);
		if (r->sm.state != PWC_REGION_ENDING || !r->in_kernel)
			continue;
		/* no room for the question now: the next turn of the timer has some */
		if (t->kernel->unreg(t->kernel->owner, r))
			arm(t);
	}
}

void pwc_region_end(struct pwc_region *r)
{
	if (r->sm.state == PWC_REGION_FREE || r->sm.state == PWC_REGION_ENDING)
		return;
	/* ADDING and not pinning: its REG_FD is out, and the answer goes on from there */
	if ((r->sm.state == PWC_REGION_LIVE || r->pinning) && r->in_kernel)
		arm(r->t);
	r->pinning = false;
	pw_sm_move(&r->sm, PWC_REGION_ENDING, r->users);
	check_ended(r);
}

void pwc_regions_end_owner(struct pwc_regions *t, struct pwc_region_owner *o)
{
	for (uint32_t i = 0; i < PWC_REGIONS_MAX; i++) {
		struct pwc_region *r = &t->region[i];

		if (r->owner != o)
			continue;
		pwc_region_end(r);
		r->owner = NULL;
	}
}

void pwc_regions_end_all(struct pwc_regions *t)
{
	for (uint32_t i = 0; i < PWC_REGIONS_MAX; i++) {
		struct pwc_region *r = &t->region[i];

		r->in_kernel = false;
		pwc_region_end(r);
		check_ended(r);
	}
	pw_timer_cancel(t->loop, &t->timer);
}

void pwc_region_put(struct pwc_region *r)
{
	assert(r->users);
	r->users--;
	if (pw_unlikely(r->sm.state == PWC_REGION_ENDING))
		check_ended(r);
}

/* ---------------------------------------------------------------------------- the beginning */

static int complain(char *why, size_t len, int err, const char *fmt, ...) PW_PRINTF(4, 5);
static int complain(char *why, size_t len, int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, len, fmt, ap);
	va_end(ap);
	return err;
}

static void announce(struct pwc_region *r)
{
	int err = r->dmabuf ? pw_mem_announce_dmabuf(r->base, r->len, r->fd) :
			      pw_mem_announce_optional(r->base, r->len);

	/* UNTESTED: there is room for as many as the table has. Payloads travel all the same. */
	if (err)
		pw_log_warn("region %u: not known to the transports, %s", r->id, pw_err_text(err));
}

static void go_live(struct pwc_region *r)
{
	r->pinning = false;
	pw_sm_move(&r->sm, PWC_REGION_LIVE, r->in_kernel);
}

/* Return: true, it is LIVE; false: its owner is told later. */
static bool pin(struct pwc_region *r)
{
	announce(r);
	if (pw_mem_step(r->base)) {
		r->pinning = true;
		arm_now(r->t);
		return false;
	}
	go_live(r);
	return true;
}

static void pin_on(struct pwc_region *r)
{
	if (pw_mem_step(r->base)) {
		arm_now(r->t);
		return;
	}
	go_live(r);
	if (r->owner)
		r->owner->on_live(r->owner, r);
}

void pwc_region_on_kernel(struct pwc_region *r, int res)
{
	if (!r->dmabuf)
		close_fd(r);
	switch (r->sm.state) {
	case PWC_REGION_ADDING:
		r->in_kernel = res >= 0;
		r->kernel_err = res < 0 ? res : 0;
		if (res < 0)
			pw_log_info("region %u of process %d: the kernel does not take it, %s",
				    r->id, (int)r->pid, pw_err_text(res));
		if (pin(r) && r->owner)
			r->owner->on_live(r->owner, r);
		break;
	case PWC_REGION_ENDING:
		/* 0 and -EALREADY: requests still use it. Of a REG_FD that was out when the end
		 * began, a refusal is as good as gone; so is the end of the connection. */
		if (res < 0 && res != -EALREADY && res != -EAGAIN)
			r->in_kernel = false;
		if (r->in_kernel)
			arm(r->t);
		check_ended(r);
		break;
	default: /* the end of everything came first */
		break;
	}
}

struct share {
	uint32_t nr;
	uint64_t bytes;
};

static void add_to(struct share *s, const struct pwc_region *r)
{
	s->nr++;
	s->bytes += r->len;
}

/* What the process of @o has, by whichever connection, and what its user has; what ends is still
 * there. A process that this one cannot see (another pid namespace) is a connection. */
static void count_shares(const struct pwc_regions *t, const struct pwc_region_owner *o,
			 struct share *process, struct share *user)
{
	*process = *user = (struct share){ 0 };
	for (uint32_t i = 0; i < PWC_REGIONS_MAX; i++) {
		const struct pwc_region *r = &t->region[i];

		if (r->sm.state == PWC_REGION_FREE || r->uid != o->uid)
			continue;
		add_to(user, r);
		if (r->owner == o || (o->pid && r->pid == o->pid))
			add_to(process, r);
	}
}

static bool is_room(uint64_t used, uint64_t max, size_t len)
{
	return used <= max && len <= max - used;
}

static int check_limits(const struct pwc_regions *t, const struct pwc_region_owner *o, size_t len,
			char *why, size_t why_len)
{
	struct share process, user;

	count_shares(t, o, &process, &user);
	if (t->nr == PWC_REGIONS_MAX)
		return complain(why, why_len, -ENOSPC,
				"the mount has %u regions, and takes no more", PWC_REGIONS_MAX);
	if (process.nr >= t->max_owner)
		return complain(why, why_len, -ENOSPC,
				"a process can have %u regions: make fewer, "
				"larger ones",
				t->max_owner);
	if (o->uid && user.nr >= t->max_user)
		return complain(why, why_len, -ENOSPC, "a user can have %u regions of this mount",
				t->max_user);
	if (!is_room(process.bytes, t->max_bytes_owner, len))
		return complain(why, why_len, -ENOSPC, "a process can have %llu MiB in regions",
				(unsigned long long)(t->max_bytes_owner / PW_MIB));
	if (o->uid && !is_room(user.bytes, t->max_bytes_user, len))
		return complain(why, why_len, -ENOSPC,
				"a user can have %llu MiB in regions of this mount",
				(unsigned long long)(t->max_bytes_user / PW_MIB));
	if (!is_room(t->bytes, t->max_bytes, len))
		return complain(why, why_len, -ENOSPC,
				"all processes together can have %llu MiB in "
				"regions of this mount",
				(unsigned long long)(t->max_bytes / PW_MIB));
	return 0;
}

static bool is_dmabuf(int fd)
{
	struct statfs st;

	return !fstatfs(fd, &st) && st.f_type == DMA_BUF_MAGIC;
}

/* Bytes of a page of it. Not st_blksize: where the system has transparent huge pages for shared
 * memory that is theirs for every memfd, and pages are as small as they happen to be. */
static size_t page_of(int fd)
{
	struct statfs st;

	if (fstatfs(fd, &st) || (uint32_t)st.f_type != HUGETLBFS_MAGIC)
		return PAGE_BYTES;
	return (size_t)st.f_bsize;
}

/* Are all pages there? One that comes when it is touched here would be this process's to pay for,
 * or a signal to it. */
static int check_pages(const struct stat *st, char *why, size_t why_len)
{
	if (st->st_blocks * 512 >= st->st_size)
		return 0;
	return complain(why, why_len, -EINVAL,
			"not all pages of the memfd are there: fallocate(fd, 0, 0, size) first");
}

/* Can its pages only stay? */
static int check_seals(const struct pwc_region_ask *ask, char *why, size_t why_len)
{
	int seals = fcntl(ask->fd, F_GET_SEALS);

	if (seals < 0)
		return complain(why, why_len, -EINVAL,
				"not a memfd, and no dma-buf: take memory from "
				"memfd_create() or pw_alloc()");
	if (~seals & (F_SEAL_SHRINK | F_SEAL_GROW) && seals & F_SEAL_SEAL)
		return complain(why, why_len, -EPERM,
				"the file cannot be sealed, so its pages could go away: take "
				"a memfd with MFD_ALLOW_SEALING (and MFD_HUGETLB), not a file of "
				"tmpfs or hugetlbfs");
	if (~seals & (F_SEAL_SHRINK | F_SEAL_GROW))
		return complain(why, why_len, -EPERM,
				"the memfd can change its size: create it "
				"with MFD_ALLOW_SEALING, then fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK "
				"| F_SEAL_GROW)");
	if (seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE))
		return complain(why, why_len, -EPERM,
				"the memfd is sealed against writing, "
				"perhaps by a mount: it can be handed over once");
	return 0;
}

/* Before it is mapped: are these bytes of it, and nobody's yet? */
static int check_file(const struct pwc_regions *t, const struct pwc_region_ask *ask, bool dmabuf,
		      struct stat *st, char *why, size_t why_len)
{
	uint64_t page, size;

	if (fstat(ask->fd, st))
		return complain(why, why_len, -errno, "fstat: %s", pw_err_text(-errno));
	page = page_of(ask->fd);
	size = (uint64_t)st->st_size;
	if (dmabuf && ask->off)
		return complain(why, why_len, -EINVAL, "a dma-buf is a region from its beginning");
	if (!ask->len || ask->off < 0 || (uint64_t)ask->off % page || ask->len % page ||
	    (uint64_t)ask->off > size || ask->len > size - (uint64_t)ask->off)
		return complain(why, why_len, -EINVAL,
				"%llu bytes at %lld are not whole pages of "
				"%llu bytes of a file of %llu",
				(unsigned long long)ask->len, (long long)ask->off,
				(unsigned long long)page, (unsigned long long)size);
	for (uint32_t i = 0; i < PWC_REGIONS_MAX; i++) {
		const struct pwc_region *r = &t->region[i];

		if (r->sm.state != PWC_REGION_FREE && r->dev == st->st_dev && r->ino == st->st_ino)
			return complain(why, why_len, -EEXIST,
					"the memory is region %u of process "
					"%d already",
					r->id, (int)r->pid);
	}
	if (dmabuf)
		return 0;
	/* pages beyond the end would count as if they were missing ones; none can come any more */
	if (ftruncate(ask->fd, st->st_size) || fstat(ask->fd, st))
		return complain(why, why_len, -errno, "the mount cannot have it: %s",
				pw_err_text(-errno));
	return check_pages(st, why, why_len);
}

/* Mapped: from now on its pages cannot be taken away. So they are looked for again. */
static int seal(int fd, char *why, size_t why_len)
{
	struct stat st;

	if (fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE))
		return complain(why, why_len, -EPERM,
				"the memfd takes no more seals: leave "
				"F_SEAL_SEAL to the time after this");
	if (fstat(fd, &st))
		return complain(why, why_len, -errno, "fstat: %s", pw_err_text(-errno));
	return check_pages(&st, why, why_len);
}

static struct pwc_region *unused(struct pwc_regions *t)
{
	for (uint32_t i = 0; i < PWC_REGIONS_MAX; i++)
		if (t->region[i].sm.state == PWC_REGION_FREE)
			return &t->region[i];
	return NULL;
}

static void begin(struct pwc_region *r, struct pwc_region_owner *o,
		  const struct pwc_region_ask *ask, bool dmabuf, const struct stat *st)
{
	struct pwc_regions *t = r->t;

	pw_random_bytes(&r->key, sizeof(r->key));
	r->owner = o;
	r->uid = o->uid;
	r->pid = o->pid;
	r->len = ask->len;
	r->off = ask->off;
	r->dev = st->st_dev;
	r->ino = st->st_ino;
	r->dmabuf = dmabuf;
	r->huge = page_of(ask->fd) > PAGE_BYTES;
	r->users = 0;
	r->in_kernel = false;
	r->kernel_err = t->kernel ? 0 : -EOPNOTSUPP;
	r->reads = r->writes = r->bytes_read = r->bytes_written = 0;
	t->nr++;
	t->bytes += r->len;
	t->added++;
}

/* The seal is last: who is refused can try again with the same file. */
static int map(struct pwc_region *r, const struct pwc_region_ask *ask, bool dmabuf, char *why,
	       size_t why_len)
{
	int err = PW_FAULT_ERR("region.map", -ENOMEM);
	void *p = MAP_FAILED;

	if (!err)
		p = mmap(NULL, ask->len, PROT_READ | PROT_WRITE, MAP_SHARED, ask->fd, ask->off);
	if (p == MAP_FAILED) {
		err = err ? err : -errno;
		return complain(why, why_len, err, "the mount cannot map it: %s", pw_err_text(err));
	}
	/* a child would keep pages that hardware writes to; a core dump has no use for them */
	madvise(p, ask->len, MADV_DONTFORK);
	madvise(p, ask->len, MADV_DONTDUMP);
	err = dmabuf ? 0 : seal(ask->fd, why, why_len);
	if (err) {
		munmap(p, ask->len);
		return err;
	}
	r->base = p;
	return 0;
}

static int add(struct pwc_regions *t, struct pwc_region_owner *o, const struct pwc_region_ask *ask,
	       struct pwc_region **ret, char *why, size_t why_len)
{
	struct pwc_region *r = unused(t);
	bool dmabuf = is_dmabuf(ask->fd);
	struct stat st = { 0 };
	int err;

	err = check_limits(t, o, ask->len, why, why_len);
	if (!err && !dmabuf)
		err = check_seals(ask, why, why_len);
	if (!err)
		err = check_file(t, ask, dmabuf, &st, why, why_len);
	if (err)
		return err;
	/* its number is looked at later, when the application may be gone */
	r->fd = fcntl(ask->fd, F_DUPFD_CLOEXEC, 3);
	if (r->fd < 0)
		return complain(why, why_len, -errno, "the mount has no descriptor for it: %s",
				pw_err_text(-errno));
	err = map(r, ask, dmabuf, why, why_len);
	if (err) {
		close_fd(r);
		return err;
	}
	begin(r, o, ask, dmabuf, &st);
	pw_sm_move(&r->sm, PWC_REGION_ADDING, 0);
	if (t->kernel) {
		r->in_kernel = true;
		err = t->kernel->reg(t->kernel->owner, r);
	}
	if (!t->kernel || err) {
		if (!r->dmabuf)
			close_fd(r);
		r->in_kernel = false;
		r->kernel_err = err ? err : r->kernel_err;
		pin(r);
	}
	*ret = r;
	return 0;
}

int pwc_region_add(struct pwc_regions *t, struct pwc_region_owner *o,
		   const struct pwc_region_ask *ask, struct pwc_region **ret, char *ret_why,
		   size_t why_len)
{
	int err = add(t, o, ask, ret, ret_why, why_len);

	t->refused += err != 0;
	return err;
}

/* ------------------------------------------------------------------------------- looking up */

struct pwc_region *pwc_region_find(struct pwc_regions *t, uint32_t id, uint64_t key, uint32_t uid)
{
	struct pwc_region *r = id < PWC_REGIONS_MAX ? &t->region[id] : NULL;

	if (!r || (r->sm.state != PWC_REGION_LIVE && r->sm.state != PWC_REGION_ENDING) ||
	    r->key != key || r->uid != uid)
		return NULL;
	return r;
}

struct pwc_region *pwc_region_of_kernel(struct pwc_regions *t, uint64_t id)
{
	struct pwc_region *r = id < PWC_REGIONS_MAX ? &t->region[id] : NULL;

	return r && r->sm.state != PWC_REGION_FREE && r->in_kernel ? r : NULL;
}

/* --------------------------------------------------------------------------------- the table */

void pwc_regions_init(struct pwc_regions *t, struct pw_loop *loop,
		      const struct pwc_region_kernel *kernel)
{
	uint64_t ram = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);

	*t = (struct pwc_regions){ .loop = loop, .kernel = kernel };
	t->max_owner = MAX_PER_OWNER;
	t->max_user = MAX_PER_USER;
	t->max_bytes = ram / 2;
	/* others can have a quarter of it, whatever one user does */
	t->max_bytes_user = t->max_bytes / 4 * 3;
	t->max_bytes_owner = ram / 4;
	pw_timer_init(&t->timer, on_timer);
	for (uint32_t i = 0; i < PWC_REGIONS_MAX; i++) {
		t->region[i].t = t;
		t->region[i].id = i;
		t->region[i].fd = -1;
		pw_sm_init(&t->region[i].sm, &region_type, PWC_REGION_FREE);
	}
}

void pwc_regions_fini(struct pwc_regions *t)
{
	if (!t->loop)
		return;
	assert(!t->nr);
	pw_timer_cancel(t->loop, &t->timer);
}
