/* SPDX-License-Identifier: Apache-2.0 */
/* world_rdma.c -- the RDMA transport over fake verbs
 *
 * Most payloads come from an announced area, a few from elsewhere. FAKE_DEVICE picks the device:
 * "rxe" (default) or "siw", which has no windows.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/unit/conn/xprt_world.h"
#include "common/mem.h"
#include "world_rdma.h"

#define AREA	  (1ull << 30) /* of addresses; memory is what was touched */
#define STRAYS	  64u
#define STRAY_MAX (4u << 20) /* what is granted is always in an area */

struct world_rdma world_rdma;

static uint8_t *area;
static size_t used;
static void *strays[STRAYS];
static uint32_t nr_strays, nr_allocs;

static void begin(uint64_t seed)
{
	const char *device = getenv("FAKE_DEVICE");

	fake_begin(seed);
	fake_opts.max_delay = seed * 3 % 8;
	if (device && !strcmp(device, "siw"))
		fake_be_siw();
	area = mmap(NULL, AREA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		    -1, 0);
	if (area == MAP_FAILED || pw_mem_announce(area, AREA))
		abort();
	used = 0;
	nr_allocs = 0;
	memset(&world_rdma, 0, sizeof(world_rdma));
}

static void *alloc(size_t len)
{
	uint8_t *p = area + used;

	if (++nr_allocs % 16 == 0 && nr_strays < STRAYS && len < STRAY_MAX) {
		p = strays[nr_strays++] = malloc(len ? len : 1);
		return p;
	}
	if (len > AREA - used)
		abort();
	used += PW_ROUND_UP(len, 4096);
	return p;
}

static void released(const void *p, size_t len)
{
	if (len && fake_memory_in_use(p, len)) {
		fprintf(stderr, "a work request refers to memory that was given back\n");
		world_rdma.nr_bad++;
	}
}

static void landed(const void *p, size_t len)
{
	if (len && fake_memory_exposed(p, len, IBV_ACCESS_REMOTE_WRITE)) {
		fprintf(stderr, "a payload was delivered that the peer can still write\n");
		world_rdma.nr_bad++;
	}
}

static uint32_t end(void)
{
	uint32_t nr;

	pw_mem_withdraw(area);
	nr = fake_end() + world_rdma.nr_bad;
	munmap(area, AREA);
	while (nr_strays)
		free(strays[--nr_strays]);
	return nr;
}

const struct xprt_world xprt_world = {
	.name = "rdma",
	.transport = PW_TRANSPORT_RDMA,
	.nr_seeds = 3,
	.overtakes = true,
	.begin = begin,
	.turn = fake_turn,
	.alloc = alloc,
	.released = released,
	.landed = landed,
	.end = end,
};
