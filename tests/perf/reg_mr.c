/* SPDX-License-Identifier: Apache-2.0 */
/* reg_mr.c -- how long a device alone takes to know memory of huge pages: reg_mr DEVICE BYTES
 *
 * The floor of what a region costs to register. Prints one line of JSON.
 */
#include <errno.h>
#include <infiniband/verbs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

static double now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static struct ibv_context *open_device(const char *name)
{
	int nr = 0;
	struct ibv_device **list = ibv_get_device_list(&nr);
	struct ibv_context *ctx = NULL;

	for (int i = 0; i < nr; i++)
		if (!strcmp(ibv_get_device_name(list[i]), name))
			ctx = ibv_open_device(list[i]);
	if (list)
		ibv_free_device_list(list);
	return ctx;
}

int main(int argc, char **argv)
{
	size_t len = argc == 3 ? strtoul(argv[2], NULL, 0) : 0;
	struct ibv_context *ctx = len ? open_device(argv[1]) : NULL;
	struct ibv_pd *pd = ctx ? ibv_alloc_pd(ctx) : NULL;
	double start, known, gone;
	struct ibv_mr *mr;
	void *p;

	if (!pd) {
		fprintf(stderr, "usage: reg_mr DEVICE BYTES\n");
		return 2;
	}
	p = mmap(NULL, len, PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB | MAP_POPULATE, -1, 0);
	if (p == MAP_FAILED) {
		perror("reg_mr: huge pages");
		return 1;
	}
	start = now_ms();
	mr = ibv_reg_mr(pd, p, len, IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE);
	if (!mr) {
		perror("reg_mr: ibv_reg_mr");
		return 1;
	}
	known = now_ms();
	ibv_dereg_mr(mr);
	gone = now_ms();
	printf("{\"add_ms\": %.3f, \"release_ms\": %.3f}\n", known - start, gone - known);
	ibv_dealloc_pd(pd);
	ibv_close_device(ctx);
	return 0;
}
