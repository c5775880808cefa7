/* SPDX-License-Identifier: Apache-2.0 */
/* peer_runs.c -- calls whose payload lies in the memory of an application: from and to there by
 * itself where the connection can, else by one copy
 */
#include "client_fs/peer_impl.h"
#include "client_fs/runs_copy.h"

bool pwc_call_is_direct(const struct pwc_call *c, uint32_t len)
{
	return c->runs && c->gathered && !(c->runs->foreign && len <= PW_RUNS_SHORT);
}

int pwc_call_runs_post(struct pwc_peer *p, struct pwc_call *c)
{
	uint32_t n = c->send.cmd.payload_len;
	enum pw_gather can = pw_conn_gathers(p->conn, c->runs, !n);

	p->stats.runs[can]++;
	c->gathered = can == PW_GATHER_OK;
	c->send.answer_direct = c->gathered && !c->runs->foreign;
	if (c->gathered && n && c->runs->nr == 1) {
		c->send.payload = c->runs->v->iov_base;
	} else if (c->gathered && n) {
		c->send.runs = c->runs;
	} else if (c->gathered && c->runs->nr == 1 && !c->runs->foreign) {
		c->send.answer = c->runs->v->iov_base;
	} else if (c->gathered) {
		c->send.answer = NULL;
		c->send.answer_max = 0;
	} else if (n) {
		c->send.payload = c->spare;
		p->stats.runs_copied += n;
		return pwc_runs_read(c->runs, c->spare, n);
	}
	return 0;
}

void *pwc_call_out(const struct pwc_call *c, uint32_t len)
{
	return pwc_call_is_direct(c, len) ? c->runs->v->iov_base : c->out;
}
