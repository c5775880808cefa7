/* SPDX-License-Identifier: Apache-2.0 */
/* superblock.h -- whose directory is this: the node's data directory, its lock and its identity
 *
 *	DIR/superblock	text, versioned, with a checksum: everything below
 *	DIR/lock	held (OFD lock) by the node that runs on it
 *	DIR/store.dat	journal region, then blocks (store kind chunk)
 *	DIR/index/	checkpointed index (store kind chunk)
 *
 * The superblock appears by rename, complete or not at all; "formatted" is set the same way once
 * the index holds a root directory, so that a first start that was killed begins again and a data
 * file that vanished later is noticed. Thread: start-up only, blocks. Must not know: index, store,
 * configuration.
 */
#ifndef PWS_SUPERBLOCK_H
#define PWS_SUPERBLOCK_H

#include "common/compiler.h"
#include "common/err.h"

#define PWS_SUPERBLOCK_VERSION 1u

/* Why a program will not start: what to print, and its exit code. */
struct pws_refusal {
	enum pw_exit code;
	char text[512];
};
/* Returns -1, for `return pws_refuse(...)`. */
int pws_refuse(struct pws_refusal *r, enum pw_exit code, const char *fmt, ...) PW_PRINTF(3, 4);

struct pws_superblock {
	uint8_t fsid[16];
	uint8_t node_id[16];
	uint8_t sip_key[16];	/* secret: hash of names */
	char store[16];		/* "chunk", "memory", "null" */
	uint64_t created_ns;	/* since 1970 */
	uint64_t journal_bytes; /* in front of the blocks; 0 without a store.dat */
	uint64_t data_off;	/* blocks begin here */
	uint32_t block_bytes;
	bool formatted; /* the index holds a root directory */
};

/* What the configuration wants. */
struct pws_superblock_want {
	const uint8_t *fsid; /* NULL: whatever is there, or a new one */
	const char *store;
	uint64_t journal_bytes, data_off; /* of a new directory */
	uint32_t block_bytes;
	bool new_identity; /* of a directory that is there: another node id and fsid from now on */
};

/**
 * pws_superblock_open - lock the directory and read its superblock, or make both
 * @dir: made (0700) if only its last part is missing
 * @ret_lock_fd: holds the lock until it is closed
 *
 * Return: 0, or -1 with @why: not ours or another version (13), another filesystem (10), a node
 * runs on it (11), damaged (14), another store kind (4), no permission (5), anything else (1).
 */
int pws_superblock_open(const char *dir, const struct pws_superblock_want *want,
			struct pws_superblock *ret, int *ret_lock_fd, struct pws_refusal *why);

/* The index holds a root directory now. 0 or -1. */
int pws_superblock_set_formatted(const char *dir, struct pws_superblock *sb,
				 struct pws_refusal *why);

/* Text form; exported for tests. encode: bytes without the final zero, or 0 if @len is too
 * small. */
size_t pws_superblock_encode(const struct pws_superblock *sb, char *buf, size_t len);
/* 0; -EPROTONOSUPPORT another version; -EINVAL not a superblock; -EBADMSG damaged. */
int pws_superblock_decode(const char *buf, size_t len, struct pws_superblock *ret);

#endif
