/* SPDX-License-Identifier: Apache-2.0 */
/* sim_main.c -- one seed after the other
 *
 *	sim --seed N [--steps N] [-v]	one run; -v prints the trace
 *	sim --seeds A..B [--steps N]	many; ends with the first that fails
 *	sim --list FILE			the seeds that begin its lines
 *	sim --twice N			runs a seed twice and compares the traces
 *	sim --plant NAME ...		with a known bug planted (only where those are compiled in)
 *
 * A failure prints seed, step, what was wrong and the end of the trace; the exit code is 1. The
 * same seed fails in the same way.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/plant.h"
#include "tests/sim/sim_oracle.h"

#define DEFAULT_STEPS 12000u
/* Virtual time for everything to come to rest once no fault strikes any more. */
#define QUIET_NS (60 * PW_NS_PER_S)
#define QUIET_STEPS 2000000u

static bool never(void)
{
	return false;
}

static bool node_is_up(void)
{
	return sim_node_up();
}

/* Runs until @until, without faults, within the bound. */
static bool settle(bool (*until)(void), const char *what)
{
	uint64_t deadline = sim.now_ns + QUIET_NS;

	/* @until may do what is due when it is true: it is asked once */
	do {
		sim.max_steps = sim.steps + 100;
		if (sim_run(until))
			return true;
		if (sim.now_ns <= deadline && sim.steps <= QUIET_STEPS)
			continue;
		if (sim.node.alive)
			sim_node_explain();
		sim_fail("liveness: after %llu s without faults: %s",
			 (unsigned long long)(QUIET_NS / PW_NS_PER_S), what);
	} while (!sim.failed);
	return false;
}

static bool node_is_clean(void)
{
	return sim_node_knows(SIM_CLIENTS) && sim_clients_idle() && !sim_node_nr_orphans();
}

static bool clients_gone(void)
{
	return sim_clients_stopped();
}

static bool node_is_quiet(void)
{
	return sim_node_knows(0);
}

static uint64_t rest_until_ns;

static bool has_rested(void)
{
	return sim.now_ns >= rest_until_ns;
}

static void work(uint64_t max_steps)
{
	sim_node_start();
	for (uint32_t i = 0; i < SIM_CLIENTS; i++)
		sim_client_start(i);
	sim_fault_start();
	sim.max_steps = max_steps;
	sim_run(never);
}

static void finish(void)
{
	sim.quiet_phase = true;
	sim_trace("no more faults");
	sim_net_heal();
	sim_disk_fail_ios(0);
	/* an engine that has seen an error of its disk says no to everything until it is started
	 * again */
	if (sim.sw.disk_err && sim.node.alive)
		sim_node_kill(false);
	sim_clients_pause(true);
	settle(sim_clients_idle, "calls are under way, or clients are not connected");
	/* long enough for leases to run out and for whatever is collected by mistake to be gone */
	rest_until_ns = sim.now_ns + (SIM_LEASE_MS + 1000) * PW_NS_PER_MS;
	settle(has_rested, "time stands still");
	if (sim.failed)
		return;
	sim_final_start();
	settle(sim_final_done, "the last look at the tree does not end");
	settle(node_is_clean, "orphans are left, or requests are under way");
	if (sim.failed)
		return;
	sim_node_check();
	sim_clients_stop();
	if (settle(clients_gone, "clients do not stop") &&
	    settle(node_is_quiet, "the node has work, or still knows clients"))
		sim_node_check();
}

/* The next life finds what this one left. */
static void last_life(void)
{
	if (sim.failed)
		return;
	sim_node_stop();
	settle(sim_node_down, "the node does not stop");
	if (sim.failed)
		return;
	sim_node_start();
	settle(node_is_up, "the node does not start");
	settle(node_is_quiet, "the node has work");
	if (!sim.failed)
		sim_node_check();
	if (sim.failed)
		return;
	sim_node_stop();
	settle(sim_node_down, "the node does not stop");
}

bool sim_run_seed(uint64_t seed, uint64_t max_steps)
{
	sim_init(seed);
	sim_fault_draw();
	sim_net_init();
	sim_disk_init(sim.sw.disk_bytes);
	sim_index_init();
	sim_names_init();
	sim_data_init();
	sim_node_init();
	sim_clients_init();
	work(max_steps);
	if (!sim.failed)
		finish();
	last_life();
	if (!sim.failed)
		sim_names_check();
	if (sim.failed) {
		printf("seed=%llu step=%llu: %s\n", (unsigned long long)seed,
		       (unsigned long long)sim.steps, sim.why);
		fflush(stdout);
		if (!sim.verbose)
			sim_dump_tail();
	}
	sim.cur = NULL;
	sim_fini();
	sim_net_fini();
	sim_clients_fini();
	sim_names_fini();
	sim_data_fini();
	sim_index_fini();
	sim_disk_fini();
	return !sim.failed;
}

