/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_segment.c -- bytes of the index through pws_segment_decode()
 *
 * What it takes has to name blocks that can exist, none of them twice, and has to encode to the
 * same bytes.
 */
#include <stdlib.h>
#include <string.h>

#include "storage_node/store/segment.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Not assert(): a fuzzer that is built without them would find nothing. */
#define MUST(cond)               \
	do {                     \
		if (!(cond))     \
			abort(); \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pws_slice val = { data, (uint32_t)size };
	uint8_t buf[PWS_SEGMENT_VAL_MAX];
	struct pws_segment s;

	if (pws_segment_decode(val, &s))
		return 0;
	MUST(s.present);
	for (uint32_t i = 0; i < PWS_SEGMENT_BLOCKS; i++) {
		if (!(s.present & 1u << i))
			continue;
		MUST(s.block[i] <= PWS_BLOCK_NR_MAX);
		for (uint32_t j = 0; j < i; j++)
			MUST(!(s.present & 1u << j) || s.block[i] != s.block[j]);
	}
	MUST(pws_segment_encode(&s, buf) == size);
	MUST(!memcmp(buf, data, size));
	return 0;
}
