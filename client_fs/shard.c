/* SPDX-License-Identifier: Apache-2.0 */
/* shard.c -- the life of a mount
 *
 * Happy path: connect -> memory -> mount -> INIT -> ring entries -> serving -> the mount goes ->
 * peer, ring and /dev/fuse drain -> stopped. Can fail: see fail(): one sentence and one exit code,
 * then the same way down.
 */
#include "client_fs/shard.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client_fs/control.h"
#include "client_fs/fuse_param.h"
#include "client_fs/region_sock.h"
#include "client_fs/shard_stop.h"
#include "common/err.h"
#include "common/fault.h"
#include "common/local_addr.h"
#include "common/log.h"
#include "common/random.h"

/* Requests at once over /dev/fuse; fewer of those that are larger than 1 MiB, as all of this memory
 * is pinned where a device knows it. */
#define DEV_BUFS_MAX   256u
#define DEV_BUFS_MIN   32u
#define DEV_BUFS_BYTES (256 * PW_MIB)
#define SETTLE_TURNS   3u

static const struct pw_sm_state states[] = {
	[PWC_SHARD_NEW] = { "new", PW_SM_TO(PWC_SHARD_CONNECTING) },
	[PWC_SHARD_CONNECTING] = { "connecting",
				   PW_SM_TO(PWC_SHARD_MOUNTING) | PW_SM_TO(PWC_SHARD_STOPPING) },
	[PWC_SHARD_MOUNTING] = { "mounting",
				 PW_SM_TO(PWC_SHARD_REGISTERING) | PW_SM_TO(PWC_SHARD_SERVING) |
					 PW_SM_TO(PWC_SHARD_UNMOUNTING) |
					 PW_SM_TO(PWC_SHARD_STOPPING) },
	[PWC_SHARD_REGISTERING] = { "registering",
				    PW_SM_TO(PWC_SHARD_SERVING) | PW_SM_TO(PWC_SHARD_UNMOUNTING) |
					    PW_SM_TO(PWC_SHARD_STOPPING) },
	[PWC_SHARD_SERVING] = { "serving",
				PW_SM_TO(PWC_SHARD_UNMOUNTING) | PW_SM_TO(PWC_SHARD_STOPPING) },
	[PWC_SHARD_UNMOUNTING] = { "unmounting",
				   PW_SM_TO(PWC_SHARD_STOPPING) },
	[PWC_SHARD_STOPPING] = { "stopping", PW_SM_TO(PWC_SHARD_STOPPED) },
	[PWC_SHARD_STOPPED] = { "stopped", 0 },
};
static const struct pw_sm_type shard_type = PW_SM_TYPE("shard", states);

const char *pwc_shard_state_name(const struct pwc_shard *sh)
{
	return pw_sm_state_name(&sh->sm);
}

uint32_t pwc_shard_max_io(const struct pwc_shard *sh)
{
	return sh->max_io;
}

void pwc_shard_fail(struct pwc_shard *sh, int code, const char *fmt, ...)
{
	va_list ap;

	if (!sh->exit_code) {
		sh->exit_code = code;
		va_start(ap, fmt);
		vsnprintf(sh->why, sizeof(sh->why), fmt, ap);
		va_end(ap);
	}
	pwc_shard_stop(sh);
}

/* ------------------------------------------------------------------------------ the mount, step by
 * step */

/* The kernel has agreed to it, and its ring works. */
static void use_regions(struct pwc_shard *sh)
{
	int err = pwc_reg_init(&sh->reg, sh->loop, sh->mnt.fd);

	if (!err)
		err = pwc_ring_use_regions(&sh->ring, &sh->regions);
	if (err)
		snprintf(sh->no_regions, sizeof(sh->no_regions),
			 "the kernel was not told of them: %s", pw_err_text(err));
	else
		sh->regions.kernel = &sh->reg.kernel;
}

