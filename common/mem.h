/* SPDX-License-Identifier: Apache-2.0 */
/* mem.h -- the memory that payloads live in, announced once to whoever registers memory with
 * hardware
 *
 * Its owner announces an area when it has mapped it and withdraws it before it unmaps it. An RDMA
 * device registers the areas when it is first used, and those that are announced later then; it
 * gives a registration back when its area is withdrawn: no payload of it may be under way. Other
 * transports do not care. A payload that lies in no area still travels, registered for itself.
 * Thread: one, that of the loop with the connections.      Allocates: never.
 */
#ifndef PW_MEM_H
#define PW_MEM_H

#include "common/list.h"

#define PW_MEM_MAX_AREAS 64u

struct pw_mem_area {
	uint8_t *base; /* borrowed until it is withdrawn; NULL: this place is free */
	size_t len; /* bytes */
	bool steps; /* registered in steps, which pw_mem_step() goes */
	size_t touched; /* bytes of one that is registered in steps: their pages are there */
	/* Of somebody else: who cannot register it goes on without. Payloads there are copied. */
	bool optional;
	bool dmabuf; /* ... of a device perhaps: pages that this machine's memory does not have */
	int fd; /* of the dma-buf, borrowed until it is withdrawn */
	char why[96]; /* "rxe0: out of memory": did not register it; "": who tried last did */
};

/* Return: 0; -ENOSPC more than PW_MEM_MAX_AREAS. */
int pw_mem_announce(void *base, size_t len);
/* These only begin: pw_mem_step() does the rest. The first is ours, like that above. */
int pw_mem_announce_begin(void *base, size_t len);
int pw_mem_announce_optional(void *base, size_t len);
int pw_mem_announce_dmabuf(void *base, size_t len, int fd);
/**
 * pw_mem_step - go on with registering an area
 *
 * Much memory takes long to pin, and longer still where its pages have to be made first. One step
 * makes the pages of a slice, or registers a piece with each device, so that whoever serves others
 * in between does not keep them waiting. What has no registration yet is copied, or registered for
 * each payload.
 * Return: true, there is more to do.
 */
bool pw_mem_step(void *base);
/* What was never announced is ignored. */
void pw_mem_withdraw(void *base);

/* Who keeps registrations. */
struct pw_mem_user {
	struct pw_list node;
	/* Called again as long as it returns true: there is more to do. */
	bool (*announced)(struct pw_mem_user *u, uint32_t area_idx);
	void (*withdrawn)(struct pw_mem_user *u, uint32_t area_idx);
};
/* Is told of areas that come and go from now on; those that are there: pw_mem_area(). */
void pw_mem_user_add(struct pw_mem_user *u, bool (*announced)(struct pw_mem_user *, uint32_t),
		     void (*withdrawn)(struct pw_mem_user *, uint32_t));
void pw_mem_user_del(struct pw_mem_user *u);

/* For those who keep registrations: @who has none of it, or 0: has one (now). */
void pw_mem_note(uint32_t idx, const char *who, int err);

/* @idx < PW_MEM_MAX_AREAS; its base may be NULL. */
const struct pw_mem_area *pw_mem_area(uint32_t idx);
/* The area that holds all of [@p, @p + @len); NULL: none does. */
const struct pw_mem_area *pw_mem_find(const void *p, size_t len, uint32_t *ret_idx);

#endif
