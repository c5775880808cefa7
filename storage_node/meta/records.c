/* SPDX-License-Identifier: Apache-2.0 */
/* records.c -- keys and values of the metadata tables
 *
 * The cookie of a name is SipHash-2-4 of it with the filesystem's secret key, the top bit cleared
 * (cookies travel through signed interfaces) and 0 mapped to 1 (0 means "from the start").
 */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include <sodium.h>

#include "storage_node/meta/records.h"
#include "storage_node/store/segment.h"

#define COOKIE_MAX  ((uint64_t)INT64_MAX)
/* table, parent, hash */
#define DIRENT_HEAD 17u
#define SEGMENT_KEY 14u

static_assert(crypto_shorthash_BYTES == 8 && crypto_shorthash_KEYBYTES == 16, "disk format");
static_assert(DIRENT_HEAD + PW_NAME_MAX <= PWS_KV_KEY_MAX, "names fit");

static void begin_key(struct pws_key *k, enum pws_table table)
{
	k->b[0] = (uint8_t)table;
	k->n = 1;
}

static void add_bytes(struct pws_key *k, const void *p, size_t n)
{
	memcpy(k->b + k->n, p, n);
	k->n += (uint32_t)n;
}

static void add_be(struct pws_key *k, uint64_t v, unsigned int bytes)
{
	for (unsigned int i = bytes; i-- > 0;)
		k->b[k->n++] = (uint8_t)(v >> (8 * i));
}

static uint64_t get_be(const uint8_t *p, unsigned int bytes)
{
	uint64_t v = 0;

	for (unsigned int i = 0; i < bytes; i++)
		v = v << 8 | p[i];
	return v;
}

static uint64_t name_cookie(const uint8_t sip_key[16], const char *name, size_t len)
{
	uint8_t h[crypto_shorthash_BYTES];
	uint64_t v = 0;

	crypto_shorthash(h, (const uint8_t *)name, len, sip_key);
	for (unsigned int i = 0; i < sizeof(h); i++)
		v |= (uint64_t)h[i] << (8 * i);
	v &= COOKIE_MAX;
	return v ? v : 1;
}

void pws_key_inode(struct pws_key *k, uint64_t ino)
{
	begin_key(k, PWS_TABLE_INODE);
	add_be(k, ino, 8);
}

void pws_key_dirent(struct pws_key *k, const uint8_t sip_key[16], uint64_t parent, const char *name,
		    size_t len)
{
	assert(len <= PW_NAME_MAX);
	begin_key(k, PWS_TABLE_DIRENT);
	add_be(k, parent, 8);
	add_be(k, name_cookie(sip_key, name, len), 8);
	add_bytes(k, name, len);
}

void pws_key_dirent_range(struct pws_key *begin, struct pws_key *end, uint64_t parent,
			  uint64_t cookie)
{
	/* a cookie comes from the client: any number */
	begin_key(begin, PWS_TABLE_DIRENT);
	add_be(begin, parent, 8);
	add_be(begin, cookie < COOKIE_MAX ? cookie + 1 : COOKIE_MAX + 1, 8);
	begin_key(end, PWS_TABLE_DIRENT);
	add_be(end, parent, 8);
	add_be(end, COOKIE_MAX + 1, 8);
}

bool pws_key_dirent_parse(struct pws_slice key, uint64_t *ret_cookie, const char **ret_name,
			  uint32_t *ret_len)
{
	const uint8_t *b = key.p;

	if (key.n <= DIRENT_HEAD || key.n > DIRENT_HEAD + PW_NAME_MAX || b[0] != PWS_TABLE_DIRENT)
		return false;
	*ret_cookie = get_be(b + 9, 8);
	*ret_name = (const char *)b + DIRENT_HEAD;
	*ret_len = key.n - DIRENT_HEAD;
	return true;
}

void pws_key_segment(struct pws_key *k, uint64_t ino, uint32_t chunk, uint8_t segment)
{
	begin_key(k, PWS_TABLE_SEGMENT);
	add_be(k, ino, 8);
	add_be(k, chunk, 4);
	add_be(k, segment, 1);
}

