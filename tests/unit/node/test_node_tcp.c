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

#include "tcp_rig.h"

#define MIB (1u << 20)

struct ctx {
	struct tcp_rig r;
	uint8_t *a, *b; /* 1 MiB each */
};

static void start_node(struct ctx *c)
{
	if (rig_up(&c->r))
		fail_msg("%s", c->r.why.text);
}

static void setup_kind(struct ctx *c, enum pws_store_kind kind)
{
	int err = rig_init(&c->r, kind);

	if (err == -EPERM || err == -ENOSYS)
		skip();
	assert_int_equal(err, 0);
	c->a = malloc(MIB);
	c->b = malloc(MIB);
	pw_random_bytes(c->a, MIB);
	start_node(c);
	assert_int_equal(rig_connect(&c->r), 0);
}

static void teardown(struct ctx *c)
{
	raw_close(&c->r.client, true);
	assert_int_equal(rig_down(&c->r), 0);
	rig_fini(&c->r);
	free(c->a);
	free(c->b);
}

static void check_read(struct ctx *c, uint64_t ino, uint64_t off, const uint8_t *want, uint32_t len)
{
	uint32_t got;

	memset(c->b, 0x5a, len);
	assert_int_equal(raw_read(&c->r.client, ino, off, c->b, len, &got), 0);
	assert_int_equal(got, len);
	assert_memory_equal(c->b, want, len);
}

static void restart(struct ctx *c)
{
	assert_int_equal(rig_down(&c->r), 0);
	assert_true(rig_run_until(c->r.loop, &c->r.client.down));
	start_node(c);
	assert_int_equal(rig_connect(&c->r), 0);
}

static void thin_path(struct ctx *c)
{
	struct raw_client *cl = &c->r.client;
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
	assert_true(c.r.client.welcome.flags & PW_WELCOME_SESSION_KNOWN);
	assert_int_equal(raw_lookup(&c.r.client, 1, "file", &attr), 0);
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

static uint64_t moved_bytes(const struct ctx *c)
{
	const struct pws_session *s = pw_list_first(&c->r.node->sessions.all, struct pws_session,
						    node);
	const struct pws_channel *ch = pw_list_first(&s->channels, struct pws_channel, node);
	struct pw_conn_stats st;

	pw_conn_get_stats(ch->conn, &st);
	return st.copied_bytes;
}

/* They come in with their commands, into a buffer that then becomes the slot's. */
static void test_chunk__small_writes_land_where_they_stay(void **state)
{
	struct pw_attr attr;
	uint64_t moved = 0;
	struct ctx c;

	(void)state;
	setup_kind(&c, PWS_STORE_CHUNK);
	assert_int_equal(raw_create(&c.r.client, 1, "file", 0, &attr), 0);
	for (uint32_t i = 0; i < 16; i++) {
		assert_int_equal(raw_write(&c.r.client, attr.ino, i * 4096, c.a + i * 4096, 4096, 0,
					   NULL), 0);
		/* nobody could expect the first one */
		if (!i)
			moved = moved_bytes(&c);
	}
	assert_int_equal(moved_bytes(&c), moved);
	/* after other messages, larger payloads and unaligned ones the guess is none or wrong */
	check_read(&c, attr.ino, 0, c.a, 16 * 4096);
	for (uint32_t i = 0; i < 8; i++) {
		uint32_t off = i * 9000, len = i % 2 ? 4096 : 8999;

		assert_int_equal(raw_write(&c.r.client, attr.ino, off, c.a + off, len, 0, NULL), 0);
		check_read(&c, attr.ino, off, c.a + off, len);
	}
	assert_int_equal(raw_write(&c.r.client, attr.ino, 0, c.a, MIB, 0, NULL), 0);
	check_read(&c, attr.ino, 0, c.a, MIB);
	teardown(&c);
}

static struct ctx *look_ctx;
static struct pw_timer look_timer;

static void look_for_reclaim(struct pw_timer *t)
{
	if (look_ctx->r.node->reclaim.reclaimed_inodes)
		look_ctx->r.done = true;
	else
		pw_timer_arm(look_ctx->r.loop, t, pw_loop_now(look_ctx->r.loop) + PW_NS_PER_MS);
}

static void test_chunk__truncate_and_unlink_give_back(void **state)
{
	struct pws_store_space before, after;
	struct pw_attr attr;
	struct ctx c;

	(void)state;
	setup_kind(&c, PWS_STORE_CHUNK);
	assert_int_equal(raw_create(&c.r.client, 1, "f", 0, &attr), 0);
	assert_int_equal(raw_write(&c.r.client, attr.ino, 0, c.a, MIB, 0, NULL), 0);
	assert_int_equal(raw_truncate(&c.r.client, attr.ino, 1000), 0);
	assert_int_equal(raw_truncate(&c.r.client, attr.ino, 3000), 0);
	memset(c.a + 1000, 0, 2000);
	check_read(&c, attr.ino, 0, c.a, 3000);
	c.r.data.store->ops->space(c.r.data.store, &before);
	assert_int_equal(raw_unlink(&c.r.client, 1, "f"), 0);
	/* still open: still readable */
	check_read(&c, attr.ino, 0, c.a, 3000);
	assert_int_equal(raw_release(&c.r.client, attr.ino, 1), 0);
	/* in the grace period after a start nothing is reclaimed; then it is */
	c.r.done = false;
	pw_timer_init(&look_timer, look_for_reclaim);
	look_ctx = &c;
	pw_timer_arm(c.r.loop, &look_timer, 0);
	assert_true(rig_run_until(c.r.loop, &c.r.done));
	c.r.data.store->ops->space(c.r.data.store, &after);
	assert_int_equal(raw_getattr(&c.r.client, attr.ino, &attr), -ESTALE);
	teardown(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_chunk__create_write_restart_read),
		cmocka_unit_test(test_chunk__small_writes_land_where_they_stay),
		cmocka_unit_test(test_memory__create_write_read),
		cmocka_unit_test(test_chunk__truncate_and_unlink_give_back),
	};

	pw_log_init("test");
	pw_log_set_level(PW_LOG_WARN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
