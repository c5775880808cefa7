/* SPDX-License-Identifier: Apache-2.0 */
/* disk_uring.c -- disk.h on io_uring
 *
 *	submit -> a free slot, or in line for one -> SQE -> [short: the rest again] -> done
 *
 * Every slot has a pw_io. Buffers inside the registered area go as READ_FIXED and WRITE_FIXED. A
 * flush is an FSYNC with DATASYNC: it is submitted when its owner asks for it, and covers what had
 * completed by then, which is all that disk.h promises.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "common/err.h"
#include "common/fault.h"
#include "common/log.h"
#include "common/uring.h"
#include "storage_node/store/disk.h"

#define QUEUE_DEPTH   128u
/* Kernel limit for one registered buffer. */
#define FIXED_BYTES   (1ull << 30)
#define FIXED_MAX     64u
#define NO_FIXED      (-1)
#define LOCK_WAIT_MS  3000u
#define LOCK_PAUSE_MS 10u

struct disk_slot {
	struct pw_list node; /* free list */
	struct pw_io io;
	struct pws_disk *disk;
	struct pws_disk_io *req; /* borrowed until its done */
	uint32_t moved;		 /* bytes that are done */
};

struct disk_grow {
	uint64_t size;
	void (*done)(void *arg, int err); /* NULL: none is under way */
	void *arg;
	bool in_thread;
	pthread_t thread;
	int err;
	struct pw_loop_msg msg;
};

struct pws_disk {
	struct pw_loop *loop;
	int fd; /* owns, with the lock on it */
	bool is_dev;
	uint64_t size;
	struct disk_slot slot[QUEUE_DEPTH];
	uint32_t nr_slots;
	struct pw_list free;   /* disk_slot.node */
	struct pw_list line;   /* pws_disk_io.node: no slot was free */
	struct pw_list failed; /* pws_disk_io.node: err is set, told next turn */
	struct pw_ready ready;

	uint8_t *fixed_base; /* borrowed; NULL: nothing is registered */
	uint64_t fixed_len;

	struct disk_grow grow;
	struct pws_disk_stats stats;
};

/* Transfers ---------------------------------------------------------------------------------- */

static int fixed_index(const struct pws_disk *d, const uint8_t *buf, uint32_t len)
{
	uint64_t at;

	if (!d->fixed_base || buf < d->fixed_base)
		return NO_FIXED;
	at = (uint64_t)(buf - d->fixed_base);
	if (at >= d->fixed_len || len > d->fixed_len - at ||
	    at / FIXED_BYTES != (at + len - 1) / FIXED_BYTES)
		return NO_FIXED;
	return (int)(at / FIXED_BYTES);
}

static void prep(struct disk_slot *s)
{
	struct pws_disk *d = s->disk;
	struct pws_disk_io *r = s->req;
	struct io_uring_sqe *sqe = pw_io_sqe(d->loop, &s->io);
	uint8_t *buf = (uint8_t *)r->buf + (r->buf ? s->moved : 0);
	uint32_t len = r->len - s->moved;
	uint64_t off = r->off + s->moved;
	int fixed = r->op == PWS_DISK_FLUSH ? NO_FIXED : fixed_index(d, buf, len);

	switch (r->op) {
	case PWS_DISK_READ:
		if (fixed == NO_FIXED)
			io_uring_prep_read(sqe, d->fd, buf, len, off);
		else
			io_uring_prep_read_fixed(sqe, d->fd, buf, len, off, fixed);
		break;
	case PWS_DISK_WRITE:
		if (fixed == NO_FIXED)
			io_uring_prep_write(sqe, d->fd, buf, len, off);
		else
			io_uring_prep_write_fixed(sqe, d->fd, buf, len, off, fixed);
		break;
	case PWS_DISK_FLUSH:
		io_uring_prep_fsync(sqe, d->fd, IORING_FSYNC_DATASYNC);
		break;
	}
	pw_io_sqe_data(sqe, &s->io);
}

static void start(struct pws_disk *d, struct pws_disk_io *r)
{
	struct disk_slot *s = pw_list_entry(pw_list_pop(&d->free), struct disk_slot, node);

	s->req = r;
	s->moved = 0;
	prep(s);
}

