/* SPDX-License-Identifier: Apache-2.0 */
/* test_config.c -- values, units, limits, every kind of mistake with its line, show and reload */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/config.h"
#include "common/config_impl.h"

struct opts {
	bool verify;
	uint32_t port, store;
	uint64_t cache, interval;
	char listen[32], name[16];
};

static const char *check_listen(const char *v)
{
	return strchr(v, ':') ? NULL : "want HOST:PORT";
}

static const struct pw_config_key keys[] = {
	{ "node", "port", PW_CONFIG_U32, offsetof(struct opts, port), .dflt = "7470", .min = 1,
	  .max = 65535, .help = "TCP port" },
	{ "node", "listen", PW_CONFIG_STRING, offsetof(struct opts, listen), .len = 32,
	  .dflt = "127.0.0.1:7470", .check = check_listen },
	{ "node", "verify", PW_CONFIG_BOOL, offsetof(struct opts, verify), .dflt = "yes" },
	{ "node", "store", PW_CONFIG_CHOICE, offsetof(struct opts, store), .dflt = "disk",
	  .choices = "disk|memory|null" },
	{ "cache", "size", PW_CONFIG_SIZE, offsetof(struct opts, cache), .dflt = "64MiB",
	  .min = 1 << 20, .max = 1ull << 40 },
	{ "cache", "interval", PW_CONFIG_TIME, offsetof(struct opts, interval), .dflt = "500ms" },
	{ "cache", "name", PW_CONFIG_STRING, offsetof(struct opts, name), .len = 16 },
};
static const char *const foreign[] = { "client", NULL };
static const struct pw_config_table table = { keys, PW_ARRAY_SIZE(keys), foreign };

static struct opts o;
static struct pw_config c;
static char err[512];

static int load(const char *text)
{
	FILE *f = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
	int res;

	assert_non_null(f);
	err[0] = '\0';
	memset(&o, 0xee, sizeof(o));
	pw_config_init(&c, &table, &o);
	res = pw_config_load_stream(&c, f, "f.conf", err, sizeof(err));
	fclose(f);
	return res;
}

static void expect_error(const char *text, const char *want)
{
	assert_int_equal(load(text), -EINVAL);
	assert_string_equal(err, want);
}

static void test_config_init__defaults(void **state)
{
	assert_int_equal(load("; nothing\n"), 0);
	assert_int_equal(o.port, 7470);
	assert_string_equal(o.listen, "127.0.0.1:7470");
	assert_true(o.verify);
	assert_int_equal(o.store, 0);
	assert_int_equal(o.cache, 64 << 20);
	assert_int_equal(o.interval, 500 * PW_NS_PER_MS);
	assert_string_equal(o.name, "");
	assert_null(c.origin[0].file);
}

static void test_config_load__values_and_origin(void **state)
{
	assert_int_equal(load("# head\n"
			      "[node]\n"
			      "port = 1234 ; inline\n"
			      "  listen=[::1]:99\n"
			      "verify = off\n"
			      "store = null\r\n"
			      "\n"
			      "[client]\n"
			      "what = ever\n"
			      "[cache]\n"
			      "\tsize = 1GiB\n"
			      "interval = 20us\n"
			      "name = a b"),
			 0);
	assert_int_equal(o.port, 1234);
	assert_string_equal(o.listen, "[::1]:99");
	assert_false(o.verify);
	assert_int_equal(o.store, 2);
	assert_int_equal(o.cache, 1 << 30);
	assert_int_equal(o.interval, 20000);
	assert_string_equal(o.name, "a b");
	assert_string_equal(c.origin[0].file, "f.conf");
	assert_int_equal(c.origin[0].line, 3);
	assert_int_equal(c.origin[6].line, 13);
}

static void test_config_load__unknown_key_names_the_nearest(void **state)
{
	expect_error("[node]\n\nprot = 1\n",
		     "f.conf:3: unknown key 'prot' in [node], did you mean 'port'?");
	expect_error("[node]\nverfy = 1\n",
		     "f.conf:2: unknown key 'verfy' in [node], did you mean 'verify'?");
	expect_error("[node]\ninterval = 1s\n",
		     "f.conf:2: unknown key 'interval' in [node], it belongs to [cache]");
	expect_error("[nodes]\nport = 1\n",
		     "f.conf:2: unknown section [nodes], did you mean [node]?");
	expect_error("port = 1\n", "f.conf:1: 'port' stands before the first [section]");
}

