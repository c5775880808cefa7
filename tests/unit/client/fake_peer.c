/* SPDX-License-Identifier: Apache-2.0 */
/* fake_peer.c -- see fake_peer.h */
#include "fake_peer.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "client_fs/rail.h"
#include "common/uring.h"
#include "common/wire.h"

struct pwc_peer {
	struct pw_loop *loop;
	const struct pwc_peer_ops *ops;
	void *owner;
	enum pwc_peer_state state;
	struct pw_list calls;
	struct pw_ready step;
	bool go, started, stopping;
};

struct fake_peer fake;
static struct pwc_peer *the_peer;

void fake_peer_reset(void)
{
	for (uint32_t i = 0; i < FAKE_NODES; i++)
		free(fake.node[i].data);
	fake = (struct fake_peer){ .max_io = 1u << 20 };
	fake.node[0].attr = (struct pw_attr){
		.ino = 1, .mode = S_IFDIR | 0755, .nlink = 2, .change = 1, .generation = 1,
	};
}

struct fake_inode *fake_peer_find(uint64_t ino)
{
	for (uint32_t i = 0; i < FAKE_NODES; i++)
		if (ino && fake.node[i].attr.ino == ino)
			return &fake.node[i];
	return NULL;
}

static struct fake_inode *find_name(uint64_t parent, const char *name, size_t len)
{
	for (uint32_t i = 1; i < FAKE_NODES; i++) {
		struct fake_inode *n = &fake.node[i];

		if (n->attr.ino && n->parent == parent && strlen(n->name) == len &&
		    !memcmp(n->name, name, len))
			return n;
	}
	return NULL;
}

struct fake_inode *fake_peer_add(uint64_t parent, const char *name, uint32_t mode)
{
	static uint64_t next = 100;

	for (uint32_t i = 1; i < FAKE_NODES; i++) {
		struct fake_inode *n = &fake.node[i];

		if (n->attr.ino)
			continue;
		n->attr = (struct pw_attr){
			.ino = next++, .mode = mode, .nlink = 1, .change = 1, .generation = 7,
		};
		n->parent = parent;
		n->cookie = 1000 + i;
		strncpy(n->name, name, sizeof(n->name) - 1);
		n->data = calloc(1, FAKE_FILE_MAX);
		assert(n->data);
		return n;
	}
	return NULL;
}

static void touch(struct fake_inode *n)
{
	n->attr.change += 1 + fake.extra_changes;
	fake.extra_changes = 0;
}

/* Each returns 0 or -errno, fills the answer, and may set *ret_len to bytes put into c->out. */

/* Its last name is gone, and nobody keeps it: an impatient node. */
static void forget_inode(struct fake_inode *n, struct pw_cmd *rsp)
{
	rsp->attr.attr = n->attr;
	rsp->attr.attr.nlink = 0;
	free(n->data);
	*n = (struct fake_inode){ .parent = 0 };
}

static int do_name(struct pwc_call *c, struct pw_cmd *rsp)
{
	const struct pw_cmd *q = &c->send.cmd;
	struct fake_inode *n = find_name(q->name.parent, c->payload, q->payload_len);

	if (!n)
		return -ENOENT;
	if (q->op == PW_OP_LOOKUP) {
		rsp->attr.attr = n->attr;
		return 0;
	}
	forget_inode(n, rsp);
	return 0;
}

static int do_make(struct pwc_call *c, struct pw_cmd *rsp)
{
	const struct pw_cmd *q = &c->send.cmd;
	uint32_t len = q->mknode.name_len, rest = q->payload_len - len;
	char name[PW_NAME_MAX + 1];
	struct fake_inode *n = find_name(q->mknode.parent, c->payload, len);

	if (n && (q->op == PW_OP_MKNODE || q->mknode.flags & PW_CREATE_EXCL))
		return -EEXIST;
	memcpy(name, c->payload, len);
	name[len] = '\0';
	if (!n)
		n = fake_peer_add(q->mknode.parent, name, q->mknode.mode);
	if (!n)
		return -ENOSPC;
	n->attr.uid = q->mknode.cred.uid;
	n->attr.gid = q->mknode.cred.gid;
	n->attr.rdev = q->mknode.rdev;
	memcpy(n->data, (const char *)c->payload + len, rest);
	n->attr.size = rest;
	n->opens += q->op == PW_OP_CREATE;
	rsp->attr.attr = n->attr;
	return 0;
}

