/* SPDX-License-Identifier: Apache-2.0 */
/* op_remove.c -- UNLINK and RMDIR
 *
 * The inode stays, with an O row, until nobody has it open: reclaim.c takes it from there.
 */
#include <errno.h>
#include <sys/stat.h>

#include "storage_node/meta/ops.h"

int pws_meta_dir_is_empty(struct pws_txn *t, uint64_t ino)
{
	struct pws_key begin, end;
	struct pws_slice key, val;
	int err;

	pws_key_dirent_range(&begin, &end, ino, 0);
	err = pws_txn_next(t, pws_key_slice(&begin), pws_key_slice(&end), &key, &val);
	if (err == -ENOENT)
		return 0;
	return err ? err : -ENOTEMPTY;
}

static int remove_name(struct pws_meta_op *op, struct pws_txn *t, bool want_dir)
{
	const struct pw_body_name *b = &op->cmd->name;
	const char *name = (const char *)op->payload;
	struct pws_inode dir, i;
	struct pws_slice target;
	uint64_t ino;
	int err;

	err = pws_meta_dir_get(t, b->parent, &dir);
	if (err)
		return err;
	err = pws_meta_dirent_get(op, t, b->parent, name, op->cmd->payload_len, &ino);
	if (err)
		return err;
	err = pws_meta_inode_get(t, ino, &i, &target);
	if (err)
		return err == -ESTALE ? -EBADMSG : err;
	if (want_dir != !!S_ISDIR(i.mode))
		return want_dir ? -ENOTDIR : -EISDIR;
	err = want_dir ? pws_meta_dir_is_empty(t, ino) : 0;
	if (err)
		return err;
	pws_meta_dirent_del(op, t, b->parent, name, op->cmd->payload_len);
	pws_meta_unlinked(op, t, ino, &i);
	pws_meta_inode_put(t, ino, &i, target);
	dir.size--;
	if (want_dir)
		dir.nlink--;
	pws_meta_touch(&dir, op->now_ns, true);
	pws_meta_dir_put(t, b->parent, &dir);
	pws_meta_answer_attr(op, ino, &i);
	return 0;
}

int pws_meta_op_unlink(struct pws_meta_op *op, struct pws_txn *t)
{
	return remove_name(op, t, false);
}

int pws_meta_op_rmdir(struct pws_meta_op *op, struct pws_txn *t)
{
	return remove_name(op, t, true);
}
