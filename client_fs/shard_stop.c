/* SPDX-License-Identifier: Apache-2.0 */
/* shard_stop.c -- see shard_stop.h */
#include "client_fs/shard_stop.h"

#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client_fs/control.h"
#include "client_fs/region_sock.h"
#include "client_fs/shard.h"
#include "common/err.h"
#include "common/log.h"

/* How long the last users of a busy mount may go on after it was detached. */
#define LAST_USERS_NS (10 * PW_NS_PER_S)
#define LOOK_NS (5 * PW_NS_PER_MS)

static void arm(struct pwc_shard *sh, uint64_t in_ns)
{
	pw_timer_arm(sh->loop, &sh->timer, pw_loop_now(sh->loop) + in_ns);
}

/* The last resort: the end of this process closes /dev/fuse, and the watcher detaches the mount. */
static void abandon(struct pwc_shard *sh, const char *why)
{
	pw_log_warn("mount %s: %s; leaving it to the end of this process", sh->o->dir, why);
	sh->abandoned = true;
	pw_loop_stop(sh->loop);
}

static void start_umount(struct pwc_shard *sh, enum pwc_umount how)
{
	int err = pwc_mount_spawn_umount(&sh->mnt, how, &sh->umount_pid);

	sh->umount_how = how;
	if (!err)
		return;
	sh->umount_pid = 0;
	pw_log_err("mount %s: cannot start umount, %s", sh->o->dir, pw_err_text(err));
	if (how == PWC_UMOUNT_FORCE)
		abandon(sh, "it cannot be aborted");
	else
		pwc_shard_abort(sh);
}

void pwc_shard_stop(struct pwc_shard *sh)
{
	sh->stop_requests++;
	switch (sh->sm.state) {
	case PWC_SHARD_NEW:
	case PWC_SHARD_CONNECTING:
		pwc_shard_begin_stop(sh);
		return;
	case PWC_SHARD_UNMOUNTING:
		/* asked again while the last users are awaited */
		if (!sh->umount_pid && sh->umount_how != PWC_UMOUNT_FORCE)
			pwc_shard_abort(sh);
		return;
	case PWC_SHARD_STOPPING:
	case PWC_SHARD_STOPPED:
		return;
	default:
		break;
	}
	if (!sh->mnt.is_mounted) {
		pwc_shard_begin_stop(sh);
		return;
	}
	pw_sm_move(&sh->sm, PWC_SHARD_UNMOUNTING, sh->stop_requests);
	start_umount(sh, PWC_UMOUNT_PLAIN);
}

void pwc_shard_abort(struct pwc_shard *sh)
{
	pwc_peer_give_up(sh->peer);
	if (!sh->mnt.is_mounted)
		return;
	/* fusectl need not be mounted, or not be ours to write to */
	if (pwc_mount_abort(&sh->mnt))
		start_umount(sh, PWC_UMOUNT_FORCE);
}

/* umount has ended. The end of the connection is told by /dev/fuse; this is about a mount that
 * stays. */
static void on_umount(struct pwc_shard *sh, int status)
{
	bool good = WIFEXITED(status) && !WEXITSTATUS(status);

	sh->umount_pid = 0;
	if (!sh->mnt.is_mounted)
		return;
	if (sh->umount_how == PWC_UMOUNT_FORCE) {
		if (!good)
			abandon(sh, "it cannot be aborted");
	} else if (good && !sh->dev.started) {
		/* UNTESTED: nobody reads /dev/fuse, so nobody will tell */
		sh->mnt.is_mounted = false;
		pwc_shard_begin_stop(sh);
	} else if (good) {
		/* gone from here; another mount namespace or an open file may still have it */
		arm(sh, LAST_USERS_NS);
	} else if (sh->umount_how == PWC_UMOUNT_LAZY) {
		pw_log_err("mount %s: cannot be detached; cutting the connection", sh->o->dir);
		pwc_shard_abort(sh);
	} else {
		pw_log_warn("mount %s: in use; detached, the last users have %u s", sh->o->dir,
			    (uint32_t)(LAST_USERS_NS / PW_NS_PER_S));
		start_umount(sh, PWC_UMOUNT_LAZY);
	}
}

static void reap_children(struct pwc_shard *sh)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (pid == sh->umount_pid)
			on_umount(sh, status);
}

