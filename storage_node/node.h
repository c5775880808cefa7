/* SPDX-License-Identifier: Apache-2.0 */
/* node.h -- one storage node: wires loop, buffers, index, store, metadata, listener and sessions
 *
 * No policy here. Index (kv), store and buffers are opened by the caller (data_dir.c in the
 * program, the simulation its own) and are the caller's to stop and close after pws_node_stop().
 * Thread: loop thread. Must not know: io_uring, files, configuration.
 */
#ifndef PWS_NODE_H
#define PWS_NODE_H

#include "common/conn.h"
#include "common/loop.h"
#include "storage_node/buf.h"
#include "storage_node/channel.h"
#include "storage_node/identity.h"
#include "storage_node/listen.h"
#include "storage_node/meta/meta.h"
#include "storage_node/meta_kv/meta_kv.h"
#include "storage_node/opens.h"
#include "storage_node/reclaim.h"
#include "storage_node/session.h"
#include "storage_node/store/store.h"

#define PWS_MAX_CHANNELS 64u /* client shards; with PW_MAX_SLOTS the slot number of an R key */

struct pws_node_opts {
	struct pw_identity id; /* copied */
	uint8_t sip_key[16];
	struct pws_starts starts; /* all zero: not counted */
	struct pws_kv *kv; /* borrowed until pws_node_free(), as the next two */
	struct pws_store *store;
	struct pws_bufpool *bufs; /* pws_node_bufs_needed() of pws_node_buf_bytes() each */
	uint32_t max_io;	  /* bytes of payload per request */
	uint32_t slots;		  /* per channel, slot 0 included */
	uint32_t max_clients;	  /* connected at once */
	uint32_t lease_ms;
	struct pw_conn_opts conn;
	const char *host; /* copied */
	uint16_t port;	  /* 0: any */
	const struct pws_listen_at *more; /* further addresses; copied */
	uint32_t nr_more;
	enum pws_transports transports;
};

/* For `stats` */
struct pws_node_stats {
	uint64_t reqs[PW_OP_NR], errs[PW_OP_NR];
	uint64_t bytes_read, bytes_written; /* payload bytes */
	uint64_t moved_bytes;	   /* payload bytes moved here because an append landed at a wrong
			       * offset */
	uint64_t replays;	   /* requests that came again */
	uint64_t replays_answered; /* of them from memory or from a row */
	uint64_t parked, append_waits, space_waits, no_buf; /* stalls */
	uint64_t accepted;				    /* connections */
	uint64_t refused;				    /* HELLOs */
	uint64_t bad_msgs;				    /* connections failed by us */
	struct pw_conn_stats conn;			    /* of connections that have ended */
};

struct pws_node {
	struct pw_loop *loop;
	struct pw_identity id;
	struct pws_kv *kv;
	struct pws_store *store;
	struct pws_bufpool *bufs;
	struct pws_buf *sink; /* where payloads land that nobody reads */
	uint32_t max_io, slots, max_clients, lease_ms;
	struct pws_starts starts; /* its boot[0] is random and changes with every start */
	struct pw_conn_opts conn_opts;
	enum pws_transports transports;

	struct pws_meta meta;
	struct pws_sessions sessions;
	struct pws_opens opens; /* sum over all sessions */
	struct pws_reclaim reclaim;
	struct pw_list appends; /* pws_req.append_node: at most one append per inode runs */
	struct pws_listen listen;
	struct pw_list guests; /* connections */
	struct pws_node_stats stats;

	/* start and stop; node.c */
	struct pws_txn txn;
	struct pws_kv_fetch fetch;
	bool starting, stopping, stopped;
	uint32_t nr_busy; /* requests that are not free, in all channels */
	struct pw_timer stop_timer;
	struct pw_ready stop_ready;
	void (*on_ready)(void *arg, int err);
	void (*on_stopped)(void *arg);
	void *arg;
};

uint32_t pws_node_buf_bytes(uint32_t max_io);
uint32_t pws_node_bufs_needed(uint32_t slots, uint32_t max_clients);

/* 0; -ENOMEM; -EINVAL (limits that do not fit together). */
int pws_node_new(struct pw_loop *loop, const struct pws_node_opts *o, struct pws_node **ret);

/**
 * pws_node_start - format an empty index, find sessions and orphans of the life before, listen
 * @on_ready: called from the loop, once. @err: 0, or why it does not serve: see pw_listener_new(),
 * or an error of the index
 */
void pws_node_start(struct pws_node *n, void (*on_ready)(void *arg, int err), void *arg);

/**
 * pws_node_stop - orderly end: no new request begins, running ones finish and are answered
 * @deadline_ms: connections end after this even if requests still run
 * @on_stopped: from the loop, when no connection, request or transaction is left; @arg as in start
 *
 * Sessions stay in the index: their clients may come back to the next life.
 */
void pws_node_stop(struct pws_node *n, uint32_t deadline_ms, void (*on_stopped)(void *arg));
/* Stopped, or never started; NULL is fine. */
void pws_node_free(struct pws_node *n);

uint16_t pws_node_port(const struct pws_node *n); /* after on_ready(0) */

/* Owners tell when they are done with something that a stop waits for. */
void pws_node_idle_check(struct pws_node *n);

#endif