static void count(struct pws_disk *d, const struct pws_disk_io *r)
{
	switch (r->op) {
	case PWS_DISK_READ:
		d->stats.reads++;
		d->stats.bytes_read += r->len;
		break;
	case PWS_DISK_WRITE:
		d->stats.writes++;
		d->stats.bytes_written += r->len;
		break;
	case PWS_DISK_FLUSH:
		d->stats.flushes++;
		break;
	}
}

/* True: the request goes on with what is left. A short transfer of less than a block starts that
 * block again, because O_DIRECT wants it whole. */
static bool goes_on(struct disk_slot *s, int res)
{
	if (res == -EAGAIN || res == -EINTR)
		return true;
	if (res <= 0 || s->req->op == PWS_DISK_FLUSH)
		return false;
	s->moved += PW_ROUND_DOWN((uint32_t)res, PWS_BLOCK);
	return s->moved < s->req->len && (uint32_t)res >= PWS_BLOCK;
}

static void on_cqe(struct pw_io *io, int res, uint32_t flags)
{
	struct disk_slot *s = pw_container_of(io, struct disk_slot, io);
	struct pws_disk *d = s->disk;
	struct pws_disk_io *r = s->req;
	struct pw_list *next;

	(void)flags;
	if (goes_on(s, res)) {
		prep(s);
		return;
	}
	/* no bytes and no error: the file is shorter than it was */
	r->err = res < 0 ? res : s->moved == r->len ? 0 : -EIO;
	s->req = NULL;
	pw_list_add_head(&d->free, &s->node);
	next = pw_list_pop(&d->line);
	if (next)
		start(d, pw_list_entry(next, struct pws_disk_io, node));
	count(d, r);
	r->done(r);
}

static int fault_of(enum pws_disk_op op)
{
	switch (op) {
	case PWS_DISK_READ:
		return PW_FAULT("disk.read");
	case PWS_DISK_WRITE:
		return PW_FAULT("disk.write");
	default:
		return PW_FAULT("disk.flush");
	}
}

void pws_disk_submit(struct pws_disk *d, struct pws_disk_io *io)
{
	assert(io->op == PWS_DISK_FLUSH ||
	       (io->len && !(io->len % PWS_BLOCK) && !(io->off % PWS_BLOCK) &&
		!((uintptr_t)io->buf % PWS_BLOCK)));
	io->err = fault_of(io->op);
	if (io->err) {
		pw_list_add_tail(&d->failed, &io->node);
		pw_loop_ready(d->loop, &d->ready);
		return;
	}
	if (pw_list_empty(&d->free)) {
		d->stats.stall_queue++;
		pw_list_add_tail(&d->line, &io->node);
		return;
	}
	pw_list_init(&io->node);
	start(d, io);
}

static void on_ready(struct pw_ready *r)
{
	struct pws_disk *d = pw_container_of(r, struct pws_disk, ready);
	struct pw_list failed, *n;

	pw_list_init(&failed);
	pw_list_splice_tail(&failed, &d->failed);
	while ((n = pw_list_pop(&failed))) {
		struct pws_disk_io *io = pw_list_entry(n, struct pws_disk_io, node);

		io->done(io);
	}
}

int pws_disk_do(struct pws_disk *d, enum pws_disk_op op, void *buf, uint64_t off, uint32_t len)
{
	int err = fault_of(op);

	if (err)
		return err;
	if (op == PWS_DISK_FLUSH)
		return fdatasync(d->fd) ? -errno : 0;
	for (uint32_t moved = 0; moved < len;) {
		uint8_t *p = (uint8_t *)buf + moved;
		ssize_t n = op == PWS_DISK_READ
				    ? pread(d->fd, p, len - moved, (off_t)(off + moved))
				    : pwrite(d->fd, p, len - moved, (off_t)(off + moved));

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n >= 0 && n < (ssize_t)PWS_BLOCK)
			return -EIO; /* shorter than it was */
		moved += n > 0 ? PW_ROUND_DOWN((uint32_t)n, PWS_BLOCK) : 0;
	}
	return 0;
}

/* Growing ------------------------------------------------------------------------------------ */

