/* SPDX-License-Identifier: Apache-2.0 */
/* sim_client.c -- client processes: start, crash, orderly end; and the last look at everything */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "tests/sim/sim_client.h"

struct sim_client *sim_clients; /* array of SIM_CLIENTS */

static bool paused, stopping;

static bool next_open(struct pwc_peer *p, uint64_t *iter, uint64_t *ino, uint32_t *opens)
{
	struct sim_client *c = pwc_peer_owner(p);

	return pwc_opens_next(&c->opens, iter, ino, opens);
}

static void mark_lost(struct sim_client *c)
{
	c->lost_ns = sim.now_ns;
	for (uint32_t i = 0; i < SIM_HANDLES; i++)
		c->handle[i].maybe_gone = true;
}

static void on_up(struct pwc_peer *p, bool first)
{
	struct sim_client *c = pwc_peer_owner(p);

	sim_trace("%s: up%s over %s", c->proc->name, first ? " for the first time" : " again",
		  pwc_peer_name(p));
	sim.nr_failovers += !first && strcmp(c->over, pwc_peer_name(p)) && !c->moving;
	snprintf(c->over, sizeof(c->over), "%s", pwc_peer_name(p));
	c->down_ns = 0;
}

static void on_down(struct pwc_peer *p, int err, const char *why)
{
	struct sim_client *c = pwc_peer_owner(p);

	sim_trace("%s: down, %s (%s)", c->proc->name, pw_err_text(err), why);
	c->moving = pwc_peer_is_moving(p);
	sim.nr_moves += c->moving;
	if (!c->down_ns)
		c->down_ns = sim.now_ns;
	/* a power cut may have taken the session's record: what went out meanwhile has an
	 * unknown fate */
	if (sim.sw.interval && sim.sw.power)
		c->lost_ns = sim.now_ns;
}

static void on_dead(struct pwc_peer *p, int err, const char *why)
{
	struct sim_client *c = pwc_peer_owner(p);

	sim_fail("%s: the peer gave up for ever: %s (%s)", c->proc->name, pw_err_text(err), why);
}

static void on_stopped(struct pwc_peer *p)
{
	struct sim_client *c = pwc_peer_owner(p);

	c->stopped = true;
}

static const struct pwc_peer_ops peer_ops = {
	.on_up = on_up,
	.on_down = on_down,
	.on_dead = on_dead,
	.next_open = next_open,
	.on_stopped = on_stopped,
};

/* The node forgets a client that it does not hear of for a lease; what it had under way ends
 * with EIO. */
static void watch(void *arg, uint64_t aux)
{
	for (uint32_t i = 0; i < SIM_CLIENTS; i++) {
		struct sim_client *c = &sim_clients[i];
		uint64_t since = PW_MAX(c->down_ns, sim_node_up_since());

		if (c->down_ns && since && sim.now_ns > since + (SIM_LEASE_MS - 800) * PW_NS_PER_MS)
			mark_lost(c);
	}
	sim_after(20 * PW_NS_PER_MS, watch, arg, aux);
}

static void on_think(struct pw_timer *t)
{
	struct sim_worker *k = pw_container_of(t, struct sim_worker, timer);

	if (paused && !sim_final_step(k))
		sim_client_think(k);
	else if (!paused)
		sim_work_next(k);
}

void sim_client_think(struct sim_worker *k)
{
	uint64_t ns = 20 * PW_NS_PER_US + sim_below(SIM_RND_WORK, sim.sw.think_ns);

	if (stopping)
		return;
	pw_timer_arm(&k->c->proc->loop, &k->timer, sim.now_ns + (paused ? 10 * PW_NS_PER_MS : ns));
}

static void start_workers(struct sim_client *c)
{
	for (uint32_t i = 0; i < sim.sw.workers; i++) {
		struct sim_worker *k = &c->worker[i];

		k->c = c;
		k->busy = false;
		pw_timer_init(&k->timer, on_think);
		pw_list_init(&k->call.node);
		sim_client_think(k);
	}
}

