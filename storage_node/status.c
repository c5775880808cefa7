/* SPDX-License-Identifier: Apache-2.0 */
/* status.c -- JSON for `pagewire status` and `pagewire stats`
 *
 * jansson's set_new calls take NULL and fail, so a missing piece only leaves its key out; the tree
 * as a whole is checked once, at its root.
 */
#include "storage_node/status.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "common/addr.h"
#include "common/err.h"
#include "common/log.h"
#include "common/rdma_srq.h"
#include "common/uring.h"
#include "common/uuid.h"
#include "storage_node/channel.h"
#include "storage_node/node_req.h"

#define MAX_DEVICES 16u

static void set_int(json_t *o, const char *key, uint64_t v)
{
	json_object_set_new(o, key, json_integer((json_int_t)v));
}

static void set_str(json_t *o, const char *key, const char *v)
{
	json_object_set_new(o, key, json_string(v));
}

static void set_bool(json_t *o, const char *key, bool v)
{
	json_object_set_new(o, key, json_boolean(v));
}

static void set_time(json_t *o, const char *key, uint64_t ns)
{
	time_t s = (time_t)(ns / PW_NS_PER_S);
	char text[32] = "";
	struct tm tm;

	if (gmtime_r(&s, &tm))
		strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	set_str(o, key, text);
}

/* Status ------------------------------------------------------------------------------------ */

static json_t *client_json(const struct pws_session *s)
{
	json_t *o = json_object();
	uint32_t slots = 0;
	struct pw_list *pos;
	char id[37];

	pw_uuid_text(s->client_id, id);
	set_str(o, "id", id);
	set_str(o, "state", pw_sm_state_name(&s->sm));
	pw_list_for_each(pos, &s->channels) {
		const struct pws_channel *ch = pw_list_entry(pos, struct pws_channel, node);

		slots += ch->nr_slots;
		if (!ch->conn)
			continue;
		set_str(o, "address", pw_conn_peer_name(ch->conn));
		set_str(o, "transport", pw_conn_transport(ch->conn)); /* with its device */
	}
	set_int(o, "connections", s->nr_up);
	set_int(o, "slots", slots);
	set_int(o, "busy", s->nr_busy);
	set_int(o, "open_files", s->opens.nr);
	set_int(o, "opens", s->opens.total);
	if (pw_timer_armed(&s->lease)) {
		uint64_t now = pw_loop_now(s->n->loop);
		uint64_t end = PW_MAX(s->lease.deadline_ns, now);

		set_int(o, "lease_left_ms", (end - now) / PW_NS_PER_MS);
	}
	return o;
}

static json_t *clients_json(const struct pws_node *n)
{
	json_t *a = json_array();
	struct pw_list *pos;

	pw_list_for_each(pos, &n->sessions.all)
		json_array_append_new(a, client_json(pw_list_entry(pos, struct pws_session, node)));
	return a;
}

static json_t *space_json(struct pws_node *n)
{
	uint64_t total, left;
	json_t *o = json_object();

	n->meta.space(n->meta.arg, &total, &left);
	set_int(o, "total", total);
	set_int(o, "free", left);
	set_bool(o, "full", !n->meta.has_room(n->meta.arg));
	return o;
}

static void add_error(void *arg, uint64_t when_ns, const char *line)
{
	json_t *o = json_object();

	set_time(o, "time", when_ns);
	set_str(o, "line", line);
	json_array_append_new(arg, o);
}

static json_t *scrub_json(const struct pws_status_source *s)
{
	struct pws_store_stats st = { 0 };
	json_t *o = json_object();

	s->node->store->ops->get_stats(s->node->store, &st);
	set_int(o, "bytes_per_s", s->config->store == PWS_STORE_CHUNK ? s->config->scrub : 0);
	set_int(o, "passes", st.scrub_passes);
	set_int(o, "blocks", st.scrubbed_blocks);
	set_int(o, "errors", st.scrub_errors);
	return o;
}

static json_t *address_json(const struct pws_listen_addr *a)
{
	json_t *o = json_object();
	char text[PWS_HOST_MAX + 16];

	pw_addr_host_port(a->at.host, a->tcp || a->rdma ? pws_listen_addr_port(a) : a->at.port,
			  text, sizeof(text));
	set_str(o, "address", text);
	set_bool(o, "tcp", a->tcp);
	set_bool(o, "rdma", a->rdma);
	set_str(o, "why_not_rdma", a->no_rdma);
	return o;
}

static void set_transport(json_t *o, const struct pws_listen *l, uint32_t wanted)
{
	const char *why = wanted == PWS_TRANSPORT_TCP ? "transport = tcp in the configuration" : "";
	json_t *addresses = json_array();
	bool tcp = false, rdma = false;

	for (uint32_t i = 0; i < l->nr; i++) {
		const struct pws_listen_addr *a = &l->addr[i];

		tcp = tcp || a->tcp;
		rdma = rdma || a->rdma;
		if (!*why)
			why = a->no_rdma;
		json_array_append_new(addresses, address_json(a));
	}
	set_str(o, "transport", !rdma ? "tcp" : tcp ? "tcp and rdma" : "rdma");
	set_str(o, "transport_reason", rdma ? "" : why);
	json_object_set_new(o, "addresses", addresses);
}

