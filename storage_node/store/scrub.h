/* SPDX-License-Identifier: Apache-2.0 */
/* scrub.h -- reads every block that the index names, slowly, and tells which are wrong
 *
 * Walks the rows in key order, one row at a time, so at most a few ios are in flight; begins again
 * at the end.
 * Thread: loop thread.      Allocates: only in new.
 */
#ifndef PWS_SCRUB_H
#define PWS_SCRUB_H

#include "storage_node/store/chunk.h"

/* @c: borrowed. 0; -ENOMEM. */
int pws_scrub_new(struct pws_chunk *c, struct pws_scrub **ret);
void pws_scrub_free(struct pws_scrub *sc); /* idle; NULL is fine */
void pws_scrub_set_rate(struct pws_scrub *sc, uint64_t bytes_per_s); /* 0 stops */
/* Return: true when idle; else @ready is made ready when it is. No more scrub afterwards. */
bool pws_scrub_stop(struct pws_scrub *sc, struct pw_ready *ready);

#endif
