/* SPDX-License-Identifier: Apache-2.0 */
/* sim_final.c -- the last look: every client reads its open files, the first one walks the whole
 * tree */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/sim/sim_client.h"

#define MAX_INODES 256u
/* Of a file that is this long the parts with data are read. */
#define READ_MAX (256u << 10)

static struct {
	bool on;
	uint64_t ino[MAX_INODES]; /* of the tree; root first */
	bool dir[MAX_INODES];
	uint32_t nr, at;
	uint64_t size, off; /* of the file that is being read */
	bool reading;
	uint32_t handle[SIM_CLIENTS]; /* next to look at */
	uint64_t handle_off[SIM_CLIENTS];
} fin;

static void add_inode(uint64_t ino, bool dir)
{
	for (uint32_t i = 0; i < fin.nr; i++)
		if (fin.ino[i] == ino)
			return;
	if (fin.nr == MAX_INODES)
		return;
	fin.ino[fin.nr] = ino;
	fin.dir[fin.nr++] = dir;
}

static void on_attr(struct sim_worker *k, int err, const struct pw_cmd *rsp, uint32_t out_len)
{
	const struct pw_attr *a = &rsp->attr.attr;
	int changes;

	(void)out_len;
	k->ns->resp = ++sim.tick;
	k->ns->step = sim.steps;
	k->ns->err = err;
	if (err) {
		sim_fail("final: GETATTR of inode %llu ended with %d",
			 (unsigned long long)k->ns->ino, err);
		return;
	}
	k->ns->r_ino = a->ino;
	k->ns->r_nlink = a->nlink;
	k->ns->r_change = a->change;
	k->ns->r_dir = S_ISDIR(a->mode);
	changes = sim_data_final(a->ino, a->size);
	k->ns->has_data = changes >= 0;
	k->ns->data_changes = (uint32_t)changes;
	fin.size = a->size;
	fin.off = 0;
	fin.reading = true;
}

static void send_getattr(struct sim_worker *k, uint64_t ino)
{
	struct pw_cmd *cmd = sim_work_cmd(k, PW_OP_GETATTR);

	k->ns = sim_names_begin();
	k->ns->op = PW_OP_GETATTR;
	k->ns->client = k->c->nr;
	k->ns->ino = cmd->ino.ino = ino;
	sim_work_call(k, on_attr);
}

/* What the listing that has just ended told. */
static void on_listed(struct sim_worker *k)
{
	const struct pw_dirent *d;
	const char *name;
	size_t pos = 0;

	while (pw_dirent_next(k->out, SIM_MAX_IO, &pos, &d, &name) == 1 && d->attr.ino)
		add_inode(d->attr.ino, S_ISDIR(d->attr.mode));
}

static bool tree_step(struct sim_worker *k)
{
	static bool listed;

	if (listed) {
		listed = false;
		on_listed(k);
		fin.at++;
	}
	if (fin.reading && fin.off < PW_MIN(fin.size, (uint64_t)READ_MAX)) {
		k->hd = NULL;
		sim_work_read(k, fin.ino[fin.at], fin.off, SIM_MAX_IO);
		fin.off += SIM_MAX_IO;
		return true;
	}
	if (fin.reading && fin.size > READ_MAX && fin.off != UINT64_MAX) {
		/* its end, which lies around a chunk's */
		k->hd = NULL;
		sim_work_read(k, fin.ino[fin.at], PW_ROUND_DOWN(fin.size - 1, (uint64_t)SIM_MAX_IO),
			      SIM_MAX_IO);
		fin.off = UINT64_MAX;
		return true;
	}
	if (fin.reading) {
		fin.reading = false;
		fin.at++;
	}
	if (fin.at == fin.nr)
		return false;
	if (fin.dir[fin.at]) {
		listed = true;
		memset(k->out, 0, sizeof(k->out));
		sim_work_readdir(k, fin.ino[fin.at]);
	} else {
		send_getattr(k, fin.ino[fin.at]);
	}
	return true;
}

/* Files that are open are there, with a name or without. */
static bool handle_step(struct sim_worker *k)
{
	uint32_t *at = &fin.handle[k->c->nr];
	uint64_t *off = &fin.handle_off[k->c->nr];

	for (; *at < SIM_HANDLES; ++*at, *off = 0) {
		struct sim_handle *hd = &k->c->handle[*at];

		if (!hd->ino || *off >= READ_MAX)
			continue;
		hd->users++;
		k->hd = hd;
		sim_work_read(k, hd->ino, *off, SIM_MAX_IO);
		*off += SIM_MAX_IO;
		return true;
	}
	return false;
}

bool sim_final_step(struct sim_worker *k)
{
	if (!fin.on || k != &k->c->worker[0])
		return false;
	return handle_step(k) || (k->c->nr == 0 && tree_step(k));
}

void sim_final_start(void)
{
	memset(&fin, 0, sizeof(fin));
	fin.on = true;
	add_inode(1, true);
}

bool sim_final_done(void)
{
	if (!fin.on || fin.at < fin.nr || !sim_clients_idle())
		return false;
	for (uint32_t i = 0; i < SIM_CLIENTS; i++)
		if (fin.handle[i] < SIM_HANDLES)
			return false;
	for (uint32_t i = 0; i < SIM_CLIENTS; i++) {
		struct sim_client *c = &sim_clients[i];
		struct sim_proc *old = sim_enter(c->proc);

		for (uint32_t j = 0; j < SIM_HANDLES; j++) {
			if (c->handle[j].ino)
				pwc_opens_put(&c->opens, c->handle[j].ino);
			c->handle[j].ino = 0;
		}
		sim_leave(old);
	}
	fin.on = false;
	return true;
}
