/* SPDX-License-Identifier: Apache-2.0 */
/* tcp_rig.c -- see tcp_rig.h */
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

#include "tcp_rig.h"

struct pw_loop *rig_loop;
struct side client, node;
struct pw_xprt_listener *rig_listener;
uint64_t rig_random;

uint32_t random_below(uint32_t n)
{
	rig_random = rig_random * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(rig_random >> 33) % n;
}

/* Loop ---------------------------------------------------------------------------------------- */

static struct pw_ready watcher;
static bool (*watched)(void);
static uint32_t turns_left;

/* Ready in every turn: the loop does not sleep while a test waits. */
static void watch(struct pw_ready *r)
{
	if (watched ? watched() : !turns_left--)
		pw_loop_stop(rig_loop);
	else
		pw_loop_ready(rig_loop, r);
}

void run_until(bool (*cond)(void))
{
	watched = cond;
	pw_loop_ready(rig_loop, &watcher);
	alarm(60);
	assert_int_equal(pw_loop_run(rig_loop), 0);
	alarm(0);
}

void run_turns(uint32_t n)
{
	turns_left = n;
	run_until(NULL);
}

/* Messages ------------------------------------------------------------------------------------ */

void fill(uint8_t *p, uint64_t seq, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		p[i] = (uint8_t)(seq * 31 + i + (i >> 8) * 7);
}

void make_req(struct pw_cmd *cmd, uint64_t seq, uint32_t len)
{
	pw_cmd_init(cmd, PW_MSG_REQ, len ? PW_OP_WRITE : PW_OP_READ);
	cmd->slot = 1;
	cmd->seq = seq;
	cmd->payload_len = len;
	cmd->io.ino = 1;
	cmd->io.len = len ? len : 1;
}

void make_rsp(struct pw_cmd *cmd, uint64_t seq, uint32_t len)
{
	pw_cmd_init(cmd, PW_MSG_RSP, PW_OP_READ);
	cmd->slot = 1;
	cmd->seq = seq;
	cmd->payload_len = len;
}

size_t put_message(uint8_t *to, const struct pw_cmd *cmd)
{
	memcpy(to, cmd, sizeof(*cmd));
	fill(to + sizeof(*cmd), cmd->seq, cmd->payload_len);
	return sizeof(*cmd) + cmd->payload_len;
}

static void check_payload(const struct pw_cmd *cmd, const uint8_t *p)
{
	for (uint32_t i = 0; i < cmd->payload_len; i++)
		if (p[i] != (uint8_t)(cmd->seq * 31 + i + (i >> 8) * 7))
			fail_msg("message %lu: byte %u of %u is wrong", cmd->seq, i,
				 cmd->payload_len);
}

/* Our ends ------------------------------------------------------------------------------------ */

static void on_connected(void *owner, const char *peer_name)
{
	((struct side *)owner)->connected = true;
}

static void *on_payload(void *owner, const struct pw_cmd *cmd)
{
	struct side *s = owner;

	s->nr_payload_calls++;
	assert_true(cmd->payload_len > 0 && cmd->payload_len <= RIG_BUF - 64);
	return s->refuse_payload ? NULL : s->buf;
}

static void *guess_payload(void *owner, uint32_t *ret_len)
{
	struct side *s = owner;
	enum guess g = s->guess == GUESS_RANDOM ? random_below(GUESS_RANDOM) : s->guess;

	*ret_len = RIG_BUF - 64;
	switch (g) {
	case GUESS_RIGHT:
		return s->buf;
	case GUESS_SHORT:
		*ret_len = 100;
		return s->buf;
	case GUESS_WRONG:
		return s->other;
	case GUESS_OVERLAP:
		return s->buf + 64;
	default:
		return NULL;
	}
}

static void on_msg(void *owner, const struct pw_cmd *cmd, void *payload)
{
	struct side *s = owner;

	assert_false(s->closed);
	/* in order, none twice */
	assert_int_equal(cmd->seq, s->nr_msgs + 1);
	assert_ptr_equal(payload, cmd->payload_len ? s->buf : NULL);
	check_payload(cmd, payload);
	if (payload)
		memset(payload, 0, cmd->payload_len);
	s->nr_msgs++;
	s->msg_bytes += sizeof(*cmd) + cmd->payload_len;
	if (s->nr_msgs == s->close_after_msgs)
		pw_xprt_close(s->x, -ECANCELED, "closed in on_msg");
}

static void on_closed(void *owner, int err, const char *why)
{
	struct side *s = owner;

	assert_false(s->closed);
	assert_int_equal(s->nr_sent, s->nr_done + s->nr_failed);
	s->closed = true;
	s->err = err;
	snprintf(s->why, sizeof(s->why), "%s", why);
	/* whoever writes here afterwards is found */
	memset(s->buf, 0xee, 64);
}

static const struct pw_xprt_ops xprt_ops = {
	.on_connected = on_connected,
	.on_payload = on_payload,
	.guess_payload = guess_payload,
	.on_msg = on_msg,
	.on_closed = on_closed,
};

