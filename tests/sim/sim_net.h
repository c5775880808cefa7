/* SPDX-License-Identifier: Apache-2.0 */
/* sim_net.h -- private to sim_net.c (what the product calls) and sim_net_fault.c (what goes wrong)
 *
 * Thread: the only one.
 */
#ifndef SIM_NET_H
#define SIM_NET_H

#include "common/xprt.h"
#include "tests/sim/sim.h"

enum { TO_NODE, TO_CLIENT, NR_DIRS };
enum kind { DATA, CONNECTED, END };

struct link;

struct msg {
	struct pw_list node; /* link.queue[dir] */
	struct link *link;
	enum kind kind;
	uint8_t dir;
	bool arrived, delivered, released;
	bool lost; /* never arrives */
	bool cut; /* arrives in part, then the link is over */
	int err; /* END */
	struct pw_send *s; /* the sender's, until its done(); NULL: it is over */
	struct pw_cmd cmd;
	uint8_t *payload; /* owns; NULL while it is read from the sender's memory */
};

struct link {
	struct pw_list node; /* net.links */
	struct sim_proc *client;
	/* receiver of each direction: [TO_NODE] the node's; NULL: gone, or not yet */
	struct pw_xprt *end[2];
	struct pw_list queue[NR_DIRS];
	uint64_t last_arrival_ns[NR_DIRS];
	uint32_t rail;
	uint32_t events; /* that refer to it */
	bool accepting, over[NR_DIRS]; /* over: nothing is sent in this direction any more */
	struct pw_list accept_node;
};

struct pw_xprt {
	struct sim_proc *proc;
	struct pw_loop *loop;
	const struct pw_xprt_ops *ops;
	void *owner;
	struct link *link;
	uint8_t rx, tx; /* directions */
	bool closing, closed;
	int err;
	char why[96];
	struct pw_ready ready;
	void *guess;
	uint32_t guess_len;
	struct pw_conn_stats stats;
};

struct pw_xprt_listener {
	struct pw_loop *loop;
	int (*on_accept)(void *arg, struct pw_xprt *x, const char *peer_name,
			 const struct pw_xprt_ops **ret_ops, void **ret_owner);
	void *arg;
	struct pw_ready ready;
	struct pw_list accepts; /* link.accept_node */
};

struct sim_net {
	struct pw_list links;
	struct pw_xprt_listener *listener; /* the node's; NULL: nobody listens */
	uint64_t stall_until_ns[SIM_CLIENTS][NR_DIRS];
	uint64_t pulled_until_ns[SIM_RAILS];
	bool node_silent; /* its machine is down: not even a refusal comes back */
};

extern struct sim_net sim_net;

/* Takes it off its queue and frees it. */
void sim_net_msg_free(struct msg *m);
/* Frees what nobody knows any more. */
void sim_net_link_check(struct link *l);
/* The direction is over with @err; idempotent. */
void sim_net_push_end(struct link *l, int dir, int err);
/* From the first message that is lost on, the direction is over. */
void sim_net_lose_rest(struct link *l, int dir);
void sim_net_refuse_all(struct pw_xprt_listener *ln);

#endif
