/* SPDX-License-Identifier: Apache-2.0 */
/* test_conn_tcp.c -- both ends of real connections over loopback: keys, limits, silence
 *
 * A client and a node live in one loop. The node answers each WRITE; the client counts.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <setjmp.h>
#include <cmocka.h>

#include "common/conn.h"
#include "common/uring.h"

#define MAX_NODES 100u
#define BLOCK (256u << 10)

static struct pw_loop *loop;
static struct pw_listener *listener;
static struct pw_identity client_id, node_id;
static struct pw_conn *client;
static struct {
	uint32_t nr_up, nr_down, nr_answers, nr_done, nr_failed;
	int err;
	char why[192];
} c_seen;
static struct {
	struct pw_conn *conn[MAX_NODES]; /* in order of accept; NULL: has ended */
	uint32_t nr, nr_up, nr_down, nr_msgs;
	int err;
} n_seen;
static uint8_t c_buf[BLOCK], n_buf[BLOCK];
static struct pw_send c_send[32], n_send[32];

/* Loop ---------------------------------------------------------------------------------------- */

static bool (*watched)(void);
static struct pw_ready watcher;

/* Ready in every turn: the loop does not sleep while a test waits. */
static void watch(struct pw_ready *r)
{
	if (watched())
		pw_loop_stop(loop);
	else
		pw_loop_ready(loop, r);
}

static void run_until(bool (*cond)(void))
{
	watched = cond;
	pw_loop_ready(loop, &watcher);
	alarm(60);
	assert_int_equal(pw_loop_run(loop), 0);
	alarm(0);
}

/* Node ---------------------------------------------------------------------------------------- */

static int node_hello(struct pw_conn *c, const struct pw_body_hello *hello,
		      struct pw_body_welcome *w)
{
	w->nr_slots = 32;
	w->max_io = BLOCK;
	w->lease_ms = 1000;
	w->boot = 1;
	return 0;
}

static void node_up(struct pw_conn *c, const struct pw_body_welcome *w)
{
	n_seen.nr_up++;
}

static void *node_payload(struct pw_conn *c, const struct pw_cmd *cmd)
{
	return cmd->payload_len <= BLOCK ? n_buf : NULL;
}

static void node_msg(struct pw_conn *c, const struct pw_cmd *cmd, void *payload)
{
	struct pw_send *s = &n_send[cmd->slot];

	n_seen.nr_msgs++;
	pw_cmd_init(&s->cmd, PW_MSG_RSP, cmd->op);
	s->cmd.slot = cmd->slot;
	s->cmd.seq = cmd->seq;
	s->cmd.attr.attr.ino = 1;
	s->cmd.attr.attr.mode = S_IFREG;
	assert_int_equal(pw_conn_send(c, s), 0);
}

static void node_down(struct pw_conn *c, int err, const char *why)
{
	n_seen.nr_down++;
	n_seen.err = err;
	for (uint32_t i = 0; i < n_seen.nr; i++)
		if (n_seen.conn[i] == c)
			n_seen.conn[i] = NULL;
	pw_conn_free(c);
}

static void on_accept(struct pw_listener *l, struct pw_conn *c)
{
	assert_true(n_seen.nr < MAX_NODES);
	n_seen.conn[n_seen.nr++] = c;
}

static const struct pw_conn_ops node_ops = {
	.on_hello = node_hello,
	.on_up = node_up,
	.on_payload = node_payload,
	.on_msg = node_msg,
	.on_down = node_down,
};

/* Client -------------------------------------------------------------------------------------- */

static void client_up(struct pw_conn *c, const struct pw_body_welcome *w)
{
	c_seen.nr_up++;
}

static void *client_payload(struct pw_conn *c, const struct pw_cmd *cmd)
{
	return NULL;
}

static void client_msg(struct pw_conn *c, const struct pw_cmd *cmd, void *payload)
{
	c_seen.nr_answers++;
}

static void client_down(struct pw_conn *c, int err, const char *why)
{
	c_seen.nr_down++;
	c_seen.err = err;
	snprintf(c_seen.why, sizeof(c_seen.why), "%s", why);
}

static const struct pw_conn_ops client_ops = {
	.on_up = client_up,
	.on_payload = client_payload,
	.on_msg = client_msg,
	.on_down = client_down,
};

static void client_done(struct pw_send *s, int err)
{
	if (err)
		c_seen.nr_failed++;
	else
		c_seen.nr_done++;
}

