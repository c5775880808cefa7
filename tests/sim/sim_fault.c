/* SPDX-License-Identifier: Apache-2.0 */
/* sim_fault.c -- which faults a seed has, and when they strike
 *
 * Swarm testing: every class of faults is on or off for a whole seed, with a rate of its own; a few
 * seeds have none at all. A seed whose faults may hurt data that is on media (flipped bits) has no
 * crashes: together they would excuse everything.
 */
#include "tests/sim/sim.h"

static bool coin(uint32_t per_mille)
{
	return sim_chance(SIM_RND_WORLD, per_mille);
}

void sim_fault_draw(void)
{
	struct sim_swarm *w = &sim.sw;

	*w = (struct sim_swarm){
		.drops = coin(500),
		.delays = coin(500),
		.stalls = coin(400),
		.long_stalls = coin(150),
		.slow_disk = coin(400),
		.kills = coin(500),
		.power = coin(500),
		.client_crash = coin(300),
		.nospc = coin(200),
		.flips = coin(100),
		.disk_err = coin(60),
		.graceful = coin(200),
		.pauses = coin(200),
		.refuse = coin(200),
		.interval = coin(250),
		.interval_ns = PW_NS_PER_MS << sim_below(SIM_RND_WORLD, 10),
		.delay_max_ns = PW_NS_PER_MS << sim_below(SIM_RND_WORLD, 9),
		.disk_max_ns = PW_NS_PER_MS << sim_below(SIM_RND_WORLD, 8),
		.fault_gap_ns = 8 * PW_NS_PER_MS << sim_below(SIM_RND_WORLD, 5),
		.disk_bytes = 64 * PW_MIB,
		.first_bytes = 8 * PW_MIB,
		.data_share = 200 + (uint32_t)sim_below(SIM_RND_WORLD, 700),
		.workers = 1 + (uint32_t)sim_below(SIM_RND_WORLD, 4),
	};
	if (coin(100))
		*w = (struct sim_swarm){ .disk_bytes = 64 * PW_MIB, .first_bytes = 8 * PW_MIB,
					 .data_share = 500, .workers = 3 };
	if (w->nospc) {
		/* the file does not grow: blocks are used again and again, and soon, where it is
		 * small */
		w->first_bytes = SIM_DATA_OFF +
				 ((coin(500) ? 2 : 9) + sim_below(SIM_RND_WORLD, 3)) * PW_MIB;
		w->disk_bytes = w->first_bytes + 16 * PW_MIB;
		w->data_share = 900;
		w->interval = coin(500);
	}
	if (w->flips)
		w->kills = w->power = w->graceful = false;
	/* by the seed itself: the draws stay what they are */
	w->rails = 1 + (uint32_t)(sim.seed % SIM_RAILS);
	w->think_ns = 2 * PW_NS_PER_MS;
	/* to return to a better rail takes seconds of virtual time */
	if (w->rails > 1 && sim.seed / SIM_RAILS % 4 == 0) {
		w->think_ns *= 40;
		w->fault_gap_ns *= 40;
	}
	sim_trace("swarm:%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s, gap %llu ms, %u workers",
		  w->drops ? " drops" : "", w->delays ? " delays" : "", w->stalls ? " stalls" : "",
		  w->long_stalls ? " long-stalls" : "", w->slow_disk ? " slow-disk" : "",
		  w->kills ? " kills" : "", w->power ? " power" : "",
		  w->client_crash ? " client-crash" : "", w->nospc ? " nospc" : "",
		  w->flips ? " flips" : "", w->disk_err ? " disk-err" : "",
		  w->graceful ? " graceful" : "", w->pauses ? " pauses" : "",
		  w->refuse ? " refuse" : "", w->interval ? " interval" : "",
		  (unsigned long long)(w->fault_gap_ns / PW_NS_PER_MS), w->workers);
}

static struct sim_proc *some_client(uint32_t *ret)
{
	*ret = (uint32_t)sim_below(SIM_RND_WORLD, SIM_CLIENTS);
	return &sim.client[*ret];
}

static void stall(bool longer)
{
	uint64_t ns = longer ? PW_NS_PER_S + sim_below(SIM_RND_WORLD, 8 * PW_NS_PER_S) :
			       sim_below(SIM_RND_WORLD, 1500 * PW_NS_PER_MS);
	uint64_t how = sim_below(SIM_RND_WORLD, 3);
	uint32_t nr;
	struct sim_proc *c = some_client(&nr);

	sim_trace("fault: %s is cut off (%s) for %llu ms", c->name,
		  how == 0 ? "to the node" : how == 1 ? "from the node" : "both ways",
		  (unsigned long long)(ns / PW_NS_PER_MS));
	if (how != 1)
		sim_net_stall(c, true, ns);
	if (how != 0)
		sim_net_stall(c, false, ns);
}

