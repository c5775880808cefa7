/* SPDX-License-Identifier: Apache-2.0 */
/* crc32c.c -- see crc32c.h; isa-l leaves both inversions to its caller, and takes an int */
#include "common/crc32c.h"

#include <isa-l/crc.h>

#define PIECE_BYTES ((size_t)1 << 30)

uint32_t pw_crc32c(uint32_t crc, const void *buf, size_t len)
{
	const uint8_t *p = buf;

	crc = ~crc;
	while (len) {
		size_t n = PW_MIN(len, PIECE_BYTES);

		/* isa-l's prototype lacks the const: it only reads */
		crc = crc32_iscsi((unsigned char *)(uintptr_t)p, (int)n, crc);
		p += n;
		len -= n;
	}
	return ~crc;
}
