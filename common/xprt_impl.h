/* SPDX-License-Identifier: Apache-2.0 */
/* xprt_impl.h -- what xprt.c and the transports of the programs share; nobody else includes it */
#ifndef PW_XPRT_IMPL_H
#define PW_XPRT_IMPL_H

#include "common/xprt.h"

struct pw_xprt_type;

/* A transport's own struct begins with one of these. */
struct pw_xprt {
	const struct pw_xprt_type *type;
};
struct pw_xprt_listener {
	const struct pw_xprt_type *type;
};

/* One transport: what xprt.h says about the function of the same name. */
struct pw_xprt_type {
	int (*connect)(struct pw_loop *loop, const char *host, uint16_t port, const char *local,
		       const struct pw_xprt_ops *ops, void *owner, struct pw_xprt **ret);
	void (*send)(struct pw_xprt *x, struct pw_send *s);
	void (*close)(struct pw_xprt *x, int err, const char *why);
	void (*free)(struct pw_xprt *x);
	void (*get_stats)(const struct pw_xprt *x, struct pw_conn_stats *ret);
	const char *(*name)(const struct pw_xprt *x);
	/* optional */
	void (*set_up)(struct pw_xprt *x, uint32_t nr_slots);
	void (*grant)(struct pw_xprt *x, uint16_t slot, void *buf, uint32_t len);
	bool (*revoke)(struct pw_xprt *x, uint16_t slot, struct pw_revoke *r);
	enum pw_gather (*gathers)(const struct pw_xprt *x, const struct pw_runs *runs, bool in);

	int (*listen)(struct pw_loop *loop, const char *host, uint16_t port,
		      pw_xprt_accept_fn *on_accept, void *arg, struct pw_xprt_listener **ret);
	uint16_t (*listener_port)(const struct pw_xprt_listener *l);
	void (*listener_free)(struct pw_xprt_listener *l);
};

extern const struct pw_xprt_type pw_tcp_type, pw_rdma_type;

#endif
