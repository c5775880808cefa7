/* SPDX-License-Identifier: Apache-2.0 */
/* ops.h -- private to storage_node/meta: the attempts and what they share
 *
 * Every function that returns int: 0, -EAGAIN (return it to the transaction), or -errno.
 */
#ifndef PWS_META_OPS_H
#define PWS_META_OPS_H

#include "storage_node/meta/meta.h"

int pws_meta_op_lookup(struct pws_meta_op *op, struct pws_txn *t);
int pws_meta_op_getattr(struct pws_meta_op *op, struct pws_txn *t);
int pws_meta_op_setattr(struct pws_meta_op *op, struct pws_txn *t);
int pws_meta_op_mknode(struct pws_meta_op *op, struct pws_txn *t);
int pws_meta_op_create(struct pws_meta_op *op, struct pws_txn *t);
int pws_meta_op_link(struct pws_meta_op *op, struct pws_txn *t);
int pws_meta_op_unlink(struct pws_meta_op *op, struct pws_txn *t);
int pws_meta_op_rmdir(struct pws_meta_op *op, struct pws_txn *t);
int pws_meta_op_rename(struct pws_meta_op *op, struct pws_txn *t);
int pws_meta_op_readlink(struct pws_meta_op *op, struct pws_txn *t);
int pws_meta_op_readdir(struct pws_meta_op *op, struct pws_txn *t);
int pws_meta_op_open(struct pws_meta_op *op, struct pws_txn *t);
int pws_meta_op_statfs(struct pws_meta_op *op, struct pws_txn *t);

void pws_meta_answer_attr(struct pws_meta_op *op, uint64_t ino, const struct pws_inode *i);
void pws_meta_kill_suidgid(struct pws_inode *i);

/* -ESTALE: no such inode; -ENOTDIR */
int pws_meta_dir_get(struct pws_txn *t, uint64_t ino, struct pws_inode *ret);
void pws_meta_dir_put(struct pws_txn *t, uint64_t ino, const struct pws_inode *dir);

int pws_meta_dirent_get(struct pws_meta_op *op, struct pws_txn *t, uint64_t parent,
			const char *name, uint32_t len, uint64_t *ret_ino);
void pws_meta_dirent_put(struct pws_meta_op *op, struct pws_txn *t, uint64_t parent,
			 const char *name, uint32_t len, uint64_t ino, uint32_t mode);
void pws_meta_dirent_del(struct pws_meta_op *op, struct pws_txn *t, uint64_t parent,
			 const char *name, uint32_t len);

/* A number that was never given out; burnt when the attempt fails. -ENOSPC after 2^48 of them. */
int pws_meta_ino_alloc(struct pws_meta *m, struct pws_txn *t, uint64_t *ret);

/* 0; -ENOTEMPTY */
int pws_meta_dir_is_empty(struct pws_txn *t, uint64_t ino);

/* One name of @i went away: nlink, ctime, and an O row with the last one. The caller puts @i. */
void pws_meta_unlinked(struct pws_meta_op *op, struct pws_txn *t, uint64_t ino,
		       struct pws_inode *i);

#endif
