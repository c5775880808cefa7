/* SPDX-License-Identifier: Apache-2.0 */
/* test_wire_golden.c -- the bytes of the protocol do not change: offsets of all fields, messages as
 * hex
 *
 * The hex was made by another implementation (Python's struct) from common/PROTOCOL.md's tables. If
 * this test fails, the format has changed: that needs a new version, not a new golden file.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "common/wire.h"

#define AT(type, member, off, bytes)                                                               \
	static_assert(offsetof(struct type, member) == (off), #type "." #member);                  \
	static_assert(sizeof(((struct type *)NULL)->member) == (bytes), #type "." #member)

AT(pw_cmd, magic, 0, 4);
AT(pw_cmd, type, 4, 1);
AT(pw_cmd, op, 5, 1);
AT(pw_cmd, slot, 6, 2);
AT(pw_cmd, payload_len, 8, 4);
AT(pw_cmd, status, 12, 4);
AT(pw_cmd, seq, 16, 8);
AT(pw_cmd, epoch, 24, 8);
AT(pw_cmd, raw, 32, 96);
static_assert(sizeof(struct pw_cmd) == 128, "pw_cmd");

AT(pw_attr, ino, 0, 8);
AT(pw_attr, size, 8, 8);
AT(pw_attr, blocks, 16, 8);
AT(pw_attr, atime_ns, 24, 8);
AT(pw_attr, mtime_ns, 32, 8);
AT(pw_attr, ctime_ns, 40, 8);
AT(pw_attr, btime_ns, 48, 8);
AT(pw_attr, mode, 56, 4);
AT(pw_attr, nlink, 60, 4);
AT(pw_attr, uid, 64, 4);
AT(pw_attr, gid, 68, 4);
AT(pw_attr, rdev, 72, 4);
AT(pw_attr, generation, 76, 4);
AT(pw_attr, change, 80, 8);
static_assert(sizeof(struct pw_attr) == 88, "pw_attr");

AT(pw_body_name, parent, 0, 8);
AT(pw_body_name, cred.uid, 8, 4);
AT(pw_body_name, cred.gid, 12, 4);
static_assert(sizeof(struct pw_body_name) == 16, "pw_body_name");

AT(pw_body_mknode, parent, 0, 8);
AT(pw_body_mknode, cred, 8, 8);
AT(pw_body_mknode, mode, 16, 4);
AT(pw_body_mknode, rdev, 20, 4);
AT(pw_body_mknode, flags, 24, 4);
AT(pw_body_mknode, name_len, 28, 4);
static_assert(sizeof(struct pw_body_mknode) == 32, "pw_body_mknode");

AT(pw_body_ino, ino, 0, 8);
AT(pw_body_ino, cred, 8, 8);
AT(pw_body_ino, flags, 16, 4);
AT(pw_body_ino, reserved, 20, 4);
static_assert(sizeof(struct pw_body_ino) == 24, "pw_body_ino");

AT(pw_body_setattr, ino, 0, 8);
AT(pw_body_setattr, cred, 8, 8);
AT(pw_body_setattr, valid, 16, 4);
AT(pw_body_setattr, mode, 20, 4);
AT(pw_body_setattr, uid, 24, 4);
AT(pw_body_setattr, gid, 28, 4);
AT(pw_body_setattr, size, 32, 8);
AT(pw_body_setattr, atime_ns, 40, 8);
AT(pw_body_setattr, mtime_ns, 48, 8);
AT(pw_body_setattr, ctime_ns, 56, 8);
static_assert(sizeof(struct pw_body_setattr) == 64, "pw_body_setattr");

AT(pw_body_rename, old_parent, 0, 8);
AT(pw_body_rename, new_parent, 8, 8);
AT(pw_body_rename, cred, 16, 8);
AT(pw_body_rename, flags, 24, 4);
AT(pw_body_rename, old_len, 28, 4);
static_assert(sizeof(struct pw_body_rename) == 32, "pw_body_rename");

AT(pw_body_link, ino, 0, 8);
AT(pw_body_link, new_parent, 8, 8);
AT(pw_body_link, cred, 16, 8);
static_assert(sizeof(struct pw_body_link) == 24, "pw_body_link");

AT(pw_body_readdir, ino, 0, 8);
AT(pw_body_readdir, cookie, 8, 8);
AT(pw_body_readdir, max_bytes, 16, 4);
AT(pw_body_readdir, reserved, 20, 4);
static_assert(sizeof(struct pw_body_readdir) == 24, "pw_body_readdir");

AT(pw_body_io, ino, 0, 8);
AT(pw_body_io, off, 8, 8);
AT(pw_body_io, len, 16, 4);
AT(pw_body_io, flags, 20, 4);
AT(pw_body_io, cred, 24, 8);
static_assert(sizeof(struct pw_body_io) == 32, "pw_body_io");

AT(pw_body_reclaim, nr, 0, 4);
AT(pw_body_reclaim, last, 4, 4);
static_assert(sizeof(struct pw_body_reclaim) == 8, "pw_body_reclaim");

AT(pw_body_attr, attr, 0, 88);
AT(pw_body_attr, off, 88, 8);
static_assert(sizeof(struct pw_body_attr) == 96, "pw_body_attr");

AT(pw_body_statfs, blocks, 0, 8);
AT(pw_body_statfs, bfree, 8, 8);
AT(pw_body_statfs, bavail, 16, 8);
AT(pw_body_statfs, files, 24, 8);
AT(pw_body_statfs, ffree, 32, 8);
AT(pw_body_statfs, bsize, 40, 4);
AT(pw_body_statfs, namelen, 44, 4);
static_assert(sizeof(struct pw_body_statfs) == 48, "pw_body_statfs");

AT(pw_body_readdir_rsp, nr, 0, 4);
AT(pw_body_readdir_rsp, eof, 4, 4);
AT(pw_body_readdir_rsp, dir, 8, 88);
static_assert(sizeof(struct pw_body_readdir_rsp) == 96, "pw_body_readdir_rsp");

AT(pw_dirent, cookie, 0, 8);
AT(pw_dirent, attr, 8, 88);
AT(pw_dirent, name_len, 96, 4);
AT(pw_dirent, reserved, 100, 4);
static_assert(sizeof(struct pw_dirent) == 104, "pw_dirent");

AT(pw_body_hello, client_id, 0, 16);
AT(pw_body_hello, fsid, 16, 16);
AT(pw_body_hello, nonce, 32, 32);
AT(pw_body_hello, version, 64, 4);
AT(pw_body_hello, version_min, 68, 4);
AT(pw_body_hello, features, 72, 4);
AT(pw_body_hello, role, 76, 4);
AT(pw_body_hello, incarnation, 80, 8);
AT(pw_body_hello, channel, 88, 4);
AT(pw_body_hello, want_slots, 92, 4);
static_assert(sizeof(struct pw_body_hello) == 96, "pw_body_hello");

AT(pw_body_challenge, fsid, 0, 16);
AT(pw_body_challenge, node_id, 16, 16);
AT(pw_body_challenge, nonce, 32, 32);
AT(pw_body_challenge, proof, 64, 32);
static_assert(sizeof(struct pw_body_challenge) == 96, "pw_body_challenge");

AT(pw_body_proof, proof, 0, 32);
static_assert(sizeof(struct pw_body_proof) == 32, "pw_body_proof");

AT(pw_body_reject, version, 0, 4);
AT(pw_body_reject, version_min, 4, 4);
static_assert(sizeof(struct pw_body_reject) == 8, "pw_body_reject");

AT(pw_body_rails, total, 0, 2);
AT(pw_body_rails, first, 2, 2);
AT(pw_body_rails, rail, 4, 80);
AT(pw_rail_addr, addr, 0, 16);
AT(pw_rail_addr, port, 16, 2);
AT(pw_rail_addr, transports, 18, 2);

AT(pw_body_welcome, version, 0, 4);
AT(pw_body_welcome, nr_slots, 4, 4);
AT(pw_body_welcome, max_io, 8, 4);
AT(pw_body_welcome, lease_ms, 12, 4);
AT(pw_body_welcome, heartbeat_ms, 16, 4);
AT(pw_body_welcome, flags, 20, 4);
AT(pw_body_welcome, boot, 24, 8);
AT(pw_body_welcome, starts, 32, 8);
AT(pw_body_welcome, earlier, 40, 56);
static_assert(sizeof(struct pw_body_welcome) == 96, "pw_body_welcome");

static const struct {
	const char *name, *hex;
} golden[] = {
	{ "rails",
	  "505757310b000000000000000000000000000000000000000000000000000000"
	  "0200000000000000000000000000ffff0a0000012e1d0300fd00000000000000"
	  "0000000000000001630001000000000000000000000000000000000000000000"
	  "0000000000000000000000000000000000000000000000000000000000000000" },
	{ "hello",
	  "5057573101000000000000000000000000000000000000000000000000000000"
	  "101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f"
	  "303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f"
	  "0100000001000000000000000100000007000000000000000300000040000000" },
	{ "challenge",
	  "5057573102000000000000000000000000000000000000000000000000000000"
	  "404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f"
	  "606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f"
	  "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f" },
	{ "proof",
	  "5057573103000000000000000000000000000000000000000000000000000000"
	  "a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebf"
	  "0000000000000000000000000000000000000000000000000000000000000000"
	  "0000000000000000000000000000000000000000000000000000000000000000" },
	{ "welcome",
	  "5057573104000000000000000000000000000000000000000000000000000000"
	  "01000000410000000000100088130000e8030000010000000807060504030201"
	  "0000000000000000000000000000000000000000000000000000000000000000"
	  "0000000000000000000000000000000000000000000000000000000000000000" },
	{ "reject",
	  "5057573105000000000000001700000000000000000000000000000000000000"
	  "0100000001000000000000000000000000000000000000000000000000000000"
	  "0000000000000000000000000000000000000000000000000000000000000000"
	  "0000000000000000000000000000000000000000000000000000000000000000" },
	{ "ping",
	  "5057573106000000000000000000000000000000000000000000000000000000"
	  "0000000000000000000000000000000000000000000000000000000000000000"
	  "0000000000000000000000000000000000000000000000000000000000000000"
	  "0000000000000000000000000000000000000000000000000000000000000000" },
	{ "lookup",
	  "5057573108010200050000000000000009000000000000000000000000000000"
	  "0100000000000000e80300006400000000000000000000000000000000000000"
	  "0000000000000000000000000000000000000000000000000000000000000000"
	  "0000000000000000000000000000000000000000000000000000000000000000" },
	{ "create",
	  "505757310805ff030400000000000000ffffffffffffffff0000000000000000"
	  "0100000000000000e803000064000000a4810000000000000100000004000000"
	  "0000000000000000000000000000000000000000000000000000000000000000"
	  "0000000000000000000000000000000000000000000000000000000000000000" },
	{ "setattr",
	  "5057573108030100000000000000000002000000000000000000000000000000"
	  "4d00000000000000e803000064000000ff030000a00100000100000002000000"
	  "ffffffffffffff7ffffffffffffffffffefffffffffffffffdffffffffffffff"
	  "0000000000000000000000000000000000000000000000000000000000000000" },
	{ "rename",
	  "5057573108080100070000000000000002000000000000000000000000000000"
	  "0a000000000000000b00000000000000e8030000640000000100000003000000"
	  "0000000000000000000000000000000000000000000000000000000000000000"
	  "0000000000000000000000000000000000000000000000000000000000000000" },
	{ "link",
	  "5057573108090100010000000000000002000000000000000000000000000000"
	  "0a000000000000000b00000000000000e8030000640000000000000000000000"
	  "0000000000000000000000000000000000000000000000000000000000000000"
	  "0000000000000000000000000000000000000000000000000000000000000000" },
	{ "readdir",
	  "50575731080b0100000000000000000002000000000000000000000000000000"
	  "0a000000000000000b0000000000000000000100000000000000000000000000"
	  "0000000000000000000000000000000000000000000000000000000000000000"
	  "0000000000000000000000000000000000000000000000000000000000000000" },
	{ "open",
	  "50575731080c0100000000000000000002000000000000000000000000000000"
	  "0a00000000000000e80300006400000002000000000000000000000000000000"
	  "0000000000000000000000000000000000000000000000000000000000000000"
	  "0000000000000000000000000000000000000000000000000000000000000000" },
	{ "write",
	  "5057573108110100001000000000000002000000000000000000000000000000"
	  "0a0000000000000000000000000100000010000003000000e803000064000000"
	  "0000000000000000000000000000000000000000000000000000000000000000"
	  "0000000000000000000000000000000000000000000000000000000000000000" },
	{ "reclaim",
	  "5057573108120000200000000000000001000000000000000000000000000000"
	  "0200000001000000000000000000000000000000000000000000000000000000"
	  "0000000000000000000000000000000000000000000000000000000000000000"
	  "0000000000000000000000000000000000000000000000000000000000000000" },
	{ "attr_rsp",
	  "5057573109110100000000000000000002000000000000000000000000000000"
	  "887766554433221103020100000000001800000000000000ffffffffffffffff"
	  "15cd853dfe9c971703000000000000000400000000000000a481000002000000"
	  "e803000064000000000000000500000006000000000000000000000000010000" },
	{ "statfs_rsp",
	  "50575731090e0100000000000000000002000000000000000000000000000000"
	  "6400000000000000320000000000000028000000000000001e00000000000000"
	  "140000000000000000100000ff00000000000000000000000000000000000000"
	  "0000000000000000000000000000000000000000000000000000000000000000" },
	{ "readdir_rsp",
	  "50575731090b0100700000000000000002000000000000000000000000000000"
	  "0100000001000000887766554433221103020100000000001800000000000000"
	  "ffffffffffffffff15cd853dfe9c971703000000000000000400000000000000"
	  "ed41000002000000e80300006400000000000000050000000600000000000000" },
	{ "error_rsp",
	  "5057573109010100000000000200000002000000000000000000000000000000"
	  "0000000000000000000000000000000000000000000000000000000000000000"
	  "0000000000000000000000000000000000000000000000000000000000000000"
	  "0000000000000000000000000000000000000000000000000000000000000000" },
};

static const char golden_dirent[] =
	"0300000000000000887766554433221103020100000000001800000000000000"
	"ffffffffffffffff15cd853dfe9c971703000000000000000400000000000000"
	"a481000002000000e80300006400000000000000050000000600000000000000"
	"050000000000000068656c6c6f000000";

static void to_hex(const void *p, size_t len, char *hex)
{
	for (size_t i = 0; i < len; i++)
		sprintf(hex + 2 * i, "%02x", ((const uint8_t *)p)[i]);
}

static unsigned int nr_checked;

/* @to_node: the direction in which the peer's check has to accept it. */
static void check(const char *name, const struct pw_cmd *cmd, bool to_node)
{
	char hex[2 * PW_CMD_BYTES + 1];

	nr_checked++;
	to_hex(cmd, sizeof(*cmd), hex);
	assert_int_equal(pw_cmd_check(cmd, to_node), 0);
	for (size_t i = 0; i < PW_ARRAY_SIZE(golden); i++)
		if (!strcmp(golden[i].name, name)) {
			assert_string_equal(hex, golden[i].hex);
			return;
		}
	fail_msg("no golden message '%s'", name);
}

