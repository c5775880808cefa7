/* SPDX-License-Identifier: Apache-2.0 */
/* test_session.c -- a client process as the node knows it: connect, lease, goodbye, restart,
 * reclaim */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "common/err.h"
#include "common/log.h"

#include "node_fixture.h"

static uint8_t data[FX_MAX_IO];

static int setup(void **state)
{
	static struct fx f;

	fx_init(&f);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	fx_fini(*state);
	return 0;
}

static bool has_client_row(struct fx *f, uint8_t id)
{
	uint8_t client_id[16];
	struct pws_key k;

	memset(client_id, id, sizeof(client_id));
	pws_key_client(&k, client_id);
	return fx_has_row(f, &k);
}

static bool has_reply_row(struct fx *f, uint8_t id, uint16_t slot)
{
	uint8_t client_id[16];
	struct pws_key k;

	memset(client_id, id, sizeof(client_id));
	pws_key_reply(&k, client_id, slot);
	return fx_has_row(f, &k);
}

static uint64_t opens_of(struct fx *f, uint64_t ino)
{
	return pws_opens_get(&f->node->opens, ino);
}

static void test_hello__grants_what_the_node_has(void **state)
{
	struct fx *f = *state;
	struct pw_body_welcome w;
	struct pw_conn *c = fx_connect_w(f, 1, 1, 0, &w);

	assert_non_null(c);
	assert_int_equal(w.nr_slots, FX_SLOTS);
	assert_int_equal(w.max_io, FX_MAX_IO);
	assert_int_equal(w.lease_ms, FX_LEASE_MS);
	assert_int_equal(w.flags, 0);
	assert_true(has_client_row(f, 1));
}

static void test_hello__another_filesystem_is_refused(void **state)
{
	struct fx *f = *state;
	struct pw_body_hello h = { .version = 1, .version_min = 1, .role = 1, .want_slots = 4 };
	struct pw_body_welcome w;

	(void)f;
	h.fsid[0] = 9;
	assert_int_equal(fake_hello(fake_accept(), &h, &w), -EMEDIUMTYPE);
	vloop_settle(f->loop);
	assert_int_equal(fake_nr_conns(), 0);
	assert_int_equal(f->node->sessions.nr, 0);
}

static void test_hello__channel_number_out_of_range(void **state)
{
	struct fx *f = *state;
	struct pw_body_welcome w;

	assert_null(fx_connect_w(f, 1, 1, PWS_MAX_CHANNELS, &w));
	assert_int_equal(f->err, -EINVAL);
}

static void test_hello__too_many_clients(void **state)
{
	struct fx *f = *state;
	struct pw_conn *c[3];

	for (uint8_t i = 0; i < 3; i++) {
		c[i] = fx_connect(f, i + 1, 1);
		assert_non_null(c[i]);
	}
	assert_null(fx_connect(f, 4, 1));
	assert_int_equal(f->err, -EBUSY);
	/* a client that is away gives its place up, but not what it has open */
	fx_break(f, c[0]);
	assert_non_null(fx_connect(f, 4, 1));
	assert_int_equal(f->node->sessions.nr, 4);
}

/* The old connection is drained before the new one may come up: nothing of it can arrive late. */
static void test_hello__newer_connection_replaces_the_old(void **state)
{
	struct fx *f = *state;
	struct pw_conn *old = fx_connect(f, 1, 1);
	struct pw_body_welcome w;

	assert_int_equal(fake_nr_conns(), 1);
	assert_null(fx_connect(f, 1, 2));
	assert_int_equal(f->err, -EAGAIN);
	assert_int_equal(fake_nr_conns(), 0);
	(void)old;
	assert_non_null(fx_connect_w(f, 1, 3, 0, &w));
	assert_int_equal(w.flags, PW_WELCOME_SESSION_KNOWN);
}

static void test_hello__older_incarnation_is_refused(void **state)
{
	struct fx *f = *state;
	struct pw_conn *c = fx_connect(f, 1, 5);

	assert_null(fx_connect(f, 1, 4));
	assert_int_equal(f->err, -ESTALE);
	assert_true(fake_is_up(c));
	fx_break(f, c);
	assert_null(fx_connect(f, 1, 4));
	assert_int_equal(f->err, -ESTALE);
	assert_non_null(fx_connect(f, 1, 6));
}

