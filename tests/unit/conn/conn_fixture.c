/* SPDX-License-Identifier: Apache-2.0 */
/* conn_fixture.c -- see conn_fixture.h */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <setjmp.h>
#include <cmocka.h>

#include "common/auth.h"
#include "conn_fixture.h"

struct pw_loop loop;
struct seen seen;
struct pw_identity client_id, node_id;
static struct pw_listener *listener;

static int on_hello(struct pw_conn *c, const struct pw_body_hello *hello,
		    struct pw_body_welcome *welcome)
{
	struct pw_cmd cmd;

	seen.nr_hello++;
	seen.hello = *hello;
	make_welcome(&cmd);
	*welcome = cmd.welcome;
	if (seen.fail_in_hello)
		pw_conn_fail(c, -ENOLCK, "failed in on_hello");
	return seen.hello_answer;
}

static void on_up(struct pw_conn *c, const struct pw_body_welcome *welcome)
{
	seen.nr_up++;
	seen.welcome = *welcome;
	if (seen.fail_in_up)
		pw_conn_fail(c, -ENOLCK, "failed in on_up");
}

static void *on_payload(struct pw_conn *c, const struct pw_cmd *cmd)
{
	seen.nr_payload++;
	return seen.refuse_payload || cmd->payload_len > sizeof(seen.payload) ? NULL : seen.payload;
}

static void on_msg(struct pw_conn *c, const struct pw_cmd *cmd, void *payload)
{
	seen.nr_msg++;
	seen.msg = *cmd;
	if (seen.fail_in_msg)
		pw_conn_fail(c, -ENOLCK, "failed in on_msg");
}

static void on_down(struct pw_conn *c, int err, const char *why)
{
	seen.nr_down++;
	seen.err = err;
	snprintf(seen.why, sizeof(seen.why), "%s", why);
	assert_int_equal(pw_conn_state(c), PW_CONN_DOWN);
	if (seen.reconnect_in_down)
		assert_int_equal(pw_conn_connect(c, "node", 7470, 8), 0);
	if (seen.free_in_down) {
		pw_conn_free(c);
		seen.c = NULL;
	}
}

const struct pw_conn_ops conn_ops = {
	.on_hello = on_hello,
	.on_up = on_up,
	.on_payload = on_payload,
	.on_msg = on_msg,
	.on_down = on_down,
};

static void on_accept(struct pw_listener *l, struct pw_conn *c)
{
	seen.nr_accept++;
	seen.c = c;
}

int fixture_set_up(void **state)
{
	fake_loop_init(&loop);
	memset(&fake, 0, sizeof(fake));
	memset(&seen, 0, sizeof(seen));
	client_id = (struct pw_identity){ .id = "the client", .key = "secret", .have_key = true };
	node_id = (struct pw_identity){ .id = "the node",
					.fsid = "filesystem",
					.key = "secret",
					.have_key = true };
	listener = NULL;
	return 0;
}

int fixture_tear_down(void **state)
{
	seen.reconnect_in_down = false;
	if (seen.c && pw_conn_state(seen.c) != PW_CONN_DOWN) {
		pw_conn_fail(seen.c, -ECANCELED, "the test is over");
		fake_run(&loop);
	}
	pw_conn_free(seen.c);
	pw_listener_free(listener);
	assert_int_equal(fake.nr_xprts, 0);
	assert_int_equal(loop.nr_timers, 0);
	assert_true(pw_list_empty(&loop.ready));
	return 0;
}

struct pw_xprt *client_start(const struct pw_conn_opts *o)
{
	assert_int_equal(pw_conn_new(&loop, &conn_ops, &seen, &client_id, o, &seen.c), 0);
	assert_int_equal(pw_conn_connect(seen.c, "10.0.0.1", 7470, 7), 0);
	assert_int_equal(pw_conn_state(seen.c), PW_CONN_CONNECTING);
	fake_connected(fake.last);
	assert_int_equal(pw_conn_state(seen.c), PW_CONN_HELLO);
	return fake.last;
}

struct pw_xprt *node_start(const struct pw_conn_opts *o)
{
	static const struct pw_listener_ops lops = { .on_accept = on_accept };

	assert_int_equal(pw_listener_new(&loop, "0.0.0.0", 7470, &lops, &conn_ops, NULL, &node_id,
					 o, &listener),
			 0);
	fake_accept();
	assert_int_equal(seen.nr_accept, 1);
	assert_int_equal(pw_conn_state(seen.c), PW_CONN_HELLO);
	return fake.last;
}

