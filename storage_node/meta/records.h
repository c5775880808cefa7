/* SPDX-License-Identifier: Apache-2.0 */
/* records.h -- keys and values of the metadata tables, byte-exact and versioned
 *
 * key = table (1 byte) | fields, integers big-endian so that the engine's order is the numeric one.
 * Values are little-endian structs that begin with a version byte; golden bytes in tests/unit/node.
 *
 *	I  ino                          -> struct pws_inode, then the target of a symlink
 *	D  parent, hash(name), name     -> struct pws_dirent_val; the hash is the readdir cookie
 *	B  ino, chunk, segment          -> struct pws_segment (store/segment.h): 64 KiB of data
 *	O  ino                          -> struct pws_orphan: removed but open, or a tail to reclaim
 *	R  client id, slot              -> struct pws_reply: last mutation and its answer
 *	C  client id                    -> struct pws_client: a session that may come back
 *	A                               -> u64: inode numbers from here on were never given out
 *
 * ino = shard (12 bits) << 48 | sequence; root = 1.
 */
#ifndef PWS_RECORDS_H
#define PWS_RECORDS_H

#include <assert.h>

#include "common/wire.h"
#include "storage_node/meta_kv/meta_kv.h"

#define PWS_ROOT_INO 1ull
#define PWS_NLINK_MAX 65000u

enum pws_table {
	PWS_TABLE_INODE = 'I',
	PWS_TABLE_DIRENT = 'D',
	PWS_TABLE_SEGMENT = 'B',
	PWS_TABLE_ORPHAN = 'O',
	PWS_TABLE_REPLY = 'R',
	PWS_TABLE_CLIENT = 'C',
	PWS_TABLE_ALLOC = 'A',
};

#define PWS_RECORD_VERSION 1u

struct pws_inode {
	uint8_t version;
	uint8_t reserved[3];
	uint32_t mode;
	uint32_t nlink; /* directory: 2 + subdirectories */
	uint32_t uid, gid;
	uint32_t rdev;
	uint64_t size; /* file: bytes; symlink: target length; directory: entries */
	int64_t atime_ns, mtime_ns, ctime_ns, btime_ns;
	uint64_t change;
	uint64_t parent; /* directory: its parent; file: where it was last linked, a hint */
	uint64_t blocks; /* of 4 KiB, allocated; in step with the chunk store's rows */
	uint32_t generation;
	uint32_t trunc_gen; /* grows with every truncation that cuts */
	uint64_t dead_from; /* rows at or after this offset ... */
	uint32_t dead_gen; /* ... written with a trunc_gen below this are dead; 0: none waits */
	uint32_t reserved2;
};
static_assert(sizeof(struct pws_inode) == 112, "disk format");

struct pws_dirent_val {
	uint8_t version;
	uint8_t type; /* S_IFMT >> 12 */
	uint8_t reserved[6];
	uint64_t ino;
};
static_assert(sizeof(struct pws_dirent_val) == 16, "disk format");

struct pws_orphan {
	uint8_t version;
	uint8_t reserved[7];
	uint64_t since_ns; /* wall clock; for people */
};
static_assert(sizeof(struct pws_orphan) == 16, "disk format");

struct pws_reply {
	uint8_t version;
	uint8_t op; /* enum pw_op that it answers */
	uint8_t mark; /* 1: no answer yet, but the truncation of this OPEN is done */
	uint8_t reserved;
	uint32_t status; /* enum pw_werr */
	uint64_t seq;
	uint8_t body[PW_BODY_BYTES];
};
static_assert(sizeof(struct pws_reply) == 112, "disk format");

struct pws_client {
	uint8_t version;
	uint8_t reserved[7];
	uint64_t incarnation;
};
static_assert(sizeof(struct pws_client) == 16, "disk format");

/* A key with its bytes. */
struct pws_key {
	uint32_t n;
	uint8_t b[PWS_KV_KEY_MAX];
};
static inline struct pws_slice pws_key_slice(const struct pws_key *k)
{
	return (struct pws_slice){ k->b, k->n };
}

void pws_key_inode(struct pws_key *k, uint64_t ino);
/* @sip_key: 16 secret bytes of the superblock: nobody can make names collide on purpose */
void pws_key_dirent(struct pws_key *k, const uint8_t sip_key[16], uint64_t parent, const char *name,
		    size_t len);
/* Begin of the range of entries whose cookie is > @cookie (0: all), and its end. */
void pws_key_dirent_range(struct pws_key *begin, struct pws_key *end, uint64_t parent,
			  uint64_t cookie);
/* Cookie and name of a dirent key; false if it is not one. */
bool pws_key_dirent_parse(struct pws_slice key, uint64_t *ret_cookie, const char **ret_name,
			  uint32_t *ret_len);
void pws_key_segment(struct pws_key *k, uint64_t ino, uint32_t chunk, uint8_t segment);
bool pws_key_segment_parse(struct pws_slice key, uint64_t *ino, uint32_t *chunk, uint8_t *segment);
/* Range of all segments of @ino from that byte offset on. */
void pws_key_segment_range(struct pws_key *begin, struct pws_key *end, uint64_t ino, uint64_t off);
void pws_key_orphan(struct pws_key *k, uint64_t ino);
void pws_key_orphan_range(struct pws_key *begin, struct pws_key *end, uint64_t after_ino);
void pws_key_reply(struct pws_key *k, const uint8_t client_id[16], uint16_t slot);
void pws_key_reply_range(struct pws_key *begin, struct pws_key *end, const uint8_t client_id[16]);
void pws_key_client(struct pws_key *k, const uint8_t client_id[16]);
void pws_key_client_range(struct pws_key *begin, struct pws_key *end);
void pws_key_alloc(struct pws_key *k);

/* Decodes and checks a stored inode: 0; -EBADMSG (length, version). @target may be NULL. */
int pws_inode_decode(struct pws_slice val, struct pws_inode *ret, struct pws_slice *target);
void pws_inode_attr(uint64_t ino, const struct pws_inode *i, struct pw_attr *ret);

#endif
