/* SPDX-License-Identifier: Apache-2.0 */
/* status.c -- numbers become JSON; nothing is decided here */
#include "client_fs/status.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client_fs/fuse_stats.h"
#include "client_fs/ops.h"
#include "client_fs/rail.h"
#include "client_fs/shard.h"
#include "common/err.h"
#include "common/log.h"

static const char *const path_names[PWC_NR_PATHS] = {
	[PWC_PATH_POOL] = "pool",
	[PWC_PATH_DEV] = "dev",
	[PWC_PATH_REG] = "reg",
};
static const char *const fallback_names[PWC_NR_FALLBACKS] = {
	[PWC_FALLBACK_NO_RING] = "no_ring",
	[PWC_FALLBACK_EARLY] = "not_on_ring",
};

static const char *const gather_names[PW_GATHER_NR] = {
	[PW_GATHER_OK] = "direct",
	[PW_GATHER_NEVER] = "not_by_this_transport",
	[PW_GATHER_UNREGISTERED] = "not_registered_with_the_device",
	[PW_GATHER_TOO_MANY] = "more_pieces_than_the_device_takes",
};

static json_t *num(uint64_t n)
{
	return json_integer((json_int_t)n);
}

static const char *peer_state_name(enum pwc_peer_state s)
{
	static const char *const names[PWC_PEER_NR_STATES] = {
		[PWC_PEER_IDLE] = "idle",	    [PWC_PEER_CONNECTING] = "connecting",
		[PWC_PEER_UP] = "up",		    [PWC_PEER_RECLAIMING] = "reclaiming",
		[PWC_PEER_WAITING] = "waiting",	    [PWC_PEER_STOPPING] = "stopping",
		[PWC_PEER_DEAD] = "dead",
	};

	return s < PWC_PEER_NR_STATES ? names[s] : "?";
}

/* "rdma rxe0 port 1, ...": the transport, and which device. */
static void set_transport(json_t *j, const struct pwc_shard *sh)
{
	const char *text = pwc_peer_transport(sh->peer);
	size_t word = strcspn(text, " ");

	json_object_set_new(j, "transport", json_stringn(text, word));
	json_object_set_new(j, "transport_device", json_string(text[word] ? text + word + 1 : ""));
}

static json_t *way_json(const struct pwc_shard *sh, const struct pwc_rails *t,
			struct pwc_pick p)
{
	static const char *const sources[] = { [PWC_RAIL_OF_MOUNT] = "mount",
					       [PWC_RAIL_OF_OPTION] = "option",
					       [PWC_RAIL_OF_NODE] = "node" };
	const struct pwc_rail *r = &t->rail[p.rail];
	const struct pwc_rail_way *w = &r->way[p.way];
	uint64_t now = pw_loop_now(sh->loop);
	bool cur = p.rail == t->cur.rail && p.way == t->cur.way;
	char host[sizeof(r->host) + 8];
	json_t *j = json_object();

	snprintf(host, sizeof(host), "%s:%u", r->host, r->port);
	json_object_set_new(j, "address", json_string(*r->addr ? r->addr : host));
	json_object_set_new(j, "local", json_string(r->local));
	json_object_set_new(j, "source", json_string(sources[r->source]));
	json_object_set_new(j, "transport", json_string(p.way == PWC_WAY_RDMA ? "rdma" : "tcp"));
	json_object_set_new(j, "state", json_string(pwc_rail_state_name(w->state)));
	json_object_set_new(j, "in_use",
			    json_boolean(cur && pwc_peer_state(sh->peer) == PWC_PEER_UP));
	json_object_set_new(j, "preferred", json_boolean(p.rail == pwc_rails_preferred(t)));
	json_object_set_new(j, "since_ms",
			    num(w->since_ns ? (now - w->since_ns) / PW_NS_PER_MS : 0));
	json_object_set_new(j, "failures", num(w->failures));
	json_object_set_new(j, "why", json_string(w->why));
	return j;
}

/* In the order in which they are tried. */
static json_t *rails_json(const struct pwc_shard *sh)
{
	const struct pwc_rails *t = pwc_peer_rails(sh->peer);
	json_t *a = json_array();

	for (uint32_t way = 0; way < PWC_NR_WAYS; way++)
		for (uint32_t i = 0; i < t->nr && pwc_rails_wants(t, way); i++) {
			struct pwc_pick p = { (i + pwc_rails_preferred(t)) % t->nr, way };

			json_array_append_new(a, way_json(sh, t, p));
		}
	return a;
}