static int do_ino(struct pwc_call *c, struct pw_cmd *rsp, uint32_t *ret_len)
{
	const struct pw_cmd *q = &c->send.cmd;
	struct fake_inode *n = fake_peer_find(q->ino.ino);

	if (!n)
		return -ESTALE;
	switch (q->op) {
	case PW_OP_OPEN:
		if (q->ino.flags & PW_OPEN_TRUNC) {
			n->attr.size = 0;
			touch(n);
		}
		n->opens++;
		break;
	case PW_OP_RELEASE:
		assert(n->opens >= q->ino.flags);
		n->opens -= q->ino.flags;
		return 0;
	case PW_OP_READLINK:
		*ret_len = (uint32_t)n->attr.size;
		memcpy(c->out, n->data, n->attr.size);
		return 0;
	case PW_OP_FSYNC:
		return 0;
	default:
		break;
	}
	rsp->attr.attr = n->attr;
	return 0;
}

static int do_setattr(struct pwc_call *c, struct pw_cmd *rsp)
{
	const struct pw_body_setattr *b = &c->send.cmd.setattr;
	struct fake_inode *n = fake_peer_find(b->ino);

	if (!n)
		return -ESTALE;
	if (b->valid & PW_SET_MODE)
		n->attr.mode = (n->attr.mode & S_IFMT) | (b->mode & 07777);
	if (b->valid & PW_SET_UID)
		n->attr.uid = b->uid;
	if (b->valid & PW_SET_SIZE)
		n->attr.size = b->size;
	if (b->valid & PW_SET_MTIME)
		n->attr.mtime_ns = b->mtime_ns;
	if (b->valid & PW_SET_KILL_SUIDGID)
		n->attr.mode &= ~06000u;
	touch(n);
	rsp->attr.attr = n->attr;
	return 0;
}

static int do_io(struct pwc_call *c, struct pw_cmd *rsp, uint32_t *ret_len)
{
	const struct pw_body_io *b = &c->send.cmd.io;
	struct fake_inode *n = fake_peer_find(b->ino);
	uint64_t off = b->off;

	if (!n)
		return -ESTALE;
	if (c->send.cmd.op == PW_OP_READ) {
		if (off >= n->attr.size)
			return 0;
		*ret_len = (uint32_t)PW_MIN((uint64_t)b->len, n->attr.size - off);
		memcpy(c->out, n->data + off, *ret_len);
		return 0;
	}
	if (b->flags & PW_IO_APPEND)
		off = n->attr.size;
	if (off + b->len > FAKE_FILE_MAX)
		return -EFBIG;
	memcpy(n->data + off, c->payload, b->len);
	n->attr.size = PW_MAX(n->attr.size, off + b->len);
	touch(n);
	rsp->attr.attr = n->attr;
	rsp->attr.off = off;
	return 0;
}

static int do_rename(struct pwc_call *c, struct pw_cmd *rsp)
{
	const struct pw_cmd *q = &c->send.cmd;
	const char *names = c->payload;
	struct fake_inode *n = find_name(q->rename.old_parent, names, q->rename.old_len);
	uint32_t len = q->payload_len - q->rename.old_len;
	struct fake_inode *old = find_name(q->rename.new_parent, names + q->rename.old_len, len);

	if (!n)
		return -ENOENT;
	if (old)
		forget_inode(old, rsp);
	n->parent = q->rename.new_parent;
	memset(n->name, 0, sizeof(n->name));
	memcpy(n->name, names + q->rename.old_len, len);
	return 0;
}

static int do_link(struct pwc_call *c, struct pw_cmd *rsp)
{
	const struct pw_cmd *q = &c->send.cmd;
	struct fake_inode *n = fake_peer_find(q->link.ino);

	if (!n)
		return -ESTALE;
	n->attr.nlink++;
	rsp->attr.attr = n->attr;
	return 0;
}

