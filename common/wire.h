/* SPDX-License-Identifier: Apache-2.0 */
/* wire.h -- the messages: one 128-byte command, then at most one payload
 *
 * The only implementation of common/PROTOCOL.md. Little-endian, no padding, explicit sizes; golden
 * bytes in tests/unit/common. pw_cmd_check() is the only door for bytes from a peer: it checks
 * everything that can be judged without state (type, op, lengths, reserved bytes, names); ids are
 * state-checked by their owner. The same bytes serve TCP and RDMA.
 */
#ifndef PW_WIRE_H
#define PW_WIRE_H

#include <assert.h>

#include "common/compiler.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the wire format is little-endian and used in place: no big-endian hosts"
#endif

#define PW_WIRE_MAGIC 0x31575750u /* "PWW1" */
#define PW_WIRE_VERSION 2u
#define PW_WIRE_VERSION_RAILS 2u /* the first with RAILS */
#define PW_WIRE_VERSION_MIN 1u
#define PW_DEFAULT_PORT 7470u

#define PW_CMD_BYTES 128u
#define PW_BODY_BYTES 96u
#define PW_NAME_MAX 255u
#define PW_SYMLINK_MAX 4095u
#define PW_MAX_IO (16u << 20) /* hard limit of a payload; the granted limit is in WELCOME */
#define PW_MAX_SLOTS 1024u
#define PW_OFF_MAX INT64_MAX /* largest offset or size that a message may name */
#define PW_FILE_MAX (1ull << 54) /* largest file, bytes: 2^32 chunks of 4 MiB; beyond: EFBIG */

enum pw_msg_type {
	PW_MSG_HELLO = 1, /* client -> node: versions, features, identity, nonce */
	PW_MSG_CHALLENGE = 2, /* node -> client: identity, nonce, its proof */
	PW_MSG_PROOF = 3, /* client -> node: its proof */
	PW_MSG_WELCOME = 4, /* node -> client: slots and limits */
	PW_MSG_REJECT = 5, /* node -> client, then the connection ends: status says why */
	PW_MSG_PING = 6, /* either way; any traffic counts as a heartbeat */
	PW_MSG_PONG = 7,
	PW_MSG_REQ = 8, /* client -> node, in a slot */
	PW_MSG_RSP = 9, /* node -> client: same slot and seq */
	PW_MSG_GOODBYE = 10, /* client -> node: session over, release everything now */
	PW_MSG_RAILS = 11, /* node -> client: addresses that it can be reached at */
	PW_MSG_NR
};

enum pw_op {
	PW_OP_LOOKUP = 1,
	PW_OP_GETATTR = 2,
	PW_OP_SETATTR = 3,
	PW_OP_MKNODE = 4, /* mkdir, mknod, symlink: by the type in mode */
	PW_OP_CREATE = 5, /* make (or find) a regular file and open it */
	PW_OP_UNLINK = 6,
	PW_OP_RMDIR = 7,
	PW_OP_RENAME = 8,
	PW_OP_LINK = 9,
	PW_OP_READLINK = 10,
	PW_OP_READDIR = 11,
	PW_OP_OPEN = 12,
	PW_OP_RELEASE = 13,
	PW_OP_STATFS = 14,
	PW_OP_FSYNC = 15,
	PW_OP_READ = 16,
	PW_OP_WRITE = 17,
	PW_OP_RECLAIM = 18, /* slot 0, after a reconnect: inodes that this client has open */
	PW_OP_NR
};

/* Attributes as they travel; 88 bytes. Times: nanoseconds since 1970, signed. */
struct pw_attr {
	uint64_t ino;
	uint64_t size; /* bytes; symlink: length of the target */
	uint64_t blocks; /* 512-byte units allocated */
	int64_t atime_ns, mtime_ns, ctime_ns, btime_ns;
	uint32_t mode; /* type and permissions */
	uint32_t nlink;
	uint32_t uid, gid;
	uint32_t rdev; /* as makedev() packs it: major << 20 | minor */
	uint32_t generation;
	uint64_t change; /* grows with every change of the inode */
};
static_assert(sizeof(struct pw_attr) == 88, "wire format");

