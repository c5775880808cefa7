/* SPDX-License-Identifier: Apache-2.0 */
/* shard.h -- one mount: its loop, its FUSE queues, its connection; wiring only
 *
 *	new -> connecting -> (peer up) -> mounting -> (INIT) -> registering -> serving
 *	-> unmounting -> stopping -> stopped
 *
 * The connection comes first: a wrong key, a wrong version or a node that is not there is told
 * before anything is mounted. One thread, one loop, one of these per process.
 * Thread: the loop's own.
 */
#ifndef PWC_SHARD_H
#define PWC_SHARD_H

#include "client_fs/entry.h"
#include "client_fs/fuse_arena.h"
#include "client_fs/fuse_dev.h"
#include "client_fs/fuse_mount.h"
#include "client_fs/fuse_ring.h"
#include "client_fs/gone.h"
#include "client_fs/interrupt.h"
#include "client_fs/notify.h"
#include "client_fs/opens.h"
#include "client_fs/options.h"
#include "client_fs/peer.h"
#include "client_fs/placement.h"
#include "client_fs/recheck.h"
#include "client_fs/region.h"
#include "client_fs/stats.h"
#include "common/uring.h"

struct pwc_control;
struct pwc_region_sock;

enum pwc_shard_state {
	PWC_SHARD_NEW,
	PWC_SHARD_CONNECTING, /* to the node, for the first time */
	PWC_SHARD_MOUNTING, /* memory is made; then mounted, INIT not answered yet */
	PWC_SHARD_REGISTERING, /* ring entries handed to the kernel, failures would show now */
	PWC_SHARD_SERVING,
	PWC_SHARD_UNMOUNTING, /* umount runs, or the last users are awaited */
	PWC_SHARD_STOPPING, /* the mount is gone; peer and ring drain */
	PWC_SHARD_STOPPED,
	PWC_SHARD_NR_STATES
};

struct pwc_shard_ops {
	/* Usable: the launcher may return. */
	void (*on_ready)(struct pwc_shard *sh);
	/* Mounted; @sh->mnt says where and as what. */
	void (*on_mounted)(struct pwc_shard *sh);
	/* Unmounted in order: nobody has to clean up. Not called for a connection that was cut. */
	void (*on_unmounted)(struct pwc_shard *sh);
};

/* What umount(8) and df(1) get while the node is away: the last that was heard of it. */
struct pwc_last {
	struct pw_attr root;
	struct pw_body_statfs space;
};

struct pwc_shard {
	struct pw_sm sm;
	struct pw_loop *loop;
	const struct pwc_options *o; /* borrowed for life */
	const struct pwc_shard_ops *ops;
	void *owner;

	struct pw_identity identity;
	struct pwc_peer *peer; /* owns */
	struct pwc_layout layout;
	struct pwc_opens opens;
	struct pwc_stats stats;
	struct pw_attr told[PWC_ENTRY_TOLD_NR]; /* see entry.h */
	struct pwc_gone gone;
	struct pwc_last last;

	struct pwc_arena arena;
	struct pwc_mount mnt;
	struct pwc_dev dev;
	struct pwc_ring ring;
	struct pwc_notify notify;
	struct pwc_recheck recheck;
	struct pwc_req **reqs; /* every request that can exist, by its idx; owns the array */
	uint8_t *dir_page; /* max_io bytes: a directory page in the making; owns */
	uint32_t nr_reqs;
	uint32_t max_io; /* bytes */
	uint32_t nr_queues, depth; /* of the ring; 0: none */
	bool use_ring; /* decided at INIT; false also after a fallback */
	char no_ring[160]; /* why there is none; "" while there is one */
	char no_regions[240]; /* why the kernel does not find regions by itself; "" if it does */

	struct pwc_interrupts interrupts;
	/* UNMOUNTING: patience with the last users; STOPPING: looks what is left */
	struct pw_timer timer;
	struct pw_ready pin; /* the next piece of the arena */
	struct pw_ready settle; /* registrations had their chance to fail */
	uint32_t settle_turns;
	struct pw_fd signals;
	int signal_fd, umount_pid;
	enum pwc_umount umount_how; /* of umount_pid, or of the last one */
	bool peer_stopped, signals_on;
	bool abandoned; /* the loop was left with work in flight: only exit can end it */
	uint32_t stop_requests;

	struct pwc_control *control;
	struct pwc_regions regions;
	struct pwc_reg reg; /* the kernel's side of them */
	struct pwc_region_sock *region_sock; /* NULL: zc=off, or no rights in /run */
	uint64_t mounted_at_ns; /* realtime */
	int exit_code; /* enum pw_exit */
	char why[256]; /* text with exit_code */
};

int pwc_shard_new(struct pwc_shard **ret, const struct pwc_options *o,
		  const struct pwc_shard_ops *ops, void *owner);
void pwc_shard_free(struct pwc_shard *sh);
/* Connects, mounts, serves; returns when the mount is gone. Return: enum pw_exit; sh->why has the
 * text. */
int pwc_shard_run(struct pwc_shard *sh);

/* Asks for an orderly end; the second time it is less patient. */
void pwc_shard_stop(struct pwc_shard *sh);
/* umount -f: ends what waits, cuts the kernel's connection. */
void pwc_shard_abort(struct pwc_shard *sh);

/* The largest READ or WRITE of this mount, bytes. */
uint32_t pwc_shard_max_io(const struct pwc_shard *sh);

/* Ends the mount, or the attempt, with one sentence and an exit code; the first call counts. */
void pwc_shard_fail(struct pwc_shard *sh, int code, const char *fmt, ...) PW_PRINTF(3, 4);
const char *pwc_shard_state_name(const struct pwc_shard *sh);

/* For fuse_session.c: can there be a ring (asked while INIT is being answered); INIT is
 * answered. */
bool pwc_shard_prepare_ring(struct pwc_shard *sh);
void pwc_shard_on_init(struct pwc_shard *sh);

#endif
