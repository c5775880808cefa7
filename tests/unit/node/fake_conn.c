/* SPDX-License-Identifier: Apache-2.0 */
/* fake_conn.c -- see fake_conn.h; sends are done in the next turn, ends come from the loop */
#include "fake_conn.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct answer {
	struct pw_list node;
	struct pw_cmd cmd;
	uint8_t *payload; /* owns */
};

struct pw_conn {
	struct pw_list node; /* of all_conns */
	struct pw_loop *loop;
	const struct pw_conn_ops *ops;
	void *owner;
	enum pw_conn_state state;
	struct pw_list sends; /* pw_send.node: not done */
	struct pw_list answers;
	bool hold, hold_revokes;
	/* may the client write there? */
	struct {
		uint8_t *buf;
		uint32_t len;
		struct pw_revoke *revoke;
	} slot[FAKE_CONN_SLOTS];
	int err;
	const char *why;
	uint8_t peer_id[16];
	struct pw_conn_stats stats;
	struct pw_ready ready;
};

struct pw_listener {
	struct pw_loop *loop;
	const struct pw_listener_ops *lops;
	const struct pw_conn_ops *cops;
	void *owner;
};

static struct pw_listener *the_listener;
static int listener_error;
static uint32_t nr_conns;
static bool places;
static struct pw_list all_conns = PW_LIST_INIT(all_conns);

static void end_revokes(struct pw_conn *c)
{
	for (uint32_t i = 0; i < FAKE_CONN_SLOTS; i++) {
		struct pw_revoke *r = c->slot[i].revoke;

		if (!r)
			continue;
		c->slot[i].buf = NULL;
		c->slot[i].revoke = NULL;
		r->done(r);
	}
}

static void conn_step(struct pw_ready *r)
{
	struct pw_conn *c = pw_container_of(r, struct pw_conn, ready);
	struct pw_list now, *n;

	if (!c->hold_revokes || c->state == PW_CONN_DRAINING)
		end_revokes(c);
	if (c->hold && c->state != PW_CONN_DRAINING)
		return;
	pw_list_init(&now);
	pw_list_splice_tail(&now, &c->sends);
	while ((n = pw_list_pop(&now))) {
		struct pw_send *s = pw_list_entry(n, struct pw_send, node);

		if (s->done)
			s->done(s, c->state == PW_CONN_DRAINING ? c->err : 0);
	}
	if (c->state != PW_CONN_DRAINING)
		return;
	c->state = PW_CONN_DOWN;
	nr_conns--;
	c->ops->on_down(c, c->err, c->why);
}

void pw_conn_fail(struct pw_conn *c, int err, const char *why)
{
	assert(err < 0);
	if (c->state == PW_CONN_DOWN || c->state == PW_CONN_DRAINING)
		return;
	c->err = err;
	c->why = why;
	c->state = PW_CONN_DRAINING;
	pw_loop_ready(c->loop, &c->ready);
}

int pw_conn_send(struct pw_conn *c, struct pw_send *s)
{
	struct answer *a;

	if (c->state != PW_CONN_UP)
		return -ENOTCONN;
	assert(!pw_cmd_check(&s->cmd, false));
	assert(!!s->payload == !!s->cmd.payload_len);
	a = calloc(1, sizeof(*a));
	a->cmd = s->cmd;
	if (s->cmd.payload_len) {
		a->payload = malloc(s->cmd.payload_len);
		memcpy(a->payload, s->payload, s->cmd.payload_len);
	}
	pw_list_add_tail(&c->answers, &a->node);
	pw_list_init(&s->node);
	pw_list_add_tail(&c->sends, &s->node);
	c->stats.msgs_tx++;
	pw_loop_ready(c->loop, &c->ready);
	return 0;
}

void pw_conn_grant(struct pw_conn *c, uint16_t slot, void *buf, uint32_t len)
{
	if (c->state != PW_CONN_UP)
		return;
	assert(slot < FAKE_CONN_SLOTS && !c->slot[slot].revoke);
	c->slot[slot].buf = buf;
	c->slot[slot].len = len;
}

bool pw_conn_revoke(struct pw_conn *c, uint16_t slot, struct pw_revoke *r)
{
	assert(slot < FAKE_CONN_SLOTS && !c->slot[slot].revoke);
	if (!c->slot[slot].buf)
		return false;
	c->slot[slot].revoke = r;
	pw_loop_ready(c->loop, &c->ready);
	return true;
}

void pw_conn_tell_rails(struct pw_conn *c, const struct pw_rail_addr *list, uint32_t nr)
{
}

bool pw_conn_places(const struct pw_conn *c)
{
	return places;
}

void pw_conn_free(struct pw_conn *c)
{
	struct pw_list *n;

	if (!c)
		return;
	assert(c->state == PW_CONN_DOWN);
	while ((n = pw_list_pop(&c->answers))) {
		struct answer *a = pw_list_entry(n, struct answer, node);

		free(a->payload);
		free(a);
	}
	pw_list_del(&c->node);
	free(c);
}

void *pw_conn_owner(const struct pw_conn *c)
{
	return c->owner;
}

void pw_conn_set_owner(struct pw_conn *c, void *owner)
{
	c->owner = owner;
}

enum pw_conn_state pw_conn_state(const struct pw_conn *c)
{
	return c->state;
}

const char *pw_conn_peer_name(const struct pw_conn *c)
{
	(void)c;
	return "test:1";
}

