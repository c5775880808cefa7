/* SPDX-License-Identifier: Apache-2.0 */
/* segment.h -- one row of the chunk index: where 64 KiB of a file are, and their checksums
 *
 * Value of a B row, little-endian, no padding; golden bytes in tests/unit/node/test_segment.c:
 *
 *	u8  version      1
 *	u8  flags        bit 0: the present blocks lie side by side on the disk
 *	u16 present      bit i: block i of the 16 exists; never 0 (no row then)
 *	u32 trunc_gen    of the inode when the row was last written
 *	u64 base         flag set: number of the first present block
 *	u40 block[n]     flag clear: number of each present block, n = bits in present
 *	u32 crc[n]       CRC32C of each present block
 *
 * One value has one encoding: the decoder refuses any other.
 * Thread: any.      Allocates: never.
 */
#ifndef PWS_SEGMENT_H
#define PWS_SEGMENT_H

#include "storage_node/meta/records.h"
#include "storage_node/store/disk.h"

#define PWS_SEGMENT_BLOCKS 16u
#define PWS_SEGMENT_BYTES (PWS_SEGMENT_BLOCKS * PWS_BLOCK)
#define PWS_CHUNK_BYTES (4u << 20)
#define PWS_CHUNK_BLOCKS (PWS_CHUNK_BYTES / PWS_BLOCK)
/* Chunk numbers have 32 bits. */
#define PWS_STORE_FILE_MAX ((uint64_t)PWS_CHUNK_BYTES << 32)
static_assert(PWS_STORE_FILE_MAX == PW_FILE_MAX, "what a file may have, the store can hold");

#define PWS_SEGMENT_HEAD_BYTES 8u
#define PWS_SEGMENT_VAL_MAX (PWS_SEGMENT_HEAD_BYTES + PWS_SEGMENT_BLOCKS * (5u + 4u))
#define PWS_SEGMENT_CONTIGUOUS 1u
#define PWS_BLOCK_NR_MAX ((1ull << 40) - 1) /* 4 EiB of disk */

struct pws_segment {
	uint32_t trunc_gen;
	uint16_t present;
	uint64_t block[PWS_SEGMENT_BLOCKS]; /* valid where present */
	uint32_t crc[PWS_SEGMENT_BLOCKS];
};

/* Checks everything that one row tells about itself. 0; -EBADMSG. */
int pws_segment_decode(struct pws_slice val, struct pws_segment *ret);
/* @s must have a block. Return: bytes used. */
uint32_t pws_segment_encode(const struct pws_segment *s, uint8_t buf[PWS_SEGMENT_VAL_MAX]);

/* Was this row, which begins at @off of its file, cut off by a truncation that is not reclaimed
 * yet? */
static inline bool pws_segment_dead(const struct pws_segment *s, uint64_t off,
				    const struct pws_inode *i)
{
	return off >= i->dead_from && s->trunc_gen < i->dead_gen;
}

static inline uint32_t pws_segment_nr(const struct pws_segment *s)
{
	return (uint32_t)__builtin_popcount(s->present);
}

/* Key of the row that holds byte @off of a file; @off < PWS_STORE_FILE_MAX. */
static inline void pws_segment_key(struct pws_key *k, uint64_t ino, uint64_t off)
{
	pws_key_segment(k, ino, (uint32_t)(off / PWS_CHUNK_BYTES),
			(uint8_t)(off % PWS_CHUNK_BYTES / PWS_SEGMENT_BYTES));
}

/* Where the row with this key begins in its file. */
static inline uint64_t pws_segment_off(uint32_t chunk, uint8_t segment)
{
	return (uint64_t)chunk * PWS_CHUNK_BYTES + (uint64_t)segment * PWS_SEGMENT_BYTES;
}

#endif