/* Caller of a namespace or data operation: permissions are checked by the client's kernel
 * (default_permissions); the node needs these for ownership and set-id rules. */
struct pw_cred {
	uint32_t uid, gid;
};

struct pw_body_name { /* LOOKUP, UNLINK, RMDIR; payload: name, no NUL */
	uint64_t parent;
	struct pw_cred cred;
};

struct pw_body_mknode { /* MKNODE, CREATE; payload: name, then target of a symlink */
	uint64_t parent;
	struct pw_cred cred;
	uint32_t mode; /* umask applied by the client */
	uint32_t rdev;
	uint32_t flags; /* PW_CREATE_* */
	uint32_t name_len;
};
#define PW_CREATE_EXCL 1u

struct pw_body_ino { /* GETATTR, READLINK, OPEN, RELEASE, STATFS (0), FSYNC */
	uint64_t ino;
	struct pw_cred cred;
	uint32_t flags; /* OPEN: PW_OPEN_*; RELEASE: opens to give back; FSYNC: 1 = data only */
	uint32_t reserved;
};
#define PW_OPEN_TRUNC 1u
#define PW_OPEN_WRITE 2u

struct pw_body_setattr {
	uint64_t ino;
	struct pw_cred cred;
	uint32_t valid; /* PW_SET_* */
	uint32_t mode, uid, gid;
	uint64_t size;
	int64_t atime_ns, mtime_ns, ctime_ns;
};
#define PW_SET_MODE 1u
#define PW_SET_UID 2u
#define PW_SET_GID 4u
#define PW_SET_SIZE 8u
#define PW_SET_ATIME 16u
#define PW_SET_MTIME 32u
#define PW_SET_ATIME_NOW 64u /* the node's clock; wins over PW_SET_ATIME, does not need it */
#define PW_SET_MTIME_NOW 128u
#define PW_SET_CTIME 256u
#define PW_SET_KILL_SUIDGID 512u /* a write or truncate by somebody who may not keep them */

struct pw_body_rename { /* payload: old name, new name */
	uint64_t old_parent, new_parent;
	struct pw_cred cred;
	uint32_t flags; /* PW_RENAME_* */
	uint32_t old_len;
};
#define PW_RENAME_NOREPLACE 1u
#define PW_RENAME_EXCHANGE 2u

struct pw_body_link { /* payload: new name */
	uint64_t ino, new_parent;
	struct pw_cred cred;
};

struct pw_body_readdir { /* answer payload: struct pw_dirent records */
	uint64_t ino;
	uint64_t cookie; /* 0 starts; else the cookie of the last entry that was seen */
	uint32_t max_bytes;
	uint32_t reserved;
};

struct pw_body_io { /* READ, WRITE (payload: the data) */
	uint64_t ino;
	uint64_t off; /* bytes; ignored with PW_IO_APPEND */
	uint32_t len; /* bytes */
	uint32_t flags; /* PW_IO_* */
	struct pw_cred cred;
};
/* O_SYNC, O_DSYNC: on media before the answer, also with durability = interval */
#define PW_IO_SYNC 1u
#define PW_IO_KILLPRIV 2u /* clear set-id bits */
#define PW_IO_APPEND 4u /* at the end of the file as the node sees it; the answer says where */

struct pw_body_reclaim { /* payload: array of {u64 ino, u32 opens, u32 0} */
	uint32_t nr;
	uint32_t last; /* 1: the list is complete, requests may follow */
};

/* Answers. On an error the body is zero, but for READ's and WRITE's attr-less failure. */
struct pw_body_attr { /* all that return attributes; WRITE too */
	struct pw_attr attr;
	uint64_t off; /* WRITE with PW_IO_APPEND: where it went; OPEN, CREATE: 1 = created */
};