static void out_done(struct pw_send *send, int err)
{
	struct out *o = pw_container_of(send, struct out, send);

	assert_false(o->done);
	assert_false(o->side->closed);
	o->done = true;
	if (err)
		o->side->nr_failed++;
	else
		o->side->nr_done++;
	/* the transport has no business here any more */
	memset(o->payload, 0xdd, o->send.cmd.payload_len);
	memset(&o->send.cmd, 0xdd, offsetof(struct pw_cmd, payload_len));
}

void side_send(struct side *s, const struct pw_cmd *cmd)
{
	struct out *o = malloc(sizeof(*o) + cmd->payload_len);

	assert_non_null(o);
	o->send = (struct pw_send){ .cmd = *cmd,
				    .payload = cmd->payload_len ? o->payload : NULL,
				    .done = out_done };
	o->side = s;
	o->done = false;
	o->next = s->out;
	s->out = o;
	s->nr_sent++;
	fill(o->payload, cmd->seq, cmd->payload_len);
	pw_xprt_send(s->x, &o->send);
}

struct pw_conn_stats side_stats(const struct side *s)
{
	struct pw_conn_stats st;

	pw_xprt_get_stats(s->x, &st);
	return st;
}

static struct side *closing_side;

static bool is_closed(void)
{
	return closing_side->closed;
}

static void side_fini(struct side *s)
{
	while (s->out) {
		struct out *o = s->out;

		s->out = o->next;
		assert_true(o->done);
		free(o);
	}
	free(s->buf);
	free(s->other);
	memset(s, 0, sizeof(*s));
}

void side_close(struct side *s, int err)
{
	if (!s->x)
		return;
	pw_xprt_close(s->x, err, "closed by the test");
	closing_side = s;
	run_until(is_closed);
	pw_xprt_free(s->x);
	s->x = NULL;
	for (uint32_t i = 0; i < 64; i++)
		assert_int_equal(s->buf[i], 0xee);
}

static void side_init(struct side *s)
{
	s->buf = malloc(RIG_BUF);
	s->other = malloc(RIG_BUF);
	assert_non_null(s->buf);
	assert_non_null(s->other);
}

/* Connections --------------------------------------------------------------------------------- */

static int on_accept(void *arg, struct pw_xprt *x, const char *peer_name,
		     const struct pw_xprt_ops **ret_ops, void **ret_owner)
{
	if (node.x)
		return -EBUSY;
	node.x = x;
	node.connected = true;
	*ret_ops = &xprt_ops;
	*ret_owner = &node;
	return 0;
}

static bool both_connected(void)
{
	return client.connected && node.connected;
}

static bool client_connected(void)
{
	return client.connected || client.closed;
}

void rig_client_connect(const char *host, uint16_t port)
{
	assert_int_equal(pw_xprt_connect(rig_loop, host, port, PW_TRANSPORT_TCP, &xprt_ops, &client,
					 &client.x),
			 0);
}

int rig_listen(const char *host, uint16_t port, struct pw_xprt_listener **ret)
{
	return pw_xprt_listen(rig_loop, host, port, PW_TRANSPORT_TCP, on_accept, NULL, ret);
}

void rig_connect_pair(void)
{
	if (!rig_listener)
		assert_int_equal(rig_listen("127.0.0.1", 0, &rig_listener), 0);
	rig_client_connect("127.0.0.1", pw_xprt_listener_port(rig_listener));
	run_until(both_connected);
}

int rig_connect_raw(void)
{
	struct sockaddr_in sa = { .sin_family = AF_INET };
	socklen_t len = sizeof(sa);
	int fd, lfd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(lfd, (struct sockaddr *)&sa, len), 0);
	assert_int_equal(listen(lfd, 1), 0);
	assert_int_equal(getsockname(lfd, (struct sockaddr *)&sa, &len), 0);
	rig_client_connect("127.0.0.1", ntohs(sa.sin_port));
	run_until(client_connected);
	fd = accept4(lfd, NULL, NULL, SOCK_CLOEXEC);
	assert_true(fd >= 0);
	close(lfd);
	return fd;
}

void raw_send(int fd, const void *buf, size_t len)
{
	assert_int_equal(send(fd, buf, len, MSG_NOSIGNAL), len);
}

int rig_set_up(void **state)
{
	const struct pw_loop_opts o = { .sq_entries = 64, .max_ios = 64 };

	rig_random = 1;
	assert_int_equal(pw_loop_new(&rig_loop, &o), 0);
	pw_ready_init(&watcher, watch);
	side_init(&client);
	side_init(&node);
	return 0;
}

int rig_tear_down(void **state)
{
	side_close(&client, -ECANCELED);
	side_close(&node, -ECANCELED);
	side_fini(&client);
	side_fini(&node);
	pw_xprt_listener_free(rig_listener);
	rig_listener = NULL;
	run_turns(8);
	pw_loop_free(rig_loop);
	return 0;
}
