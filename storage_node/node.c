/* SPDX-License-Identifier: Apache-2.0 */
/* node.c -- start, stop, and the wires between the parts of a node
 *
 *	start:  format if empty -> sessions of the life before -> listen -> reclaimer -> on_ready
 *	stop:   no new connection, no new request -> running requests end and are answered
 *	        -> connections end -> reclaimer and sessions have nothing in flight -> on_stopped
 */
#include "storage_node/node.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/fault.h"
#include "common/log.h"
#include "common/random.h"
#include "storage_node/channel.h"

/* Kept free so that deletes, which write index rows and copies of last blocks, always find room:
 * this much, or a sixteenth where that is less. */
#define RESERVE_BYTES (8 * PW_MIB)
/* Buffers beyond those of the slots: for requests that came early, and for the store's own use. */
#define SPARE_BUFS    16u
#define MAX_IO_MIN    4096u

uint32_t pws_node_buf_bytes(uint32_t max_io)
{
	return max_io + 2 * PWS_BLOCK;
}

uint32_t pws_node_bufs_needed(uint32_t slots, uint32_t max_clients)
{
	return slots * max_clients + 1 + PWS_RECLAIM_JOBS + SPARE_BUFS;
}

/* What metadata asks about space ------------------------------------------------------------ */

static uint64_t usable(struct pws_node *n, uint64_t *ret_total)
{
	struct pws_store_space sp;
	uint64_t reserve;

	n->store->ops->space(n->store, &sp);
	reserve = PW_MIN(RESERVE_BYTES, sp.total / 16);
	*ret_total = sp.total;
	return sp.free > reserve ? sp.free - reserve : 0;
}

static void space(void *arg, uint64_t *ret_total, uint64_t *ret_free)
{
	*ret_free = usable(arg, ret_total);
}

static bool has_room(void *arg)
{
	struct pws_node *n = arg;
	uint64_t total;

	return usable(n, &total) && n->kv->ops->has_room(n->kv);
}

/* Start ------------------------------------------------------------------------------------- */

static void ready(struct pws_node *n, int err)
{
	void (*on_ready)(void *arg, int err) = n->on_ready;

	n->on_ready = NULL;
	n->starting = false;
	on_ready(n->arg, err);
}

static void load_sessions(struct pws_node *n)
{
	int err = pws_sessions_load(n, &n->fetch);

	if (err == -EINPROGRESS)
		return;
	if (!err)
		err = pws_listen_open(n);
	/* a C row is older than all that its client has open (but where none could be written):
	 * without one nobody can come back */
	if (!err)
		pws_reclaim_start(&n->reclaim, n->sessions.nr ? n->lease_ms : 0);
	ready(n, err);
}

static void on_fetched(struct pws_kv_fetch *f)
{
	load_sessions(pw_container_of(f, struct pws_node, fetch));
}

static int format_attempt(struct pws_txn *t)
{
	struct pws_node *n = pw_container_of(t, struct pws_node, txn);

	return pws_meta_format_attempt(t, (int64_t)pw_loop_realtime(n->loop));
}

static void formatted(struct pws_txn *t, int err)
{
	struct pws_node *n = pw_container_of(t, struct pws_node, txn);

	if (err)
		ready(n, err);
	else
		load_sessions(n);
}

void pws_node_start(struct pws_node *n, void (*on_ready)(void *arg, int err), void *arg)
{
	assert(!n->starting && !pws_listen_is_open(n));
	n->starting = true;
	n->on_ready = on_ready;
	n->arg = arg;
	pws_txn_start(&n->txn, format_attempt, formatted);
}

/* Stop -------------------------------------------------------------------------------------- */

static bool is_idle(const struct pws_node *n)
{
	const struct pw_list *pos;

	if (n->nr_busy || !pw_list_empty(&n->guests) || !pws_reclaim_idle(&n->reclaim))
		return false;
	pw_list_for_each(pos, &n->sessions.all)
		if (pw_list_entry(pos, struct pws_session, node)->txn_busy)
			return false;
	return true;
}

/* Not from within whoever noticed: it may be one of the things that end now. */
static void on_stop_ready(struct pw_ready *r)
{
	struct pws_node *n = pw_container_of(r, struct pws_node, stop_ready);

	if (!n->nr_busy)
		pws_guests_fail(n, -ECANCELED, "this node is stopping");
	if (!is_idle(n))
		return;
	pw_timer_cancel(n->loop, &n->stop_timer);
	n->stopped = true;
	n->on_stopped(n->arg);
}

