/* SPDX-License-Identifier: Apache-2.0 */
/* ll_ops.c -- one call to the node each, answered through libfuse when it comes back
 *
 * The names lie in the request's own memory, where they stay until the answer: a call's payload
 * points there. Two names are moved together (the wire has no NUL between them).
 */
#include "client_fs/ll_ops.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "client_fs/entry.h"
#include "client_fs/ll_readdir.h"
#include "client_fs/shard.h"

/* The request that this libfuse handle stands for, and its command. */
static struct pwc_req *begin(fuse_req_t ll, enum pw_op op, struct pw_cmd **ret_cmd)
{
	struct pwc_shard *sh = fuse_req_userdata(ll);
	struct pwc_req *r = pwc_mount_current(&sh->mnt);

	r->ll = ll;
	*ret_cmd = pwc_req_cmd(r, op);
	return r;
}

static struct pw_cred cred_of(const struct pwc_req *r)
{
	return (struct pw_cred){ r->uid, r->gid };
}

static void on_removed(struct pwc_call *c, int err, const struct pw_cmd *rsp, uint32_t out_len)
{
	struct pwc_req *r = pwc_req_of_call(c);

	(void)out_len;
	if (!err)
		pwc_gone_removed(&r->sh->gone, &rsp->attr.attr);
	fuse_reply_err(r->ll, -err);
}

static void on_entry(struct pwc_call *c, int err, const struct pw_cmd *rsp, uint32_t out_len)
{
	struct pwc_req *r = pwc_req_of_call(c);
	double valid = r->sh->o->attr_timeout_ms / 1000.0;
	struct fuse_entry_param e = { .attr_timeout = valid, .entry_timeout = valid };

	(void)out_len;
	if (err) {
		fuse_reply_err(r->ll, -err);
		return;
	}
	e.ino = rsp->attr.attr.ino;
	e.generation = rsp->attr.attr.generation;
	pwc_attr_to_stat(&rsp->attr.attr, &e.attr);
	pwc_entry_note(r->sh, &rsp->attr.attr);
	fuse_reply_entry(r->ll, &e);
}

/* Second name behind the first without its NUL; returns their length together. */
static uint32_t join_names(struct pwc_req *r, uint32_t *ret_first)
{
	uint32_t first = (uint32_t)strlen((const char *)r->in);
	uint32_t second = (uint32_t)strlen((const char *)r->in + first + 1);

	memmove(r->in + first, r->in + first + 1, second);
	*ret_first = first;
	return first + second;
}

static void make_node(fuse_req_t ll, fuse_ino_t parent, uint32_t mode, uint32_t rdev)
{
	struct pw_cmd *cmd;
	struct pwc_req *r = begin(ll, PW_OP_MKNODE, &cmd);

	cmd->mknode.parent = parent;
	cmd->mknode.cred = cred_of(r);
	cmd->mknode.mode = mode;
	cmd->mknode.rdev = S_ISCHR(mode) || S_ISBLK(mode) ? pwc_attr_rdev_to_wire(rdev) : 0;
	cmd->mknode.name_len = (uint32_t)strlen(pwc_req_name(r));
	cmd->payload_len = cmd->mknode.name_len;
	r->call.payload = r->in;
	pwc_req_call(r, on_entry);
}

static void do_mknod(fuse_req_t ll, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	(void)name;
	if (!(mode & S_IFMT))
		mode |= S_IFREG;
	if (!S_ISREG(mode) && !S_ISFIFO(mode) && !S_ISSOCK(mode) && !S_ISCHR(mode) &&
	    !S_ISBLK(mode)) {
		fuse_reply_err(ll, EINVAL);
		return;
	}
	make_node(ll, parent, mode & (S_IFMT | 07777), (uint32_t)rdev);
}

static void do_mkdir(fuse_req_t ll, fuse_ino_t parent, const char *name, mode_t mode)
{
	(void)name;
	make_node(ll, parent, S_IFDIR | (mode & 07777), 0);
}

