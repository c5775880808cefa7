/* SPDX-License-Identifier: Apache-2.0 */
/* meta.c -- building blocks of namespace operations, and the table that finds them
 *
 * What can fail: a row that cannot be decoded is -EBADMSG here and EIO for the application;
 * everything else is a POSIX answer. Nothing here blocks, allocates or looks at a clock.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "common/plant.h"
#include "storage_node/meta/ops.h"

/* Inode numbers are taken from the A row in runs of this many: one row write per run, when half of
 * the last one is used up. */
#define INO_RUN 4096u
#define INO_SEQ_MASK ((1ull << 48) - 1)

static int (*const op_table[PW_OP_NR])(struct pws_meta_op *op, struct pws_txn *t) = {
	[PW_OP_LOOKUP] = pws_meta_op_lookup,
	[PW_OP_GETATTR] = pws_meta_op_getattr,
	[PW_OP_SETATTR] = pws_meta_op_setattr,
	[PW_OP_MKNODE] = pws_meta_op_mknode,
	[PW_OP_CREATE] = pws_meta_op_create,
	[PW_OP_UNLINK] = pws_meta_op_unlink,
	[PW_OP_RMDIR] = pws_meta_op_rmdir,
	[PW_OP_RENAME] = pws_meta_op_rename,
	[PW_OP_LINK] = pws_meta_op_link,
	[PW_OP_READLINK] = pws_meta_op_readlink,
	[PW_OP_READDIR] = pws_meta_op_readdir,
	[PW_OP_OPEN] = pws_meta_op_open,
	[PW_OP_STATFS] = pws_meta_op_statfs,
};

int pws_meta_attempt(struct pws_meta_op *op, struct pws_txn *t)
{
	uint32_t nr = op->cmd->op;

	if (nr >= PW_OP_NR || !op_table[nr])
		return -EOPNOTSUPP;
	op->opened_ino = 0;
	op->orphan_ino = 0;
	op->truncate = false;
	op->rsp->payload_len = 0;
	memset(op->rsp->raw, 0, sizeof(op->rsp->raw));
	return op_table[nr](op, t);
}

struct pws_inode pws_meta_inode_new(uint32_t mode, uint64_t parent, int64_t now_ns)
{
	return (struct pws_inode){
		.version = PWS_RECORD_VERSION,
		.mode = mode,
		.nlink = S_ISDIR(mode) ? 2 : 1,
		.atime_ns = now_ns,
		.mtime_ns = now_ns,
		.ctime_ns = now_ns,
		.btime_ns = now_ns,
		.change = 1,
		.parent = parent,
		.generation = 1,
	};
}

int pws_meta_inode_get(struct pws_txn *t, uint64_t ino, struct pws_inode *ret,
		       struct pws_slice *target)
{
	struct pws_key k;
	struct pws_slice val;
	int err;

	pws_key_inode(&k, ino);
	err = pws_txn_get(t, pws_key_slice(&k), &val);
	if (err)
		return err == -ENOENT ? -ESTALE : err;
	return pws_inode_decode(val, ret, target);
}

void pws_meta_inode_put(struct pws_txn *t, uint64_t ino, const struct pws_inode *i,
			struct pws_slice target)
{
	uint8_t row[sizeof(*i) + PW_SYMLINK_MAX];
	struct pws_key k;
	uint32_t n = PW_MIN(target.n, (uint32_t)PW_SYMLINK_MAX);

	memcpy(row, i, sizeof(*i));
	if (n)
		memcpy(row + sizeof(*i), target.p, n);
	pws_key_inode(&k, ino);
	pws_txn_put(t, pws_key_slice(&k), (struct pws_slice){ row, (uint32_t)sizeof(*i) + n });
}

void pws_meta_touch(struct pws_inode *i, int64_t now_ns, bool data)
{
	if (data)
		i->mtime_ns = now_ns;
	/* Only the node sets ctime, so it can promise that it never runs backwards. */
	i->ctime_ns = PW_MAX(i->ctime_ns, now_ns);
	i->change++;
}

void pws_meta_kill_suidgid(struct pws_inode *i)
{
	if (S_ISDIR(i->mode))
		return; /* there they mean something else; chown(2) clears them of all the others */
	i->mode &= ~(uint32_t)S_ISUID;
	if (i->mode & S_IXGRP)
		i->mode &= ~(uint32_t)S_ISGID;
}

void pws_meta_wrote(struct pws_inode *i, uint64_t end, int64_t now_ns, bool killpriv)
{
	i->size = PW_MAX(i->size, end);
	if (killpriv)
		pws_meta_kill_suidgid(i);
	pws_meta_touch(i, now_ns, true);
}

void pws_meta_answer_attr(struct pws_meta_op *op, uint64_t ino, const struct pws_inode *i)
{
	pws_inode_attr(ino, i, &op->rsp->attr.attr);
}

int pws_meta_dir_get(struct pws_txn *t, uint64_t ino, struct pws_inode *ret)
{
	int err = pws_meta_inode_get(t, ino, ret, NULL);

	if (err)
		return err;
	return S_ISDIR(ret->mode) ? 0 : -ENOTDIR;
}

