/* SPDX-License-Identifier: Apache-2.0 */
/* wire.c -- judges the bytes of a peer: everything that can be told from one command alone
 *
 * pw_cmd_check(): head of the command -> a check per message type or per op -> unused bytes are
 * zero. Each check names the bytes of the body that it has judged; the rest must be zero, so that a
 * later version can give them a meaning.
 */
#include "common/wire.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "common/err.h"

#define MODE_BITS (S_IFMT | 07777u)
#define BODY_BAD UINT32_MAX
/* judged bytes of a body that ends with @member */
#define BODY_UPTO(type, member) (offsetof(type, member) + sizeof(((type *)NULL)->member))

static_assert(sizeof(struct pw_body_hello) == PW_BODY_BYTES, "wire format");
static_assert(sizeof(struct pw_body_challenge) == PW_BODY_BYTES, "wire format");
static_assert(sizeof(struct pw_body_io) == 32, "wire format");
static_assert(sizeof(struct pw_body_setattr) == 64, "wire format");
static_assert(sizeof(struct pw_body_statfs) == 48, "wire format");
static_assert(PW_DIRENT_MAX_BYTES == sizeof(struct pw_dirent) + PW_ROUND_UP(PW_NAME_MAX, 8),
	      "wire format");

static bool all_zero(const void *buf, size_t len)
{
	const uint8_t *p = buf;
	uint8_t any = 0;

	for (size_t i = 0; i < len; i++)
		any |= p[i];
	return !any;
}

static bool is_name_len(uint32_t len)
{
	return len >= 1 && len <= PW_NAME_MAX;
}

static bool is_known_type(uint32_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
	case S_IFDIR:
	case S_IFLNK:
	case S_IFCHR:
	case S_IFBLK:
	case S_IFIFO:
	case S_IFSOCK:
		return !(mode & ~MODE_BITS);
	default:
		return false;
	}
}

static bool is_device(uint32_t mode)
{
	return S_ISCHR(mode) || S_ISBLK(mode);
}

static bool attr_ok(const struct pw_attr *a)
{
	return a->ino && is_known_type(a->mode) && a->size <= PW_OFF_MAX;
}

static bool attr_ok_or_zero(const struct pw_attr *a)
{
	return all_zero(a, sizeof(*a)) || attr_ok(a);
}

/* The checks of requests and answers: judged bytes of the body, or BODY_BAD. */

static uint32_t check_req_name(const struct pw_cmd *c)
{
	bool ok = c->name.parent && is_name_len(c->payload_len);

	return ok ? sizeof(c->name) : BODY_BAD;
}

static uint32_t check_req_mknode(const struct pw_cmd *c)
{
	const struct pw_body_mknode *b = &c->mknode;
	bool create = c->op == PW_OP_CREATE;
	bool ok = b->parent && is_name_len(b->name_len) && is_known_type(b->mode) &&
		  (!b->rdev || is_device(b->mode)) && c->payload_len >= b->name_len;
	uint32_t rest = c->payload_len - b->name_len;

	if (!ok)
		return BODY_BAD;
	if (create ? (b->flags & ~PW_CREATE_EXCL) || !S_ISREG(b->mode) : b->flags)
		return BODY_BAD;
	if (S_ISLNK(b->mode) ? rest < 1 || rest > PW_SYMLINK_MAX : rest)
		return BODY_BAD;
	return sizeof(*b);
}

static uint32_t check_req_ino(const struct pw_cmd *c)
{
	const struct pw_body_ino *b = &c->ino;
	bool ok = !c->payload_len && !b->reserved && !!b->ino == (c->op != PW_OP_STATFS);

	switch (c->op) {
	case PW_OP_OPEN:
		ok = ok && !(b->flags & ~(PW_OPEN_TRUNC | PW_OPEN_WRITE));
		break;
	case PW_OP_RELEASE:
		ok = ok && b->flags;
		break;
	case PW_OP_FSYNC:
		ok = ok && b->flags <= 1;
		break;
	default:
		ok = ok && !b->flags;
		break;
	}
	return ok ? sizeof(*b) : BODY_BAD;
}