static void find_regions(struct pwc_shard *sh)
{
	sh->no_regions[0] = '\0';
	if (sh->o->zc == PWC_ZC_OFF)
		snprintf(sh->no_regions, sizeof(sh->no_regions), "switched off by zc=off");
	else if (!sh->use_ring)
		snprintf(sh->no_regions, sizeof(sh->no_regions),
			 "it takes FUSE over io_uring (%s)", sh->no_ring);
	else if (!(sh->mnt.flags & FUSE_URING_REG_FD))
		snprintf(sh->no_regions, sizeof(sh->no_regions),
			 "it takes a kernel with registered regions (see kernel/README.md)");
	else
		use_regions(sh);
}

static void serve(struct pwc_shard *sh)
{
	find_regions(sh);
	if (sh->o->zc == PWC_ZC_REQUIRE && !sh->regions.kernel) {
		pwc_shard_fail(sh, PW_EXIT_ERROR,
			       "zc=require: this kernel does not find registered buffers by "
			       "itself: %s; with zc=auto pw_pread() and pw_pwrite() use them",
			       sh->no_regions);
		return;
	}
	pw_sm_move(&sh->sm, PWC_SHARD_SERVING, sh->use_ring);
	sh->mounted_at_ns = pw_loop_realtime(sh->loop);
	if (sh->o->readahead)
		pwc_fuse_param_readahead(&sh->mnt.info, sh->o->readahead);
	sh->ops->on_ready(sh);
	if (sh->use_ring)
		pw_log_info("mount %s: serving %s through the FUSE ring (%u queues of %u entries)",
			    sh->o->dir, sh->o->source, sh->ring.o.nr_queues, sh->ring.o.depth);
	else
		pw_log_info("mount %s: serving %s through /dev/fuse: %s", sh->o->dir, sh->o->source,
			    sh->no_ring);
}

static void on_ring_failed(struct pwc_ring *ring, int err)
{
	struct pwc_shard *sh = ring->owner;

	snprintf(sh->no_ring, sizeof(sh->no_ring), "the kernel refused a ring entry: %s",
		 pw_err_text(err));
	sh->use_ring = false;
	if (sh->sm.state == PWC_SHARD_REGISTERING)
		return; /* settle() goes on from here */
	/* UNTESTED: nothing registers once the ring is in use */
	pw_log_err("mount %s: %s; the connection is of no use any more", sh->o->dir, sh->no_ring);
	pwc_shard_abort(sh);
}

static void on_ring_drained(struct pwc_ring *ring)
{
	pwc_shard_check_stopped(ring->owner);
}

static void settle(struct pw_ready *r)
{
	struct pwc_shard *sh = pw_container_of(r, struct pwc_shard, settle);

	if (sh->sm.state != PWC_SHARD_REGISTERING)
		return;
	if (!sh->ring.failed && (!sh->ring.registered || ++sh->settle_turns < SETTLE_TURNS)) {
		pw_loop_ready(sh->loop, &sh->settle);
		return;
	}
	if (sh->ring.failed && sh->o->io_uring == PWC_IO_URING_ON)
		pwc_shard_fail(sh, PW_EXIT_NO_URING, "io_uring=on: %s", sh->no_ring);
	else
		serve(sh);
}

static const char *why_no_ring(struct pwc_shard *sh)
{
	if (!*sh->no_ring)
		pwc_fuse_param_why_no_ring(sh->no_ring, sizeof(sh->no_ring));
	return sh->no_ring;
}

/* Everything that can fail comes before the answer: a ring that was agreed on and never registered
 * would block every request. */
bool pwc_shard_prepare_ring(struct pwc_shard *sh)
{
	static const struct pwc_ring_ops ops = { on_ring_failed, on_ring_drained };
	struct pwc_ring_opts o = {
		.nr_queues = sh->nr_queues,
		.depth = sh->depth,
		/* What lies in a region has no buffer of a pool; an entry always has one, should it
		 * have to be copied after all. */
		.bufpool = sh->mnt.kernel_flags & FUSE_HAS_IO_URING_BUFPOOL &&
			   (sh->o->zc == PWC_ZC_OFF ||
			    !(sh->mnt.kernel_flags & FUSE_URING_REG_FD)),
	};
	int err;

	if (!sh->nr_queues || !(sh->mnt.kernel_flags & FUSE_OVER_IO_URING))
		return false;
	err = pwc_ring_init(&sh->ring, sh->loop, sh, &sh->arena, &o, &ops, sh, sh->nr_reqs);
	if (err) {
		snprintf(sh->no_ring, sizeof(sh->no_ring), "no memory for the ring: %s",
			 pw_err_text(err));
		return false;
	}
	for (uint32_t i = 0; i < sh->ring.nr_entries; i++)
		sh->reqs[sh->nr_reqs++] = &sh->ring.entry[i].req;
	return true;
}

