/* SPDX-License-Identifier: Apache-2.0 */
/* tcp_rig.c -- see tcp_rig.h */
#include "tcp_rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"

#define PATIENCE_NS (30 * PW_NS_PER_S)

struct watch {
	struct pw_loop *loop;
	const bool *flag;
	struct pw_timer tick, patience;
	bool late;
};

static void on_tick(struct pw_timer *t)
{
	struct watch *w = pw_container_of(t, struct watch, tick);

	if (*w->flag)
		pw_loop_stop(w->loop);
	else
		pw_timer_arm(w->loop, &w->tick, pw_loop_now(w->loop) + PW_NS_PER_MS / 10);
}

static void on_late(struct pw_timer *t)
{
	struct watch *w = pw_container_of(t, struct watch, patience);

	w->late = true;
	pw_loop_stop(w->loop);
}

bool rig_run_until(struct pw_loop *loop, const bool *flag)
{
	struct watch w = { .loop = loop, .flag = flag };

	if (*flag)
		return true;
	pw_timer_init(&w.tick, on_tick);
	pw_timer_init(&w.patience, on_late);
	pw_timer_arm(loop, &w.tick, 0);
	pw_timer_arm(loop, &w.patience, pw_loop_now(loop) + PATIENCE_NS);
	if (pw_loop_run(loop))
		w.late = true;
	pw_timer_cancel(loop, &w.tick);
	pw_timer_cancel(loop, &w.patience);
	return !w.late;
}

static void on_done(void *arg, int err)
{
	struct tcp_rig *r = arg;

	r->err = err;
	r->done = true;
}

static void on_node_stopped(void *arg)
{
	on_done(arg, 0);
}

static int wait_done(struct tcp_rig *r)
{
	return rig_run_until(r->loop, &r->done) ? r->err : -ETIMEDOUT;
}

int rig_init(struct tcp_rig *r, enum pws_store_kind kind)
{
	const struct pw_loop_opts lo = { .sq_entries = 256, .max_ios = 1024 };
	struct pw_config conf;
	int err;

	memset(r, 0, sizeof(*r));
	r->data.lock_fd = -1;
	err = pw_loop_new(&r->loop, &lo);
	if (err)
		return err;
	snprintf(r->dir, sizeof(r->dir), "/tmp/pw-test-XXXXXX");
	if (!mkdtemp(r->dir))
		return -EIO;
	pw_config_init(&conf, &pws_node_config_table, &r->config);
	snprintf(r->config.dir, sizeof(r->config.dir), "%s", r->dir);
	r->config.store = kind;
	r->config.slots = 20;
	r->config.max_clients = 2;
	r->config.journal = 16 * PW_MIB;
	r->config.index_map = 64 * PW_MIB;
	r->config.memory = 64 * PW_MIB;
	if (pws_node_config_finish(&r->config, &r->why))
		return -EINVAL;
	return raw_init(&r->client, r->loop, 1, rig_run_until);
}

static int make_node(struct tcp_rig *r)
{
	struct pws_node_opts o = {
		.max_io = RIG_MAX_IO,
		.slots = r->config.slots,
		.max_clients = r->config.max_clients,
		.lease_ms = RIG_LEASE_MS,
		.host = "127.0.0.1",
		.kv = r->data.kv,
		.store = r->data.store,
		.bufs = r->data.bufs,
	};

	memcpy(o.id.fsid, r->data.sb.fsid, 16);
	memcpy(o.id.id, r->data.sb.node_id, 16);
	memcpy(o.sip_key, r->data.sb.sip_key, 16);
	return pws_node_new(r->loop, &o, &r->node);
}

static int stop_data(struct tcp_rig *r)
{
	int err;

	r->done = false;
	pws_data_stop(&r->data, on_done, r);
	err = wait_done(r);
	pws_node_free(r->node);
	r->node = NULL;
	pws_data_close(&r->data);
	return err;
}

int rig_down(struct tcp_rig *r)
{
	int err;

	if (!r->node)
		return 0;
	r->done = false;
	pws_node_stop(r->node, 5000, on_node_stopped);
	err = wait_done(r);
	return err ? err : stop_data(r);
}

int rig_up(struct tcp_rig *r)
{
	int err;

	if (pws_data_open(&r->data, r->loop, &r->config, &r->why)) {
		pws_data_close(&r->data);
		return -EIO;
	}
	err = make_node(r);
	if (err) {
		stop_data(r);
		return err;
	}
	r->done = false;
	pws_node_start(r->node, on_done, r);
	err = wait_done(r);
	if (!err && pws_data_formatted(&r->data, &r->why))
		err = -EIO;
	if (err)
		rig_down(r);
	return err;
}

int rig_connect(struct tcp_rig *r)
{
	return raw_connect(&r->client, "127.0.0.1", pws_node_port(r->node));
}

void rig_fini(struct tcp_rig *r)
{
	char cmd[128];

	if (r->client.conn)
		raw_fini(&r->client);
	pw_loop_free(r->loop);
	if (!*r->dir)
		return;
	snprintf(cmd, sizeof(cmd), "rm -rf %s", r->dir);
	if (system(cmd))
		fprintf(stderr, "%s: left behind\n", r->dir);
}