void make_hello(struct pw_cmd *cmd)
{
	pw_cmd_init(cmd, PW_MSG_HELLO, 0);
	memcpy(cmd->hello.client_id, client_id.id, 16);
	memcpy(cmd->hello.fsid, client_id.fsid, 16);
	memset(cmd->hello.nonce, 0x55, 32);
	cmd->hello.version = PW_WIRE_VERSION;
	cmd->hello.version_min = PW_WIRE_VERSION_MIN;
	cmd->hello.role = 1;
	cmd->hello.incarnation = 3;
	cmd->hello.want_slots = 16;
}

void make_challenge(struct pw_cmd *cmd, const struct pw_cmd *hello, const uint8_t key[32])
{
	pw_cmd_init(cmd, PW_MSG_CHALLENGE, 0);
	memcpy(cmd->challenge.fsid, node_id.fsid, 16);
	memcpy(cmd->challenge.node_id, node_id.id, 16);
	memset(cmd->challenge.nonce, 0xaa, 32);
	pw_auth_proof(cmd->challenge.proof, key, "node", &hello->hello, &cmd->challenge);
}

void make_proof(struct pw_cmd *cmd, const struct pw_cmd *hello, const struct pw_cmd *challenge,
		const uint8_t key[32])
{
	pw_cmd_init(cmd, PW_MSG_PROOF, 0);
	pw_auth_proof(cmd->proof.proof, key, "client", &hello->hello, &challenge->challenge);
}

void make_welcome(struct pw_cmd *cmd)
{
	pw_cmd_init(cmd, PW_MSG_WELCOME, 0);
	cmd->welcome = (struct pw_body_welcome){ .version = PW_WIRE_VERSION,
						 .nr_slots = 9,
						 .max_io = 1 << 20,
						 .lease_ms = 30000,
						 .heartbeat_ms = 1000,
						 .boot = 77 };
}

struct pw_xprt *client_up(const struct pw_conn_opts *o)
{
	struct pw_xprt *x = client_start(o);
	struct pw_cmd hello, cmd;

	fake_take(x, PW_MSG_HELLO, &hello);
	make_challenge(&cmd, &hello, node_id.key);
	fake_deliver(x, &cmd, NULL);
	fake_take(x, PW_MSG_PROOF, &cmd);
	make_welcome(&cmd);
	fake_deliver(x, &cmd, NULL);
	assert_int_equal(pw_conn_state(seen.c), PW_CONN_UP);
	assert_int_equal(seen.nr_up, 1);
	return x;
}

struct pw_xprt *node_up(const struct pw_conn_opts *o)
{
	struct pw_xprt *x = node_start(o);
	struct pw_cmd hello, challenge, cmd;

	make_hello(&hello);
	fake_deliver(x, &hello, NULL);
	fake_take(x, PW_MSG_CHALLENGE, &challenge);
	make_proof(&cmd, &hello, &challenge, client_id.key);
	fake_deliver(x, &cmd, NULL);
	fake_take(x, PW_MSG_WELCOME, &cmd);
	assert_int_equal(pw_conn_state(seen.c), PW_CONN_UP);
	return x;
}

void make_write(struct pw_cmd *cmd, uint32_t len)
{
	pw_cmd_init(cmd, PW_MSG_REQ, PW_OP_WRITE);
	cmd->slot = 1;
	cmd->seq = 1;
	cmd->payload_len = len;
	cmd->io.ino = 1;
	cmd->io.len = len;
}

void make_rsp(struct pw_cmd *cmd)
{
	pw_cmd_init(cmd, PW_MSG_RSP, PW_OP_WRITE);
	cmd->slot = 1;
	cmd->seq = 1;
	cmd->attr.attr.ino = 1;
	cmd->attr.attr.mode = S_IFREG;
}

void count_done(struct pw_send *s, int err)
{
	seen.nr_done++;
	seen.last_done = err;
}

void expect_down(int err, const char *text_in_why)
{
	fake_run(&loop);
	assert_int_equal(seen.nr_down, 1);
	assert_int_equal(seen.err, err);
	if (!strstr(seen.why, text_in_why))
		fail_msg("'%s' is not in '%s'", text_in_why, seen.why);
}
