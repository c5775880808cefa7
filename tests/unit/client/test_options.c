/* SPDX-License-Identifier: Apache-2.0 */
/* test_options.c -- sources and option lists; and small parsers that read what the system says */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client_fs/attr.h"
#include "client_fs/control.h"
#include "client_fs/interrupt.h"
#include "client_fs/mount_id.h"
#include "client_fs/options.h"

static char why[256];

static int parse(struct pwc_options *o, const char *list)
{
	memset(o, 0, sizeof(*o));
	why[0] = '\0';
	return pwc_options_parse_list(o, list, why, sizeof(why));
}

static void test_source__host_and_port(void **state)
{
	static const struct {
		const char *text, *host;
		uint16_t port;
	} good[] = {
		{ "node1:7470:/", "node1", 7470 },
		{ "node1:/", "node1", 7470 },
		{ "10.0.0.1:1:/", "10.0.0.1", 1 },
		{ "[::1]:9000:/", "::1", 9000 },
		{ "[fe80::1%eth0]:/", "fe80::1%eth0", 7470 },
	};
	static const char *const bad[] = {
		"", "node1", "node1:7470", "/dev/sda", ":7470:/", "node1:0:/", "node1:65536:/",
		"node1:x:/", "node1:7470:/sub", "[::1:7470:/", "a,b:/", "node1:7470x:/", "[]:1:/",
	};
	struct pwc_options o;

	(void)state;
	for (size_t i = 0; i < PW_ARRAY_SIZE(good); i++) {
		assert_int_equal(pwc_options_parse_source(&o, good[i].text, why, sizeof(why)), 0);
		assert_string_equal(o.host, good[i].host);
		/* as it was given: fstab is compared with it */
		assert_string_equal(o.source, good[i].text);
		assert_int_equal(o.port, good[i].port);
	}
	for (size_t i = 0; i < PW_ARRAY_SIZE(bad); i++) {
		why[0] = '\0';
		assert_int_equal(pwc_options_parse_source(&o, bad[i], why, sizeof(why)), -EINVAL);
		assert_true(*why);
	}
}

static void test_list__values(void **state)
{
	struct pwc_options o;

	(void)state;
	assert_int_equal(parse(&o, "ro,timeout=2.5,io_uring=off,max_io=256K,cache=none,slots=8,"
				   "noatime,nosuid,queue_depth=16,readahead=1MiB,transport=tcp,"
				   "poll_us=0"),
			 0);
	assert_true(o.ro);
	assert_int_equal(o.timeout_ms, 2500);
	assert_int_equal(o.io_uring, PWC_IO_URING_OFF);
	assert_int_equal(o.max_io, 262144);
	assert_int_equal(o.cache, PWC_CACHE_NONE);
	assert_int_equal(o.slots, 8);
	assert_int_equal(o.queue_depth, 16);
	assert_int_equal(o.poll_us, 0);
	assert_int_equal(o.readahead, 1 << 20);
	assert_string_equal(o.kernel_opts, ",noatime,nosuid");
	assert_int_equal(o.rails_mode, PWC_RAILS_AUTO);
	assert_int_equal(parse(&o, "rails=off"), 0);
	assert_int_equal(o.rails_mode, PWC_RAILS_OFF);
	assert_int_equal(parse(&o, "rails=10.0.1.1+10.0.2.1:99/10.0.2.9+[fd00::1]/[fd00::2]"), 0);
	assert_int_equal(o.rails_mode, PWC_RAILS_LIST);
	assert_int_equal(o.nr_rails, 3);
	assert_string_equal(o.rails[0].host, "10.0.1.1");
	assert_int_equal(o.rails[0].port, 0);
	assert_string_equal(o.rails[0].local, "");
	assert_int_equal(o.rails[1].port, 99);
	assert_string_equal(o.rails[1].local, "10.0.2.9");
	assert_string_equal(o.rails[2].host, "fd00::1");
	assert_string_equal(o.rails[2].local, "fd00::2");
	assert_int_equal(parse(&o, "timeout=300ms,rw"), 0);
	assert_int_equal(o.timeout_ms, 300);
	assert_false(o.ro);
}

