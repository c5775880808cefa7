/* SPDX-License-Identifier: Apache-2.0 */
/* sim_work_names.c -- operations on names: draw one, send it, write down what came of it */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/sim/sim_client.h"

static const struct pw_cred cred = { 1000, 1000 };

/* Began before a power cut: what it tells may be gone. See sim_clients_lost(). */
static bool is_recent(const struct sim_worker *k)
{
	return k->begin_ns > k->c->lost_ns;
}

static void take_attr(struct sim_worker *k, const struct pw_attr *a)
{
	struct sim_ns_op *op = k->ns;

	op->r_ino = a->ino;
	op->r_nlink = a->nlink;
	op->r_change = a->change;
	op->r_dir = S_ISDIR(a->mode);
	if (a->nlink && is_recent(k))
		sim_known_add(a->ino, op->r_dir);
}

static void take_entries(struct sim_worker *k, uint32_t len, const struct pw_cmd *rsp)
{
	const struct pw_dirent *d;
	const char *name;
	size_t pos = 0;
	int more;

	take_attr(k, &rsp->readdir_rsp.dir);
	while ((more = pw_dirent_next(k->out, len, &pos, &d, &name)) == 1) {
		uint32_t i = (uint32_t)(name[1] - '0');

		if (d->name_len < 2 || i >= SIM_NAMES || k->ns->r_ents[i]) {
			sim_fail("names: inode %llu lists a name twice, or one that was never made",
				 (unsigned long long)k->ns->ino);
			return;
		}
		k->ns->r_ents[i] = d->attr.ino;
		if (is_recent(k))
			sim_known_add(d->attr.ino, S_ISDIR(d->attr.mode));
	}
	if (more || !rsp->readdir_rsp.eof)
		sim_fail("names: a malformed or unfinished listing");
}

/* Which errors an operation on names may have at all; whether they fit is the model's. */
static bool is_usual(int err)
{
	switch (err) {
	case -ENOENT:
	case -ESTALE:
	case -EEXIST:
	case -ENOTDIR:
	case -EISDIR:
	case -ENOTEMPTY:
	case -EINVAL:
	case -EPERM:
		return true;
	default:
		return err == -ENOSPC && sim.sw.nospc;
	}
}

static void keep_open(struct sim_worker *k, const struct pw_attr *a)
{
	pwc_opens_add(&k->c->opens, a->ino, a->change);
	k->reserved = false;
	if (!is_recent(k) || !sim_handle_new(k->c, a->ino))
		pwc_opens_put(&k->c->opens, a->ino);
}

static void named(struct sim_worker *k, int err, const struct pw_cmd *rsp, uint32_t out_len)
{
	struct sim_ns_op *op = k->ns;

	op->resp = ++sim.tick;
	op->step = sim.steps;
	op->err = err;
	sim_trace("%s: %s [%llu,%llu] dir %llu n%u, dir %llu n%u, inode %llu", k->c->proc->name,
		  pw_op_name(op->op), (unsigned long long)op->inv, (unsigned long long)op->resp,
		  (unsigned long long)op->parent, op->name, (unsigned long long)op->parent2,
		  op->name2, (unsigned long long)(err ? op->ino : op->r_ino));
	if (err && !is_usual(err)) {
		op->unknown = true;
		if (!sim_work_excused(k, err))
			sim_fail("%s: %s ended with %d", k->c->proc->name, pw_op_name(op->op), err);
	}
	if (!err && op->op == PW_OP_READDIR)
		take_entries(k, out_len, rsp);
	else if (!err && op->op != PW_OP_UNLINK && op->op != PW_OP_RMDIR && op->op != PW_OP_RENAME)
		take_attr(k, &rsp->attr.attr); /* those three tell of what is gone */
	if (!err && (op->op == PW_OP_CREATE || (op->op == PW_OP_MKNODE && !op->is_dir)))
		sim_data_created(op->r_ino);
	if (!err && op->op == PW_OP_CREATE)
		keep_open(k, &rsp->attr.attr);
	if (k->reserved)
		pwc_opens_unreserve(&k->c->opens);
	k->ns = NULL;
}

static struct pw_cmd *begin(struct sim_worker *k, enum pw_op op)
{
	struct pw_cmd *cmd = sim_work_cmd(k, op);

	k->ns = sim_names_begin();
	k->ns->op = op;
	k->ns->client = k->c->nr;
	k->call.payload = k->in;
	return cmd;
}

static uint8_t draw_name(void)
{
	return (uint8_t)sim_below(SIM_RND_WORK, SIM_NAMES);
}

static void one_name(struct sim_worker *k, enum pw_op op)
{
	struct pw_cmd *cmd = begin(k, op);

	k->ns->parent = cmd->name.parent = sim_known_pick(true);
	k->ns->name = draw_name();
	cmd->name.cred = cred;
	cmd->payload_len = sim_work_name(k->in, k->ns->name);
	sim_work_call(k, named);
}

