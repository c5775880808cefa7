/* SPDX-License-Identifier: Apache-2.0 */
/* fuse_session.c -- a libfuse session without its loop: INIT, and one request at a time
 *
 * Happy path: the kernel's INIT, read by fuse_dev.c, goes through libfuse (which must have seen it)
 * and is answered by us -> from then on pwc_mount_ll_start() feeds single requests, and what
 * libfuse writes comes to on_writev(). Can fail: only while the session is made.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "client_fs/fuse_mount.h"
#include "client_fs/ll_ops.h"
#include "client_fs/ops.h"
#include "client_fs/shard.h"
#include "common/fault.h"
#include "common/log.h"

/* Marks a request of our table in `unique`; bit 63 is the kernel's (FUSE_UNIQUE_RESEND), bit 0
 * too. */
#define TAG (1ull << 62)
#define SCRATCH_BYTES 16384u

struct pwc_req *pwc_mount_current(struct pwc_mount *m)
{
	return m->current;
}

/* FUSE of Linux 6.18 */
#define FORGETS_AFTER_DIRECT_WRITE 45u

struct fuse_init_out pwc_mount_init_answer(const struct fuse_init_in *in, uint32_t max_io,
					   uint64_t want_more)
{
	uint64_t offered = in->flags, want, flags;
	struct fuse_init_out out = {
		.major = FUSE_KERNEL_VERSION,
		.minor = PW_MIN(in->minor, (uint32_t)FUSE_KERNEL_MINOR_VERSION),
		.max_readahead = in->max_readahead,
		.max_background = 1024,
		.congestion_threshold = 768,
		.max_write = max_io,
		.time_gran = 1,
		.max_pages = (uint16_t)(max_io / 4096),
	};

	if (in->flags & FUSE_INIT_EXT)
		offered |= (uint64_t)in->flags2 << 32;
	/* ABORT_ERROR: so that the end by fusectl differs from the end by umount */
	want = FUSE_ABORT_ERROR | FUSE_ASYNC_READ | FUSE_ATOMIC_O_TRUNC | FUSE_BIG_WRITES |
	       FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO | FUSE_ASYNC_DIO | FUSE_PARALLEL_DIROPS |
	       FUSE_MAX_PAGES | FUSE_CACHE_SYMLINKS | FUSE_HANDLE_KILLPRIV_V2 | FUSE_INIT_EXT |
	       FUSE_DIRECT_IO_ALLOW_MMAP;
	/* With it a kernel drops all pages of a file whenever its mtime is new, also by our own
	 * writes, and also while one is under way: a page that was written is then read again
	 * past the write, and the old one is kept. op_meta.c drops what others have changed.
	 * Kernels that do not forget what was read during a direct write need it nevertheless. */
	if (in->minor < FORGETS_AFTER_DIRECT_WRITE)
		want |= FUSE_AUTO_INVAL_DATA;
	flags = (want | want_more) & offered;
	out.flags = (uint32_t)flags;
	out.flags2 = (uint32_t)(flags >> 32);
	return out;
}

static ssize_t answer_init(struct pwc_mount *m, int fd, struct iovec *iov, int count)
{
	struct fuse_out_header *h = iov[0].iov_base;
	struct fuse_init_out out;
	uint64_t want_more = 0;
	struct iovec ours[2] = { { h, sizeof(*h) }, { &out, sizeof(out) } };
	ssize_t n;

	if (h->error || count != 2)
		return writev(fd, iov, count);
	if (pwc_shard_prepare_ring(m->sh))
		want_more = FUSE_OVER_IO_URING;
	if (want_more && m->sh->o->zc != PWC_ZC_OFF)
		want_more |= FUSE_URING_REG_FD;
	out = pwc_mount_init_answer(m->init_in, pwc_shard_max_io(m->sh), want_more);
	m->flags = out.flags | (uint64_t)out.flags2 << 32;
	h->len = sizeof(*h) + sizeof(out);
	n = writev(fd, ours, 2);
	if (n < 0)
		return n;
	m->init_done = true;
	return (ssize_t)(iov[0].iov_len + iov[1].iov_len);
}

/* An answer to one of our requests: to where it came from. */
static ssize_t answer_req(struct pwc_mount *m, const struct iovec *iov, int count)
{
	const struct fuse_out_header *h = iov[0].iov_base;
	uint64_t idx = h->unique & ~TAG;
	struct pwc_req *r = idx < m->sh->nr_reqs ? m->sh->reqs[idx] : NULL;
	uint32_t len = 0;
	int err = h->error;

	if (!r || pwc_req_is_free(r)) {
		pw_log_rl(PW_LOG_ERR, "fuse: answer of libfuse to nothing, %#" PRIx64, h->unique);
		errno = ENOENT;
		return -1;
	}
	for (int i = 1; i < count && !err; i++) {
		if (iov[i].iov_len > r->out_max - len) {
			err = -EIO;
			break;
		}
		memcpy(r->out + len, iov[i].iov_base, iov[i].iov_len);
		len += (uint32_t)iov[i].iov_len;
	}
	pwc_req_end(r, err, len);
	return (ssize_t)h->len;
}

