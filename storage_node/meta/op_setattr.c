/* SPDX-License-Identifier: Apache-2.0 */
/* op_setattr.c -- SETATTR: mode, owner, times; and size, once op_truncate.c has prepared it
 *
 * Who may do this was decided by the client's kernel (default_permissions), but for one case.
 */
#include <errno.h>
#include <sys/stat.h>

#include "storage_node/meta/ops.h"

#define MODE_BITS 07777u

/* Set-id bits that somebody would take from a file of another by chown(path, -1, -1): a kernel
 * checks the permission for what it sends, and there is nothing in that. */
static bool is_theft(const struct pw_body_setattr *b, const struct pws_inode *i)
{
	struct pws_inode less = *i;

	if (b->valid != PW_SET_KILL_SUIDGID || !b->cred.uid || b->cred.uid == i->uid)
		return false;
	pws_meta_kill_suidgid(&less);
	return less.mode != i->mode;
}

int pws_meta_setattr(struct pws_meta_op *op, struct pws_txn *t, struct pws_inode *i)
{
	const struct pw_body_setattr *b = &op->cmd->setattr;

	(void)t;
	if (is_theft(b, i))
		return -EPERM;
	if (b->valid & PW_SET_SIZE) {
		if (S_ISDIR(i->mode))
			return -EISDIR;
		if (!S_ISREG(i->mode))
			return -EINVAL;
		if (b->size > PW_FILE_MAX)
			return -EFBIG;
		i->size = b->size;
		i->mtime_ns = op->now_ns;
	}
	if (b->valid & PW_SET_KILL_SUIDGID)
		pws_meta_kill_suidgid(i);
	if (b->valid & PW_SET_MODE)
		i->mode = (i->mode & ~MODE_BITS) | (b->mode & MODE_BITS);
	if (b->valid & PW_SET_UID)
		i->uid = b->uid;
	if (b->valid & PW_SET_GID)
		i->gid = b->gid;
	if (b->valid & (PW_SET_ATIME | PW_SET_ATIME_NOW))
		i->atime_ns = b->valid & PW_SET_ATIME_NOW ? op->now_ns : b->atime_ns;
	if (b->valid & (PW_SET_MTIME | PW_SET_MTIME_NOW))
		i->mtime_ns = b->valid & PW_SET_MTIME_NOW ? op->now_ns : b->mtime_ns;
	pws_meta_touch(i, op->now_ns, false);
	return 0;
}

int pws_meta_op_setattr(struct pws_meta_op *op, struct pws_txn *t)
{
	uint64_t ino = op->cmd->setattr.ino;
	struct pws_slice target;
	struct pws_inode i;
	int err;

	if (op->cmd->setattr.valid & PW_SET_SIZE)
		return -EINVAL; /* op_truncate.c's; a direct call is our bug or a peer's */
	err = pws_meta_inode_get(t, ino, &i, &target);
	if (!err)
		err = pws_meta_setattr(op, t, &i);
	if (err)
		return err;
	pws_meta_inode_put(t, ino, &i, target);
	pws_meta_answer_attr(op, ino, &i);
	return 0;
}