void pwc_shard_on_init(struct pwc_shard *sh)
{
	if (sh->sm.state != PWC_SHARD_MOUNTING)
		return;
	sh->use_ring = sh->mnt.flags & FUSE_OVER_IO_URING;
	if (sh->use_ring) {
		pw_sm_move(&sh->sm, PWC_SHARD_REGISTERING, 0);
		pwc_ring_register(&sh->ring, sh->mnt.fd);
		pw_loop_ready(sh->loop, &sh->settle);
	} else if (sh->o->io_uring == PWC_IO_URING_ON) {
		pwc_shard_fail(sh, PW_EXIT_NO_URING, "io_uring=on: %s", why_no_ring(sh));
	} else {
		why_no_ring(sh);
		serve(sh);
	}
}

static void on_init(struct pwc_dev *dev, void *buf, uint32_t len)
{
	struct pwc_shard *sh = dev->owner;

	pwc_mount_on_init(&sh->mnt, buf, len);
}

static void on_interrupt(struct pwc_dev *dev, uint64_t unique, uint64_t target)
{
	struct pwc_shard *sh = dev->owner;

	(void)unique;
	pwc_interrupt_on(&sh->interrupts, target);
}

static void on_forget(struct pwc_dev *dev, uint64_t ino)
{
	struct pwc_shard *sh = dev->owner;

	sh->stats.forgets++;
	pwc_opens_forget(&sh->opens, ino);
	pwc_gone_forget(&sh->gone, ino);
}

static void on_gone(struct pwc_dev *dev, int err)
{
	struct pwc_shard *sh = dev->owner;

	struct pwc_mount_id id;

	sh->mnt.is_mounted = false;
	if (err)
		pw_log_warn("mount %s: the kernel has ended the connection, %s", sh->o->dir,
			    pw_err_text(err));
	else
		pw_log_info("mount %s: unmounted", sh->o->dir);
	/* umount -f ends the connection first, abort by fusectl leaves the mount where it is */
	if (!err || pwc_mount_id_find(sh->o->dir, sh->o->source, &id))
		sh->ops->on_unmounted(sh);
	if (sh->sm.state == PWC_SHARD_MOUNTING || sh->sm.state == PWC_SHARD_REGISTERING)
		pwc_shard_fail(sh, PW_EXIT_ERROR, "%s: the mount was gone before it was usable%s%s",
			       sh->o->dir, err ? ": " : "", err ? pw_err_text(err) : "");
	pwc_shard_begin_stop(sh);
}

static void say_why_no_mount(struct pwc_shard *sh, int err)
{
	if (err == -ENODEV)
		pwc_shard_fail(sh, PW_EXIT_NO_FUSE,
			       "/dev/fuse is not usable here; modprobe fuse, or run the container "
			       "with --device /dev/fuse");
	else if (err == -EACCES || err == -EPERM)
		pwc_shard_fail(sh, PW_EXIT_PERM,
			       "cannot mount at %s: permission denied (root, or fusermount3 from "
			       "the package fuse3, is needed)", sh->o->dir);
	else
		pwc_shard_fail(sh, PW_EXIT_ERROR, "cannot mount at %s: %s", sh->o->dir,
			       pw_err_text(err));
}