struct pw_body_statfs {
	uint64_t blocks, bfree, bavail; /* of bsize */
	uint64_t files, ffree;
	uint32_t bsize, namelen;
};

struct pw_body_readdir_rsp {
	uint32_t nr; /* entries in the payload */
	uint32_t eof; /* 1: no entry after these */
	struct pw_attr dir; /* attributes of the directory */
};

struct pw_dirent { /* READDIR payload record; followed by the name, padded with zeros to 8 bytes */
	uint64_t cookie;
	struct pw_attr attr;
	uint32_t name_len;
	uint32_t reserved;
};
static_assert(sizeof(struct pw_dirent) == 104, "wire format");
#define PW_DIRENT_MAX_BYTES 360u /* with the longest name; the least that READDIR may ask for */
#define PW_RECLAIM_BYTES 16u /* one record of RECLAIM */

/* Hand-shake bodies */
struct pw_body_hello {
	uint8_t client_id[16]; /* random, for the life of the client process */
	uint8_t fsid[16]; /* zero: any */
	uint8_t nonce[32];
	uint32_t version, version_min;
	uint32_t features; /* none yet: 0 */
	uint32_t role; /* 1: client shard */
	uint64_t incarnation; /* counts this client's connections: a node refuses an older one */
	uint32_t channel; /* client shard number */
	uint32_t want_slots;
};
struct pw_body_challenge {
	uint8_t fsid[16];
	uint8_t node_id[16];
	uint8_t nonce[32];
	uint8_t proof[32]; /* keyed BLAKE2b-256 of the transcript in auth.h */
};
struct pw_body_proof {
	uint8_t proof[32];
};
#define PW_WELCOME_EARLIER 7u
struct pw_body_welcome {
	uint32_t version;
	uint32_t nr_slots; /* slots 0..nr_slots-1; 0 is for RECLAIM only */
	uint32_t max_io; /* bytes of payload per request */
	uint32_t lease_ms; /* opens of a silent client are released after this */
	uint32_t heartbeat_ms;
	uint32_t flags; /* PW_WELCOME_* */
	uint64_t boot; /* changes with every start of the node, never 0 */
	/* Starts of a node on this data, this one included, and the boots of those before it, the
	 * last first (0: none). A client that comes back finds the boot that it knew among them,
	 * at the place that the counts tell, or else the data is not what it has worked with. */
	uint64_t starts; /* 0: not counted */
	uint64_t earlier[PW_WELCOME_EARLIER];
};
static_assert(sizeof(struct pw_body_welcome) == PW_BODY_BYTES, "wire format");
/* replies of this client's slots are still known: replay is safe */
#define PW_WELCOME_SESSION_KNOWN 1u

/* One address of a node. */
struct pw_rail_addr {
	uint8_t addr[16]; /* network order; IPv4 as ::ffff:a.b.c.d */
	uint16_t port; /* of TCP; RDMA: PW_RDMA_PORT() */
	uint16_t transports; /* PW_RAIL_*, at least one */
};
#define PW_RAIL_TCP 1u
#define PW_RAIL_RDMA 2u
static_assert(sizeof(struct pw_rail_addr) == 20, "wire format");
#define PW_RAILS_MAX 16u /* addresses in all */
#define PW_RAILS_PER_MSG 4u
/* RAILS: a part of the list, which replaces an earlier one. Every part but the last is full. */
struct pw_body_rails {
	uint16_t total; /* addresses in the whole list, at least 1 */
	uint16_t first; /* place in it of rail[0] */
	struct pw_rail_addr rail[PW_RAILS_PER_MSG]; /* behind the end of the list: zero */
};
static_assert(sizeof(struct pw_body_rails) == 84, "wire format");

struct pw_body_reject {
	uint32_t version, version_min; /* what the node speaks; for the client's message */
};

