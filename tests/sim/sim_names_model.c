/* SPDX-License-Identifier: Apache-2.0 */
/* sim_names_model.c -- what each operation on names does, and which results it may have */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/sim/sim_names.h"

#define NONE (-1)
#define FILE_TYPE 1u
#define DIR_TYPE 2u

void sim_ns_start(struct sim_ns_state *s)
{
	memset(s, 0, sizeof(*s));
	s->i[0] = (struct sim_ns_inode){ .ino = 1, .changes = 1, .type = DIR_TYPE, .nlink = 2 };
}

static int find(const struct sim_ns_state *s, uint64_t ino)
{
	for (int i = 0; i < (int)SIM_NS_INODES; i++)
		if (s->i[i].type && s->i[i].ino == ino)
			return i;
	return NONE;
}

static bool is_known(const struct sim_ns_op *op)
{
	return op->resp && !op->unknown;
}

/* The model says that this happens; does the result agree? ENOENT and ESTALE of things that are
 * gone depend on whether they are collected already. */
static bool agrees(const struct sim_ns_op *op, int err)
{
	if (!is_known(op))
		return true;
	if (op->err == err)
		return true;
	return err == -ESTALE && op->err == -ENOENT;
}

/* The number that a result tells for inode @i; a number is of one inode only. */
static bool bind(struct sim_ns_state *s, int i, uint64_t ino)
{
	if (s->i[i].ino)
		return s->i[i].ino == ino;
	if (find(s, ino) != NONE)
		return false;
	s->i[i].ino = ino;
	return true;
}

static bool attr_agrees(struct sim_ns_state *s, int i, const struct sim_ns_op *op)
{
	const struct sim_ns_inode *n = &s->i[i];

	if (!is_known(op))
		return true;
	if (!bind(s, i, op->r_ino) || op->r_nlink != n->nlink || op->r_dir != (n->type == DIR_TYPE))
		return false;
	if (op->has_data)
		return op->r_change == n->changes + (uint64_t)op->data_changes;
	return n->type != DIR_TYPE || op->r_change == n->changes;
}

static bool is_empty(const struct sim_ns_state *s, int dir)
{
	for (uint32_t n = 0; n < SIM_NAMES; n++)
		if (s->ent[dir][n])
			return false;
	return true;
}

/* 0, or the error of a parent that is none. */
static int parent_of(const struct sim_ns_state *s, uint64_t ino, int *ret)
{
	*ret = find(s, ino);
	if (*ret == NONE)
		return -ESTALE;
	return s->i[*ret].type == DIR_TYPE ? 0 : -ENOTDIR;
}

static void drop_name(struct sim_ns_state *s, int dir, uint8_t name)
{
	struct sim_ns_inode *n = &s->i[s->ent[dir][name] - 1];

	s->ent[dir][name] = 0;
	n->changes++;
	if (n->type == DIR_TYPE) {
		s->i[dir].nlink--;
		memset(n, 0, sizeof(*n));
	} else if (!--n->nlink) {
		memset(n, 0, sizeof(*n));
	}
}

/* The same operation takes the same place whatever happened before, as far as possible: fewer
 * states. */
static int place_of(const struct sim_ns_state *s, const struct sim_ns_op *op)
{
	for (uint32_t n = 0; n < SIM_NS_INODES; n++) {
		int i = (int)((op->inv + n) % SIM_NS_INODES);

		if (i && !s->i[i].type)
			return i;
	}
	sim_fail("names: the model is full");
	return 0;
}

static bool make(struct sim_ns_state *s, const struct sim_ns_op *op)
{
	bool dir = op->op == PW_OP_MKNODE && op->is_dir;
	int p, i, err = parent_of(s, op->parent, &p);

	if (!err && s->ent[p][op->name])
		err = op->op == PW_OP_CREATE && !(op->flags & PW_CREATE_EXCL) ? -ESTALE : -EEXIST;
	if (is_known(op) && op->err == -ENOSPC && !err)
		return sim.sw.nospc;
	if (err || (is_known(op) && op->err))
		return agrees(op, err);
	i = place_of(s, op);
	if (!i)
		return false;
	s->i[i] = (struct sim_ns_inode){ .type = dir ? DIR_TYPE : FILE_TYPE, .changes = 1,
					 .nlink = dir ? 2 : 1, .parent = (uint8_t)p };
	s->ent[p][op->name] = (uint8_t)(i + 1);
	s->i[p].changes++;
	s->i[p].nlink += dir;
	return attr_agrees(s, i, op);
}

