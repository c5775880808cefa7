/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_doctor.c -- pagewire doctor: what zero copies take, and what of it this machine has
 *
 * Each check is a line: "good"; "missing", and what to do; "unknown", and how to find out.
 */
#include <dlfcn.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "client_fs/cli/ask.h"
#include "client_fs/cli/cli.h"
#include "client_fs/cli/json_path.h"
#include "common/rdma_probe.h"

#define RING_SWITCH "/sys/module/fuse/parameters/enable_uring"
#define MAX_DEVICES 16u
/* of cuda.h */
#define DEVICE_ATTRIBUTE_DMA_BUF_SUPPORTED 124

enum state {
	GOOD,
	MISSING,
	UNKNOWN,
};

static const char *const state_names[] = { "good", "missing", "unknown" };

static void add(json_t *checks, const char *name, enum state s, const char *text, const char *fix)
{
	json_array_append_new(checks, json_pack("{s:s, s:s, s:s, s:s}", "name", name, "state",
						state_names[s], "text", text, "fix", fix));
}

static void check_ring(json_t *checks)
{
	FILE *f = fopen(RING_SWITCH, "re");
	int c = f ? fgetc(f) : EOF;

	if (f)
		fclose(f);
	if (c == 'Y')
		add(checks, "ring", GOOD, "FUSE over io_uring is switched on", "");
	else if (c == EOF)
		add(checks, "ring", MISSING, "no FUSE over io_uring in this kernel",
		    "boot Linux 6.14 or later, modprobe fuse");
	else
		add(checks, "ring", MISSING, "FUSE over io_uring is switched off",
		    "echo Y > " RING_SWITCH ", then mount again");
}

/* Only a mount knows: its client has asked the kernel. */
static void check_kernel(json_t *checks)
{
	struct pwc_asks as = { .nr = 0 };
	int answers = 0, finds = 0;

	if (!pwc_asks_add_dir(&as, PWC_ASK_DIR, "mount-"))
		pwc_asks_run(&as, "regions", PWC_ASK_DEADLINE_MS);
	for (size_t i = 0; i < as.nr; i++) {
		const json_t *a = as.ask[i].answer;

		answers += a && json_object_get(a, "in_kernel");
		finds += a && json_is_true(json_object_get(a, "in_kernel"));
	}
	pwc_asks_fini(&as);
	if (finds)
		add(checks, "kernel", GOOD, "the kernel finds registered memory by itself", "");
	else if (answers)
		add(checks, "kernel", MISSING,
		    "only pw_pread() and pw_pwrite() copy nothing: this kernel does not find "
		    "registered memory, or not for these mounts",
		    "boot a kernel with the series (kernel/README.md), mount with the ring");
	else
		add(checks, "kernel", UNKNOWN, "no mount here can be asked what the kernel does",
		    "mount one, and ask again as root");
}

static void check_devices(json_t *checks)
{
	struct pw_rdma_probe devices[MAX_DEVICES];
	char takes[512] = "", all[512] = "", text[600];
	size_t nr = 0, takes_len = 0, all_len = 0;
	int err = pw_rdma_probe(devices, MAX_DEVICES, &nr);

	for (size_t i = 0; i < nr; i++) {
		const char *name = devices[i].name;

		all_len += (size_t)snprintf(all + all_len, sizeof(all) - all_len, " %.20s", name);
		if (devices[i].dmabuf)
			takes_len += (size_t)snprintf(takes + takes_len,
						      sizeof(takes) - takes_len, " %.20s", name);
	}
	if (err) {
		add(checks, "rdma", MISSING, "no RDMA device: mounts go over TCP",
		    err == -ENOSYS ? "install ibverbs-providers and librdmacm1"
				   : "ibv_devices lists them; deploy/softroce.sh makes one in "
				     "software");
		add(checks, "dma-buf", MISSING, "no RDMA device that could register dma-bufs",
		    "without one the memory of a GPU is copied");
		return;
	}
	snprintf(text, sizeof(text), "RDMA devices:%s", all);
	add(checks, "rdma", GOOD, text, "");
	snprintf(text, sizeof(text), "%s%s",
		 *takes ? "devices that move the memory of GPUs:" : "no device registers dma-bufs:",
		 *takes ? takes : all);
	add(checks, "dma-buf", *takes ? GOOD : MISSING, text,
	    *takes ? "" : "use a network card whose driver does; soft-RoCE and soft-iWARP do not");
}

