/* SPDX-License-Identifier: Apache-2.0 */
/* reg_stress.c -- transfers, registrations and the deaths of servers, all at once
 *
 * Workers write and read back, in one run and in two, with their part of the memory in a region or
 * not. Meanwhile regions come and go, and at a random time the server is killed; some servers have
 * requests held, some connections are aborted first. No byte may differ, no page may stay pinned.
 */
#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <time.h>
#include <unistd.h>

#include "reg_rig.h"

#define WORKERS 4
#define REGIONS 4u

struct worker {
	pthread_t t;
	struct rig *r;
	int nr;
	char *p; /* 2 MiB */
	long rounds, bad, end;
};

static bool round_trip(struct worker *w, unsigned int *rnd)
{
	size_t len = 2 + (unsigned int)rand_r(rnd) % (MIB - 3 * PAGE), half = len / 2;
	off_t pos = w->nr * (off_t)(2 * MIB) + rand_r(rnd) % 1000;
	uint32_t seed = (uint32_t)rand_r(rnd);
	char *a = w->p + rand_r(rnd) % 5000, *b = w->p + MIB;
	struct iovec v[2] = { { a, half }, { b, len - half } };
	ssize_t n;

	pattern(a, pos, half, seed);
	pattern(b, pos + (off_t)half, len - half, seed);
	n = pwritev(w->r->fd, v, 2, pos);
	if (n != (ssize_t)len) {
		w->end = n < 0 ? -errno : n;
		return false;
	}
	memset(b, 0, len);
	n = pread(w->r->fd, b, len, pos);
	if (n != (ssize_t)len) {
		w->end = n < 0 ? -errno : n;
		return false;
	}
	w->bad += differ(b, pos, len, seed);
	w->rounds++;
	return true;
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	unsigned int rnd = (unsigned int)w->nr + 1;

	while (round_trip(w, &rnd))
		;
	return NULL;
}

/* One change of the regions; each has its part of the memory. */
static void change(struct rig *r, const struct mem *m, unsigned int *rnd)
{
	uint32_t id = (uint32_t)rand_r(rnd) % REGIONS;
	struct reg_ask a = { .op = ASK_REG, .id = id, .off = id * 2 * MIB, .len = 2 * MIB,
			     .prot = PROT_READ | PROT_WRITE };
	long res;

	if (rand_r(rnd) & 1) {
		res = ask_fd(r, a, m->fd);
		if (res != (long)id && res != -EBUSY && res != -EEXIST)
			failed(r, "REG_FD: %ld", res);
	} else {
		res = ask(r, .op = ASK_UNREG, .id = id);
		if (res && res != -EALREADY && res != -ENOENT)
			failed(r, "UNREG_FD: %ld", res);
	}
}

static void life_of_a_server(struct rig *r, unsigned int round, long *sums)
{
	struct worker w[WORKERS] = { 0 };
	unsigned int rnd = round, i, n;
	struct mem m;

	rig_start(r, &(struct reg_server_opts){ .no_reg = false });
	m = mem_new(r, WORKERS * 2 * MIB, 0);
	for (i = 0; i < WORKERS; i++) {
		w[i].r = r;
		w[i].nr = (int)i;
		w[i].p = m.p + i * 2 * MIB;
		if (pthread_create(&w[i].t, NULL, worker_main, &w[i]))
			errx(1, "no thread");
	}
	for (n = 4 + (unsigned int)rand_r(&rnd) % 20; n; n--) {
		change(r, &m, &rnd);
		usleep((unsigned int)rand_r(&rnd) % 20000);
	}
	if (round % 3 == 0)
		r->sh->hold = true;
	if (round % 3 == 1)
		umount2(r->mnt, MNT_FORCE);
	rig_kill(r);
	for (i = 0; i < WORKERS; i++) {
		long e;

		pthread_join(w[i].t, NULL);
		e = -w[i].end;
		if (e != ECONNABORTED && e != ENOTCONN && e != ECANCELED && e != EINTR)
			failed(r, "a worker ended with %ld", w[i].end);
		if (w[i].bad || r->sh->bad)
			failed(r, "%ld bytes differ", w[i].bad);
		sums[0] += w[i].rounds;
	}
	sums[1] += r->sh->hits;
	sums[2] += r->sh->sg;
	sums[3] += r->sh->copies;
	mem_free(&m);
	rig_stop(r, false);
}

void stress(struct rig *r, long seconds)
{
	time_t end = time(NULL) + seconds;
	unsigned int round = 0;
	long sums[4] = { 0 };

	r->name = "stress";
	do
		life_of_a_server(r, round++, sums);
	while (time(NULL) < end);
	printf("stress: %u servers killed, %ld round trips, %ld hits (%ld in runs), %ld copied\n",
	       round, sums[0], sums[1], sums[2], sums[3]);
	if (!sums[1] || !sums[2] || !sums[3])
		failed(r, "one kind of request did not come");
}