static bool lookup(struct sim_ns_state *s, const struct sim_ns_op *op)
{
	int p, err = parent_of(s, op->parent, &p);

	if (!err && !s->ent[p][op->name])
		err = -ENOENT;
	if (err || op->err)
		return agrees(op, err);
	return attr_agrees(s, s->ent[p][op->name] - 1, op);
}

static bool getattr(struct sim_ns_state *s, const struct sim_ns_op *op)
{
	int i = find(s, op->ino);

	if (i == NONE)
		return op->err == -ESTALE || (!op->err && !op->r_nlink);
	return !op->err && attr_agrees(s, i, op);
}

static bool drop(struct sim_ns_state *s, const struct sim_ns_op *op)
{
	bool want_dir = op->op == PW_OP_RMDIR;
	int p, i, err = parent_of(s, op->parent, &p);

	if (!err && !s->ent[p][op->name])
		err = -ENOENT;
	i = err ? 0 : s->ent[p][op->name] - 1;
	if (!err && want_dir != (s->i[i].type == DIR_TYPE))
		err = want_dir ? -ENOTDIR : -EISDIR;
	if (!err && want_dir && !is_empty(s, i))
		err = -ENOTEMPTY;
	if (err || (is_known(op) && op->err))
		return agrees(op, err);
	drop_name(s, p, op->name);
	s->i[p].changes++;
	return true;
}

static bool link_name(struct sim_ns_state *s, const struct sim_ns_op *op)
{
	int p, i = find(s, op->ino), err = i == NONE ? -ESTALE : 0;

	if (!err && s->i[i].type == DIR_TYPE)
		err = -EPERM;
	if (!err)
		err = parent_of(s, op->parent, &p);
	if (!err && s->ent[p][op->name])
		err = -EEXIST;
	if (is_known(op) && op->err == -ENOSPC && !err)
		return sim.sw.nospc;
	if (err || (is_known(op) && op->err))
		return agrees(op, err);
	s->ent[p][op->name] = (uint8_t)(i + 1);
	s->i[i].nlink++;
	s->i[i].changes++;
	s->i[p].changes++;
	return attr_agrees(s, i, op);
}

static bool is_above(const struct sim_ns_state *s, int dir, int below)
{
	for (; below; below = s->i[below].parent)
		if (below == dir)
			return true;
	return dir == 0;
}

static int rename_err(const struct sim_ns_state *s, const struct sim_ns_op *op, int p1, int p2)
{
	bool swap = op->flags & PW_RENAME_EXCHANGE;
	int from = s->ent[p1][op->name] - 1, to = s->ent[p2][op->name2] - 1;
	bool from_dir, to_dir;

	if (from == NONE || (to == NONE && swap))
		return -ENOENT;
	if (to != NONE && op->flags & PW_RENAME_NOREPLACE)
		return -EEXIST;
	from_dir = s->i[from].type == DIR_TYPE;
	to_dir = to != NONE && s->i[to].type == DIR_TYPE;
	if (p1 != p2 && from_dir && is_above(s, from, p2))
		return -EINVAL;
	if (p1 != p2 && swap && to_dir && is_above(s, to, p1))
		return -EINVAL;
	if (to == NONE || to == from || swap)
		return 0;
	if (to_dir)
		return !from_dir ? -EISDIR : is_empty(s, to) ? 0 : -ENOTEMPTY;
	return from_dir ? -ENOTDIR : 0;
}

