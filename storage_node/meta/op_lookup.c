/* SPDX-License-Identifier: Apache-2.0 */
/* op_lookup.c -- operations that only read: LOOKUP, GETATTR, READLINK, STATFS; and OPEN,
 * which only reads but for O_TRUNC */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "storage_node/meta/ops.h"

int pws_meta_op_lookup(struct pws_meta_op *op, struct pws_txn *t)
{
	const struct pw_body_name *b = &op->cmd->name;
	struct pws_inode dir, i;
	uint64_t ino;
	int err;

	err = pws_meta_dir_get(t, b->parent, &dir);
	if (err)
		return err;
	err = pws_meta_dirent_get(op, t, b->parent, (const char *)op->payload,
				  op->cmd->payload_len, &ino);
	if (err)
		return err;
	err = pws_meta_inode_get(t, ino, &i, NULL);
	if (err)
		return err == -ESTALE ? -EBADMSG : err;
	pws_meta_answer_attr(op, ino, &i);
	return 0;
}

int pws_meta_op_getattr(struct pws_meta_op *op, struct pws_txn *t)
{
	struct pws_inode i;
	int err = pws_meta_inode_get(t, op->cmd->ino.ino, &i, NULL);

	if (err)
		return err;
	pws_meta_answer_attr(op, op->cmd->ino.ino, &i);
	return 0;
}

int pws_meta_op_readlink(struct pws_meta_op *op, struct pws_txn *t)
{
	struct pws_slice target;
	struct pws_inode i;
	int err = pws_meta_inode_get(t, op->cmd->ino.ino, &i, &target);

	if (err)
		return err;
	if (!S_ISLNK(i.mode))
		return -EINVAL;
	if (target.n > op->out_max)
		return -ERANGE;
	memcpy(op->out, target.p, target.n);
	op->rsp->payload_len = target.n;
	return 0;
}

/* O_TRUNC of an empty file has nothing to cut, but its times change as for any other. */
static void truncate_empty(struct pws_meta_op *op, struct pws_txn *t, struct pws_inode *i)
{
	pws_meta_wrote(i, 0, op->now_ns, op->cmd->ino.cred.uid != 0);
	pws_meta_inode_put(t, op->cmd->ino.ino, i, (struct pws_slice){ NULL, 0 });
}

int pws_meta_op_open(struct pws_meta_op *op, struct pws_txn *t)
{
	const struct pw_body_ino *b = &op->cmd->ino;
	struct pws_inode i;
	int err = pws_meta_inode_get(t, b->ino, &i, NULL);

	if (err)
		return err;
	if (b->flags & PW_OPEN_TRUNC && S_ISREG(i.mode)) {
		op->truncate = i.size;
		if (!op->truncate)
			truncate_empty(op, t, &i);
	}
	op->opened_ino = b->ino;
	pws_meta_answer_attr(op, b->ino, &i);
	return 0;
}

int pws_meta_op_statfs(struct pws_meta_op *op, struct pws_txn *t)
{
	struct pw_body_statfs *s = &op->rsp->statfs;
	uint64_t total = 0, free_bytes = 0;

	(void)t;
	op->meta->space(op->meta->arg, &total, &free_bytes);
	s->bsize = 4096;
	s->blocks = total / s->bsize;
	s->bfree = s->bavail = free_bytes / s->bsize;
	/* Inodes come out of the same space: as many as would fit. A row of a file is about 400
	 * bytes. */
	s->ffree = free_bytes / 400;
	s->files = total / 400;
	s->namelen = PW_NAME_MAX;
	return 0;
}
