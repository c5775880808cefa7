/* SPDX-License-Identifier: Apache-2.0 */
/* test_node_tcp.c -- the whole node over loopback TCP, in this process: io_uring, LMDB, a real
 * directory */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/log.h"
#include "common/random.h"
#include "common/uring.h"
#include "storage_node/data_dir.h"
#include "storage_node/node.h"

#include "raw_client.h"

#define MIB	    (1u << 20)
#define PATIENCE_NS (20 * PW_NS_PER_S)

struct ctx {
	struct pw_loop *loop;
	char dir[64];
	struct pws_node_config config;
	struct pws_data data;
	struct pws_node *node;
	bool done;
	int err;
	struct raw_client client;
	uint8_t *a, *b; /* 1 MiB each */
};

/* Running the loop until something has happened. */

struct watch {
	struct pw_loop *loop;
	const bool *flag;
	struct pw_ready ready;
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

static bool run_until(struct pw_loop *loop, const bool *flag)
{
	struct watch w = { .loop = loop, .flag = flag };

	if (*flag)
		return true;
	pw_timer_init(&w.tick, on_tick);
	pw_timer_init(&w.patience, on_late);
	pw_timer_arm(loop, &w.tick, 0);
	pw_timer_arm(loop, &w.patience, pw_loop_now(loop) + PATIENCE_NS);
	assert_int_equal(pw_loop_run(loop), 0);
	pw_timer_cancel(loop, &w.tick);
	pw_timer_cancel(loop, &w.patience);
	return !w.late;
}

static void on_ready(void *arg, int err)
{
	struct ctx *c = arg;

	c->err = err;
	c->done = true;
}

static void on_node_stopped(void *arg)
{
	((struct ctx *)arg)->done = true;
}

static void on_data_stopped(void *arg, int err)
{
	on_ready(arg, err);
}

static void start_node(struct ctx *c)
{
	const struct pws_node_config *conf = &c->config;
	struct pws_refusal why;
	struct pws_node_opts o = {
		.max_io = MIB,
		.slots = conf->slots,
		.max_clients = conf->max_clients,
		.lease_ms = 1000,
		.host = "127.0.0.1",
	};

	if (pws_data_open(&c->data, c->loop, conf, &why))
		fail_msg("%s", why.text);
	o.kv = c->data.kv;
	o.store = c->data.store;
	o.bufs = c->data.bufs;
	memcpy(o.id.fsid, c->data.sb.fsid, 16);
	memcpy(o.id.id, c->data.sb.node_id, 16);
	memcpy(o.sip_key, c->data.sb.sip_key, 16);
	assert_int_equal(pws_node_new(c->loop, &o, &c->node), 0);
	c->done = false;
	pws_node_start(c->node, on_ready, c);
	assert_true(run_until(c->loop, &c->done));
	assert_int_equal(c->err, 0);
	assert_int_equal(pws_data_formatted(&c->data, &why), 0);
}

static void stop_node(struct ctx *c)
{
	c->done = false;
	pws_node_stop(c->node, 5000, on_node_stopped);
	assert_true(run_until(c->loop, &c->done));
	c->done = false;
	pws_data_stop(&c->data, on_data_stopped, c);
	assert_true(run_until(c->loop, &c->done));
	assert_int_equal(c->err, 0);
	pws_node_free(c->node);
	pws_data_close(&c->data);
}

static void setup_kind(struct ctx *c, enum pws_store_kind kind)
{
	const struct pw_loop_opts lo = { .sq_entries = 256, .max_ios = 1024 };
	struct pws_refusal why;
	struct pw_config conf;
	int err;

	memset(c, 0, sizeof(*c));
	snprintf(c->dir, sizeof(c->dir), "/tmp/pw-test-XXXXXX");
	assert_non_null(mkdtemp(c->dir));
	pw_config_init(&conf, &pws_node_config_table, &c->config);
	snprintf(c->config.dir, sizeof(c->config.dir), "%s", c->dir);
	c->config.store = kind;
	c->config.slots = 20;
	c->config.max_clients = 2;
	c->config.journal = 16 * PW_MIB;
	c->config.index_map = 64 * PW_MIB;
	c->config.memory = 64 * PW_MIB;
	assert_int_equal(pws_node_config_finish(&c->config, &why), 0);
	err = pw_loop_new(&c->loop, &lo);
	if (err == -EPERM || err == -ENOSYS)
		skip();
	assert_int_equal(err, 0);
	c->a = malloc(MIB);
	c->b = malloc(MIB);
	pw_random_bytes(c->a, MIB);
	raw_init(&c->client, c->loop, 1, run_until);
	start_node(c);
	assert_int_equal(raw_connect(&c->client, "127.0.0.1", pws_node_port(c->node)), 0);
}

static void teardown(struct ctx *c)
{
	char cmd[128];

	raw_close(&c->client, true);
	stop_node(c);
	raw_fini(&c->client);
	pw_loop_free(c->loop);
	free(c->a);
	free(c->b);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", c->dir);
	assert_int_equal(system(cmd), 0);
}

static void check_read(struct ctx *c, uint64_t ino, uint64_t off, const uint8_t *want, uint32_t len)
{
	uint32_t got;

	memset(c->b, 0x5a, len);
	assert_int_equal(raw_read(&c->client, ino, off, c->b, len, &got), 0);
	assert_int_equal(got, len);
	assert_memory_equal(c->b, want, len);
}

static void restart(struct ctx *c)
{
	stop_node(c);
	assert_true(run_until(c->loop, &c->client.down));
	start_node(c);
	assert_int_equal(raw_connect(&c->client, "127.0.0.1", pws_node_port(c->node)), 0);
}

static void thin_path(struct ctx *c)
{
	struct raw_client *cl = &c->client;
	struct pw_attr attr, found;
	uint32_t got;

	assert_int_equal(raw_lookup(cl, 1, "file", &attr), -ENOENT);
	assert_int_equal(raw_create(cl, 1, "file", 0, &attr), 0);
	assert_int_equal(raw_write(cl, attr.ino, 0, c->a, MIB, 0, NULL), 0);
	assert_int_equal(raw_write(cl, attr.ino, MIB + 100, c->a, 5000, 0, NULL), 0);
	assert_int_equal(raw_lookup(cl, 1, "file", &found), 0);
	assert_int_equal(found.ino, attr.ino);
	assert_int_equal(found.size, MIB + 5100);
	check_read(c, attr.ino, 0, c->a, MIB);
	check_read(c, attr.ino, MIB + 100, c->a, 5000);
	/* past the end: short, then nothing */
	assert_int_equal(raw_read(cl, attr.ino, MIB + 5000, c->b, 4096, &got), 0);
	assert_int_equal(got, 100);
	assert_int_equal(raw_read(cl, attr.ino, 2 * MIB, c->b, 4096, &got), 0);
	assert_int_equal(got, 0);
	assert_int_equal(raw_fsync(cl, attr.ino), 0);
}

static void test_chunk__create_write_restart_read(void **state)
{
	struct pw_attr attr;
	struct ctx c;

	(void)state;
	setup_kind(&c, PWS_STORE_CHUNK);
	thin_path(&c);
	restart(&c);
	assert_true(c.client.welcome.flags & PW_WELCOME_SESSION_KNOWN);
	assert_int_equal(raw_lookup(&c.client, 1, "file", &attr), 0);
	assert_int_equal(attr.size, MIB + 5100);
	check_read(&c, attr.ino, 0, c.a, MIB);
	check_read(&c, attr.ino, MIB + 100, c.a, 5000);
	memset(c.a, 0, 100);
	check_read(&c, attr.ino, MIB, c.a, 100);
	teardown(&c);
}

static void test_memory__create_write_read(void **state)
{
	struct ctx c;

	(void)state;
	setup_kind(&c, PWS_STORE_MEMORY);
	thin_path(&c);
	teardown(&c);
}

static struct ctx *look_ctx;
static struct pw_timer look_timer;

static void look_for_reclaim(struct pw_timer *t)
{
	if (look_ctx->node->reclaim.reclaimed_inodes)
		look_ctx->done = true;
	else
		pw_timer_arm(look_ctx->loop, t, pw_loop_now(look_ctx->loop) + PW_NS_PER_MS);
}

static void test_chunk__truncate_and_unlink_give_back(void **state)
{
	struct pws_store_space before, after;
	struct pw_attr attr;
	struct ctx c;

	(void)state;
	setup_kind(&c, PWS_STORE_CHUNK);
	assert_int_equal(raw_create(&c.client, 1, "f", 0, &attr), 0);
	assert_int_equal(raw_write(&c.client, attr.ino, 0, c.a, MIB, 0, NULL), 0);
	assert_int_equal(raw_truncate(&c.client, attr.ino, 1000), 0);
	assert_int_equal(raw_truncate(&c.client, attr.ino, 3000), 0);
	memset(c.a + 1000, 0, 2000);
	check_read(&c, attr.ino, 0, c.a, 3000);
	c.data.store->ops->space(c.data.store, &before);
	assert_int_equal(raw_unlink(&c.client, 1, "f"), 0);
	/* still open: still readable */
	check_read(&c, attr.ino, 0, c.a, 3000);
	assert_int_equal(raw_release(&c.client, attr.ino, 1), 0);
	/* in the grace period after a start nothing is reclaimed; then it is */
	c.done = false;
	pw_timer_init(&look_timer, look_for_reclaim);
	look_ctx = &c;
	pw_timer_arm(c.loop, &look_timer, 0);
	assert_true(run_until(c.loop, &c.done));
	c.data.store->ops->space(c.data.store, &after);
	assert_int_equal(raw_getattr(&c.client, attr.ino, &attr), -ESTALE);
	teardown(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_chunk__create_write_restart_read),
		cmocka_unit_test(test_memory__create_write_read),
		cmocka_unit_test(test_chunk__truncate_and_unlink_give_back),
	};

	pw_log_init("test");
	pw_log_set_level(PW_LOG_WARN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
