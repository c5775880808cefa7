/* SPDX-License-Identifier: Apache-2.0 */
/* ring_rig.h -- a ring with its arena over a scripted kernel; the test is the operation */
#ifndef RING_RIG_H
#define RING_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client_fs/fuse_ring.h"
#include "client_fs/ops.h"
#include "fake_ring.h"

#define NR_QUEUES 2u
#define DEPTH 3u
#define NR (NR_QUEUES * DEPTH)
#define PAYLOAD 8192u
#define DEV_FD 77

extern struct ring_rig {
	struct pw_loop *loop;
	struct pwc_arena arena;
	struct pwc_ring ring;
	struct pwc_req *started[64]; /* handed to req.c */
	uint32_t nr_started;
	int failed_err;
	uint32_t nr_failed, nr_drained;
} t;

extern const struct pwc_ring_ops ring_rig_ops;
int make(bool bufpool);
int teardown(void **state);
/* Of submission @idx. */
struct pwc_entry *entry_of(uint32_t idx);

#endif