static json_t *node_json(const struct pwc_shard *sh)
{
	struct pwc_peer_stats st;
	json_t *j = json_object();
	uint64_t now = pw_loop_now(sh->loop);

	pwc_peer_get_stats(sh->peer, &st);
	json_object_set_new(j, "address", json_string(pwc_peer_name(sh->peer)));
	json_object_set_new(j, "state", json_string(peer_state_name(pwc_peer_state(sh->peer))));
	json_object_set_new(j, "why", json_string(pwc_peer_why_down(sh->peer)));
	set_transport(j, sh);
	json_object_set_new(j, "down_ms",
			    num(st.down_since_ns ? (now - st.down_since_ns) / PW_NS_PER_MS : 0));
	json_object_set_new(j, "slots", num(st.nr_slots));
	json_object_set_new(j, "inflight", num(st.inflight));
	json_object_set_new(j, "waiting", num(st.waiting));
	json_object_set_new(j, "calls", num(st.calls));
	json_object_set_new(j, "replays", num(st.replays));
	json_object_set_new(j, "reconnects", num(st.reconnects));
	json_object_set_new(j, "timeouts", num(st.timeouts));
	json_object_set_new(j, "aborted", num(st.aborted));
	json_object_set_new(j, "failovers", num(st.failovers));
	json_object_set_new(j, "moves", num(st.moves));
	json_object_set_new(j, "rails", rails_json(sh));
	json_object_set_new(j, "zc_sends", num(st.conn.zc_sends));
	json_object_set_new(j, "zc_copied", num(st.conn.zc_copied));
	json_object_set_new(j, "bytes_tx", num(st.conn.bytes_tx));
	json_object_set_new(j, "bytes_rx", num(st.conn.bytes_rx));
	return j;
}

static void add_error(void *arg, uint64_t when_ns, const char *line)
{
	json_t *j = json_object();

	json_object_set_new(j, "when", json_real((double)(when_ns / PW_NS_PER_MS) / 1000.0));
	json_object_set_new(j, "line", json_string(line));
	json_array_append_new(arg, j);
}

static json_t *space_json(const struct pw_body_statfs *s)
{
	json_t *j;

	if (!s)
		return json_null();
	j = json_object();
	json_object_set_new(j, "total_bytes", num(s->blocks * s->bsize));
	json_object_set_new(j, "free_bytes", num(s->bfree * s->bsize));
	json_object_set_new(j, "avail_bytes", num(s->bavail * s->bsize));
	json_object_set_new(j, "files", num(s->files));
	json_object_set_new(j, "files_free", num(s->ffree));
	return j;
}

static json_t *fuse_json(const struct pwc_shard *sh)
{
	json_t *j = json_object();

	json_object_set_new(j, "io_uring", json_boolean(sh->use_ring));
	json_object_set_new(j, "form",
			    sh->use_ring ? json_string(pwc_ring_form(&sh->ring)) : json_null());
	json_object_set_new(j, "queues", num(sh->use_ring ? sh->ring.o.nr_queues : 0));
	json_object_set_new(j, "depth", num(sh->use_ring ? sh->ring.o.depth : 0));
	json_object_set_new(j, "entries_lost", num(sh->ring.commit_errors));
	json_object_set_new(j, "max_io_bytes", num(pwc_shard_max_io(sh)));
	json_object_set_new(j, "kernel_minor", num(sh->mnt.kernel_minor));
	json_object_set_new(j, "arena_bytes", num(sh->arena.len));
	json_object_set_new(j, "connection", num(sh->mnt.info.minor));
	return j;
}

/* Why bytes are copied between programs and this daemon. */
static void set_path_reason(json_t *j, const struct pwc_shard *sh)
{
	char text[512];

	if (!sh->use_ring)
		snprintf(text, sizeof(text), "%s", sh->no_ring);
	else if (!sh->regions.kernel)
		snprintf(text, sizeof(text), "one copy, by the kernel, which does not find "
			 "registered buffers by itself: %s", sh->no_regions);
	else if (!sh->regions.nr)
		snprintf(text, sizeof(text), "buffers of applications are not registered: one "
			 "copy, by the kernel");
	else
		snprintf(text, sizeof(text), "what lies in registered buffers is not copied, all "
			 "else once, by the kernel: `pagewire buffers` counts both");
	json_object_set_new(j, "path_reason", json_string(text));
}