static void fill(uint8_t *p, uint8_t start, size_t len)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(start + i);
}

static const struct pw_attr attr = {
	.ino = 0x1122334455667788, .size = 0x10203, .blocks = 24, .atime_ns = -1,
	.mtime_ns = 1700000000123456789, .ctime_ns = 3, .btime_ns = 4, .mode = S_IFREG | 0644,
	.nlink = 2, .uid = 1000, .gid = 100, .generation = 5, .change = 6,
};
static const struct pw_cred cred = { .uid = 1000, .gid = 100 };

static void check_hand_shake(void)
{
	struct pw_cmd c;

	pw_cmd_init(&c, PW_MSG_HELLO, 0);
	fill(c.hello.client_id, 0x10, 16);
	fill(c.hello.fsid, 0x20, 16);
	fill(c.hello.nonce, 0x30, 32);
	c.hello.version = 1;
	c.hello.version_min = PW_WIRE_VERSION_MIN;
	c.hello.role = 1;
	c.hello.incarnation = 7;
	c.hello.channel = 3;
	c.hello.want_slots = 64;
	check("hello", &c, true);

	pw_cmd_init(&c, PW_MSG_CHALLENGE, 0);
	fill(c.challenge.fsid, 0x40, 16);
	fill(c.challenge.node_id, 0x50, 16);
	fill(c.challenge.nonce, 0x60, 32);
	fill(c.challenge.proof, 0x80, 32);
	check("challenge", &c, false);

	pw_cmd_init(&c, PW_MSG_PROOF, 0);
	fill(c.proof.proof, 0xa0, 32);
	check("proof", &c, true);

	pw_cmd_init(&c, PW_MSG_WELCOME, 0);
	c.welcome = (struct pw_body_welcome){ .version = 1, .nr_slots = 65, .max_io = 1 << 20,
					      .lease_ms = 5000, .heartbeat_ms = 1000,
					      .flags = PW_WELCOME_SESSION_KNOWN,
					      .boot = 0x0102030405060708 };
	check("welcome", &c, false);

	pw_cmd_init(&c, PW_MSG_REJECT, 0);
	c.status = 23;
	c.reject = (struct pw_body_reject){ .version = 1, .version_min = 1 };
	check("reject", &c, false);
	pw_cmd_init(&c, PW_MSG_RAILS, 0);
	c.rails = (struct pw_body_rails){
		.total = 2,
		.rail = { { { [10] = 0xff, [11] = 0xff, 10, 0, 0, 1 }, 7470, 3 },
			  { { 0xfd, [15] = 1 }, 99, 1 } },
	};
	check("rails", &c, false);
	pw_cmd_init(&c, PW_MSG_PING, 0);
	check("ping", &c, true);
}

