/* SPDX-License-Identifier: Apache-2.0 */
/* test_node_places.c -- the node with clients that write payloads to its buffers themselves, as
 * over RDMA
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "node_fixture.h"

static uint8_t data[FX_MAX_IO];

static int setup(void **state)
{
	static struct fx f;

	for (uint32_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7 + i / 256);
	fake_places(true);
	fx_init(&f);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	fx_fini(*state);
	fake_places(false);
	return 0;
}

static uint64_t size_of(struct fx *f, struct pw_conn *c, uint64_t ino)
{
	assert_int_equal(fx_call(f, c, 1, 1, fx_ino(PW_OP_GETATTR, ino, 0), NULL), 0);
	return f->rsp.attr.attr.size;
}

static void check_read(struct fx *f, struct pw_conn *c, uint64_t ino)
{
	assert_int_equal(fx_call(f, c, 1, 1, fx_io(PW_OP_READ, ino, 0, FX_MAX_IO, 0), NULL), 0);
	assert_int_equal(f->rsp.payload_len, FX_MAX_IO);
	assert_memory_equal(f->out, data, FX_MAX_IO);
}

static void test_write__whole_unit_waits_until_its_client_lets_go(void **state)
{
	struct fx *f = *state;
	struct pw_conn *c;
	uint8_t *slot;
	uint64_t ino;

	c = fx_connect(f, 1, 1);
	ino = fx_file(f, c, 1, "f");
	slot = fake_granted(c, 2);
	assert_non_null(slot);
	fake_hold_revokes(c, true);
	fx_send(f, c, 1, 2, fx_io(PW_OP_WRITE, ino, 0, FX_MAX_IO, 0), data);
	assert_int_equal(fx_wait(f, c), -ENOMSG);
	assert_int_equal(size_of(f, c, ino), 0);
	/* what is copied needs no proof */
	assert_int_equal(fx_call(f, c, 1, 3, fx_io(PW_OP_WRITE, ino, FX_MAX_IO, 100, 0), data), 0);
	fake_hold_revokes(c, false);
	assert_int_equal(fx_wait(f, c), 0);
	/* another buffer, and what is written there is nobody's yet */
	assert_non_null(fake_granted(c, 2));
	assert_ptr_not_equal(fake_granted(c, 2), slot);
	memset(fake_granted(c, 2), 0x5a, FX_MAX_IO);
	check_read(f, c, ino);
}

static void test_write__connection_ends_before_its_client_lets_go(void **state)
{
	struct fx *f = *state;
	struct pw_conn *c;
	struct pw_cmd cmd;
	uint64_t ino;

	c = fx_connect(f, 1, 1);
	ino = fx_file(f, c, 1, "f");
	fake_hold_revokes(c, true);
	cmd = fx_send(f, c, 1, 2, fx_io(PW_OP_WRITE, ino, 0, FX_MAX_IO, 0), data);
	assert_int_equal(fx_wait(f, c), -ENOMSG);
	fx_break(f, c);
	c = fx_connect(f, 1, 2);
	assert_true(fake_deliver(c, &cmd, data));
	assert_int_equal(fx_wait(f, c), 0);
	check_read(f, c, ino);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_write__whole_unit_waits_until_its_client_lets_go),
		T(test_write__connection_ends_before_its_client_lets_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
