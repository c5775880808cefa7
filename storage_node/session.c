/* SPDX-License-Identifier: Apache-2.0 */
/* session.c -- a client process: its lease, its opens, and its rows in the index
 *
 * The C row is put as soon as the session's first connection is up, and the answer to RECLAIM waits
 * for it: a client has nothing under way before its session is known to every later life of the
 * node.
 */
#include "storage_node/session.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/fault.h"
#include "common/log.h"
#include "storage_node/channel.h"
#include "storage_node/node.h"

/* Clients that are gone, but within their lease: more than this need a full node's attention. */
#define SESSIONS_MAX	4096u
/* Bytes of a reply row and its key, generously. */
#define REPLY_ROW_BYTES 256u

static const struct pw_sm_state states[PWS_SESSION_NR_STATES] = {
	[PWS_SESSION_ACTIVE] = { "active",
				 PW_SM_TO(PWS_SESSION_AWAY) | PW_SM_TO(PWS_SESSION_ENDING) },
	[PWS_SESSION_AWAY] = { "away",
			       PW_SM_TO(PWS_SESSION_ACTIVE) | PW_SM_TO(PWS_SESSION_ENDING) },
	[PWS_SESSION_ENDING] = { "ending", 0 },
};
static const struct pw_sm_type session_type = PW_SM_TYPE("session", states);

static struct pws_session *session_of_txn(struct pws_txn *t)
{
	return pw_container_of(t, struct pws_session, txn);
}

/* Rows -------------------------------------------------------------------------------------- */

static int put_row(const struct pws_session *s, struct pws_txn *t)
{
	struct pws_client row = { .version = PWS_RECORD_VERSION };
	struct pw_list *pos;
	struct pws_key k;

	pw_list_for_each(pos, &s->channels)
		row.incarnation = PW_MAX(row.incarnation,
					 pw_list_entry(pos, struct pws_channel, node)->incarnation);
	pws_key_client(&k, s->client_id);
	pws_txn_put(t, pws_key_slice(&k), (struct pws_slice){ &row, sizeof(row) });
	return 0;
}

static int row_attempt(struct pws_txn *t)
{
	return put_row(session_of_txn(t), t);
}

int pws_session_record(const struct pws_session *s, struct pws_txn *t)
{
	struct pws_slice val;
	struct pws_key k;
	int err;

	pws_key_client(&k, s->client_id);
	err = pws_txn_get(t, pws_key_slice(&k), &val);
	return err == -ENOENT ? put_row(s, t) : err;
}

void pws_session_warn_unrecorded(int err)
{
	pw_log_rl(PW_LOG_WARN,
		  "session: cannot be recorded (%s): after a restart of this node its client "
		  "cannot repeat what was under way",
		  pw_err_text(err));
}

static void row_done(struct pws_txn *t, int err)
{
	struct pws_session *s = session_of_txn(t);

	s->txn_busy = false;
	if (err) {
		s->row = false;
		pws_session_warn_unrecorded(err);
	}
	pws_session_idle_check(s);
	pws_node_idle_check(s->n);
}

/* Deletes reply rows as many as fit, and the C row when none is left: that one is the mark to go
 * on. */
static int delete_attempt(struct pws_txn *t)
{
	struct pws_session *s = session_of_txn(t);
	struct pws_key begin, end, client;
	struct pws_slice key, val;
	int err;

	s->row = true;
	pws_key_reply_range(&begin, &end, s->client_id);
	for (;;) {
		err = pws_txn_next(t, pws_key_slice(&begin), pws_key_slice(&end), &key, &val);
		if (err == -ENOENT)
			break;
		if (err)
			return err;
		if (!pws_txn_room(t, 2, 2 * REPLY_ROW_BYTES))
			return 0;
		pws_txn_del(t, key);
	}
	s->row = false;
	pws_key_client(&client, s->client_id);
	pws_txn_del(t, pws_key_slice(&client));
	return 0;
}

static void session_free(struct pws_session *s)
{
	struct pws_node *n = s->n;
	struct pw_list *pos;

	while ((pos = pw_list_pop(&s->channels)))
		pws_channel_free(pw_list_entry(pos, struct pws_channel, node));
	pw_timer_cancel(n->loop, &s->lease);
	pw_list_del(&s->node);
	n->sessions.nr--;
	pws_opens_fini(&s->opens);
	pws_txn_fini(&s->txn);
	free(s);
}