static uint32_t check_req_setattr(const struct pw_cmd *c)
{
	const struct pw_body_setattr *b = &c->setattr;
	const uint32_t known = 2 * PW_SET_KILL_SUIDGID - 1;
	bool ok = b->ino && !c->payload_len && !(b->valid & ~known) && !(b->mode & ~MODE_BITS) &&
		  (!(b->valid & PW_SET_SIZE) || b->size <= PW_OFF_MAX);

	return ok ? sizeof(*b) : BODY_BAD;
}

static uint32_t check_req_rename(const struct pw_cmd *c)
{
	const struct pw_body_rename *b = &c->rename;
	bool ok = b->old_parent && b->new_parent && b->flags <= PW_RENAME_EXCHANGE &&
		  is_name_len(b->old_len) && c->payload_len > b->old_len &&
		  is_name_len(c->payload_len - b->old_len);

	return ok ? sizeof(*b) : BODY_BAD;
}

static uint32_t check_req_link(const struct pw_cmd *c)
{
	bool ok = c->link.ino && c->link.new_parent && is_name_len(c->payload_len);

	return ok ? sizeof(c->link) : BODY_BAD;
}

static uint32_t check_req_readdir(const struct pw_cmd *c)
{
	const struct pw_body_readdir *b = &c->readdir;
	bool ok = b->ino && !b->reserved && !c->payload_len &&
		  b->max_bytes >= PW_DIRENT_MAX_BYTES && b->max_bytes <= PW_MAX_IO;

	return ok ? sizeof(*b) : BODY_BAD;
}

static uint32_t check_req_io(const struct pw_cmd *c)
{
	const struct pw_body_io *b = &c->io;
	bool write = c->op == PW_OP_WRITE;
	uint32_t flags = write ? PW_IO_SYNC | PW_IO_KILLPRIV | PW_IO_APPEND : 0;
	bool ok = b->ino && b->len && b->len <= PW_MAX_IO && !(b->flags & ~flags) &&
		  c->payload_len == (write ? b->len : 0);

	/* off + len <= PW_OFF_MAX, without an overflow; an append has no offset */
	if (!(b->flags & PW_IO_APPEND))
		ok = ok && b->off <= (uint64_t)PW_OFF_MAX - PW_MIN(b->len, PW_MAX_IO);
	return ok ? sizeof(*b) : BODY_BAD;
}

static uint32_t check_req_reclaim(const struct pw_cmd *c)
{
	const struct pw_body_reclaim *b = &c->reclaim;
	bool ok = b->last <= 1 && b->nr <= PW_MAX_IO / PW_RECLAIM_BYTES &&
		  c->payload_len == b->nr * PW_RECLAIM_BYTES;

	return ok ? sizeof(*b) : BODY_BAD;
}

static uint32_t check_rsp_attr(const struct pw_cmd *c)
{
	bool ok = !c->payload_len && attr_ok(&c->attr.attr);

	switch (c->op) {
	case PW_OP_OPEN:
	case PW_OP_CREATE:
		ok = ok && c->attr.off <= 1;
		break;
	case PW_OP_WRITE:
		ok = ok && c->attr.off <= PW_OFF_MAX;
		break;
	default:
		ok = ok && !c->attr.off;
		break;
	}
	return ok ? sizeof(c->attr) : BODY_BAD;
}

/* What these ops change may be told, and need not be. */
static uint32_t check_rsp_done(const struct pw_cmd *c)
{
	bool ok = !c->payload_len && attr_ok_or_zero(&c->attr.attr);

	return ok ? sizeof(c->attr.attr) : BODY_BAD;
}

static uint32_t check_rsp_read(const struct pw_cmd *c)
{
	bool ok = c->payload_len <= PW_MAX_IO && attr_ok_or_zero(&c->attr.attr);

	return ok ? sizeof(c->attr.attr) : BODY_BAD;
}

