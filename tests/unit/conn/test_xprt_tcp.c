/* SPDX-License-Identifier: Apache-2.0 */
/* test_xprt_tcp.c -- every byte arrives once, in order, where it belongs, however the stream is cut
 *  */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <setjmp.h>
#include <cmocka.h>

#include "tcp_rig.h"

/* Cut streams --------------------------------------------------------------------------------- */

static uint64_t want_bytes;
static uint32_t want_msgs;

static bool has_bytes(void)
{
	return side_stats(&client).bytes_rx >= want_bytes || client.closed;
}

static bool has_msgs(void)
{
	return client.nr_msgs >= want_msgs || client.closed;
}

/* The bytes are in the kernel when this returns, and what could be done with them is done. */
static void feed(int fd, const uint8_t *buf, size_t len)
{
	raw_send(fd, buf, len);
	want_bytes += len;
	run_until(has_bytes);
	run_turns(4);
}

/* No payload, a small one, none, one that a guess cannot hold whole, none. */
static const uint32_t lens[] = { 0, 300, 0, 9000, 1, 0 };

static size_t put_stream(uint8_t *buf, uint64_t seq)
{
	size_t len = 0;

	for (uint32_t i = 0; i < PW_ARRAY_SIZE(lens); i++) {
		struct pw_cmd cmd;

		make_rsp(&cmd, seq + i, lens[i]);
		len += put_message(buf + len, &cmd);
	}
	return len;
}

static void cut_everywhere(enum guess guess, size_t step)
{
	uint8_t *buf = malloc(64 << 10);
	int fd = rig_connect_raw();
	size_t len = put_stream(buf, 1);

	want_bytes = 0;
	client.guess = guess;
	for (size_t cut = 1; cut < len; cut += step) {
		put_stream(buf, client.nr_msgs + 1);
		want_msgs = client.nr_msgs + PW_ARRAY_SIZE(lens);
		feed(fd, buf, cut);
		raw_send(fd, buf + cut, len - cut);
		want_bytes += len - cut;
		run_until(has_msgs);
		assert_false(client.closed);
		assert_int_equal(client.nr_msgs, want_msgs);
	}
	assert_int_equal(side_stats(&client).msgs_rx, client.nr_msgs);
	assert_int_equal(side_stats(&client).bytes_rx, client.msg_bytes);
	close(fd);
	free(buf);
}

static void test_receive__cut_at_every_byte_without_guess(void **state)
{
	cut_everywhere(GUESS_NONE, 1);
	/* reading ahead after small messages catches the beginning of a larger one, once a stream
	 *  */
	assert_in_range(side_stats(&client).copied_bytes, 1,
			client.nr_msgs / PW_ARRAY_SIZE(lens) * 2048);
}

/* Payloads are never in the stage: that would be a copy. */
static void test_receive__cut_at_every_byte_placed(void **state)
{
	cut_everywhere(GUESS_PLACED, 1);
	assert_int_equal(side_stats(&client).copied_bytes, 0);
}

static void test_receive__cut_at_every_byte_right_guess(void **state)
{
	cut_everywhere(GUESS_RIGHT, 1);
}

static void test_receive__cut_at_every_byte_short_guess(void **state)
{
	cut_everywhere(GUESS_SHORT, 1);
}

static void test_receive__cut_at_every_byte_wrong_guess(void **state)
{
	cut_everywhere(GUESS_WRONG, 1);
	assert_true(side_stats(&client).copied_bytes > 0);
}

static void test_receive__cut_at_every_byte_overlapping_guess(void **state)
{
	cut_everywhere(GUESS_OVERLAP, 1);
}

static void test_receive__cut_at_every_byte_random_guess(void **state)
{
	cut_everywhere(GUESS_RANDOM, 1);
}

static void test_receive__byte_by_byte(void **state)
{
	uint8_t *buf = malloc(64 << 10);
	int fd = rig_connect_raw();

	want_bytes = 0;
	for (client.guess = 0; client.guess < NR_GUESSES; client.guess++) {
		size_t len = put_stream(buf, client.nr_msgs + 1);

		for (size_t i = 0; i < len; i++) {
			raw_send(fd, buf + i, 1);
			want_bytes++;
			run_until(has_bytes);
		}
		run_turns(4);
		assert_int_equal(client.nr_msgs, (client.guess + 1) * PW_ARRAY_SIZE(lens));
	}
	close(fd);
	free(buf);
}

/* The whole stream three times over in one piece: messages pile up behind each guess. */
static void test_receive__many_messages_at_once(void **state)
{
	uint8_t *buf = malloc(64 << 10);
	int fd = rig_connect_raw();

	for (client.guess = 0; client.guess < NR_GUESSES; client.guess++) {
		size_t len = 0;

		want_msgs = client.nr_msgs + 3 * PW_ARRAY_SIZE(lens);
		for (uint32_t i = 0; i < 3; i++)
			len += put_stream(buf + len, client.nr_msgs + 1 + i * PW_ARRAY_SIZE(lens));
		raw_send(fd, buf, len);
		run_until(has_msgs);
		assert_int_equal(client.nr_msgs, want_msgs);
	}
	close(fd);
	free(buf);
}