static int make_memory(struct pwc_shard *sh)
{
	static const struct pwc_dev_ops ops = { on_init, on_interrupt, on_forget, on_gone };
	struct pwc_arena_opts o = {
		.nr_entries = sh->nr_queues * sh->depth,
		.payload_bytes = PW_MAX(sh->max_io, FUSE_MIN_READ_BUFFER),
	};
	uint32_t nr;
	int err;

	o.nr_dev_bufs = PW_MIN(DEV_BUFS_MAX, (uint32_t)(DEV_BUFS_BYTES / o.payload_bytes));
	o.nr_dev_bufs = PW_MAX(DEV_BUFS_MIN, o.nr_dev_bufs);
	nr = o.nr_entries + o.nr_dev_bufs;
	err = pwc_arena_init(&sh->arena, &o);
	if (err)
		return err;
	sh->reqs = calloc(nr, sizeof(struct pwc_req *));
	sh->dir_page = malloc(sh->max_io);
	if (!sh->reqs || !sh->dir_page || PW_FAULT("shard.memory"))
		return -ENOMEM;
	return pwc_dev_init(&sh->dev, sh->loop, sh, &sh->arena, &ops, sh, 0);
}

/* Requests by index: /dev/fuse buffers first, ring entries behind. */
static void list_requests(struct pwc_shard *sh)
{
	sh->nr_reqs = 0;
	for (uint32_t i = 0; i < sh->dev.nr_bufs; i++)
		sh->reqs[sh->nr_reqs++] = &sh->dev.buf[i].req;
}

/* What is asked for, the node grants and the kernel sends; who asked for more is told why not. */
static void set_max_io(struct pwc_shard *sh)
{
	uint32_t node = pwc_peer_max_io(sh->peer), kernel = pwc_fuse_param_max_pages() * 4096u;
	uint32_t got = PW_MIN(sh->o->max_io, PW_MIN(node, kernel));

	sh->max_io = PW_MAX(PW_ROUND_DOWN(got, 4096u), 4096u);
	if (sh->max_io >= sh->o->max_io)
		return;
	if (kernel < node)
		pw_log_info("max_io is %u KiB, as this kernel sends no larger requests: "
			    "sysctl fs.fuse.max_pages_limit=%u",
			    sh->max_io / 1024, sh->o->max_io / 4096);
	else
		pw_log_info("max_io is %u KiB, as the node grants no more: max_io in its "
			    "pagewire.conf", sh->max_io / 1024);
}

static void mount_now(struct pwc_shard *sh)
{
	int err = pwc_mount_start(&sh->mnt, sh);

	if (err) {
		say_why_no_mount(sh, err);
		return;
	}
	sh->ops->on_mounted(sh);
	/* first: it is what tells of the end of the mount */
	err = pwc_dev_start(&sh->dev, sh->mnt.fd);
	if (!err)
		err = pwc_notify_start(&sh->notify, sh->loop, sh->mnt.fd);
	if (!err)
		pwc_recheck_start(&sh->recheck, sh->o->attr_timeout_ms);
	if (!err)
		err = pwc_control_new(&sh->control, sh);
	if (!err && sh->o->zc != PWC_ZC_OFF)
		err = pwc_region_sock_new(&sh->region_sock, sh);
	if (err)
		pwc_shard_fail(sh, PW_EXIT_ERROR, "cannot start: %s", pw_err_text(err));
}

/* All at once would keep the connection silent for longer than its peer bears. */
static void pin(struct pw_ready *r)
{
	struct pwc_shard *sh = pw_container_of(r, struct pwc_shard, pin);

	if (sh->sm.state != PWC_SHARD_MOUNTING)
		return;
	if (pwc_arena_step(&sh->arena))
		pw_loop_ready(sh->loop, &sh->pin);
	else
		mount_now(sh);
}

static void prepare_mount(struct pwc_shard *sh)
{
	int err;

	set_max_io(sh);
	pw_sm_move(&sh->sm, PWC_SHARD_MOUNTING, sh->max_io);
	err = make_memory(sh);
	if (err) {
		pwc_shard_fail(sh, PW_EXIT_ERROR, "cannot get memory: %s", pw_err_text(err));
		return;
	}
	list_requests(sh);
	pw_loop_ready(sh->loop, &sh->pin);
}

/* ------------------------------------------------------------------------------------------- the
 * peer */

static void on_peer_up(struct pwc_peer *p, bool first)
{
	struct pwc_shard *sh = pwc_peer_owner(p);

	if (first && sh->sm.state == PWC_SHARD_CONNECTING)
		prepare_mount(sh);
	else if (!first)
		pw_log_info("node %s: back", pwc_peer_name(p));
}

