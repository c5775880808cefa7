/* SPDX-License-Identifier: Apache-2.0 */
/* conn_hello.c -- the hand-shake: versions, identities, and the mutual proof of the cluster key
 *
 *	client                                    node
 *	HELLO     versions, ids, nonce      ->
 *	                                    <-    CHALLENGE  ids, nonce, proof "node"
 *	checks the node's proof, its fsid
 *	PROOF     proof "client"            ->
 *	                                          checks it, asks its owner (on_hello)
 *	                                    <-    WELCOME    slots, limits
 *
 * What can fail: the node answers REJECT in place of CHALLENGE or WELCOME, either side finds a
 * message that is not the next one, the deadline of conn.c passes. Without a key on either side
 * both prove an all-zero
 * key: the messages are the same, and a side that has a key refuses one that has none.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/auth.h"
#include "common/conn_impl.h"
#include "common/err.h"
#include "common/random.h"
#include "common/uuid.h"

#define ROLE_CLIENT_SHARD 1u

static const uint8_t no_key[32];
static const uint8_t any_fsid[16];

static const uint8_t *key_of(const struct pw_conn *c)
{
	return c->id->have_key ? c->id->key : no_key;
}

/* Client ------------------------------------------------------------------------------------ */

void pw_hello_start(struct pw_conn *c, uint64_t incarnation)
{
	struct pw_cmd *cmd = pw_conn_ctl_cmd(c, PW_CTL_HELLO, PW_MSG_HELLO);
	struct pw_body_hello *h = &cmd->hello;

	memcpy(h->client_id, c->id->id, sizeof(h->client_id));
	memcpy(h->fsid, c->id->fsid, sizeof(h->fsid));
	pw_random_bytes(h->nonce, sizeof(h->nonce));
	h->version = PW_WIRE_VERSION;
	h->version_min = PW_WIRE_VERSION_MIN;
	h->role = ROLE_CLIENT_SHARD;
	h->incarnation = incarnation;
	h->channel = c->o.channel;
	h->want_slots = c->o.want_slots;
	c->hello = *h;
	c->hs = PW_HS_CHALLENGE;
	pw_conn_ctl_send(c, PW_CTL_HELLO);
}

/* The three ways in which keys differ read differently: they are mended at different places. */
static void fail_node_proof(struct pw_conn *c, const struct pw_body_challenge *ch)
{
	uint8_t keyless[32];

	pw_auth_proof(keyless, no_key, "node", &c->hello, ch);
	if (!c->id->have_key)
		pw_conn_fail(c, -EKEYREJECTED, "the node has a cluster key, this client has none");
	else if (pw_auth_equal(keyless, ch->proof))
		pw_conn_fail(c, -EKEYREJECTED, "the node has no cluster key, this client has one");
	else
		pw_conn_fail(c, -EKEYREJECTED, "the node did not prove our cluster key");
}

static void on_challenge(struct pw_conn *c, const struct pw_body_challenge *ch)
{
	char have[PW_UUID_TEXT], want[PW_UUID_TEXT];
	struct pw_cmd *cmd;
	uint8_t expect[32];

	pw_auth_proof(expect, key_of(c), "node", &c->hello, ch);
	if (!pw_auth_equal(expect, ch->proof)) {
		fail_node_proof(c, ch);
		return;
	}
	if (memcmp(c->id->fsid, any_fsid, sizeof(any_fsid)) &&
	    memcmp(c->id->fsid, ch->fsid, sizeof(ch->fsid))) {
		pw_uuid_text(ch->fsid, have);
		pw_uuid_text(c->id->fsid, want);
		pw_conn_failf(c, -EMEDIUMTYPE, "it serves another filesystem, %s instead of %s",
			      have, want);
		return;
	}
	if (c->want_node && memcmp(c->node_id, ch->node_id, sizeof(ch->node_id))) {
		pw_conn_fail(c, -EMEDIUMTYPE, "another node of the filesystem answers there");
		return;
	}
	if (c->o.probe) {
		pw_conn_fail(c, -ECANCELED, "it answers");
		return;
	}
	c->challenge = *ch;
	memcpy(c->peer_id, ch->node_id, sizeof(c->peer_id));
	memcpy(c->peer_fsid, ch->fsid, sizeof(c->peer_fsid));
	cmd = pw_conn_ctl_cmd(c, PW_CTL_PROOF, PW_MSG_PROOF);
	pw_auth_proof(cmd->proof.proof, key_of(c), "client", &c->hello, ch);
	c->hs = PW_HS_WELCOME;
	pw_conn_ctl_send(c, PW_CTL_PROOF);
}

static void on_welcome(struct pw_conn *c, const struct pw_body_welcome *w)
{
	/* whoever wants the shorter silence gets it; below 10 ms it would be traffic, not a
	 * heartbeat */
	if (w->heartbeat_ms >= 10 && w->heartbeat_ms < c->o.heartbeat_ms)
		c->o.heartbeat_ms = w->heartbeat_ms;
	pw_conn_set_up(c, w);
}

