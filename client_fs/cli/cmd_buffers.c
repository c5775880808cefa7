/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_buffers.c -- pagewire buffers [DIR]: memory that applications have handed to mounts */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "client_fs/cli/ask.h"
#include "client_fs/cli/cli.h"
#include "client_fs/cli/human.h"
#include "client_fs/cli/json_path.h"
#include "client_fs/cli/mountinfo.h"

/* "fio", or "" when the process is gone or another namespace's. */
static void program_of(uint64_t pid, char *ret, size_t len)
{
	char path[64];
	FILE *f;

	ret[0] = '\0';
	snprintf(path, sizeof(path), "/proc/%llu/comm", (unsigned long long)pid);
	f = fopen(path, "re");
	if (!f)
		return;
	if (!fgets(ret, (int)len, f))
		ret[0] = '\0';
	ret[strcspn(ret, "\n")] = '\0';
	fclose(f);
}

/* Of memory that nobody wants to lock. */
static const char *advice(const char *why)
{
	return strstr(why, "out of memory") ? " (raise the client's limit of locked memory: ulimit "
					      "-l, LimitMEMLOCK=)" : "";
}

static void show_region(const json_t *r)
{
	char size[PWC_HUMAN_LEN], rd[PWC_HUMAN_LEN], wr[PWC_HUMAN_LEN], name[32];
	const char *why = pwc_json_text(r, "kernel_why");

	program_of(pwc_json_number(r, "pid"), name, sizeof(name));
	printf("  %-4llu%s %llu, user %llu, %s%s, %s", (unsigned long long)pwc_json_number(r, "id"),
	       *name ? name : "process", (unsigned long long)pwc_json_number(r, "pid"),
	       (unsigned long long)pwc_json_number(r, "uid"),
	       pwc_human_bytes(pwc_json_number(r, "bytes"), size),
	       json_is_true(json_object_get(r, "dmabuf")) ? " of a dma-buf" :
	       json_is_true(json_object_get(r, "huge"))	  ? " of huge pages" : "",
	       pwc_json_text(r, "state"));
	printf("; %llu reads, %s; %llu writes, %s; %llu under way\n",
	       (unsigned long long)pwc_json_number(r, "reads"),
	       pwc_human_bytes(pwc_json_number(r, "read_bytes"), rd),
	       (unsigned long long)pwc_json_number(r, "writes"),
	       pwc_human_bytes(pwc_json_number(r, "written_bytes"), wr),
	       (unsigned long long)pwc_json_number(r, "users"));
	if (*why)
		printf("      for pw_pread() and pw_pwrite() only, the kernel has not taken it: "
		       "%s%s\n", why, advice(why));
	why = pwc_json_text(r, "transport_why");
	if (*why)
		printf("      copied once by the client, the device has not registered it: %s%s\n",
		       why, advice(why));
}

/* What is not in a region, or not as it has to be: the kernel copies it. */
static void show_misses(const json_t *m)
{
	static const struct {
		const char *name, *text;
	} reasons[] = {
		{ "unregistered", "in no region: take memory from pw_alloc(), pw_import() or "
				  "libpagewire-alloc.so" },
		{ "mixed", "partly in a region: keep each read and write within one region" },
		{ "runs", "in more pieces than 256: use fewer and larger ones" },
		{ "inactive", "in a region that was about to begin or end" },
		{ "rdonly", "reads into a region that cannot be written" },
		{ "nomem", "the kernel had no memory for a list of pieces" },
	};
	const json_t *by = json_object_get(m, "misses_by_reason");

	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
		uint64_t nr = pwc_json_number(by, reasons[i].name);

		if (nr)
			printf("    %llu %s\n", (unsigned long long)nr, reasons[i].text);
	}
}

/* What the client had to copy, as its transport could not take it from where it lies. */
static void show_copies(const json_t *m)
{
	static const struct {
		const char *name, *text;
	} reasons[] = {
		{ "not_registered_with_the_device", "in memory that the RDMA device has not "
						    "registered (see the regions below)" },
		{ "more_pieces_than_the_device_takes", "in more pieces than the RDMA device takes "
						       "at once: use fewer and larger ones" },
		{ "not_by_this_transport", "that this transport does not take from where it is" },
	};
	const json_t *by = json_object_get(m, "transport");
	char size[PWC_HUMAN_LEN];

	if (!pwc_json_number(m, "copied_in_runs"))
		return;
	printf("  the client has copied %s of what lies in regions\n",
	       pwc_human_bytes(pwc_json_number(m, "copied_in_runs"), size));
	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
		uint64_t nr = pwc_json_number(by, reasons[i].name);

		if (nr)
			printf("    %llu requests %s\n", (unsigned long long)nr, reasons[i].text);
	}
}

