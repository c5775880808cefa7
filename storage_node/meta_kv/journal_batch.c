/* SPDX-License-Identifier: Apache-2.0 */
/* journal_batch.c -- encoding and checked decoding of journal batches */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "common/crc32c.h"
#include "storage_node/meta_kv/journal_batch.h"

#define FLAG_DELETE 1u
#define CRC_OFFSET  4u

struct disk_head {
	uint32_t magic, crc, len, nr_commits;
	uint16_t version, reserved;
	uint32_t prev_crc;
	uint64_t salt, epoch, pos, first_seq, last_seq, flushed_seq;
	uint64_t reserved2;
};
static_assert(sizeof(struct disk_head) == PWS_BATCH_HEAD_BYTES, "disk format");
static_assert(offsetof(struct disk_head, crc) == CRC_OFFSET, "disk format");

struct disk_mut {
	uint16_t key_len, flags;
	uint32_t val_len;
};
static_assert(sizeof(struct disk_mut) == PWS_BATCH_MUT_BYTES, "disk format");

static_assert(PWS_BATCH_HEAD_BYTES + PWS_BATCH_COMMIT_BYTES + PWS_KV_COMMIT_MAX +
			      PWS_KV_MUTS_MAX * PWS_BATCH_MUT_BYTES <=
		      PWS_BATCH_MAX_BYTES,
	      "the largest commit fits");

static uint32_t crc_of(const uint8_t *buf, uint32_t len)
{
	static const uint8_t no_crc[4];
	uint32_t crc = pw_crc32c(0, buf, CRC_OFFSET);

	crc = pw_crc32c(crc, no_crc, sizeof(no_crc));
	return pw_crc32c(crc, buf + CRC_OFFSET + 4, len - CRC_OFFSET - 4);
}

void pws_batch_encode(uint8_t *buf, struct pws_batch_head *h)
{
	struct disk_head d = {
		.magic = PWS_BATCH_MAGIC,
		.len = h->len,
		.nr_commits = h->nr_commits,
		.version = PWS_BATCH_VERSION,
		.prev_crc = h->prev_crc,
		.salt = h->salt,
		.epoch = h->epoch,
		.pos = h->pos,
		.first_seq = h->first_seq,
		.last_seq = h->last_seq,
		.flushed_seq = h->flushed_seq,
	};

	memcpy(buf, &d, sizeof(d));
	h->crc = crc_of(buf, h->len);
	memcpy(buf + CRC_OFFSET, &h->crc, sizeof(h->crc));
}

int pws_batch_decode(const uint8_t *buf, struct pws_batch_head *ret)
{
	struct disk_head d;

	memcpy(&d, buf, sizeof(d));
	if (d.magic != PWS_BATCH_MAGIC || d.len < sizeof(d) || d.len > PWS_BATCH_MAX_BYTES)
		return -ENOENT;
	*ret = (struct pws_batch_head){
		.crc = d.crc,
		.len = d.len,
		.nr_commits = d.nr_commits,
		.prev_crc = d.prev_crc,
		.salt = d.salt,
		.epoch = d.epoch,
		.pos = d.pos,
		.first_seq = d.first_seq,
		.last_seq = d.last_seq,
		.flushed_seq = d.flushed_seq,
	};
	return d.version == PWS_BATCH_VERSION ? 0 : -EINVAL;
}

bool pws_batch_intact(const uint8_t *buf, const struct pws_batch_head *h)
{
	return crc_of(buf, h->len) == h->crc;
}

uint32_t pws_batch_commit_bytes(const struct pws_kv_mut *muts, uint32_t nr)
{
	uint32_t n = PWS_BATCH_COMMIT_BYTES + nr * PWS_BATCH_MUT_BYTES;

	for (uint32_t i = 0; i < nr; i++)
		n += muts[i].key.n + (muts[i].val.p ? muts[i].val.n : 0);
	return n;
}

void pws_batch_put_commit(uint8_t *p, const struct pws_kv_mut *muts, uint32_t nr)
{
	uint32_t head[2] = { pws_batch_commit_bytes(muts, nr), nr };

	memcpy(p, head, sizeof(head));
	p += sizeof(head);
	for (uint32_t i = 0; i < nr; i++) {
		const struct pws_kv_mut *m = &muts[i];
		struct disk_mut d = {
			.key_len = (uint16_t)m->key.n,
			.flags = m->val.p ? 0 : FLAG_DELETE,
			.val_len = m->val.p ? m->val.n : 0,
		};

		memcpy(p, &d, sizeof(d));
		p += sizeof(d);
		memcpy(p, m->key.p, d.key_len);
		p += d.key_len;
		if (d.val_len)
			memcpy(p, m->val.p, d.val_len);
		p += d.val_len;
	}
}

static int next_mut(const uint8_t *p, const uint8_t *end, struct pws_kv_mut *ret,
		    const uint8_t **ret_after)
{
	struct disk_mut d;

	if ((size_t)(end - p) < sizeof(d))
		return -EBADMSG;
	memcpy(&d, p, sizeof(d));
	p += sizeof(d);
	if (!d.key_len || d.key_len > PWS_KV_KEY_MAX || d.val_len > PWS_KV_VAL_MAX ||
	    (d.flags & ~FLAG_DELETE) || ((d.flags & FLAG_DELETE) && d.val_len) ||
	    (size_t)(end - p) < (size_t)d.key_len + d.val_len)
		return -EBADMSG;
	ret->key = (struct pws_slice){ p, d.key_len };
	p += d.key_len;
	ret->val = (struct pws_slice){ (d.flags & FLAG_DELETE) ? NULL : p, d.val_len };
	*ret_after = p + d.val_len;
	return 0;
}

int pws_batch_next(const uint8_t *buf, uint32_t len, uint32_t *pos, struct pws_kv_mut *muts,
		   uint32_t *ret_nr)
{
	const uint8_t *p = buf + *pos, *end;
	uint32_t head[2];

	if (*pos == len)
		return -ENOENT;
	if (len - *pos < sizeof(head))
		return -EBADMSG;
	memcpy(head, p, sizeof(head));
	if (head[0] < sizeof(head) || head[0] > len - *pos || head[1] > PWS_KV_MUTS_MAX)
		return -EBADMSG;
	end = p + head[0];
	p += sizeof(head);
	for (uint32_t i = 0; i < head[1]; i++) {
		int err = next_mut(p, end, &muts[i], &p);

		if (err)
			return err;
	}
	if (p != end)
		return -EBADMSG;
	*pos += head[0];
	*ret_nr = head[1];
	return 0;
}
