/* SPDX-License-Identifier: Apache-2.0 */
/* reg_server.h -- a FUSE server with one file, which registers the memory that it is told to
 *
 * What it stores and what it counts is in memory that it shares with the test. Everything else is
 * a message: struct reg_ask with or without a file, answered by a long.
 */
#ifndef PW_TEST_REG_SERVER_H
#define PW_TEST_REG_SERVER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#include "reg_abi.h"

#define MIB (1ul << 20)
#define PAGE 4096ul
#define REQ_MAX MIB
#define STORE_BYTES (8 * MIB)
#define NR_IDS 64u

/* Shared with the test. */
struct reg_shared {
	atomic_long hits, sg, copies; /* requests: with a region, in several runs, without */
	atomic_long lent; /* requests: neither, their pages are a fixed buffer */
	atomic_long bad; /* requests that make no sense */
	atomic_ulong last_reg, last_flags;
	struct abi_seg seg[2]; /* of the last one in several runs */
	atomic_uint nr_segs;
	atomic_bool hold; /* requests wait while this is set */
	atomic_int held;
	atomic_bool faulted; /* the allocation that was to fail was there */
	char store[STORE_BYTES]; /* the file */
};

enum reg_op {
	ASK_REG, /* map the file and register it; dma-buf by flag */
	ASK_UNREG,
	ASK_ACTIVATE,
	ASK_UNREG_DIRTY, /* UNREG_FD with a member that must be 0 */
	ASK_GUARD, /* arg 1: payload buffers end after their first page, by PROT_NONE; 0: not */
};

struct reg_ask {
	enum reg_op op;
	uint32_t id, arg;
	int prot;
	uint64_t flags, off, len;
	uint32_t fail; /* let this allocation of the command fail; 0: none */
};

struct reg_server_opts {
	const char *mnt;
	struct reg_shared *sh;
	int sh_fd; /* the file of @sh */
	int ctl; /* SOCK_SEQPACKET */
	bool no_reg; /* FUSE_URING_REG_FD is not answered */
	bool pool; /* buffer pools */
	bool zero_copy; /* with pools: pages of requests are lent as fixed buffers */
	unsigned int fail_init; /* let this allocation of the answer to INIT fail; 0: none */
	bool no_ipc_lock; /* without CAP_IPC_LOCK, RLIMIT_MEMLOCK 1 MiB */
};

/**
 * reg_server_run() - Mount at @o->mnt and serve until the connection ends; does not return.
 * @o: options
 *
 * Says 0 on @o->ctl when the ring is about to be set up.
 */
_Noreturn void reg_server_run(const struct reg_server_opts *o);

/* Between the files of the server. */
extern struct reg_server {
	const struct reg_server_opts *o;
	int dev; /* /dev/fuse */
	unsigned int nr_queues;
	char **pools; /* payload buffers of each queue */
	struct {
		char *addr;
		uint64_t len;
	} region[NR_IDS];
} reg_srv;

#define QUEUE_DEPTH 4u

/**
 * reg_file_op() - Do one request.
 * @h: the head of the entry
 * @payload: its payload buffer
 *
 * Return: bytes of the answer in @payload (or in the region), or -errno.
 */
long reg_file_op(struct fuse_uring_req_header *h, char *payload);

/**
 * reg_control() - Thread: answer the messages of the test.
 * @arg: unused
 *
 * Return: NULL, when the test has closed its end.
 */
void *reg_control(void *arg);

#endif /* PW_TEST_REG_SERVER_H */
