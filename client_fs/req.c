/* SPDX-License-Identifier: Apache-2.0 */
/* req.c -- the table of operations, the check of a request, its way back
 *
 * Happy path: a source fills the request -> pwc_req_start() -> the operation's start() ->
 * pwc_req_call() -> the call's done() -> pwc_req_end() -> the source's reply() -> pwc_req_free().
 * Can fail: a malformed request is answered with -EIO and counted; an opcode without an entry with
 * -ENOSYS.
 */
#include "client_fs/req.h"

#include <errno.h>
#include <string.h>

#include "client_fs/ops.h"
#include "client_fs/shard.h"
#include "common/log.h"

static const struct pw_sm_state states[] = {
	[PWC_REQ_FREE] = { "free", PW_SM_TO(PWC_REQ_NEW) },
	[PWC_REQ_NEW] = { "new", PW_SM_TO(PWC_REQ_CALLING) | PW_SM_TO(PWC_REQ_REPLYING) },
	[PWC_REQ_CALLING] = { "calling",
			      PW_SM_TO(PWC_REQ_CALLING) | PW_SM_TO(PWC_REQ_REPLYING) },
	[PWC_REQ_REPLYING] = { "replying", PW_SM_TO(PWC_REQ_FREE) },
};
static const struct pw_sm_type req_type = PW_SM_TYPE("req", states);

#define NATIVE(name, len, names, fn) { name, PWC_OP_NATIVE, len, names, fn }
#define LIBFUSE(name, len, names) { name, PWC_OP_LIBFUSE, len, names, pwc_mount_ll_start }
#define NONE(name) { name, PWC_OP_NONE, 0, 0, NULL }

static const struct pwc_op ops[] = {
	[FUSE_LOOKUP] = NATIVE("lookup", 0, 1, pwc_op_lookup_start),
	[FUSE_GETATTR] = NATIVE("getattr", sizeof(struct fuse_getattr_in), 0, pwc_op_getattr_start),
	[FUSE_SETATTR] = NATIVE("setattr", sizeof(struct fuse_setattr_in), 0, pwc_op_setattr_start),
	[FUSE_READLINK] = LIBFUSE("readlink", 0, 0),
	[FUSE_SYMLINK] = LIBFUSE("symlink", 0, 2),
	[FUSE_MKNOD] = LIBFUSE("mknod", sizeof(struct fuse_mknod_in), 1),
	[FUSE_MKDIR] = LIBFUSE("mkdir", sizeof(struct fuse_mkdir_in), 1),
	[FUSE_UNLINK] = LIBFUSE("unlink", 0, 1),
	[FUSE_RMDIR] = LIBFUSE("rmdir", 0, 1),
	[FUSE_RENAME] = LIBFUSE("rename", sizeof(struct fuse_rename_in), 2),
	[FUSE_LINK] = LIBFUSE("link", sizeof(struct fuse_link_in), 1),
	[FUSE_OPEN] = NATIVE("open", sizeof(struct fuse_open_in), 0, pwc_op_open_start),
	[FUSE_READ] = NATIVE("read", sizeof(struct fuse_read_in), 0, pwc_op_read_start),
	[FUSE_WRITE] = NATIVE("write", sizeof(struct fuse_write_in), 0, pwc_op_write_start),
	[FUSE_STATFS] = LIBFUSE("statfs", 0, 0),
	[FUSE_RELEASE] = NATIVE("release", sizeof(struct fuse_release_in), 0, pwc_op_release_start),
	[FUSE_FSYNC] = NATIVE("fsync", sizeof(struct fuse_fsync_in), 0, pwc_op_fsync_start),
	[FUSE_SETXATTR] = NONE("setxattr"),
	[FUSE_GETXATTR] = NONE("getxattr"),
	[FUSE_LISTXATTR] = NONE("listxattr"),
	[FUSE_REMOVEXATTR] = NONE("removexattr"),
	[FUSE_FLUSH] = NATIVE("flush", sizeof(struct fuse_flush_in), 0, pwc_op_flush_start),
	[FUSE_INIT] = NONE("init"), /* fuse_dev.c has its own way for it */
	[FUSE_OPENDIR] = LIBFUSE("opendir", sizeof(struct fuse_open_in), 0),
	[FUSE_READDIR] = LIBFUSE("readdir", sizeof(struct fuse_read_in), 0),
	[FUSE_RELEASEDIR] = LIBFUSE("releasedir", sizeof(struct fuse_release_in), 0),
	[FUSE_FSYNCDIR] = NATIVE("fsyncdir", sizeof(struct fuse_fsync_in), 0, pwc_op_fsync_start),
	[FUSE_GETLK] = NONE("getlk"),
	[FUSE_SETLK] = NONE("setlk"),
	[FUSE_SETLKW] = NONE("setlkw"),
	[FUSE_ACCESS] = NONE("access"),
	[FUSE_CREATE] = NATIVE("create", sizeof(struct fuse_create_in), 1, pwc_op_create_start),
	[FUSE_BMAP] = NONE("bmap"),
	[FUSE_DESTROY] = LIBFUSE("destroy", 0, 0),
	[FUSE_IOCTL] = NATIVE("ioctl", sizeof(struct fuse_ioctl_in), 0, pwc_op_ioctl_start),
	[FUSE_POLL] = NONE("poll"),
	[FUSE_FALLOCATE] = NONE("fallocate"),
	[FUSE_READDIRPLUS] = LIBFUSE("readdirplus", sizeof(struct fuse_read_in), 0),
	[FUSE_RENAME2] = LIBFUSE("rename2", sizeof(struct fuse_rename2_in), 2),
	[FUSE_LSEEK] = NONE("lseek"),
	[FUSE_COPY_FILE_RANGE] = NONE("copy_file_range"),
	[FUSE_SYNCFS] = NONE("syncfs"),
	[FUSE_TMPFILE] = NONE("tmpfile"),
	[FUSE_STATX] = NONE("statx"),
	[FUSE_COPY_FILE_RANGE_64] = NONE("copy_file_range_64"),
};