static void make_one(struct sim_worker *k, enum pw_op op, bool dir)
{
	struct pw_cmd *cmd = begin(k, op);

	k->ns->parent = cmd->mknode.parent = dir ? 1 : sim_known_pick(true);
	k->ns->name = draw_name();
	k->ns->is_dir = dir;
	cmd->mknode.cred = cred;
	cmd->mknode.mode = dir ? S_IFDIR | 0755 : S_IFREG | 0644;
	if (op == PW_OP_CREATE && sim_chance(SIM_RND_WORK, 300))
		cmd->mknode.flags = PW_CREATE_EXCL;
	k->ns->flags = cmd->mknode.flags;
	cmd->mknode.name_len = cmd->payload_len = sim_work_name(k->in, k->ns->name);
	if (op == PW_OP_CREATE)
		k->reserved = !pwc_opens_reserve(&k->c->opens);
	sim_work_call(k, named);
}

static void rename_one(struct sim_worker *k)
{
	static const uint32_t flags[8] = { 0, 0, 0, 0, 0, PW_RENAME_NOREPLACE, PW_RENAME_EXCHANGE,
					   PW_RENAME_EXCHANGE };
	struct pw_cmd *cmd = begin(k, PW_OP_RENAME);

	k->ns->parent = cmd->rename.old_parent = sim_known_pick(true);
	k->ns->parent2 = cmd->rename.new_parent = sim_known_pick(true);
	k->ns->name = draw_name();
	k->ns->name2 = draw_name();
	k->ns->flags = cmd->rename.flags = flags[sim_below(SIM_RND_WORK, 8)];
	cmd->rename.cred = cred;
	cmd->rename.old_len = sim_work_name(k->in, k->ns->name);
	cmd->payload_len = cmd->rename.old_len;
	cmd->payload_len += sim_work_name(k->in + cmd->payload_len, k->ns->name2);
	sim_work_call(k, named);
}

static void link_one(struct sim_worker *k)
{
	uint64_t ino = sim_known_pick(false);
	struct pw_cmd *cmd;

	if (!ino)
		return;
	cmd = begin(k, PW_OP_LINK);
	k->ns->ino = cmd->link.ino = ino;
	k->ns->parent = cmd->link.new_parent = sim_known_pick(true);
	k->ns->name = draw_name();
	cmd->link.cred = cred;
	cmd->payload_len = sim_work_name(k->in, k->ns->name);
	sim_work_call(k, named);
}

void sim_work_readdir(struct sim_worker *k, uint64_t ino)
{
	struct pw_cmd *cmd = begin(k, PW_OP_READDIR);

	k->ns->ino = cmd->readdir.ino = ino;
	cmd->readdir.max_bytes = SIM_MAX_IO;
	k->call.out = k->out;
	k->call.out_max = SIM_MAX_IO;
	sim_work_call(k, named);
}

void sim_work_names(struct sim_worker *k)
{
	uint64_t draw = sim_below(SIM_RND_WORK, 100);

	if (draw < 26)
		make_one(k, PW_OP_CREATE, false);
	else if (draw < 30)
		make_one(k, PW_OP_MKNODE, false);
	else if (draw < 37)
		make_one(k, PW_OP_MKNODE, true);
	else if (draw < 55)
		one_name(k, PW_OP_UNLINK);
	else if (draw < 59)
		one_name(k, PW_OP_RMDIR);
	else if (draw < 71)
		one_name(k, PW_OP_LOOKUP);
	else if (draw < 84)
		rename_one(k);
	else if (draw < 92)
		link_one(k);
	else
		sim_work_readdir(k, sim_known_pick(true));
}

/* Opens -------------------------------------------------------------------------------------- */

static void opened(struct sim_worker *k, int err, const struct pw_cmd *rsp, uint32_t out_len)
{
	(void)out_len;
	if (!err)
		keep_open(k, &rsp->attr.attr);
	if (k->reserved)
		pwc_opens_unreserve(&k->c->opens);
	if (k->w)
		sim_data_end(k->w, err, err && err != -ESTALE, 0, 0);
	k->w = NULL;
	if (err && err != -ESTALE && !(err == -ENOSPC && sim.sw.nospc) && !sim_work_excused(k, err))
		sim_fail("%s: OPEN ended with %d", k->c->proc->name, err);
}

void sim_work_open(struct sim_worker *k)
{
	uint64_t ino = sim_known_pick(false);
	struct pw_cmd *cmd;

	if (!ino)
		return;
	cmd = sim_work_cmd(k, PW_OP_OPEN);
	cmd->ino.ino = ino;
	cmd->ino.cred = cred;
	cmd->ino.flags = PW_OPEN_WRITE;
	if (sim_chance(SIM_RND_WORK, 100)) {
		cmd->ino.flags |= PW_OPEN_TRUNC;
		k->w = sim_data_begin(ino, 0, 0);
	}
	k->reserved = !pwc_opens_reserve(&k->c->opens);
	sim_work_call(k, opened);
}

/* As close(2): answered at once, told to the node behind it. */
void sim_handle_close(struct sim_client *c, struct sim_handle *hd)
{
	if (!hd->ino || hd->users)
		return;
	pwc_opens_put(&c->opens, hd->ino);
	hd->ino = 0;
}

void sim_work_close(struct sim_worker *k)
{
	struct sim_handle *hd = &k->c->handle[sim_below(SIM_RND_WORK, SIM_HANDLES)];

	sim_handle_close(k->c, hd);
}
