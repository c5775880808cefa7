/* SPDX-License-Identifier: Apache-2.0 */
/* sim_node.c -- the life of the node: the real one, from its disk and index to its listener
 *
 * Start-up blocks in the real program; here a power cut or a kill may strike in the middle of it:
 * the disk jumps out, and all memory of the node is gone.
 */
#include <assert.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "storage_node/node.h"
#include "tests/sim/sim_node.h"
#include "tests/sim/sim_oracle.h"

struct sim_node_parts sim_node;

static struct {
	bool up, starting, stopping, down, die_by_power;
	uint32_t life;
	uint64_t up_ns;
	jmp_buf start;
	bool in_start;
} st;

static const struct pw_identity identity = {
	.fsid = "sim filesystem", .id = "sim node", .key = "sim key", .have_key = true
};

static void start_event(void *arg, uint64_t life);

static bool verify(void *arg, const struct pws_kv_mut *mut)
{
	return pws_store_verify_row(arg, SIM_DATA_OFF, mut);
}

static void on_ready(void *arg, int err)
{
	(void)arg;
	if (err)
		sim_fail("the node does not serve: %s", pw_err_text(err));
	sim_trace("node: serves, life %u", st.life);
	st.up = true;
	st.up_ns = sim.now_ns;
}

static int open_parts(void)
{
	struct pws_kv_lmdb_opts ko = {
		.index_dir = "index", .journal_bytes = SIM_JOURNAL_BYTES, .map_bytes = PW_GIB,
		.interval_ns = sim.sw.interval ? sim.sw.interval_ns : 0, .verify = verify
	};
	struct pws_store_opts so = {
		.max_io = SIM_MAX_IO, .max_inflight = SIM_SLOTS * (SIM_CLIENTS + 1),
		.data_off = SIM_DATA_OFF
	};
	int err = pws_disk_open(&sim.node.loop, "disk", true, sim.sw.first_bytes, &sim_node.disk);

	ko.disk = ko.verify_arg = sim_node.disk;
	if (!err)
		err = pws_kv_lmdb_open(&sim.node.loop, &ko, &sim_node.kv);
	if (!err)
		err = pws_bufpool_new(pws_node_bufs_needed(SIM_SLOTS, SIM_CLIENTS + 1),
				      pws_node_buf_bytes(SIM_MAX_IO), &sim_node.bufs);
	so.kv = sim_node.kv;
	so.bufs = sim_node.bufs;
	so.disk = sim_node.disk;
	return err ? err : pws_store_open_chunk(&sim.node.loop, &so, &sim_node.store);
}

static int open_node(void)
{
	struct pws_node_opts o = {
		.id = identity, .sip_key = "sip key", .max_io = SIM_MAX_IO, .slots = SIM_SLOTS,
		.max_clients = SIM_CLIENTS + 1, .lease_ms = SIM_LEASE_MS,
		.conn = { .connect_timeout_ms = 1000, .heartbeat_ms = 200, .dead_ms = 1000 },
		.host = "10.0.0.1", .port = PW_DEFAULT_PORT
	};
	int err = open_parts();

	o.kv = sim_node.kv;
	o.store = sim_node.store;
	o.bufs = sim_node.bufs;
	if (!err)
		err = pws_node_new(&sim.node.loop, &o, &sim_node.node);
	return err;
}

static void die_in_start(void)
{
	longjmp(st.start, 1);
}

void sim_node_start(void)
{
	struct sim_proc *old;
	int err;

	assert(!sim.node.alive);
	st.life++;
	st.up = st.stopping = st.down = false;
	sim_proc_start(&sim.node, "node");
	if (sim.sw.kills && !sim.quiet_phase && sim_chance(SIM_RND_WORLD, 100))
		sim_disk_die_at(1 + (uint32_t)sim_below(SIM_RND_WORLD, 12), die_in_start);
	old = sim_enter(&sim.node);
	if (setjmp(st.start)) {
		sim_leave(NULL);
		sim_disk_die_at(0, NULL);
		sim_trace("fault: the node dies while it starts");
		sim_node_kill(sim.sw.power && sim_chance(SIM_RND_WORLD, 500));
		return;
	}
	err = open_node();
	sim_disk_die_at(0, NULL);
	if (err)
		sim_fail("the node does not start: %s", pw_err_text(err));
	else
		pws_node_start(sim_node.node, on_ready, NULL);
	sim_leave(old);
}