static void client_write(uint32_t slot)
{
	struct pw_send *s = &c_send[slot];

	pw_cmd_init(&s->cmd, PW_MSG_REQ, PW_OP_WRITE);
	s->cmd.slot = (uint16_t)slot;
	s->cmd.seq = 1;
	s->cmd.payload_len = BLOCK;
	s->cmd.io.ino = 1;
	s->cmd.io.len = BLOCK;
	s->payload = c_buf;
	s->done = client_done;
	assert_int_equal(pw_conn_send(client, s), 0);
}

static bool client_is_down(void)
{
	return c_seen.nr_down;
}

static bool client_is_up_or_down(void)
{
	return c_seen.nr_up || c_seen.nr_down;
}

static bool all_nodes_down(void)
{
	return n_seen.nr_down == n_seen.nr;
}

static void start(uint16_t port, const struct pw_conn_opts *o)
{
	assert_int_equal(pw_conn_new(loop, &client_ops, NULL, &client_id, o, &client), 0);
	assert_int_equal(pw_conn_connect(client, "127.0.0.1", port, 1), 0);
}

static void node_listen(const struct pw_conn_opts *o)
{
	static const struct pw_listener_ops lops = { .on_accept = on_accept };

	assert_int_equal(pw_listener_new(loop, "127.0.0.1", 0, &lops, &node_ops, NULL, &node_id, o,
					 &listener),
			 0);
}

static void listen_and_start(const struct pw_conn_opts *o)
{
	node_listen(o);
	start(pw_listener_port(listener), o);
}

static int set_up(void **state)
{
	const struct pw_loop_opts o = { .sq_entries = 64, .max_ios = 512 };

	memset(&c_seen, 0, sizeof(c_seen));
	memset(&n_seen, 0, sizeof(n_seen));
	client_id = (struct pw_identity){ .id = "client", .key = "k", .have_key = true };
	node_id = (struct pw_identity){ .id = "node", .fsid = "fs", .key = "k", .have_key = true };
	listener = NULL;
	client = NULL;
	pw_ready_init(&watcher, watch);
	return pw_loop_new(&loop, &o);
}

static uint32_t turns;

static bool some_turns(void)
{
	return !turns--;
}

static int tear_down(void **state)
{
	if (client && pw_conn_state(client) != PW_CONN_DOWN) {
		pw_conn_fail(client, -ECANCELED, "the test is over");
		run_until(client_is_down);
	}
	for (uint32_t i = 0; i < n_seen.nr; i++)
		if (n_seen.conn[i])
			pw_conn_fail(n_seen.conn[i], -ECANCELED, "the test is over");
	run_until(all_nodes_down);
	pw_conn_free(client);
	pw_listener_free(listener);
	turns = 8;
	run_until(some_turns);
	pw_loop_free(loop);
	return 0;
}

/* Tests --------------------------------------------------------------------------------------- */

static bool all_written(void)
{
	return (c_seen.nr_answers == 31 && c_seen.nr_done == 31) || c_seen.nr_down;
}

static void test_whole_life(void **state)
{
	listen_and_start(NULL);
	run_until(client_is_up_or_down);
	assert_int_equal(c_seen.nr_up, 1);
	assert_string_equal(pw_conn_transport(client), "tcp");
	assert_memory_equal(pw_conn_peer_id(client), node_id.id, 16);
	for (uint32_t slot = 1; slot < 32; slot++)
		client_write(slot);
	run_until(all_written);
	assert_int_equal(n_seen.nr_msgs, 31);
	pw_conn_goodbye(client);
	run_until(client_is_down);
	assert_int_equal(c_seen.err, -ESHUTDOWN);
	run_until(all_nodes_down);
	assert_int_equal(n_seen.err, -ESHUTDOWN);
	assert_int_equal(c_seen.nr_failed, 0);
}

static void check_keys(bool client_has, bool node_has, const char *text)
{
	client_id.have_key = client_has;
	node_id.have_key = node_has;
	listen_and_start(NULL);
	run_until(client_is_down);
	assert_int_equal(c_seen.err, -EKEYREJECTED);
	assert_non_null(strstr(c_seen.why, text));
	run_until(all_nodes_down);
	assert_int_equal(n_seen.nr_up, 0);
}

static void test_keys__other(void **state)
{
	node_id.key[0]++;
	check_keys(true, true, "did not prove our cluster key");
}

static void test_keys__only_the_node_has_one(void **state)
{
	check_keys(false, true, "this client has none");
}

static void test_keys__only_the_client_has_one(void **state)
{
	check_keys(true, false, "the node has no cluster key");
}

static void test_other_filesystem(void **state)
{
	client_id.fsid[0] = 1;
	listen_and_start(NULL);
	run_until(client_is_down);
	assert_int_equal(c_seen.err, -EMEDIUMTYPE);
}

