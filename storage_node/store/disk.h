/* SPDX-License-Identifier: Apache-2.0 */
/* disk.h -- one file or block device: asynchronous O_DIRECT reads, writes and flushes
 *
 * Nothing else in the node touches the media. Link-time seam: disk_uring.c in the programs
 * (io_uring, fixed buffers where the arena is registered), tests/sim/lib in the simulation (keeps,
 * loses or tears what was not flushed when the power goes).
 * Rules of the media that both implement: a write is not durable before a flush that was *started
 * after* the write completed has completed; unflushed 512-byte sectors may persist in any order, or
 * not.
 * Thread: loop thread; blocking calls only in open and pws_disk_do().      Must not know: files,
 * keys, checksums.
 */
#ifndef PWS_DISK_H
#define PWS_DISK_H

#include "common/list.h"
#include "common/loop.h"

#define PWS_BLOCK 4096u /* unit of allocation, of checksums, and of O_DIRECT alignment */

struct pws_disk;

enum pws_disk_op { PWS_DISK_READ, PWS_DISK_WRITE, PWS_DISK_FLUSH };

struct pws_disk_io {
	struct pw_list node; /* owned by the disk between submit and done */
	enum pws_disk_op op;
	void *buf; /* borrowed until done; aligned to PWS_BLOCK */
	uint64_t off; /* bytes, multiple of PWS_BLOCK */
	uint32_t len; /* bytes, multiple of PWS_BLOCK; 0 for FLUSH */
	int err; /* 0 or -errno when done; short transfers are finished or -EIO */
	void (*done)(struct pws_disk_io *io); /* from the loop, never from within submit */
};

/**
 * pws_disk_open - open or create the file
 * @path: regular file (created, 0600, when @create) or block device
 * @min_size: a regular file is grown to this (fallocate), rounded up
 *
 * Return: 0; -errno; -EWOULDBLOCK when somebody else holds the lock on it (OFD lock) for 3 s.
 */
int pws_disk_open(struct pw_loop *loop, const char *path, bool create, uint64_t min_size,
		  struct pws_disk **ret);
void pws_disk_close(struct pws_disk *d); /* no io in flight */
/* Never fails before the loop runs: errors come in @io->err. Waits in line when the queue is full.
 */
void pws_disk_submit(struct pws_disk *d, struct pws_disk_io *io);
/* The same, blocking: for start-up only, before anything is submitted. 0 or -errno. */
int pws_disk_do(struct pws_disk *d, enum pws_disk_op op, void *buf, uint64_t off, uint32_t len);
uint64_t pws_disk_size(const struct pws_disk *d); /* bytes usable now */
/* Grows a regular file so that [0, size) is allocated. Runs in a worker; @done from the loop.
 * -ENOSPC is told at once and clean. A block device: -ENOSPC past its end. One at a time. */
void pws_disk_grow(struct pws_disk *d, uint64_t size, void (*done)(void *arg, int err), void *arg);
/* Bytes that the underlying filesystem could still give to grow(). */
uint64_t pws_disk_growable(const struct pws_disk *d);
/* Bytes that the file could have if it had the underlying filesystem for itself. */
uint64_t pws_disk_limit(const struct pws_disk *d);
/* Optional: [base, base+len) is memory that most ios use; registered as fixed buffers. 0 or -errno.
 */
int pws_disk_register(struct pws_disk *d, void *base, size_t len);

struct pws_disk_stats {
	uint64_t reads, writes, flushes, bytes_read, bytes_written, stall_queue;
};
void pws_disk_get_stats(const struct pws_disk *d, struct pws_disk_stats *ret);

#endif
