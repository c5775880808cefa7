/* SPDX-License-Identifier: Apache-2.0 */
/* crc32c.h -- CRC-32C (Castagnoli, as in iSCSI and RFC 3720), hardware speed by isa-l
 *
 * Thread: any.      Allocates: never.
 */
#ifndef PW_CRC32C_H
#define PW_CRC32C_H

#include "common/compiler.h"

/* @crc: 0, or the result for the bytes before these. */
uint32_t pw_crc32c(uint32_t crc, const void *buf, size_t len);

#endif
