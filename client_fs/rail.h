/* SPDX-License-Identifier: Apache-2.0 */
/* rail.h -- the ways to one node: which are known, what is known of them, which comes next
 *
 * A rail is a pair of addresses, ours (or whatever the kernel takes) and the node's. Each rail has
 * two ways, RDMA and TCP. RDMA over any rail is better than TCP over the preferred one; among equal
 * ways the preferred rail comes first, and clients prefer different ones, so that they spread.
 *
 *	round	every way is tried once, the best first, one that was just lost last of its kind;
 *		then the round is over, and its caller waits before the next
 *	probes	what is not in use is asked now and then whether it answers; what is better than the
 *		way in use, and has answered for long enough, is worth a move
 *
 * Pure: no I/O, no clock; times come from the caller. Allocates: never.
 */
#ifndef PWC_RAIL_H
#define PWC_RAIL_H

#include "common/conn.h"
#include "common/local_addr.h"

#define PWC_RAILS_MAX 16u

enum pwc_way {
	PWC_WAY_RDMA, /* in order of preference */
	PWC_WAY_TCP,
	PWC_NR_WAYS
};

enum pwc_rail_state {
	PWC_RAIL_UNTRIED,
	PWC_RAIL_UP, /* answered when it was asked last, or is in use */
	PWC_RAIL_DOWN,
	PWC_RAIL_NOT_OFFERED, /* the node does not listen there in this way */
	PWC_RAIL_NR_STATES
};

enum pwc_rail_source {
	PWC_RAIL_OF_MOUNT, /* HOST of what was mounted */
	PWC_RAIL_OF_OPTION, /* rails= */
	PWC_RAIL_OF_NODE, /* the node said so */
};

struct pwc_rail_way {
	enum pwc_rail_state state;
	bool tried; /* in this round */
	bool doubtful; /* did not answer a probe: tried after all others */
	bool hopeless; /* this host cannot, ever: not probed */
	uint64_t since_ns; /* of state */
	uint64_t good_since_ns; /* answers all probes since then; 0: does not */
	uint64_t probe_ns; /* when to probe next; 0: at once */
	uint32_t misses; /* probes without an answer, in a row */
	uint32_t failures; /* tries, probes and connections that ended badly */
	uint32_t losses; /* of connections in use, not long after they had come up */
	int err; /* last one, -errno; 0: none */
	char why[160]; /* text of it */
};

struct pwc_rail {
	char host[256]; /* name or address */
	uint16_t port; /* of TCP; RDMA: PW_RDMA_PORT() */
	char addr[64]; /* "10.0.0.1:7470", once it is known: what makes rails equal */
	char local[64]; /* address to connect from; "": the kernel's choice */
	enum pwc_rail_source source;
	struct pwc_rail_way way[PWC_NR_WAYS];
};

struct pwc_pick {
	uint32_t rail;
	enum pwc_way way;
};

struct pwc_rails {
	struct pwc_rail rail[PWC_RAILS_MAX];
	uint32_t nr;
	enum pw_transport wanted;
	uint32_t spread; /* which rail is preferred: modulo their number */
	struct pwc_pick cur; /* in use, or being tried */
	bool late_set;
	uint32_t late; /* rail that was lost in this round */
};

/* @wanted: RDMA, TCP or AUTO. @spread: a hash of the client. */
void pwc_rails_init(struct pwc_rails *t, enum pw_transport wanted, uint32_t spread);

/**
 * pwc_rails_add - one more rail
 * @host: name or address; @local: NULL or "" for any
 *
 * One that is there already gets @local if it had none.
 * Return: 0; -ENOSPC too many; -EINVAL a name is too long.
 */
int pwc_rails_add(struct pwc_rails *t, const char *host, uint16_t port, const char *local,
		  enum pwc_rail_source source);

/**
 * pwc_rails_offer - the node has told where it can be reached
 * @list: checked by pw_cmd_check()
 * @locals: addresses of this host; none: nothing is added, what is known learns its ways
 *
 * Adds a rail for each pair of addresses in one network; one that the node had told of before and
 * does not now goes, unless it is in use. Loopback addresses count only where the way in use is
 * over loopback.
 */
void pwc_rails_offer(struct pwc_rails *t, const struct pw_rail_addr *list, uint32_t nr,
		     const struct pw_local_addr *locals, uint32_t nr_locals);

/* The best way that was not tried in this round; false: the round is over. @ret_pause: it is the
 * first after a loss, on the rail that was lost: not at once. Sets cur. */
bool pwc_rails_next(struct pwc_rails *t, bool *ret_pause);
/* A new round: everything may be tried again. */
void pwc_rails_round(struct pwc_rails *t);

/* What became of cur. @addr: the address that was connected to. */
void pwc_rails_up(struct pwc_rails *t, uint64_t now, const char *addr);
/* Did not come up. @refused: the node has answered, and said no: not to the other way either. */
void pwc_rails_failed(struct pwc_rails *t, uint64_t now, int err, const char *why, bool refused);
/* Was in use, and is gone: a new round begins. */
void pwc_rails_lost(struct pwc_rails *t, uint64_t now, int err, const char *why);
/* Is left in order, for @to: a new round begins, with that one. */
void pwc_rails_leave(struct pwc_rails *t, struct pwc_pick to);

/* Which way to probe next, and when; false: there is none but cur. */
bool pwc_rails_probe_next(const struct pwc_rails *t, struct pwc_pick *ret, uint64_t *ret_when);
/* @err: 0 it answered. */
void pwc_rails_probed(struct pwc_rails *t, struct pwc_pick p, uint64_t now, int err,
		      const char *why);
/* A way that is better than cur and has been good for long enough; the best of them. */
bool pwc_rails_better(const struct pwc_rails *t, uint64_t now, struct pwc_pick *ret);
/* It could not be moved to now: it has to be good for as long again. */
void pwc_rails_put_off(struct pwc_rails *t, struct pwc_pick p, uint64_t now);

uint32_t pwc_rails_preferred(const struct pwc_rails *t);
const char *pwc_rail_state_name(enum pwc_rail_state s);
bool pwc_rails_wants(const struct pwc_rails *t, enum pwc_way way);
static inline struct pwc_rail_way *pwc_rails_way(struct pwc_rails *t, struct pwc_pick p)
{
	return &t->rail[p.rail].way[p.way];
}

#endif