static void start_event(void *arg, uint64_t life)
{
	(void)arg;
	if (!sim.node.alive && life == st.life)
		sim_node_start();
}

void sim_node_kill(bool power)
{
	uint64_t ns = sim_below(SIM_RND_WORLD, 8) ? sim_below(SIM_RND_WORLD, 500 * PW_NS_PER_MS) :
						    sim_below(SIM_RND_WORLD, 5 * PW_NS_PER_S);

	sim_trace("fault: node %s, back in %llu ms", power ? "loses power" : "is killed",
		  (unsigned long long)(ns / PW_NS_PER_MS));
	sim.nr_kills += !power;
	sim.nr_power += power;
	st.up = st.stopping = st.down = false;
	sim_net_proc_gone(&sim.node, power);
	sim_disk_crash(power);
	sim_index_crash();
	sim_proc_kill(&sim.node);
	memset(&sim_node, 0, sizeof(sim_node));
	if (power && sim.sw.interval) {
		sim_names_power_cut();
		sim_data_power_cut();
		sim_clients_lost();
	}
	sim_after(ns + PW_NS_PER_MS, start_event, NULL, st.life);
}

bool sim_node_up(void)
{
	return st.up;
}

uint64_t sim_node_up_since(void)
{
	return st.up ? st.up_ns : 0;
}

/* Orderly end -------------------------------------------------------------------------------- */

static void on_kv_stopped(void *arg, int err)
{
	(void)arg;
	/* a journal that could not be written stays broken until the next start */
	if (err && !sim.nr_disk_err)
		sim_fail("the index does not stop: %s", pw_err_text(err));
	st.down = true;
}

static void on_store_stopped(void *arg)
{
	(void)arg;
	sim_node.kv->ops->stop(sim_node.kv, on_kv_stopped, NULL);
}

static void on_node_stopped(void *arg)
{
	(void)arg;
	sim_node.store->ops->stop(sim_node.store, on_store_stopped, NULL);
}

void sim_node_stop(void)
{
	struct sim_proc *old = sim_enter(&sim.node);

	assert(st.up && !st.stopping);
	sim_trace("node: is told to stop");
	st.up = false;
	st.stopping = true;
	pws_node_stop(sim_node.node, 2000, on_node_stopped);
	sim_leave(old);
}

/* From the world, when st.down: everything is given back. */
static void close_all(void)
{
	struct sim_proc *old = sim_enter(&sim.node);
	uint32_t nr = pws_node_bufs_needed(SIM_SLOTS, SIM_CLIENTS + 1);

	pws_node_free(sim_node.node);
	sim_node.store->ops->close(sim_node.store);
	sim_node.kv->ops->close(sim_node.kv);
	if (pws_bufpool_nr_free(sim_node.bufs) != nr)
		sim_fail("%u buffers are not given back",
			 nr - pws_bufpool_nr_free(sim_node.bufs));
	pws_bufpool_free(sim_node.bufs);
	pws_disk_close(sim_node.disk);
	sim_leave(old);
	memset(&sim_node, 0, sizeof(sim_node));
	sim_proc_end(&sim.node);
	st.stopping = st.down = false;
}

bool sim_node_down(void)
{
	if (!sim.node.alive)
		return true;
	if (!st.down)
		return false;
	close_all();
	sim_trace("node: stopped");
	return true;
}

void sim_node_init(void)
{
	memset(&st, 0, sizeof(st));
	memset(&sim_node, 0, sizeof(sim_node));
}