static void delete_done(struct pws_txn *t, int err)
{
	struct pws_session *s = session_of_txn(t);
	struct pws_node *n = s->n;

	s->txn_busy = false;
	if (err)
		pw_log_rl(PW_LOG_WARN,
			  "session: its rows cannot be deleted (%s), the next start tries again",
			  pw_err_text(err));
	else if (s->row && !n->stopping) {
		s->txn_busy = true;
		pws_txn_start(&s->txn, delete_attempt, delete_done);
		return;
	}
	n->sessions.ended++;
	session_free(s);
	pws_node_idle_check(n);
}

/* Opens ------------------------------------------------------------------------------------- */

int pws_session_opens_reserve(struct pws_session *s, uint32_t more)
{
	int err;

	if (more > PWS_OPENS_MAX || s->opens.nr + s->nr_busy + more > PWS_OPENS_MAX)
		return -ENOMEM;
	/* every request that runs may be about to add some of its own */
	err = pws_opens_reserve(&s->opens, more + 2 * s->nr_busy);
	return err ? err : pws_opens_reserve(&s->n->opens, more + 2 * s->n->nr_busy);
}

void pws_session_open(struct pws_session *s, uint64_t ino)
{
	pws_opens_add(&s->opens, ino, 1);
	pws_opens_add(&s->n->opens, ino, 1);
}

void pws_session_release(struct pws_session *s, uint64_t ino, uint64_t nr)
{
	nr = pws_opens_sub(&s->opens, ino, nr);
	if (!nr)
		return;
	pws_opens_sub(&s->n->opens, ino, nr);
	if (!pws_opens_get(&s->n->opens, ino))
		pws_reclaim_kick(&s->n->reclaim, ino);
}

void pws_session_reclaim(struct pws_session *s, uint64_t ino, uint64_t opens)
{
	uint64_t have = pws_opens_get(&s->opens, ino);

	if (!ino || opens <= have)
		return;
	pws_opens_add(&s->opens, ino, opens - have);
	pws_opens_add(&s->n->opens, ino, opens - have);
}

static void release_all(struct pws_session *s)
{
	uint32_t pos = 0;
	uint64_t ino, nr;

	while (pws_opens_next(&s->opens, &pos, &ino, &nr)) {
		pws_opens_sub(&s->n->opens, ino, nr);
		if (!pws_opens_get(&s->n->opens, ino))
			pws_reclaim_kick(&s->n->reclaim, ino);
	}
	/* the room stays: a request that still runs may have reserved some of it */
	pws_opens_clear(&s->opens);
}

/* Life -------------------------------------------------------------------------------------- */

/* ENDING goes on when nothing of the session runs any more. May free @s. */
void pws_session_idle_check(struct pws_session *s)
{
	if (s->sm.state != PWS_SESSION_ENDING || s->nr_busy || s->nr_up || s->txn_busy)
		return;
	/* again: requests that ended late may have opened something */
	release_all(s);
	s->txn_busy = true;
	pws_txn_start(&s->txn, delete_attempt, delete_done);
}

static void session_end(struct pws_session *s, const char *why)
{
	char hex[9];

	for (int i = 0; i < 4; i++)
		snprintf(hex + 2 * i, 3, "%02x", s->client_id[i]);
	pw_log_info("session %s: over (%s), %u open files released", hex, why, s->opens.nr);
	pw_timer_cancel(s->n->loop, &s->lease);
	pw_sm_move(&s->sm, PWS_SESSION_ENDING, 0);
	/* so that delete_done() goes on until the C row is gone, also when none was written */
	s->row = true;
	release_all(s);
	pws_session_idle_check(s);
}

static void on_lease(struct pw_timer *t)
{
	struct pws_session *s = pw_container_of(t, struct pws_session, lease);

	s->n->sessions.expired++;
	session_end(s, "its client was silent for the whole lease");
}

static void arm_lease(struct pws_session *s)
{
	if (s->n->stopping)
		return; /* the next life counts */
	pw_timer_arm(s->n->loop, &s->lease,
		     pw_loop_now(s->n->loop) + s->n->lease_ms * PW_NS_PER_MS);
}

