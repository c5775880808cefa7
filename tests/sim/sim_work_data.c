/* SPDX-License-Identifier: Apache-2.0 */
/* sim_work_data.c -- operations on open files: draw one, send it, write down what came of it */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "client_fs/placement.h"
#include "tests/sim/sim_client.h"

#define WORD 8u
#define FILE_BYTES (192u << 10) /* where most of the work is */

static const struct pw_cred cred = { 1000, 1000 };
static const struct pwc_layout layout = { 1, PWC_CHUNK_BYTES };

static void drop_handle(struct sim_worker *k)
{
	if (!k->hd)
		return;
	k->hd->users--;
	if (k->hd->maybe_gone)
		sim_handle_close(k->c, k->hd);
}

/* true: the result is one that this operation may not have. */
static bool is_wrong(struct sim_worker *k, int err, const char *what)
{
	bool gone = k->hd && k->hd->maybe_gone && err == -ESTALE;

	if (!err || gone || sim_work_excused(k, err))
		return false;
	sim_fail("%s: %s of inode %llu ended with %d", k->c->proc->name, what,
		 (unsigned long long)k->ino, err);
	return true;
}

static void on_written(struct sim_worker *k, int err, const struct pw_cmd *rsp, uint32_t out_len)
{
	struct sim_write *w = k->w;
	bool refused = err == -ESTALE || (err == -ENOSPC && sim.sw.nospc);

	(void)out_len;
	k->w = NULL;
	if (!refused || err == -ESTALE)
		is_wrong(k, err, "WRITE or truncation");
	drop_handle(k);
	if (err) {
		sim_data_end(w, err, !refused, 0, 0);
		return;
	}
	pwc_opens_own_change(&k->c->opens, k->ino, rsp->attr.attr.change);
	sim_data_end(w, 0, false, rsp->attr.off, rsp->attr.attr.change);
	if (k->call.send.cmd.op == PW_OP_WRITE && k->call.send.cmd.io.flags & PW_IO_SYNC) {
		sim_data_synced(k->inv);
		sim_names_synced(k->inv);
	}
}

static void draw_range(uint64_t *ret_off, uint32_t *ret_len)
{
	uint64_t off = sim_below(SIM_RND_WORK, FILE_BYTES / WORD) * WORD;
	uint64_t len = 1 + sim_below(SIM_RND_WORK, 64);

	switch (sim.sw.nospc ? 0 : sim_below(SIM_RND_WORK, 6)) {
	case 0:
		len = 1 + sim_below(SIM_RND_WORK, SIM_MAX_IO / WORD);
		break;
	case 1:
	case 2:
		off = PW_ROUND_DOWN(off, 4096u);
		len = 4096 / WORD * (1 + sim_below(SIM_RND_WORK, 6));
		break;
	case 3:
		len = 1 + sim_below(SIM_RND_WORK, 2048);
		break;
	default:
		break;
	}
	if (sim_chance(SIM_RND_WORK, 30)) /* across two chunks */
		off = PWC_CHUNK_BYTES - sim_below(SIM_RND_WORK, 2048) * WORD;
	*ret_off = off;
	*ret_len = (uint32_t)PW_MIN(len * WORD, (uint64_t)SIM_MAX_IO);
}

static void write_some(struct sim_worker *k, bool append)
{
	struct pw_cmd *cmd = &k->call.send.cmd;
	struct pwc_leg leg[PWC_LEGS_MAX];

	cmd->op = PW_OP_WRITE;
	draw_range(&k->off, &k->len);
	if (pwc_placement_map(&layout, k->ino, k->off, k->len, leg) != 1 || leg[0].len != k->len)
		sim_fail("placement cuts what one node has");
	k->w = sim_data_begin(k->ino, append ? SIM_APPEND : k->off, k->len);
	sim_data_fill(k->w, k->in);
	cmd->payload_len = k->len;
	cmd->io = (struct pw_body_io){ .ino = k->ino, .off = k->off, .len = k->len, .cred = cred };
	if (append)
		cmd->io.flags |= PW_IO_APPEND;
	if (sim_chance(SIM_RND_WORK, 100))
		cmd->io.flags |= PW_IO_SYNC;
	k->call.payload = k->in;
	sim_work_call(k, on_written);
}

static void cut_some(struct sim_worker *k)
{
	struct pw_cmd *cmd = &k->call.send.cmd;
	uint32_t len;

	cmd->op = PW_OP_SETATTR;
	draw_range(&k->off, &len);
	k->w = sim_data_begin(k->ino, k->off, 0);
	cmd->setattr = (struct pw_body_setattr){
		.ino = k->ino, .cred = cred, .valid = PW_SET_SIZE, .size = k->off
	};
	sim_work_call(k, on_written);
}

static void on_read(struct sim_worker *k, int err, const struct pw_cmd *rsp, uint32_t out_len)
{
	(void)rsp;
	if (!err)
		sim_data_read(k->ino, k->off, k->len, k->out, out_len, k->inv);
	else
		is_wrong(k, err, "READ");
	drop_handle(k);
}

void sim_work_read(struct sim_worker *k, uint64_t ino, uint64_t off, uint32_t len)
{
	struct sim_handle *hd = k->hd;
	struct pw_cmd *cmd = sim_work_cmd(k, PW_OP_READ);

	k->hd = hd;
	k->ino = ino;
	k->off = off;
	k->len = len;
	cmd->io = (struct pw_body_io){ .ino = ino, .off = off, .len = len, .cred = cred };
	k->call.out = k->out;
	k->call.out_max = len;
	memset(k->out, 0x5a, len);
	sim_work_call(k, on_read);
}

static void on_synced(struct sim_worker *k, int err, const struct pw_cmd *rsp, uint32_t out_len)
{
	(void)rsp;
	(void)out_len;
	is_wrong(k, err, "FSYNC");
	drop_handle(k);
	if (err)
		return;
	sim_data_synced(k->inv);
	sim_names_synced(k->inv);
}

void sim_work_data(struct sim_worker *k)
{
	struct sim_handle *hd = &k->c->handle[sim_below(SIM_RND_WORK, SIM_HANDLES)];
	uint64_t draw = sim_below(SIM_RND_WORK, 100);

	if (!hd->ino)
		return;
	sim_work_cmd(k, PW_OP_WRITE);
	k->hd = hd;
	k->ino = hd->ino;
	hd->users++;
	if (draw < 40) {
		write_some(k, false);
	} else if (draw < 48) {
		write_some(k, true);
	} else if (draw < 56) {
		cut_some(k);
	} else if (draw < 62) {
		k->call.send.cmd.op = PW_OP_FSYNC;
		k->call.send.cmd.ino.ino = k->ino;
		k->call.send.cmd.ino.cred = cred;
		sim_work_call(k, on_synced);
	} else {
		draw_range(&k->off, &k->len);
		sim_work_read(k, k->ino, k->off, k->len);
	}
}