struct pw_cmd {
	uint32_t magic;
	uint8_t type; /* enum pw_msg_type */
	uint8_t op; /* enum pw_op; 0 unless REQ or RSP */
	uint16_t slot; /* REQ, RSP */
	uint32_t payload_len; /* bytes that follow */
	uint32_t status; /* RSP, REJECT: enum pw_werr */
	uint64_t seq; /* REQ, RSP: grows by one per request of a slot; a replay has the same */
	uint64_t epoch; /* reserved for chains: 0 */
	union {
		uint8_t raw[PW_BODY_BYTES];
		struct pw_body_name name;
		struct pw_body_mknode mknode;
		struct pw_body_ino ino;
		struct pw_body_setattr setattr;
		struct pw_body_rename rename;
		struct pw_body_link link;
		struct pw_body_readdir readdir;
		struct pw_body_io io;
		struct pw_body_reclaim reclaim;
		struct pw_body_attr attr;
		struct pw_body_statfs statfs;
		struct pw_body_readdir_rsp readdir_rsp;
		struct pw_body_hello hello;
		struct pw_body_challenge challenge;
		struct pw_body_proof proof;
		struct pw_body_welcome welcome;
		struct pw_body_reject reject;
		struct pw_body_rails rails;
	};
};
static_assert(sizeof(struct pw_cmd) == PW_CMD_BYTES, "wire format");
static_assert(sizeof(struct pw_body_challenge) <= PW_BODY_BYTES, "wire format");
static_assert(sizeof(struct pw_body_readdir_rsp) == PW_BODY_BYTES, "wire format");
static_assert(sizeof(struct pw_body_attr) == PW_BODY_BYTES, "wire format");

/**
 * pw_cmd_check - is this command well formed, as far as can be told without state
 * @cmd:    128 bytes from a peer
 * @to_node: true on the node's side (HELLO, PROOF, REQ, PING...), false on the client's
 *
 * Also: payload_len fits the op (0 where none is allowed, WRITE == io.len, names 1..255 or two of
 * them), off + len <= PW_OFF_MAX, unused body bytes and reserved fields are zero.
 * Return: 0; -EPROTO (bad magic, type, op, length, reserved byte).
 */
int pw_cmd_check(const struct pw_cmd *cmd, bool to_node) PW_WARN_UNUSED;

/* Where in a slot's memory the payload of a request begins: data at its place within a block, so
 * that it can go to disk from where it landed. Also for an append, whose offset is a guess. */
#define PW_BLOCK_BYTES 4096u
static inline uint32_t pw_cmd_head(const struct pw_cmd *cmd)
{
	return cmd->op == PW_OP_WRITE ? (uint32_t)(cmd->io.off % PW_BLOCK_BYTES) : 0;
}

/**
 * pw_name_check - may this be a directory entry
 * Return: 0; -EINVAL (empty, "." or "..", contains '/' or NUL); -ENAMETOOLONG.
 */
int pw_name_check(const char *name, size_t len) PW_WARN_UNUSED;

/**
 * pw_dirent_next - walk a READDIR payload that came from a peer
 * @buf: 8-aligned; names pass pw_name_check(), so "." and ".." do not travel
 * @pos: offset, starts at 0, advanced on success
 * Return: 1 a record was set; 0 the end; -EPROTO malformed.
 */
int pw_dirent_next(const void *buf, size_t len, size_t *pos, const struct pw_dirent **ret,
		   const char **ret_name);
/* Appends a record; Return: 0, or -ENOSPC when it does not fit in @len. */
int pw_dirent_put(void *buf, size_t len, size_t *pos, uint64_t cookie, const struct pw_attr *attr,
		  const char *name, size_t name_len);

/* An all-zero command of this type and op. */
void pw_cmd_init(struct pw_cmd *cmd, enum pw_msg_type type, enum pw_op op);
const char *pw_op_name(uint32_t op); /* "WRITE"; "?" for what is none */
/* Does it change anything, so that the node keeps a row that tells a replay what became of it? */
bool pw_op_mutates(uint32_t op);

#endif
