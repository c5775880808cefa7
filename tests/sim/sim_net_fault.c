/* SPDX-License-Identifier: Apache-2.0 */
/* sim_net_fault.c -- what goes wrong in the simulated network: cuts, stalls, processes that are
 * gone */
#include <errno.h>
#include <string.h>

#include "tests/sim/sim_net.h"

/* Of what is on its way some is lost: everything from a random message on; that one may come in
 * part. */
static void lose_some(struct link *l, int dir)
{
	struct pw_list *pos;
	uint64_t nr = 0, keep;

	pw_list_for_each(pos, &l->queue[dir]) {
		struct msg *m = pw_list_entry(pos, struct msg, node);

		nr += m->kind == DATA && !m->arrived && !m->lost;
	}
	keep = sim_below(SIM_RND_WORLD, nr + 1);
	pw_list_for_each(pos, &l->queue[dir]) {
		struct msg *m = pw_list_entry(pos, struct msg, node);

		if (m->kind != DATA || m->arrived || m->lost)
			continue;
		if (keep) {
			keep--;
			continue;
		}
		if (nr && sim_chance(SIM_RND_WORLD, 500)) {
			m->cut = true;
			nr = 0;
		} else {
			m->lost = true;
		}
		keep = 0;
		nr = 0;
	}
}

static void cut(struct link *l)
{
	for (int d = 0; d < NR_DIRS; d++) {
		lose_some(l, d);
		sim_net_push_end(l, d, -ECONNRESET);
	}
}

void sim_net_drop_one(void)
{
	uint64_t nr = sim_net_nr_conns(), pick = sim_below(SIM_RND_WORLD, nr);
	struct pw_list *pos;

	pw_list_for_each(pos, &sim_net.links) {
		struct link *l = pw_list_entry(pos, struct link, node);

		if (!l->end[0] || !l->end[1])
			continue;
		if (pick--)
			continue;
		sim_trace("fault: connection of %s is cut", l->client->name);
		sim.nr_drops++;
		cut(l);
		return;
	}
}

void sim_net_stall(struct sim_proc *client, bool to_node, uint64_t ns)
{
	sim_net.stall_until_ns[client - sim.client][to_node ? TO_NODE : TO_CLIENT] =
		sim.now_ns + ns;
	sim.nr_stalls++;
}

void sim_net_pull(uint32_t rail, uint64_t ns)
{
	sim_net.pulled_until_ns[rail] = sim.now_ns + ns;
	sim.nr_pulls++;
}

void sim_net_heal(void)
{
	memset(sim_net.pulled_until_ns, 0, sizeof(sim_net.pulled_until_ns));
	memset(sim_net.stall_until_ns, 0, sizeof(sim_net.stall_until_ns));
}

void sim_net_proc_gone(struct sim_proc *p, bool silent)
{
	struct pw_list *pos, *tmp;

	if (p == &sim.node) {
		if (sim_net.listener && silent) {
			struct pw_list *n;

			while ((n = pw_list_pop(&sim_net.listener->accepts)))
				pw_list_entry(n, struct link, accept_node)->accepting = false;
		} else if (sim_net.listener) {
			sim_net_refuse_all(sim_net.listener);
		}
		sim_net.listener = NULL;
		sim_net.node_silent = silent;
	}
	pw_list_for_each_safe(pos, tmp, &sim_net.links) {
		struct link *l = pw_list_entry(pos, struct link, node);
		int rx = p == &sim.node ? TO_NODE : TO_CLIENT;
		struct pw_list *q;

		if (p != &sim.node && l->client != p)
			continue;
		if (l->end[rx]) {
			lose_some(l, !rx);
			pw_list_for_each(q, &l->queue[!rx]) {
				struct msg *m = pw_list_entry(q, struct msg, node);

				/* it was read from memory that is gone */
				if (m->s && !m->payload && m->cmd.payload_len && !m->arrived)
					m->lost = true;
				m->s = NULL;
			}
			sim_net_lose_rest(l, !rx);
			l->end[rx] = NULL;
			if (!silent)
				sim_net_push_end(l, !rx, -ECONNRESET);
		}
		sim_net_link_check(l);
	}
}

uint32_t sim_net_nr_conns(void)
{
	struct pw_list *pos;
	uint32_t nr = 0;

	pw_list_for_each(pos, &sim_net.links) {
		struct link *l = pw_list_entry(pos, struct link, node);

		nr += l->end[0] && l->end[1];
	}
	return nr;
}

void sim_net_init(void)
{
	memset(&sim_net, 0, sizeof(sim_net));
	pw_list_init(&sim_net.links);
}

void sim_net_fini(void)
{
	struct pw_list *pos, *tmp;

	pw_list_for_each_safe(pos, tmp, &sim_net.links) {
		struct link *l = pw_list_entry(pos, struct link, node);

		l->end[0] = l->end[1] = NULL;
		l->events = 0;
		l->accepting = false;
		for (int d = 0; d < NR_DIRS; d++)
			while (!pw_list_empty(&l->queue[d]))
				sim_net_msg_free(pw_list_first(&l->queue[d], struct msg, node));
		sim_net_link_check(l);
	}
}
