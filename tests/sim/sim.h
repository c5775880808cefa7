/* SPDX-License-Identifier: Apache-2.0 */
/* sim.h -- the simulated world: one node, several clients, one thread, virtual time, one seed
 *
 * The real code of both programs runs in it; what is simulated stands behind the link-time seams:
 * loop and randomness (sim_loop.c), network (sim_net.c), disk (sim_disk.c), the checkpointed index
 * (sim_index.c). Each program is a sim_proc: it has a loop and a heap of its own (sim_heap.c), so
 * that a kill -9 loses all of its memory at once, and an orderly end shows what it leaked.
 * Everything that happens is drawn from the seed: the same seed gives the same trace.
 */
#ifndef SIM_H
#define SIM_H

#include "common/conn.h"
#include "common/timer_heap.h"

#define SIM_CLIENTS 3u
#define SIM_RAILS 3u /* addresses of the node, at most: 10.0.RAIL.1 */
#define SIM_NS_PER_TURN 2000ull /* a turn of a loop takes this long */
#define SIM_NEVER UINT64_MAX

/* Streams of random numbers: a change of one kind of draw does not move the others. */
enum sim_stream { SIM_RND_WORLD, SIM_RND_PRODUCT, SIM_RND_WORK, SIM_RND_NR };

uint64_t sim_rnd(enum sim_stream s);
uint64_t sim_below(enum sim_stream s, uint64_t n); /* uniform in [0, n); 0 for 0 */
static inline bool sim_chance(enum sim_stream s, uint32_t per_mille)
{
	return per_mille && sim_below(s, 1000) < per_mille;
}

struct pw_loop {
	struct pw_timer_heap timers;
	struct pw_list ready, running;
	uint64_t busy_until_ns; /* end of its last turn, or of a pause */
};

struct sim_heap {
	uintptr_t *slot; /* owns; open-addressed set of live allocations */
	size_t nr, cap;
	struct sim_map *maps; /* owns; from mmap() */
};

struct sim_proc {
	const char *name;
	bool alive;
	struct pw_loop loop;
	struct sim_heap heap;
};

/* What the faults of a seed may be: rates and switches, drawn by sim_fault_draw(). */
struct sim_swarm {
	bool drops, delays, stalls, long_stalls, slow_disk, kills, power, client_crash, nospc,
		flips;
	bool disk_err, graceful, pauses, refuse;
	bool interval; /* durability = interval */
	uint64_t interval_ns;
	uint64_t delay_max_ns; /* of a message */
	uint64_t disk_max_ns; /* of an io */
	uint64_t fault_gap_ns; /* mean time between faults */
	uint64_t disk_bytes; /* of the node's filesystem */
	uint64_t first_bytes; /* of its data file, at first */
	uint32_t timeout_ms; /* of the mounts; 0: none */
	uint32_t data_share; /* of the operations, per mille */
	uint32_t workers; /* per client */
	uint64_t think_ns; /* of a worker between two operations, at most */
	uint32_t rails; /* addresses that clients know; their networks fail one by one */
};

struct sim {
	uint64_t seed;
	uint64_t now_ns, steps, max_steps;
	uint64_t tick; /* grows with each event of the history: a total order for the oracles */
	uint64_t hash; /* of the trace */
	bool verbose, quiet_phase;
	bool failed;
	char why[512];
	struct sim_proc node, client[SIM_CLIENTS];
	struct sim_proc *cur; /* whose code runs; NULL: the world's */
	struct sim_swarm sw;
	uint64_t nr_kills, nr_power, nr_drops, nr_stalls, nr_crashes, nr_flips, nr_disk_err, nr_ops,
		nr_pulls, nr_failovers, nr_moves;
};
extern struct sim sim;

/* World events ------------------------------------------------------------------------------- */

void sim_at(uint64_t when_ns, void (*fn)(void *arg, uint64_t aux), void *arg, uint64_t aux);
static inline void sim_after(uint64_t ns, void (*fn)(void *arg, uint64_t aux), void *arg,
			     uint64_t aux)
{
	sim_at(sim.now_ns + ns, fn, arg, aux);
}

/* Runs until @until says so, or nothing can happen any more, or the run failed. false: it did
 * not. */
bool sim_run(bool (*until)(void));
void sim_init(uint64_t seed);
void sim_fini(void);

