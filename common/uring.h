/* SPDX-License-Identifier: Apache-2.0 */
/* uring.h -- the io_uring side of the loop: the only place that sleeps
 *
 * Only the files that talk to the kernel include this: xprt_tcp.c, disk_uring.c, fuse_ring.c,
 * fuse_dev.c, the control socket, main.c. user_data is generation 32 | index 32 of a pw_io, never a
 * pointer: a stale completion is dropped and counted.
 */
#ifndef PW_URING_H
#define PW_URING_H

#include <liburing.h>

#include "common/loop.h"

struct pw_loop_opts {
	uint32_t sq_entries; /* rounded up to a power of two by the kernel */
	uint32_t cq_entries; /* 0: four times sq_entries */
	bool sqe128; /* FUSE over io_uring needs 128-byte submission entries */
	uint32_t max_ios; /* size of the pw_io table */
	uint32_t poll_us; /* see pw_poller; 0, or one CPU: never polled without an event */
};

/* One submission at a time, or one multishot; its owner keeps it until the last completion. */
struct pw_io {
	uint32_t id; /* index in the loop's table */
	uint32_t gen; /* bumped by init and fini */
	uint32_t pending; /* completions still to come */
	/* @res, @flags: of the completion. From the loop; may queue work, submit this io again. */
	void (*done)(struct pw_io *io, int res, uint32_t flags);
};

/**
 * pw_loop_new - make a loop with its ring
 * Call it on the thread that will run it: the kernel takes submissions from that one only.
 * Return: 0; -ENOSYS or -EPERM where io_uring is switched off or filtered (say so:
 * PW_EXIT_NO_URING); -ENOMEM. Ring and its mappings are MADV_DONTFORK and O_CLOEXEC: a child that
 * inherits a FUSE ring keeps a dead server's connection alive (seen on 6.18).
 */
int pw_loop_new(struct pw_loop **ret, const struct pw_loop_opts *o);
/* Accepts NULL. Every pw_io must be idle. */
void pw_loop_free(struct pw_loop *loop);

/* Runs turns until pw_loop_stop(), which ends it after the turn. May be run again.
 * Return: 0, or -errno when the ring itself fails. */
int pw_loop_run(struct pw_loop *loop);
void pw_loop_stop(struct pw_loop *loop);

/* From any thread: @fn is called on the loop thread, in order. @m is borrowed until then. */
struct pw_loop_msg {
	struct pw_loop_msg *next;
	void (*fn)(struct pw_loop_msg *m);
};
/* The poster must be known to have returned before pw_loop_free(). */
void pw_loop_post(struct pw_loop *loop, struct pw_loop_msg *m);

/* Work gathered during a turn and submitted once at its end: a connection that became dirty. @flush
 * runs once, after the ready list and just before the submission of the turn in which it was
 * registered, and is off the list by then: it may register again, for the next turn. Registering is
 * idempotent until it has run. Loop thread only. */
struct pw_flush {
	struct pw_list node;
	void (*flush)(struct pw_flush *f);
};
void pw_flush_init(struct pw_flush *f, void (*flush)(struct pw_flush *f));
void pw_loop_on_flush(struct pw_loop *loop, struct pw_flush *f);
void pw_flush_cancel(struct pw_flush *f);

/* A queue in memory that somebody else fills, as a device does its completion queue. It is polled
 * in every turn while its entries come close together (poll_us), with no system call in between,
 * and else armed, so that the next entry makes a descriptor readable; see poller.c. Loop thread
 * only. */
struct pw_poller {
	struct pw_list node; /* of the loop's hot ones; on no list: armed */
	uint64_t last_ns; /* when something came */
	uint32_t streak; /* entries in a row, each soon after the one before */
	/* Takes what is there, at most a budget. Return: how much. */
	uint32_t (*poll)(struct pw_poller *p);
	/* The next entry is to bring an event. Looks once more after that. Return: false, something
	 * was there, or is there still: polled again. */
	bool (*arm)(struct pw_poller *p);
};
/* Polled from this turn on. */
void pw_poller_start(struct pw_loop *loop, struct pw_poller *p,
		     uint32_t (*poll)(struct pw_poller *p), bool (*arm)(struct pw_poller *p));
void pw_poller_stop(struct pw_poller *p); /* idempotent */
/* Its event came, or there is another reason to look: polled in this turn or the next one. */
void pw_poller_wake(struct pw_loop *loop, struct pw_poller *p);

struct io_uring *pw_loop_ring(struct pw_loop *loop);

/* Return: 0; -ENOSPC when the table is full. */
int pw_io_init(struct pw_loop *loop, struct pw_io *io, void (*done)(struct pw_io *, int, uint32_t));
void pw_io_fini(struct pw_loop *loop, struct pw_io *io); /* must be idle */

/**
 * pw_io_sqe - a submission entry for @io; zeroed (all 128 bytes on a sqe128 ring), user_data set
 *
 * Never NULL: submits what is queued when the ring is full. Use io_uring_prep_*() helpers *before*
 * nothing else: they do not touch user_data in liburing 2.3, but call pw_io_sqe_data() after them.
 */
struct io_uring_sqe *pw_io_sqe(struct pw_loop *loop, struct pw_io *io);
void pw_io_sqe_data(struct io_uring_sqe *sqe, const struct pw_io *io);
/* Asks the kernel to cancel; @io->done still comes, with -ECANCELED or the result. */
void pw_io_cancel(struct pw_loop *loop, struct pw_io *io);

/* A file descriptor that becomes readable: multishot poll, re-armed when the kernel ends it.
 * @ready drains until EAGAIN. */
struct pw_fd {
	struct pw_io io;
	struct pw_loop *loop;
	int fd;
	bool closing;
	void (*ready)(struct pw_fd *f);
	void (*closed)(struct pw_fd *f); /* after pw_fd_stop(): no more events, fd may be closed */
};
int pw_fd_start(struct pw_loop *loop, struct pw_fd *f, int fd, void (*ready)(struct pw_fd *f));
void pw_fd_stop(struct pw_fd *f, void (*closed)(struct pw_fd *f));

/* Counters for `stats` */
struct pw_loop_stats {
	uint64_t turns, cqes, stale_cqes;
	uint64_t submits; /* system calls: polls and sleeps */
	uint64_t sleeps; /* of them those that were allowed to sleep */
	uint64_t idle_polls; /* turns without any work that did not sleep, for a pw_poller */
};
void pw_loop_get_stats(const struct pw_loop *loop, struct pw_loop_stats *ret);

#endif