/* libfuse's only way out. */
static ssize_t on_writev(int fd, struct iovec *iov, int count, void *userdata)
{
	struct pwc_shard *sh = userdata;
	const struct fuse_out_header *h = iov[0].iov_base;

	if (h->unique & TAG)
		return answer_req(&sh->mnt, iov, count);
	if (sh->mnt.init_unique && h->unique == sh->mnt.init_unique)
		return answer_init(&sh->mnt, fd, iov, count);
	return writev(fd, iov, count);
}

/* Required by libfuse; only its loop would call it. */
static ssize_t on_read(int fd, void *buf, size_t len, void *userdata)
{
	(void)userdata;
	return read(fd, buf, len);
}

void pwc_mount_on_init(struct pwc_mount *m, void *buf, uint32_t len)
{
	const struct fuse_in_header *h = buf;
	struct fuse_init_in in = { 0 };
	struct fuse_buf b = { .size = len, .mem = buf };

	memcpy(&in, h + 1, PW_MIN(len - sizeof(*h), sizeof(in)));
	m->init_in = &in;
	m->init_unique = h->unique;
	m->kernel_minor = in.minor;
	m->kernel_flags = in.flags;
	if (in.flags & FUSE_INIT_EXT)
		m->kernel_flags |= (uint64_t)in.flags2 << 32;
	fuse_session_process_buf(m->se, &b);
	m->init_in = NULL;
	m->init_unique = 0;
	if (m->init_done)
		pwc_shard_on_init(m->sh);
}

void pwc_mount_ll_start(struct pwc_req *r)
{
	struct pwc_mount *m = &r->sh->mnt;
	struct fuse_in_header *h = (void *)m->scratch;
	uint32_t op_in_len = pwc_op_get(r->opcode)->op_in_len;
	uint32_t len = (uint32_t)sizeof(*h) + op_in_len + r->in_len;
	struct fuse_buf b = { .size = len, .mem = m->scratch };

	if (len > SCRATCH_BYTES) {
		pwc_req_end(r, -ENAMETOOLONG, 0);
		return;
	}
	*h = (struct fuse_in_header){
		.len = len,
		.opcode = r->opcode,
		.unique = TAG | r->idx,
		.nodeid = r->nodeid,
		.uid = r->uid,
		.gid = r->gid,
		.pid = r->pid,
	};
	memcpy(h + 1, r->op_in, op_in_len);
	memcpy((uint8_t *)(h + 1) + op_in_len, r->in, r->in_len);
	m->current = r;
	fuse_session_process_buf(m->se, &b);
	m->current = NULL;
}

/* libfuse takes options as one list; a comma in the source is escaped. */
static int make_args(const struct pwc_options *o, char *list, size_t len)
{
	char source[2 * sizeof(o->source)];
	size_t n = 0;

	for (const char *p = o->source; *p; p++) {
		if (*p == ',' || *p == '\\')
			source[n++] = '\\';
		source[n++] = *p;
	}
	source[n] = '\0';
	n = (size_t)snprintf(list, len, "fsname=%s,subtype=pagewire,default_permissions%s%s%s%s",
			     source, o->ro ? ",ro" : "", o->allow_other ? ",allow_other" : "",
			     geteuid() == 0 ? ",suid,dev" : "", o->kernel_opts);
	return n < len ? 0 : -ENAMETOOLONG;
}

int pwc_mount_open(struct pwc_mount *m, struct pwc_shard *sh)
{
	char list[1024], prog[] = "pagewire-client", dash_o[] = "-o";
	char *argv[] = { prog, dash_o, list, NULL };
	struct fuse_args args = FUSE_ARGS_INIT(3, argv);
	int err = make_args(sh->o, list, sizeof(list));

	if (err)
		return err;
	*m = (struct pwc_mount){ .sh = sh, .fd = -1 };
	m->scratch = PW_FAULT("mount.session") ? NULL : malloc(SCRATCH_BYTES);
	if (!m->scratch)
		return -ENOMEM;
	/* libfuse 3.18 and later would want to run a ring of its own */
	unsetenv("FUSE_URING_ENABLE");
	unsetenv("FUSE_URING_QUEUE_DEPTH");
	m->se = fuse_session_new(&args, &pwc_ll_ops, sizeof(pwc_ll_ops), sh);
	fuse_opt_free_args(&args);
	if (m->se)
		return 0;
	free(m->scratch);
	m->scratch = NULL;
	return -EINVAL;
}

int pwc_mount_attach(struct pwc_mount *m, int fd)
{
	static const struct fuse_custom_io io = { .writev = on_writev, .read = on_read };

	m->fd = fd;
	return fuse_session_custom_io(m->se, &io, fd);
}

void pwc_mount_fini(struct pwc_mount *m)
{
	if (m->se) {
		/* The connection is gone (poll tells libfuse so): this only frees what it knows of
		 * the mount. */
		fuse_session_unmount(m->se);
		fuse_session_destroy(m->se);
	}
	free(m->scratch);
	*m = (struct pwc_mount){ .fd = -1 };
}
