/* SPDX-License-Identifier: Apache-2.0 */
/* superblock_text.c -- the superblock as text: a line per field, in order, the checksum of it all
 * last
 *
 * Exactly what encode writes is accepted, nothing else: a file that somebody has edited is damaged.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/crc32c.h"
#include "common/uuid.h"
#include "storage_node/superblock.h"

#define MAGIC "pagewire superblock "

size_t pws_superblock_encode(const struct pws_superblock *sb, char *buf, size_t len)
{
	char fsid[37], node_id[37], sip_key[33];
	int n, m;

	pw_uuid_text(sb->fsid, fsid);
	pw_uuid_text(sb->node_id, node_id);
	pw_hex_text(sb->sip_key, sizeof(sb->sip_key), sip_key);
	n = snprintf(buf, len,
		     MAGIC "%u\nfsid %s\nnode_id %s\nsip_key %s\nstore %s\ncreated_ns %" PRIu64
			   "\njournal_bytes %" PRIu64 "\ndata_off %" PRIu64
			   "\nblock_bytes %u\nformatted %u\n",
		     PWS_SUPERBLOCK_VERSION, fsid, node_id, sip_key, sb->store, sb->created_ns,
		     sb->journal_bytes, sb->data_off, sb->block_bytes, sb->formatted);
	if (n < 0 || (size_t)n >= len)
		return 0;
	m = snprintf(buf + n, len - (size_t)n, "crc32c %08x\n", pw_crc32c(0, buf, (size_t)n));
	return m < 0 || (size_t)m >= len - (size_t)n ? 0 : (size_t)(n + m);
}

static int parse(const char *text, struct pws_superblock *sb)
{
	char fsid[37], node_id[37], sip_key[33];
	unsigned int formatted;
	int n = 0;

	if (sscanf(text,
		   MAGIC "%*u fsid %36s node_id %36s sip_key %32s store %15s created_ns %" SCNu64
			 " journal_bytes %" SCNu64 " data_off %" SCNu64
			 " block_bytes %u formatted %u%n",
		   fsid, node_id, sip_key, sb->store, &sb->created_ns, &sb->journal_bytes,
		   &sb->data_off, &sb->block_bytes, &formatted, &n) != 9 ||
	    !n)
		return -EBADMSG;
	sb->formatted = formatted;
	if (strlen(sip_key) != 32 || pw_uuid_parse(fsid, sb->fsid) ||
	    pw_uuid_parse(node_id, sb->node_id) || pw_hex_parse(sip_key, sb->sip_key, 16))
		return -EBADMSG;
	return 0;
}

int pws_superblock_decode(const char *buf, size_t len, struct pws_superblock *ret)
{
	char text[1024], again[1024];
	struct pws_superblock sb = { .formatted = false };
	unsigned int version;

	if (len < sizeof(MAGIC) || memcmp(buf, MAGIC, sizeof(MAGIC) - 1))
		return -EINVAL;
	if (len >= sizeof(text) || memchr(buf, 0, len))
		return -EBADMSG;
	memcpy(text, buf, len);
	text[len] = 0;
	if (sscanf(text, MAGIC "%u", &version) != 1)
		return -EBADMSG;
	if (version != PWS_SUPERBLOCK_VERSION)
		return -EPROTONOSUPPORT;
	if (parse(text, &sb))
		return -EBADMSG;
	if (pws_superblock_encode(&sb, again, sizeof(again)) != len || memcmp(again, text, len))
		return -EBADMSG;
	*ret = sb;
	return 0;
}
