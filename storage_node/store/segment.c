/* SPDX-License-Identifier: Apache-2.0 */
/* segment.c -- encoding of the chunk index; the decoder trusts no byte of it
 *
 * Rows come from the node's own disk, but from a disk: a wrong row must end in -EBADMSG, not in
 * another file's data. What needs more than one row to judge (two rows that name one block) is
 * found when the free map is built.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "storage_node/store/segment.h"

static void put_u40(uint8_t *p, uint64_t v)
{
	memcpy(p, &v, 5);
}

static uint64_t get_u40(const uint8_t *p)
{
	uint64_t v = 0;

	memcpy(&v, p, 5);
	return v;
}

/* Do the present blocks follow each other on the disk? */
static bool is_contiguous(const struct pws_segment *s, uint64_t *ret_base)
{
	uint64_t next = UINT64_MAX;

	for (uint32_t i = 0; i < PWS_SEGMENT_BLOCKS; i++) {
		if (!(s->present & 1u << i))
			continue;
		if (next == UINT64_MAX)
			*ret_base = s->block[i];
		else if (s->block[i] != next)
			return false;
		next = s->block[i] + 1;
	}
	return true;
}

static bool has_duplicate(const struct pws_segment *s)
{
	for (uint32_t i = 0; i < PWS_SEGMENT_BLOCKS; i++) {
		if (!(s->present & 1u << i))
			continue;
		for (uint32_t j = i + 1; j < PWS_SEGMENT_BLOCKS; j++) {
			if (s->present & 1u << j && s->block[i] == s->block[j])
				return true;
		}
	}
	return false;
}

static int decode_blocks(const uint8_t *p, bool contiguous, struct pws_segment *s)
{
	uint64_t base = 0, ignored;

	if (contiguous) {
		memcpy(&base, p, 8);
		if (base > PWS_BLOCK_NR_MAX)
			return -EBADMSG;
	}
	for (uint32_t i = 0; i < PWS_SEGMENT_BLOCKS; i++) {
		if (!(s->present & 1u << i))
			continue;
		if (contiguous) {
			s->block[i] = base++;
		} else {
			s->block[i] = get_u40(p);
			p += 5;
		}
		if (s->block[i] > PWS_BLOCK_NR_MAX)
			return -EBADMSG;
	}
	if (!contiguous && (is_contiguous(s, &ignored) || has_duplicate(s)))
		return -EBADMSG;
	return 0;
}

int pws_segment_decode(struct pws_slice val, struct pws_segment *ret)
{
	struct pws_segment s = { 0 };
	const uint8_t *p = val.p;
	uint32_t nr, block_bytes;
	bool contiguous;
	int err;

	if (!p || val.n < PWS_SEGMENT_HEAD_BYTES)
		return -EBADMSG;
	if (p[0] != PWS_RECORD_VERSION || (p[1] & ~PWS_SEGMENT_CONTIGUOUS))
		return -EBADMSG;
	contiguous = p[1] & PWS_SEGMENT_CONTIGUOUS;
	memcpy(&s.present, p + 2, 2);
	memcpy(&s.trunc_gen, p + 4, 4);
	nr = pws_segment_nr(&s);
	block_bytes = contiguous ? 8 : nr * 5;
	if (!nr || val.n != PWS_SEGMENT_HEAD_BYTES + block_bytes + nr * 4)
		return -EBADMSG;
	p += PWS_SEGMENT_HEAD_BYTES;
	err = decode_blocks(p, contiguous, &s);
	if (err)
		return err;
	p += block_bytes;
	for (uint32_t i = 0; i < PWS_SEGMENT_BLOCKS; i++) {
		if (s.present & 1u << i) {
			memcpy(&s.crc[i], p, 4);
			p += 4;
		}
	}
	*ret = s;
	return 0;
}

uint32_t pws_segment_encode(const struct pws_segment *s, uint8_t buf[PWS_SEGMENT_VAL_MAX])
{
	uint64_t base = 0;
	bool contiguous = is_contiguous(s, &base);
	uint8_t *p = buf;

	assert(s->present);
	p[0] = PWS_RECORD_VERSION;
	p[1] = contiguous ? PWS_SEGMENT_CONTIGUOUS : 0;
	memcpy(p + 2, &s->present, 2);
	memcpy(p + 4, &s->trunc_gen, 4);
	p += PWS_SEGMENT_HEAD_BYTES;
	if (contiguous) {
		memcpy(p, &base, 8);
		p += 8;
	}
	for (uint32_t i = 0; i < PWS_SEGMENT_BLOCKS && !contiguous; i++) {
		if (s->present & 1u << i) {
			assert(s->block[i] <= PWS_BLOCK_NR_MAX);
			put_u40(p, s->block[i]);
			p += 5;
		}
	}
	for (uint32_t i = 0; i < PWS_SEGMENT_BLOCKS; i++) {
		if (s->present & 1u << i) {
			memcpy(p, &s->crc[i], 4);
			p += 4;
		}
	}
	return (uint32_t)(p - buf);
}
