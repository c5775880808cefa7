/* SPDX-License-Identifier: Apache-2.0 */
/* node_fixture.h -- a node over a virtual clock, an index and a store in memory, and connections
 * that the test plays
 */
#ifndef NODE_FIXTURE_H
#define NODE_FIXTURE_H

#include "storage_node/channel.h"
#include "storage_node/node.h"
#include "storage_node/node_req.h"

#include "fake_conn.h"
#include "vloop.h"

#define FX_MAX_IO   (64u << 10)
#define FX_SLOTS    8u
#define FX_LEASE_MS 10000u

struct fx {
	struct pw_loop *loop;
	struct pws_kv *kv; /* outlives nodes: a restart keeps it */
	struct pws_bufpool *bufs;
	struct pws_store *store;
	struct pws_node *node;
	bool ready, stopped;
	int err;
	struct pw_cmd rsp;	   /* of the last fx_wait() */
	uint8_t out[FX_MAX_IO];	   /* its payload */
	uint64_t seq[4][FX_SLOTS]; /* by client, slot */
};

void fx_init(struct fx *f);
void fx_fini(struct fx *f);
void fx_start(struct fx *f);
/* In order; clients are told. */
void fx_stop(struct fx *f);
/* The index stays, the process does not: a node that was killed and started again. */
void fx_restart(struct fx *f);

/* Client number @id connects; NULL and f->err when it is refused. */
struct pw_conn *fx_connect(struct fx *f, uint8_t id, uint64_t incarnation);
struct pw_conn *fx_connect_w(struct fx *f, uint8_t id, uint64_t incarnation, uint32_t channel,
			     struct pw_body_welcome *ret);
/* The network breaks, and the node has noticed. */
void fx_break(struct fx *f, struct pw_conn *c);

/* Commands; slot and seq are set by fx_send(). */
struct pw_cmd fx_name(enum pw_op op, const char *name);
struct pw_cmd fx_create(const char *name, uint32_t flags);
struct pw_cmd fx_ino(enum pw_op op, uint64_t ino, uint32_t flags);
struct pw_cmd fx_io(enum pw_op op, uint64_t ino, uint64_t off, uint32_t len, uint32_t flags);
struct pw_cmd fx_size(uint64_t ino, uint64_t size);

/* With the client's next seq of that slot; the filled command is returned, for a replay. */
struct pw_cmd fx_send(struct fx *f, struct pw_conn *c, uint8_t id, uint16_t slot, struct pw_cmd cmd,
		      const void *payload);
/* Settles, then takes one answer into f->rsp; 0 or -errno of it; -ENOMSG when there is none. */
int fx_wait(struct fx *f, struct pw_conn *c);
/* Both. */
int fx_call(struct fx *f, struct pw_conn *c, uint8_t id, uint16_t slot, struct pw_cmd cmd,
	    const void *payload);
/* CREATE; returns the inode number. */
uint64_t fx_file(struct fx *f, struct pw_conn *c, uint8_t id, const char *name);
/* Is there a row with this key? */
bool fx_has_row(struct fx *f, const struct pws_key *k);
bool fx_has_inode(struct fx *f, uint64_t ino);

#endif
