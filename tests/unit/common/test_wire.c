/* SPDX-License-Identifier: Apache-2.0 */
/* test_wire.c -- pw_cmd_check(): what is valid passes one way only, each thing that is wrong is
 * refused
 *
 * The table holds a valid command per message type and per request and answer of each op. Generated
 * from it: the other direction fails, unused bytes must be zero, reserved heads too. Then the rules
 * one by one.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "common/err.h"
#include "common/wire.h"

static struct pw_attr some_attr(uint32_t mode)
{
	return (struct pw_attr){ .ino = 7, .size = 5, .blocks = 8, .mode = mode, .nlink = 1,
				 .generation = 1, .change = 3 };
}

struct good {
	struct pw_cmd cmd;
	uint32_t used; /* bytes of the body that may be other than zero */
	bool to_node;
};

#define HEAD(type_, op_) .magic = PW_WIRE_MAGIC, .type = (type_), .op = (op_)
#define REQ(op_, body, ...)                                                                        \
	{                                                                                          \
		.to_node = true, .used = sizeof(((struct pw_cmd *)NULL)->body),                    \
		.cmd = { HEAD(PW_MSG_REQ, PW_OP_##op_), .seq = 1, __VA_ARGS__ }                    \
	}
#define RSP(op_, used_, ...)                                                                       \
	{                                                                                          \
		.used = (used_),                                                                   \
		.cmd = { HEAD(PW_MSG_RSP, PW_OP_##op_), .seq = 1, __VA_ARGS__ }                    \
	}
#define ATTR .attr.attr = { .ino = 7, .size = 5, .mode = S_IFREG | 0644, .nlink = 1, .change = 3 }

#define V4(a, b, c, d) { [10] = 0xff, [11] = 0xff, a, b, c, d }

static const struct good goods[] = {
	{ .to_node = true, .used = 96, .cmd = { HEAD(PW_MSG_HELLO, 0),
	  .hello = { .version = 1, .version_min = 1, .role = 1, .want_slots = 64 } } },
	{ .to_node = true, .used = 32, .cmd = { HEAD(PW_MSG_PROOF, 0) } },
	{ .to_node = true, .used = 0, .cmd = { HEAD(PW_MSG_PING, 0) } },
	{ .to_node = true, .used = 0, .cmd = { HEAD(PW_MSG_PONG, 0) } },
	{ .to_node = true, .used = 0, .cmd = { HEAD(PW_MSG_GOODBYE, 0) } },
	{ .used = 96, .cmd = { HEAD(PW_MSG_CHALLENGE, 0) } },
	{ .used = 96, .cmd = { HEAD(PW_MSG_WELCOME, 0), .welcome = { .version = 1, .nr_slots = 65,
	  .max_io = 1 << 20, .lease_ms = 5000, .heartbeat_ms = 1000, .boot = 9 } } },
	{ .used = 8, .cmd = { HEAD(PW_MSG_REJECT, 0), .status = PW_WERR_AUTH } },
	{ .used = 84, .cmd = { HEAD(PW_MSG_RAILS, 0), .rails = { .total = 5, .first = 0, .rail = {
	  { V4(10, 0, 0, 1), 7470, 1 }, { V4(10, 0, 1, 1), 7470, 3 },
	  { { 0xfd, [15] = 1 }, 1, 2 }, { V4(223, 255, 255, 255), 65534, 3 } } } } },
	{ .used = 84, .cmd = { HEAD(PW_MSG_RAILS, 0), .rails = { .total = 5, .first = 4,
	  .rail = { { V4(10, 0, 2, 1), 7470, 1 } } } } },

	REQ(LOOKUP, name, .slot = 1, .payload_len = 3, .name.parent = 1),
	REQ(GETATTR, ino, .slot = 1, .ino.ino = 1),
	REQ(SETATTR, setattr, .slot = 1, .setattr = { .ino = 1, .valid = PW_SET_SIZE, .size = 9 }),
	REQ(MKNODE, mknode, .slot = 1, .payload_len = 3,
	    .mknode = { .parent = 1, .mode = S_IFDIR | 0755, .name_len = 3 }),
	REQ(MKNODE, mknode, .slot = 1, .payload_len = 3 + 4095,
	    .mknode = { .parent = 1, .mode = S_IFLNK | 0777, .name_len = 3 }),
	REQ(MKNODE, mknode, .slot = 1, .payload_len = 255,
	    .mknode = { .parent = 1, .mode = S_IFCHR | 0600, .name_len = 255, .rdev = 5 }),
	REQ(CREATE, mknode, .slot = 1, .payload_len = 1, .mknode = { .parent = 1,
	    .mode = S_IFREG | 0644, .name_len = 1, .flags = PW_CREATE_EXCL }),
	REQ(UNLINK, name, .slot = 1, .payload_len = 255, .name.parent = 1),
	REQ(RMDIR, name, .slot = 1, .payload_len = 1, .name.parent = 1),
	REQ(RENAME, rename, .slot = 1, .payload_len = 255 + 255,
	    .rename = { .old_parent = 1, .new_parent = 2, .old_len = 255, .flags = 2 }),
	REQ(LINK, link, .slot = 1, .payload_len = 2, .link = { .ino = 5, .new_parent = 1 }),
	REQ(READLINK, ino, .slot = 1, .ino.ino = 5),
	REQ(READDIR, readdir, .slot = 1, .readdir = { .ino = 1, .max_bytes = 4096 }),
	REQ(OPEN, ino, .slot = 1, .ino = { .ino = 5, .flags = PW_OPEN_TRUNC | PW_OPEN_WRITE }),
	REQ(RELEASE, ino, .slot = 1, .ino = { .ino = 5, .flags = 2 }),
	REQ(STATFS, ino, .slot = 1),
	REQ(FSYNC, ino, .slot = 1, .ino = { .ino = 5, .flags = 1 }),
	REQ(READ, io, .slot = 1, .io = { .ino = 5, .off = 4096, .len = 4096 }),
	REQ(WRITE, io, .slot = 1023, .payload_len = 100,
	    .io = { .ino = 5, .off = INT64_MAX - 100, .len = 100, .flags = PW_IO_SYNC }),
	REQ(WRITE, io, .slot = 1, .payload_len = PW_MAX_IO,
	    .io = { .ino = 5, .off = UINT64_MAX, .len = PW_MAX_IO, .flags = PW_IO_APPEND }),
	REQ(RECLAIM, reclaim, .payload_len = 32, .reclaim = { .nr = 2, .last = 1 }),

	RSP(LOOKUP, 88, .slot = 1, ATTR),
	RSP(GETATTR, 88, .slot = 1, ATTR),
	RSP(SETATTR, 88, .slot = 1, ATTR),
	RSP(MKNODE, 88, .slot = 1, ATTR),
	RSP(CREATE, 89, .slot = 1, ATTR, .attr.off = 1),
	RSP(UNLINK, 88, .slot = 1),
	RSP(RMDIR, 88, .slot = 1),
	RSP(RENAME, 88, .slot = 1, ATTR),
	RSP(LINK, 88, .slot = 1, ATTR),
	RSP(READLINK, 88, .slot = 1, .payload_len = 10),
	RSP(READDIR, 96, .slot = 1, .payload_len = 112, .readdir_rsp = { .nr = 1 }),
	RSP(READDIR, 96, .slot = 1, .readdir_rsp = { .eof = 1 }),
	RSP(OPEN, 89, .slot = 1, ATTR),
	RSP(RELEASE, 88, .slot = 1),
	RSP(STATFS, 48, .slot = 1, .statfs = { .bsize = 4096, .namelen = 255 }),
	RSP(FSYNC, 88, .slot = 1),
	RSP(READ, 88, .slot = 1, .payload_len = PW_MAX_IO, ATTR),
	RSP(READ, 88, .slot = 1),
	RSP(WRITE, 96, .slot = 1, ATTR, .attr.off = 1 << 20),
	RSP(RECLAIM, 0, .slot = 0),
	RSP(LOOKUP, 0, .slot = 1, .status = PW_WERR_NOENT),
	RSP(OPEN, 0, .slot = 1, .status = 4000000000u),
};

static void test_cmd_check__good_passes_one_way(void **state)
{
	for (size_t i = 0; i < PW_ARRAY_SIZE(goods); i++) {
		const struct good *g = &goods[i];
		bool both = g->cmd.type == PW_MSG_PING || g->cmd.type == PW_MSG_PONG;

		if (pw_cmd_check(&g->cmd, g->to_node))
			fail_msg("row %zu, type %u op %s", i, g->cmd.type, pw_op_name(g->cmd.op));
		assert_int_equal(pw_cmd_check(&g->cmd, !g->to_node), both ? 0 : -EPROTO);
	}
}

static void test_cmd_check__every_op_and_type_has_a_row(void **state)
{
	for (uint32_t type = 1; type < PW_MSG_NR; type++)
		for (uint32_t op = 1; op < PW_OP_NR; op++) {
			bool found = false;

			for (size_t i = 0; i < PW_ARRAY_SIZE(goods); i++)
				found |= goods[i].cmd.type == type &&
					 (goods[i].cmd.op == op || !goods[i].cmd.op);
			assert_true(found);
		}
}

static void test_cmd_check__unused_body_bytes_are_zero(void **state)
{
	for (size_t i = 0; i < PW_ARRAY_SIZE(goods); i++)
		for (uint32_t b = goods[i].used; b < PW_BODY_BYTES; b++) {
			struct pw_cmd c = goods[i].cmd;

			c.raw[b] = 1;
			if (goods[i].used == 89 && b < 96)
				c.raw[b] = 2; /* off of OPEN, CREATE: 0 or 1 */
			if (!pw_cmd_check(&c, goods[i].to_node))
				fail_msg("row %zu, body byte %u", i, b);
		}
}

static void test_cmd_check__head(void **state)
{
	for (size_t i = 0; i < PW_ARRAY_SIZE(goods); i++) {
		const struct good *g = &goods[i];
		bool call = g->cmd.type == PW_MSG_REQ || g->cmd.type == PW_MSG_RSP;
		struct pw_cmd c;

#define BAD(change)                                                                                \
	do {                                                                                       \
		c = g->cmd;                                                                        \
		change;                                                                            \
		if (pw_cmd_check(&c, g->to_node) != -EPROTO)                                       \
			fail_msg("row %zu: %s", i, #change);                                       \
	} while (0)
		BAD(c.magic ^= 1);
		BAD(c.type = 0);
		BAD(c.type = PW_MSG_NR);
		BAD(c.type = 255);
		BAD(c.op = PW_OP_NR);
		BAD(c.op = 255);
		BAD(c.epoch = 1);
		BAD(c.payload_len = UINT32_MAX);
		BAD(c.payload_len = PW_MAX_IO + 1);
		if (call) {
			BAD(c.op = 0);
			BAD(c.slot = PW_MAX_SLOTS);
			BAD(c.slot = c.op == PW_OP_RECLAIM);
			if (g->to_node)
				BAD(c.status = 1);
			else
				BAD(c.status = c.status ? c.status : 1; c.payload_len = 1);
		} else {
			BAD(c.op = 1);
			BAD(c.slot = 1);
			BAD(c.seq = 1);
			BAD(c.payload_len = 1);
			BAD(c.status = !c.status);
		}
#undef BAD
	}
}

static struct pw_cmd good_of(enum pw_msg_type type, enum pw_op op)
{
	for (size_t i = 0; i < PW_ARRAY_SIZE(goods); i++)
		if (goods[i].cmd.type == type && goods[i].cmd.op == op)
			return goods[i].cmd;
	fail_msg("no row for type %d op %d", (int)type, (int)op);
	return (struct pw_cmd){ 0 };
}

#define EXPECT(want, type, op_, change)                                                            \
	do {                                                                                       \
		struct pw_cmd c = good_of(type, op_);                                              \
		change;                                                                            \
		if (pw_cmd_check(&c, (type) == PW_MSG_REQ || (type) == PW_MSG_HELLO) != (want))    \
			fail_msg("%s: %s", #op_, #change);                                         \
	} while (0)
#define BAD_REQ(op, change) EXPECT(-EPROTO, PW_MSG_REQ, PW_OP_##op, change)
#define BAD_RSP(op, change) EXPECT(-EPROTO, PW_MSG_RSP, PW_OP_##op, change)
#define GOOD_REQ(op, change) EXPECT(0, PW_MSG_REQ, PW_OP_##op, change)
#define GOOD_RSP(op, change) EXPECT(0, PW_MSG_RSP, PW_OP_##op, change)

static void test_cmd_check__names(void **state)
{
	BAD_REQ(LOOKUP, c.payload_len = 0);
	BAD_REQ(LOOKUP, c.payload_len = 256);
	BAD_REQ(LOOKUP, c.name.parent = 0);
	BAD_REQ(UNLINK, c.payload_len = 256);
	BAD_REQ(RMDIR, c.payload_len = 0);
	BAD_REQ(LINK, c.payload_len = 0);
	BAD_REQ(LINK, c.link.ino = 0);
	BAD_REQ(LINK, c.link.new_parent = 0);
	BAD_REQ(RENAME, c.rename.old_len = 0);
	BAD_REQ(RENAME, c.rename.old_len = 256);
	BAD_REQ(RENAME, c.payload_len = c.rename.old_len);
	BAD_REQ(RENAME, c.payload_len = c.rename.old_len - 1);
	BAD_REQ(RENAME, c.payload_len = c.rename.old_len + 256);
	BAD_REQ(RENAME, c.rename.old_len = UINT32_MAX);
	BAD_REQ(RENAME, c.rename.flags = PW_RENAME_NOREPLACE | PW_RENAME_EXCHANGE);
	BAD_REQ(RENAME, c.rename.flags = 4);
	BAD_REQ(RENAME, c.rename.old_parent = 0);
	BAD_REQ(RENAME, c.rename.new_parent = 0);
}

static void test_cmd_check__mknode_and_create(void **state)
{
	BAD_REQ(MKNODE, c.mknode.name_len = 0);
	BAD_REQ(MKNODE, c.mknode.name_len = 4);
	BAD_REQ(MKNODE, c.mknode.name_len = UINT32_MAX);
	BAD_REQ(MKNODE, c.mknode.name_len = 2); /* a byte too many */
	BAD_REQ(MKNODE, c.mknode.parent = 0);
	BAD_REQ(MKNODE, c.mknode.mode = 0755);
	BAD_REQ(MKNODE, c.mknode.mode = 0170000 | 0755);
	BAD_REQ(MKNODE, c.mknode.mode |= 1u << 16);
	BAD_REQ(MKNODE, c.mknode.flags = PW_CREATE_EXCL);
	BAD_REQ(MKNODE, c.mknode.rdev = 1);
	BAD_REQ(MKNODE, c.mknode.mode = S_IFLNK | 0777); /* no target */
	BAD_REQ(MKNODE, c.mknode.mode = S_IFLNK | 0777; c.payload_len = 3 + 4096);
	GOOD_REQ(MKNODE, c.mknode.mode = S_IFLNK | 0777; c.payload_len = 4);
	GOOD_REQ(MKNODE, c.mknode.mode = S_IFIFO | 0600);
	GOOD_REQ(MKNODE, c.mknode.mode = S_IFREG | 0600);
	GOOD_REQ(MKNODE, c.mknode.mode = S_IFBLK | 0600; c.mknode.rdev = UINT32_MAX);
	BAD_REQ(CREATE, c.mknode.mode = S_IFDIR | 0755);
	BAD_REQ(CREATE, c.mknode.flags = 2);
	BAD_REQ(CREATE, c.payload_len = 2);
}

static void test_cmd_check__inode_ops(void **state)
{
	BAD_REQ(GETATTR, c.ino.ino = 0);
	BAD_REQ(GETATTR, c.ino.flags = 1);
	BAD_REQ(GETATTR, c.ino.reserved = 1);
	BAD_REQ(GETATTR, c.payload_len = 1);
	BAD_REQ(READLINK, c.ino.flags = 1);
	BAD_REQ(OPEN, c.ino.flags = 4);
	BAD_REQ(RELEASE, c.ino.flags = 0);
	BAD_REQ(STATFS, c.ino.ino = 1);
	BAD_REQ(FSYNC, c.ino.flags = 2);
	BAD_REQ(SETATTR, c.setattr.ino = 0);
	BAD_REQ(SETATTR, c.setattr.valid = 1024);
	BAD_REQ(SETATTR, c.setattr.size = 1ull << 63);
	GOOD_REQ(SETATTR, c.setattr.size = INT64_MAX);
	GOOD_REQ(SETATTR, c.setattr.valid = 1023);
	BAD_REQ(SETATTR, c.setattr.mode = 1u << 16);
	BAD_REQ(SETATTR, c.payload_len = 1);
}

static void test_cmd_check__data_ops(void **state)
{
	BAD_REQ(READ, c.io.ino = 0);
	BAD_REQ(READ, c.io.len = 0);
	BAD_REQ(READ, c.io.len = PW_MAX_IO + 1);
	BAD_REQ(READ, c.io.len = UINT32_MAX);
	BAD_REQ(READ, c.payload_len = c.io.len);
	BAD_REQ(READ, c.io.flags = PW_IO_SYNC);
	BAD_REQ(READ, c.io.off = INT64_MAX - 4095);
	GOOD_REQ(READ, c.io.off = INT64_MAX - 4096);
	BAD_REQ(READ, c.io.off = UINT64_MAX);
	BAD_REQ(WRITE, c.io.off++);
	BAD_REQ(WRITE, c.io.off = UINT64_MAX - 99);
	BAD_REQ(WRITE, c.payload_len--);
	BAD_REQ(WRITE, c.io.len = 0; c.payload_len = 0);
	BAD_REQ(WRITE, c.io.flags = 8);
	BAD_REQ(READDIR, c.readdir.ino = 0);
	BAD_REQ(READDIR, c.readdir.max_bytes = PW_DIRENT_MAX_BYTES - 1);
	BAD_REQ(READDIR, c.readdir.max_bytes = PW_MAX_IO + 1);
	BAD_REQ(READDIR, c.readdir.reserved = 1);
	BAD_REQ(RECLAIM, c.reclaim.nr = 3);
	BAD_REQ(RECLAIM, c.reclaim.last = 2);
	/* times 16 it is 32 again */
	BAD_REQ(RECLAIM, c.reclaim.nr = 0x10000002);
	GOOD_REQ(RECLAIM, c.reclaim.nr = 0; c.payload_len = 0);
}

static void test_cmd_check__answers(void **state)
{
	BAD_RSP(LOOKUP, c.attr.attr.ino = 0);
	BAD_RSP(LOOKUP, c.attr.attr.mode = 0644);
	BAD_RSP(LOOKUP, c.attr.attr.size = 1ull << 63);
	BAD_RSP(LOOKUP, c.payload_len = 1);
	BAD_RSP(LOOKUP, memset(c.raw, 0, 96));
	BAD_RSP(OPEN, c.status = 0; memset(c.raw, 0, 96));
	BAD_RSP(WRITE, c.attr.off = 1ull << 63);
	BAD_RSP(FSYNC, c.attr.attr.size = 1);
	GOOD_RSP(FSYNC, c.attr.attr = some_attr(S_IFREG));
	BAD_RSP(READLINK, c.payload_len = 0);
	BAD_RSP(READLINK, c.payload_len = 4096);
	BAD_RSP(READ, c.attr.attr.ino = 0);
	BAD_RSP(STATFS, c.statfs.bsize = 0);
	BAD_RSP(READDIR, c.readdir_rsp.eof = 2);
	BAD_RSP(READDIR, c.payload_len = 111);
	BAD_RSP(READDIR, c.payload_len = 361);
	BAD_RSP(READDIR, c.readdir_rsp.nr = UINT32_MAX);
	BAD_RSP(READDIR, c.readdir_rsp.nr = 0; c.payload_len = 0);
	BAD_RSP(READDIR, c.readdir_rsp.nr = 0; c.readdir_rsp.eof = 1);
	/* the failure of a READ or WRITE says where, others say nothing */
	GOOD_RSP(WRITE, c.status = PW_WERR_NOSPC; memset(c.raw, 0, 88));
	BAD_RSP(WRITE, c.status = PW_WERR_NOSPC);
	BAD_RSP(CREATE, c.status = PW_WERR_NOSPC);
}

static void test_cmd_check__rails(void **state)
{
#define BAD_RAILS(change) EXPECT(-EPROTO, PW_MSG_RAILS, 0, change)
#define BAD_ADDR(...) BAD_RAILS(memcpy(c.rails.rail[1].addr, (uint8_t[16])__VA_ARGS__, 16))
	BAD_RAILS(c.rails.total = 0);
	BAD_RAILS(c.rails.total = PW_RAILS_MAX + 1);
	BAD_RAILS(c.rails.first = 4); /* of five: the other three have to be zero */
	BAD_RAILS(c.rails.first = 8);
	BAD_RAILS(c.rails.first = 1);
	BAD_RAILS(c.rails.total = 3); /* and there are four */
	BAD_RAILS(memset(&c.rails.rail[3], 0, sizeof(c.rails.rail[3])));
	BAD_RAILS(c.rails.rail[0].port = 0);
	BAD_RAILS(c.rails.rail[0].port = UINT16_MAX);
	BAD_RAILS(c.rails.rail[0].transports = 0);
	BAD_RAILS(c.rails.rail[0].transports = 4);
	BAD_ADDR({ 0 });
	BAD_ADDR(V4(0, 0, 0, 0));
	BAD_ADDR(V4(224, 0, 0, 1));
	BAD_ADDR(V4(255, 255, 255, 255));
	BAD_ADDR({ 0xfe, 0x80, [15] = 1 });
	BAD_ADDR({ 0xfe, 0xbf, [15] = 1 });
	BAD_ADDR({ 0xff, 0x02, [15] = 1 });
	EXPECT(0, PW_MSG_RAILS, 0, c.rails.total = PW_RAILS_MAX);
}

static void test_cmd_check__hand_shake(void **state)
{
	EXPECT(-EPROTO, PW_MSG_HELLO, 0, c.hello.version_min = 0);
	EXPECT(-EPROTO, PW_MSG_HELLO, 0, c.hello.version = 0);
	EXPECT(-EPROTO, PW_MSG_HELLO, 0, c.hello.version_min = 2);
	EXPECT(-EPROTO, PW_MSG_HELLO, 0, c.hello.features = 1);
	EXPECT(-EPROTO, PW_MSG_HELLO, 0, c.hello.role = 2);
	EXPECT(-EPROTO, PW_MSG_HELLO, 0, c.hello.want_slots = 0);
	/* a newer peer gets an answer: what else it says is not ours to judge */
	EXPECT(0, PW_MSG_HELLO, 0, c.hello.version = 3; c.hello.features = 1; c.hello.role = 7);
	EXPECT(0, PW_MSG_HELLO, 0, c.hello.version = 3; c.hello.version_min = 3);
	EXPECT(-EPROTO, PW_MSG_WELCOME, 0, c.welcome.version = 0);
	EXPECT(0, PW_MSG_WELCOME, 0, c.welcome.version = 2);
	EXPECT(-EPROTO, PW_MSG_WELCOME, 0, c.welcome.version = 3);
	EXPECT(-EPROTO, PW_MSG_WELCOME, 0, c.welcome.nr_slots = 1);
	EXPECT(-EPROTO, PW_MSG_WELCOME, 0, c.welcome.nr_slots = PW_MAX_SLOTS + 1);
	EXPECT(-EPROTO, PW_MSG_WELCOME, 0, c.welcome.max_io = 4095);
	EXPECT(-EPROTO, PW_MSG_WELCOME, 0, c.welcome.max_io = PW_MAX_IO + 1);
	EXPECT(-EPROTO, PW_MSG_WELCOME, 0, c.welcome.lease_ms = 0);
	EXPECT(-EPROTO, PW_MSG_WELCOME, 0, c.welcome.heartbeat_ms = 0);
	EXPECT(-EPROTO, PW_MSG_WELCOME, 0, c.welcome.flags = 2);
	EXPECT(-EPROTO, PW_MSG_REJECT, 0, c.status = 0);
}

static void test_name_check(void **state)
{
	char name[256];

	memset(name, 'n', sizeof(name));
	assert_int_equal(pw_name_check(name, 255), 0);
	assert_int_equal(pw_name_check(name, 256), -ENAMETOOLONG);
	assert_int_equal(pw_name_check("", 0), -EINVAL);
	assert_int_equal(pw_name_check(".", 1), -EINVAL);
	assert_int_equal(pw_name_check("..", 2), -EINVAL);
	assert_int_equal(pw_name_check("...", 3), 0);
	assert_int_equal(pw_name_check(".a", 2), 0);
	assert_int_equal(pw_name_check("a/b", 3), -EINVAL);
	assert_int_equal(pw_name_check("a\0b", 3), -EINVAL);
	assert_int_equal(pw_name_check("\xff\x01 ", 3), 0);
}

static uint64_t area[512];

static void test_dirent__put_and_next(void **state)
{
	struct pw_attr a = some_attr(S_IFREG | 0600);
	const struct pw_dirent *d;
	size_t pos = 0, end;
	const char *name;
	char long_name[255];

	memset(area, 0xee, sizeof(area));
	memset(long_name, 'x', sizeof(long_name));
	assert_int_equal(pw_dirent_put(area, sizeof(area), &pos, 1, &a, "eightchr", 8), 0);
	assert_int_equal(pos, 112);
	assert_int_equal(pw_dirent_put(area, sizeof(area), &pos, 2, &a, "n", 1), 0);
	assert_int_equal(pos, 224);
	assert_int_equal(pw_dirent_put(area, sizeof(area), &pos, 3, &a, long_name, 255), 0);
	assert_int_equal(pos, 224 + PW_DIRENT_MAX_BYTES);
	end = pos;
	assert_int_equal(pw_dirent_put(area, end + 111, &pos, 4, &a, "n", 1), -ENOSPC);
	assert_int_equal(pos, end);

	pos = 0;
	assert_int_equal(pw_dirent_next(area, end, &pos, &d, &name), 1);
	assert_int_equal(d->cookie, 1);
	assert_int_equal(d->name_len, 8);
	assert_memory_equal(name, "eightchr", 8);
	assert_memory_equal(&d->attr, &a, sizeof(a));
	assert_int_equal(pw_dirent_next(area, end, &pos, &d, &name), 1);
	assert_memory_equal(name, "n", 1);
	assert_int_equal(pw_dirent_next(area, end, &pos, &d, &name), 1);
	assert_memory_equal(name, long_name, 255);
	assert_int_equal(pw_dirent_next(area, end, &pos, &d, &name), 0);
	/* cut anywhere inside the last record */
	for (size_t cut = 225; cut < end; cut++) {
		pos = 224;
		assert_int_equal(pw_dirent_next(area, cut, &pos, &d, &name), -EPROTO);
	}
}

static void test_dirent_next__malformed(void **state)
{
	struct pw_attr a = some_attr(S_IFREG | 0600);
	struct pw_dirent *r = (struct pw_dirent *)area;
	const struct pw_dirent *d = NULL;
	const char *name = NULL;
	size_t pos;

#define MALFORMED(change)                                                                          \
	do {                                                                                       \
		pos = 0;                                                                           \
		assert_int_equal(pw_dirent_put(area, sizeof(area), &pos, 1, &a, "abc", 3), 0);     \
		change;                                                                            \
		pos = 0;                                                                           \
		assert_int_equal(pw_dirent_next(area, 112, &pos, &d, &name), -EPROTO);             \
		assert_int_equal(pos, 0);                                                          \
	} while (0)
	MALFORMED(r->cookie = 0);
	MALFORMED(r->reserved = 1);
	MALFORMED(r->name_len = 0);
	MALFORMED(r->name_len = 9);
	MALFORMED(r->name_len = 256);
	MALFORMED(r->name_len = UINT32_MAX);
	MALFORMED(r->attr.ino = 0);
	MALFORMED(r->attr.mode = 0);
	MALFORMED(memcpy(r + 1, "a/c", 3));
	MALFORMED(memcpy(r + 1, "..", 2); r->name_len = 2; ((char *)(r + 1))[2] = 0);
	MALFORMED(((char *)(r + 1))[7] = 1);
#undef MALFORMED
	assert_null(d);
	pos = 4;
	assert_int_equal(pw_dirent_next(area, 112, &pos, &d, &name), -EPROTO);
	pos = 120;
	assert_int_equal(pw_dirent_next(area, 112, &pos, &d, &name), -EPROTO);
}

static void test_op_name(void **state)
{
	assert_string_equal(pw_op_name(PW_OP_WRITE), "WRITE");
	assert_string_equal(pw_op_name(PW_OP_LOOKUP), "LOOKUP");
	assert_string_equal(pw_op_name(0), "?");
	assert_string_equal(pw_op_name(PW_OP_NR), "?");
	assert_string_equal(pw_op_name(UINT32_MAX), "?");
	for (uint32_t op = 1; op < PW_OP_NR; op++)
		assert_string_not_equal(pw_op_name(op), "?");
}

static void test_op_mutates(void **state)
{
	(void)state;
	assert_true(pw_op_mutates(PW_OP_WRITE));
	assert_true(pw_op_mutates(PW_OP_CREATE));
	assert_true(pw_op_mutates(PW_OP_SETATTR));
	assert_false(pw_op_mutates(PW_OP_READ));
	assert_false(pw_op_mutates(PW_OP_FSYNC));
	assert_false(pw_op_mutates(PW_OP_RECLAIM));
	assert_false(pw_op_mutates(0));
	assert_false(pw_op_mutates(PW_OP_NR));
	assert_false(pw_op_mutates(UINT32_MAX));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cmd_check__good_passes_one_way),
		cmocka_unit_test(test_cmd_check__every_op_and_type_has_a_row),
		cmocka_unit_test(test_cmd_check__unused_body_bytes_are_zero),
		cmocka_unit_test(test_cmd_check__head),
		cmocka_unit_test(test_cmd_check__names),
		cmocka_unit_test(test_cmd_check__mknode_and_create),
		cmocka_unit_test(test_cmd_check__inode_ops),
		cmocka_unit_test(test_cmd_check__data_ops),
		cmocka_unit_test(test_cmd_check__answers),
		cmocka_unit_test(test_cmd_check__rails),
		cmocka_unit_test(test_cmd_check__hand_shake),
		cmocka_unit_test(test_name_check),
		cmocka_unit_test(test_dirent__put_and_next),
		cmocka_unit_test(test_dirent_next__malformed),
		cmocka_unit_test(test_op_name),
		cmocka_unit_test(test_op_mutates),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
