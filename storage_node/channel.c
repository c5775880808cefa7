/* SPDX-License-Identifier: Apache-2.0 */
/* channel.c -- connections find their session, messages find their slot
 *
 * A connection is a stranger until its HELLO was proved; then it belongs to the channel of its
 * client shard. A HELLO for a channel whose connection still lives ends that one and is told to try
 * again: by then the old one is drained, and what it carried can change nothing any more.
 */
#include "storage_node/channel.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/fault.h"
#include "common/log.h"
#include "storage_node/node.h"
#include "storage_node/node_req.h"

/* Payloads that are worth a guess: what a wrong one brings has to be moved. */
#define GUESS_MAX 8192u

static const uint8_t any_fsid[16];

static struct pws_guest *guest_of(const struct pw_conn *c)
{
	return pw_conn_owner(c);
}

bool pws_channel_is_up(const struct pws_channel *ch)
{
	return ch->up && pw_conn_state(ch->conn) == PW_CONN_UP;
}

void pws_channel_fail(struct pws_channel *ch, int err, const char *why)
{
	if (ch->conn)
		pw_conn_fail(ch->conn, err, why);
}

/* Channels ---------------------------------------------------------------------------------- */

void pws_channel_free(struct pws_channel *ch)
{
	assert(!ch->conn && !ch->nr_busy);
	for (uint32_t i = 0; i < ch->nr_slots; i++)
		pws_req_fini(&ch->reqs[i]);
	pw_list_del(&ch->node);
	free(ch->reqs);
	free(ch);
}

static int channel_new(struct pws_session *s, const struct pw_body_hello *h,
		       struct pws_channel **ret)
{
	int err = PW_FAULT_ERR("channel.alloc", -ENOMEM);
	struct pws_channel *ch = err ? NULL : calloc(1, sizeof(*ch));

	if (!ch)
		return -ENOMEM;
	ch->n = s->n;
	ch->session = s;
	ch->nr = h->channel;
	ch->nr_slots = PW_MAX(2u, PW_MIN(h->want_slots, s->n->slots));
	ch->reqs = calloc(ch->nr_slots, sizeof(*ch->reqs));
	if (!ch->reqs) {
		free(ch);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < ch->nr_slots; i++)
		pws_req_init(&ch->reqs[i], ch, (uint16_t)i);
	pw_list_add_tail(&s->channels, &ch->node);
	*ret = ch;
	return 0;
}

static struct pws_channel *channel_find(struct pws_session *s, uint32_t nr)
{
	struct pw_list *pos;

	pw_list_for_each(pos, &s->channels) {
		struct pws_channel *ch = pw_list_entry(pos, struct pws_channel, node);

		if (ch->nr == nr)
			return ch;
	}
	return NULL;
}

/* Every slot gets its buffer before it may be used; those that are busy still have theirs. */
static int take_bufs(struct pws_channel *ch)
{
	for (uint32_t i = 0; i < ch->nr_slots; i++) {
		struct pws_req *r = &ch->reqs[i];

		if (!r->buf)
			r->buf = pws_buf_get(ch->n->bufs);
		if (r->buf)
			continue;
		while (i--) {
			r = &ch->reqs[i];
			if (pws_req_is_free(r)) {
				pws_buf_put(ch->n->bufs, r->buf);
				r->buf = NULL;
			}
		}
		ch->n->stats.no_buf++;
		return -ENOMEM;
	}
	return 0;
}

/* HELLO ------------------------------------------------------------------------------------- */

static int join(struct pw_conn *c, const struct pw_body_hello *h, struct pws_channel **ret)
{
	struct pws_node *n = guest_of(c)->n;
	struct pws_session *s;
	struct pws_channel *ch;
	int err;

	if (n->stopping)
		return -ESHUTDOWN;
	if (memcmp(h->fsid, any_fsid, sizeof(any_fsid)) &&
	    memcmp(h->fsid, n->id.fsid, sizeof(h->fsid)))
		return -EMEDIUMTYPE;
	if (h->channel >= PWS_MAX_CHANNELS)
		return -EINVAL;
	err = pws_session_get(n, h->client_id, &s);
	if (err)
		return err;
	ch = channel_find(s, h->channel);
	if (!ch) {
		err = channel_new(s, h, &ch);
		if (err)
			return err;
	}
	if (h->incarnation < ch->incarnation)
		return -ESTALE;
	ch->incarnation = h->incarnation;
	if (ch->conn) {
		pw_conn_fail(ch->conn, -ECONNRESET, "a newer connection of this client has come");
		return -EAGAIN;
	}
	err = take_bufs(ch);
	if (err)
		return err;
	*ret = ch;
	return 0;
}

static int on_hello(struct pw_conn *c, const struct pw_body_hello *h, struct pw_body_welcome *w)
{
	struct pws_node *n = guest_of(c)->n;
	struct pws_channel *ch;
	int err = join(c, h, &ch);

	if (err) {
		n->stats.refused++;
		pw_log_rl(PW_LOG_INFO, "conn %s: refused, %s", pw_conn_peer_name(c),
			  pw_err_text(err));
		return err;
	}
	ch->conn = c;
	guest_of(c)->ch = ch;
	w->nr_slots = ch->nr_slots;
	w->max_io = n->max_io;
	w->lease_ms = n->lease_ms;
	w->heartbeat_ms = n->conn_opts.heartbeat_ms;
	w->boot = n->starts.boot[0];
	w->starts = n->starts.count;
	memcpy(w->earlier, n->starts.boot + 1, sizeof(w->earlier));
	w->flags = ch->session->known ? PW_WELCOME_SESSION_KNOWN : 0;
	return 0;
}