void sim_client_start(uint32_t nr)
{
	static const char *const names[SIM_CLIENTS] = { "client0", "client1", "client2" };
	struct sim_client *c = &sim_clients[nr];
	static const struct pwc_rail_opt rails[SIM_RAILS - 1] = {
		{ .host = "10.0.1.1", .port = PW_DEFAULT_PORT },
		{ .host = "10.0.2.1", .port = PW_DEFAULT_PORT },
	};
	struct pwc_peer_opts o = {
		.host = "10.0.0.1", .port = PW_DEFAULT_PORT, .timeout_ms = sim.sw.timeout_ms,
		.connect_wait_ms = 3600 * 1000,
		.rails = rails, .nr_rails = sim.sw.rails - 1,
		.conn = { .connect_timeout_ms = 1000, .heartbeat_ms = 200, .dead_ms = 1000,
			  .want_slots = SIM_SLOTS, .transport = PW_TRANSPORT_TCP },
	};
	struct sim_proc *old;

	c->nr = nr;
	c->proc = &sim.client[nr];
	c->life++;
	c->down_ns = 0;
	c->stopped = false;
	c->lost_ns = 0;
	memset(c->handle, 0, sizeof(c->handle));
	c->id = (struct pw_identity){ .key = "sim key", .have_key = true };
	snprintf((char *)c->id.id, sizeof(c->id.id), "client%u.%u", nr, c->life);
	sim_proc_start(c->proc, names[nr]);
	old = sim_enter(c->proc);
	if (pwc_peer_new(&c->proc->loop, &o, &peer_ops, c, &c->id, &c->peer) ||
	    pwc_opens_init(&c->opens, c->peer))
		abort();
	pwc_peer_start(c->peer);
	start_workers(c);
	sim_leave(old);
}

static void start_event(void *arg, uint64_t life)
{
	struct sim_client *c = arg;

	if (!c->proc->alive && c->life == life && !stopping)
		sim_client_start(c->nr);
}

void sim_client_crash(uint32_t nr)
{
	struct sim_client *c = &sim_clients[nr];

	sim_trace("fault: %s crashes", c->proc->name);
	sim.nr_crashes++;
	sim_net_proc_gone(c->proc, sim_chance(SIM_RND_WORLD, 300));
	for (uint32_t i = 0; i < sim.sw.workers; i++)
		sim_work_lost(&c->worker[i]);
	sim_proc_kill(c->proc);
	memset(c->handle, 0, sizeof(c->handle));
	sim_after(PW_NS_PER_MS + sim_below(SIM_RND_WORLD, PW_NS_PER_S), start_event, c, c->life);
}

/* With durability = interval a power cut can take the creation of a file that is open. */
void sim_clients_lost(void)
{
	for (uint32_t i = 0; i < SIM_CLIENTS; i++)
		mark_lost(&sim_clients[i]);
}

void sim_clients_pause(bool pause)
{
	paused = pause;
}

bool sim_clients_paused(void)
{
	return paused;
}

bool sim_clients_idle(void)
{
	for (uint32_t i = 0; i < SIM_CLIENTS; i++) {
		if (!sim.client[i].alive)
			return false;
		for (uint32_t j = 0; j < sim.sw.workers; j++)
			if (sim_clients[i].worker[j].busy)
				return false;
		if (sim_clients[i].opens.nr_releasing ||
		    pwc_peer_state(sim_clients[i].peer) != PWC_PEER_UP)
			return false;
	}
	return true;
}

void sim_clients_stop(void)
{
	stopping = true;
	for (uint32_t i = 0; i < SIM_CLIENTS; i++) {
		struct sim_client *c = &sim_clients[i];
		struct sim_proc *old = sim_enter(c->proc);

		for (uint32_t j = 0; j < sim.sw.workers; j++)
			pw_timer_cancel(&c->proc->loop, &c->worker[j].timer);
		pwc_peer_stop(c->peer);
		sim_leave(old);
	}
}

bool sim_clients_stopped(void)
{
	for (uint32_t i = 0; i < SIM_CLIENTS; i++) {
		struct sim_client *c = &sim_clients[i];
		struct sim_proc *old;

		if (!c->proc->alive)
			continue;
		if (!c->stopped)
			return false;
		old = sim_enter(c->proc);
		pwc_opens_fini(&c->opens);
		pwc_peer_free(c->peer);
		sim_leave(old);
		sim_proc_end(c->proc);
	}
	return true;
}

void sim_clients_init(void)
{
	paused = stopping = false;
	sim_work_init();
	sim_clients = sim_alloc(SIM_CLIENTS * sizeof(*sim_clients));
	for (uint32_t i = 0; i < SIM_CLIENTS; i++)
		sim_clients[i].proc = &sim.client[i];
	sim_after(100 * PW_NS_PER_MS, watch, NULL, 0);
}

void sim_clients_fini(void)
{
	sim_free(sim_clients);
	sim_clients = NULL;
}
