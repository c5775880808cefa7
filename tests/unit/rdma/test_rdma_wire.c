/* SPDX-License-Identifier: Apache-2.0 */
/* test_rdma_wire.c -- golden bytes of what comes in front of a command, and what is refused */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "common/rdma_wire.h"

static union {
	uint64_t align;
	uint8_t b[PW_RDMA_MSG_BYTES];
} m;
static struct pw_rdma_head *const head = (struct pw_rdma_head *)&m;
static struct pw_rdma_view view;

static int set_up(void **state)
{
	memset(&m, 0, sizeof(m));
	*head = (struct pw_rdma_head){ .magic = PW_RDMA_MAGIC, .type = PW_RDMA_MSG };
	return 0;
}

/* A command behind the head and @grants records. Return: the length so far. */
static uint32_t put_cmd(uint32_t grants, enum pw_msg_type type, enum pw_op op, uint32_t payload)
{
	uint32_t at = (uint32_t)(sizeof(*head) + grants * sizeof(struct pw_rdma_grant));
	struct pw_cmd *cmd = (struct pw_cmd *)(void *)(m.b + at);

	head->nr_grants = (uint16_t)grants;
	for (uint32_t i = 0; i < grants; i++)
		((struct pw_rdma_grant *)(head + 1))[i].len = 4096;
	pw_cmd_init(cmd, type, op);
	if (type == PW_MSG_REQ || type == PW_MSG_RSP) {
		cmd->slot = 1;
		cmd->seq = 1;
		cmd->payload_len = payload;
	}
	if (type == PW_MSG_REQ) {
		cmd->io.ino = 1;
		cmd->io.len = payload ? payload : 1;
	}
	return at + PW_CMD_BYTES;
}

static void expect(uint32_t len, bool to_node, int err)
{
	assert_int_equal(pw_rdma_parse(&m, len, to_node, &view), err);
}

static void test_head__golden_bytes(void **state)
{
	static const uint8_t golden[32] = {
		'P', 'W', 'R', '1', 1, 4, 2, 1, 0x44, 0x33, 0x22, 0x11, 6, 5, 0, 0,
		8, 7, 6, 5, 4, 3, 2, 1, 0xd4, 0xd3, 0xd2, 0xd1, 0, 0, 0x10, 0,
	};
	const struct pw_rdma_head h = {
		.magic = PW_RDMA_MAGIC,
		.type = PW_RDMA_MSG,
		.flags = PW_RDMA_WINDOW,
		.nr_grants = 0x102,
		.credits = 0x11223344,
		.slot = 0x506,
		.addr = 0x102030405060708,
		.rkey = 0xd1d2d3d4,
		.len = 1 << 20,
	};

	assert_memory_equal(&h, golden, sizeof(golden));
}

static void test_grant__golden_bytes(void **state)
{
	static const uint8_t golden[24] = {
		2, 1, 0, 0, 0xd4, 0xd3, 0xd2, 0xd1, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0x20, 0x10, 0,
	};
	const struct pw_rdma_grant g = {
		.slot = 0x102,
		.rkey = 0xd1d2d3d4,
		.addr = 0x102030405060708,
		.len = 0x102000,
	};

	assert_memory_equal(&g, golden, sizeof(golden));
}

static void test_cm__golden_bytes(void **state)
{
	static const uint8_t golden[16] = {
		'P', 'W', 'R', '1', 1, 0, 4, 0, 0, 0x12, 0, 0, 0, 0, 0, 0,
	};
	uint8_t padded[56] = { 0 };
	struct pw_rdma_cm p;

	pw_rdma_cm_init(&p, 4);
	assert_memory_equal(&p, golden, sizeof(golden));
	memcpy(padded, golden, sizeof(golden));
	assert_int_equal(pw_rdma_cm_check(padded, sizeof(padded), &p), 0);
	assert_int_equal(p.credits, 4);
	padded[4] = 2;
	assert_int_equal(pw_rdma_cm_check(padded, sizeof(padded), &p), -EPROTONOSUPPORT);
	padded[4] = 1;
	padded[6] = 1;
	assert_int_equal(pw_rdma_cm_check(padded, sizeof(padded), &p), -EPROTO);
	assert_int_equal(pw_rdma_cm_check(golden, 15, &p), -EPROTO);
	assert_int_equal(pw_rdma_cm_check(NULL, 0, &p), -EPROTO);
}

static void test_parse__request_with_inline_payload(void **state)
{
	uint32_t len = put_cmd(0, PW_MSG_REQ, PW_OP_WRITE, 10);

	expect(len + 10, true, 0);
	assert_ptr_equal(view.cmd, head + 1);
	assert_ptr_equal(view.payload, (uint8_t *)(head + 1) + PW_CMD_BYTES);
	expect(len + 9, true, -EPROTO);
	expect(len + 11, true, -EPROTO);
	expect(len + 10, false, -EPROTO);
}

static void test_parse__longest_inline_payload(void **state)
{
	uint32_t len = put_cmd(0, PW_MSG_REQ, PW_OP_WRITE, PW_RDMA_INLINE_MAX);

	expect(len + PW_RDMA_INLINE_MAX, true, 0);
	len = put_cmd(0, PW_MSG_REQ, PW_OP_WRITE, PW_RDMA_INLINE_MAX + 1);
	expect(len + PW_RDMA_INLINE_MAX + 1, true, -EPROTO);
}

