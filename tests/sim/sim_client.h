/* SPDX-License-Identifier: Apache-2.0 */
/* sim_client.h -- one client: its process with the real peer and open table, and workers that
 * use it */
#ifndef SIM_CLIENT_H
#define SIM_CLIENT_H

#include "client_fs/opens.h"
#include "client_fs/peer.h"
#include "tests/sim/sim_oracle.h"

#define SIM_WORKERS 4u
#define SIM_HANDLES 8u

struct sim_client;

struct sim_handle { /* an open file */
	uint64_t ino; /* 0: free */
	uint32_t users; /* operations under way */
	bool maybe_gone; /* the lease was over for a while: an unlinked file may be collected */
};

struct sim_worker {
	struct pwc_call call; /* the peer's while busy */
	struct pw_timer timer; /* thinks */
	struct sim_client *c;
	bool busy;
	struct sim_ns_op *ns;
	struct sim_write *w;
	struct sim_handle *hd;
	uint64_t ino, inv, off, begin_ns;
	uint32_t len;
	bool reserved; /* an open, in the table */
	void (*then)(struct sim_worker *k, int err, const struct pw_cmd *rsp, uint32_t out_len);
	uint8_t in[SIM_MAX_IO], out[SIM_MAX_IO]; /* payloads */
};

struct sim_client {
	uint32_t nr;
	struct sim_proc *proc;
	uint32_t life;
	struct pw_identity id;
	struct pwc_peer *peer; /* the process's */
	struct pwc_opens opens;
	struct sim_handle handle[SIM_HANDLES];
	struct sim_worker worker[SIM_WORKERS];
	uint64_t down_ns; /* since when its connection is down; 0: it is up */
	uint64_t lost_ns; /* what began before may end with EIO */
	bool stopping, stopped;
	bool moving; /* its connection has ended for a better one */
	char over[32]; /* address of the node that it is, or was, connected to */
};

extern struct sim_client *sim_clients;

/* sim_work.c */
void sim_work_init(void);
/* The next operation of an idle worker. */
void sim_work_next(struct sim_worker *k);
/* The process is gone: nobody will ever know how this ended. */
void sim_work_lost(struct sim_worker *k);
/* Sends the command in k->call and calls @then with its end. */
void sim_work_call(struct sim_worker *k,
		   void (*then)(struct sim_worker *k, int err, const struct pw_cmd *rsp,
				uint32_t out_len));
struct pw_cmd *sim_work_cmd(struct sim_worker *k, enum pw_op op);
/* Puts a name into the payload; returns its length. */
uint32_t sim_work_name(uint8_t *to, uint8_t name);
bool sim_clients_paused(void);
void sim_client_think(struct sim_worker *k);

/* sim_work_names.c, sim_work_data.c */
void sim_work_names(struct sim_worker *k);
void sim_work_data(struct sim_worker *k);
void sim_work_open(struct sim_worker *k);
void sim_work_close(struct sim_worker *k);
void sim_work_read(struct sim_worker *k, uint64_t ino, uint64_t off, uint32_t len);
void sim_work_getattr(struct sim_worker *k, uint64_t ino);
void sim_work_readdir(struct sim_worker *k, uint64_t ino);
/* Is this error one that faults of this run explain? It leaves open what happened then. */
bool sim_work_excused(const struct sim_worker *k, int err);
/* sim_final.c: false: it has nothing to do */
bool sim_final_step(struct sim_worker *k);
/* Inodes that somebody has seen */
void sim_known_add(uint64_t ino, bool dir);
uint64_t sim_known_pick(bool dir);
/* Not while it is used. */
void sim_handle_close(struct sim_client *c, struct sim_handle *hd);
struct sim_handle *sim_handle_new(struct sim_client *c, uint64_t ino);

#endif
