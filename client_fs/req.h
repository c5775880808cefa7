/* SPDX-License-Identifier: Apache-2.0 */
/* req.h -- one request of the kernel, from its arrival to its answer
 *
 *	FREE -> NEW -> CALLING -> REPLYING -> FREE
 *	          \______________/
 *
 * It is embedded in what it came in: a ring entry (fuse_ring.c) or a /dev/fuse buffer (fuse_dev.c).
 * Those fill the fields below, call pwc_req_start(), and get reply() exactly once. In between it
 * belongs to the operation (op_*.c, ll_ops.c), which has at most one call to the node out at a
 * time.
 * Thread: the loop's own.      Allocates: never.      Must not know: rings, descriptors.
 */
#ifndef PWC_REQ_H
#define PWC_REQ_H

#include "client_fs/fuse_uapi.h"
#include "client_fs/notify.h"
#include "client_fs/peer.h"
#include "client_fs/region.h"
#include "client_fs/stats.h"
#include "common/sm.h"

struct pwc_shard;
struct pwc_req;

enum pwc_req_state {
	PWC_REQ_FREE,
	PWC_REQ_NEW, /* here, checked or about to be */
	PWC_REQ_CALLING, /* the node (or the peer's queue) has it */
	PWC_REQ_REPLYING, /* on its way to the kernel */
	PWC_REQ_NR_STATES
};

struct pwc_req {
	struct pw_sm sm;
	struct pwc_call call; /* the peer's in CALLING */
	struct pwc_shard *sh; /* borrowed for ever */
	/* Of the source. @err: 0 or -errno; @out_len: bytes in @out, 0 on error. */
	void (*reply)(struct pwc_req *r, int err, uint32_t out_len);
	uint32_t idx; /* in the shard's table; libfuse knows the request by it */
	enum pwc_path path;

	/* Set by the source, valid outside FREE */
	uint64_t unique, nodeid;
	uint32_t opcode, uid, gid, pid;
	const void *op_in; /* the operation's own header; borrowed until the reply */
	uint32_t op_in_len; /* bytes */
	uint8_t *in; /* what followed it: names, data */
	uint32_t in_len;
	uint8_t *out; /* where the answer goes; may be the same memory as @in */
	uint32_t out_max;
	/* Held until the answer: what a READ, WRITE or IOCTL moves lies there; NULL: it does not */
	struct pwc_region *region;
	/* Where in @region it lies; @in of a WRITE and @out of a READ are memory of its size then,
	 * with nothing in it. Borrowed until the answer; NULL without a region. */
	const struct pw_runs *runs;
	struct iovec one; /* of an IOCTL */
	struct pw_runs one_run;

	bool calling; /* the call is out */
	bool interrupted; /* its caller has a signal: see shard.c */
	void (*done)(struct pwc_call *c, int err, const struct pw_cmd *rsp, uint32_t out_len);
	void *ll; /* libfuse's handle while libfuse has the request */
	struct pwc_notify_job notify; /* an OPEN's, while the kernel forgets */
	uint32_t aux; /* the operation's own, between its calls */
};

void pwc_req_init(struct pwc_req *r, struct pwc_shard *sh, uint32_t idx, enum pwc_path path,
		  void (*reply)(struct pwc_req *r, int err, uint32_t out_len));

/* Checks the request against its opcode's table entry and starts the operation. Never replies to a
 * request that has one already; may reply before it returns. */
void pwc_req_start(struct pwc_req *r);

/* For sources: what the kernel's own header tells. */
static inline void pwc_req_take_head(struct pwc_req *r, const struct fuse_in_header *h)
{
	r->unique = h->unique;
	r->nodeid = h->nodeid;
	r->opcode = h->opcode;
	r->uid = h->uid;
	r->gid = h->gid;
	r->pid = h->pid;
	r->region = NULL;
	r->runs = NULL;
}

/**
 * pwc_req_parse - split a request that was read from /dev/fuse
 * @buf: as read; @len: bytes
 *
 * Sets what the source sets, but for out and out_max. Return: 0; -EPROTO: not a request at all
 * (there is nothing that an answer could name).
 */
int pwc_req_parse(struct pwc_req *r, uint8_t *buf, uint32_t len) PW_WARN_UNUSED;

static inline bool pwc_req_is_free(const struct pwc_req *r)
{
	return r->sm.state == PWC_REQ_FREE;
}

/* How its payload travels. */
static inline enum pwc_path pwc_req_path(const struct pwc_req *r)
{
	return r->region ? PWC_PATH_REG : r->path;
}

/* Bytes to and from an application's memory; one of them is 0. */
static inline void pwc_req_count_region(struct pwc_req *r, uint32_t read, uint32_t written)
{
	if (!r->region)
		return;
	r->region->reads += !written;
	r->region->writes += written > 0;
	r->region->bytes_read += read;
	r->region->bytes_written += written;
}

/* For the operations
 * ---------------------------------------------------------------------------------- */

/* A command to the node, in r->call: zeroed, with op and the caller's credentials in *ret_cred (may
 * be NULL). */
struct pw_cmd *pwc_req_cmd(struct pwc_req *r, enum pw_op op);
/* Sends it; @payload, @out, lengths in r->call and its command are set. @done ends or goes on. */
void pwc_req_call(struct pwc_req *r,
		  void (*done)(struct pwc_call *c, int err, const struct pw_cmd *rsp,
			       uint32_t out_len));
static inline struct pwc_req *pwc_req_of_call(struct pwc_call *c)
{
	return pw_container_of(c, struct pwc_req, call);
}
/* The answer: what an application may see of @err is decided here. */
void pwc_req_end(struct pwc_req *r, int err, uint32_t out_len);
/* The source calls it when the answer is handed over. */
void pwc_req_free(struct pwc_req *r);

/* A done() for calls whose answer is only an error or success. */
void pwc_req_done_plain(struct pwc_call *c, int err, const struct pw_cmd *rsp, uint32_t out_len);

/* The first and second NUL-terminated names of @in; checked before the operation started. */
static inline const char *pwc_req_name(const struct pwc_req *r)
{
	return (const char *)r->in;
}

#endif
