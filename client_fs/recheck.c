/* SPDX-License-Identifier: Apache-2.0 */
/* recheck.c -- a tick, a few calls, and the pages of what has changed are dropped */
#include "client_fs/recheck.h"

#define TICK_NS (PW_NS_PER_S / 2)

static void free_probe(struct pwc_probe *p)
{
	p->owner->nr_out--;
	pw_list_add_tail(&p->owner->free, &p->node);
}

static void ask(struct pwc_recheck *c);

static void on_dropped(struct pwc_notify_job *job)
{
	free_probe(pw_container_of(job, struct pwc_probe, notify));
}

static void on_attr(struct pwc_call *call, int err, const struct pw_cmd *rsp, uint32_t out_len)
{
	struct pwc_probe *p = pw_container_of(call, struct pwc_probe, call);
	struct pwc_recheck *c = p->owner;

	(void)out_len;
	if (!err && rsp && pwc_opens_outdated(c->opens, p->notify.ino, rsp->attr.attr.change)) {
		c->changed++;
		p->notify.done = on_dropped;
		pwc_notify_inval_all(c->notify, &p->notify);
	} else {
		free_probe(p);
	}
	/* a node that is away is asked again with the next tick */
	if (!err)
		ask(c);
}

/* As many as are due, and as there are probes for: each that comes back goes on with it. */
static void ask(struct pwc_recheck *c)
{
	uint64_t ino;

	while (c->on && !pw_list_empty(&c->free)) {
		struct pwc_probe *p;
		struct pw_cmd *cmd;

		ino = pwc_opens_due(c->opens, pw_loop_now(c->loop));
		if (!ino)
			return;
		p = pw_list_entry(pw_list_pop(&c->free), struct pwc_probe, node);
		c->nr_out++;
		c->asked++;
		p->notify.ino = ino;
		cmd = &p->call.send.cmd;
		pw_cmd_init(cmd, PW_MSG_REQ, PW_OP_GETATTR);
		cmd->ino.ino = ino;
		p->call.done = on_attr;
		p->call.aborted = false;
		p->call.brief = true;
		pwc_peer_call(c->peer, &p->call);
	}
}

static void on_tick(struct pw_timer *t)
{
	struct pwc_recheck *c = pw_container_of(t, struct pwc_recheck, timer);

	ask(c);
	pw_timer_arm(c->loop, t, pw_loop_now(c->loop) + TICK_NS);
}

void pwc_recheck_init(struct pwc_recheck *c, struct pw_loop *loop, struct pwc_peer *peer,
		      struct pwc_opens *opens, struct pwc_notify *notify)
{
	*c = (struct pwc_recheck){ .loop = loop, .peer = peer, .opens = opens, .notify = notify };
	pw_timer_init(&c->timer, on_tick);
	pw_list_init(&c->free);
	for (uint32_t i = 0; i < PWC_RECHECK_MAX; i++) {
		struct pwc_probe *p = &c->probe[i];

		p->owner = c;
		pw_list_init(&p->node);
		pw_list_init(&p->call.node);
		pw_list_add_tail(&c->free, &p->node);
	}
}

void pwc_recheck_start(struct pwc_recheck *c, uint32_t attr_timeout_ms)
{
	/* pages may be as old as attributes, at first */
	c->opens->look_every_ns = PW_MAX(attr_timeout_ms, 1000u) * PW_NS_PER_MS;
	c->on = true;
	on_tick(&c->timer);
}

void pwc_recheck_stop(struct pwc_recheck *c)
{
	c->on = false;
	pw_timer_cancel(c->loop, &c->timer);
}
