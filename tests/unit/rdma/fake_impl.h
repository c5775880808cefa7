/* SPDX-License-Identifier: Apache-2.0 */
/* fake_impl.h -- what the files of the fake verbs share; nobody else includes it */
#ifndef FAKE_IMPL_H
#define FAKE_IMPL_H

#include "common/list.h"
#include "fake_verbs.h"

#define FAKE_MAX_SGE 32u

struct fake_pd {
	struct ibv_pd ib;
	uint32_t users; /* MRs, MWs, QPs, SRQs */
};

struct fake_mr {
	struct ibv_mr ib;
	struct pw_list node; /* fake.mrs */
	int access;
	uint32_t nr_windows; /* bound to it */
};

struct fake_mw {
	struct ibv_mw ib;
	struct pw_list node; /* fake.mws */
	uint32_t rkey; /* as the device knows it */
	struct fake_qp *qp;  /* bound for; NULL: free */
	struct fake_mr *mr;
	uint64_t addr, len;
	unsigned int access;
};

struct fake_channel { /* completion channel */
	struct ibv_comp_channel ib;
	struct pw_list events; /* struct fake_cq by event_node */
};

struct fake_cqe {
	struct ibv_wc wc;
	struct fake_qp *qp;
	bool recv;
	uint64_t idx; /* in the queue that it belongs to; everything up to it is done */
};

struct fake_cq {
	struct ibv_cq ib;
	struct pw_list node; /* fake.cqs */
	struct fake_cqe *ring; /* owns */
	uint64_t head, tail; /* taken, put */
	bool armed, armed_solicited;
	struct pw_list event_node; /* an event that nobody has got yet; the kernel merges none, */
	uint32_t nr_events; /* but they are the same: how many */
	uint32_t nr_got; /* to be acked */
	uint32_t async_got; /* the same of asynchronous events */
	bool dead;
	uint32_t users; /* queue pairs, each way */
};

enum fake_wr_state {
	FAKE_WR_POSTED,
	FAKE_WR_EXECUTED,
	FAKE_WR_REPORTED
};

struct fake_swr { /* in a send queue */
	struct ibv_send_wr wr;
	struct ibv_sge sge[FAKE_MAX_SGE];
	enum fake_wr_state state;
	enum ibv_wc_status status;
	uint8_t *copy;	     /* owns: inline data, or what a READ has fetched */
	uint32_t len, hash; /* hash: of what was sent; it may not change before it is done */
	uint32_t mw_rkey; /* BIND_MW: the window's key when it was posted */
	uint64_t fetch_turn; /* READ: when the peer looks at its memory; 0: it has */
	uint64_t report_turn;
	uint64_t stuck_since; /* turn of the first try, 0: none yet */
};

struct fake_rwr { /* in a receive queue */
	uint64_t wr_id;
	struct ibv_sge sge[FAKE_MAX_SGE];
	int nr_sge;
	bool used;
};

struct fake_rq {
	struct fake_rwr *ring; /* owns */
	uint32_t size;
	uint64_t head, taken, tail; /* reported and polled, used, posted; a SRQ reports at once */
};

struct fake_srq {
	struct ibv_srq ib;
	struct pw_list node; /* fake.srqs */
	struct fake_rq rq;
	uint32_t users, limit; /* 0: not armed */
};

/* A message that has arrived and is not reported yet. */
struct fake_arrival {
	struct pw_list node;
	struct ibv_wc wc;
	uint64_t idx, report_turn;
	bool solicited;
};

struct fake_qp {
	struct ibv_qp ib;
	struct pw_list node; /* fake.qps */
	struct ibv_qp_cap cap;
	bool all_signaled;
	struct fake_qp *peer; /* NULL: not connected, or gone */
	struct rdma_cm_id *id;
	struct fake_swr *sq;				 /* owns; ring of cap.max_send_wr */
	uint64_t sq_head, sq_reported, sq_exec, sq_tail; /* polled, reported, executed, posted */
	struct fake_rq rq;
	struct pw_list arrivals;
	struct fake_arrival *unnoticed; /* on the list of arrivals; NULL: none is */
	bool heard; /* something has arrived */
	uint32_t srq_taken; /* of the SRQ, not polled */
	bool may_read, lets_read;
	bool silent; /* its device is gone and says nothing any more */
	bool lossy; /* from here on all that is left to report was flushed */
	bool unreliable; /* by a fault: destroying it is the only proof that is left */
	bool last_told; /* LAST_WQE_REACHED */
	uint64_t ended_turn; /* when it met an error */
	uint32_t async_got;
};

struct fake_async {
	struct pw_list node;
	struct ibv_async_event ev;
};

struct fake {
	struct verbs_context vctx;
	struct ibv_device device;
	struct pw_list mrs, mws, cqs, srqs, qps, ids, wire, listeners, async;
	uint32_t count[FAKE_NR_OBJECTS];
	uint32_t violations;
	uint32_t nr_device_lists;
	uint64_t random, turn;
	uint32_t next_key, next_qpn;
	uint16_t next_port;
	bool removed, removed_silently;
};
extern struct fake fake;

