/* SPDX-License-Identifier: Apache-2.0 */
/* main.c -- pagewire-client HOST:PORT:/ DIR [-o opt,...] [-f]: order of the start, exit code
 *
 * options, key -> launcher's fork -> watcher's fork -> loop, peer, mount. Both forks come before
 * anything that a child must not inherit. See launch.h and watcher.h.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client_fs/fuse_param.h"
#include "client_fs/launch.h"
#include "client_fs/options.h"
#include "client_fs/shard.h"
#include "client_fs/watcher.h"
#include "common/err.h"
#include "common/log.h"
#include "common/sd_notify.h"

struct client {
	struct pwc_options o;
	struct pwc_launch launch;
	struct pwc_watcher watcher;
};

static void on_ready(struct pwc_shard *sh)
{
	struct client *c = sh->owner;

	pwc_launch_ready(&c->launch);
	pw_sd_notify("READY=1");
}

static void on_mounted(struct pwc_shard *sh)
{
	struct client *c = sh->owner;

	pwc_watcher_mounted(&c->watcher, sh->mnt.info.id);
}

static void on_unmounted(struct pwc_shard *sh)
{
	struct client *c = sh->owner;

	pwc_watcher_goodbye(&c->watcher);
}

static int check_first(struct client *c, char *why, size_t len)
{
	struct pwc_mount_id id;
	int err = pwc_options_load_key(&c->o, why, len);

	if (err)
		return err == -EACCES ? PW_EXIT_PERM : PW_EXIT_KEY;
	if (access("/dev/fuse", F_OK)) {
		snprintf(why, len, "no /dev/fuse here: modprobe fuse, or run the container with "
			 "--device /dev/fuse");
		return PW_EXIT_NO_FUSE;
	}
	if (!pwc_mount_id_find(c->o.dir, NULL, &id)) {
		snprintf(why, len, "%s: pagewire is mounted there already", c->o.dir);
		return PW_EXIT_ERROR;
	}
	if (c->o.io_uring == PWC_IO_URING_ON && !pwc_fuse_param_may_have_ring()) {
		size_t n = (size_t)snprintf(why, len, "io_uring=on: ");

		pwc_fuse_param_why_no_ring(why + n, len - n);
		return PW_EXIT_NO_URING;
	}
	return PW_EXIT_OK;
}

static int serve(struct client *c)
{
	static const struct pwc_shard_ops ops = { on_ready, on_mounted, on_unmounted };
	struct pwc_shard *sh;
	char why[128];
	int code, err = pwc_shard_new(&sh, &c->o, &ops, c);

	if (err) {
		bool uring = err == -ENOSYS || err == -EPERM;

		snprintf(why, sizeof(why), uring ? "io_uring is not available here: %s" : "%s",
			 pw_err_text(err));
		pwc_launch_failed(&c->launch, uring ? PW_EXIT_NO_URING : PW_EXIT_ERROR, why);
		return uring ? PW_EXIT_NO_URING : PW_EXIT_ERROR;
	}
	code = pwc_shard_run(sh);
	if (sh->abandoned)
		_exit(code); /* the watcher sees to the mount */
	if (code)
		pwc_launch_failed(&c->launch, code, sh->why);
	pwc_shard_free(sh);
	pwc_watcher_end(&c->watcher);
	return code;
}

int main(int argc, char **argv)
{
	static struct client c = { .launch = { .fd = -1 }, .watcher = { .fd = -1 } };
	char why[PATH_MAX + 128];
	int err, code;

	pw_log_init("pagewire-client");
	err = pwc_options_parse(argc, argv, &c.o, why, sizeof(why));
	if (err) {
		fprintf(stderr, "pagewire-client: %s\n", why);
		return PW_EXIT_USAGE;
	}
	code = check_first(&c, why, sizeof(why));
	if (code) {
		fprintf(stderr, "pagewire-client: %s\n", why);
		return code;
	}
	err = c.o.foreground ? 0 : pwc_launch_fork(&c.launch);
	if (!err)
		err = pwc_watcher_start(&c.watcher, &c.o);
	if (err) {
		pwc_launch_failed(&c.launch, PW_EXIT_ERROR, pw_err_text(err));
		return PW_EXIT_ERROR;
	}
	return serve(&c);
}