static void on_peer_down(struct pwc_peer *p, int err, const char *why)
{
	(void)err;
	if (pwc_peer_is_moving(p))
		pw_log_info("node %s: %s", pwc_peer_name(p), why);
	else
		pw_log_warn("node %s: away, %s; requests wait", pwc_peer_name(p), why);
}

static void on_peer_dead(struct pwc_peer *p, int err, const char *why)
{
	struct pwc_shard *sh = pwc_peer_owner(p);
	static const struct {
		int err, code;
	} codes[] = {
		{ -EKEYREJECTED, PW_EXIT_KEY },	       { -ENOKEY, PW_EXIT_KEY },
		{ -EPROTONOSUPPORT, PW_EXIT_VERSION }, { -EMEDIUMTYPE, PW_EXIT_FSID },
		{ -ENOSYS, PW_EXIT_NO_RDMA },	       { -ENODEV, PW_EXIT_NO_RDMA },
		{ -ENOENT, PW_EXIT_NO_RDMA },
	};
	int code = PW_EXIT_UNREACHABLE;

	for (size_t i = 0; i < PW_ARRAY_SIZE(codes); i++)
		if (codes[i].err == err)
			code = codes[i].code;
	if (sh->sm.state == PWC_SHARD_CONNECTING)
		pwc_shard_fail(sh, code, "node %s: %s", pwc_peer_name(p), why);
	else
		pw_log_err("node %s: refuses this client for good, %s", pwc_peer_name(p), why);
}

static bool next_open(struct pwc_peer *p, uint64_t *iter, uint64_t *ino, uint32_t *opens)
{
	struct pwc_shard *sh = pwc_peer_owner(p);

	return pwc_opens_next(&sh->opens, iter, ino, opens);
}

static void on_peer_stopped(struct pwc_peer *p)
{
	struct pwc_shard *sh = pwc_peer_owner(p);

	sh->peer_stopped = true;
	pwc_shard_check_stopped(sh);
}

static uint32_t locals(struct pwc_peer *p, struct pw_local_addr *ret, uint32_t max)
{
	struct pwc_shard *sh = pwc_peer_owner(p);

	return sh->o->rails_mode == PWC_RAILS_AUTO ? pw_local_addrs(ret, max) : 0;
}

static int make_peer(struct pwc_shard *sh)
{
	static const struct pwc_peer_ops ops = { on_peer_up, on_peer_down, on_peer_dead, next_open,
						 on_peer_stopped, locals };
	struct pwc_rail_opt rails[PWC_RAIL_OPTS_MAX];
	struct pwc_peer_opts o = {
		.host = sh->o->host,
		.port = sh->o->port,
		.conn = { .want_slots = sh->o->slots, .transport = sh->o->transport },
		.timeout_ms = sh->o->timeout_ms,
		.rails = rails,
		.nr_rails = sh->o->rails_mode == PWC_RAILS_LIST ? sh->o->nr_rails : 0,
	};

	for (uint32_t i = 0; i < o.nr_rails; i++) {
		rails[i] = sh->o->rails[i];
		if (!rails[i].port)
			rails[i].port = sh->o->port;
	}
	pw_random_bytes(sh->identity.id, sizeof(sh->identity.id));
	memcpy(sh->identity.key, sh->o->key, sizeof(sh->identity.key));
	sh->identity.have_key = sh->o->have_key;
	memcpy(sh->identity.fsid, sh->o->fsid, sizeof(sh->identity.fsid));
	return pwc_peer_new(sh->loop, &o, &ops, sh, &sh->identity, &sh->peer);
}

/* ---------------------------------------------------------------------------------------- set-up,
 * run */

static void choose_queues(struct pwc_shard *sh)
{
	int err;

	if (sh->o->io_uring == PWC_IO_URING_OFF) {
		snprintf(sh->no_ring, sizeof(sh->no_ring), "switched off by io_uring=off");
		return;
	}
	err = pwc_ring_possible_cpus(&sh->nr_queues);
	if (err) { /* UNTESTED: no /sys */
		snprintf(sh->no_ring, sizeof(sh->no_ring), "the number of CPUs is unknown: %s",
			 pw_err_text(err));
		return;
	}
	sh->depth = sh->o->queue_depth;
	if (!sh->depth)
		sh->depth = PW_MAX(32u, PW_MIN(64u, 1024u / sh->nr_queues));
}