/* A client that is not ours, by hand. */
static int stranger(void)
{
	struct sockaddr_in sa = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	sa.sin_port = htons(pw_listener_port(listener));
	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	return fd;
}

static uint32_t want_accepted;

static bool accepted(void)
{
	return n_seen.nr == want_accepted;
}

static void test_version__reject_reaches_the_peer(void **state)
{
	struct pw_cmd cmd;
	int fd;

	listen_and_start(NULL);
	run_until(client_is_up_or_down);
	fd = stranger();
	pw_cmd_init(&cmd, PW_MSG_HELLO, 0);
	cmd.hello.version = 9;
	cmd.hello.version_min = 8;
	assert_int_equal(send(fd, &cmd, sizeof(cmd), 0), sizeof(cmd));
	want_accepted = 2;
	run_until(accepted);
	pw_conn_goodbye(client);
	run_until(all_nodes_down);
	assert_int_equal(recv(fd, &cmd, sizeof(cmd), MSG_WAITALL), sizeof(cmd));
	assert_int_equal(cmd.type, PW_MSG_REJECT);
	assert_int_equal(cmd.reject.version, PW_WIRE_VERSION);
	assert_int_equal(recv(fd, &cmd, 1, 0), 0);
	close(fd);
}

static bool some_nodes_down(void)
{
	return n_seen.nr_down >= 6;
}

static void test_strangers__cannot_push_out_who_proved_the_key(void **state)
{
	int fd[70];

	listen_and_start(NULL);
	run_until(client_is_up_or_down);
	for (uint32_t i = 0; i < 70; i++) {
		fd[i] = stranger();
		want_accepted = i + 2;
		run_until(accepted);
	}
	run_until(some_nodes_down);
	assert_int_equal(n_seen.nr_down, 6);
	assert_int_equal(n_seen.err, -EBUSY);
	assert_int_equal(pw_conn_state(client), PW_CONN_UP);
	assert_int_equal(recv(fd[5], fd, 1, MSG_DONTWAIT), 0);
	assert_int_equal(recv(fd[6], fd, 1, MSG_DONTWAIT), -1);
	for (uint32_t i = 1; i < 70; i++)
		close(fd[i]);
}

static void test_stranger__that_says_nothing_has_a_deadline(void **state)
{
	const struct pw_conn_opts o = { .connect_timeout_ms = 100 };
	int fd;

	listen_and_start(&o);
	run_until(client_is_up_or_down);
	fd = stranger();
	want_accepted = 2;
	run_until(accepted);
	pw_conn_goodbye(client);
	run_until(all_nodes_down);
	assert_int_equal(n_seen.err, -ETIMEDOUT);
	close(fd);
}

/* A node that is stopped: it proved the key, and then it neither reads nor speaks. */
static void test_silent_peer__ends_and_gives_everything_back(void **state)
{
	const struct pw_conn_opts o = { .heartbeat_ms = 20, .dead_ms = 200 };
	struct pw_loop *other, *mine = loop;
	const struct pw_loop_opts lo = { .sq_entries = 16, .max_ios = 64 };

	/* the node lives in a loop of its own, which stands still after the hand-shake */
	assert_int_equal(pw_loop_new(&other, &lo), 0);
	loop = other;
	node_listen(NULL);
	loop = mine;
	start(pw_listener_port(listener), &o);
	while (!c_seen.nr_up) {
		assert_int_equal(c_seen.nr_down, 0);
		turns = 2;
		run_until(some_turns);
		loop = other;
		turns = 2;
		run_until(some_turns);
		loop = mine;
	}
	for (uint32_t slot = 1; slot < 32; slot++)
		client_write(slot);
	run_until(client_is_down);
	assert_int_equal(c_seen.err, -ETIMEDOUT);
	assert_int_equal(c_seen.nr_done + c_seen.nr_failed, 31);
	assert_int_equal(c_seen.nr_answers, 0);

	loop = other;
	run_until(all_nodes_down);
	pw_listener_free(listener);
	listener = NULL;
	turns = 8;
	run_until(some_turns);
	pw_loop_free(other);
	loop = mine;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_whole_life),
		TEST(test_keys__other),
		TEST(test_keys__only_the_node_has_one),
		TEST(test_keys__only_the_client_has_one),
		TEST(test_other_filesystem),
		TEST(test_version__reject_reaches_the_peer),
		TEST(test_strangers__cannot_push_out_who_proved_the_key),
		TEST(test_stranger__that_says_nothing_has_a_deadline),
		TEST(test_silent_peer__ends_and_gives_everything_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