static uint32_t check_rsp_readlink(const struct pw_cmd *c)
{
	bool ok = c->payload_len >= 1 && c->payload_len <= PW_SYMLINK_MAX &&
		  attr_ok_or_zero(&c->attr.attr);

	return ok ? sizeof(c->attr.attr) : BODY_BAD;
}

static uint32_t check_rsp_readdir(const struct pw_cmd *c)
{
	const struct pw_body_readdir_rsp *b = &c->readdir_rsp;
	uint64_t least = (uint64_t)b->nr * (sizeof(struct pw_dirent) + 8);
	uint64_t most = (uint64_t)b->nr * PW_DIRENT_MAX_BYTES;
	bool ok = b->eof <= 1 && c->payload_len <= PW_MAX_IO && c->payload_len >= least &&
		  c->payload_len <= most && attr_ok_or_zero(&b->dir);

	/* nothing and not the end: the client would ask for ever */
	ok = ok && (b->nr || b->eof);
	return ok ? sizeof(*b) : BODY_BAD;
}

static uint32_t check_rsp_statfs(const struct pw_cmd *c)
{
	bool ok = !c->payload_len && c->statfs.bsize && c->statfs.namelen;

	return ok ? sizeof(c->statfs) : BODY_BAD;
}

static uint32_t check_rsp_nothing(const struct pw_cmd *c)
{
	return c->payload_len ? BODY_BAD : 0;
}

static const struct {
	const char *name;
	uint32_t (*req)(const struct pw_cmd *c);
	uint32_t (*rsp)(const struct pw_cmd *c);
	bool mutates;
} op_table[PW_OP_NR] = {
	[PW_OP_LOOKUP] = { "LOOKUP", check_req_name, check_rsp_attr },
	[PW_OP_GETATTR] = { "GETATTR", check_req_ino, check_rsp_attr },
	[PW_OP_SETATTR] = { "SETATTR", check_req_setattr, check_rsp_attr, true },
	[PW_OP_MKNODE] = { "MKNODE", check_req_mknode, check_rsp_attr, true },
	[PW_OP_CREATE] = { "CREATE", check_req_mknode, check_rsp_attr, true },
	[PW_OP_UNLINK] = { "UNLINK", check_req_name, check_rsp_done, true },
	[PW_OP_RMDIR] = { "RMDIR", check_req_name, check_rsp_done, true },
	[PW_OP_RENAME] = { "RENAME", check_req_rename, check_rsp_done, true },
	[PW_OP_LINK] = { "LINK", check_req_link, check_rsp_attr, true },
	[PW_OP_READLINK] = { "READLINK", check_req_ino, check_rsp_readlink },
	[PW_OP_READDIR] = { "READDIR", check_req_readdir, check_rsp_readdir },
	[PW_OP_OPEN] = { "OPEN", check_req_ino, check_rsp_attr },
	[PW_OP_RELEASE] = { "RELEASE", check_req_ino, check_rsp_done },
	[PW_OP_STATFS] = { "STATFS", check_req_ino, check_rsp_statfs },
	[PW_OP_FSYNC] = { "FSYNC", check_req_ino, check_rsp_done },
	[PW_OP_READ] = { "READ", check_req_io, check_rsp_read },
	[PW_OP_WRITE] = { "WRITE", check_req_io, check_rsp_attr, true },
	[PW_OP_RECLAIM] = { "RECLAIM", check_req_reclaim, check_rsp_nothing },
};

static bool slot_ok(const struct pw_cmd *c)
{
	return c->op == PW_OP_RECLAIM ? !c->slot : c->slot && c->slot < PW_MAX_SLOTS;
}

static uint32_t check_req(const struct pw_cmd *c)
{
	if (c->status || !slot_ok(c))
		return BODY_BAD;
	return op_table[c->op].req(c);
}

static uint32_t check_rsp(const struct pw_cmd *c)
{
	if (!slot_ok(c))
		return BODY_BAD;
	if (!c->status)
		return op_table[c->op].rsp(c);
	if (c->payload_len)
		return BODY_BAD;
	/* a failed READ or WRITE may say where, without attributes */
	if (c->op == PW_OP_READ || c->op == PW_OP_WRITE)
		return all_zero(&c->attr.attr, sizeof(c->attr.attr)) ? sizeof(c->attr) : BODY_BAD;
	return 0;
}