static inline struct ibv_context *fake_context(void)
{
	return &fake.vctx.context;
}

/* fake_verbs.c */
void fake_violation(const char *fmt, ...) PW_PRINTF(1, 2);
uint32_t fake_below(uint32_t n); /* 0 .. n - 1 */
uint64_t fake_later(void); /* a turn, not this one */
int fake_event_fd(void);
void fake_event_put(int fd);
bool fake_event_take(int fd, const char *what); /* a call that would block is a violation */
void fake_async_put(enum ibv_event_type type, struct ibv_qp *qp);
void fake_async_put_srq(enum ibv_event_type type, struct ibv_srq *srq);
void fake_async_put_cq(enum ibv_event_type type, struct ibv_cq *cq);

/* fake_memory.c */
struct ibv_pd *fake_alloc_pd(struct ibv_context *context);
int fake_dealloc_pd(struct ibv_pd *pd);
struct ibv_mr *fake_reg_mr(struct ibv_pd *pd, void *addr, size_t length, int access);
struct ibv_mr *fake_reg_dmabuf_mr(struct ibv_pd *pd, uint64_t offset, size_t length, uint64_t iova,
				  int fd, int access);
int fake_dereg_mr(struct ibv_mr *mr);
struct ibv_mw *fake_alloc_mw(struct ibv_pd *pd, enum ibv_mw_type type);
int fake_dealloc_mw(struct ibv_mw *mw);
/* A device's checks. @addr in the process; all NULL or false when refused. */
bool fake_local_ok(const struct fake_qp *qp, const struct ibv_sge *sge, int nr, bool write);
bool fake_pd_ok(const struct ibv_pd *pd, const struct ibv_sge *sge, int nr, bool write);
bool fake_remote_ok(const struct fake_qp *qp, uint64_t addr, uint32_t rkey, uint64_t len,
		    unsigned int access);
bool fake_bind(struct fake_qp *qp, const struct fake_swr *s);
bool fake_invalidate(struct fake_qp *qp, uint32_t rkey);

/* fake_cq.c */
struct ibv_comp_channel *fake_create_comp_channel(struct ibv_context *context);
int fake_destroy_comp_channel(struct ibv_comp_channel *channel);
struct ibv_cq *fake_create_cq(struct ibv_context *context, int cqe, void *cq_context,
			      struct ibv_comp_channel *channel, int comp_vector);
int fake_destroy_cq(struct ibv_cq *cq);
int fake_get_cq_event(struct ibv_comp_channel *channel, struct ibv_cq **cq, void **cq_context);
void fake_ack_cq_events(struct ibv_cq *cq, unsigned int nevents);
int fake_poll_cq(struct ibv_cq *cq, int num_entries, struct ibv_wc *wc);
int fake_req_notify_cq(struct ibv_cq *cq, int solicited_only);
void fake_cq_put(struct ibv_cq *cq, struct fake_qp *qp, const struct ibv_wc *wc, bool recv,
		 uint64_t idx, bool solicited);
void fake_cq_forget(struct ibv_cq *cq, const struct fake_qp *qp);

/* fake_qp.c */
struct ibv_qp *fake_create_qp(struct ibv_pd *pd, struct ibv_qp_init_attr *attr);
int fake_destroy_qp(struct ibv_qp *qp);
int fake_modify_qp(struct ibv_qp *qp, struct ibv_qp_attr *attr, int attr_mask);
int fake_query_qp(struct ibv_qp *qp, struct ibv_qp_attr *attr, int attr_mask,
		  struct ibv_qp_init_attr *init_attr);
int fake_post_send(struct ibv_qp *qp, struct ibv_send_wr *wr, struct ibv_send_wr **bad);
int fake_post_recv(struct ibv_qp *qp, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad);
struct ibv_srq *fake_create_srq(struct ibv_pd *pd, struct ibv_srq_init_attr *attr);
int fake_destroy_srq(struct ibv_srq *srq);
int fake_modify_srq(struct ibv_srq *srq, struct ibv_srq_attr *attr, int attr_mask);
int fake_post_srq_recv(struct ibv_srq *srq, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad);
void fake_sq_polled(struct fake_qp *qp, uint64_t idx); /* its completion was taken */
void fake_rq_polled(struct fake_qp *qp, uint64_t idx);
static inline struct fake_swr *fake_swr_at(struct fake_qp *qp, uint64_t idx)
{
	return &qp->sq[idx % qp->cap.max_send_wr];
}
uint32_t fake_swr_hash(const struct fake_swr *s);

/* fake_nic.c */
void fake_nic_turn(void);
bool fake_nic_is_idle(void);
void fake_qp_error(struct fake_qp *qp);
void fake_report_received(struct fake_qp *qp); /* at once */
void fake_report_now(struct ibv_cq *cq); /* what is due for it, and what is not */

/* fake_cm.c, fake_cm_peer.c */
void fake_cm_turn(void);
bool fake_cm_is_idle(void);
void fake_cm_end(void);
void fake_cm_qp_error(struct rdma_cm_id *id);
void fake_cm_device_removal(void);

#endif
