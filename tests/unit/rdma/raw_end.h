/* SPDX-License-Identifier: Apache-2.0 */
/* raw_end.h -- one end of an RDMA connection that a test plays by hand, over the fake verbs
 *
 * It answers the connection manager by itself and does nothing else by itself. Everything that it
 * receives is kept, in order. One area of memory, registered with all rights.
 */
#ifndef RAW_END_H
#define RAW_END_H

#include "fake_verbs.h"

#define RAW_MSG	    8192u /* bytes of each receive buffer */
#define RAW_NR_RECV 64u
#define RAW_MEM	    (4u << 20)

struct raw_end {
	struct rdma_event_channel *ch;
	struct rdma_cm_id *id, *listener; /* a passive end has both */
	struct ibv_pd *pd;
	struct ibv_comp_channel *cc;
	struct ibv_cq *cq;
	struct ibv_mr *mr;
	uint8_t *mem;	  /* RAW_MEM; then the receive buffers */
	uint8_t data[64]; /* private: what connect or accept says */
	uint8_t data_len;
	uint8_t peer_data[256]; /* what the other end said */
	uint8_t peer_data_len;
	bool up, ended, want_reject;
	enum rdma_cm_event_type end_event;
	int end_status;
	uint32_t posted,
		completed; /* requests, all of them signaled unless a test says otherwise */
	uint32_t nr_recv, nr_recv_posted, nr_recv_completed; /* messages; buffers */
	struct ibv_wc last; /* of a request */
	struct ibv_wc recv[RAW_NR_RECV];
};

void raw_open(struct raw_end *r);
uint16_t raw_listen(struct raw_end *r, uint16_t port); /* Return: the port */
void raw_connect(struct raw_end *r, uint16_t port);
/* Looks at everything once. Call it between turns. */
void raw_poll(struct raw_end *r);
/* An orderly end; drains, destroys. Calls @turn until that is done. */
void raw_close(struct raw_end *r, void (*turn)(void));
/* Without power, all at once. */
void raw_power_off(struct raw_end *r);

uint8_t *raw_message(struct raw_end *r, uint32_t idx); /* bytes of recv[idx] */
/* Each posts one request; -errno of the post. */
int raw_post(struct raw_end *r, struct ibv_send_wr *wr);
int raw_send(struct raw_end *r, const void *buf, uint32_t len); /* at most RAW_MSG; copied */
int raw_write(struct raw_end *r, uint64_t addr, uint32_t rkey, uint32_t off, uint32_t len);
int raw_read(struct raw_end *r, uint64_t addr, uint32_t rkey, uint32_t off, uint32_t len);

#endif