/* A REJECT is not authenticated: it can end this attempt and nothing else. */
static void on_reject(struct pw_conn *c, const struct pw_cmd *cmd)
{
	int err = pw_err_from_wire(cmd->status);

	if (!err)
		err = -EPROTO;
	if (err == -EPROTONOSUPPORT)
		pw_conn_failf(c, err, "the node speaks protocol version %u to %u, we %u to %u",
			      cmd->reject.version_min, cmd->reject.version,
			      PW_WIRE_VERSION_MIN, PW_WIRE_VERSION);
	else
		pw_conn_failf(c, err, "refused by the node: %s", pw_err_text(err));
}

/* Node -------------------------------------------------------------------------------------- */

static void reject(struct pw_conn *c, int err, const char *why)
{
	struct pw_cmd *cmd = pw_conn_ctl_cmd(c, PW_CTL_LAST, PW_MSG_REJECT);

	cmd->status = pw_err_to_wire(err);
	cmd->reject.version = PW_WIRE_VERSION;
	cmd->reject.version_min = PW_WIRE_VERSION_MIN;
	c->hs = PW_HS_REJECTED;
	c->reject_err = err;
	snprintf(c->why, sizeof(c->why), "%s", why);
	pw_conn_ctl_send(c, PW_CTL_LAST);
}

static void on_hello(struct pw_conn *c, const struct pw_body_hello *h)
{
	struct pw_body_challenge *ch;
	char why[96];

	if (h->version < h->version_min || h->version < PW_WIRE_VERSION_MIN ||
	    h->version_min > PW_WIRE_VERSION) {
		snprintf(why, sizeof(why), "client speaks protocol version %u to %u, we %u to %u",
			 h->version_min, h->version, PW_WIRE_VERSION_MIN, PW_WIRE_VERSION);
		reject(c, -EPROTONOSUPPORT, why);
		return;
	}
	if (h->role != ROLE_CLIENT_SHARD) {
		reject(c, -EPROTO, "the client has a role that this version does not know");
		return;
	}
	c->hello = *h;
	ch = &pw_conn_ctl_cmd(c, PW_CTL_HELLO, PW_MSG_CHALLENGE)->challenge;
	memcpy(ch->fsid, c->id->fsid, sizeof(ch->fsid));
	memcpy(ch->node_id, c->id->id, sizeof(ch->node_id));
	pw_random_bytes(ch->nonce, sizeof(ch->nonce));
	pw_auth_proof(ch->proof, key_of(c), "node", h, ch);
	c->challenge = *ch;
	c->hs = PW_HS_PROOF;
	pw_conn_ctl_send(c, PW_CTL_HELLO);
}

static void on_proof(struct pw_conn *c, const struct pw_body_proof *p)
{
	struct pw_body_welcome welcome = { 0 };
	uint8_t expect[32];
	int err;

	pw_auth_proof(expect, key_of(c), "client", &c->hello, &c->challenge);
	if (!pw_auth_equal(expect, p->proof)) {
		reject(c, -EKEYREJECTED, "the client did not prove our cluster key");
		return;
	}
	memcpy(c->peer_id, c->hello.client_id, sizeof(c->peer_id));
	memcpy(c->peer_fsid, c->hello.fsid, sizeof(c->peer_fsid));
	err = c->ops->on_hello(c, &c->hello, &welcome);
	if (pw_conn_state(c) != PW_CONN_HELLO)
		return; /* on_hello() has failed the connection */
	if (err) {
		char why[96];

		snprintf(why, sizeof(why), "client refused: %s", pw_err_text(err));
		reject(c, err, why);
		return;
	}
	welcome.version = PW_MIN(c->hello.version, PW_WIRE_VERSION);
	if (!welcome.heartbeat_ms)
		welcome.heartbeat_ms = c->o.heartbeat_ms;
	pw_conn_ctl_cmd(c, PW_CTL_PROOF, PW_MSG_WELCOME)->welcome = welcome;
	pw_conn_ctl_send(c, PW_CTL_PROOF);
	pw_conn_set_up(c, &welcome);
}

/* Both -------------------------------------------------------------------------------------- */

void pw_hello_on_msg(struct pw_conn *c, const struct pw_cmd *cmd)
{
	static const uint8_t expected[PW_HS_NR_STEPS] = {
		[PW_HS_CHALLENGE] = PW_MSG_CHALLENGE,
		[PW_HS_WELCOME] = PW_MSG_WELCOME,
		[PW_HS_HELLO] = PW_MSG_HELLO,
		[PW_HS_PROOF] = PW_MSG_PROOF,
	};

	if (c->hs == PW_HS_REJECTED)
		return; /* whatever the peer still says */
	if (cmd->type == PW_MSG_REJECT && !c->node) {
		on_reject(c, cmd);
		return;
	}
	if (cmd->type != expected[c->hs]) {
		pw_conn_failf(c, -EPROTO, "message type %u in the hand-shake, expected %u",
			      cmd->type, expected[c->hs]);
		return;
	}
	switch (cmd->type) {
	case PW_MSG_HELLO:
		on_hello(c, &cmd->hello);
		return;
	case PW_MSG_CHALLENGE:
		on_challenge(c, &cmd->challenge);
		return;
	case PW_MSG_PROOF:
		on_proof(c, &cmd->proof);
		return;
	case PW_MSG_WELCOME:
		on_welcome(c, &cmd->welcome);
		return;
	default:
		return;
	}
}