static int make_loop(struct pwc_shard *sh)
{
	struct pw_loop_opts o = {
		.sq_entries = 256,
		.sqe128 = true,
		.poll_us = sh->o->poll_us,
		.max_ios = sh->nr_queues * (sh->depth + 1) + 4 * sh->o->slots + 768,
	};

	o.cq_entries = PW_MAX(1024u, o.max_ios);
	return pw_loop_new(&sh->loop, &o);
}

int pwc_shard_new(struct pwc_shard **ret, const struct pwc_options *o,
		  const struct pwc_shard_ops *ops, void *owner)
{
	struct pwc_shard *sh = calloc(1, sizeof(*sh));
	int err;

	if (!sh)
		return -ENOMEM;
	sh->o = o;
	sh->ops = ops;
	sh->owner = owner;
	sh->arena.fd = sh->mnt.fd = sh->signal_fd = -1;
	sh->layout = (struct pwc_layout){ .nr_nodes = 1, .chunk_bytes = PWC_CHUNK_BYTES };
	sh->max_io = 4096;
	sh->last.root = (struct pw_attr){ .ino = FUSE_ROOT_ID, .mode = S_IFDIR | 0700, .nlink = 2 };
	sh->last.space = (struct pw_body_statfs){ .bsize = 4096, .namelen = PW_NAME_MAX };
	pw_sm_init(&sh->sm, &shard_type, PWC_SHARD_NEW);
	pwc_stop_init(sh);
	pw_ready_init(&sh->settle, settle);
	pw_ready_init(&sh->pin, pin);
	choose_queues(sh);
	err = make_loop(sh);
	if (err)
		goto free_shard;
	err = make_peer(sh);
	if (err)
		goto free_loop;
	err = pwc_opens_init(&sh->opens, sh->peer);
	if (err)
		goto free_peer;
	err = pwc_gone_init(&sh->gone);
	if (err)
		goto free_opens;
	pwc_recheck_init(&sh->recheck, sh->loop, sh->peer, &sh->opens, &sh->notify);
	pwc_interrupt_init(&sh->interrupts, sh);
	pwc_regions_init(&sh->regions, sh->loop, NULL);
	*ret = sh;
	return 0;

free_opens:
	pwc_opens_fini(&sh->opens);
free_peer:
	pwc_peer_free(sh->peer);
free_loop:
	pw_loop_free(sh->loop);
free_shard:
	free(sh);
	return err;
}

void pwc_shard_free(struct pwc_shard *sh)
{
	if (!sh)
		return;
	pwc_notify_stop(&sh->notify);
	pwc_interrupt_fini(&sh->interrupts);
	pwc_regions_fini(&sh->regions);
	pwc_reg_fini(&sh->reg);
	pwc_gone_fini(&sh->gone);
	pwc_opens_fini(&sh->opens);
	pwc_peer_free(sh->peer);
	pwc_dev_fini(&sh->dev);
	if (sh->ring.entry)
		pwc_ring_fini(&sh->ring);
	pwc_mount_fini(&sh->mnt);
	pw_loop_free(sh->loop);
	pwc_arena_fini(&sh->arena);
	if (sh->signal_fd >= 0)
		close(sh->signal_fd);
	free(sh->dir_page);
	free(sh->reqs);
	free(sh);
}

int pwc_shard_run(struct pwc_shard *sh)
{
	int err = pwc_stop_watch_signals(sh);

	if (err)
		return PW_EXIT_ERROR;
	pw_sm_move(&sh->sm, PWC_SHARD_CONNECTING, 0);
	pwc_peer_start(sh->peer);
	err = pw_loop_run(sh->loop);
	if (err && !sh->exit_code) {
		sh->exit_code = PW_EXIT_ERROR;
		snprintf(sh->why, sizeof(sh->why), "io_uring: %s", pw_err_text(err));
	}
	return sh->exit_code;
}