/* The kernel sends name and target in this order, as the wire wants them. */
static void do_symlink(fuse_req_t ll, const char *target, fuse_ino_t parent, const char *name)
{
	struct pw_cmd *cmd;
	struct pwc_req *r = begin(ll, PW_OP_MKNODE, &cmd);

	(void)target;
	(void)name;
	cmd->mknode.parent = parent;
	cmd->mknode.cred = cred_of(r);
	cmd->mknode.mode = S_IFLNK | 0777;
	cmd->payload_len = join_names(r, &cmd->mknode.name_len);
	r->call.payload = r->in;
	pwc_req_call(r, on_entry);
}

static void on_link_target(struct pwc_call *c, int err, const struct pw_cmd *rsp, uint32_t out_len)
{
	struct pwc_req *r = pwc_req_of_call(c);
	char target[PW_SYMLINK_MAX + 1];

	(void)rsp;
	if (!err && out_len > PW_SYMLINK_MAX)
		err = -EIO;
	if (err) {
		fuse_reply_err(r->ll, -err);
		return;
	}
	memcpy(target, r->out, out_len);
	target[out_len] = '\0';
	fuse_reply_readlink(r->ll, target);
}

static void do_readlink(fuse_req_t ll, fuse_ino_t ino)
{
	struct pw_cmd *cmd;
	struct pwc_req *r = begin(ll, PW_OP_READLINK, &cmd);

	cmd->ino.ino = ino;
	cmd->ino.cred = cred_of(r);
	r->call.out = r->out;
	r->call.out_max = PW_MIN(r->out_max, PW_SYMLINK_MAX + 1u);
	pwc_req_call(r, on_link_target);
}

static void remove_name(fuse_req_t ll, enum pw_op op, fuse_ino_t parent)
{
	struct pw_cmd *cmd;
	struct pwc_req *r = begin(ll, op, &cmd);

	cmd->name.parent = parent;
	cmd->name.cred = cred_of(r);
	cmd->payload_len = (uint32_t)strlen(pwc_req_name(r));
	r->call.payload = r->in;
	pwc_req_call(r, on_removed);
}

static void do_unlink(fuse_req_t ll, fuse_ino_t parent, const char *name)
{
	(void)name;
	remove_name(ll, PW_OP_UNLINK, parent);
}

static void do_rmdir(fuse_req_t ll, fuse_ino_t parent, const char *name)
{
	(void)name;
	remove_name(ll, PW_OP_RMDIR, parent);
}

static void do_rename(fuse_req_t ll, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
		      const char *new_name, unsigned int flags)
{
	struct pw_cmd *cmd;
	struct pwc_req *r;

	(void)name;
	(void)new_name;
	/* RENAME_NOREPLACE and RENAME_EXCHANGE have the same bits on the wire, and exclude each
	 * other */
	if (!new_parent || flags > PW_RENAME_EXCHANGE) {
		fuse_reply_err(ll, EINVAL);
		return;
	}
	r = begin(ll, PW_OP_RENAME, &cmd);
	cmd->rename.old_parent = parent;
	cmd->rename.new_parent = new_parent;
	cmd->rename.cred = cred_of(r);
	cmd->rename.flags = flags;
	cmd->payload_len = join_names(r, &cmd->rename.old_len);
	r->call.payload = r->in;
	pwc_req_call(r, on_removed);
}

static void do_link(fuse_req_t ll, fuse_ino_t ino, fuse_ino_t new_parent, const char *new_name)
{
	struct pw_cmd *cmd;
	struct pwc_req *r;

	(void)new_name;
	if (!ino) {
		fuse_reply_err(ll, EINVAL);
		return;
	}
	r = begin(ll, PW_OP_LINK, &cmd);
	cmd->link.ino = ino;
	cmd->link.new_parent = new_parent;
	cmd->link.cred = cred_of(r);
	cmd->payload_len = (uint32_t)strlen(pwc_req_name(r));
	r->call.payload = r->in;
	pwc_req_call(r, on_entry);
}