static void show_mount(const json_t *m)
{
	char have[PWC_HUMAN_LEN], max[PWC_HUMAN_LEN];
	const json_t *list = json_object_get(m, "regions");

	printf("mount %s: %zu regions, %s of %s\n", pwc_json_text(m, "dir"), json_array_size(list),
	       pwc_human_bytes(pwc_json_number(m, "bytes"), have),
	       pwc_human_bytes(pwc_json_number(m, "max_bytes"), max));
	if (json_is_true(json_object_get(m, "in_kernel")))
		printf("  the kernel found %llu requests in them (%llu in several pieces), and "
		       "copied %llu\n",
		       (unsigned long long)pwc_json_number(m, "hits"),
		       (unsigned long long)pwc_json_number(m, "hits_in_runs"),
		       (unsigned long long)pwc_json_number(m, "misses"));
	else
		printf("  for pw_pread() and pw_pwrite() only, the kernel does not find them by "
		       "itself: %s\n", pwc_json_text(m, "kernel_why"));
	show_misses(m);
	show_copies(m);
	if (pwc_json_number(m, "refused") + pwc_json_number(m, "refused_requests"))
		printf("  refused: %llu regions, %llu requests\n",
		       (unsigned long long)pwc_json_number(m, "refused"),
		       (unsigned long long)pwc_json_number(m, "refused_requests"));
	for (size_t i = 0; i < json_array_size(list); i++)
		show_region(json_array_get(list, i));
}

/* What the mounts have answered; @dir NULL: all of them. */
static json_t *collect(const struct pwc_asks *as, const char *dir)
{
	json_t *doc = json_object(), *mounts = json_array();

	json_object_set_new(doc, "schema", json_string("pagewire.buffers/1"));
	json_object_set_new(doc, "mounts", mounts);
	for (size_t i = 0; i < as->nr; i++)
		if (as->ask[i].answer && pwc_json_at(as->ask[i].answer, "regions") &&
		    (!dir || !strcmp(dir, pwc_json_text(as->ask[i].answer, "dir"))))
			json_array_append(mounts, as->ask[i].answer);
	return doc;
}

static int show(struct pwc_cli *cli, const char *dir)
{
	struct pwc_asks as = { .nr = 0 };
	int err = pwc_asks_add_dir(&as, PWC_ASK_DIR, "mount-"), code = PW_EXIT_OK;
	const json_t *mounts;
	json_t *doc;

	if (err) {
		pwc_cli_error(cli, "%s: %s", PWC_ASK_DIR, pw_err_text(err));
		return PW_EXIT_ERROR;
	}
	pwc_asks_run(&as, "regions", PWC_ASK_DEADLINE_MS);
	doc = collect(&as, dir);
	mounts = json_object_get(doc, "mounts");
	for (size_t i = 0; i < as.nr; i++)
		if (as.ask[i].err == -EACCES && !json_array_size(mounts))
			code = PW_EXIT_PERM;
	if (code)
		pwc_cli_error(cli, "mounts are not yours to ask: try it as root");
	else if (dir && !json_array_size(mounts))
		code = PW_EXIT_ERROR, pwc_cli_error(cli, "no mount of pagewire answers at %s", dir);
	else if (cli->json)
		json_dumpf(doc, stdout, JSON_INDENT(2)), putchar('\n');
	for (size_t i = 0; !code && !cli->json && !cli->quiet && i < json_array_size(mounts); i++)
		show_mount(json_array_get(mounts, i));
	json_decref(doc);
	pwc_asks_fini(&as);
	return code;
}

int pwc_cmd_buffers(struct pwc_cli *cli, int argc, char **argv)
{
	static const struct option longs[] = { PWC_CLI_OPTIONS };
	char dir[PATH_MAX];
	int c, code = PW_EXIT_OK;

	while ((c = getopt_long(argc, argv, "q", longs, NULL)) != -1)
		if (!pwc_cli_option(cli, c, &code))
			return code;
	if (argc - optind > 1)
		return pwc_cli_usage(cli);
	if (argc == optind)
		return show(cli, NULL);
	if (pwc_mountinfo_path(argv[optind], dir)) {
		pwc_cli_error(cli, "%s: %s", argv[optind], pw_err_text(-ENOENT));
		return PW_EXIT_ERROR;
	}
	return show(cli, dir);
}