/* A session begins without a connection: AWAY, with its lease running. */
static int session_new(struct pws_node *n, const uint8_t client_id[16], struct pws_session **ret)
{
	int err = PW_FAULT_ERR("session.alloc", -ENOMEM);
	struct pws_session *s;

	if (n->sessions.nr >= SESSIONS_MAX)
		return -EBUSY;
	s = err ? NULL : calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->n = n;
	memcpy(s->client_id, client_id, sizeof(s->client_id));
	pw_sm_init(&s->sm, &session_type, PWS_SESSION_AWAY);
	pw_list_init(&s->channels);
	pws_opens_init(&s->opens);
	pw_timer_init(&s->lease, on_lease);
	pws_txn_init(&s->txn, n->kv);
	pw_list_add_tail(&n->sessions.all, &s->node);
	n->sessions.nr++;
	arm_lease(s);
	*ret = s;
	return 0;
}

struct pws_session *pws_session_find(struct pws_node *n, const uint8_t client_id[16])
{
	struct pw_list *pos;

	pw_list_for_each(pos, &n->sessions.all) {
		struct pws_session *s = pw_list_entry(pos, struct pws_session, node);

		if (!memcmp(s->client_id, client_id, sizeof(s->client_id)))
			return s;
	}
	return NULL;
}

int pws_session_get(struct pws_node *n, const uint8_t client_id[16], struct pws_session **ret)
{
	struct pws_session *s = pws_session_find(n, client_id);
	int err;

	if (s && s->sm.state == PWS_SESSION_ENDING)
		return -EAGAIN;
	if ((!s || s->sm.state == PWS_SESSION_AWAY) && n->sessions.nr_active >= n->max_clients)
		return -EBUSY;
	if (!s) {
		err = session_new(n, client_id, &s);
		if (err)
			return err;
		n->sessions.started++;
	}
	*ret = s;
	return 0;
}

void pws_session_up(struct pws_session *s)
{
	if (!s->nr_up++) {
		if (s->known)
			s->n->sessions.resumed++;
		s->n->sessions.nr_active++;
		pw_timer_cancel(s->n->loop, &s->lease);
		pw_sm_move(&s->sm, PWS_SESSION_ACTIVE, 0);
	}
	s->known = true;
	if (!s->row && !s->txn_busy) {
		s->row = s->txn_busy = true;
		pws_txn_start(&s->txn, row_attempt, row_done);
	}
}

void pws_session_down(struct pws_session *s, bool goodbye)
{
	if (--s->nr_up)
		return;
	s->n->sessions.nr_active--;
	if (s->sm.state == PWS_SESSION_ENDING) {
		pws_session_idle_check(s);
	} else if (goodbye) {
		session_end(s, "goodbye");
	} else {
		pw_sm_move(&s->sm, PWS_SESSION_AWAY, 0);
		arm_lease(s);
	}
}

void pws_sessions_init(struct pws_sessions *ss)
{
	*ss = (struct pws_sessions){ .nr = 0 };
	pw_list_init(&ss->all);
}

int pws_sessions_load(struct pws_node *n, struct pws_kv_fetch *f)
{
	struct pws_key begin, end, client;
	struct pws_kv_rec rec;
	struct pws_session *s;
	int err;

	pws_key_client_range(&begin, &end);
	for (;;) {
		err = n->kv->ops->next(n->kv, pws_key_slice(&begin), pws_key_slice(&end), &rec, f);
		if (err)
			return err == -ENOENT ? 0 : err;
		/* one byte of table, then the id */
		if (rec.key.n != 1 + sizeof(s->client_id) || rec.key.n >= sizeof(begin.b))
			return -EBADMSG;
		memcpy(client.b, rec.key.p, rec.key.n);
		memcpy(begin.b, rec.key.p, rec.key.n);
		begin.b[rec.key.n] = 0;
		begin.n = rec.key.n + 1;
		if (pws_session_find(n, client.b + 1))
			continue;
		err = session_new(n, client.b + 1, &s);
		if (err)
			return err;
		s->known = s->row = true;
	}
}

void pws_sessions_stop(struct pws_node *n)
{
	struct pw_list *pos;

	pw_list_for_each(pos, &n->sessions.all)
		pw_timer_cancel(n->loop, &pw_list_entry(pos, struct pws_session, node)->lease);
}

void pws_sessions_fini(struct pws_node *n)
{
	while (!pw_list_empty(&n->sessions.all)) {
		struct pws_session *s = pw_list_first(&n->sessions.all, struct pws_session, node);

		assert(!s->nr_up && !s->nr_busy && !s->txn_busy);
		session_free(s);
	}
}
