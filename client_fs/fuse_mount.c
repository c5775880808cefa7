/* SPDX-License-Identifier: Apache-2.0 */
/* fuse_mount.c -- mount, unmount, abort; can fail: no /dev/fuse, not allowed, directory gone */
#include "client_fs/fuse_mount.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "client_fs/ll_ops.h"
#include "client_fs/shard.h"
#include "common/log.h"

static int check_device(void)
{
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

/* libfuse explains a failed mount in words of its own. */
static void log_libfuse(enum fuse_log_level level, const char *fmt, va_list ap)
{
	char line[256];
	int n = vsnprintf(line, sizeof(line), fmt, ap);

	(void)level;
	n = PW_MIN(n, (int)sizeof(line) - 1);
	while (n > 0 && line[n - 1] == '\n')
		line[--n] = '\0';
	if (n > 0)
		pw_log_warn("libfuse: %s", line);
}

static int spawn(const char **argv, int *ret_pid)
{
	posix_spawnattr_t attr;
	sigset_t none, dfl;
	pid_t pid;
	int err;

	sigemptyset(&none);
	sigemptyset(&dfl);
	sigaddset(&dfl, SIGPIPE);
	sigaddset(&dfl, SIGHUP);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &dfl);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	err = posix_spawnp(&pid, argv[0], NULL, &attr, (char **)(uintptr_t)argv, environ);
	posix_spawnattr_destroy(&attr);
	if (err)
		return -err;
	*ret_pid = pid;
	return 0;
}

int pwc_mount_start(struct pwc_mount *m, struct pwc_shard *sh)
{
	int fd, err = check_device();

	if (err)
		return err == -ENOENT || err == -ENXIO ? -ENODEV : err;
	err = pwc_mount_open(m, sh);
	if (err)
		return err;
	fuse_set_log_func(log_libfuse);
	errno = 0;
	if (fuse_session_mount(m->se, sh->o->dir)) {
		err = errno ? -errno : -EIO;
		pwc_mount_fini(m);
		return err;
	}
	m->is_mounted = true;
	fd = fuse_session_fd(m->se);
	err = pwc_mount_attach(m, fd);
	if (!err && (fcntl(fd, F_SETFL, O_NONBLOCK) || fcntl(fd, F_SETFD, FD_CLOEXEC)))
		err = -errno;
	if (err) { /* UNTESTED: a descriptor that was just opened */
		pwc_mount_fini(m);
		return err;
	}
	if (pwc_mount_id_find(sh->o->dir, sh->o->source, &m->info))
		pw_log_warn("mount %s: not found in /proc/self/mountinfo", sh->o->dir);
	return 0;
}

int pwc_mount_spawn_umount(const struct pwc_mount *m, enum pwc_umount how, int *ret_pid)
{
	/* -i: without a helper, which would ask us to do it */
	static const char *const as_root[][3] = {
		[PWC_UMOUNT_PLAIN] = { "-i" },
		[PWC_UMOUNT_LAZY] = { "-i", "-l" },
		[PWC_UMOUNT_FORCE] = { "-i", "-f", "-l" },
	};
	static const char *const as_user[][3] = {
		[PWC_UMOUNT_PLAIN] = { "-u" },
		[PWC_UMOUNT_LAZY] = { "-u", "-z" },
		[PWC_UMOUNT_FORCE] = { NULL },
	};
	bool root = geteuid() == 0;
	const char *argv[8] = { root ? "umount" : "fusermount3" };
	const char *const *opt = root ? as_root[how] : as_user[how];
	uint32_t n = 1;

	if (!opt[0])
		return -EPERM;
	for (uint32_t i = 0; i < 3 && opt[i]; i++)
		argv[n++] = opt[i];
	argv[n++] = "--";
	argv[n++] = m->sh->o->dir;
	return spawn(argv, ret_pid);
}

int pwc_mount_abort(const struct pwc_mount *m)
{
	char path[64];
	int fd, err = 0;

	snprintf(path, sizeof(path), "/sys/fs/fuse/connections/%u/abort", m->info.minor);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, "1", 1) != 1)
		err = -errno;
	close(fd);
	return err;
}
