/* SPDX-License-Identifier: Apache-2.0 */
/* op_rename.c -- RENAME, with NOREPLACE and EXCHANGE, in one transaction
 *
 * Everything that could make it wrong later is read here, and so checked at commit: both entries,
 * both parents, the moved inodes and, when a directory gets another parent, every ancestor of the
 * target, so that two renames at once cannot make a loop.
 */
#include <errno.h>
#include <sys/stat.h>

#include "common/plant.h"
#include "storage_node/meta/ops.h"

#define DEPTH_MAX 65536u

struct end { /* one side of the rename */
	uint64_t parent, ino;
	const char *name;
	uint32_t name_len;
	struct pws_inode i;
	struct pws_slice target; /* symlink */
};

struct rename {
	struct end from, to;
	struct pws_inode from_dir_row, to_dir_row;
	struct pws_inode *from_dir, *to_dir; /* the same object when the directories are the same */
	bool to_exists;
};

static int end_get(struct pws_meta_op *op, struct pws_txn *t, struct end *e)
{
	int err = pws_meta_dirent_get(op, t, e->parent, e->name, e->name_len, &e->ino);

	if (err)
		return err;
	err = pws_meta_inode_get(t, e->ino, &e->i, &e->target);
	return err == -ESTALE ? -EBADMSG : err;
}

/* -EINVAL when @ino is @dir or one of its ancestors. */
static int loop_check(struct pws_txn *t, uint64_t ino, uint64_t dir)
{
	struct pws_inode i;
	uint32_t depth;
	int err;

	for (depth = 0; depth < DEPTH_MAX; depth++) {
		if (dir == ino)
			return -EINVAL;
		if (dir == PWS_ROOT_INO)
			return 0;
		err = pws_meta_dir_get(t, dir, &i);
		if (err)
			return err;
		dir = i.parent;
	}
	return -ELOOP;
}

static int dirs_get(struct pws_txn *t, struct rename *r)
{
	int err = pws_meta_dir_get(t, r->from.parent, &r->from_dir_row);

	r->from_dir = r->to_dir = &r->from_dir_row;
	if (err || r->from.parent == r->to.parent)
		return err;
	r->to_dir = &r->to_dir_row;
	err = pws_meta_dir_get(t, r->to.parent, r->to_dir);
	if (!err && !r->to_dir->nlink)
		err = -ENOENT;
	return err;
}

static int loops_check(struct pws_txn *t, const struct rename *r, bool exchange)
{
	int err = 0;

	if (r->from.parent == r->to.parent || PW_PLANT("rename-loop"))
		return 0;
	if (S_ISDIR(r->from.i.mode))
		err = loop_check(t, r->from.ino, r->to.parent);
	if (!err && exchange && S_ISDIR(r->to.i.mode))
		err = loop_check(t, r->to.ino, r->from.parent);
	return err;
}

static int replace_check(struct pws_txn *t, const struct rename *r)
{
	if (S_ISDIR(r->to.i.mode)) {
		if (!S_ISDIR(r->from.i.mode))
			return -EISDIR;
		return pws_meta_dir_is_empty(t, r->to.ino);
	}
	return S_ISDIR(r->from.i.mode) ? -ENOTDIR : 0;
}

/* @e's inode gets @parent; link counts of directories move with it. */
static void move_parent(struct end *e, struct pws_inode *old_dir, struct pws_inode *new_dir,
			uint64_t parent)
{
	e->i.parent = parent;
	if (S_ISDIR(e->i.mode)) {
		old_dir->nlink--;
		new_dir->nlink++;
	}
}

static void finish(struct pws_meta_op *op, struct pws_txn *t, struct rename *r)
{
	pws_meta_touch(&r->from.i, op->now_ns, false);
	pws_meta_inode_put(t, r->from.ino, &r->from.i, r->from.target);
	pws_meta_touch(r->from_dir, op->now_ns, true);
	pws_meta_dir_put(t, r->from.parent, r->from_dir);
	if (r->to_dir != r->from_dir) {
		pws_meta_touch(r->to_dir, op->now_ns, true);
		pws_meta_dir_put(t, r->to.parent, r->to_dir);
	}
}

static void exchange(struct pws_meta_op *op, struct pws_txn *t, struct rename *r)
{
	pws_meta_dirent_put(op, t, r->from.parent, r->from.name, r->from.name_len, r->to.ino,
			    r->to.i.mode);
	pws_meta_dirent_put(op, t, r->to.parent, r->to.name, r->to.name_len, r->from.ino,
			    r->from.i.mode);
	move_parent(&r->from, r->from_dir, r->to_dir, r->to.parent);
	move_parent(&r->to, r->to_dir, r->from_dir, r->from.parent);
	pws_meta_touch(&r->to.i, op->now_ns, false);
	pws_meta_inode_put(t, r->to.ino, &r->to.i, r->to.target);
	finish(op, t, r);
}

static void move(struct pws_meta_op *op, struct pws_txn *t, struct rename *r)
{
	pws_meta_dirent_del(op, t, r->from.parent, r->from.name, r->from.name_len);
	pws_meta_dirent_put(op, t, r->to.parent, r->to.name, r->to.name_len, r->from.ino,
			    r->from.i.mode);
	r->from_dir->size--;
	r->to_dir->size++;
	if (r->to_exists) {
		r->to_dir->size--;
		if (S_ISDIR(r->to.i.mode))
			r->to_dir->nlink--;
		pws_meta_unlinked(op, t, r->to.ino, &r->to.i);
		pws_meta_inode_put(t, r->to.ino, &r->to.i, r->to.target);
		/* the client keeps what it knows of an inode that went away */
		pws_meta_answer_attr(op, r->to.ino, &r->to.i);
	}
	move_parent(&r->from, r->from_dir, r->to_dir, r->to.parent);
	finish(op, t, r);
}

int pws_meta_op_rename(struct pws_meta_op *op, struct pws_txn *t)
{
	const struct pw_body_rename *b = &op->cmd->rename;
	const char *names = (const char *)op->payload;
	struct rename r = {
		.from = { .parent = b->old_parent, .name = names, .name_len = b->old_len },
		.to = { .parent = b->new_parent, .name = names + b->old_len,
			.name_len = op->cmd->payload_len - b->old_len },
	};
	bool swap = b->flags & PW_RENAME_EXCHANGE;
	int err;

	if (swap && b->flags & PW_RENAME_NOREPLACE)
		return -EINVAL;
	err = dirs_get(t, &r);
	if (!err)
		err = end_get(op, t, &r.from);
	if (err)
		return err;
	err = end_get(op, t, &r.to);
	if (err && (err != -ENOENT || swap))
		return err;
	r.to_exists = !err;
	if (r.to_exists && b->flags & PW_RENAME_NOREPLACE)
		return -EEXIST;
	err = loops_check(t, &r, swap);
	if (err)
		return err;
	/* Two names of one file: POSIX says that nothing happens. */
	if (r.to_exists && r.to.ino == r.from.ino)
		return 0;
	if (swap) {
		exchange(op, t, &r);
		return 0;
	}
	err = r.to_exists ? replace_check(t, &r) : 0;
	if (err)
		return err;
	if (S_ISDIR(r.from.i.mode) && r.to_dir != r.from_dir && !r.to_exists &&
	    r.to_dir->nlink >= PWS_NLINK_MAX)
		return -EMLINK;
	move(op, t, &r);
	return 0;
}