static int do_readdir(struct pwc_call *c, struct pw_cmd *rsp, uint32_t *ret_len)
{
	const struct pw_body_readdir *b = &c->send.cmd.readdir;
	struct fake_inode *dir = fake_peer_find(b->ino);
	size_t pos = 0;

	if (!dir)
		return -ESTALE;
	rsp->readdir_rsp.dir = dir->attr;
	rsp->readdir_rsp.eof = 1;
	for (uint32_t i = 1; i < FAKE_NODES; i++) {
		struct fake_inode *n = &fake.node[i];

		if (!n->attr.ino || n->parent != b->ino || n->cookie <= b->cookie)
			continue;
		if (pw_dirent_put(c->out, b->max_bytes, &pos, n->cookie, &n->attr, n->name,
				  strlen(n->name))) {
			rsp->readdir_rsp.eof = 0;
			break;
		}
		rsp->readdir_rsp.nr++;
	}
	if (fake.garble_readdir) {
		memset(c->out, 0xff, 200);
		pos = 200;
	}
	*ret_len = (uint32_t)pos;
	return 0;
}

static int apply(struct pwc_call *c, struct pw_cmd *rsp, uint32_t *ret_len)
{
	const struct pw_cmd *q = &c->send.cmd;

	if (fake.fail_op == q->op) {
		fake.fail_op = 0;
		return fake.fail_err;
	}
	switch (q->op) {
	case PW_OP_LOOKUP:
	case PW_OP_UNLINK:
	case PW_OP_RMDIR:
		return do_name(c, rsp);
	case PW_OP_MKNODE:
	case PW_OP_CREATE:
		return do_make(c, rsp);
	case PW_OP_SETATTR:
		return do_setattr(c, rsp);
	case PW_OP_READ:
	case PW_OP_WRITE:
		return do_io(c, rsp, ret_len);
	case PW_OP_RENAME:
		return do_rename(c, rsp);
	case PW_OP_LINK:
		return do_link(c, rsp);
	case PW_OP_READDIR:
		return do_readdir(c, rsp, ret_len);
	case PW_OP_STATFS:
		rsp->statfs = (struct pw_body_statfs){ 1000, 600, 500, 64, 32, 4096, 255 };
		return 0;
	default:
		return do_ino(c, rsp, ret_len);
	}
}

static void finish(struct pwc_call *c, int err, const struct pw_cmd *rsp, uint32_t len)
{
	pw_list_del(&c->node);
	c->done(c, err, err ? NULL : rsp, len);
}

static void on_step(struct pw_ready *r)
{
	struct pwc_peer *p = pw_container_of(r, struct pwc_peer, step);
	struct pw_list todo = PW_LIST_INIT(todo), *n;

	if (p->started && p->state == PWC_PEER_CONNECTING) {
		p->state = fake.is_away ? PWC_PEER_WAITING : PWC_PEER_UP;
		p->ops->on_up(p, true);
	}
	if (!fake.hold || p->go || p->stopping)
		pw_list_splice_tail(&todo, &p->calls);
	p->go = false;
	while ((n = pw_list_pop(&todo))) {
		struct pwc_call *c = pw_list_entry(n, struct pwc_call, node);
		struct pw_cmd rsp;
		uint32_t len = 0;
		int err = p->stopping ? -ESHUTDOWN : 0;

		pw_cmd_init(&rsp, PW_MSG_RSP, c->send.cmd.op);
		if (!err)
			err = apply(c, &rsp, &len);
		assert(len <= c->out_max);
		finish(c, err, &rsp, len);
	}
	if (p->stopping) {
		p->state = PWC_PEER_IDLE;
		p->ops->on_stopped(p);
	}
}

int pwc_peer_new(struct pw_loop *loop, const struct pwc_peer_opts *o,
		 const struct pwc_peer_ops *ops, void *owner, struct pw_identity *id,
		 struct pwc_peer **ret)
{
	struct pwc_peer *p = calloc(1, sizeof(*p));

	(void)o;
	(void)id;
	assert(p);
	p->loop = loop;
	p->ops = ops;
	p->owner = owner;
	pw_list_init(&p->calls);
	pw_ready_init(&p->step, on_step);
	*ret = the_peer = p;
	return 0;
}