static void test_list__what_is_for_others_is_ignored(void **state)
{
	struct pwc_options o;

	(void)state;
	assert_int_equal(parse(&o, "_netdev,nofail,noauto,user,x-systemd.mount-timeout=30,defaults,"
				   "X-mount.mkdir,comment=hello,default_permissions,,relatime"),
			 0);
	assert_string_equal(o.kernel_opts, "");
	assert_int_equal(parse(&o, ""), 0);
}

static void test_list__unknown_names_the_nearest(void **state)
{
	struct pwc_options o;

	(void)state;
	assert_int_equal(parse(&o, "tiemout=3"), -EINVAL);
	assert_non_null(strstr(why, "\"tiemout\""));
	assert_non_null(strstr(why, "\"timeout\""));
	assert_int_equal(parse(&o, "iouring=on"), -EINVAL);
	assert_non_null(strstr(why, "\"io_uring\""));
	assert_int_equal(parse(&o, "zzzzzzzzzzzz"), -EINVAL);
	assert_null(strstr(why, "mean"));
}

static void test_list__bad_values(void **state)
{
	static const char many[] = "rails=1.1.1.1+1.1.1.1+1.1.1.1+1.1.1.1+1.1.1.1+1.1.1.1+"
				   "1.1.1.1+1.1.1.1+1.1.1.1+1.1.1.1+1.1.1.1+1.1.1.1+1.1.1.1+"
				   "1.1.1.1+1.1.1.1+1.1.1.1";
	static const char *const bad[] = {
		"timeout", "timeout=", "timeout=abc", "timeout=-1", "timeout=1h", "io_uring=maybe",
		"cache=all", "max_io=0", "max_io=4097", "max_io=1T", "max_io=17M", "slots=1",
		"poll_us=1000001", "rails=", "rails=no", "rails=node2", "rails=10.0.0.1+",
		"rails=10.0.0.1:0",
		"rails=10.0.0.1/x", "rails=[10.0.0.1]", "rails=fd00::1", "rails=10.0.0.1:65535",
		many, "slots=5000", "transport=ib", "ro=1", "queue_depth=0",
		"max_io=18446744073709551615K", "timeout=99999999",
	};
	struct pwc_options o;

	(void)state;
	for (size_t i = 0; i < PW_ARRAY_SIZE(bad); i++) {
		assert_int_equal(parse(&o, bad[i]), -EINVAL);
		assert_true(*why);
	}
	parse(&o, "transport=ib");
	assert_non_null(strstr(why, "auto, tcp or rdma"));
}

static void test_mount_id__newest_of_our_type(void **state)
{
	static char text[] =
		"22 1 254:1 / / rw - ext4 /dev/vda rw\n"
		"40 22 0:50 / /mnt/a rw,relatime shared:1 - fuse.pagewire n1:7470:/ rw,user_id=0\n"
		"41 22 0:51 / /mnt/a\\040b rw - fuse.pagewire n1:7470:/ rw\n"
		"broken line\n"
		"42 22 0:52 / /mnt/a rw master:3 propagate_from:2 - fuse.pagewire n2:7470:/ rw\n"
		"43 22 0:53 / /mnt/a rw - tmpfs n2:7470:/ rw\n";
	struct pwc_mount_id id;
	FILE *f = fmemopen(text, sizeof(text) - 1, "r");

	(void)state;
	assert_int_equal(pwc_mount_id_scan(f, "/mnt/a", NULL, &id), 0);
	assert_int_equal(id.id, 42);
	assert_int_equal(id.minor, 52);
	rewind(f);
	assert_int_equal(pwc_mount_id_scan(f, "/mnt/a", "n1:7470:/", &id), 0);
	assert_int_equal(id.id, 40);
	rewind(f);
	assert_int_equal(pwc_mount_id_scan(f, "/mnt/a b", NULL, &id), 0);
	assert_int_equal(id.id, 41);
	rewind(f);
	assert_int_equal(pwc_mount_id_scan(f, "/mnt", NULL, &id), -ENOENT);
	fclose(f);
}