static void on_abort(int sig)
{
	char line[96];
	int n = snprintf(line, sizeof(line), "seed=%llu step=%llu: an assert failed\n",
			 (unsigned long long)sim.seed, (unsigned long long)sim.steps);

	(void)!write(STDOUT_FILENO, line, (size_t)n);
	if (!sim.verbose)
		sim_dump_tail();
	(void)sig;
	_exit(1);
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int run_many(uint64_t from, uint64_t to, uint64_t max_steps)
{
	uint64_t steps = 0, ops = 0, kills = 0, power = 0, drops = 0, crashes = 0, stalls = 0,
		 flips = 0, pulls = 0, failovers = 0, moves = 0;
	double start = seconds(), t;

	for (uint64_t s = from; s <= to; s++) {
		if (!sim_run_seed(s, max_steps))
			return 1;
		steps += sim.steps;
		ops += sim.nr_ops;
		kills += sim.nr_kills;
		power += sim.nr_power;
		drops += sim.nr_drops;
		crashes += sim.nr_crashes;
		stalls += sim.nr_stalls;
		flips += sim.nr_flips;
		pulls += sim.nr_pulls;
		failovers += sim.nr_failovers;
		moves += sim.nr_moves;
		if (from == to)
			printf("hash=%016llx\n", (unsigned long long)sim.hash);
	}
	t = seconds() - start;
	printf("%llu seeds, %llu steps (%.0f/s), %llu operations; %llu kills, "
	       "%llu power cuts, %llu cut and "
	       "%llu stalled connections, %llu client crashes, %llu flipped bits; "
	       "%llu rails down, %llu failovers, %llu moves\n",
	       (unsigned long long)(to - from + 1), (unsigned long long)steps, (double)steps / t,
	       (unsigned long long)ops, (unsigned long long)kills, (unsigned long long)power,
	       (unsigned long long)drops, (unsigned long long)stalls, (unsigned long long)crashes,
	       (unsigned long long)flips, (unsigned long long)pulls,
	       (unsigned long long)failovers, (unsigned long long)moves);
	return 0;
}

static int run_twice(uint64_t seed, uint64_t max_steps)
{
	uint64_t hash;

	if (!sim_run_seed(seed, max_steps))
		return 1;
	hash = sim.hash;
	if (!sim_run_seed(seed, max_steps))
		return 1;
	if (hash == sim.hash)
		return 0;
	printf("seed=%llu step=0: two runs differ\n", (unsigned long long)seed);
	return 1;
}

static int run_list(const char *path, uint64_t max_steps)
{
	FILE *f = fopen(path, "re");
	char line[256];
	int err = 0;

	if (!f) {
		perror(path);
		return 2;
	}
	while (!err && fgets(line, sizeof(line), f))
		if (line[0] >= '0' && line[0] <= '9')
			err = !sim_run_seed(strtoull(line, NULL, 10), max_steps);
	fclose(f);
	return err;
}

static bool plant(const char *name)
{
#ifdef PW_FAULT_POINTS
	pw_plant = name;
	return true;
#else
	(void)name;
	return false;
#endif
}

static int usage(void)
{
	fprintf(stderr,
		"usage: sim --seed N | --seeds A..B | --twice N | --list FILE  "
		"[--steps N] [--plant NAME] [-v]\n");
	return 2;
}

int main(int argc, char **argv)
{
	uint64_t from = 0, to = 0, steps = DEFAULT_STEPS;
	bool twice = false, some = false;
	const char *list = NULL;

	signal(SIGABRT, on_abort);
	for (int i = 1; i < argc; i++) {
		const char *arg = i + 1 < argc ? argv[i + 1] : "";
		char *end = NULL;

		if (!strcmp(argv[i], "-v")) {
			sim.verbose = true;
			continue;
		}
		if (!strcmp(argv[i], "--seed") || !strcmp(argv[i], "--twice")) {
			from = to = strtoull(arg, &end, 0);
			twice = argv[i][2] == 't';
			some = true;
		} else if (!strcmp(argv[i], "--seeds")) {
			from = strtoull(arg, &end, 0);
			if (end != arg && !strncmp(end, "..", 2))
				to = strtoull(arg + (end - arg) + 2, &end, 0);
			some = true;
		} else if (!strcmp(argv[i], "--steps")) {
			steps = strtoull(arg, &end, 0);
		} else if (!strcmp(argv[i], "--list")) {
			list = arg;
			i++;
			continue;
		} else if (!strcmp(argv[i], "--plant") && plant(arg)) {
			i++;
			continue;
		}
		if (!end || end == arg || *end)
			return usage();
		i++;
	}
	if (list)
		return run_list(list, steps);
	if (!some || to < from)
		return usage();
	return twice ? run_twice(from, steps) : run_many(from, to, steps);
}