/* Payloads go straight to where they belong, and nothing reads ahead into them. */
static void test_receive__a_run_of_payloads_copies_nothing(void **state)
{
	static const uint32_t sizes[] = { 257, 4096, 4096, 8000, 70000, 1 << 20, 300, 65536 };
	struct pw_cmd cmd;

	rig_connect_pair();
	for (uint32_t i = 0; i < 200; i++) {
		make_rsp(&cmd, i + 1, sizes[i % PW_ARRAY_SIZE(sizes)]);
		side_send(&node, &cmd);
	}
	want_msgs = 200;
	run_until(has_msgs);
	assert_int_equal(client.nr_msgs, 200);
	assert_int_equal(side_stats(&client).copied_bytes, 0);
}

/* Commands without payload come many at a time: that is what the read-ahead is for. */
static void test_receive__a_run_of_commands_takes_few_turns(void **state)
{
	uint8_t *buf = malloc(256 * PW_CMD_BYTES);
	struct pw_loop_stats before, after;
	struct pw_cmd cmd;
	size_t len = 0;
	int fd = rig_connect_raw();

	for (uint32_t i = 0; i < 256; i++) {
		make_rsp(&cmd, i + 1, 0);
		len += put_message(buf + len, &cmd);
	}
	raw_send(fd, buf, len);
	want_msgs = 256;
	pw_loop_get_stats(rig_loop, &before);
	run_until(has_msgs);
	pw_loop_get_stats(rig_loop, &after);
	assert_int_equal(client.nr_msgs, 256);
	assert_in_range(after.cqes - before.cqes, 1, 16);
	close(fd);
	free(buf);
}

/* A right guess copies nothing, and a wrong one no more than what a guess may bring. */
static void test_guess__costs_what_it_says(void **state)
{
	uint8_t *buf = malloc(64 << 10);
	int fd = rig_connect_raw();
	struct pw_cmd cmd;

	client.guess = GUESS_RIGHT;
	want_msgs = 0;
	for (uint32_t i = 0; i < 10; i++) {
		make_rsp(&cmd, ++want_msgs, 4096);
		raw_send(fd, buf, put_message(buf, &cmd));
		run_until(has_msgs);
		run_turns(2);
	}
	assert_int_equal(side_stats(&client).copied_bytes, 0);
	client.guess = GUESS_WRONG;
	make_rsp(&cmd, ++want_msgs, 1);
	raw_send(fd, buf, put_message(buf, &cmd));
	run_until(has_msgs);
	run_turns(2);
	make_rsp(&cmd, ++want_msgs, 60000);
	raw_send(fd, buf, put_message(buf, &cmd));
	run_until(has_msgs);
	assert_in_range(side_stats(&client).copied_bytes, 1, 8192);
	close(fd);
	free(buf);
}

/* Zero copy ----------------------------------------------------------------------------------- */

static bool node_has_msgs(void)
{
	return (node.nr_msgs >= want_msgs && client.nr_done >= want_msgs) || node.closed;
}

static void test_zero_copy__is_off_where_the_kernel_copies(void **state)
{
	struct pw_conn_stats st;
	struct pw_cmd cmd;

	rig_connect_pair();
	assert_string_equal(pw_xprt_name(client.x), "tcp");
	for (want_msgs = 1; want_msgs <= 20; want_msgs++) {
		make_req(&cmd, want_msgs, 256 << 10);
		side_send(&client, &cmd);
		run_until(node_has_msgs);
		assert_false(node.closed);
	}
	st = side_stats(&client);
	/* loopback: three sends find it out; 0: a kernel that refuses the report */
	assert_true(st.zc_sends == 3 || st.zc_sends == 1);
	assert_true(st.zc_copied == st.zc_sends || st.zc_sends == 1);
	assert_string_equal(pw_xprt_name(client.x), "tcp");
}

static void test_zero_copy__small_payloads_never_try(void **state)
{
	struct pw_cmd cmd;

	rig_connect_pair();
	for (want_msgs = 1; want_msgs <= 20; want_msgs++) {
		make_req(&cmd, want_msgs, 16 << 10);
		side_send(&client, &cmd);
		run_until(node_has_msgs);
	}
	assert_int_equal(side_stats(&client).zc_sends, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_set_up, rig_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_receive__cut_at_every_byte_without_guess),
		TEST(test_receive__cut_at_every_byte_placed),
		TEST(test_receive__cut_at_every_byte_right_guess),
		TEST(test_receive__cut_at_every_byte_short_guess),
		TEST(test_receive__cut_at_every_byte_wrong_guess),
		TEST(test_receive__cut_at_every_byte_overlapping_guess),
		TEST(test_receive__cut_at_every_byte_random_guess),
		TEST(test_receive__byte_by_byte),
		TEST(test_receive__many_messages_at_once),
		TEST(test_receive__a_run_of_payloads_copies_nothing),
		TEST(test_receive__a_run_of_commands_takes_few_turns),
		TEST(test_guess__costs_what_it_says),
		TEST(test_zero_copy__is_off_where_the_kernel_copies),
		TEST(test_zero_copy__small_payloads_never_try),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