static void test_config_load__bad_values(void **state)
{
	expect_error("[node]\nport = 0\n", "f.conf:2: [node] port = 0: must be from 1 to 65535");
	expect_error("[node]\nport = 65536\n",
		     "f.conf:2: [node] port = 65536: must be from 1 to 65535");
	expect_error("[node]\nport = 80x\n", "f.conf:2: [node] port = 80x: want a number");
	expect_error("[node]\nport =\n", "f.conf:2: [node] port = : want a number");
	expect_error("[node]\nport = -1\n", "f.conf:2: [node] port = -1: want a number");
	expect_error("[node]\nport = 4294967297\n",
		     "f.conf:2: [node] port = 4294967297: want a number");
	expect_error("[node]\nverify = maybe\n",
		     "f.conf:2: [node] verify = maybe: want yes or no");
	expect_error("[node]\nstore = ssd\n",
		     "f.conf:2: [node] store = ssd: want one of disk|memory|null");
	expect_error("[node]\nstore = dis\n",
		     "f.conf:2: [node] store = dis: want one of disk|memory|null");
	expect_error("[node]\nlisten = host\n", "f.conf:2: [node] listen = host: want HOST:PORT");
	expect_error("[cache]\nname = 1234567890123456\n",
		     "f.conf:2: [cache] name = 1234567890123456: longer than 15 bytes");
	expect_error("[cache]\nsize = 512KiB\n",
		     "f.conf:2: [cache] size = 512KiB: must be from 1MiB to 1TiB");
	expect_error("[cache]\nsize = 1MB\n",
		     "f.conf:2: [cache] size = 1MB: want a size like 4MiB");
	expect_error("[cache]\ninterval = 5\n", "f.conf:2: [cache] interval = 5: "
					       "want a time with its unit, like 20us, 500ms or 5s");
}

static void test_config_load__first_error_counts(void **state)
{
	expect_error("[node]\nport = x\nprot = 1\nstore = y\n",
		     "f.conf:2: [node] port = x: want a number");
}

static void test_config_load__set_twice(void **state)
{
	expect_error("[node]\nport = 1\n[cache]\n[node]\nport = 2\n",
		     "f.conf:5: [node] port is set a second time, the first is line 2");
}

static void test_config_load__syntax(void **state)
{
	expect_error("[node]\nport 1\n", "f.conf:2: neither [section], key = value nor a comment");
	expect_error("[node\nport = 1\n", "f.conf:1: neither [section], key = value nor a comment");
	/* inih alone would take an indented line for more of the value above */
	expect_error("[node]\nlisten = a:1\n  more:2\n",
		     "f.conf:3: unknown key 'more' in [node], did you mean 'port'?");
}

static void test_config_load__long_line_is_fatal(void **state)
{
	char text[1000], want[200];

	/* the longest that inih takes whole, with room for its zero: 199 */
	for (size_t len = 190; len < 450; len++) {
		snprintf(text, sizeof(text), "[cache]\n; %0*d\nsize = 2MiB\n", (int)len - 2, 0);
		if (len <= 199) {
			assert_int_equal(load(text), 0);
			assert_int_equal(o.cache, 2 << 20);
			assert_int_equal(c.origin[4].line, 3);
			continue;
		}
		snprintf(want, sizeof(want), "f.conf:2: line is longer than 199 bytes");
		expect_error(text, want);
	}
	/* and what follows is still counted right */
	snprintf(text, sizeof(text), "[cache]\nname = %0500d\nsize = 2MiB\n", 0);
	expect_error(text, "f.conf:2: line is longer than 199 bytes");
	assert_int_equal(c.origin[4].line, 3);
}

static void test_config_load__zero_byte(void **state)
{
	static const char text[] = "[node]\nport = 1\0002\n";
	FILE *f = fmemopen((void *)(uintptr_t)text, sizeof(text) - 1, "r");

	pw_config_init(&c, &table, &o);
	assert_int_equal(pw_config_load_stream(&c, f, "f.conf", err, sizeof(err)), -EINVAL);
	assert_string_equal(err, "f.conf:2: line has a zero byte");
	fclose(f);
}