/* Return: how many GPUs the driver finds. */
static int count_gpus(void *lib, int *ret_exporting)
{
	int (*init)(unsigned int), (*count)(int *), (*attribute)(int *, int, int);
	int nr = 0, can = 0;

	*(void **)&init = dlsym(lib, "cuInit");
	*(void **)&count = dlsym(lib, "cuDeviceGetCount");
	*(void **)&attribute = dlsym(lib, "cuDeviceGetAttribute");
	if (!init || !count || !attribute || init(0) || count(&nr))
		return 0;
	for (int i = 0; i < nr; i++)
		*ret_exporting +=
			!attribute(&can, DEVICE_ATTRIBUTE_DMA_BUF_SUPPORTED, i) && can;
	return nr;
}

/* Return: there is a GPU. */
static bool check_gpu(json_t *checks)
{
	void *lib = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
	int exporting = 0, nr = lib ? count_gpus(lib, &exporting) : 0;
	char text[100];

	if (!nr)
		add(checks, "gpu", MISSING, lib ? "CUDA finds no GPU" : "no CUDA driver",
		    "install the driver of the GPU, if there is one; nvidia-smi lists them");
	if (lib)
		dlclose(lib);
	if (!nr)
		return false;
	snprintf(text, sizeof(text), "%d of %d GPUs export their memory as dma-bufs", exporting,
		 nr);
	add(checks, "gpu", exporting ? GOOD : MISSING, text,
	    exporting ? "" : "it takes the open kernel modules, and a GPU for data centers or "
			     "workstations");
	return true;
}

/* What is about GPUs counts where there is one. */
static bool is_good(const json_t *checks, bool has_gpu)
{
	const json_t *c;
	size_t i;

	json_array_foreach(checks, i, c)
	{
		const char *name = pwc_json_text(c, "name");

		if (!has_gpu && (!strcmp(name, "gpu") || !strcmp(name, "dma-buf")))
			continue;
		if (strcmp(pwc_json_text(c, "state"), state_names[GOOD]))
			return false;
	}
	return true;
}

static void show(const json_t *checks)
{
	const json_t *c;
	size_t i;

	json_array_foreach(checks, i, c)
	{
		printf("%-8s %-8s %s\n", pwc_json_text(c, "state"), pwc_json_text(c, "name"),
		       pwc_json_text(c, "text"));
		if (*pwc_json_text(c, "fix"))
			printf("                  -> %s\n", pwc_json_text(c, "fix"));
	}
}

int pwc_cmd_doctor(struct pwc_cli *cli, int argc, char **argv)
{
	static const struct option longs[] = { PWC_CLI_OPTIONS };
	int c, code = PW_EXIT_OK;
	json_t *doc, *checks;
	bool good;

	while ((c = getopt_long(argc, argv, "q", longs, NULL)) != -1)
		if (!pwc_cli_option(cli, c, &code))
			return code;
	if (argc != optind)
		return pwc_cli_usage(cli);
	checks = json_array();
	check_ring(checks);
	check_kernel(checks);
	check_devices(checks);
	good = is_good(checks, check_gpu(checks));
	doc = json_pack("{s:s, s:b, s:o}", "schema", "pagewire.doctor/1", "good", good, "checks",
			checks);
	if (cli->json)
		json_dumpf(doc, stdout, JSON_INDENT(2)), putchar('\n');
	else if (!cli->quiet)
		show(checks);
	json_decref(doc);
	return good ? PW_EXIT_OK : PW_EXIT_DEGRADED;
}
