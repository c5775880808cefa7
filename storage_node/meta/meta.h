/* SPDX-License-Identifier: Apache-2.0 */
/* meta.h -- namespace operations: each is one pure attempt function over a transaction
 *
 * node_req.c owns request life, replay and answers; this directory owns what a LOOKUP or RENAME
 * *means*. An attempt reads rows, decides, puts rows and fills the answer; it may run several
 * times. Clocks come from the caller (op->now_ns), so that an attempt is a function of its inputs.
 * Thread: loop thread.
 */
#ifndef PWS_META_H
#define PWS_META_H

#include "common/wire.h"
#include "storage_node/meta/records.h"
#include "storage_node/meta_kv/txn.h"

struct pws_meta {
	uint8_t sip_key[16]; /* from the superblock: hash of names */
	uint64_t next_ino; /* numbers below ino_safe may be given out; 0: none was yet */
	uint64_t ino_safe; /* of the A row, as it is on media */
	/* Filled by the node: for STATFS and for the rule "no new names when the disk is full". */
	void (*space)(void *arg, uint64_t *total, uint64_t *free_bytes);
	bool (*has_room)(void *arg);
	void *arg;
};

struct pws_meta_op {
	struct pws_meta *meta;
	const struct pw_cmd *cmd; /* checked by pw_cmd_check() */
	const uint8_t *payload; /* cmd->payload_len bytes */
	struct pw_cmd *rsp; /* answer body and payload_len; status is set by the caller */
	uint8_t *out; /* answer payload (READDIR, READLINK) */
	uint32_t out_max;
	int64_t now_ns; /* wall clock of this attempt */
	/* Results that node_req.c acts on after the commit */
	uint64_t opened_ino; /* CREATE, OPEN: count an open for this client */
	uint64_t orphan_ino; /* nlink went to 0: may be reclaimed when nobody has it open */
	/* OPEN with truncation of a non-empty file: op_open.c truncates first, then runs the
	 * operation again (the flag is cleared by an empty file) */
	bool truncate;
};

/**
 * pws_meta_attempt - run one namespace operation inside a transaction
 *
 * Serves all of enum pw_op but READ, WRITE, FSYNC, RELEASE, RECLAIM, and SETATTR's size, which
 * node_req.c runs through op_truncate.c and which ends here as pws_meta_setattr_size().
 * Return: 0, -EAGAIN (from the txn), or -errno as the application shall see it.
 */
int pws_meta_attempt(struct pws_meta_op *op, struct pws_txn *t);

/* An inode as it begins: empty, root's, one generation and change, all times @now_ns. */
struct pws_inode pws_meta_inode_new(uint32_t mode, uint64_t parent, int64_t now_ns);

/* Building blocks, used by op_write.c, op_truncate.c and the reclaimer */
int pws_meta_inode_get(struct pws_txn *t, uint64_t ino, struct pws_inode *ret,
		       struct pws_slice *target);
void pws_meta_inode_put(struct pws_txn *t, uint64_t ino, const struct pws_inode *i,
			struct pws_slice target);
/* mtime and ctime to @now, change + 1; never backwards. */
void pws_meta_touch(struct pws_inode *i, int64_t now_ns, bool data);
/* After a write of [off, off+len): size, times, set-id bits when @killpriv. */
void pws_meta_wrote(struct pws_inode *i, uint64_t end, int64_t now_ns, bool killpriv);
/* The rest of SETATTR: mode, owner, times, and size when it was prepared by op_truncate.c. */
int pws_meta_setattr(struct pws_meta_op *op, struct pws_txn *t, struct pws_inode *i);

/* First start: root directory (mode 0755, root), A row. */
int pws_meta_format_attempt(struct pws_txn *t, int64_t now_ns);

/* Name of a file for log lines: best effort by its parent hint; "inode N" if it is not found.
 * Slow. */
void pws_meta_path(struct pws_meta *m, struct pws_kv *kv, uint64_t ino, char *buf, size_t len);

#endif
