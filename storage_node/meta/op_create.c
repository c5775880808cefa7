/* SPDX-License-Identifier: Apache-2.0 */
/* op_create.c -- operations that make names: MKNODE (mkdir, mknod, symlink), CREATE, LINK
 *
 * Group and set-gid follow the parent directory as local Linux filesystems do it (inode_init_owner
 * in fs/inode.c): in a set-gid directory the new object takes its group, and a new directory the
 * bit too.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "common/plant.h"
#include "storage_node/meta/ops.h"

struct new_node {
	uint64_t parent, ino;
	const char *name;
	uint32_t name_len;
	struct pws_slice target; /* symlink */
	struct pws_inode dir, i;
};

static int type_check(uint32_t mode, uint32_t target_len)
{
	switch (mode & S_IFMT) {
	case S_IFLNK:
		return target_len && target_len <= PW_SYMLINK_MAX ? 0 : -EINVAL;
	case S_IFREG:
	case S_IFDIR:
	case S_IFIFO:
	case S_IFSOCK:
	case S_IFCHR:
	case S_IFBLK:
		return target_len ? -EINVAL : 0;
	default:
		return -EINVAL;
	}
}

static void node_init(struct new_node *n, const struct pw_body_mknode *b, int64_t now_ns)
{
	bool setgid = n->dir.mode & S_ISGID;

	n->i = pws_meta_inode_new(b->mode, n->parent, now_ns);
	n->i.uid = b->cred.uid;
	n->i.gid = setgid ? n->dir.gid : b->cred.gid;
	n->i.rdev = S_ISCHR(b->mode) || S_ISBLK(b->mode) ? b->rdev : 0;
	n->i.size = n->target.n;
	if (setgid && S_ISDIR(b->mode))
		n->i.mode |= S_ISGID;
}

/* Parent is alive and has no such name: -EEXIST with n->ino set otherwise. */
static int name_is_free(struct pws_meta_op *op, struct pws_txn *t, struct new_node *n)
{
	int err;

	err = pws_meta_dir_get(t, n->parent, &n->dir);
	if (err)
		return err;
	if (!n->dir.nlink)
		return -ENOENT; /* removed, but somebody still stands in it */
	err = pws_meta_dirent_get(op, t, n->parent, n->name, n->name_len, &n->ino);
	if (err != -ENOENT)
		return err ? err : -EEXIST;
	return op->meta->has_room(op->meta->arg) ? 0 : -ENOSPC;
}

static int node_make(struct pws_meta_op *op, struct pws_txn *t, struct new_node *n)
{
	const struct pw_body_mknode *b = &op->cmd->mknode;
	int err;

	if (S_ISDIR(b->mode) && n->dir.nlink >= PWS_NLINK_MAX)
		return -EMLINK;
	err = pws_meta_ino_alloc(op->meta, t, &n->ino);
	if (err)
		return err;
	node_init(n, b, op->now_ns);
	pws_meta_inode_put(t, n->ino, &n->i, n->target);
	pws_meta_dirent_put(op, t, n->parent, n->name, n->name_len, n->ino, n->i.mode);
	n->dir.size++;
	if (S_ISDIR(b->mode))
		n->dir.nlink++;
	pws_meta_touch(&n->dir, op->now_ns, true);
	pws_meta_dir_put(t, n->parent, &n->dir);
	pws_meta_answer_attr(op, n->ino, &n->i);
	return 0;
}

static int node_parse(struct pws_meta_op *op, struct new_node *n)
{
	const struct pw_body_mknode *b = &op->cmd->mknode;

	*n = (struct new_node){
		.parent = b->parent,
		.name = (const char *)op->payload,
		.name_len = b->name_len,
		.target = { op->payload + b->name_len, op->cmd->payload_len - b->name_len },
	};
	return type_check(b->mode, n->target.n);
}

int pws_meta_op_mknode(struct pws_meta_op *op, struct pws_txn *t)
{
	struct new_node n;
	int err;

	err = node_parse(op, &n);
	if (!err)
		err = name_is_free(op, t, &n);
	return err ? err : node_make(op, t, &n);
}

/* A name that exists is refused also without O_EXCL, with ESTALE: the client's kernel thought
 * that it was free, so it has not checked whether this caller may open it. ESTALE makes it look
 * again and then open the file with the check (path_openat and do_filp_open in fs/namei.c). */
int pws_meta_op_create(struct pws_meta_op *op, struct pws_txn *t)
{
	struct new_node n;
	int err;

	err = node_parse(op, &n);
	if (!err && !S_ISREG(op->cmd->mknode.mode))
		err = -EINVAL;
	if (!err)
		err = name_is_free(op, t, &n);
	if (err == -EEXIST && !(op->cmd->mknode.flags & PW_CREATE_EXCL))
		err = -ESTALE;
	if (!err)
		err = node_make(op, t, &n);
	if (err)
		return err;
	op->opened_ino = n.ino;
	op->rsp->attr.off = 1;
	return 0;
}

int pws_meta_op_link(struct pws_meta_op *op, struct pws_txn *t)
{
	const struct pw_body_link *b = &op->cmd->link;
	struct new_node n = {
		.parent = b->new_parent,
		.name = (const char *)op->payload,
		.name_len = op->cmd->payload_len,
	};
	struct pws_slice target;
	struct pws_inode i;
	int err;

	err = pws_meta_inode_get(t, b->ino, &i, &target);
	if (err)
		return err;
	if (S_ISDIR(i.mode))
		return -EPERM;
	if (!i.nlink)
		return -ENOENT;
	err = name_is_free(op, t, &n);
	if (err)
		return err;
	if (i.nlink >= PWS_NLINK_MAX)
		return -EMLINK;
	i.nlink += !PW_PLANT("link-count");
	i.parent = b->new_parent;
	pws_meta_touch(&i, op->now_ns, false);
	pws_meta_inode_put(t, b->ino, &i, target);
	pws_meta_dirent_put(op, t, n.parent, n.name, n.name_len, b->ino, i.mode);
	n.dir.size++;
	pws_meta_touch(&n.dir, op->now_ns, true);
	pws_meta_dir_put(t, n.parent, &n.dir);
	pws_meta_answer_attr(op, b->ino, &i);
	return 0;
}