static void move(struct sim_ns_state *s, int i, int from, int to)
{
	if (s->i[i].type == DIR_TYPE) {
		s->i[from].nlink--;
		s->i[to].nlink++;
		s->i[i].parent = (uint8_t)to;
	}
	s->i[i].changes++;
}

static bool rename_name(struct sim_ns_state *s, const struct sim_ns_op *op)
{
	int p1, p2, from, to, err = parent_of(s, op->parent, &p1);

	if (!err)
		err = parent_of(s, op->parent2, &p2);
	if (!err)
		err = rename_err(s, op, p1, p2);
	if (err || (is_known(op) && op->err))
		return agrees(op, err);
	from = s->ent[p1][op->name] - 1;
	to = s->ent[p2][op->name2] - 1;
	if (from == to)
		return true;
	if (op->flags & PW_RENAME_EXCHANGE) {
		s->ent[p1][op->name] = (uint8_t)(to + 1);
		move(s, to, p2, p1);
	} else {
		if (to != NONE)
			drop_name(s, p2, op->name2);
		s->ent[p1][op->name] = 0;
	}
	s->ent[p2][op->name2] = (uint8_t)(from + 1);
	move(s, from, p1, p2);
	s->i[p1].changes++;
	if (p2 != p1)
		s->i[p2].changes++;
	return true;
}

static bool readdir(struct sim_ns_state *s, const struct sim_ns_op *op)
{
	int p, err = parent_of(s, op->ino, &p);

	/* one that was removed reads as empty as long as it is not collected */
	if (err == -ESTALE && !op->err) {
		for (uint32_t n = 0; n < SIM_NAMES; n++)
			if (op->r_ents[n])
				return false;
		return op->r_nlink == 0;
	}
	if (err || op->err)
		return agrees(op, err);
	for (uint32_t n = 0; n < SIM_NAMES; n++) {
		if (!s->ent[p][n] != !op->r_ents[n])
			return false;
		if (op->r_ents[n] && !bind(s, s->ent[p][n] - 1, op->r_ents[n]))
			return false;
	}
	return attr_agrees(s, p, op);
}

bool sim_ns_apply(struct sim_ns_state *s, const struct sim_ns_op *op)
{
	switch (op->op) {
	case PW_OP_MKNODE:
	case PW_OP_CREATE:
		return make(s, op);
	case PW_OP_LOOKUP:
		return lookup(s, op);
	case PW_OP_GETATTR:
		return getattr(s, op);
	case PW_OP_UNLINK:
	case PW_OP_RMDIR:
		return drop(s, op);
	case PW_OP_LINK:
		return link_name(s, op);
	case PW_OP_RENAME:
		return rename_name(s, op);
	case PW_OP_READDIR:
		return readdir(s, op);
	default:
		return false;
	}
}

void sim_ns_explain(const struct sim_ns_op *op, const struct sim_ns_state *s)
{
	int p = find(s, op->op == PW_OP_READDIR ? op->ino : op->parent);
	char ents[160] = "";
	size_t n = 0;

	for (uint32_t i = 0; p != NONE && i < SIM_NAMES; i++)
		if (s->ent[p][i] && n < sizeof(ents))
			n += (size_t)snprintf(ents + n, sizeof(ents) - n, " n%u=%llu", i,
					      (unsigned long long)s->i[s->ent[p][i] - 1].ino);
	sim_fail(
		"names: %s dir %llu n%u, dir %llu n%u, inode %llu, flags %u of client%u, "
		"step %llu: "
		"result %d (inode %llu nlink %u change %llu) fits no order; one state had%s "
		"(nlink %u change %u)",
		pw_op_name(op->op), (unsigned long long)op->parent, op->name,
		(unsigned long long)op->parent2, op->name2, (unsigned long long)op->ino, op->flags,
		op->client, (unsigned long long)op->step, op->err, (unsigned long long)op->r_ino,
		op->r_nlink, (unsigned long long)op->r_change, p == NONE ? " no such dir" : ents,
		p == NONE ? 0 : s->i[p].nlink, p == NONE ? 0 : s->i[p].changes);
}
