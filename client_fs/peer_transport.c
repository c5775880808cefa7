/* SPDX-License-Identifier: Apache-2.0 */
/* peer_transport.c -- RDMA or TCP: which one the next try takes
 *
 *	auto	RDMA; when that does not come up, TCP at once, and the reason is kept for `status`.
 *		After a connection was lost it begins with RDMA again.
 *	tcp, rdma	that one and no other
 */
#include <errno.h>
#include <stdio.h>

#include "client_fs/peer_impl.h"
#include "common/err.h"
#include "common/log.h"
#include "common/rdma_why.h"

void pwc_transport_pick(struct pwc_peer *p)
{
	p->transport = p->opts.conn.transport;
	if (p->transport == PW_TRANSPORT_AUTO)
		p->transport = p->rdma_failed ? PW_TRANSPORT_TCP : PW_TRANSPORT_RDMA;
	pw_conn_set_transport(p->conn, p->transport);
}

uint16_t pwc_transport_port(const struct pwc_peer *p)
{
	return p->transport == PW_TRANSPORT_RDMA ? PW_RDMA_PORT(p->opts.port) : p->opts.port;
}

/* A node that answered, and said no: it says the same over TCP. */
static bool is_refusal(int err)
{
	return err == -EKEYREJECTED || err == -ENOKEY || err == -EPROTONOSUPPORT ||
	       err == -EMEDIUMTYPE;
}

bool pwc_transport_fall_back(struct pwc_peer *p, int err, const char *why)
{
	bool was_in_use = p->state == PWC_PEER_UP || p->state == PWC_PEER_RECLAIMING;

	p->rdma_failed = false;
	if (p->transport != PW_TRANSPORT_RDMA || p->opts.conn.transport != PW_TRANSPORT_AUTO ||
	    was_in_use || is_refusal(err))
		return false;
	p->rdma_failed = true;
	snprintf(p->no_rdma, sizeof(p->no_rdma), "%s", why);
	pw_log_debug("peer %s: no RDMA, %s", pwc_peer_name(p), why);
	return true;
}

bool pwc_transport_is_hopeless(const struct pwc_peer *p, int err)
{
	return p->opts.conn.transport == PW_TRANSPORT_RDMA &&
	       (err == -ENOSYS || err == -ENODEV || err == -ENOENT);
}

const char *pwc_transport_why(const struct pwc_peer *p, int err, char *buf, size_t len)
{
	if (p->transport == PW_TRANSPORT_RDMA)
		return pw_rdma_why(err, buf, len);
	snprintf(buf, len, "%s", pw_err_text(err));
	return buf;
}

const char *pwc_peer_no_rdma(const struct pwc_peer *p)
{
	if (p->transport == PW_TRANSPORT_RDMA)
		return "";
	return p->opts.conn.transport == PW_TRANSPORT_TCP ? "transport=tcp was asked for" :
							    p->no_rdma;
}
