/* SPDX-License-Identifier: Apache-2.0 */
/* mount_pagewire.c -- mount.pagewire, the helper of mount(8): silent when all is well
 *
 * Exit codes are mount(8)'s: 1 usage, 2 system, 32 failed. The reason is pagewire-client's
 * sentence.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "client_fs/cli/mount_args.h"
#include "client_fs/cli/mountinfo.h"
#include "client_fs/cli/program.h"
#include "client_fs/options.h"
#include "common/err.h"

#define NAME "mount.pagewire"

enum {
	EX_OK = 0,
	EX_USAGE = 1,
	EX_SYSTEM = 2,
	EX_FAILED = 32
};

static int enter_namespace(const char *ns)
{
	char path[PATH_MAX];
	int fd, err = 0;

	if (ns[strspn(ns, "0123456789")])
		snprintf(path, sizeof(path), "%s", ns);
	else
		snprintf(path, sizeof(path), "/proc/%s/ns/mnt", ns);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNS) < 0) {
		err = -errno;
		fprintf(stderr, NAME ": namespace %s: %s\n", ns, pw_err_text(err));
	}
	if (fd >= 0)
		close(fd);
	return err ? EX_SYSTEM : EX_OK;
}

/* Flags of the kernel can be changed; what pagewire-client was started with can not. */
static int remount(const struct pwc_mount_args *a)
{
	const struct pwc_mountinfo *m;
	struct pwc_mountinfos all;
	char dir[PATH_MAX];
	int err = pwc_mountinfo_path(a->dir, dir);

	if (!err)
		err = pwc_mountinfo_read(NULL, &all);
	if (err) {
		fprintf(stderr, NAME ": %s: %s\n", a->dir, pw_err_text(err));
		return EX_FAILED;
	}
	m = pwc_mountinfo_at(&all, dir);
	if (!m || strcmp(m->type, PWC_MOUNTINFO_TYPE)) {
		fprintf(stderr, NAME ": %s: pagewire is not mounted there\n", dir);
		err = -EINVAL;
	} else if (!a->fake && mount(m->source, dir, NULL, MS_REMOUNT | a->flags, NULL) < 0) {
		err = -errno;
		fprintf(stderr, NAME ": remount of %s: %s\n", dir, pw_err_text(err));
	}
	pwc_mountinfo_fini(&all);
	return err ? EX_FAILED : EX_OK;
}

/* -f: everything but the mount itself. */
static int check_only(const struct pwc_mount_args *a)
{
	struct pwc_options o = { .port = 0 };
	char why[512];

	if (pwc_options_parse_source(&o, a->spec, why, sizeof(why)) ||
	    pwc_options_parse_list(&o, a->options, why, sizeof(why))) {
		fprintf(stderr, NAME ": %s\n", why);
		return EX_USAGE;
	}
	return EX_OK;
}

static int run_client(const struct pwc_mount_args *a)
{
	const char *argv[] = { "pagewire-client",	  a->spec,    a->dir,
			       *a->options ? "-o" : NULL, a->options, NULL };
	int code, err;

	if (a->verbose)
		printf(NAME ": %s %s %s %s %s\n", argv[0], argv[1], argv[2], argv[3] ? argv[3] : "",
		       argv[3] ? argv[4] : "");
	err = pwc_program_run(argv, &code);
	if (err) {
		fprintf(stderr, NAME ": cannot start pagewire-client: %s\n", pw_err_text(err));
		return EX_SYSTEM;
	}
	if (!code)
		return EX_OK;
	fprintf(stderr, NAME ": %s is not mounted at %s (pagewire-client ended with %d)\n", a->spec,
		a->dir, code);
	return code == PW_EXIT_USAGE ? EX_USAGE : EX_FAILED;
}

int main(int argc, char **argv)
{
	struct pwc_mount_args a;
	char why[512];
	int code = EX_OK;

	if (pwc_mount_args_parse(argc, argv, &a, why, sizeof(why))) {
		fprintf(stderr, NAME ": %s\n", why);
		return EX_USAGE;
	}
	if (a.help) {
		printf("usage: " NAME " HOST:PORT:/ DIR [-sfnv] [-N NAMESPACE] [-o OPTION,...]\n"
		       "for mount -t pagewire and fstab; see " NAME "(8)\n");
		return EX_OK;
	}
	if (a.ns)
		code = enter_namespace(a.ns);
	if (code)
		return code;
	if (a.remount)
		return remount(&a);
	return a.fake ? check_only(&a) : run_client(&a);
}
