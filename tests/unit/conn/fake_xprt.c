/* SPDX-License-Identifier: Apache-2.0 */
/* fake_xprt.c -- see fake_xprt.h; the fake loop takes the place of loop.c at link time, too */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <cmocka.h>

#include "fake_xprt.h"

struct fake_world fake;

/* Loop ---------------------------------------------------------------------------------------- */

void fake_loop_init(struct pw_loop *loop)
{
	memset(loop, 0, sizeof(*loop));
	loop->now_ns = 1000 * PW_NS_PER_S;
	pw_list_init(&loop->ready);
}

uint64_t pw_loop_now(const struct pw_loop *loop)
{
	return loop->now_ns;
}

uint64_t pw_loop_realtime(const struct pw_loop *loop)
{
	return loop->now_ns;
}

void pw_timer_init(struct pw_timer *t, void (*fn)(struct pw_timer *t))
{
	t->deadline_ns = 0;
	t->heap_idx = UINT32_MAX;
	t->fn = fn;
}

void pw_timer_cancel(struct pw_loop *loop, struct pw_timer *t)
{
	if (!pw_timer_armed(t))
		return;
	loop->timers[t->heap_idx] = loop->timers[--loop->nr_timers];
	loop->timers[t->heap_idx]->heap_idx = t->heap_idx;
	t->heap_idx = UINT32_MAX;
}

void pw_timer_arm(struct pw_loop *loop, struct pw_timer *t, uint64_t deadline_ns)
{
	pw_timer_cancel(loop, t);
	assert_true(loop->nr_timers < PW_ARRAY_SIZE(loop->timers));
	t->deadline_ns = deadline_ns;
	t->heap_idx = loop->nr_timers;
	loop->timers[loop->nr_timers++] = t;
}

void pw_ready_init(struct pw_ready *r, void (*step)(struct pw_ready *r))
{
	pw_list_init(&r->node);
	r->step = step;
}

void pw_loop_ready(struct pw_loop *loop, struct pw_ready *r)
{
	if (pw_list_empty(&r->node))
		pw_list_add_tail(&loop->ready, &r->node);
}

void pw_ready_cancel(struct pw_ready *r)
{
	pw_list_del(&r->node);
}

static struct pw_timer *due(struct pw_loop *loop)
{
	for (uint32_t i = 0; i < loop->nr_timers; i++)
		if (loop->timers[i]->deadline_ns <= loop->now_ns)
			return loop->timers[i];
	return NULL;
}

void fake_run(struct pw_loop *loop)
{
	struct pw_timer *t;
	struct pw_list *node;

	for (;;) {
		if ((t = due(loop))) {
			pw_timer_cancel(loop, t);
			t->fn(t);
		} else if ((node = pw_list_pop(&loop->ready))) {
			struct pw_ready *r = pw_list_entry(node, struct pw_ready, node);

			r->step(r);
		} else {
			return;
		}
	}
}

void fake_pass(struct pw_loop *loop, uint32_t ms)
{
	for (uint32_t i = 0; i < ms; i++) {
		loop->now_ns += PW_NS_PER_MS;
		fake_run(loop);
	}
}

/* Transport ----------------------------------------------------------------------------------- */

static void step(struct pw_ready *r)
{
	struct pw_xprt *x = pw_container_of(r, struct pw_xprt, ready);
	struct pw_list *node;

	while ((node = pw_list_pop(&x->queue))) {
		struct pw_send *s = pw_list_entry(node, struct pw_send, node);

		if (s->done)
			s->done(s, x->err);
	}
	x->closed = true;
	x->ops->on_closed(x->owner, x->err, x->why);
}

static struct pw_xprt *new_xprt(struct pw_loop *loop)
{
	struct pw_xprt *x = calloc(1, sizeof(*x));

	assert_non_null(x);
	x->loop = loop;
	pw_list_init(&x->queue);
	pw_ready_init(&x->ready, step);
	fake.last = x;
	fake.nr_xprts++;
	return x;
}

int pw_xprt_connect(struct pw_loop *loop, const char *host, uint16_t port, const char *local,
		    enum pw_transport transport, const struct pw_xprt_ops *ops, void *owner,
		    struct pw_xprt **ret)
{
	fake.transport = transport;
	fake.port = port;
	fake.nr_connects++;
	snprintf(fake.host, sizeof(fake.host), "%s", host);
	snprintf(fake.local, sizeof(fake.local), "%s", local);
	if (fake.connect_err)
		return fake.connect_err;
	*ret = new_xprt(loop);
	(*ret)->ops = ops;
	(*ret)->owner = owner;
	(*ret)->to_node = true;
	return 0;
}

void pw_xprt_send(struct pw_xprt *x, struct pw_send *s)
{
	assert_false(x->closing);
	pw_list_add_tail(&x->queue, &s->node);
}