static void test_control_path__as_systemd_escapes(void **state)
{
	char path[108], other[108], dir[400];

	(void)state;
	pwc_control_path("/mnt/pagewire", path, sizeof(path));
	assert_string_equal(path, "/run/pagewire/mount-mnt-pagewire.sock");
	pwc_control_path("/mnt/a-b c", path, sizeof(path));
	assert_string_equal(path, "/run/pagewire/mount-mnt-a\\x2db\\x20c.sock");
	pwc_control_path("/", path, sizeof(path));
	assert_string_equal(path, "/run/pagewire/mount--.sock");
	memset(dir, 'd', sizeof(dir));
	dir[0] = '/';
	dir[sizeof(dir) - 1] = '\0';
	pwc_control_path(dir, path, sizeof(path));
	assert_true(strlen(path) < 108);
	dir[sizeof(dir) - 2] = 'e';
	pwc_control_path(dir, other, sizeof(other));
	assert_string_not_equal(path, other);
}

static void test_interrupt_is_fatal__by_pending_signal(void **state)
{
	(void)state;
	assert_false(pwc_interrupt_is_fatal("Name:\tx\nSigPnd:\t0000000000002000\n"
					    "ShdPnd:\t0000000000000000\n"
					    "SigBlk:\tffffffffffffffff\n"));
	assert_true(pwc_interrupt_is_fatal("Name:\tx\nSigPnd:\t0000000000000100\n"));
	assert_true(pwc_interrupt_is_fatal("Name:\tx\nSigPnd:\t0\nShdPnd:\t0000000000004000\n"));
	assert_true(pwc_interrupt_is_fatal("Name:\tx\nShdPnd:\t0000000000000002\n"));
	assert_false(pwc_interrupt_is_fatal(""));
}

static void test_attr__times_and_devices_round_trip(void **state)
{
	static const int64_t times[] = { 0, 1, -1, 999999999, -1000000000, -1000000001,
					 1700000000123456789, INT64_MIN, INT64_MAX };
	static const uint32_t devs[] = { 0, 0x103, 0xfff00fff, 0x12345678, 0xffffffff };

	(void)state;
	for (size_t i = 0; i < PW_ARRAY_SIZE(times); i++) {
		struct pw_attr a = { .mtime_ns = times[i] };
		struct fuse_attr f;

		pwc_attr_to_fuse(&a, &f);
		assert_true(f.mtimensec < 1000000000);
		assert_int_equal(pwc_attr_time((int64_t)f.mtime, f.mtimensec), times[i]);
	}
	assert_int_equal(pwc_attr_time(INT64_MAX, 0), INT64_MAX);
	assert_int_equal(pwc_attr_time(INT64_MIN, 0), INT64_MIN);
	for (size_t i = 0; i < PW_ARRAY_SIZE(devs); i++)
		assert_int_equal(pwc_attr_rdev_from_wire(pwc_attr_rdev_to_wire(devs[i])), devs[i]);
	assert_int_equal(pwc_attr_rdev_to_wire(0x103), 1u << 20 | 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_source__host_and_port),
		cmocka_unit_test(test_list__values),
		cmocka_unit_test(test_list__what_is_for_others_is_ignored),
		cmocka_unit_test(test_list__unknown_names_the_nearest),
		cmocka_unit_test(test_list__bad_values),
		cmocka_unit_test(test_mount_id__newest_of_our_type),
		cmocka_unit_test(test_control_path__as_systemd_escapes),
		cmocka_unit_test(test_interrupt_is_fatal__by_pending_signal),
		cmocka_unit_test(test_attr__times_and_devices_round_trip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
