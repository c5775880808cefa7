/* SPDX-License-Identifier: Apache-2.0 */
/* verify_row.c -- recovery's question: are the blocks that a replayed row names on the disk
 *
 * A batch of the journal and the blocks that it names are made durable by one flush, in no order.
 * After a power cut the batch may be there and the blocks not: then neither counts.
 */
#include <stdlib.h>

#include "common/crc32c.h"
#include "common/plant.h"
#include "storage_node/store/segment.h"
#include "storage_node/store/store.h"

static bool is_run_right(struct pws_disk *disk, uint64_t data_off, const struct pws_segment *row,
			 uint32_t first, uint32_t end, uint8_t *mem)
{
	uint64_t off = data_off + row->block[first] * PWS_BLOCK;
	uint32_t len = (end - first) * PWS_BLOCK;

	if (off + len > pws_disk_size(disk) || pws_disk_do(disk, PWS_DISK_READ, mem, off, len))
		return false;
	for (uint32_t slot = first; slot < end; slot++, mem += PWS_BLOCK) {
		if (pw_crc32c(0, mem, PWS_BLOCK) != row->crc[slot])
			return false;
	}
	return true;
}

bool pws_store_verify_row(struct pws_disk *disk, uint64_t data_off, const struct pws_kv_mut *mut)
{
	struct pws_segment row;
	uint32_t chunk, end;
	uint8_t segment, *mem;
	bool ok = true;
	uint64_t ino;

	if (!mut->val.p || PW_PLANT("no-verify") ||
	    !pws_key_segment_parse(mut->key, &ino, &chunk, &segment))
		return true;
	if (pws_segment_decode(mut->val, &row))
		return false;
	mem = aligned_alloc(PWS_BLOCK, PWS_SEGMENT_BYTES);
	if (!mem)
		return false;
	for (uint32_t slot = 0; ok && slot < PWS_SEGMENT_BLOCKS; slot = end) {
		end = slot + 1;
		if (!(row.present & 1u << slot))
			continue;
		while (end < PWS_SEGMENT_BLOCKS && row.present & 1u << end &&
		       row.block[end] == row.block[end - 1] + 1)
			end++;
		ok = is_run_right(disk, data_off, &row, slot, end, mem);
	}
	free(mem);
	return ok;
}