void pw_xprt_set_up(struct pw_xprt *x, uint32_t nr_slots)
{
	x->nr_slots = nr_slots;
}

void pw_xprt_grant(struct pw_xprt *x, uint16_t slot, void *buf, uint32_t len)
{
	assert_true(slot < x->nr_slots);
	x->nr_grants++;
}

bool pw_xprt_revoke(struct pw_xprt *x, uint16_t slot, struct pw_revoke *r)
{
	(void)x;
	(void)slot;
	(void)r;
	return false;
}

enum pw_gather pw_xprt_gathers(const struct pw_xprt *x, const struct pw_runs *runs, bool in)
{
	return fake.gathers;
}

bool pw_xprt_places(const struct pw_xprt *x)
{
	(void)x;
	return false;
}

void pw_xprt_close(struct pw_xprt *x, int err, const char *why)
{
	if (x->closing)
		return;
	x->closing = true;
	x->err = err;
	snprintf(x->why, sizeof(x->why), "%s", why);
	pw_loop_ready(x->loop, &x->ready);
}

void pw_xprt_free(struct pw_xprt *x)
{
	assert_true(x->closed);
	if (fake.last == x)
		fake.last = NULL;
	fake.nr_xprts--;
	free(x);
}

void pw_xprt_get_stats(const struct pw_xprt *x, struct pw_conn_stats *ret)
{
	*ret = x->stats;
}

const char *pw_xprt_name(const struct pw_xprt *x)
{
	return "fake";
}

int pw_xprt_listen(struct pw_loop *loop, const char *host, uint16_t port,
		   enum pw_transport transport, pw_xprt_accept_fn *on_accept, void *arg,
		   struct pw_xprt_listener **ret)
{
	if (fake.listen_err)
		return fake.listen_err;
	*ret = calloc(1, sizeof(**ret));
	assert_non_null(*ret);
	(*ret)->on_accept = on_accept;
	(*ret)->arg = arg;
	(*ret)->loop = loop;
	fake.listener = *ret;
	return 0;
}

uint16_t pw_xprt_listener_port(const struct pw_xprt_listener *l)
{
	return 4711;
}

void pw_xprt_listener_free(struct pw_xprt_listener *l)
{
	fake.listener = NULL;
	free(l);
}

/* The test's side ----------------------------------------------------------------------------- */

struct pw_xprt *fake_accept(void)
{
	struct pw_xprt *x = new_xprt(fake.listener->loop);

	if (fake.listener->on_accept(fake.listener->arg, x, "10.1.2.3:999", &x->ops, &x->owner)) {
		x->closed = true;
		pw_xprt_free(x);
		return NULL;
	}
	return x;
}

void fake_connected(struct pw_xprt *x)
{
	x->ops->on_connected(x->owner, "10.0.0.1:7470");
}

void fake_broken(struct pw_xprt *x, int err, const char *why)
{
	pw_xprt_close(x, err, why);
	fake_run(x->loop);
}

void fake_deliver(struct pw_xprt *x, const struct pw_cmd *cmd, const void *payload)
{
	void *dest = NULL;

	assert_false(x->closing);
	assert_int_equal(pw_cmd_check(cmd, !x->to_node), 0);
	fake_rx_bytes(x, sizeof(*cmd) + cmd->payload_len);
	if (cmd->payload_len) {
		const struct pw_runs *runs = x->ops->on_runs(x->owner, cmd);

		dest = runs ? runs->v->iov_base : x->ops->on_payload(x->owner, cmd);
		if (!dest) {
			pw_xprt_close(x, -EPROTO, "unwanted payload");
			return;
		}
		if (runs)
			pw_runs_fill(runs, payload, cmd->payload_len);
		else
			memcpy(dest, payload, cmd->payload_len);
	}
	x->stats.msgs_rx++;
	x->ops->on_msg(x->owner, cmd, dest);
}

void fake_rx_bytes(struct pw_xprt *x, uint64_t n)
{
	x->stats.bytes_rx += n;
}

struct pw_send *fake_first(struct pw_xprt *x)
{
	return pw_list_empty(&x->queue) ? NULL : pw_list_first(&x->queue, struct pw_send, node);
}

void fake_sent(struct pw_xprt *x)
{
	struct pw_send *s = fake_first(x);

	assert_non_null(s);
	pw_list_del(&s->node);
	x->stats.msgs_tx++;
	x->stats.bytes_tx += sizeof(s->cmd) + s->cmd.payload_len;
	if (s->done)
		s->done(s, 0);
}

void fake_take(struct pw_xprt *x, enum pw_msg_type type, struct pw_cmd *ret)
{
	struct pw_send *s = fake_first(x);

	assert_non_null(s);
	assert_int_equal(s->cmd.type, type);
	assert_int_equal(pw_cmd_check(&s->cmd, x->to_node), 0);
	*ret = s->cmd;
	fake_sent(x);
}
