/* SPDX-License-Identifier: Apache-2.0 */
/* peer_reclaim.c -- after every connect: tell the node which inodes are open here, before anything
 * else
 *
 * The answer to the last page says that the node has recorded our session: from then on, and not
 * before, it can tell a replay from a new request in every later life. The list replaces what the
 * node may remember of this client. It goes out on slot 0, a page at a time, each page after the
 * answer to the one before.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client_fs/peer_impl.h"
#include "common/err.h"

#define PAGE_ENTRIES 2048u

struct entry {
	uint64_t ino;
	uint32_t opens, reserved;
};

static void page_send(struct pwc_peer *p)
{
	struct pwc_slot *s = &p->slots[0];
	struct pw_cmd *cmd = &p->reclaim_send.cmd;
	struct entry *e = p->reclaim;
	uint32_t nr = 0, max = PW_MIN(PAGE_ENTRIES, p->max_io / (uint32_t)sizeof(*e));

	p->reclaim_last = false;
	while (nr < max) {
		e[nr] = (struct entry){ .ino = 0 };
		if (!p->ops->next_open(p, &p->reclaim_iter, &e[nr].ino, &e[nr].opens)) {
			p->reclaim_last = true;
			break;
		}
		nr++;
	}
	pw_cmd_init(cmd, PW_MSG_REQ, PW_OP_RECLAIM);
	cmd->seq = ++s->seq;
	cmd->payload_len = nr * (uint32_t)sizeof(*e);
	cmd->reclaim.nr = nr;
	cmd->reclaim.last = p->reclaim_last;
	p->reclaim_send.payload = nr ? e : NULL;
	p->reclaim_send.done = NULL;
	/* -ENOTCONN: it is going down, and on_down() starts over. */
	if (pw_conn_send(p->conn, &p->reclaim_send))
		return;
}

void pwc_reclaim_start(struct pwc_peer *p)
{
	if (!p->reclaim)
		p->reclaim = calloc(PAGE_ENTRIES, sizeof(struct entry));
	if (!p->reclaim) {
		pw_conn_fail(p->conn, -ENOMEM, "no memory for the list of open files");
		return;
	}
	p->reclaim_iter = 0;
	page_send(p);
}

void pwc_reclaim_answer(struct pwc_peer *p, const struct pw_cmd *cmd)
{
	if (p->state != PWC_PEER_RECLAIMING || cmd->op != PW_OP_RECLAIM ||
	    cmd->seq != p->slots[0].seq) {
		pw_conn_fail(p->conn, -EPROTO, "an answer on slot 0 to nothing that was asked");
		return;
	}
	if (cmd->status) {
		pw_conn_fail(p->conn, pw_err_from_wire(cmd->status), "open files not reclaimed");
		return;
	}
	if (p->reclaim_last)
		pwc_peer_usable(p);
	else
		page_send(p);
}
