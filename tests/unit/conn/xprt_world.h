/* SPDX-License-Identifier: Apache-2.0 */
/* xprt_world.h -- below the tests of connections and transports: the kernel's TCP, or fake verbs
 *
 * A test program links one of world_tcp.c and ../rdma/world_rdma.c; what the tests do is the same.
 */
#ifndef XPRT_WORLD_H
#define XPRT_WORLD_H

#include "common/conn.h"

struct xprt_world {
	const char *name; /* of the transport */
	enum pw_transport transport;
	uint32_t nr_seeds; /* tests that depend on an order run with so many */
	bool overtakes; /* answers may arrive in another order than they were sent */
	void (*begin)(uint64_t seed);
	void (*turn)(void); /* in every turn of the loop */
	/* Memory for payloads, until end(). */
	void *(*alloc)(size_t len);
	/* The transport has let go of it: nothing may read or write it any more. */
	void (*released)(const void *p, size_t len);
	/* The peer has no right to write there any more. */
	void (*landed)(const void *p, size_t len);
	/* Everything is closed. Return: what was found wrong. */
	uint32_t (*end)(void);
};
extern const struct xprt_world xprt_world;

#endif