static void req(struct pw_cmd *c, enum pw_op op, uint32_t payload_len)
{
	pw_cmd_init(c, PW_MSG_REQ, op);
	c->slot = 1;
	c->seq = 2;
	c->payload_len = payload_len;
}

static void check_names(void)
{
	struct pw_cmd c;

	req(&c, PW_OP_LOOKUP, 5);
	c.slot = 2;
	c.seq = 9;
	c.name = (struct pw_body_name){ .parent = 1, .cred = cred };
	check("lookup", &c, true);

	req(&c, PW_OP_CREATE, 4);
	c.slot = 0x3ff;
	c.seq = UINT64_MAX;
	c.mknode = (struct pw_body_mknode){ .parent = 1, .cred = cred, .mode = S_IFREG | 0644,
					    .flags = PW_CREATE_EXCL, .name_len = 4 };
	check("create", &c, true);

	req(&c, PW_OP_RENAME, 7);
	c.rename = (struct pw_body_rename){ .old_parent = 10, .new_parent = 11, .cred = cred,
					    .flags = PW_RENAME_NOREPLACE, .old_len = 3 };
	check("rename", &c, true);

	req(&c, PW_OP_LINK, 1);
	c.link = (struct pw_body_link){ .ino = 10, .new_parent = 11, .cred = cred };
	check("link", &c, true);
}