const struct pwc_op *pwc_op_get(uint32_t opcode)
{
	return opcode < PW_ARRAY_SIZE(ops) && ops[opcode].name ? &ops[opcode] : NULL;
}

void pwc_req_init(struct pwc_req *r, struct pwc_shard *sh, uint32_t idx, enum pwc_path path,
		  void (*reply)(struct pwc_req *r, int err, uint32_t out_len))
{
	memset(r, 0, sizeof(*r));
	pw_sm_init(&r->sm, &req_type, PWC_REQ_FREE);
	pw_list_init(&r->call.node);
	r->sh = sh;
	r->idx = idx;
	r->path = path;
	r->reply = reply;
}

int pwc_req_parse(struct pwc_req *r, uint8_t *buf, uint32_t len)
{
	const struct fuse_in_header *h = (const void *)buf;
	const struct pwc_op *op;
	uint32_t rest;

	if (len < sizeof(*h) || h->len != len)
		return -EPROTO;
	rest = len - (uint32_t)sizeof(*h);
	op = pwc_op_get(h->opcode);
	pwc_req_take_head(r, h);
	r->op_in = buf + sizeof(*h);
	r->op_in_len = op ? PW_MIN(op->op_in_len, rest) : rest;
	r->in = buf + sizeof(*h) + r->op_in_len;
	r->in_len = rest - r->op_in_len;
	return 0;
}

/* Names as they must be before an operation looks at them. Extensions may follow; they are not
 * used. */
static int check_names(const struct pwc_req *r, uint32_t nr)
{
	uint32_t pos = 0;

	for (uint32_t i = 0; i < nr; i++) {
		size_t room = r->in_len - pos;
		const uint8_t *end = room ? memchr(r->in + pos, 0, room) : NULL;
		/* the second string of a SYMLINK is no name but a path */
		size_t max = r->opcode == FUSE_SYMLINK && i == 1 ? PW_SYMLINK_MAX : PW_NAME_MAX;
		size_t len;

		if (!end)
			return -EIO;
		len = (size_t)(end - (r->in + pos));
		if (!len)
			return r->opcode == FUSE_SYMLINK ? -ENOENT : -EINVAL;
		if (len > max)
			return -ENAMETOOLONG;
		pos += (uint32_t)len + 1;
	}
	return 0;
}