/* A regular file gets all its blocks now, or stays as it was. Any thread. */
static int allocate(int fd, uint64_t from, uint64_t to)
{
	int err = PW_FAULT_ERR("disk.grow", -ENOSPC);
	struct statvfs v;

	if (err)
		return err;
	/* more than there is would first fill the filesystem, and everybody else on it would fail,
	 * too */
	if (!fstatvfs(fd, &v) && (to - from) / v.f_frsize > v.f_bavail)
		return -ENOSPC;
	while (fallocate(fd, 0, (off_t)from, (off_t)(to - from))) {
		if (errno == EINTR)
			continue;
		err = -errno;
		/* what it got before it failed goes back */
		if (ftruncate(fd, (off_t)from))
			pw_log_warn("disk: cannot give back what a failed growth took, %s",
				    pw_err_text(-errno));
		return err;
	}
	return 0;
}

static void on_grown(struct pw_loop_msg *m)
{
	struct disk_grow *g = pw_container_of(m, struct disk_grow, msg);
	struct pws_disk *d = pw_container_of(g, struct pws_disk, grow);
	void (*done)(void *arg, int err) = g->done;

	if (g->in_thread)
		pthread_join(g->thread, NULL);
	if (!g->err)
		d->size = PW_MAX(d->size, g->size);
	g->done = NULL;
	done(g->arg, g->err);
}

static void *grow_thread(void *arg)
{
	struct pws_disk *d = arg;

	d->grow.err = allocate(d->fd, d->size, d->grow.size);
	pw_loop_post(d->loop, &d->grow.msg);
	return NULL;
}

void pws_disk_grow(struct pws_disk *d, uint64_t size, void (*done)(void *arg, int err), void *arg)
{
	struct disk_grow *g = &d->grow;
	sigset_t all, old;
	int err = 0;

	assert(!g->done);
	*g = (struct disk_grow){ .done = done, .arg = arg, .msg = { .fn = on_grown } };
	g->size = PW_ROUND_UP(size, PWS_BLOCK);
	if (g->size > d->size && !d->is_dev) {
		/* signals are the main thread's */
		sigfillset(&all);
		pthread_sigmask(SIG_SETMASK, &all, &old);
		g->in_thread = true;
		err = -pthread_create(&g->thread, NULL, grow_thread, d);
		pthread_sigmask(SIG_SETMASK, &old, NULL);
		if (!err)
			return;
	}
	g->in_thread = false;
	g->err = g->size > d->size && d->is_dev ? -ENOSPC : err;
	pw_loop_post(d->loop, &g->msg);
}

uint64_t pws_disk_size(const struct pws_disk *d)
{
	return d->size;
}

uint64_t pws_disk_growable(const struct pws_disk *d)
{
	struct statvfs v;

	if (d->is_dev || fstatvfs(d->fd, &v))
		return 0;
	return (uint64_t)v.f_bavail * v.f_frsize;
}

uint64_t pws_disk_limit(const struct pws_disk *d)
{
	struct statvfs v;

	if (d->is_dev || fstatvfs(d->fd, &v))
		return d->size;
	return PW_MAX((uint64_t)v.f_blocks * v.f_frsize, d->size);
}

/* Life --------------------------------------------------------------------------------------- */

int pws_disk_register(struct pws_disk *d, void *base, size_t len)
{
	struct iovec iov[FIXED_MAX];
	unsigned int nr = 0;
	int err = PW_FAULT_ERR("disk.register", -ENOMEM);

	assert(!d->fixed_base && len);
	if (err)
		return err;
	if ((len - 1) / FIXED_BYTES >= FIXED_MAX)
		return -E2BIG;
	for (uint64_t at = 0; at < len; at += FIXED_BYTES) {
		iov[nr].iov_base = (uint8_t *)base + at;
		iov[nr++].iov_len = PW_MIN(len - at, FIXED_BYTES);
	}
	err = io_uring_register_buffers(pw_loop_ring(d->loop), iov, nr);
	if (err)
		return err;
	d->fixed_base = base;
	d->fixed_len = len;
	return 0;
}

/* The kernel lets go of a killed process's requests, and with them of its files and their locks,
 * some time after the process is gone: a node that is started again at once has to have patience.
 */