static void check_inodes(void)
{
	struct pw_cmd c;

	req(&c, PW_OP_SETATTR, 0);
	c.setattr = (struct pw_body_setattr){
		.ino = 77, .cred = cred, .mode = 0640, .uid = 1, .gid = 2, .size = INT64_MAX,
		.valid = PW_SET_MODE | PW_SET_UID | PW_SET_GID | PW_SET_SIZE | PW_SET_ATIME |
			 PW_SET_MTIME | PW_SET_ATIME_NOW | PW_SET_MTIME_NOW | PW_SET_CTIME |
			 PW_SET_KILL_SUIDGID,
		.atime_ns = -1, .mtime_ns = -2, .ctime_ns = -3,
	};
	check("setattr", &c, true);

	req(&c, PW_OP_READDIR, 0);
	c.readdir = (struct pw_body_readdir){ .ino = 10, .cookie = 11, .max_bytes = 65536 };
	check("readdir", &c, true);

	req(&c, PW_OP_OPEN, 0);
	c.ino = (struct pw_body_ino){ .ino = 10, .cred = cred, .flags = PW_OPEN_WRITE };
	check("open", &c, true);

	req(&c, PW_OP_WRITE, 4096);
	c.io = (struct pw_body_io){ .ino = 10, .off = 1ull << 40, .len = 4096,
				    .flags = PW_IO_SYNC | PW_IO_KILLPRIV, .cred = cred };
	check("write", &c, true);

	pw_cmd_init(&c, PW_MSG_REQ, PW_OP_RECLAIM);
	c.seq = 1;
	c.payload_len = 32;
	c.reclaim = (struct pw_body_reclaim){ .nr = 2, .last = 1 };
	check("reclaim", &c, true);
}