json_t *pwc_status_json(const struct pwc_shard *sh, const struct pw_body_statfs *space)
{
	json_t *j = json_object(), *errors = json_array(), *nodes = json_array();
	uint64_t now = pw_loop_realtime(sh->loop);
	bool up = pwc_peer_state(sh->peer) == PWC_PEER_UP;

	pw_log_last_errors(add_error, errors);
	json_array_append_new(nodes, node_json(sh));
	json_object_set_new(j, "schema", json_string("pagewire.mount-status/1"));
	json_object_set_new(j, "version", json_string(PW_VERSION));
	json_object_set_new(j, "pid", num((uint64_t)getpid()));
	json_object_set_new(j, "dir", json_string(sh->o->dir));
	json_object_set_new(j, "source", json_string(sh->o->source));
	json_object_set_new(j, "state", json_string(pwc_shard_state_name(sh)));
	json_object_set_new(j, "degraded", json_boolean(!up));
	json_object_set_new(j, "read_only", json_boolean(sh->o->ro));
	json_object_set_new(j, "timeout_ms", num(sh->o->timeout_ms));
	json_object_set_new(j, "cache",
			    json_string(sh->o->cache == PWC_CACHE_NONE ? "none" : "auto"));
	json_object_set_new(j, "attr_timeout_ms", num(sh->o->attr_timeout_ms));
	json_object_set_new(j, "uptime_s",
			    num(sh->mounted_at_ns ? (now - sh->mounted_at_ns) / PW_NS_PER_S : 0));
	set_transport(j, sh);
	json_object_set_new(j, "transport_reason",
			    json_string(pwc_peer_no_rdma(sh->peer)));
	json_object_set_new(j, "path", json_string(path_names[!sh->use_ring]));
	set_path_reason(j, sh);
	json_object_set_new(j, "fuse", fuse_json(sh));
	json_object_set_new(j, "nodes", nodes);
	json_object_set_new(j, "space", space_json(space));
	json_object_set_new(j, "open_files", num(sh->opens.nr_opens));
	json_object_set_new(j, "errors", errors);
	return j;
}

static json_t *requests_json(const struct pwc_stats *st)
{
	json_t *j = json_object();

	for (uint32_t i = 0; i < PWC_NR_OPS; i++) {
		const struct pwc_op *op = pwc_op_get(i);
		json_t *o;

		if (!st->requests[i])
			continue;
		o = json_object();
		json_object_set_new(o, "total", num(st->requests[i]));
		json_object_set_new(o, "errors", num(st->errors[i]));
		json_object_set_new(j, op ? op->name : "other", o);
	}
	return j;
}

static json_t *paths_json(const struct pwc_stats *st)
{
	json_t *j = json_object();

	for (uint32_t i = 0; i < PWC_NR_PATHS; i++) {
		json_t *o = json_object();

		json_object_set_new(o, "requests", num(st->by_path[i]));
		json_object_set_new(o, "read_bytes", num(st->bytes_read[i]));
		json_object_set_new(o, "written_bytes", num(st->bytes_written[i]));
		json_object_set_new(j, path_names[i], o);
	}
	return j;
}

static json_t *gathers_json(const struct pwc_peer_stats *peer)
{
	json_t *j = json_object();

	for (uint32_t i = 0; i < PW_GATHER_NR; i++)
		json_object_set_new(j, gather_names[i], num(peer->runs[i]));
	return j;
}

static json_t *regions_json(const struct pwc_shard *sh, const struct pwc_peer_stats *peer)
{
	const struct pwc_regions *t = &sh->regions;
	const struct pwc_ring *ring = &sh->ring;
	json_t *j = json_object(), *misses;

	json_object_set_new(j, "count", num(t->nr));
	json_object_set_new(j, "bytes", num(t->bytes));
	json_object_set_new(j, "max_bytes", num(t->max_bytes));
	json_object_set_new(j, "added", num(t->added));
	json_object_set_new(j, "refused", num(t->refused));
	json_object_set_new(j, "refused_requests", num(t->refused_io));
	/* READ and WRITE by the ring: of hits the kernel said where they lie */
	json_object_set_new(j, "in_kernel", json_boolean(t->kernel));
	json_object_set_new(j, "hits", num(ring->reg_hits));
	json_object_set_new(j, "hits_in_runs", num(ring->reg_lists));
	json_object_set_new(j, "misses", num(ring->reg_misses));
	json_object_set_new(j, "kernel_why", json_string(sh->no_regions));
	misses = t->kernel ? pwc_fuse_stats_read(sh->mnt.info.minor) : NULL;
	json_object_set_new(j, "misses_by_reason", misses ? misses : json_null());
	/* what lies in regions, on its way between here and the node: copied but for "direct" */
	json_object_set_new(j, "transport", gathers_json(peer));
	json_object_set_new(j, "copied_in_runs", num(peer->runs_copied));
	return j;
}

