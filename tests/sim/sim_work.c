/* SPDX-License-Identifier: Apache-2.0 */
/* sim_work.c -- workers: what they do next, how a call ends, which errors are allowed */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "common/err.h"
#include "tests/sim/sim_client.h"

#define KNOWN_MAX 64u
/* Without faults a call ends soon; with them, soon after they are over. */
#define STUCK_NS (60 * PW_NS_PER_S)

static struct {
	uint64_t ino[KNOWN_MAX];
	uint32_t nr, next;
} known[2];

void sim_known_add(uint64_t ino, bool dir)
{
	for (uint32_t i = 0; i < known[dir].nr; i++)
		if (known[dir].ino[i] == ino)
			return;
	/* the root stays */
	if (known[dir].nr < KNOWN_MAX / 4)
		known[dir].ino[known[dir].nr++] = ino;
	else
		known[dir].ino[1 + known[dir].next++ % (KNOWN_MAX / 4 - 1)] = ino;
}

uint64_t sim_known_pick(bool dir)
{
	uint32_t nr = known[dir].nr;

	if (dir && sim_chance(SIM_RND_WORK, 300))
		return 1;
	return nr ? known[dir].ino[sim_below(SIM_RND_WORK, nr)] : 0;
}

void sim_work_init(void)
{
	memset(known, 0, sizeof(known));
	sim_known_add(1, true);
}

uint32_t sim_work_name(uint8_t *to, uint8_t name)
{
	uint32_t len = name + 1 == SIM_NAMES ? PW_NAME_MAX : 2;

	memset(to, 'x', len);
	to[0] = 'n';
	to[1] = (uint8_t)('0' + name);
	return len;
}

bool sim_work_excused(const struct sim_worker *k, int err)
{
	if (err == -EIO)
		return sim.sw.flips || sim.sw.disk_err || sim.sw.timeout_ms ||
		       k->begin_ns <= k->c->lost_ns;
	if (err == -EBADMSG)
		return sim.sw.flips;
	return false;
}

struct sim_handle *sim_handle_new(struct sim_client *c, uint64_t ino)
{
	for (uint32_t i = 0; i < SIM_HANDLES; i++) {
		struct sim_handle *hd = &c->handle[i];

		if (hd->ino)
			continue;
		*hd = (struct sim_handle){ .ino = ino };
		return hd;
	}
	return NULL;
}

/* Calls -------------------------------------------------------------------------------------- */

struct pw_cmd *sim_work_cmd(struct sim_worker *k, enum pw_op op)
{
	memset(&k->call, 0, sizeof(k->call));
	pw_list_init(&k->call.node);
	pw_cmd_init(&k->call.send.cmd, PW_MSG_REQ, op);
	k->ns = NULL;
	k->w = NULL;
	k->hd = NULL;
	k->reserved = false;
	return &k->call.send.cmd;
}

static void on_done(struct pwc_call *call, int err, const struct pw_cmd *rsp, uint32_t out_len)
{
	struct sim_worker *k = pw_container_of(call, struct sim_worker, call);

	if (!k->busy) {
		sim_fail("%s: a call ended twice", k->c->proc->name);
		return;
	}
	sim.nr_ops++;
	if (err == -EBADMSG)
		err = -EIO;
	k->busy = false;
	sim_trace("%s.%u: %s -> %d", k->c->proc->name, (unsigned int)(k - k->c->worker),
		  pw_op_name(call->send.cmd.op), err);
	k->then(k, err, rsp, out_len);
	if (!k->busy)
		sim_client_think(k);
}

void sim_work_call(struct sim_worker *k,
		   void (*then)(struct sim_worker *k, int err, const struct pw_cmd *rsp,
				uint32_t out_len))
{
	assert(!k->busy);
	k->busy = true;
	k->then = then;
	k->begin_ns = sim.now_ns;
	k->inv = ++sim.tick;
	if (k->ns)
		k->ns->inv = k->inv;
	k->call.done = on_done;
	pwc_peer_call(k->c->peer, &k->call);
}

void sim_work_lost(struct sim_worker *k)
{
	if (k->w)
		sim_data_end(k->w, -EIO, true, 0, 0);
	k->w = NULL;
	k->busy = false;
}

static void change_names(struct sim_worker *k, bool open)
{
	if (sim_chance(SIM_RND_WORK, 100))
		sim_work_open(k);
	else if (open && sim_chance(SIM_RND_WORK, 100))
		sim_work_close(k);
	else
		sim_work_names(k);
}

void sim_work_next(struct sim_worker *k)
{
	/* few at once: all possible orders of what is under way are what the oracle has to think
	 * of */
	bool namer = k < &k->c->worker[2], open = false;

	for (uint32_t i = 0; i < SIM_HANDLES; i++)
		open |= k->c->handle[i].ino != 0;
	if (open && (!namer || sim_chance(SIM_RND_WORK, sim.sw.data_share)))
		sim_work_data(k);
	else if (namer)
		change_names(k, open);
	if (!k->busy)
		sim_client_think(k);
}