static void test_config_load__unreadable(void **state)
{
	pw_config_init(&c, &table, &o);
	assert_int_equal(pw_config_load(&c, "/nonexistent/f", err, sizeof(err)), -ENOENT);
	assert_string_equal(err, "/nonexistent/f: no such file or directory");
	assert_int_equal(pw_config_load(&c, "/", err, sizeof(err)), -EISDIR);
	assert_string_equal(err, "/: is a directory");
}

static void test_config_load__later_file_wins(void **state)
{
	static const char second[] = "[node]\nport = 2\n";
	FILE *f = fmemopen((void *)(uintptr_t)second, strlen(second), "r");

	assert_int_equal(load("[node]\nport = 1\nstore = memory\n"), 0);
	assert_int_equal(pw_config_load_stream(&c, f, "g.conf", err, sizeof(err)), 0);
	fclose(f);
	assert_int_equal(o.port, 2);
	assert_int_equal(o.store, 1);
	assert_string_equal(c.origin[0].file, "g.conf");
	assert_string_equal(c.origin[3].file, "f.conf");
}

static void test_config_set__as_from_the_command_line(void **state)
{
	assert_int_equal(load("\n"), 0);
	assert_int_equal(pw_config_set(&c, "node", "port", "9", "command line", err, sizeof(err)),
			 0);
	assert_int_equal(o.port, 9);
	assert_int_equal(pw_config_set(&c, "node", "port", "0", "command line", err, sizeof(err)),
			 -EINVAL);
	assert_string_equal(err, "port = 0: must be from 1 to 65535");
	assert_int_equal(pw_config_set(&c, "node", "potr", "0", "command line", err, sizeof(err)),
			 -EINVAL);
	assert_string_equal(err, "unknown key 'potr' in [node], did you mean 'port'?");
	assert_int_equal(o.port, 9);
}

static void test_config_check__reports_every_error(void **state)
{
	char path[] = "/tmp/pw-test-config-XXXXXX", want[1000], *got = NULL;
	int fd = mkstemp(path);
	size_t len;
	FILE *out = open_memstream(&got, &len);

	dprintf(fd, "[node]\nport = x\nprot = 1\nstore = null\n[cache]\nsize = 1\n");
	close(fd);
	pw_config_init(&c, &table, &o);
	assert_int_equal(pw_config_check(&c, path, out), 3);
	fclose(out);
	snprintf(want, sizeof(want),
		 "%s:2: [node] port = x: want a number\n"
		 "%s:3: unknown key 'prot' in [node], did you mean 'port'?\n"
		 "%s:6: [cache] size = 1: must be from 1MiB to 1TiB\n",
		 path, path, path);
	assert_string_equal(got, want);
	assert_int_equal(o.store, 2);
	free(got);
	unlink(path);
	out = fopen("/dev/null", "we");
	assert_int_equal(pw_config_check(&c, path, out), -ENOENT);
	fclose(out);
}

static char *show(bool with_origin)
{
	char *got = NULL;
	size_t len;
	FILE *out = open_memstream(&got, &len);

	pw_config_show(&c, out, with_origin);
	fclose(out);
	return got;
}

static void test_config_show__loads_again_to_the_same(void **state)
{
	char *first, *second;
	struct opts before;

	assert_int_equal(load("[node]\nport=1\nverify=no\nstore=memory\n"
			      "[cache]\nsize=3145729\ninterval=90min\n"),
			 0);
	assert_int_equal(pw_config_set(&c, "cache", "name", "x", "command line", err, sizeof(err)),
			 0);
	before = o;
	first = show(true);
	assert_string_equal(first, "[node]\n"
				   "port = 1 ; f.conf:2\n"
				   "listen = 127.0.0.1:7470 ; default\n"
				   "verify = no ; f.conf:3\n"
				   "store = memory ; f.conf:4\n"
				   "\n[cache]\n"
				   "size = 3145729 ; f.conf:6\n"
				   "interval = 90min ; f.conf:7\n"
				   "name = x ; command line\n");
	assert_int_equal(load(first), 0);
	assert_int_equal(o.port, before.port);
	assert_int_equal(o.cache, before.cache);
	assert_int_equal(o.interval, before.interval);
	assert_string_equal(o.name, "x");
	free(first);
	first = show(false);
	assert_null(strchr(first, ';'));
	assert_int_equal(load(first), 0);
	second = show(false);
	assert_string_equal(first, second);
	free(first);
	free(second);
	/* an empty string is shown as a comment */
	assert_int_equal(load("\n"), 0);
	first = show(false);
	assert_non_null(strstr(first, "; name = \n"));
	assert_int_equal(load(first), 0);
	free(first);
}