/* One line of the trace: hashed always, printed with -v, kept for the tail of a failure. */
void sim_trace(const char *fmt, ...) PW_PRINTF(1, 2);
void sim_dump_tail(void);
/* The first failure counts; the run ends with the step. */
void sim_fail(const char *fmt, ...) PW_PRINTF(1, 2);

/* Processes ---------------------------------------------------------------------------------- */

void sim_proc_start(struct sim_proc *p, const char *name);
/* Its memory is gone, whatever it was doing. */
void sim_proc_kill(struct sim_proc *p);
/* An orderly end: nothing may be left. */
void sim_proc_end(struct sim_proc *p);
/* Runs @p's code from the world: enter, call, leave. */
struct sim_proc *sim_enter(struct sim_proc *p); /* returns what to give to leave */
void sim_leave(struct sim_proc *old);
void sim_heap_drop(struct sim_heap *h);
/* Memory of the world, whoever runs: zeroed; never fails. */
void *sim_alloc(size_t n);
void *sim_realloc(void *p, size_t n);
void sim_free(void *p);

/* Network ------------------------------------------------------------------------------------ */

void sim_net_init(void);
void sim_net_fini(void);
/* Every connection of @p is gone; @silent: the other ends hear nothing (power cut). */
void sim_net_proc_gone(struct sim_proc *p, bool silent);
/* Faults */
void sim_net_drop_one(void);
void sim_net_stall(struct sim_proc *client, bool to_node, uint64_t ns);
/* Nothing gets through over this rail, and nobody is told. */
void sim_net_pull(uint32_t rail, uint64_t ns);
void sim_net_heal(void);
uint32_t sim_net_nr_conns(void);

/* Disk --------------------------------------------------------------------------------------- */

void sim_disk_init(uint64_t fs_bytes);
void sim_disk_fini(void);
/* The node is gone: what was in flight is half done; @power: unflushed sectors are kept, lost or
 * torn. */
void sim_disk_crash(bool power);
bool sim_disk_flip(uint64_t from_off); /* one bit at or behind @from_off; false: nothing is there */
void sim_disk_fail_ios(uint32_t nr); /* the next ones end with EIO */
/* From now on the @nth blocking operation (start-up) does not come back: the node dies there. */
void sim_disk_die_at(uint32_t nth, void (*die)(void));
void sim_index_init(void);
void sim_index_fini(void);
void sim_index_crash(void);

/* The node --------------------------------------------------------------------------------- */

#define SIM_MAX_IO (64u << 10)
#define SIM_SLOTS 8u
#define SIM_LEASE_MS 3000u
#define SIM_JOURNAL_BYTES (3ull << 20)
#define SIM_DATA_OFF (4ull << 20)

void sim_node_init(void);
void sim_node_start(void);
bool sim_node_up(void); /* it serves */
uint64_t sim_node_up_since(void); /* 0: it does not */
void sim_node_kill(bool power);
/* Orderly end; sim_node_down() when it is over. */
void sim_node_stop(void);
bool sim_node_down(void);
/* Everything that the node has must fit together; it serves, and nobody asks for anything. */
void sim_node_check(void);
bool sim_node_idle(void); /* no request, no reclaim under way */
void sim_node_explain(void); /* to the trace */
bool sim_node_knows(uint32_t nr_clients); /* idle, and these are all whose lease runs */
uint64_t sim_node_nr_orphans(void);

/* The clients ------------------------------------------------------------------------------ */

void sim_clients_init(void);
void sim_clients_fini(void);
void sim_client_start(uint32_t nr);
/* Its programs and its mount are gone; it comes back as somebody else. */
void sim_client_crash(uint32_t nr);
/* Its connections end for longer than a lease: what it had open may be gone. */
void sim_clients_lost(void);
/* No worker begins anything new; done when nothing is under way. */
void sim_clients_pause(bool pause);
bool sim_clients_idle(void);
/* Orderly unmount of all of them. */
void sim_clients_stop(void);
bool sim_clients_stopped(void);
/* Reads everything once more, from one client: the last words of the history. */
void sim_final_start(void);
bool sim_final_done(void);

/* Faults ----------------------------------------------------------------------------------- */

void sim_fault_draw(void); /* sim.sw, from the seed */
void sim_fault_start(void);
/* Somebody has seen a change whose author was not told yet: if the power goes now, it has to be
 * there afterwards. */
void sim_fault_seen(void);

/* One whole run: true when nothing was wrong. */
bool sim_run_seed(uint64_t seed, uint64_t max_steps);

#endif