/* Hand-shake and heart-beat */

static uint32_t check_hello(const struct pw_cmd *c)
{
	const struct pw_body_hello *b = &c->hello;
	bool ok = b->version_min && b->version_min <= b->version;

	/* A newer peer is to hear REJECT with VERSION: what it says beyond the versions is not
	 * judged. */
	if (b->version <= PW_WIRE_VERSION)
		ok = ok && !b->features && b->role == 1 && b->want_slots;
	return ok ? sizeof(*b) : BODY_BAD;
}

static uint32_t check_challenge(const struct pw_cmd *c)
{
	return sizeof(c->challenge);
}

static uint32_t check_proof(const struct pw_cmd *c)
{
	return sizeof(c->proof);
}

static uint32_t check_welcome(const struct pw_cmd *c)
{
	const struct pw_body_welcome *b = &c->welcome;
	bool ok = b->version >= PW_WIRE_VERSION_MIN && b->version <= PW_WIRE_VERSION &&
		  b->nr_slots >= 2 && b->nr_slots <= PW_MAX_SLOTS && b->max_io >= 4096 &&
		  b->max_io <= PW_MAX_IO && b->lease_ms && b->heartbeat_ms &&
		  !(b->flags & ~PW_WELCOME_SESSION_KNOWN);

	return ok ? sizeof(*b) : BODY_BAD;
}

static uint32_t check_reject(const struct pw_cmd *c)
{
	return c->status ? sizeof(c->reject) : BODY_BAD;
}

/* Somewhere to connect to: no wildcard, no group, nothing that needs an interface to be named. */
static bool rail_ok(const struct pw_rail_addr *r)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	bool v4 = !memcmp(r->addr, mapped, sizeof(mapped));
	bool ok = v4 ? r->addr[12] && r->addr[12] < 224 :
		       r->addr[0] != 0xff && !all_zero(r->addr, sizeof(r->addr)) &&
			       !(r->addr[0] == 0xfe && (r->addr[1] & 0xc0) == 0x80);

	return ok && r->port && r->port < UINT16_MAX && r->transports &&
	       !(r->transports & ~(PW_RAIL_TCP | PW_RAIL_RDMA));
}

static uint32_t check_rails(const struct pw_cmd *c)
{
	const struct pw_body_rails *b = &c->rails;

	if (!b->total || b->total > PW_RAILS_MAX || b->first >= b->total ||
	    b->first % PW_RAILS_PER_MSG)
		return BODY_BAD;
	for (uint32_t i = 0; i < PW_RAILS_PER_MSG; i++)
		if (b->first + i < b->total ? !rail_ok(&b->rail[i]) :
					      !all_zero(&b->rail[i], sizeof(b->rail[i])))
			return BODY_BAD;
	return sizeof(*b);
}

static uint32_t check_empty(const struct pw_cmd *c)
{
	(void)c;
	return 0;
}

#define TO_NODE 1u
#define TO_CLIENT 2u

static const struct {
	uint32_t ways;
	uint32_t (*check)(const struct pw_cmd *c);
} msg_table[PW_MSG_NR] = {
	[PW_MSG_HELLO] = { TO_NODE, check_hello },
	[PW_MSG_CHALLENGE] = { TO_CLIENT, check_challenge },
	[PW_MSG_PROOF] = { TO_NODE, check_proof },
	[PW_MSG_WELCOME] = { TO_CLIENT, check_welcome },
	[PW_MSG_REJECT] = { TO_CLIENT, check_reject },
	[PW_MSG_PING] = { TO_NODE | TO_CLIENT, check_empty },
	[PW_MSG_PONG] = { TO_NODE | TO_CLIENT, check_empty },
	[PW_MSG_REQ] = { TO_NODE, check_req },
	[PW_MSG_RSP] = { TO_CLIENT, check_rsp },
	[PW_MSG_GOODBYE] = { TO_NODE, check_empty },
	[PW_MSG_RAILS] = { TO_CLIENT, check_rails },
};