static int check(const struct pwc_req *r, const struct pwc_op *op)
{
	if (!op || op->kind == PWC_OP_NONE)
		return -ENOSYS;
	if (r->op_in_len < op->op_in_len ||
	    (!r->nodeid && r->opcode != FUSE_STATFS && r->opcode != FUSE_DESTROY))
		return -EIO;
	return check_names(r, op->nr_names);
}

void pwc_req_start(struct pwc_req *r)
{
	const struct pwc_op *op = pwc_op_get(r->opcode);
	struct pwc_stats *st = &r->sh->stats;
	int err;

	pw_sm_move(&r->sm, PWC_REQ_NEW, r->opcode);
	r->interrupted = false;
	r->ll = NULL;
	if (pw_unlikely(r->sh->interrupts.nr_early))
		pwc_interrupt_check_early(&r->sh->interrupts, r);
	st->requests[r->opcode < PWC_NR_OPS ? r->opcode : 0]++;
	st->by_path[pwc_req_path(r)]++;
	if (r->path == PWC_PATH_DEV)
		st->fallbacks[r->sh->use_ring ? PWC_FALLBACK_EARLY : PWC_FALLBACK_NO_RING]++;
	err = check(r, op);
	if (pw_likely(!err)) {
		op->start(r);
		return;
	}
	if (err == -EIO) {
		st->bad_requests++;
		pw_log_rl(PW_LOG_WARN, "fuse: malformed request, opcode %u", r->opcode);
	}
	pwc_req_end(r, err, 0);
}

struct pw_cmd *pwc_req_cmd(struct pwc_req *r, enum pw_op op)
{
	struct pw_cmd *cmd = &r->call.send.cmd;

	pw_cmd_init(cmd, PW_MSG_REQ, op);
	r->call.payload = NULL;
	r->call.out = NULL;
	r->call.runs = NULL;
	r->call.out_max = 0;
	r->call.aborted = false;
	r->call.brief = false;
	return cmd;
}

static void on_done(struct pwc_call *c, int err, const struct pw_cmd *rsp, uint32_t out_len)
{
	struct pwc_req *r = pwc_req_of_call(c);

	r->calling = false;
	r->done(c, err, rsp, out_len);
}

void pwc_req_call(struct pwc_req *r,
		  void (*done)(struct pwc_call *c, int err, const struct pw_cmd *rsp,
			       uint32_t out_len))
{
	pw_sm_move(&r->sm, PWC_REQ_CALLING, r->call.send.cmd.op);
	r->done = done;
	r->calling = true;
	r->call.done = on_done;
	pwc_peer_call(r->sh->peer, &r->call);
}

/* What an application may see. The rest is between us and the node. */
static int to_application(int err)
{
	switch (err) {
	case -EBADMSG: /* a checksum: the node has logged where */
	case -EPROTO:
	case -ETIMEDOUT:
	case -EKEYREJECTED:
	case -EPROTONOSUPPORT:
	case -EMEDIUMTYPE:
		return -EIO;
	case -ESHUTDOWN:
		return -ENOTCONN;
	default:
		return err;
	}
}

void pwc_req_end(struct pwc_req *r, int err, uint32_t out_len)
{
	err = to_application(err);
	if (err) {
		r->sh->stats.errors[r->opcode < PWC_NR_OPS ? r->opcode : 0]++;
		out_len = 0;
	}
	pw_sm_move(&r->sm, PWC_REQ_REPLYING, (uint32_t)-err);
	r->reply(r, err, out_len);
}

void pwc_req_free(struct pwc_req *r)
{
	struct pwc_region *region = r->region;

	r->region = NULL;
	pw_sm_move(&r->sm, PWC_REQ_FREE, 0);
	if (region)
		pwc_region_put(region);
}

void pwc_req_done_plain(struct pwc_call *c, int err, const struct pw_cmd *rsp, uint32_t out_len)
{
	(void)rsp;
	(void)out_len;
	pwc_req_end(pwc_req_of_call(c), err, 0);
}
