/* SPDX-License-Identifier: Apache-2.0 */
/* store_model.h -- random requests against plain byte arrays
 *
 * Rounds of requests that run at once. What a round did is put into the arrays in the order of the
 * commits; a read must equal the arrays as they were between its start and its end.
 */
#ifndef STORE_MODEL_H
#define STORE_MODEL_H

#include "store_rig.h"

#define MODEL_FILES 3u
#define MODEL_FILE_MAX (1536u << 10)

struct model_opts {
	uint32_t rounds, max_ops; /* of one round */
	bool small_room; /* some truncations do not fit one commit */
	bool allow_enospc;
	uint32_t refuse; /* of 1000 transactions */
};

struct model {
	struct rig *rig;
	struct model_opts o;
	uint8_t *bytes[MODEL_FILES];
	uint64_t size[MODEL_FILES];
	uint64_t nr_writes, nr_reads, nr_truncs, nr_enospc, nr_more, nr_busy, nr_reclaims;
};

void model_init(struct model *m, struct rig *rig, const struct model_opts *o);
void model_run(struct model *m);
/* All files, byte by byte. */
void model_check(struct model *m);
/* Cuts all files to nothing, reclaims, and looks for lost blocks (chunk store). */
void model_end(struct model *m);
/* Always: also when the store could not be opened again. */
void model_free(struct model *m);

#endif
