/* SPDX-License-Identifier: Apache-2.0 */
/* journal_batch.h -- bytes of one journal batch: a header, then commits
 *
 *	header, 80 bytes, little-endian
 *	  u32 magic "PWJ1"    u32 crc          CRC32C of the len bytes with this field 0
 *	  u32 len             u32 nr_commits   with the header; zeros follow up to 4 KiB
 *	  u16 version 1       u16 0            u32 prev_crc     crc of the batch before
 *	  u64 salt            u64 epoch        random per filesystem; grows with every start
 *	  u64 pos             u64 first_seq    in bytes since the ring was new; of its commits
 *	  u64 last_seq        u64 flushed_seq  known to be on media when the batch was closed
 *	commit: u32 bytes, u32 nr_muts, then the mutations
 *	mutation: u16 key_len, u16 flags (1: delete), u32 val_len, key, value
 *
 * A batch without commits is a seal: first_seq = last_seq + 1, and flushed_seq is what it is for.
 *
 * Golden bytes in tests/unit/node/test_journal.c.
 * Thread: any.      Allocates: never.      Must not know: disks, rings.
 */
#ifndef PWS_JOURNAL_BATCH_H
#define PWS_JOURNAL_BATCH_H

#include "storage_node/meta_kv/meta_kv.h"

#define PWS_BATCH_MAGIC	       0x314a5750u
#define PWS_BATCH_VERSION      1u
#define PWS_BATCH_HEAD_BYTES   80u
#define PWS_BATCH_COMMIT_BYTES 8u
#define PWS_BATCH_MUT_BYTES    8u
/* One commit of the largest size fits; what a batch holds at most. */
#define PWS_BATCH_MAX_BYTES    ((1u << 20) + (64u << 10))

struct pws_batch_head {
	uint32_t crc; /* set by encode */
	uint32_t len, nr_commits;
	uint32_t prev_crc;
	uint64_t salt, epoch, pos;
	uint64_t first_seq, last_seq, flushed_seq;
};

/* Writes the header at @buf, whose @h->len bytes are complete otherwise, and sets @h->crc. */
void pws_batch_encode(uint8_t *buf, struct pws_batch_head *h);

/**
 * pws_batch_decode - the header of what may be a batch
 * @buf: at least PWS_BATCH_HEAD_BYTES; nothing behind them is read
 *
 * Return: 0; -ENOENT not a batch; -EINVAL of a version that this program does not know.
 */
int pws_batch_decode(const uint8_t *buf, struct pws_batch_head *ret) PW_WARN_UNUSED;

/* Do all @h->len bytes fit the checksum? */
bool pws_batch_intact(const uint8_t *buf, const struct pws_batch_head *h);

/* Bytes that a commit takes in a batch. */
uint32_t pws_batch_commit_bytes(const struct pws_kv_mut *muts, uint32_t nr);
void pws_batch_put_commit(uint8_t *p, const struct pws_kv_mut *muts, uint32_t nr);

/**
 * pws_batch_next - walk the commits of a batch
 * @pos: PWS_BATCH_HEAD_BYTES at first; advanced on success
 * @muts: room for PWS_KV_MUTS_MAX; set to point into @buf
 *
 * Return: 0; -ENOENT the end; -EBADMSG malformed.
 */
int pws_batch_next(const uint8_t *buf, uint32_t len, uint32_t *pos, struct pws_kv_mut *muts,
		   uint32_t *ret_nr) PW_WARN_UNUSED;

#endif
