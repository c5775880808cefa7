/* SPDX-License-Identifier: Apache-2.0 */
/* reg_main.c -- registered regions of the FUSE ring: what kernel/patches promise, case by case
 *
 *	fuse_regions [-p] MOUNTPOINT              all cases; -p: with buffer pools
 *	fuse_regions -f MOUNTPOINT                allocations that fail
 *	fuse_regions [-p] MOUNTPOINT SECONDS      servers that are killed amid transfers
 *
 * For the guest of tests/vm/run: it looks at how many pages the machine has pinned, so nobody else
 * may pin any.
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "reg_rig.h"

static int run_table(struct rig *r, const struct reg_case *c)
{
	int nr = 0;

	for (; c->name; c++, nr++) {
		r->name = c->name;
		rig_start(r, &c->o);
		c->run(r);
		if (!c->own)
			rig_stop(r, false);
		printf("ok %s%s\n", c->name, r->pool ? " (pool)" : "");
		fflush(stdout);
	}
	return nr;
}

int main(int argc, char **argv)
{
	struct rig r = { .fd = -1 };
	bool fail = false;
	int nr = 0, opt;

	while ((opt = getopt(argc, argv, "pf")) != -1) {
		if (opt == '?')
			optind = argc;
		r.pool |= opt == 'p';
		fail |= opt == 'f';
	}
	if (optind >= argc)
		errx(2, "usage: fuse_regions [-p] [-f] MOUNTPOINT [SECONDS]");
	r.mnt = argv[optind++];
	r.sh_fd = memfd_create("shared", MFD_CLOEXEC);
	if (r.sh_fd < 0 || ftruncate(r.sh_fd, sizeof(*r.sh)))
		err(1, "memfd");
	r.sh = mmap(NULL, sizeof(*r.sh), PROT_READ | PROT_WRITE, MAP_SHARED, r.sh_fd, 0);
	if (r.sh == MAP_FAILED)
		err(1, "mmap");
	if (optind < argc) {
		stress(&r, strtol(argv[optind], NULL, 10));
		return 0;
	}
	if (fail) {
		printf("%d cases\n", run_table(&r, cases_fail));
		return 0;
	}
	nr += run_table(&r, cases_match);
	nr += run_table(&r, cases_memory);
	nr += run_table(&r, cases_life);
	nr += run_table(&r, cases_dmabuf);
	nr += run_table(&r, cases_stats);
	if (r.pool)
		nr += run_table(&r, cases_zero_copy);
	printf("%d cases\n", nr);
	return 0;
}
