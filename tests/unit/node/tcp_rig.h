/* SPDX-License-Identifier: Apache-2.0 */
/* tcp_rig.h -- a whole node and one client in this process: io_uring, LMDB, a real directory, TCP
 *
 * Nothing here asserts: the sweep of fault points lets every part fail.
 */
#ifndef TCP_RIG_H
#define TCP_RIG_H

#include "common/uring.h"
#include "storage_node/data_dir.h"
#include "storage_node/node.h"

#include "raw_client.h"

#define RIG_MAX_IO   (1u << 20)
#define RIG_LEASE_MS 1000u

struct tcp_rig {
	struct pw_loop *loop;
	char dir[64];
	struct pws_node_config config;
	struct pws_data data;
	struct pws_node *node; /* NULL: down */
	struct pws_refusal why;
	struct raw_client client;
	bool done; /* of what is waited for */
	int err;
};

/* 0; -ENOSYS or -EPERM without io_uring; -errno */
int rig_init(struct tcp_rig *r, enum pws_store_kind kind);
/* The node starts: 0 or -errno, and then it is down again. */
int rig_up(struct tcp_rig *r);
/* In order: 0 or -errno of bringing the index to media; it is down in any case. */
int rig_down(struct tcp_rig *r);
int rig_connect(struct tcp_rig *r);
/* Removes the directory. */
void rig_fini(struct tcp_rig *r);
/* Runs the loop until *flag, or until patience ends: false. */
bool rig_run_until(struct pw_loop *loop, const bool *flag);

#endif