const char *pw_conn_transport(const struct pw_conn *c)
{
	(void)c;
	return "fake";
}

void pw_conn_get_stats(const struct pw_conn *c, struct pw_conn_stats *ret)
{
	*ret = c->stats;
}

int pw_listener_new(struct pw_loop *loop, const char *host, uint16_t port,
		    const struct pw_listener_ops *lops, const struct pw_conn_ops *cops, void *owner,
		    const struct pw_identity *id, const struct pw_conn_opts *o,
		    struct pw_listener **ret)
{
	(void)host;
	(void)port;
	(void)id;
	(void)o;
	if (listener_error)
		return listener_error;
	the_listener = calloc(1, sizeof(*the_listener));
	*the_listener = (struct pw_listener){ loop, lops, cops, owner };
	*ret = the_listener;
	return 0;
}

void *pw_listener_owner(const struct pw_listener *l)
{
	return l->owner;
}

uint16_t pw_listener_port(const struct pw_listener *l)
{
	(void)l;
	return 1;
}

void pw_listener_free(struct pw_listener *l)
{
	if (l && l == the_listener)
		the_listener = NULL;
	free(l);
}

/* The test's side --------------------------------------------------------------------------- */

struct pw_listener *fake_listener(void)
{
	return the_listener;
}

void fake_listener_set_error(int err)
{
	listener_error = err;
}

struct pw_conn *fake_accept(void)
{
	struct pw_conn *c = calloc(1, sizeof(*c));

	c->loop = the_listener->loop;
	c->ops = the_listener->cops;
	c->state = PW_CONN_HELLO;
	pw_list_init(&c->sends);
	pw_list_init(&c->answers);
	pw_ready_init(&c->ready, conn_step);
	nr_conns++;
	pw_list_add_tail(&all_conns, &c->node);
	the_listener->lops->on_accept(the_listener, c);
	return c;
}

int fake_hello(struct pw_conn *c, const struct pw_body_hello *h, struct pw_body_welcome *ret)
{
	struct pw_body_welcome w = { .version = 1 };
	int err;

	memcpy(c->peer_id, h->client_id, sizeof(c->peer_id));
	err = c->ops->on_hello(c, h, &w);
	if (err) {
		pw_conn_fail(c, err, "refused");
		return err;
	}
	c->state = PW_CONN_UP;
	*ret = w;
	c->ops->on_up(c, &w);
	return 0;
}

uint32_t fake_nr_conns(void)
{
	return nr_conns;
}

bool fake_is_up(const struct pw_conn *c)
{
	struct pw_list *pos;

	pw_list_for_each(pos, &all_conns)
		if (pw_list_entry(pos, struct pw_conn, node) == c)
			return c->state == PW_CONN_UP;
	return false;
}

void *fake_deliver_cmd(struct pw_conn *c, const struct pw_cmd *cmd)
{
	void *to;

	if (c->state != PW_CONN_UP)
		return NULL;
	if (pw_cmd_check(cmd, true)) {
		pw_conn_fail(c, -EPROTO, "malformed");
		return NULL;
	}
	c->stats.msgs_rx++;
	to = c->ops->on_payload(c, cmd);
	if (!to)
		pw_conn_fail(c, -EPROTO, "nobody wants it");
	return to;
}

void fake_deliver_rest(struct pw_conn *c, const struct pw_cmd *cmd, const void *payload, void *to)
{
	if (c->state != PW_CONN_UP)
		return;
	memcpy(to, payload, cmd->payload_len);
	c->ops->on_msg(c, cmd, to);
}

bool fake_deliver(struct pw_conn *c, const struct pw_cmd *cmd, const void *payload)
{
	void *to = NULL;

	if (c->state != PW_CONN_UP)
		return false;
	if (cmd->payload_len) {
		to = fake_deliver_cmd(c, cmd);
		if (!to)
			return false;
		fake_deliver_rest(c, cmd, payload, to);
	} else if (pw_cmd_check(cmd, true)) {
		pw_conn_fail(c, -EPROTO, "malformed");
	} else {
		c->stats.msgs_rx++;
		c->ops->on_msg(c, cmd, NULL);
	}
	return c->state == PW_CONN_UP;
}

bool fake_take(struct pw_conn *c, struct pw_cmd *ret, void *out, uint32_t out_max)
{
	struct pw_list *n = pw_list_pop(&c->answers);
	struct answer *a;

	if (!n)
		return false;
	a = pw_list_entry(n, struct answer, node);
	*ret = a->cmd;
	if (a->payload) {
		assert(a->cmd.payload_len <= out_max);
		memcpy(out, a->payload, a->cmd.payload_len);
	}
	free(a->payload);
	free(a);
	return true;
}

void fake_hold_sends(struct pw_conn *c, bool hold)
{
	c->hold = hold;
	pw_loop_ready(c->loop, &c->ready);
}

void fake_hold_revokes(struct pw_conn *c, bool hold)
{
	c->hold_revokes = hold;
	pw_loop_ready(c->loop, &c->ready);
}

void fake_places(bool on)
{
	places = on;
}

uint8_t *fake_granted(struct pw_conn *c, uint16_t slot)
{
	return c->slot[slot].buf;
}

void fake_break(struct pw_conn *c, int err)
{
	pw_conn_fail(c, err, "test");
}

void fake_goodbye(struct pw_conn *c)
{
	pw_conn_fail(c, -ESHUTDOWN, "peer said goodbye");
}
