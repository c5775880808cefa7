/* SPDX-License-Identifier: Apache-2.0 */
/* test_xprt_tcp_end.c -- ways in which a TCP connection ends, and a listener without descriptors
 *
 * The rig checks on each of them: every message was done exactly once, nothing was done after
 * on_closed(), nothing was written into a buffer after it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <setjmp.h>
#include <cmocka.h>

#include "tcp_rig.h"

static bool client_closed(void)
{
	return client.closed;
}

static void expect_closed(int err, const char *text)
{
	run_until(client_closed);
	assert_int_equal(client.err, err);
	if (!strstr(client.why, text))
		fail_msg("'%s' is not in '%s'", text, client.why);
}

/* The peer ends ------------------------------------------------------------------------------- */

/* A plain peer that goes away after each byte of two messages. */
static void test_peer_gone__after_every_byte(void **state)
{
	uint8_t *buf = calloc(1, 4096);
	struct pw_cmd cmd;
	size_t len;

	make_rsp(&cmd, 1, 300);
	len = put_message(buf, &cmd);
	make_rsp(&cmd, 2, 0);
	len += put_message(buf + len, &cmd);
	for (size_t i = 0; i <= len; i++) {
		int fd = rig_connect_raw();

		client.guess = random_below(NR_GUESSES);
		if (i)
			raw_send(fd, buf, i);
		close(fd);
		expect_closed(-ECONNRESET, "closed by the peer");
		assert_int_equal(client.nr_msgs, i == len ? 2 : i >= 428);
		pw_xprt_free(client.x);
		client.x = NULL;
		client.closed = client.connected = false;
		client.nr_msgs = 0;
	}
	free(buf);
}

static void test_peer_resets__is_an_error_of_the_connection(void **state)
{
	struct linger hard = { .l_onoff = 1 };
	int fd = rig_connect_raw();

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	close(fd);
	expect_closed(-ECONNRESET, "");
}

static void test_garbage__ends_the_connection(void **state)
{
	uint8_t junk[700];

	for (uint32_t round = 0; round < 300; round++) {
		int fd = rig_connect_raw();

		client.guess = random_below(NR_GUESSES);
		for (uint32_t i = 0; i < sizeof(junk); i++)
			junk[i] = (uint8_t)random_below(256);
		/* half of them begin like a message of ours */
		if (round & 1) {
			struct pw_cmd cmd;

			make_rsp(&cmd, 1, random_below(200));
			memcpy(junk, &cmd, random_below(sizeof(cmd)));
		}
		client.refuse_payload = round & 2;
		raw_send(fd, junk, sizeof(junk));
		shutdown(fd, SHUT_WR);
		run_until(client_closed);
		assert_true(client.err == -EPROTO || client.err == -ECONNRESET);
		close(fd);
		pw_xprt_free(client.x);
		client.x = NULL;
		client.closed = client.connected = false;
		client.nr_msgs = 0;
	}
}

static void test_refused_payload__ends_the_connection(void **state)
{
	uint8_t buf[512];
	struct pw_cmd cmd;
	int fd = rig_connect_raw();

	client.refuse_payload = true;
	make_rsp(&cmd, 1, 64);
	raw_send(fd, buf, put_message(buf, &cmd));
	expect_closed(-EPROTO, "payload");
	assert_int_equal(client.nr_msgs, 0);
	close(fd);
}

static void test_a_request_to_a_client__ends_the_connection(void **state)
{
	uint8_t buf[512];
	struct pw_cmd cmd;
	int fd = rig_connect_raw();

	make_req(&cmd, 1, 64);
	raw_send(fd, buf, put_message(buf, &cmd));
	expect_closed(-EPROTO, "malformed");
	close(fd);
}

/* This side ends ------------------------------------------------------------------------------ */

static void send_some(struct side *s, uint32_t nr, uint32_t len)
{
	for (uint32_t i = 0; i < nr; i++) {
		struct pw_cmd cmd;

		make_req(&cmd, s->nr_sent + 1, len);
		side_send(s, &cmd);
	}
}

static bool kernel_is_full(void)
{
	static uint64_t last;
	static uint32_t same;
	uint64_t now = side_stats(&client).bytes_tx;

	same = now == last ? same + 1 : 0;
	last = now;
	return same > 50;
}

static void test_close__while_the_peer_does_not_read(void **state)
{
	int fd = rig_connect_raw();

	/* the first ones go out zero-copy: their memory is free only when the kernel says so */
	send_some(&client, 20, 3 << 20);
	run_until(kernel_is_full);
	assert_int_not_equal(client.nr_done, 20);
	side_close(&client, -ETIMEDOUT);
	assert_int_equal(client.nr_done + client.nr_failed, 20);
	assert_true(client.nr_failed > 0);
	close(fd);
}

/* What was sent before an orderly end arrives, also when the peer reads late. */
static void test_close__does_not_take_back_what_was_sent(void **state)
{
	int fd = rig_connect_raw();
	uint8_t buf[4096];
	size_t have = 0;
	ssize_t n;

	send_some(&client, 1, 1000);
	run_turns(10);
	assert_int_equal(client.nr_done, 1);
	side_close(&client, -ESHUTDOWN);
	while ((n = recv(fd, buf + have, sizeof(buf) - have, 0)) > 0)
		have += (size_t)n;
	assert_int_equal(n, 0);
	assert_int_equal(have, 1128);
	close(fd);
}

/* Listening ----------------------------------------------------------------------------------- */

static bool client_settled(void)
{
	return client.connected || client.closed;
}

static bool node_connected(void)
{
	return node.connected;
}

/* Out of descriptors: accepting pauses, and goes on when there are some again. */
static void test_listen__survives_a_lack_of_descriptors(void **state)
{
	struct rlimit old, low;
	int fd = dup(0);

	close(fd);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	low = old;
	/* the listener and the client, and none for the node's end */
	low.rlim_cur = (rlim_t)fd + 2;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	assert_int_equal(rig_listen("127.0.0.1", 0, &rig_listener), 0);
	rig_client_connect("127.0.0.1", pw_xprt_listener_port(rig_listener));
	run_until(client_settled);
	run_turns(50);
	assert_true(client.connected);
	assert_false(node.connected);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	run_until(node_connected);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_set_up, rig_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_peer_gone__after_every_byte),
		TEST(test_peer_resets__is_an_error_of_the_connection),
		TEST(test_garbage__ends_the_connection),
		TEST(test_refused_payload__ends_the_connection),
		TEST(test_a_request_to_a_client__ends_the_connection),
		TEST(test_close__while_the_peer_does_not_read),
		TEST(test_close__does_not_take_back_what_was_sent),
		TEST(test_listen__survives_a_lack_of_descriptors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
