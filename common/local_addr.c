/* SPDX-License-Identifier: Apache-2.0 */
/* local_addr.c -- see local_addr.h */
#include "common/local_addr.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>

#define MAPPED_BITS 96u /* of ::ffff:a.b.c.d, before the IPv4 address */

static uint8_t nr_ones(const void *mask, size_t len)
{
	const uint8_t *b = mask;
	uint32_t n = 0;

	for (size_t i = 0; i < len; i++)
		n += (uint32_t)__builtin_popcount(b[i]);
	return (uint8_t)n;
}

static bool read_one(const struct ifaddrs *i, struct pw_local_addr *ret)
{
	if (!i->ifa_addr || !i->ifa_netmask || !(i->ifa_flags & IFF_UP))
		return false;
	*ret = (struct pw_local_addr){ .bits = 0 };
	if (i->ifa_addr->sa_family == AF_INET) {
		const struct sockaddr_in *a = (const void *)i->ifa_addr;
		const struct sockaddr_in *m = (const void *)i->ifa_netmask;

		ret->addr[10] = ret->addr[11] = 0xff;
		memcpy(ret->addr + 12, &a->sin_addr, sizeof(a->sin_addr));
		ret->bits = (uint8_t)(MAPPED_BITS + nr_ones(&m->sin_addr, sizeof(m->sin_addr)));
		return true;
	}
	if (i->ifa_addr->sa_family == AF_INET6) {
		const struct sockaddr_in6 *a = (const void *)i->ifa_addr;
		const struct sockaddr_in6 *m = (const void *)i->ifa_netmask;

		memcpy(ret->addr, &a->sin6_addr, sizeof(a->sin6_addr));
		ret->bits = nr_ones(&m->sin6_addr, sizeof(m->sin6_addr));
		return !IN6_IS_ADDR_LINKLOCAL(&a->sin6_addr);
	}
	return false;
}

uint32_t pw_local_addrs(struct pw_local_addr *ret, uint32_t max)
{
	struct ifaddrs *all;
	uint32_t nr = 0;

	if (getifaddrs(&all) < 0)
		return 0;
	for (const struct ifaddrs *i = all; i && nr < max; i = i->ifa_next)
		nr += read_one(i, &ret[nr]);
	freeifaddrs(all);
	return nr;
}