static void on_up(struct pw_conn *c, const struct pw_body_welcome *w)
{
	struct pws_channel *ch = guest_of(c)->ch;

	pw_log_info("conn %s: client %s, %u slots", pw_conn_peer_name(c),
		    w->flags & PW_WELCOME_SESSION_KNOWN ? "is back" : "is new", w->nr_slots);
	ch->up = true;
	for (uint32_t i = 0; i < ch->nr_slots; i++)
		pws_req_on_up(&ch->reqs[i]);
	pws_session_up(ch->session);
	pws_listen_tell(ch->n, c);
}

/* Messages ---------------------------------------------------------------------------------- */

/* NULL, and the connection has failed, when there is no such slot. */
static struct pws_req *req_of(struct pw_conn *c, const struct pw_cmd *cmd)
{
	struct pws_channel *ch = guest_of(c)->ch;

	if (ch && cmd->slot < ch->nr_slots)
		return &ch->reqs[cmd->slot];
	guest_of(c)->n->stats.bad_msgs++;
	pw_conn_fail(c, -EPROTO, "request in a slot that was not granted");
	return NULL;
}

static void *on_payload(struct pw_conn *c, const struct pw_cmd *cmd)
{
	struct pws_req *r = req_of(c, cmd);
	bool small = cmd->op == PW_OP_WRITE && !(cmd->io.off % PWS_BLOCK) &&
		     cmd->payload_len <= GUESS_MAX;

	if (!r)
		return NULL;
	r->ch->guess_len = small ? cmd->payload_len : 0;
	return pws_req_on_payload(r, cmd);
}

/* After a small write comes another one like it. */
static void *guess_payload(struct pw_conn *c, uint32_t *ret_len)
{
	struct pws_channel *ch = guest_of(c)->ch;

	if (!ch || !ch->guess_len)
		return NULL;
	if (!ch->spare)
		ch->spare = pws_buf_get(ch->n->bufs);
	*ret_len = ch->guess_len;
	return ch->spare ? ch->spare->mem : NULL;
}

static void on_msg(struct pw_conn *c, const struct pw_cmd *cmd, void *payload)
{
	struct pws_req *r = req_of(c, cmd);

	if (!r)
		return;
	if (!cmd->payload_len)
		r->ch->guess_len = 0;
	pws_req_on_msg(r, cmd, payload);
}

/* The end ----------------------------------------------------------------------------------- */

static void on_down(struct pw_conn *c, int err, const char *why)
{
	struct pws_guest *g = guest_of(c);
	struct pw_conn_stats last;
	struct pws_channel *ch;
	struct pws_node *n;

	if (!g) {
		pw_conn_free(c);
		return;
	}
	ch = g->ch;
	n = g->n;
	pw_conn_get_stats(c, &last);
	pw_conn_stats_add(&n->stats.conn, &last);
	if (!ch) {
		if (err != -ECONNRESET)
			pw_log_rl(PW_LOG_INFO, "conn %s: ended before it was a client's, %s",
				  pw_conn_peer_name(c), why);
	} else {
		pw_log_info("conn %s: ended, %s", pw_conn_peer_name(c), why);
		ch->conn = NULL;
		ch->guess_len = 0;
		pws_buf_put(n->bufs, ch->spare);
		ch->spare = NULL;
		for (uint32_t i = 0; i < ch->nr_slots; i++)
			pws_req_on_down(&ch->reqs[i]);
	}
	pw_conn_free(c);
	pw_list_del(&g->node);
	free(g);
	if (ch && ch->up) {
		ch->up = false;
		pws_session_down(ch->session, err == -ESHUTDOWN);
	}
	pws_node_idle_check(n);
}

const struct pw_conn_ops pws_channel_conn_ops = {
	.on_hello = on_hello,
	.on_up = on_up,
	.on_payload = on_payload,
	.guess_payload = guess_payload,
	.on_msg = on_msg,
	.on_down = on_down,
};

static void on_accept(struct pw_listener *l, struct pw_conn *c)
{
	struct pws_node *n = pw_listener_owner(l);
	int err = PW_FAULT_ERR("guest.alloc", -ENOMEM);
	struct pws_guest *g = err ? NULL : calloc(1, sizeof(*g));

	n->stats.accepted++;
	pw_conn_set_owner(c, g);
	if (!g) {
		pw_conn_fail(c, -ENOMEM, "no memory for one more connection");
		return;
	}
	g->n = n;
	g->conn = c;
	pw_list_add_tail(&n->guests, &g->node);
}

void pws_guests_fail(struct pws_node *n, int err, const char *why)
{
	struct pw_list *pos;

	pw_list_for_each(pos, &n->guests)
		pw_conn_fail(pw_list_entry(pos, struct pws_guest, node)->conn, err, why);
}

const struct pw_listener_ops pws_channel_listener_ops = {
	.on_accept = on_accept,
};