static void test_parse__placed(void **state)
{
	uint32_t len = put_cmd(0, PW_MSG_REQ, PW_OP_WRITE, 1 << 20);

	head->flags = PW_RDMA_PLACED;
	expect(len, true, 0);
	assert_null(view.payload);
	expect(len + 1, true, -EPROTO);
	put_cmd(0, PW_MSG_REQ, PW_OP_READ, 0);
	expect(len, true, -EPROTO);
}

static void test_parse__window(void **state)
{
	uint32_t len = put_cmd(0, PW_MSG_REQ, PW_OP_READ, 0);

	head->flags = PW_RDMA_WINDOW;
	expect(len, true, -EPROTO);
	head->len = 4096;
	expect(len, true, 0);
	head->len = PW_MAX_IO + 1;
	expect(len, true, -EPROTO);
	head->len = 4096;
	put_cmd(0, PW_MSG_PING, 0, 0);
	expect(len, true, -EPROTO);
	put_cmd(0, PW_MSG_RSP, PW_OP_READ, 0);
	expect(len, false, -EPROTO);
	put_cmd(0, PW_MSG_REQ, PW_OP_READ, 0);
	head->flags = 0;
	expect(len, true, -EPROTO);
}

static void test_parse__pull(void **state)
{
	uint32_t len = put_cmd(0, PW_MSG_RSP, PW_OP_READ, 8192);

	head->flags = PW_RDMA_PULL;
	head->len = 8192;
	expect(len, false, 0);
	head->flags = PW_RDMA_PULL | PW_RDMA_PLACED;
	expect(len, false, -EPROTO);
	head->flags = PW_RDMA_PULL;
	head->len = 8191;
	expect(len, false, -EPROTO);
	len = put_cmd(0, PW_MSG_REQ, PW_OP_WRITE, 8192);
	head->len = 8192;
	expect(len, true, -EPROTO);
}

static void test_parse__grants(void **state)
{
	struct pw_rdma_grant *g = (struct pw_rdma_grant *)(head + 1);
	uint32_t len = put_cmd(2, PW_MSG_PING, 0, 0);

	expect(len, false, 0);
	assert_ptr_equal(view.grants, g);
	assert_ptr_equal(view.cmd, g + 2);
	expect(len, true, -EPROTO);
	expect(len - PW_CMD_BYTES - 1, false, -EPROTO);
	g[1].len = 0;
	expect(len, false, -EPROTO);
	g[1].len = 1;
	g[1].slot = PW_MAX_SLOTS;
	expect(len, false, -EPROTO);
	g[1].slot = 0;
	g[0].reserved2 = 1;
	expect(len, false, -EPROTO);
	g[0].reserved2 = 0;
	head->nr_grants = UINT16_MAX;
	expect(len, false, -EPROTO);
}

static void test_parse__credit_and_pulled(void **state)
{
	head->type = PW_RDMA_CREDIT;
	expect(sizeof(*head), true, 0);
	assert_null(view.cmd);
	expect(sizeof(*head) + 1, true, -EPROTO);
	head->slot = 3;
	expect(sizeof(*head), true, -EPROTO);
	head->type = PW_RDMA_PULLED;
	expect(sizeof(*head), true, 0);
	expect(sizeof(*head), false, -EPROTO);
	head->slot = PW_MAX_SLOTS;
	expect(sizeof(*head), true, -EPROTO);
}

static void test_parse__malformed(void **state)
{
	uint32_t len = put_cmd(0, PW_MSG_PING, 0, 0);

	expect(len, true, 0);
	for (uint32_t n = 0; n < len; n++)
		expect(n, true, -EPROTO);
	head->reserved = 1;
	expect(len, true, -EPROTO);
	head->reserved = 0;
	head->magic++;
	expect(len, true, -EPROTO);
	head->magic--;
	for (uint32_t type = 0; type < 256; type++) {
		head->type = (uint8_t)type;
		expect(len, true, type == PW_RDMA_MSG ? 0 : -EPROTO);
	}
	head->type = PW_RDMA_MSG;
	for (uint32_t flags = 1; flags < 256; flags++) {
		head->flags = (uint8_t)flags;
		expect(len, true, -EPROTO);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_head__golden_bytes, set_up),
		cmocka_unit_test_setup(test_grant__golden_bytes, set_up),
		cmocka_unit_test_setup(test_cm__golden_bytes, set_up),
		cmocka_unit_test_setup(test_parse__request_with_inline_payload, set_up),
		cmocka_unit_test_setup(test_parse__longest_inline_payload, set_up),
		cmocka_unit_test_setup(test_parse__placed, set_up),
		cmocka_unit_test_setup(test_parse__window, set_up),
		cmocka_unit_test_setup(test_parse__pull, set_up),
		cmocka_unit_test_setup(test_parse__grants, set_up),
		cmocka_unit_test_setup(test_parse__credit_and_pulled, set_up),
		cmocka_unit_test_setup(test_parse__malformed, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