int pw_cmd_check(const struct pw_cmd *cmd, bool to_node)
{
	uint32_t used;

	if (cmd->magic != PW_WIRE_MAGIC || cmd->type >= PW_MSG_NR || cmd->op >= PW_OP_NR ||
	    cmd->epoch)
		return -EPROTO;
	if (!(msg_table[cmd->type].ways & (to_node ? TO_NODE : TO_CLIENT)))
		return -EPROTO;
	if (cmd->type == PW_MSG_REQ || cmd->type == PW_MSG_RSP) {
		if (!cmd->op)
			return -EPROTO;
	} else if (cmd->op || cmd->slot || cmd->seq || cmd->payload_len ||
		   (cmd->status && cmd->type != PW_MSG_REJECT)) {
		return -EPROTO;
	}
	used = msg_table[cmd->type].check(cmd);
	if (used > PW_BODY_BYTES || !all_zero(cmd->raw + used, PW_BODY_BYTES - used))
		return -EPROTO;
	return 0;
}

int pw_name_check(const char *name, size_t len)
{
	if (!len)
		return -EINVAL;
	if (len > PW_NAME_MAX)
		return -ENAMETOOLONG;
	if (name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.')))
		return -EINVAL;
	if (memchr(name, '/', len) || memchr(name, '\0', len))
		return -EINVAL;
	return 0;
}

static size_t dirent_bytes(uint32_t name_len)
{
	return sizeof(struct pw_dirent) + PW_ROUND_UP((size_t)name_len, 8);
}

int pw_dirent_next(const void *buf, size_t len, size_t *pos, const struct pw_dirent **ret,
		   const char **ret_name)
{
	const struct pw_dirent *d;
	const char *name;
	size_t left, bytes;

	if (*pos == len)
		return 0;
	if (*pos > len || *pos % 8)
		return -EPROTO;
	left = len - *pos;
	if (left < sizeof(*d))
		return -EPROTO;
	d = (const void *)((const char *)buf + *pos);
	name = (const char *)(d + 1);
	if (!is_name_len(d->name_len) || d->reserved || !d->cookie || !attr_ok(&d->attr))
		return -EPROTO;
	bytes = dirent_bytes(d->name_len);
	if (left < bytes || pw_name_check(name, d->name_len) ||
	    !all_zero(name + d->name_len, bytes - sizeof(*d) - d->name_len))
		return -EPROTO;
	*pos += bytes;
	*ret = d;
	*ret_name = name;
	return 1;
}

int pw_dirent_put(void *buf, size_t len, size_t *pos, uint64_t cookie, const struct pw_attr *attr,
		  const char *name, size_t name_len)
{
	struct pw_dirent d = { .cookie = cookie, .attr = *attr, .name_len = (uint32_t)name_len };
	size_t bytes = dirent_bytes((uint32_t)name_len);
	char *p = (char *)buf + *pos;

	assert(is_name_len((uint32_t)name_len) && *pos <= len);
	if (len - *pos < bytes)
		return -ENOSPC;
	memcpy(p, &d, sizeof(d));
	memcpy(p + sizeof(d), name, name_len);
	memset(p + sizeof(d) + name_len, 0, bytes - sizeof(d) - name_len);
	*pos += bytes;
	return 0;
}

void pw_cmd_init(struct pw_cmd *cmd, enum pw_msg_type type, enum pw_op op)
{
	memset(cmd, 0, sizeof(*cmd));
	cmd->magic = PW_WIRE_MAGIC;
	cmd->type = (uint8_t)type;
	cmd->op = (uint8_t)op;
}

const char *pw_op_name(uint32_t op)
{
	return op < PW_OP_NR && op_table[op].name ? op_table[op].name : "?";
}

bool pw_op_mutates(uint32_t op)
{
	return op < PW_OP_NR && op_table[op].mutates;
}
