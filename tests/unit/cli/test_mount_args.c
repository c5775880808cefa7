/* SPDX-License-Identifier: Apache-2.0 */
/* test_mount_args.c -- what mount(8), fstab and systemd give to mount.pagewire */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/mount.h>

#include <cmocka.h>

#include "client_fs/cli/mount_args.h"

#define MAX_WORDS 16

struct fixture {
	struct pwc_mount_args a;
	char why[256];
	char text[512];
};

/* @line: words with blanks between them; the program's name is put before. */
static int parse(struct fixture *f, const char *line)
{
	char *argv[MAX_WORDS + 2] = { f->text }, *save = NULL;
	int argc = 1;

	strcpy(f->text, "mount.pagewire");
	strcpy(f->text + 32, line);
	for (char *w = strtok_r(f->text + 32, " ", &save); w; w = strtok_r(NULL, " ", &save))
		argv[argc++] = w;
	return pwc_mount_args_parse(argc, argv, &f->a, f->why, sizeof(f->why));
}

static void test_parse__as_mount_8_calls_it(void **state)
{
	struct fixture f;

	(void)state;
	assert_int_equal(parse(&f, "h:7470:/ /mnt -o rw,_netdev,timeout=3 -t fuse.pagewire -n"), 0);
	assert_string_equal(f.a.spec, "h:7470:/");
	assert_string_equal(f.a.dir, "/mnt");
	assert_string_equal(f.a.options, "rw,_netdev,timeout=3");
	assert_false(f.a.fake || f.a.sloppy || f.a.verbose || f.a.remount);
}

static void test_parse__flags(void **state)
{
	struct fixture f;

	(void)state;
	assert_int_equal(parse(&f, "-sfv -N 42 h:/ /mnt"), 0);
	assert_true(f.a.fake && f.a.sloppy && f.a.verbose);
	assert_string_equal(f.a.ns, "42");
	assert_string_equal(f.a.options, "");
}

static void test_parse__sloppy_drops_what_is_unknown(void **state)
{
	struct fixture f;

	(void)state;
	/* also when -s comes behind */
	assert_int_equal(parse(&f, "h:/ /mnt -o ro,frobnicate,timeout=3,x=y -s"), 0);
	assert_string_equal(f.a.options, "ro,timeout=3");
	/* a bad value is no unknown option: the client is to complain */
	assert_int_equal(parse(&f, "h:/ /mnt -s -o timeout=soon"), 0);
	assert_string_equal(f.a.options, "timeout=soon");
	assert_int_equal(parse(&f, "h:/ /mnt -o frobnicate"), 0);
	assert_string_equal(f.a.options, "frobnicate");
}

static void test_parse__several_lists(void **state)
{
	struct fixture f;

	(void)state;
	assert_int_equal(parse(&f, "h:/ /mnt -o ro -o timeout=3"), 0);
	assert_string_equal(f.a.options, "ro,timeout=3");
}

static void test_parse__remount(void **state)
{
	struct fixture f;

	(void)state;
	assert_int_equal(parse(&f, "h:/ /mnt -o remount,ro,nosuid,rw,noexec,user_id=0"), 0);
	assert_true(f.a.remount);
	assert_int_equal(f.a.flags, MS_NOSUID | MS_NOEXEC);
}

static void test_parse__usage(void **state)
{
	static const char *const bad[] = { "", "h:/", "h:/ /mnt more", "-q h:/ /mnt",
					   "h:/ /mnt -o" };
	struct fixture f;

	(void)state;
	for (size_t i = 0; i < PW_ARRAY_SIZE(bad); i++) {
		f.why[0] = '\0';
		assert_int_equal(parse(&f, bad[i]), -EINVAL);
		assert_non_null(strstr(f.why, "usage:"));
	}
}

static void test_parse__list_too_long(void **state)
{
	static char list[PATH_MAX + 2048];
	char *argv[] = { (char[]){ "mount.pagewire" },
			 (char[]){ "h:/" },
			 (char[]){ "/mnt" },
			 (char[]){ "-o" },
			 list,
			 NULL };
	struct fixture f;

	(void)state;
	memset(list, 'a', sizeof(list) - 1);
	assert_int_equal(pwc_mount_args_parse(5, argv, &f.a, f.why, sizeof(f.why)), -EINVAL);
	assert_non_null(strstr(f.why, "too long"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse__as_mount_8_calls_it),
		cmocka_unit_test(test_parse__flags),
		cmocka_unit_test(test_parse__sloppy_drops_what_is_unknown),
		cmocka_unit_test(test_parse__several_lists),
		cmocka_unit_test(test_parse__remount),
		cmocka_unit_test(test_parse__usage),
		cmocka_unit_test(test_parse__list_too_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
