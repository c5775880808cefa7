/* SPDX-License-Identifier: Apache-2.0 */
/* memory_trunc.c -- a truncation: units go, the last one is cut in place */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "storage_node/store/memory.h"

static void step_trunc(struct pws_mem_op *op)
{
	if (op->prepared)
		return;
	op->prepared = true;
	op->t->ready(op->t);
}

void pws_mem_trunc_start(struct pws_mem_op *op, struct pws_store_trunc *t)
{
	op->t = t;
	op->step = step_trunc;
	t->priv = op;
	t->err = 0;
	pws_mem_take_range(op, t->ino, t->reclaim ? UINT64_MAX : t->from / PWS_BLOCK, UINT64_MAX,
			   false);
}

/* First block of @u that lies whole behind the cut; unit_blocks: none. */
static uint32_t first_cut(const struct pws_mem *m, const struct pws_mem_unit *u, uint64_t from)
{
	uint64_t start = u->nr * m->o.max_io;

	if (from <= start)
		return 0;
	return (uint32_t)PW_MIN((from - start + PWS_BLOCK - 1) / PWS_BLOCK,
				(uint64_t)m->units.unit_blocks);
}

int pws_mem_trunc_rows(struct pws_store *s, struct pws_store_trunc *t, struct pws_txn *txn,
		       const struct pws_inode *inode, int64_t *blocks_delta, bool *ret_more)
{
	struct pws_mem *m = pws_mem_of(s);
	struct pw_list *units = pws_mem_units_of(&m->units, t->ino), *pos;

	*blocks_delta = 0;
	*ret_more = false;
	if (t->reclaim)
		return 0;
	if (!t->from) {
		/* also blocks that were counted before the node began anew */
		*blocks_delta = -(int64_t)inode->blocks;
		return 0;
	}
	for (pos = units ? units->next : NULL; pos && pos != units; pos = pos->next) {
		struct pws_mem_unit *u = pw_list_entry(pos, struct pws_mem_unit, sibling);

		*blocks_delta -= pws_mem_bits_count(u->written, first_cut(m, u, t->from),
						    m->units.unit_blocks);
	}
	return 0;
}

static void cut_unit(struct pws_mem *m, struct pws_mem_unit *u, uint64_t from)
{
	uint32_t cut = first_cut(m, u, from), in = (uint32_t)(from % PWS_BLOCK);
	struct pws_buf *b = u->buf;

	if (!cut) {
		pws_mem_unit_put(&m->units, u);
		pws_mem_buf_drop(m, b);
		return;
	}
	if (u->nr != from / m->o.max_io)
		return;
	if (in && pws_mem_bit(u->defined, cut - 1))
		memset(b->mem + (size_t)(cut - 1) * PWS_BLOCK + in, 0, PWS_BLOCK - in);
	pws_mem_bits_set(u->written, cut, m->units.unit_blocks, false);
	pws_mem_bits_set(u->defined, cut, m->units.unit_blocks, false);
}

void pws_mem_trunc_finish(struct pws_store *s, struct pws_store_trunc *t, enum pws_outcome outcome)
{
	struct pws_mem *m = pws_mem_of(s);
	struct pws_mem_op *op = t->priv;
	struct pw_list *units = pws_mem_units_of(&m->units, t->ino), *pos, *tmp;
	bool ok = outcome == PWS_DONE, last = false;

	if (!op)
		return;
	for (pos = units ? units->next : NULL; ok && !t->reclaim && pos && !last; pos = tmp) {
		tmp = pos->next;
		/* with its last unit the list's head goes too */
		last = tmp == units;
		cut_unit(m, pw_list_entry(pos, struct pws_mem_unit, sibling), t->from);
	}
	t->priv = NULL;
	pws_mem_op_put(op);
}
