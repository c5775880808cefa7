/* SPDX-License-Identifier: Apache-2.0 */
/* random.h -- randomness behind a link-time seam: libsodium in programs, the seed in tests/sim */
#ifndef PW_RANDOM_H
#define PW_RANDOM_H

#include "common/compiler.h"

void pw_random_bytes(void *buf, size_t len);
uint64_t pw_random_u64(void);
/* Uniform in [0, n); 0 when n is 0. */
uint64_t pw_random_below(uint64_t n);

#endif
