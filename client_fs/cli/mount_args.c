/* SPDX-License-Identifier: Apache-2.0 */
/* mount_args.c -- see mount_args.h */
#include "client_fs/cli/mount_args.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>

#include "client_fs/options.h"

static const struct {
	const char *name;
	unsigned long set, clear;
} flags[] = {
	{ "ro", MS_RDONLY, 0 },
	{ "rw", 0, MS_RDONLY },
	{ "nosuid", MS_NOSUID, 0 },
	{ "suid", 0, MS_NOSUID },
	{ "nodev", MS_NODEV, 0 },
	{ "dev", 0, MS_NODEV },
	{ "noexec", MS_NOEXEC, 0 },
	{ "exec", 0, MS_NOEXEC },
	{ "sync", MS_SYNCHRONOUS, 0 },
	{ "async", 0, MS_SYNCHRONOUS },
	{ "noatime", MS_NOATIME, 0 },
	{ "atime", 0, MS_NOATIME },
	{ "relatime", MS_RELATIME, 0 },
	{ "norelatime", 0, MS_RELATIME },
	{ "nodiratime", MS_NODIRATIME, 0 },
};

static void note_flag(struct pwc_mount_args *a, const char *word)
{
	for (size_t i = 0; i < PW_ARRAY_SIZE(flags); i++)
		if (!strcmp(word, flags[i].name))
			a->flags = (a->flags | flags[i].set) & ~flags[i].clear;
}

static bool is_known(const char *word)
{
	struct pwc_options scratch = { .port = 0 };
	char why[256];

	/* a bad value of a known option stays an error, also with -s */
	return !pwc_options_parse_list(&scratch, word, why, sizeof(why)) ||
	       strncmp(why, "unknown option", strlen("unknown option"));
}

static int add_list(struct pwc_mount_args *a, char *list, char *why, size_t len)
{
	size_t used = strlen(a->options);
	char *save = NULL;

	for (char *w = strtok_r(list, ",", &save); w; w = strtok_r(NULL, ",", &save)) {
		int n;

		if (!strcmp(w, "remount")) {
			a->remount = true;
			continue;
		}
		note_flag(a, w);
		if (a->sloppy && !is_known(w))
			continue;
		n = snprintf(a->options + used, sizeof(a->options) - used, "%s%s", used ? "," : "",
			     w);
		if (n < 0 || (size_t)n >= sizeof(a->options) - used) {
			snprintf(why, len, "the option list is too long");
			return -EINVAL;
		}
		used += (size_t)n;
	}
	return 0;
}

int pwc_mount_args_parse(int argc, char **argv, struct pwc_mount_args *ret, char *why, size_t len)
{
	char *lists[8];
	int c, nr = 0, err = 0;

	*ret = (struct pwc_mount_args){ .spec = NULL };
	optind = 0; /* tests parse more than once */
	opterr = 0;
	while ((c = getopt(argc, argv, "sfnvhN:o:t:")) != -1) {
		switch (c) {
		case 's':
			ret->sloppy = true;
			break;
		case 'f':
			ret->fake = true;
			break;
		case 'v':
			ret->verbose = true;
			break;
		case 'h':
			ret->help = true;
			return 0;
		case 'N':
			ret->ns = optarg;
			break;
		case 'o':
			if (nr == (int)PW_ARRAY_SIZE(lists)) {
				snprintf(why, len, "too many -o");
				return -EINVAL;
			}
			lists[nr++] = optarg;
			break;
		case 'n': /* there is no mtab */
		case 't': /* we are that type */
			break;
		default:
			snprintf(why, len,
				 "what is -%c? usage: mount.pagewire HOST:PORT:/ DIR "
				 "[-sfnv] [-N NAMESPACE] [-o OPTION,...]",
				 optopt);
			return -EINVAL;
		}
	}
	/* -s may come behind -o */
	for (int i = 0; !err && i < nr; i++)
		err = add_list(ret, lists[i], why, len);
	if (!err && argc - optind != 2) {
		snprintf(why, len,
			 "usage: mount.pagewire HOST:PORT:/ DIR [-sfnv] [-N NAMESPACE] "
			 "[-o OPTION,...]");
		err = -EINVAL;
	}
	if (!err) {
		ret->spec = argv[optind];
		ret->dir = argv[optind + 1];
	}
	return err;
}