static void set_identity(json_t *o, const struct pws_status_source *s)
{
	char text[PW_CONFIG_VALUE_MAX + 64];

	pw_uuid_text(s->node->id.fsid, text);
	set_str(o, "fsid", text);
	pw_uuid_text(s->node->id.id, text);
	set_str(o, "node_id", text);
	set_str(o, "dir", s->config->dir);
	pws_listen_text(s->node, text, sizeof(text));
	set_str(o, "listen", text);
	set_transport(o, &s->node->listen, s->config->transport);
	set_bool(o, "key", s->node->id.have_key);
}

/* What each RDMA device holds for messages that come in. */
static json_t *receives_json(void)
{
	struct pw_rdma_receives r[MAX_DEVICES];
	uint32_t nr = PW_MIN(pw_rdma_receives(r, MAX_DEVICES), MAX_DEVICES);
	json_t *a = json_array();

	for (uint32_t i = 0; i < nr; i++) {
		json_t *o = json_object();

		set_str(o, "device", r[i].device);
		set_int(o, "sharing", r[i].sharing);
		set_int(o, "own", r[i].own);
		set_int(o, "posted", r[i].posted);
		set_int(o, "reserve", r[i].reserve);
		set_int(o, "in_doubt", r[i].doubt);
		set_int(o, "reserve_touched", r[i].touched);
		set_int(o, "bytes", r[i].bytes);
		set_str(o, "why_own", r[i].why_own);
		json_array_append_new(a, o);
	}
	return a;
}

json_t *pws_status_json(const struct pws_status_source *s)
{
	bool is_volatile = s->config->store != PWS_STORE_CHUNK;
	json_t *o = json_object(), *errors = json_array();

	set_str(o, "schema", "pagewire.node-status/1");
	set_str(o, "version", PW_VERSION);
	set_int(o, "pid", (uint64_t)getpid());
	set_str(o, "state", s->node->stopping ? "stopping" : "serving");
	set_time(o, "started", s->started_ns);
	set_identity(o, s);
	set_str(o, "store", pws_store_kind_name(s->config->store));
	set_str(o, "durability", is_volatile ? "none" : s->config->durability);
	set_bool(o, "volatile", is_volatile);
	if (is_volatile)
		set_str(o, "warning", "this node keeps nothing: everything is gone when it stops");
	json_object_set_new(o, "clients", clients_json(s->node));
	json_object_set_new(o, "rdma_receives", receives_json());
	json_object_set_new(o, "space", space_json(s->node));
	json_object_set_new(o, "scrub", scrub_json(s));
	pw_log_last_errors(add_error, errors);
	json_object_set_new(o, "errors", errors);
	return o;
}

/* Stats ------------------------------------------------------------------------------------- */

static json_t *by_op_json(const uint64_t *counts)
{
	json_t *o = json_object();

	for (uint32_t op = 1; op < PW_OP_NR; op++)
		set_int(o, pw_op_name(op), counts[op]);
	return o;
}

static void sum_conns(const struct pws_node *n, struct pw_conn_stats *ret)
{
	struct pw_list *pos;

	*ret = n->stats.conn;
	pw_list_for_each(pos, &n->guests) {
		struct pw_conn_stats s;

		pw_conn_get_stats(pw_list_entry(pos, struct pws_guest, node)->conn, &s);
		pw_conn_stats_add(ret, &s);
	}
}

static json_t *conn_json(const struct pws_node *n, const struct pw_conn_stats *c)
{
	json_t *o = json_object();

	set_int(o, "accepted", n->stats.accepted);
	set_int(o, "refused", n->stats.refused);
	set_int(o, "bad_messages", n->stats.bad_msgs);
	set_int(o, "messages_sent", c->msgs_tx);
	set_int(o, "messages_received", c->msgs_rx);
	set_int(o, "bytes_sent", c->bytes_tx);
	set_int(o, "bytes_received", c->bytes_rx);
	set_int(o, "zerocopy_sends", c->zc_sends);
	set_int(o, "zerocopy_copied", c->zc_copied);
	set_int(o, "copied_bytes", c->copied_bytes);
	return o;
}

static json_t *store_json(const struct pws_store_stats *st)
{
	json_t *o = json_object();

	set_int(o, "reads", st->reads);
	set_int(o, "writes", st->writes);
	set_int(o, "bytes_read", st->bytes_read);
	set_int(o, "bytes_written", st->bytes_written);
	set_int(o, "completed_blocks", st->rmw_blocks);
	set_int(o, "copied_bytes", st->copied_bytes);
	set_int(o, "checksum_errors", st->crc_errors);
	return o;
}

