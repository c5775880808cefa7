/* SPDX-License-Identifier: Apache-2.0 */
/* local_addr.h -- the addresses of this host
 *
 * Thread: any.      Allocates: for the call.
 */
#ifndef PW_LOCAL_ADDR_H
#define PW_LOCAL_ADDR_H

#include "common/compiler.h"

struct pw_local_addr {
	uint8_t addr[16]; /* network order; IPv4 as ::ffff:a.b.c.d */
	uint8_t bits; /* of its network's prefix */
};

/* Addresses of interfaces that are up, without link-local ones, at most @max; none when the kernel
 * does not tell. Return: how many. */
uint32_t pw_local_addrs(struct pw_local_addr *ret, uint32_t max);

#endif
