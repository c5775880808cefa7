/* SPDX-License-Identifier: Apache-2.0 */
/* raw_rig.c -- see raw_rig.h */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "raw_rig.h"

struct raw_end raw;
uint32_t raw_want_recv;
static uint32_t grants_seen;
struct pw_rdma_grant raw_grants[RIG_SLOTS];

void raw_turn(void)
{
	run_turns(1);
}

void raw_begin(void)
{
	struct pw_rdma_cm data;

	raw_open(&raw);
	pw_rdma_cm_init(&data, RAW_NR_RECV);
	memcpy(raw.data, &data, sizeof(data));
	raw.data_len = sizeof(data);
	memset(raw_grants, 0, sizeof(raw_grants));
	grants_seen = 0;
}

int raw_set_up(void **state)
{
	rig_set_up(state);
	fake_opts.rnr_allowed = true; /* a peer may send more than it was allowed to */
	raw_begin();
	return 0;
}

int raw_tear_down(void **state)
{
	raw_close(&raw, raw_turn);
	return rig_tear_down(state);
}

/* Messages by hand ---------------------------------------------------------------------------- */

void raw_make(struct raw_msg *m, enum pw_rdma_type type)
{
	memset(m, 0, sizeof(*m));
	m->head.magic = PW_RDMA_MAGIC;
	m->head.type = (uint8_t)type;
	m->head.credits = RAW_NR_RECV;
}

void raw_send_message(const struct raw_msg *m, uint32_t payload_len)
{
	uint32_t len = m->head.type == PW_RDMA_MSG
			       ? (uint32_t)offsetof(struct raw_msg, payload) + payload_len
			       : (uint32_t)sizeof(m->head);

	raw_send(&raw, m, len);
}

/* What the node has granted, as a client notes it. */
static void note_grants(void)
{
	for (; grants_seen < raw.nr_recv; grants_seen++) {
		const struct pw_rdma_head *h = (const void *)raw_message(&raw, grants_seen);
		const struct pw_rdma_grant *g = (const void *)(h + 1);

		for (uint32_t i = 0; i < h->nr_grants; i++)
			raw_grants[g[i].slot] = g[i];
	}
}

static bool raw_is_up(void)
{
	raw_poll(&raw);
	note_grants();
	return (raw.up && (node.connected || client.connected)) || raw.ended;
}

static bool all_granted(void)
{
	raw_poll(&raw);
	note_grants();
	for (uint32_t i = 0; i < RIG_SLOTS; i++)
		if (!raw_grants[i].rkey)
			return raw.ended;
	return true;
}

bool raw_received(void)
{
	raw_poll(&raw);
	note_grants();
	return raw.nr_recv >= raw_want_recv || client.closed || node.closed;
}

static bool node_closed(void)
{
	raw_poll(&raw);
	return node.closed;
}

static bool client_closed(void)
{
	raw_poll(&raw);
	return client.closed;
}

bool raw_ended(void)
{
	raw_poll(&raw);
	return raw.ended;
}

bool raw_sent(void)
{
	raw_poll(&raw);
	return raw.posted == raw.completed;
}

/* The node is ours. */
void raw_client(void)
{
	if (!rig_listener)
		assert_int_equal(rig_listen("127.0.0.1", 0, &rig_listener), 0);
	raw_connect(&raw, pw_xprt_listener_port(rig_listener));
	run_until(raw_is_up);
	assert_true(raw.up && node.connected);
	rig_grant_slots();
	run_until(all_granted);
}

/* The client is ours. */
void raw_node(void)
{
	rig_client_connect("127.0.0.1", raw_listen(&raw, 0));
	run_until(raw_is_up);
	assert_true(raw.up && client.connected);
	rig_grant_slots();
}

/* The connection ended as it should; and the next peer gets a new one that works. */
void raw_node_ended(int err)
{
	run_until(node_closed);
	if (err)
		assert_int_equal(node.err, err);
	raw_close(&raw, raw_turn);
	side_close(&node, -ECANCELED);
	node.connected = node.closed = false;
	node.nr_msgs = 0;
	raw_begin();
}

void raw_send_inv(const struct raw_msg *m, uint32_t rkey)
{
	struct ibv_sge sge = { .addr = (uintptr_t)raw.mem,
			       .lkey = raw.mr->lkey,
			       .length = (uint32_t)offsetof(struct raw_msg, payload) };
	struct ibv_send_wr wr = { .opcode = IBV_WR_SEND_WITH_INV,
				  .invalidate_rkey = rkey,
				  .sg_list = &sge,
				  .num_sge = 1 };

	memcpy(raw.mem, m, sge.length);
	assert_int_equal(raw_post(&raw, &wr), 0);
}

void raw_client_ended(int err)
{
	run_until(client_closed);
	if (err)
		assert_int_equal(client.err, err);
	raw_close(&raw, raw_turn);
	side_close(&client, -ECANCELED);
}