static void test_lease__session_lives_through_a_short_break(void **state)
{
	struct fx *f = *state;
	struct pw_conn *c = fx_connect(f, 1, 1);
	uint64_t ino = fx_file(f, c, 1, "a");

	fx_break(f, c);
	vloop_advance(f->loop, (FX_LEASE_MS - 1) * PW_NS_PER_MS);
	assert_int_equal(opens_of(f, ino), 1);
	assert_non_null(fx_connect(f, 1, 2));
	vloop_advance(f->loop, 2 * FX_LEASE_MS * PW_NS_PER_MS);
	assert_int_equal(opens_of(f, ino), 1);
	assert_int_equal(f->node->sessions.resumed, 1);
}

static void test_lease__end_releases_everything(void **state)
{
	struct fx *f = *state;
	struct pw_conn *c = fx_connect(f, 1, 1);
	uint64_t ino = fx_file(f, c, 1, "a");
	struct pw_body_welcome w;

	assert_true(has_reply_row(f, 1, 1));
	fx_break(f, c);
	vloop_advance(f->loop, (FX_LEASE_MS + 1) * PW_NS_PER_MS);
	assert_int_equal(opens_of(f, ino), 0);
	assert_int_equal(f->node->sessions.nr, 0);
	assert_int_equal(f->node->sessions.expired, 1);
	assert_false(has_client_row(f, 1));
	assert_false(has_reply_row(f, 1, 1));
	/* it may come back, but nobody knows it */
	assert_non_null(fx_connect_w(f, 1, 2, 0, &w));
	assert_int_equal(w.flags, 0);
}

static void test_goodbye__ends_at_once(void **state)
{
	struct fx *f = *state;
	struct pw_conn *c = fx_connect(f, 1, 1);
	uint64_t ino = fx_file(f, c, 1, "a");

	fake_goodbye(c);
	vloop_settle(f->loop);
	assert_int_equal(opens_of(f, ino), 0);
	assert_int_equal(f->node->sessions.nr, 0);
	assert_false(has_client_row(f, 1));
	assert_int_equal(pws_bufpool_nr_free(f->bufs) + 1 + PWS_RECLAIM_JOBS,
			 pws_node_bufs_needed(FX_SLOTS, 3) + 4 * PW_MIB / FX_MAX_IO);
}

static void test_goodbye__hello_while_the_rows_go_is_told_to_come_again(void **state)
{
	struct fx *f = *state;
	struct pw_conn *c = fx_connect(f, 1, 1);
	struct pw_body_hello h = { .version = 1, .version_min = 1, .role = 1, .want_slots = 4 };
	struct pw_body_welcome w;
	struct pws_session *s;

	fx_file(f, c, 1, "a");
	fake_goodbye(c);
	memset(h.client_id, 1, sizeof(h.client_id));
	h.incarnation = 2;
	/* turn by turn, until the session is on its way out */
	for (;;) {
		vloop_turn(f->loop);
		s = pws_session_find(f->node, h.client_id);
		if (!s || s->sm.state == PWS_SESSION_ENDING)
			break;
	}
	assert_non_null(s);
	assert_int_equal(fake_hello(fake_accept(), &h, &w), -EAGAIN);
	vloop_settle(f->loop);
	assert_int_equal(f->node->sessions.nr, 0);
	assert_non_null(fx_connect(f, 1, 3));
}

/* Found by fuzzing: the table of opens was freed under a CREATE that still ran. */
static void test_goodbye__while_a_create_runs(void **state)
{
	struct fx *f = *state;
	struct pw_conn *c = fx_connect(f, 1, 1);
	const struct pws_kv_mem_faults slow = { .read_async = 1000, .delay_ns_max = PW_NS_PER_S };

	pws_kv_mem_set_faults(f->kv, &slow);
	fx_send(f, c, 1, 1, fx_create("a", 0), "a");
	fake_goodbye(c);
	vloop_settle(f->loop);
	assert_int_equal(f->node->sessions.nr, 1);
	pws_kv_mem_set_faults(f->kv, &(struct pws_kv_mem_faults){ 0 });
	vloop_advance(f->loop, 10 * PW_NS_PER_S);
	assert_int_equal(f->node->sessions.nr, 0);
	assert_int_equal(f->node->opens.total, 0);
}