static void test_config_parse__units(void **state)
{
	static const struct {
		const char *s;
		uint64_t v;
	} sizes[] = { { "0", 0 },
		      { "512", 512 },
		      { "1B", 1 },
		      { "4KiB", 4096 },
		      { "4 MiB", 4 << 20 },
		      { "2G", 2ull << 30 },
		      { "16T", 16ull << 40 },
		      { "16777215TiB", 16777215ull << 40 } },
	  times[] = { { "0", 0 },
		      { "7ns", 7 },
		      { "20us", 20000 },
		      { "500ms", 500000000 },
		      { "5s", 5000000000 },
		      { "2min", 120000000000 },
		      { "1h", 3600000000000 } };
	static const char *const bad_sizes[] = {
		"",	 "x",	"1kb", "-1", "1.5MiB", "16777216TiB", "MiB", "18446744073709551616",
		"1MiBx", "0x10"
	};
	static const char *const bad_times[] = {
		"", "5", "5sec", "-1s", "99999999999999999h", "00"
	};
	uint64_t v;

	for (size_t i = 0; i < PW_ARRAY_SIZE(sizes); i++) {
		assert_int_equal(pw_config_parse_size(sizes[i].s, &v), 0);
		assert_int_equal(v, sizes[i].v);
	}
	for (size_t i = 0; i < PW_ARRAY_SIZE(times); i++) {
		assert_int_equal(pw_config_parse_time(times[i].s, &v), 0);
		assert_int_equal(v, times[i].v);
	}
	for (size_t i = 0; i < PW_ARRAY_SIZE(bad_sizes); i++)
		assert_int_equal(pw_config_parse_size(bad_sizes[i], &v), -EINVAL);
	for (size_t i = 0; i < PW_ARRAY_SIZE(bad_times); i++)
		assert_int_equal(pw_config_parse_time(bad_times[i], &v), -EINVAL);
}

static void test_config_distance(void **state)
{
	char big[200];

	memset(big, 'a', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	assert_int_equal(pw_config_distance("", ""), 0);
	assert_int_equal(pw_config_distance("port", "port"), 0);
	assert_int_equal(pw_config_distance("prot", "port"), 1);
	assert_int_equal(pw_config_distance("por", "port"), 1);
	assert_int_equal(pw_config_distance("pport", "port"), 1);
	assert_int_equal(pw_config_distance("kitten", "sitting"), 3);
	assert_int_equal(pw_config_distance("", "abc"), 3);
	assert_int_equal(pw_config_distance("abc", ""), 3);
	assert_int_equal(pw_config_distance(big, big), 0);
	assert_int_equal(pw_config_distance(big, ""), 63);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_config_init__defaults),
		cmocka_unit_test(test_config_load__values_and_origin),
		cmocka_unit_test(test_config_load__unknown_key_names_the_nearest),
		cmocka_unit_test(test_config_load__bad_values),
		cmocka_unit_test(test_config_load__first_error_counts),
		cmocka_unit_test(test_config_load__set_twice),
		cmocka_unit_test(test_config_load__syntax),
		cmocka_unit_test(test_config_load__long_line_is_fatal),
		cmocka_unit_test(test_config_load__zero_byte),
		cmocka_unit_test(test_config_load__unreadable),
		cmocka_unit_test(test_config_load__later_file_wins),
		cmocka_unit_test(test_config_set__as_from_the_command_line),
		cmocka_unit_test(test_config_check__reports_every_error),
		cmocka_unit_test(test_config_show__loads_again_to_the_same),
		cmocka_unit_test(test_config_parse__units),
		cmocka_unit_test(test_config_distance),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
