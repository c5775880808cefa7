/* SPDX-License-Identifier: Apache-2.0 */
/* buf.c -- buffers cut out of one arena; a free one is on the list, its memory is touched by its
 * users only
 *
 * The list is a stack: the buffer that was used last, whose memory is still in the cache, goes out
 * first.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "common/arena.h"
#include "storage_node/buf.h"

#define BUF_ALIGN 4096u

struct pws_bufpool {
	struct pw_arena arena;
	uint32_t nr, nr_free;
	struct pw_list free;
	struct pws_buf bufs[];
};

int pws_bufpool_new(uint32_t nr, uint32_t size, struct pws_bufpool **ret)
{
	struct pws_bufpool *p;
	uint64_t stride = PW_ROUND_UP((uint64_t)size, BUF_ALIGN);
	int err;

	if (!nr || !size || stride > UINT32_MAX)
		return -EINVAL;
	p = calloc(1, sizeof(*p) + nr * sizeof(p->bufs[0]));
	if (!p)
		return -ENOMEM;
	err = pw_arena_init(&p->arena, nr * stride, PW_ARENA_HUGE, "buffers", NULL);
	if (err) {
		free(p);
		return err;
	}
	p->nr = nr;
	pw_list_init(&p->free);
	for (uint32_t i = 0; i < nr; i++) {
		struct pws_buf *b = &p->bufs[i];

		b->mem = p->arena.base + i * stride;
		b->size = (uint32_t)stride;
		b->idx = i;
		pw_list_add_tail(&p->free, &b->node);
	}
	p->nr_free = nr;
	*ret = p;
	return 0;
}

void pws_bufpool_free(struct pws_bufpool *p)
{
	if (!p)
		return;
	pw_arena_fini(&p->arena);
	free(p);
}

struct pws_buf *pws_buf_get(struct pws_bufpool *p)
{
	struct pw_list *n = pw_list_pop(&p->free);

	if (!n)
		return NULL;
	p->nr_free--;
	return pw_list_entry(n, struct pws_buf, node);
}

void pws_buf_put(struct pws_bufpool *p, struct pws_buf *b)
{
	if (!b)
		return;
	assert(b->refs == 0 && pw_list_empty(&b->node));
	assert(b->idx < p->nr && b == &p->bufs[b->idx]);
	p->nr_free++;
	pw_list_add_head(&p->free, &b->node);
}

uint32_t pws_bufpool_nr_free(const struct pws_bufpool *p)
{
	return p->nr_free;
}

void pws_bufpool_area(const struct pws_bufpool *p, void **ret_base, size_t *ret_len)
{
	*ret_base = p->arena.base;
	*ret_len = p->arena.size;
}