static void rsp(struct pw_cmd *c, enum pw_op op)
{
	pw_cmd_init(c, PW_MSG_RSP, op);
	c->slot = 1;
	c->seq = 2;
}

static void check_answers(void)
{
	struct pw_cmd c;

	rsp(&c, PW_OP_WRITE);
	c.attr = (struct pw_body_attr){ .attr = attr, .off = 1ull << 40 };
	check("attr_rsp", &c, false);

	rsp(&c, PW_OP_STATFS);
	c.statfs = (struct pw_body_statfs){ .blocks = 100, .bfree = 50, .bavail = 40, .files = 30,
					    .ffree = 20, .bsize = 4096, .namelen = 255 };
	check("statfs_rsp", &c, false);

	rsp(&c, PW_OP_READDIR);
	c.payload_len = 112;
	c.readdir_rsp = (struct pw_body_readdir_rsp){ .nr = 1, .eof = 1, .dir = attr };
	c.readdir_rsp.dir.mode = S_IFDIR | 0755;
	check("readdir_rsp", &c, false);

	rsp(&c, PW_OP_LOOKUP);
	c.status = 2;
	check("error_rsp", &c, false);
}

static void test_wire__messages_are_the_golden_bytes(void **state)
{
	nr_checked = 0;
	check_hand_shake();
	check_names();
	check_inodes();
	check_answers();
	/* none of the golden messages was left out */
	assert_int_equal(nr_checked, PW_ARRAY_SIZE(golden));
}

static void test_wire__dirent_is_the_golden_bytes(void **state)
{
	uint64_t buf[14];
	char hex[2 * sizeof(buf) + 1];
	size_t pos = 0;

	assert_int_equal(pw_dirent_put(buf, sizeof(buf), &pos, 3, &attr, "hello", 5), 0);
	assert_int_equal(pos, 112);
	to_hex(buf, pos, hex);
	assert_string_equal(hex, golden_dirent);
}

static void test_wire__numbers_are_frozen(void **state)
{
	assert_int_equal(PW_WIRE_VERSION, 2);
	assert_int_equal(PW_MSG_RAILS, 11);
	assert_int_equal(PW_MSG_GOODBYE, 10);
	assert_int_equal(PW_MSG_NR, 12);
	assert_int_equal(PW_OP_RECLAIM, 18);
	assert_int_equal(PW_OP_NR, 19);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wire__messages_are_the_golden_bytes),
		cmocka_unit_test(test_wire__dirent_is_the_golden_bytes),
		cmocka_unit_test(test_wire__numbers_are_frozen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
