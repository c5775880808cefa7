/* SPDX-License-Identifier: Apache-2.0 */
/* fuse_ring.h -- FUSE over io_uring: the kernel's queues, their entries, and the requests in them
 *
 * The kernel has one queue per possible CPU and uses the ring once each of them has an entry. An
 * entry is a head and a payload in the arena; from Linux 7.3 on (buffer pools) payloads belong to
 * the queue, and each request says where its own lies.
 *
 * entry:	NEW -> ARMED <-> BUSY		queue:	NEW -> [ADDING -> POOLING ->] READY
 *		         \-> DEAD <-/
 *
 * Thread: the loop's own; a request is answered by no other.      Allocates: in init.
 * Must not know: what a request means.
 */
#ifndef PWC_FUSE_RING_H
#define PWC_FUSE_RING_H

#include <sys/uio.h>

#include "client_fs/fuse_arena.h"
#include "client_fs/fuse_reg.h"
#include "client_fs/req.h"
#include "common/uring.h"

enum pwc_entry_state {
	PWC_ENTRY_NEW, /* the kernel does not know it */
	PWC_ENTRY_ARMED, /* the kernel's: a command is out, its completion is the next request */
	PWC_ENTRY_BUSY, /* ours: its request is being worked on */
	PWC_ENTRY_DEAD, /* the connection is gone, or the kernel refused it */
	PWC_ENTRY_NR_STATES
};

struct pwc_entry {
	struct pwc_req req;
	struct pw_io io; /* out in ARMED */
	struct pw_sm sm;
	struct pwc_ring *ring;
	struct pwc_arena_head *head;
	uint8_t *payload; /* the entry's own; NULL with a buffer pool */
	struct iovec iov[2]; /* of REGISTER */
	struct pw_runs runs; /* of the request that it has, if that has some */
	uint16_t qid;
};

enum pwc_queue_state {
	PWC_QUEUE_NEW,
	PWC_QUEUE_ADDING, /* ADD_QUEUE is out */
	PWC_QUEUE_POOLING, /* ADD_BUFPOOL is out */
	PWC_QUEUE_READY, /* entries may be registered */
	PWC_QUEUE_NR_STATES
};

struct pwc_queue {
	struct pw_io io; /* of ADD_QUEUE and ADD_BUFPOOL */
	struct pw_sm sm;
	struct pwc_ring *ring;
	bool io_ready;
	uint8_t *pool; /* in the arena: nr_bufs payloads */
	uint16_t qid;
};

struct pwc_ring_ops {
	/* The kernel refused an entry or a queue before the ring was in use: /dev/fuse serves
	 * instead. */
	void (*on_failed)(struct pwc_ring *ring, int err);
	/* No command is out any more: the connection is gone. */
	void (*on_drained)(struct pwc_ring *ring);
};

struct pwc_ring_opts {
	uint32_t nr_queues; /* possible CPUs */
	uint32_t depth; /* entries per queue */
	bool bufpool; /* the kernel offered FUSE_HAS_IO_URING_BUFPOOL */
};

struct pwc_ring {
	struct pw_loop *loop;
	const struct pwc_arena *arena; /* borrowed; nr_queues * depth entries */
	const struct pwc_ring_ops *ops;
	void *owner;
	struct pwc_ring_opts o;
	int fd; /* /dev/fuse, borrowed */
	struct pwc_entry *entry; /* owns */
	struct pwc_queue *queue; /* owns */
	uint32_t nr_entries, nr_out; /* commands that are out */
	uint32_t nr_dead;
	uint32_t nr_ready_queues;
	uint64_t commits, commit_errors;
	/* Set by pwc_ring_use_regions(); NULL: no request names one */
	struct pwc_regions *regions; /* borrowed */
	struct iovec *runs; /* owns; PW_RUNS_MAX for each entry */
	uint64_t reg_hits, reg_lists, reg_misses; /* READ and WRITE; lists are hits, too */
	bool registered; /* every REGISTER was queued */
	bool failed; /* on_failed() was called */
};

/* Possible CPUs of this machine, as the kernel counts its queues. Return: 0 or -errno. */
int pwc_ring_possible_cpus(uint32_t *ret_nr);
/* From the text of /sys/devices/system/cpu/possible ("0-3,8"): highest + 1. Return: 0 or
 * -EINVAL. */
int pwc_ring_parse_cpus(const char *text, uint32_t *ret_nr);

/**
 * pwc_ring_init - memory and tables; the kernel is not involved
 * @first_idx: index of the first entry's request in @sh's table
 * Return: 0; -ENOMEM; -ENOSPC the loop has too few pw_ios.
 */
int pwc_ring_init(struct pwc_ring *ring, struct pw_loop *loop, struct pwc_shard *sh,
		  const struct pwc_arena *arena, const struct pwc_ring_opts *o,
		  const struct pwc_ring_ops *ops, void *owner, uint32_t first_idx);
/* nr_out must be 0. Accepts all zero. */
void pwc_ring_fini(struct pwc_ring *ring);

/* After the answer to INIT was written: hands all entries to the kernel. */
void pwc_ring_register(struct pwc_ring *ring, int fd);

/* Requests may say where in one of these their payload lies. Return: 0 or -ENOMEM. */
int pwc_ring_use_regions(struct pwc_ring *ring, struct pwc_regions *regions);

/* Is any request being worked on? */
bool pwc_ring_is_busy(const struct pwc_ring *ring);
const char *pwc_ring_form(const struct pwc_ring *ring); /* "entry" or "bufpool" */

#endif