static void on_statfs(struct pwc_call *c, int err, const struct pw_cmd *rsp, uint32_t out_len)
{
	struct pwc_req *r = pwc_req_of_call(c);
	const struct pw_body_statfs *b;
	struct statvfs st;

	(void)out_len;
	if (err && err != -EHOSTDOWN) {
		fuse_reply_err(r->ll, -err);
		return;
	}
	if (!err)
		r->sh->last.space = rsp->statfs;
	b = &r->sh->last.space;
	st = (struct statvfs){
		.f_bsize = b->bsize,
		.f_frsize = b->bsize,
		.f_blocks = b->blocks,
		.f_bfree = b->bfree,
		.f_bavail = b->bavail,
		.f_files = b->files,
		.f_ffree = b->ffree,
		.f_namemax = b->namelen,
	};
	fuse_reply_statfs(r->ll, &st);
}

static void do_statfs(fuse_req_t ll, fuse_ino_t ino)
{
	struct pw_cmd *cmd;
	struct pwc_req *r = begin(ll, PW_OP_STATFS, &cmd);

	(void)ino;
	cmd->ino.cred = cred_of(r);
	r->call.brief = true; /* umount(8) asks, too */
	pwc_req_call(r, on_statfs);
}

/* A handle has no state: cookies stay valid whatever happens to the directory. But what is known of
 * the directory is kept while there is one: see gone.h. */
static void answer_opendir(struct pwc_req *r, const struct pw_attr *attr)
{
	const struct fuse_file_info fi = { .fh = 0 };
	int err = pwc_gone_opendir(&r->sh->gone, attr);

	if (err)
		fuse_reply_err(r->ll, -err);
	else
		fuse_reply_open(r->ll, &fi);
}

static void on_dir_attr(struct pwc_call *c, int err, const struct pw_cmd *rsp, uint32_t out_len)
{
	struct pwc_req *r = pwc_req_of_call(c);

	(void)out_len;
	if (err)
		fuse_reply_err(r->ll, -err);
	else
		answer_opendir(r, &rsp->attr.attr);
}

/* The kernel has just looked the directory up, as a rule, so that nobody need be asked. */
static void do_opendir(fuse_req_t ll, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct pw_cmd *cmd;
	struct pwc_req *r = begin(ll, PW_OP_GETATTR, &cmd);
	const struct pw_attr *known = pwc_gone_find(&r->sh->gone, ino);
	struct pw_attr attr;

	if (ino == FUSE_ROOT_ID) { /* it cannot go away */
		fuse_reply_open(ll, fi);
		return;
	}
	if (!known)
		known = pwc_entry_last(r->sh, ino);
	if (known) {
		attr = *known;
		answer_opendir(r, &attr);
		return;
	}
	cmd->ino.ino = ino;
	cmd->ino.cred = cred_of(r);
	pwc_req_call(r, on_dir_attr);
}

static void do_releasedir(fuse_req_t ll, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct pwc_shard *sh = fuse_req_userdata(ll);

	(void)fi;
	pwc_gone_closedir(&sh->gone, ino);
	fuse_reply_err(ll, 0);
}

static void read_dir(fuse_req_t ll, fuse_ino_t ino, size_t size, off_t off, bool plus)
{
	struct pwc_shard *sh = fuse_req_userdata(ll);
	struct pwc_req *r = pwc_mount_current(&sh->mnt);

	r->ll = ll;
	pwc_ll_readdir(r, ino, size, (uint64_t)off, plus);
}

static void do_readdir(fuse_req_t ll, fuse_ino_t ino, size_t size, off_t off,
		       struct fuse_file_info *fi)
{
	(void)fi;
	read_dir(ll, ino, size, off, false);
}

static void do_readdirplus(fuse_req_t ll, fuse_ino_t ino, size_t size, off_t off,
			   struct fuse_file_info *fi)
{
	(void)fi;
	read_dir(ll, ino, size, off, true);
}

const struct fuse_lowlevel_ops pwc_ll_ops = {
	.mknod = do_mknod,
	.mkdir = do_mkdir,
	.symlink = do_symlink,
	.readlink = do_readlink,
	.unlink = do_unlink,
	.rmdir = do_rmdir,
	.rename = do_rename,
	.link = do_link,
	.statfs = do_statfs,
	.opendir = do_opendir,
	.releasedir = do_releasedir,
	.readdir = do_readdir,
	.readdirplus = do_readdirplus,
};
