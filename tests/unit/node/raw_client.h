/* SPDX-License-Identifier: Apache-2.0 */
/* raw_client.h -- the smallest client over common/conn.h: one call at a time per slot, replay by
 * hand
 *
 * Includer provides run_until(): the real loop (test_node_tcp.c) or the virtual one
 * (node_fixture.c).
 */
#ifndef RAW_CLIENT_H
#define RAW_CLIENT_H

#include "common/conn.h"
#include "common/wire.h"

#define RAW_SLOTS 64u

struct raw_call {
	struct pw_send send;
	struct pw_cmd rsp;
	uint8_t *out; /* where the answer's payload lands */
	uint32_t out_max;
	bool answered;
	bool sent; /* the transport has let go of @send */
};

struct raw_client {
	struct pw_loop *loop;
	struct pw_conn *conn;
	struct pw_identity id;
	struct pw_body_welcome welcome;
	uint64_t incarnation;
	bool up, down;
	int down_err;
	uint64_t seq[RAW_SLOTS];
	struct raw_call calls[RAW_SLOTS];
	uint32_t nr_answers;
	bool (*run_until)(struct pw_loop *loop, const bool *flag);
};

/* 0 or -ENOMEM. */
int raw_init(struct raw_client *c, struct pw_loop *loop, uint8_t id,
	     bool (*run_until)(struct pw_loop *loop, const bool *flag));
/* 0 when it is up, else why it went down. */
int raw_connect(struct raw_client *c, const char *host, uint16_t port);
void raw_close(struct raw_client *c, bool goodbye);
void raw_fini(struct raw_client *c);

/* @cmd: op, body and payload_len; the next seq of @slot is used. */
void raw_start(struct raw_client *c, uint16_t slot, const struct pw_cmd *cmd, const void *payload,
	       void *out, uint32_t out_max);
/* The same request again, with the same seq. */
void raw_again(struct raw_client *c, uint16_t slot);
/* 0 or -errno of the answer; -ENOTCONN when the connection went down instead. */
int raw_wait(struct raw_client *c, uint16_t slot);
int raw_call(struct raw_client *c, uint16_t slot, const struct pw_cmd *cmd, const void *payload,
	     void *out, uint32_t out_max);

/* Requests; 0 or -errno. */
int raw_lookup(struct raw_client *c, uint64_t parent, const char *name, struct pw_attr *ret);
int raw_create(struct raw_client *c, uint64_t parent, const char *name, uint32_t flags,
	       struct pw_attr *ret);
int raw_mkdir(struct raw_client *c, uint64_t parent, const char *name, struct pw_attr *ret);
int raw_unlink(struct raw_client *c, uint64_t parent, const char *name);
int raw_getattr(struct raw_client *c, uint64_t ino, struct pw_attr *ret);
int raw_open(struct raw_client *c, uint64_t ino, uint32_t flags);
int raw_release(struct raw_client *c, uint64_t ino, uint32_t nr);
int raw_fsync(struct raw_client *c, uint64_t ino);
int raw_truncate(struct raw_client *c, uint64_t ino, uint64_t size);
int raw_write(struct raw_client *c, uint64_t ino, uint64_t off, const void *buf, uint32_t len,
	      uint32_t flags, struct pw_body_attr *ret);
int raw_read(struct raw_client *c, uint64_t ino, uint64_t off, void *buf, uint32_t len,
	     uint32_t *ret_len);
int raw_reclaim(struct raw_client *c, const uint64_t *inos, uint32_t nr, bool last);

#endif
