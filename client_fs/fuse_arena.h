/* SPDX-License-Identifier: Apache-2.0 */
/* fuse_arena.h -- the memory that requests live in, all of it in one memfd
 *
 *	[ entry heads | payload of each ring entry or pool buffer | /dev/fuse buffers ]
 *
 * Mapped once, MAP_SHARED at a fixed address: a later generation of the daemon can take over the
 * memfd and find each request where the kernel knows it (the kernel reads an entry's head at the
 * address that was registered, in the mm of whoever commits). Each head has a state word that says
 * who has the request. Pages are not reserved: what was never touched costs nothing. Never unmapped
 * while a ring lives.
 * Thread: the loop's own.      Must not know: FUSE operations, connections.
 */
#ifndef PWC_FUSE_ARENA_H
#define PWC_FUSE_ARENA_H

#include "client_fs/fuse_uapi.h"
#include "common/compiler.h"

/* Who has the request of a ring entry; read by the next generation after a crash. */
enum pwc_arena_state {
	PWC_ARENA_KERNEL = 0, /* nothing here */
	PWC_ARENA_DAEMON = 1, /* a request is being worked on */
	PWC_ARENA_COMMIT = 2, /* its answer was handed to the ring */
};

struct pwc_arena_head {
	struct fuse_uring_req_header fuse; /* the kernel's and ours in turn */
	uint32_t state; /* enum pwc_arena_state */
	uint32_t qid;
	uint64_t commit_id; /* of the request, valid in DAEMON and COMMIT */
	uint64_t reserved[26];
};

/* A /dev/fuse buffer: read(2) goes to data - PWC_DEV_HEAD, so that the data of a WRITE is page
 * aligned. */
#define PWC_DEV_HEAD (sizeof(struct fuse_in_header) + sizeof(struct fuse_write_in))
#define PWC_DEV_DATA_OFF 4096u

struct pwc_arena_opts {
	uint32_t nr_entries; /* ring entries of all queues; 0: no ring */
	uint32_t payload_bytes; /* multiple of the page size */
	uint32_t nr_dev_bufs;
};

struct pwc_arena {
	int fd; /* memfd; -1: not made */
	uint8_t *base; /* owns the mapping */
	size_t len;
	struct pwc_arena_opts o;
	size_t payload_off, dev_off; /* bytes from base */
};

/* Return: 0; -errno. */
int pwc_arena_init(struct pwc_arena *a, const struct pwc_arena_opts *o);
/* Goes on with registering it with the devices in use. Return: true, there is more to do. */
bool pwc_arena_step(struct pwc_arena *a);
/* Accepts one that is all zero but for fd == -1. */
void pwc_arena_fini(struct pwc_arena *a);

static inline struct pwc_arena_head *pwc_arena_head(const struct pwc_arena *a, uint32_t entry)
{
	return (struct pwc_arena_head *)a->base + entry;
}

static inline uint8_t *pwc_arena_payload(const struct pwc_arena *a, uint32_t entry)
{
	return a->base + a->payload_off + (size_t)entry * a->o.payload_bytes;
}

/* Where the data of a request in this buffer begins; its headers lie before. */
static inline uint8_t *pwc_arena_dev_data(const struct pwc_arena *a, uint32_t buf)
{
	return a->base + a->dev_off + PWC_DEV_DATA_OFF +
	       (size_t)buf * (PWC_DEV_DATA_OFF + a->o.payload_bytes);
}

#endif