void pws_meta_dir_put(struct pws_txn *t, uint64_t ino, const struct pws_inode *dir)
{
	pws_meta_inode_put(t, ino, dir, (struct pws_slice){ NULL, 0 });
}

int pws_meta_dirent_get(struct pws_meta_op *op, struct pws_txn *t, uint64_t parent,
			const char *name, uint32_t len, uint64_t *ret_ino)
{
	struct pws_dirent_val d;
	struct pws_slice val;
	struct pws_key k;
	int err;

	pws_key_dirent(&k, op->meta->sip_key, parent, name, len);
	err = pws_txn_get(t, pws_key_slice(&k), &val);
	if (err)
		return err;
	if (val.n != sizeof(d))
		return -EBADMSG;
	memcpy(&d, val.p, sizeof(d));
	if (d.version != PWS_RECORD_VERSION)
		return -EBADMSG;
	*ret_ino = d.ino;
	return 0;
}

void pws_meta_dirent_put(struct pws_meta_op *op, struct pws_txn *t, uint64_t parent,
			 const char *name, uint32_t len, uint64_t ino, uint32_t mode)
{
	struct pws_dirent_val d = {
		.version = PWS_RECORD_VERSION,
		.type = (uint8_t)((mode & S_IFMT) >> 12),
		.ino = ino,
	};
	struct pws_key k;

	pws_key_dirent(&k, op->meta->sip_key, parent, name, len);
	pws_txn_put(t, pws_key_slice(&k), (struct pws_slice){ &d, sizeof(d) });
}

void pws_meta_dirent_del(struct pws_meta_op *op, struct pws_txn *t, uint64_t parent,
			 const char *name, uint32_t len)
{
	struct pws_key k;

	pws_key_dirent(&k, op->meta->sip_key, parent, name, len);
	pws_txn_del(t, pws_key_slice(&k));
}

int pws_meta_ino_alloc(struct pws_meta *m, struct pws_txn *t, uint64_t *ret)
{
	uint64_t stored, more;
	struct pws_slice val;
	struct pws_key k;
	bool safe;
	int err;

	pws_key_alloc(&k);
	err = pws_txn_get(t, pws_key_slice(&k), &val);
	if (err)
		return err == -ENOENT ? -EBADMSG : err;
	if (val.n != sizeof(stored))
		return -EBADMSG;
	memcpy(&stored, val.p, sizeof(stored));
	/* the life before may have used all below the row */
	if (!m->next_ino)
		m->next_ino = m->ino_safe = stored;
	if (pws_txn_on_media(t, pws_key_slice(&k)))
		m->ino_safe = stored;
	safe = m->next_ino < m->ino_safe || PW_PLANT("number-early");
	/* Compared with the row, not with what this call did: an attempt that is run again after
	 * a conflict must put the row again. */
	more = stored + INO_RUN;
	if (stored < m->next_ino + INO_RUN / 2) {
		struct pws_slice next = { &more, sizeof(more) };

		if (safe)
			pws_txn_put(t, pws_key_slice(&k), next);
		else
			pws_txn_keep(t, pws_key_slice(&k), next);
	}
	if (!safe) {
		/* a number that a power cut could make free again must not be seen by anybody:
		 * the next file with it would be taken for this one by whoever has it open */
		t->again = true;
		return -EAGAIN;
	}
	if ((m->next_ino & INO_SEQ_MASK) == INO_SEQ_MASK)
		return -ENOSPC;
	*ret = m->next_ino++;
	return 0;
}

void pws_meta_unlinked(struct pws_meta_op *op, struct pws_txn *t, uint64_t ino,
		       struct pws_inode *i)
{
	struct pws_orphan o = {
		.version = PWS_RECORD_VERSION,
		.since_ns = (uint64_t)op->now_ns,
	};
	struct pws_key k;

	/* A directory goes away as a whole: its own entry and its parent's. */
	i->nlink = S_ISDIR(i->mode) ? 0 : i->nlink - 1;
	pws_meta_touch(i, op->now_ns, false);
	if (i->nlink)
		return;
	pws_key_orphan(&k, ino);
	pws_txn_put(t, pws_key_slice(&k), (struct pws_slice){ &o, sizeof(o) });
	op->orphan_ino = ino;
}

int pws_meta_format_attempt(struct pws_txn *t, int64_t now_ns)
{
	struct pws_inode root = pws_meta_inode_new(S_IFDIR | 0755, PWS_ROOT_INO, now_ns);
	uint64_t next = PWS_ROOT_INO + 1;
	struct pws_slice val;
	struct pws_key k;
	int err;

	pws_key_inode(&k, PWS_ROOT_INO);
	err = pws_txn_get(t, pws_key_slice(&k), &val);
	if (err != -ENOENT)
		return err; /* formatted already, or come again */
	pws_meta_dir_put(t, PWS_ROOT_INO, &root);
	pws_key_alloc(&k);
	pws_txn_put(t, pws_key_slice(&k), (struct pws_slice){ &next, sizeof(next) });
	return 0;
}