static void test_restart__session_is_known_and_reclaims(void **state)
{
	struct fx *f = *state;
	struct pw_conn *c = fx_connect(f, 1, 1);
	uint64_t ino = fx_file(f, c, 1, "a");
	struct {
		uint64_t ino;
		uint32_t opens, reserved;
	} list[2] = { { ino, 3, 0 }, { 77, 1, 0 } };
	struct pw_cmd cmd;
	struct pw_body_welcome w;

	fx_restart(f);
	assert_int_equal(opens_of(f, ino), 0);
	c = fx_connect_w(f, 1, 2, 0, &w);
	assert_int_equal(w.flags, PW_WELCOME_SESSION_KNOWN);
	pw_cmd_init(&cmd, PW_MSG_REQ, PW_OP_RECLAIM);
	cmd.reclaim.nr = 2;
	cmd.reclaim.last = 1;
	cmd.payload_len = sizeof(list);
	assert_int_equal(fx_call(f, c, 1, 0, cmd, list), 0);
	assert_int_equal(opens_of(f, ino), 3);
	assert_int_equal(opens_of(f, 77), 1);
	/* the list is complete: another one changes nothing */
	list[0].opens = 9;
	assert_int_equal(fx_call(f, c, 1, 0, cmd, list), 0);
	assert_int_equal(opens_of(f, ino), 3);
}

/* A page of the list was lost with its connection: the list begins again, with the next number. */
static void test_reclaim__begins_again_after_a_lost_page(void **state)
{
	struct fx *f = *state;
	struct pw_conn *c = fx_connect(f, 1, 1);
	struct {
		uint64_t ino;
		uint32_t opens, reserved;
	} list[1] = { { 5, 2, 0 } };
	struct pw_cmd cmd;

	pw_cmd_init(&cmd, PW_MSG_REQ, PW_OP_RECLAIM);
	cmd.reclaim.nr = 1;
	cmd.payload_len = sizeof(list);
	assert_int_equal(fx_call(f, c, 1, 0, cmd, list), 0);
	fx_break(f, c);
	f->seq[1][0]++; /* never arrived */
	c = fx_connect(f, 1, 2);
	cmd.reclaim.last = 1;
	assert_int_equal(fx_call(f, c, 1, 0, cmd, list), 0);
	assert_int_equal(opens_of(f, 5), 2);
}

static void test_restart__session_that_does_not_return_expires(void **state)
{
	struct fx *f = *state;
	struct pw_conn *c = fx_connect(f, 1, 1);

	fx_file(f, c, 1, "a");
	fx_restart(f);
	assert_int_equal(f->node->sessions.nr, 1);
	vloop_advance(f->loop, (FX_LEASE_MS + 1) * PW_NS_PER_MS);
	assert_int_equal(f->node->sessions.nr, 0);
	assert_false(has_client_row(f, 1));
	assert_false(has_reply_row(f, 1, 1));
}

static void test_release__more_than_there_is(void **state)
{
	struct fx *f = *state;
	struct pw_conn *c = fx_connect(f, 1, 1);
	uint64_t ino = fx_file(f, c, 1, "a");

	assert_int_equal(fx_call(f, c, 1, 1, fx_ino(PW_OP_OPEN, ino, 0), NULL), 0);
	assert_int_equal(opens_of(f, ino), 2);
	assert_int_equal(fx_call(f, c, 1, 1, fx_ino(PW_OP_RELEASE, ino, 100), NULL), 0);
	assert_int_equal(opens_of(f, ino), 0);
	assert_int_equal(fx_call(f, c, 1, 1, fx_ino(PW_OP_RELEASE, ino, 1), NULL), 0);
}

static void test_opens__of_two_clients_are_separate(void **state)
{
	struct fx *f = *state;
	struct pw_conn *a = fx_connect(f, 1, 1), *b = fx_connect(f, 2, 1);
	uint64_t ino = fx_file(f, a, 1, "a");

	assert_int_equal(fx_call(f, b, 2, 1, fx_ino(PW_OP_OPEN, ino, 0), NULL), 0);
	assert_int_equal(opens_of(f, ino), 2);
	assert_int_equal(fx_call(f, b, 2, 1, fx_ino(PW_OP_RELEASE, ino, 5), NULL), 0);
	assert_int_equal(opens_of(f, ino), 1);
	fake_goodbye(a);
	vloop_settle(f->loop);
	assert_int_equal(opens_of(f, ino), 0);
}