bool pws_key_segment_parse(struct pws_slice key, uint64_t *ino, uint32_t *chunk, uint8_t *segment)
{
	const uint8_t *b = key.p;

	if (key.n != SEGMENT_KEY || b[0] != PWS_TABLE_SEGMENT)
		return false;
	*ino = get_be(b + 1, 8);
	*chunk = (uint32_t)get_be(b + 9, 4);
	*segment = b[13];
	return true;
}

void pws_key_segment_range(struct pws_key *begin, struct pws_key *end, uint64_t ino, uint64_t off)
{
	begin_key(end, PWS_TABLE_SEGMENT);
	add_be(end, ino, 8);
	add_be(end, UINT64_MAX, 6); /* longer than any key of the inode, and not below it */
	if (off / PWS_CHUNK_BYTES > UINT32_MAX) {
		*begin = *end;
		return;
	}
	pws_key_segment(begin, ino, (uint32_t)(off / PWS_CHUNK_BYTES),
			(uint8_t)(off % PWS_CHUNK_BYTES / PWS_SEGMENT_BYTES));
}

void pws_key_orphan(struct pws_key *k, uint64_t ino)
{
	begin_key(k, PWS_TABLE_ORPHAN);
	add_be(k, ino, 8);
}

void pws_key_orphan_range(struct pws_key *begin, struct pws_key *end, uint64_t after_ino)
{
	pws_key_orphan(begin, after_ino);
	add_be(begin, 0, 1);
	begin_key(end, PWS_TABLE_ORPHAN);
	add_be(end, UINT64_MAX, 8);
	add_be(end, UINT64_MAX, 1);
}

void pws_key_reply(struct pws_key *k, const uint8_t client_id[16], uint16_t slot)
{
	begin_key(k, PWS_TABLE_REPLY);
	add_bytes(k, client_id, 16);
	add_be(k, slot, 2);
}

void pws_key_reply_range(struct pws_key *begin, struct pws_key *end, const uint8_t client_id[16])
{
	pws_key_reply(begin, client_id, 0);
	pws_key_reply(end, client_id, UINT16_MAX);
	add_be(end, 0, 1);
}

void pws_key_client(struct pws_key *k, const uint8_t client_id[16])
{
	begin_key(k, PWS_TABLE_CLIENT);
	add_bytes(k, client_id, 16);
}

void pws_key_client_range(struct pws_key *begin, struct pws_key *end)
{
	begin_key(begin, PWS_TABLE_CLIENT);
	begin_key(end, (enum pws_table)(PWS_TABLE_CLIENT + 1));
}

void pws_key_alloc(struct pws_key *k)
{
	begin_key(k, PWS_TABLE_ALLOC);
}

int pws_inode_decode(struct pws_slice val, struct pws_inode *ret, struct pws_slice *target)
{
	struct pws_inode i;
	uint64_t rest;

	if (val.n < sizeof(i))
		return -EBADMSG;
	memcpy(&i, val.p, sizeof(i));
	rest = val.n - sizeof(i);
	if (i.version != PWS_RECORD_VERSION || rest != (S_ISLNK(i.mode) ? i.size : 0))
		return -EBADMSG;
	if (target)
		*target = (struct pws_slice){ (const uint8_t *)val.p + sizeof(i), (uint32_t)rest };
	*ret = i;
	return 0;
}

void pws_inode_attr(uint64_t ino, const struct pws_inode *i, struct pw_attr *ret)
{
	*ret = (struct pw_attr){
		.ino = ino,
		.size = i->size,
		.blocks = i->blocks * (PWS_BLOCK / 512),
		.atime_ns = i->atime_ns,
		.mtime_ns = i->mtime_ns,
		.ctime_ns = i->ctime_ns,
		.btime_ns = i->btime_ns,
		.mode = i->mode,
		.nlink = i->nlink,
		.uid = i->uid,
		.gid = i->gid,
		.rdev = i->rdev,
		.generation = i->generation,
		.change = i->change,
	};
}
