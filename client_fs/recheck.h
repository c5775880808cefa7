/* SPDX-License-Identifier: Apache-2.0 */
/* recheck.h -- files that stay open to be read: has another machine changed them
 *
 * Each open asks the node (op_open.c), but a read(2) that the page cache can answer does not come
 * by here: what is read through one descriptor for hours would stay what it was at first. So the
 * node is asked for the change counters of such files, attr_timeout after the open (a second at
 * least), then after twice that time each, up to 32 times it; after a change it begins anew.
 * Files that may be written here are left alone, see pwc_opens_outdated().
 * Thread: the loop's own.      Allocates: nothing.      Must not know: FUSE.
 */
#ifndef PWC_RECHECK_H
#define PWC_RECHECK_H

#include "client_fs/notify.h"
#include "client_fs/opens.h"

#define PWC_RECHECK_MAX 16u /* files that are asked about at the same time */

struct pwc_recheck;

struct pwc_probe {
	struct pw_list node; /* while it is free */
	struct pwc_recheck *owner;
	struct pwc_call call;
	struct pwc_notify_job notify;
};

struct pwc_recheck {
	struct pw_loop *loop;
	struct pwc_peer *peer;
	struct pwc_opens *opens;
	struct pwc_notify *notify;
	struct pw_timer timer;
	bool on;
	struct pw_list free;
	struct pwc_probe probe[PWC_RECHECK_MAX];
	uint32_t nr_out; /* probes that are not free */
	uint64_t asked, changed; /* files */
};

/* All borrowed until nothing is out any more. */
void pwc_recheck_init(struct pwc_recheck *c, struct pw_loop *loop, struct pwc_peer *peer,
		      struct pwc_opens *opens, struct pwc_notify *notify);
void pwc_recheck_start(struct pwc_recheck *c, uint32_t attr_timeout_ms);
/* Asks nothing more; what is out comes back: nr_out. */
void pwc_recheck_stop(struct pwc_recheck *c);

#endif