static void test_channels__share_opens_but_not_slots(void **state)
{
	struct fx *f = *state;
	struct pw_body_welcome w;
	struct pw_conn *a = fx_connect_w(f, 1, 1, 0, &w), *b = fx_connect_w(f, 1, 1, 1, &w);
	uint64_t ino = fx_file(f, a, 1, "a");
	struct pw_cmd cmd = fx_ino(PW_OP_RELEASE, ino, 1);

	assert_int_equal(f->node->sessions.nr, 1);
	cmd.slot = 1;
	cmd.seq = 1;
	assert_true(fake_deliver(b, &cmd, NULL));
	assert_int_equal(fx_wait(f, b), 0);
	assert_int_equal(opens_of(f, ino), 0);
	fx_break(f, a);
	assert_int_equal(pws_session_find(f->node,
					  (const uint8_t *)"\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1")
				 ->sm.state,
			 PWS_SESSION_ACTIVE);
}

static void on_stopped(void *arg)
{
	((struct fx *)arg)->stopped = true;
}

static void test_stop__running_requests_are_answered(void **state)
{
	struct fx *f = *state;
	struct pw_conn *c = fx_connect(f, 1, 1);
	uint64_t ino = fx_file(f, c, 1, "a");

	fake_hold_sends(c, true);
	fx_send(f, c, 1, 2, fx_io(PW_OP_WRITE, ino, 0, 4096, 0), data);
	f->stopped = false;
	pws_node_stop(f->node, 1000, on_stopped);
	vloop_settle(f->loop);
	assert_true(fake_take(c, &f->rsp, NULL, 0));
	assert_int_equal(f->rsp.op, PW_OP_WRITE);
	assert_int_equal(f->rsp.status, 0);
	/* the connection is still there: the transport has the answer */
	assert_true(fake_is_up(c));
	/* what comes now does not begin: the client replays it to the next life */
	fx_send(f, c, 1, 3, fx_name(PW_OP_LOOKUP, "a"), "a");
	vloop_settle(f->loop);
	assert_false(fake_take(c, &f->rsp, NULL, 0));
	fake_hold_sends(c, false);
	vloop_settle(f->loop);
	assert_true(f->stopped);
	pws_node_free(f->node);
	f->node = NULL;
}

static void test_stop__deadline_ends_connections(void **state)
{
	struct fx *f = *state;
	struct pw_conn *c = fx_connect(f, 1, 1);

	fx_file(f, c, 1, "a");
	fake_hold_sends(c, true);
	fx_send(f, c, 1, 2, fx_name(PW_OP_LOOKUP, "a"), "a");
	vloop_settle(f->loop);
	f->stopped = false;
	pws_node_stop(f->node, 1000, on_stopped);
	vloop_advance(f->loop, 999 * PW_NS_PER_MS);
	assert_false(f->stopped);
	vloop_advance(f->loop, 2 * PW_NS_PER_MS);
	assert_true(f->stopped);
	pws_node_free(f->node);
	f->node = NULL;
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_hello__grants_what_the_node_has),
		T(test_hello__another_filesystem_is_refused),
		T(test_hello__channel_number_out_of_range),
		T(test_hello__too_many_clients),
		T(test_hello__newer_connection_replaces_the_old),
		T(test_hello__older_incarnation_is_refused),
		T(test_lease__session_lives_through_a_short_break),
		T(test_lease__end_releases_everything),
		T(test_goodbye__ends_at_once),
		T(test_goodbye__hello_while_the_rows_go_is_told_to_come_again),
		T(test_goodbye__while_a_create_runs),
		T(test_restart__session_is_known_and_reclaims),
		T(test_reclaim__begins_again_after_a_lost_page),
		T(test_restart__session_that_does_not_return_expires),
		T(test_release__more_than_there_is),
		T(test_opens__of_two_clients_are_separate),
		T(test_channels__share_opens_but_not_slots),
		T(test_stop__running_requests_are_answered),
		T(test_stop__deadline_ends_connections),
	};

	pw_log_init("test");
	pw_log_set_level(PW_LOG_ERR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