static json_t *region_json(const struct pwc_region *r)
{
	bool refused = r->t->kernel && r->kernel_err;
	uint32_t area;
	const struct pw_mem_area *m = r->base ? pw_mem_find(r->base, r->len, &area) : NULL;
	json_t *j = json_object();

	json_object_set_new(j, "id", num(r->id));
	json_object_set_new(j, "pid", num((uint64_t)r->pid));
	json_object_set_new(j, "uid", num(r->uid));
	json_object_set_new(j, "bytes", num(r->len));
	json_object_set_new(j, "huge", json_boolean(r->huge));
	json_object_set_new(j, "dmabuf", json_boolean(r->dmabuf));
	json_object_set_new(j, "state", json_string(pwc_region_state_name(r)));
	json_object_set_new(j, "in_kernel", json_boolean(r->in_kernel));
	json_object_set_new(j, "kernel_why",
			    json_string(refused ? pw_err_text(r->kernel_err) : ""));
	json_object_set_new(j, "transport_why", json_string(m ? m->why : ""));
	json_object_set_new(j, "users", num(r->users));
	json_object_set_new(j, "reads", num(r->reads));
	json_object_set_new(j, "writes", num(r->writes));
	json_object_set_new(j, "read_bytes", num(r->bytes_read));
	json_object_set_new(j, "written_bytes", num(r->bytes_written));
	return j;
}

json_t *pwc_regions_json(const struct pwc_shard *sh)
{
	json_t *j, *list = json_array();
	struct pwc_peer_stats peer;

	pwc_peer_get_stats(sh->peer, &peer);
	j = regions_json(sh, &peer);
	for (uint32_t i = 0; i < PWC_REGIONS_MAX; i++)
		if (sh->regions.region[i].sm.state != PWC_REGION_FREE)
			json_array_append_new(list, region_json(&sh->regions.region[i]));
	json_object_set_new(j, "schema", json_string("pagewire.regions/1"));
	json_object_set_new(j, "dir", json_string(sh->o->dir));
	json_object_set_new(j, "regions", list);
	return j;
}

static json_t *loop_json(const struct pwc_shard *sh)
{
	struct pw_loop_stats st;
	json_t *j = json_object();

	pw_loop_get_stats(sh->loop, &st);
	json_object_set_new(j, "turns", num(st.turns));
	json_object_set_new(j, "sleeps", num(st.sleeps));
	json_object_set_new(j, "idle_polls", num(st.idle_polls));
	json_object_set_new(j, "completions", num(st.cqes));
	json_object_set_new(j, "stale_completions", num(st.stale_cqes));
	json_object_set_new(j, "submits", num(st.submits));
	return j;
}

/* Copies per payload byte: one by the kernel between application and arena, none for what lay in a
 * region as one run, and what a transport
 * had to move after a wrong guess. Operations on data move nothing themselves. */
static void set_copies(json_t *j, const struct pwc_shard *sh, const struct pwc_peer_stats *peer)
{
	const struct pwc_stats *st = &sh->stats;
	uint64_t payload = 0, kernel = 0, user = peer->conn.copied_bytes + peer->runs_copied;

	for (uint32_t i = 0; i < PWC_NR_PATHS; i++) {
		payload += st->bytes_read[i] + st->bytes_written[i];
		if (i != PWC_PATH_REG)
			kernel += st->bytes_read[i] + st->bytes_written[i];
	}
	json_object_set_new(j, "payload_bytes", num(payload));
	json_object_set_new(j, "copied_bytes", num(kernel + user));
	json_object_set_new(j, "user_copied_bytes", num(user));
}

json_t *pwc_stats_json(const struct pwc_shard *sh)
{
	const struct pwc_stats *st = &sh->stats;
	json_t *j = json_object(), *fallbacks = json_object(), *stalls = json_object();
	struct pwc_peer_stats peer;

	pwc_peer_get_stats(sh->peer, &peer);
	json_object_set_new(j, "schema", json_string("pagewire.stats/1"));
	json_object_set_new(j, "role", json_string("client"));
	json_object_set_new(j, "dir", json_string(sh->o->dir));
	json_object_set_new(j, "requests", requests_json(st));
	json_object_set_new(j, "paths", paths_json(st));
	set_copies(j, sh, &peer);
	json_object_set_new(j, "regions", regions_json(sh, &peer));
	for (uint32_t i = 0; i < PWC_NR_FALLBACKS; i++)
		json_object_set_new(fallbacks, fallback_names[i], num(st->fallbacks[i]));
	json_object_set_new(j, "fallbacks", fallbacks);
	json_object_set_new(stalls, "slot", num(peer.stall_slot));
	json_object_set_new(stalls, "dev_buf", num(sh->dev.stalls));
	json_object_set_new(j, "stalls", stalls);
	json_object_set_new(j, "interrupts", num(st->interrupts));
	json_object_set_new(j, "aborted", num(st->aborted));
	json_object_set_new(j, "forgets", num(st->forgets));
	json_object_set_new(j, "bad_requests", num(st->bad_requests));
	json_object_set_new(j, "cache_kept", num(st->cache_kept));
	json_object_set_new(j, "cache_dropped", num(st->cache_dropped));
	json_object_set_new(j, "rechecked", num(sh->recheck.asked));
	json_object_set_new(j, "recheck_changed", num(sh->recheck.changed));
	json_object_set_new(j, "node", node_json(sh));
	json_object_set_new(j, "loop", loop_json(sh));
	return j;
}