static int lock(int fd)
{
	const struct timespec pause = { .tv_nsec = LOCK_PAUSE_MS * PW_NS_PER_MS };
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int err = PW_FAULT_ERR("disk.lock", -EWOULDBLOCK);

	for (uint32_t waited_ms = 0; !err; waited_ms += LOCK_PAUSE_MS) {
		if (!fcntl(fd, F_OFD_SETLK, &fl))
			return 0;
		err = errno == EACCES ? -EWOULDBLOCK : -errno;
		if (err == -EWOULDBLOCK && waited_ms < LOCK_WAIT_MS && !nanosleep(&pause, NULL))
			err = 0;
	}
	return err;
}

static int open_fd(const char *path, bool create, int *ret)
{
	int flags = O_RDWR | O_CLOEXEC | (create ? O_CREAT : 0);
	int err = PW_FAULT("disk.open"), fd;

	if (err)
		return err;
	fd = open(path, flags | O_DIRECT, 0600);
	if (fd < 0 && errno == EINVAL) {
		fd = open(path, flags, 0600);
		if (fd >= 0)
			pw_log_warn("disk %s: no O_DIRECT on this filesystem, data is cached twice",
				    path);
	}
	if (fd < 0)
		return -errno;
	*ret = fd;
	return 0;
}

/* The name of a new file has to survive, too. */
static int sync_parent(const char *path)
{
	char *dir = strdup(path);
	char *slash;
	int fd, err = 0;

	if (!dir)
		return -ENOMEM;
	slash = strrchr(dir, '/');
	if (slash)
		slash[slash == dir] = 0;
	fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd))
		err = -errno;
	if (fd >= 0)
		close(fd);
	free(dir);
	return err;
}

static int find_size(struct pws_disk *d, const char *path, uint64_t min_size)
{
	struct stat st;
	int err = 0;

	if (fstat(d->fd, &st))
		return -errno;
	d->is_dev = S_ISBLK(st.st_mode);
	if (d->is_dev) {
		if (ioctl(d->fd, BLKGETSIZE64, &d->size))
			return -errno;
		d->size = PW_ROUND_DOWN(d->size, PWS_BLOCK);
		return d->size < min_size ? -ENOSPC : 0;
	}
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	d->size = PW_ROUND_DOWN((uint64_t)st.st_size, PWS_BLOCK);
	min_size = PW_ROUND_UP(min_size, PWS_BLOCK);
	if (d->size < min_size) {
		err = allocate(d->fd, d->size, min_size);
		if (!err && fsync(d->fd))
			err = -errno;
		if (!err)
			err = sync_parent(path);
		d->size = min_size;
	}
	return err;
}

static int init_slots(struct pws_disk *d)
{
	for (; d->nr_slots < QUEUE_DEPTH; d->nr_slots++) {
		struct disk_slot *s = &d->slot[d->nr_slots];
		int err = pw_io_init(d->loop, &s->io, on_cqe);

		if (err)
			return err;
		s->disk = d;
		pw_list_add_tail(&d->free, &s->node);
	}
	return 0;
}

int pws_disk_open(struct pw_loop *loop, const char *path, bool create, uint64_t min_size,
		  struct pws_disk **ret)
{
	struct pws_disk *d = calloc(1, sizeof(*d));
	int err;

	if (!d)
		return -ENOMEM;
	d->loop = loop;
	pw_list_init(&d->free);
	pw_list_init(&d->line);
	pw_list_init(&d->failed);
	pw_ready_init(&d->ready, on_ready);
	err = open_fd(path, create, &d->fd);
	if (err) {
		free(d);
		return err;
	}
	err = lock(d->fd);
	if (!err)
		err = find_size(d, path, min_size);
	if (!err)
		err = init_slots(d);
	if (err) {
		pws_disk_close(d);
		return err;
	}
	*ret = d;
	return 0;
}

void pws_disk_close(struct pws_disk *d)
{
	assert(pw_list_empty(&d->line) && pw_list_empty(&d->failed) && !d->grow.done);
	while (d->nr_slots) {
		struct disk_slot *s = &d->slot[--d->nr_slots];

		assert(!s->req);
		pw_io_fini(d->loop, &s->io);
	}
	if (d->fixed_base)
		io_uring_unregister_buffers(pw_loop_ring(d->loop));
	pw_ready_cancel(&d->ready);
	close(d->fd);
	free(d);
}

void pws_disk_get_stats(const struct pws_disk *d, struct pws_disk_stats *ret)
{
	*ret = d->stats;
}