/* A network fails, at times all of them at once. */
static void pull(void)
{
	uint64_t ns = sim_below(SIM_RND_WORLD, coin(300) ? 20 * PW_NS_PER_S : 3 * PW_NS_PER_S);
	uint32_t rail = (uint32_t)sim_below(SIM_RND_WORLD, sim.sw.rails);
	bool all = coin(100);

	for (uint32_t i = 0; i < sim.sw.rails; i++) {
		if (!all && i != rail)
			continue;
		sim_trace("fault: rail %u is down for %llu ms", i,
			  (unsigned long long)(ns / PW_NS_PER_MS));
		sim_net_pull(i, all ? ns / 4 : ns);
	}
}

static void pause_proc(void)
{
	uint64_t ns = sim_below(SIM_RND_WORLD, 8) ? 100 * PW_NS_PER_MS : 3 * PW_NS_PER_S;
	uint32_t nr;
	struct sim_proc *p = coin(500) ? &sim.node : some_client(&nr);

	if (!p->alive)
		return;
	ns = sim_below(SIM_RND_WORLD, ns);
	sim_trace("fault: %s stands still for %llu ms", p->name,
		  (unsigned long long)(ns / PW_NS_PER_MS));
	p->loop.busy_until_ns = sim.now_ns + ns;
}

static void restart(void *arg, uint64_t aux)
{
	/* killed meanwhile: it comes back by itself */
	if (sim.node.alive && !sim_node_up() && sim_node_down())
		sim_node_start();
	else if (sim.node.alive && !sim_node_up())
		sim_after(PW_NS_PER_MS, restart, arg, aux);
}

static void lose_power(void)
{
	uint32_t nr = 0;

	if (!sim.node.alive)
		return;
	sim_node_kill(true);
	/* the same fuse: nobody sends again what this one had under way */
	if (sim.sw.client_crash && coin(500) && some_client(&nr)->alive)
		sim_client_crash(nr);
}

static void on_seen(void *arg, uint64_t aux)
{
	if (!sim.quiet_phase && sim_node_up())
		lose_power();
}

void sim_fault_seen(void)
{
	if (sim.sw.power && coin(50))
		sim_after(sim_below(SIM_RND_WORLD, 200 * PW_NS_PER_US), on_seen, NULL, 0);
}

static void strike(void)
{
	struct sim_swarm *w = &sim.sw;
	uint32_t nr;

	switch (sim_below(SIM_RND_WORLD, 12)) {
	case 0:
	case 1:
	case 2:
		if (w->drops)
			sim_net_drop_one();
		break;
	case 3:
		if (w->stalls && coin(300))
			stall(false);
		break;
	case 4:
		if (w->long_stalls && coin(60))
			stall(true);
		break;
	case 5:
	case 6:
		if (w->kills && sim.node.alive && coin(300))
			sim_node_kill(false);
		break;
	case 7:
	case 8:
		if (w->power && coin(300))
			lose_power();
		break;
	case 9:
		if (w->client_crash && coin(200) && some_client(&nr)->alive)
			sim_client_crash(nr);
		break;
	case 10:
		if (w->flips && coin(300) && sim_disk_flip(SIM_DATA_OFF))
			sim_trace("fault: a bit on the disk is flipped");
		else if (w->disk_err && coin(100))
			sim_disk_fail_ios(1);
		else if (w->graceful && sim_node_up() && coin(200)) {
			sim_node_stop();
			sim_after(PW_NS_PER_MS, restart, NULL, 0);
		}
		break;
	default:
		if (w->pauses)
			pause_proc();
		break;
	}
}

static void on_fault(void *arg, uint64_t aux)
{
	if (sim.quiet_phase)
		return;
	strike();
	if (sim.sw.rails > 1 && coin(40))
		pull();
	sim_after(PW_NS_PER_US + sim_below(SIM_RND_WORLD, 2 * sim.sw.fault_gap_ns), on_fault, arg,
		  aux);
}

void sim_fault_start(void)
{
	if (sim.sw.fault_gap_ns)
		sim_after(sim_below(SIM_RND_WORLD, sim.sw.fault_gap_ns), on_fault, NULL, 0);
}