static json_t *kv_json(const struct pws_node *n)
{
	struct pws_kv_stats st = { 0 };
	json_t *o = json_object();

	pws_kv_get_stats(n->kv, &st);
	set_str(o, "engine", n->kv->ops->name);
	set_int(o, "commits", st.commits);
	set_int(o, "batches", st.batches);
	set_int(o, "seals", st.seals);
	set_int(o, "flushes", st.flushes);
	set_int(o, "checkpoints", st.checkpoints);
	set_int(o, "replayed", st.replayed);
	set_int(o, "journal_bytes", st.journal_bytes);
	set_int(o, "overlay_bytes", st.overlay_bytes);
	return o;
}

static json_t *disk_json(const struct pws_data *d)
{
	struct pws_disk_stats st = { 0 };
	json_t *o = json_object();

	if (d->disk)
		pws_disk_get_stats(d->disk, &st);
	set_int(o, "reads", st.reads);
	set_int(o, "writes", st.writes);
	set_int(o, "flushes", st.flushes);
	set_int(o, "bytes_read", st.bytes_read);
	set_int(o, "bytes_written", st.bytes_written);
	return o;
}

static json_t *stalls_json(const struct pws_status_source *s, const struct pws_store_stats *st)
{
	const struct pws_node_stats *ns = &s->node->stats;
	struct pws_disk_stats ds = { 0 };
	json_t *o = json_object();

	if (s->data->disk)
		pws_disk_get_stats(s->data->disk, &ds);
	set_int(o, "slot", ns->parked);
	set_int(o, "append", ns->append_waits);
	set_int(o, "reclaim", ns->space_waits);
	set_int(o, "buffer", ns->no_buf);
	set_int(o, "space", st->stall_space);
	set_int(o, "range", st->stall_range);
	set_int(o, "store_disk", st->stall_disk);
	set_int(o, "disk_queue", ds.stall_queue);
	return o;
}

static json_t *sessions_json(const struct pws_node *n)
{
	json_t *o = json_object();

	set_int(o, "now", n->sessions.nr);
	set_int(o, "started", n->sessions.started);
	set_int(o, "resumed", n->sessions.resumed);
	set_int(o, "ended", n->sessions.ended);
	set_int(o, "expired", n->sessions.expired);
	set_int(o, "open_files", n->opens.nr);
	set_int(o, "replays", n->stats.replays);
	set_int(o, "replays_answered", n->stats.replays_answered);
	return o;
}

static json_t *reclaim_json(const struct pws_reclaim *rc)
{
	json_t *o = json_object();

	set_int(o, "running", rc->nr_running);
	set_int(o, "queued", rc->nr);
	set_int(o, "inodes", rc->reclaimed_inodes);
	set_int(o, "tails", rc->reclaimed_tails);
	set_int(o, "failed", rc->failed);
	return o;
}

static json_t *loop_json(const struct pw_loop *loop)
{
	struct pw_loop_stats st = { 0 };
	json_t *o = json_object();

	pw_loop_get_stats(loop, &st);
	set_int(o, "turns", st.turns);
	set_int(o, "sleeps", st.sleeps);
	set_int(o, "idle_polls", st.idle_polls);
	set_int(o, "submits", st.submits);
	set_int(o, "completions", st.cqes);
	set_int(o, "stale_completions", st.stale_cqes);
	return o;
}

json_t *pws_stats_json(const struct pws_status_source *s)
{
	const struct pws_node *n = s->node;
	struct pws_store_stats st = { 0 };
	struct pw_conn_stats cs;
	json_t *o = json_object();

	n->store->ops->get_stats(n->store, &st);
	sum_conns(n, &cs);
	set_str(o, "schema", "pagewire.stats/1");
	set_str(o, "role", "node");
	set_identity(o, s);
	set_int(o, "uptime_ms", (pw_loop_realtime(n->loop) - s->started_ns) / PW_NS_PER_MS);
	json_object_set_new(o, "requests", by_op_json(n->stats.reqs));
	json_object_set_new(o, "errors", by_op_json(n->stats.errs));
	set_int(o, "bytes_read", n->stats.bytes_read);
	set_int(o, "bytes_written", n->stats.bytes_written);
	set_int(o, "payload_bytes", n->stats.bytes_read + n->stats.bytes_written);
	set_int(o, "copied_bytes", cs.copied_bytes + st.copied_bytes + n->stats.moved_bytes);
	json_object_set_new(o, "stalls", stalls_json(s, &st));
	json_object_set_new(o, "sessions", sessions_json(n));
	json_object_set_new(o, "reclaim", reclaim_json(&n->reclaim));
	json_object_set_new(o, "conn", conn_json(n, &cs));
	json_object_set_new(o, "store", store_json(&st));
	json_object_set_new(o, "kv", kv_json(n));
	json_object_set_new(o, "disk", disk_json(s->data));
	json_object_set_new(o, "loop", loop_json(n->loop));
	return o;
}
