/* SPDX-License-Identifier: Apache-2.0 */
/* fake_verbs.h -- libibverbs, librdmacm and the devices behind them, in one process, for tests
 *
 * Two ends in one loop: each WRITE, READ and SEND is a memcpy, with the checks that a device makes
 * (keys, protection domains, ranges, rights, windows) and with its freedom: work is done when
 * fake_turn() says so, in order on each queue pair, in any order across them, and is reported later
 * or never (unsignaled), and all of that by a seed. What a real device would punish by memory
 * corruption, by blocking for ever or by leaking is a *violation*: it is printed and counted, and
 * fake_end() fails. What is an ordinary failure (a refused key, a full send queue, a dead peer)
 * ends as it does on a device.
 *
 * Each entry point is a fault point ("fake.reg_mr"), and so is each work request ("fake.wr") and
 * each step of the connection manager.
 * Thread: one.
 */
#ifndef FAKE_VERBS_H
#define FAKE_VERBS_H

#include "common/verbs.h"

struct fake_opts {
	/* the device's limits */
	uint32_t max_qp, max_qp_wr, max_cqe, max_cq, max_sge, max_mr, max_pd, max_inline;
	uint32_t max_mw; /* 0: no windows at all, as siw */
	uint32_t max_sge_rd; /* of a READ; siw: 1 */
	uint32_t max_srq, max_srq_wr, max_rd_atom, max_msg;
	bool dmabuf; /* registers dma-bufs; soft devices do not */
	uint64_t max_mr_size; /* what it says */
	uint64_t mr_fails_above; /* what it can; rxe says 2^64 and takes 1 GiB */
	bool iwarp; /* private data of its own length, a broken queue pair ends the connection */
	/* the world */
	bool no_library; /* pw_verbs_get() says -ENOSYS */
	bool gid_gone; /* the port has another address than before */
	bool no_device; /* the libraries are there, a device is not */
	uint32_t unanswered; /* so many addresses are asked for without an answer in time */
	bool blackhole; /* connection requests get lost */
	bool hold; /* no packet leaves or arrives */
	bool stall; /* queue pairs do nothing: the device is busy with others */
	bool first_unnoticed; /* of the accepting end: reported when the next one has arrived */
	bool rnr_allowed; /* a hostile peer may send more than there are receive buffers for */
	bool no_last_wqe; /* a queue pair with shared receives ends, and that is not told */
	uint32_t last_wqe_turns; /* it is told so much later */
	uint32_t vendor_id;
	uint32_t max_delay; /* turns; 0: everything happens in the next turn */
	uint32_t retry_turns; /* until a peer that does not answer is an error of the request */
};
extern struct fake_opts fake_opts;

struct fake_stats {
	uint64_t turns, wr_send, wr_write, wr_read, wr_bind, wr_inv, wr_send_inv, wr_flushed;
	uint64_t bytes_write, bytes_read, bytes_send;
	uint64_t doorbells; /* calls of post_send() */
	uint64_t sq_full, access_errs, rnr, cqes, cq_events, unsignaled;
	uint64_t srq_recvs, srq_lost, srq_limits; /* taken from shared queues; kept; told */
	uint64_t reg_mr, reg_dmabuf_mr, connects;
	uint32_t max_sq_used;
};
extern struct fake_stats fake_stats;

enum fake_object {
	FAKE_PD,
	FAKE_MR,
	FAKE_MW,
	FAKE_CQ,
	FAKE_COMP_CHANNEL,
	FAKE_QP,
	FAKE_SRQ,
	FAKE_CM_CHANNEL,
	FAKE_CM_ID,
	FAKE_NR_OBJECTS
};

/* One device "fake0", which has every address; nothing exists. @seed decides about every order. */
void fake_begin(uint64_t seed);
void fake_be_siw(void); /* from the beginning: iWARP, no windows */
/* Return: how many violations and leaks there were, each printed. */
uint32_t fake_end(void);
uint32_t fake_count(enum fake_object what);
uint32_t fake_violations(void);
uint32_t fake_forgive(void); /* Return: how many there were; there were none from here on. */

/* One step of the hardware and of the connection manager. Call it until what you wait for is so. */
void fake_turn(void);
/* Is anything under way that more turns would change? */
bool fake_is_idle(void);

/* Does any work request or receive refer to this that was posted and not proved done: its own
 * completion or a later one of its queue was taken? */
bool fake_memory_in_use(const void *addr, size_t len);
/* Could a peer write (IBV_ACCESS_REMOTE_WRITE) or read there now? */
bool fake_memory_exposed(const void *addr, size_t len, unsigned int access);

/* Things that happen to people. */
void fake_async_event(enum ibv_event_type type); /* of the port or the device */
void fake_async_event_of_qps(enum ibv_event_type type); /* of each that there is */
void fake_async_event_of_srqs(enum ibv_event_type type);
/* CQ_ERR: it has overflowed, or its memory is damaged. What it had is lost, and nothing comes. */
void fake_break_cq(struct ibv_cq *cq);
/* DEVICE_REMOVAL for every id, DEVICE_FATAL; @silent: and no completion comes any more. */
void fake_remove_device(bool silent);
/* The host of this end loses its power: nobody is told, nothing is answered, nothing is left. */
void fake_power_off(struct rdma_cm_id *id);
void fake_break_qps(void); /* every connected queue pair meets an error */

/* What the product gets by pw_verbs_get(); also for peers that a test plays itself. */
extern const struct pw_verbs fake_table;

#endif
