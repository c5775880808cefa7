/* SPDX-License-Identifier: Apache-2.0 */
/* mem.c -- see mem.h */
#include "common/mem.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>

#include "common/err.h"

/* Pages that are made in one step: some 5 ms. */
#define TOUCH_BYTES (32 * PW_MIB)

static struct pw_mem_area areas[PW_MEM_MAX_AREAS];
static struct pw_list users = PW_LIST_INIT(users); /* pw_mem_user.node */

/* Return: true, that was work enough for one step. What cannot be touched is for whoever registers
 * it to complain of. */
static bool touch(struct pw_mem_area *a)
{
	size_t len = PW_MIN(a->len - a->touched, TOUCH_BYTES);

	if (a->dmabuf || !len)
		return false;
	if (madvise(a->base + a->touched, len, MADV_POPULATE_WRITE))
		len = a->len - a->touched;
	a->touched += len;
	return len >= TOUCH_BYTES;
}

static bool step(uint32_t idx)
{
	struct pw_list *pos;
	bool more = false;

	if (areas[idx].steps && !pw_list_empty(&users) && touch(&areas[idx]))
		return true;
	pw_list_for_each(pos, &users) {
		struct pw_mem_user *u = pw_list_entry(pos, struct pw_mem_user, node);

		more |= u->announced(u, idx);
	}
	return more;
}

bool pw_mem_step(void *base)
{
	for (uint32_t i = 0; i < PW_MEM_MAX_AREAS; i++)
		if (base && areas[i].base == base)
			return step(i);
	return false;
}

static int announce(const struct pw_mem_area *a)
{
	for (uint32_t i = 0; i < PW_MEM_MAX_AREAS; i++) {
		if (areas[i].base)
			continue;
		areas[i] = *a;
		while (step(i) && !a->steps)
			;
		return 0;
	}
	return -ENOSPC;
}

int pw_mem_announce(void *base, size_t len)
{
	return announce(&(struct pw_mem_area){ .base = base, .len = len });
}

int pw_mem_announce_begin(void *base, size_t len)
{
	return announce(&(struct pw_mem_area){ .base = base, .len = len, .steps = true });
}

int pw_mem_announce_optional(void *base, size_t len)
{
	const struct pw_mem_area a = { .base = base, .len = len, .steps = true, .optional = true };

	return announce(&a);
}

int pw_mem_announce_dmabuf(void *base, size_t len, int fd)
{
	const struct pw_mem_area a = {
		.base = base,
		.len = len,
		.steps = true,
		.optional = true,
		.dmabuf = true,
		.fd = fd,
	};

	return announce(&a);
}

void pw_mem_note(uint32_t idx, const char *who, int err)
{
	areas[idx].why[0] = '\0';
	if (err)
		snprintf(areas[idx].why, sizeof(areas[idx].why), "%s: %s", who, pw_err_text(err));
}

void pw_mem_withdraw(void *base)
{
	struct pw_list *pos, *tmp;

	for (uint32_t i = 0; base && i < PW_MEM_MAX_AREAS; i++) {
		if (areas[i].base != base)
			continue;
		pw_list_for_each_safe(pos, tmp, &users) {
			struct pw_mem_user *u = pw_list_entry(pos, struct pw_mem_user, node);

			u->withdrawn(u, i);
		}
		areas[i] = (struct pw_mem_area){ .base = NULL };
		return;
	}
}

void pw_mem_user_add(struct pw_mem_user *u, bool (*announced)(struct pw_mem_user *, uint32_t),
		     void (*withdrawn)(struct pw_mem_user *, uint32_t))
{
	u->announced = announced;
	u->withdrawn = withdrawn;
	pw_list_add_tail(&users, &u->node);
}

void pw_mem_user_del(struct pw_mem_user *u)
{
	pw_list_del(&u->node);
}

const struct pw_mem_area *pw_mem_area(uint32_t idx)
{
	return &areas[idx];
}

const struct pw_mem_area *pw_mem_find(const void *p, size_t len, uint32_t *ret_idx)
{
	uintptr_t at = (uintptr_t)p;

	for (uint32_t i = 0; i < PW_MEM_MAX_AREAS; i++) {
		uintptr_t base = (uintptr_t)areas[i].base;

		if (!base || at < base || at - base > areas[i].len ||
		    len > areas[i].len - (at - base))
			continue;
		*ret_idx = i;
		return &areas[i];
	}
	return NULL;
}
