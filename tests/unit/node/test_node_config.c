/* SPDX-License-Identifier: Apache-2.0 */
/* test_node_config.c -- section [node]: defaults, good values, and the sentence for each bad one */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/log.h"
#include "storage_node/node_config.h"

struct ctx {
	struct pw_config c;
	struct pws_node_config n;
	struct pws_refusal why;
	char err[600];
};

static struct ctx ctx;

static int load(const char *text)
{
	FILE *f = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
	int err;

	pw_config_init(&ctx.c, &pws_node_config_table, &ctx.n);
	err = pw_config_load_stream(&ctx.c, f, "test.conf", ctx.err, sizeof(ctx.err));
	fclose(f);
	return err ? err : pws_node_config_finish(&ctx.n, &ctx.why);
}

static void test_defaults__are_complete(void **state)
{
	(void)state;
	assert_int_equal(load("[node]\n"), 0);
	assert_string_equal(ctx.n.at[0].host, "127.0.0.1");
	assert_int_equal(ctx.n.at[0].port, 7470);
	assert_int_equal(ctx.n.interval_ns, 0);
	assert_string_equal(ctx.n.control, "/var/lib/pagewire/control.sock");
	assert_int_equal(ctx.n.store, PWS_STORE_CHUNK);
	assert_false(ctx.n.have_fsid);
	assert_int_equal(ctx.n.lease, 45 * PW_NS_PER_S);
}

static void test_values__are_understood(void **state)
{
	(void)state;
	assert_int_equal(
		load("[client]\nwhatever = 1\n[node]\nlisten = [::1]:99\nstore = null\n"
		     "durability = interval:20\nmax_io = 4MiB\nlease = 10s\n"
		     "fsid = 00112233-4455-6677-8899-aabbccddeeff\ncontrol = /run/x.sock\n"),
		0);
	assert_string_equal(ctx.n.at[0].host, "::1");
	assert_int_equal(ctx.n.at[0].port, 99);
	assert_int_equal(ctx.n.store, PWS_STORE_NULL);
	assert_int_equal(ctx.n.interval_ns, 20 * PW_NS_PER_MS);
	assert_int_equal(ctx.n.max_io, 4 * PW_MIB);
	assert_true(ctx.n.have_fsid);
	assert_int_equal(ctx.n.fsid_bytes[15], 0xff);
	assert_string_equal(ctx.n.control, "/run/x.sock");
	assert_int_equal(load("[node]\nlisten = 10.0.0.1:7470, [fd00::1]:7471,10.0.1.1:7472\n"), 0);
	assert_int_equal(ctx.n.nr_at, 3);
	assert_string_equal(ctx.n.at[1].host, "fd00::1");
	assert_string_equal(ctx.n.at[2].host, "10.0.1.1");
	assert_int_equal(ctx.n.at[2].port, 7472);
	assert_int_equal(load("[node]\ndurability = interval:2s\n"), 0);
	assert_int_equal(ctx.n.interval_ns, 2 * PW_NS_PER_S);
}

static void check_bad(const char *line, const char *want)
{
	char text[200];

	snprintf(text, sizeof(text), "[node]\n%s\n", line);
	ctx.err[0] = ctx.why.text[0] = 0;
	assert_int_not_equal(load(text), 0);
	if (!strstr(ctx.err, want) && !strstr(ctx.why.text, want))
		fail_msg("%s: '%s%s' does not say '%s'", line, ctx.err, ctx.why.text, want);
	if (*ctx.err)
		assert_non_null(strstr(ctx.err, "test.conf:2"));
	else
		assert_int_equal(ctx.why.code, PW_EXIT_CONFIG);
}

static void test_bad__each_has_its_sentence(void **state)
{
	(void)state;
	check_bad("listn = 1", "listen");
	check_bad("listen = 127.0.0.1", "HOST:PORT");
	check_bad("listen = :7470", "HOST:PORT");
	check_bad("listen = a:1, b", "HOST:PORT");
	check_bad("listen = a:1,b:2,c:3,d:4,e:5,f:6,g:7,h:8,i:9", "up to 8");
	check_bad("listen = ::1:7470", "HOST:PORT");
	check_bad("listen = a:70000", "HOST:PORT");
	check_bad("listen = a:7x", "HOST:PORT");
	check_bad("store = disk", "chunk");
	check_bad("durability = sometimes", "always");
	check_bad("durability = interval:", "always");
	check_bad("durability = interval:0", "always");
	check_bad("durability = interval:100000000", "always");
	check_bad("fsid = 12", "UUID");
	check_bad("dir = data", "absolute");
	check_bad("max_io = 5000", "multiple");
	check_bad("max_io = 1GiB", "");
	check_bad("slots = 1", "");
	check_bad("lease = 1s", "lease");
	check_bad("dead = 1s", "dead");
	check_bad("journal = 1MiB", "");
}

static void test_key__files(void **state)
{
	char path[] = "/tmp/pw-key-XXXXXX", line[100];
	int fd = mkstemp(path);

	(void)state;
	assert_int_equal(write(fd, "0123456789abcdef0123456789abcdef", 32), 32);
	close(fd);
	snprintf(line, sizeof(line), "[node]\nkey_file = %s\n", path);
	assert_int_equal(load(line), 0);
	assert_int_equal(pws_node_config_load_key(&ctx.n, &ctx.why), 0);
	assert_true(ctx.n.have_key);
	assert_memory_equal(ctx.n.key, "0123456789abcdef0123456789abcdef", 32);
	assert_int_equal(chmod(path, 0644), 0);
	assert_int_equal(load(line), 0);
	assert_int_equal(pws_node_config_load_key(&ctx.n, &ctx.why), -1);
	assert_int_equal(ctx.why.code, PW_EXIT_KEY);
	unlink(path);
	assert_int_equal(pws_node_config_load_key(&ctx.n, &ctx.why), -1);
	assert_int_equal(ctx.why.code, PW_EXIT_KEY);
}

static void test_log__levels(void **state)
{
	(void)state;
	assert_int_equal(load("[node]\nlog = debug\n"), 0);
	assert_int_equal(pws_log_level_of(ctx.n.log), PW_LOG_DEBUG);
	assert_int_equal(load("[node]\n"), 0);
	assert_int_equal(pws_log_level_of(ctx.n.log), PW_LOG_INFO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults__are_complete),
		cmocka_unit_test(test_values__are_understood),
		cmocka_unit_test(test_bad__each_has_its_sentence),
		cmocka_unit_test(test_key__files),
		cmocka_unit_test(test_log__levels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
