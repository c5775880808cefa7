/* SPDX-License-Identifier: Apache-2.0 */
/* lineage.h -- is the node's data the continuation of what this client has worked with
 *
 * The fsid does not tell: a copy of a data directory has it too, and so has an older state that
 * was brought back from a backup. Writing into one of those what belongs into the other would mix
 * two filesystems, and what was acknowledged would be gone without a word. So each start on the
 * data has a random name (boot) and a number, and WELCOME tells the last of them.
 * Pure.
 */
#ifndef PWC_LINEAGE_H
#define PWC_LINEAGE_H

#include "common/wire.h"

#define PWC_LINEAGE_WHY                                                                            \
	"its filesystem is an older state or a copy of the one that this mount has worked with"

struct pwc_lineage {
	uint64_t starts, boot; /* of the last WELCOME; 0: none yet */
};

/* Compares, and remembers what is a continuation. false: it is certainly none. Where nothing can
 * be compared (the node did not count, more starts than it tells of have passed) it is taken for
 * one. */
bool pwc_lineage_follow(struct pwc_lineage *known, const struct pw_body_welcome *w);

#endif
