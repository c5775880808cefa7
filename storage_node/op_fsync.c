/* SPDX-License-Identifier: Apache-2.0 */
/* op_fsync.c -- FSYNC: everything that was answered before this is on media
 *
 * Commits reach the journal in order and data blocks are complete before the commit that names
 * them, so one flush up to the newest commit covers the file, its size and its name.
 */
#include "storage_node/node.h"
#include "storage_node/node_req.h"

enum {
	FSYNC_BEGIN,
	FSYNC_DONE
};

void pws_op_fsync_step(struct pws_req *r)
{
	if (r->phase == FSYNC_BEGIN) {
		r->phase = FSYNC_DONE;
		if (!pws_req_durable(r, r->n->kv->ops->last_seq(r->n->kv), true))
			return;
	}
	pws_req_reply(r, r->err);
}