static void on_signals(struct pw_fd *f)
{
	struct pwc_shard *sh = pw_container_of(f, struct pwc_shard, signals);
	struct signalfd_siginfo si;

	while (read(f->fd, &si, sizeof(si)) == sizeof(si)) {
		if (si.ssi_signo != SIGCHLD) {
			pw_log_info("mount %s: signal %u, unmounting", sh->o->dir, si.ssi_signo);
			pwc_shard_stop(sh);
		} else {
			reap_children(sh);
		}
	}
}

int pwc_stop_watch_signals(struct pwc_shard *sh)
{
	sigset_t set;
	int err;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	sh->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (sh->signal_fd < 0)
		return -errno;
	err = pw_fd_start(sh->loop, &sh->signals, sh->signal_fd, on_signals);
	sh->signals_on = !err;
	return err;
}

static void on_dev_closed(struct pw_fd *f)
{
	struct pwc_shard *sh = pw_container_of(pw_container_of(f, struct pwc_dev, fd),
					       struct pwc_shard, dev);

	sh->dev.started = false;
	pwc_shard_check_stopped(sh);
}

static void on_signals_closed(struct pw_fd *f)
{
	struct pwc_shard *sh = pw_container_of(f, struct pwc_shard, signals);

	sh->signals_on = false;
	pwc_shard_check_stopped(sh);
}

void pwc_shard_begin_stop(struct pwc_shard *sh)
{
	if (sh->sm.state == PWC_SHARD_STOPPING || sh->sm.state == PWC_SHARD_STOPPED)
		return;
	if (sh->sm.state == PWC_SHARD_NEW)
		pw_sm_move(&sh->sm, PWC_SHARD_CONNECTING, 0);
	pw_sm_move(&sh->sm, PWC_SHARD_STOPPING, (uint32_t)sh->exit_code);
	pw_ready_cancel(&sh->settle);
	pw_ready_cancel(&sh->pin);
	pwc_recheck_stop(&sh->recheck);
	pwc_control_stop(sh->control);
	pwc_region_sock_stop(sh->region_sock);
	if (sh->dev.started)
		pwc_dev_stop(&sh->dev, on_dev_closed);
	if (sh->signals_on)
		pw_fd_stop(&sh->signals, on_signals_closed);
	pwc_peer_stop(sh->peer);
	arm(sh, LOOK_NS);
}

static bool is_any_busy(const struct pwc_shard *sh)
{
	for (uint32_t i = 0; i < sh->nr_reqs; i++)
		if (!pwc_req_is_free(sh->reqs[i]))
			return true;
	return sh->opens.nr_releasing > 0 || sh->recheck.nr_out > 0;
}

void pwc_shard_check_stopped(struct pwc_shard *sh)
{
	if (sh->sm.state != PWC_SHARD_STOPPING || !sh->peer_stopped || sh->dev.started ||
	    sh->signals_on || sh->ring.nr_out || sh->reg.nr_out || is_any_busy(sh) ||
	    !pwc_control_is_stopped(sh->control) || !pwc_region_sock_is_stopped(sh->region_sock))
		return;
	/* no request is under way, and the kernel has nothing of ours any more */
	pwc_regions_end_all(&sh->regions);
	pw_sm_move(&sh->sm, PWC_SHARD_STOPPED, 0);
	pwc_control_free(sh->control);
	sh->control = NULL;
	pwc_region_sock_free(sh->region_sock);
	sh->region_sock = NULL;
	pw_timer_cancel(sh->loop, &sh->timer);
	pw_loop_stop(sh->loop);
}

static void on_timer(struct pw_timer *t)
{
	struct pwc_shard *sh = pw_container_of(t, struct pwc_shard, timer);

	if (sh->sm.state == PWC_SHARD_UNMOUNTING) {
		pw_log_warn("mount %s: still in use, cutting the connection", sh->o->dir);
		pwc_shard_abort(sh);
		return;
	}
	/* A notification or a ring command may be the last to end: neither tells this file. */
	pwc_shard_check_stopped(sh);
	if (sh->sm.state == PWC_SHARD_STOPPING)
		arm(sh, LOOK_NS);
}

void pwc_stop_init(struct pwc_shard *sh)
{
	pw_timer_init(&sh->timer, on_timer);
}