void pwc_peer_free(struct pwc_peer *p)
{
	if (!p)
		return;
	assert(pw_list_empty(&p->calls));
	pw_ready_cancel(&p->step);
	if (the_peer == p)
		the_peer = NULL;
	free(p);
}

void pwc_peer_start(struct pwc_peer *p)
{
	p->state = PWC_PEER_CONNECTING;
	p->started = true;
	pw_loop_ready(p->loop, &p->step);
}

void pwc_peer_stop(struct pwc_peer *p)
{
	p->stopping = true;
	p->state = PWC_PEER_STOPPING;
	pw_loop_ready(p->loop, &p->step);
}

void pwc_peer_call(struct pwc_peer *p, struct pwc_call *c)
{
	struct pw_cmd cmd = c->send.cmd;

	cmd.slot = 1; /* the real peer fills slot and seq */
	cmd.seq = 1;
	fake.bad_cmds += pw_cmd_check(&cmd, true) != 0;
	fake.bad_cmds += cmd.payload_len && !c->payload;
	fake.nr_calls[cmd.op]++;
	fake.last = cmd;
	if (cmd.payload_len && cmd.payload_len <= sizeof(fake.last_payload))
		memcpy(fake.last_payload, c->payload, cmd.payload_len);
	pw_list_add_tail(&p->calls, &c->node);
	pw_loop_ready(p->loop, &p->step);
}

void pwc_call_abort(struct pwc_peer *p, struct pwc_call *c)
{
	(void)p;
	c->aborted = true;
	if (fake.is_away)
		finish(c, -EINTR, NULL, 0);
}

void pwc_peer_give_up(struct pwc_peer *p)
{
	struct pw_list todo = PW_LIST_INIT(todo), *n;

	pw_list_splice_tail(&todo, &p->calls);
	while ((n = pw_list_pop(&todo)))
		finish(pw_list_entry(n, struct pwc_call, node), -EIO, NULL, 0);
}

static void on_go(struct pw_loop_msg *m)
{
	(void)m;
	the_peer->go = true;
	pw_loop_ready(the_peer->loop, &the_peer->step);
}

/* The test runs on another thread than the loop. */
void fake_peer_go(void)
{
	static struct pw_loop_msg msg = { .fn = on_go };

	pw_loop_post(the_peer->loop, &msg);
}

uint32_t fake_peer_nr_held(void)
{
	struct pw_list *pos;
	uint32_t n = 0;

	pw_list_for_each(pos, &the_peer->calls)
		n++;
	return n;
}

void *pwc_peer_owner(const struct pwc_peer *p)
{
	return p->owner;
}

enum pwc_peer_state pwc_peer_state(const struct pwc_peer *p)
{
	return fake.is_away && p->state == PWC_PEER_UP ? PWC_PEER_WAITING : p->state;
}

uint32_t pwc_peer_max_io(const struct pwc_peer *p)
{
	(void)p;
	return fake.max_io;
}

void pwc_peer_get_stats(const struct pwc_peer *p, struct pwc_peer_stats *ret)
{
	(void)p;
	*ret = (struct pwc_peer_stats){ .nr_slots = 64 };
}

const char *pwc_peer_why_down(const struct pwc_peer *p)
{
	(void)p;
	return fake.is_away ? "away" : "";
}

const char *pwc_peer_name(const struct pwc_peer *p)
{
	(void)p;
	return "fake:1";
}

const char *pwc_peer_transport(const struct pwc_peer *p)
{
	(void)p;
	return "tcp";
}

const struct pwc_rails *pwc_peer_rails(const struct pwc_peer *p)
{
	static struct pwc_rails rails;

	(void)p;
	if (!rails.nr) {
		pwc_rails_init(&rails, PW_TRANSPORT_TCP, 0);
		pwc_rails_add(&rails, "10.0.0.1", 7470, NULL, PWC_RAIL_OF_MOUNT);
	}
	return &rails;
}

bool pwc_peer_is_moving(const struct pwc_peer *p)
{
	(void)p;
	return false;
}

const char *pwc_peer_no_rdma(const struct pwc_peer *p)
{
	(void)p;
	return "";
}