static void on_stop_deadline(struct pw_timer *t)
{
	struct pws_node *n = pw_container_of(t, struct pws_node, stop_timer);

	pw_log_warn("node: %u requests still run, their connections end now", n->nr_busy);
	pws_guests_fail(n, -ECANCELED, "this node is stopping");
}

void pws_node_idle_check(struct pws_node *n)
{
	if (n->stopping && !n->stopped)
		pw_loop_ready(n->loop, &n->stop_ready);
}

void pws_node_stop(struct pws_node *n, uint32_t deadline_ms, void (*on_stopped)(void *arg))
{
	assert(!n->starting && !n->stopping);
	n->stopping = true;
	n->on_stopped = on_stopped;
	pws_listen_close(n);
	pws_reclaim_stop(&n->reclaim);
	pws_sessions_stop(n);
	pw_timer_arm(n->loop, &n->stop_timer, pw_loop_now(n->loop) + deadline_ms * PW_NS_PER_MS);
	pw_loop_ready(n->loop, &n->stop_ready);
}

/* Life -------------------------------------------------------------------------------------- */

static int check_opts(const struct pws_node_opts *o)
{
	if (o->max_io < MAX_IO_MIN || o->max_io > PW_MAX_IO || o->max_io % PWS_BLOCK)
		return -EINVAL;
	if (o->slots < 2 || o->slots > PW_MAX_SLOTS || !o->max_clients || !o->lease_ms)
		return -EINVAL;
	if (!*o->host || strlen(o->host) >= PWS_HOST_MAX || o->nr_more >= PWS_LISTEN_MAX)
		return -EINVAL;
	if (pws_bufpool_nr_free(o->bufs) < 1 + PWS_RECLAIM_JOBS + 2)
		return -EINVAL;
	return 0;
}

static void init(struct pws_node *n, struct pw_loop *loop, const struct pws_node_opts *o)
{
	n->loop = loop;
	n->id = o->id;
	n->kv = o->kv;
	n->store = o->store;
	n->bufs = o->bufs;
	n->max_io = o->max_io;
	n->slots = o->slots;
	n->max_clients = o->max_clients;
	n->lease_ms = o->lease_ms;
	n->conn_opts = o->conn;
	strcpy(n->listen.addr[0].at.host, o->host);
	n->listen.addr[0].at.port = o->port;
	for (uint32_t i = 0; i < o->nr_more; i++)
		n->listen.addr[1 + i].at = o->more[i];
	n->listen.nr = 1 + o->nr_more;
	n->transports = o->transports;
	n->starts = o->starts;
	if (!n->starts.boot[0])
		n->starts.boot[0] = pw_random_u64();
	memcpy(n->meta.sip_key, o->sip_key, sizeof(n->meta.sip_key));
	n->meta.space = space;
	n->meta.has_room = has_room;
	n->meta.arg = n;
	n->fetch.done = on_fetched;
	pw_list_init(&n->fetch.node);
	pw_list_init(&n->appends);
	pw_list_init(&n->guests);
	pws_sessions_init(&n->sessions);
	pws_opens_init(&n->opens);
	pws_txn_init(&n->txn, n->kv);
	pw_timer_init(&n->stop_timer, on_stop_deadline);
	pw_ready_init(&n->stop_ready, on_stop_ready);
}

int pws_node_new(struct pw_loop *loop, const struct pws_node_opts *o, struct pws_node **ret)
{
	struct pws_node *n;
	int err = check_opts(o);

	if (err)
		return err;
	err = PW_FAULT_ERR("node.alloc", -ENOMEM);
	n = err ? NULL : calloc(1, sizeof(*n));
	if (!n)
		return -ENOMEM;
	init(n, loop, o);
	err = pws_reclaim_init(&n->reclaim, n);
	if (err)
		goto free_node;
	n->sink = pws_buf_get(n->bufs);
	*ret = n;
	return 0;

free_node:
	pws_txn_fini(&n->txn);
	free(n);
	return -ENOMEM;
}

void pws_node_free(struct pws_node *n)
{
	if (!n)
		return;
	pws_listen_close(n);
	pw_timer_cancel(n->loop, &n->stop_timer);
	pw_ready_cancel(&n->stop_ready);
	pws_sessions_fini(n);
	pws_reclaim_fini(&n->reclaim);
	pws_opens_fini(&n->opens);
	pws_buf_put(n->bufs, n->sink);
	pws_txn_fini(&n->txn);
	free(n);
}

uint16_t pws_node_port(const struct pws_node *n)
{
	return pws_listen_port(n);
}
