/* SPDX-License-Identifier: Apache-2.0 */
/* data_dir.h -- opens what a node stands on: directory, buffers, disk, index, store
 *
 * store = memory or null: everything but the identity is volatile, the index too: names of files
 * whose contents are gone would be of no use. Thread: loop thread; open blocks (recovery).
 * Allocates: in open.
 */
#ifndef PWS_DATA_DIR_H
#define PWS_DATA_DIR_H

#include "common/loop.h"
#include "storage_node/buf.h"
#include "storage_node/identity.h"
#include "storage_node/meta_kv/meta_kv.h"
#include "storage_node/node_config.h"
#include "storage_node/store/store.h"
#include "storage_node/superblock.h"

struct pws_data {
	struct pws_superblock sb;
	const char *dir; /* borrowed */
	int lock_fd, identity_fd; /* -1 before open */
	struct pws_starts starts;
	struct pws_bufpool *bufs;
	struct pws_disk *disk; /* NULL without a store.dat */
	struct pws_kv *kv;
	struct pws_store *store;
	/* Media returned wrong bytes; set by who knows names. May be NULL. */
	void (*on_bad_block)(void *arg, uint64_t ino, uint64_t chunk, uint32_t block);
	void *bad_arg;
	void (*stopped)(void *arg, int err);
	void *stop_arg;
};

/* 0, or -1 with @why; @d can be closed in both cases. @c: borrowed until close. */
int pws_data_open(struct pws_data *d, struct pw_loop *loop, const struct pws_node_config *c,
		  struct pws_refusal *why);
/* The index holds a root directory: from now on a missing file is damage. */
int pws_data_formatted(struct pws_data *d, struct pws_refusal *why);
/* Store, then index: all on media; @stopped from the loop. */
void pws_data_stop(struct pws_data *d, void (*stopped)(void *arg, int err), void *arg);
/* Accepts a struct that was opened in part, or is zero but for the two fds. */
void pws_data_close(struct pws_data *d);

#endif
