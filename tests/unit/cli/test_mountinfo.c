/* SPDX-License-Identifier: Apache-2.0 */
/* test_mountinfo.c -- lines of /proc/self/mountinfo */
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "client_fs/cli/mountinfo.h"

static int parse(const char *text, const char *type, struct pwc_mountinfos *ret)
{
	FILE *f = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
	int err;

	assert_non_null(f);
	err = pwc_mountinfo_parse(f, type, ret);
	fclose(f);
	return err;
}

static const char sample[] =
	"22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
	"41 22 0:38 / /mnt/a rw,nosuid shared:5 master:1 - fuse.pagewire h:7470:/ rw,user_id=0\n"
	"42 22 0:39 / /mnt/two\\040words rw - fuse.pagewire [::1]:7470:/ rw\n"
	"43 41 0:40 / /mnt/a ro - fuse.pagewire h2:7471:/ rw\n";

static void test_parse__only_the_wanted_type(void **state)
{
	struct pwc_mountinfos m;

	(void)state;
	assert_int_equal(parse(sample, PWC_MOUNTINFO_TYPE, &m), 0);
	assert_int_equal(m.nr, 3);
	assert_string_equal(m.row[0].dir, "/mnt/a");
	assert_string_equal(m.row[0].source, "h:7470:/");
	assert_string_equal(m.row[0].options, "rw,nosuid");
	assert_int_equal(m.row[0].dev_major, 0);
	assert_int_equal(m.row[0].dev_minor, 38);
	pwc_mountinfo_fini(&m);
}

static void test_parse__escapes(void **state)
{
	struct pwc_mountinfos m;

	(void)state;
	assert_int_equal(parse(sample, PWC_MOUNTINFO_TYPE, &m), 0);
	assert_string_equal(m.row[1].dir, "/mnt/two words");
	pwc_mountinfo_fini(&m);
}

static void test_at__the_topmost(void **state)
{
	struct pwc_mountinfos m;

	(void)state;
	assert_int_equal(parse(sample, NULL, &m), 0);
	assert_int_equal(m.nr, 4);
	assert_int_equal(pwc_mountinfo_at(&m, "/mnt/a")->dev_minor, 40);
	assert_string_equal(pwc_mountinfo_at(&m, "/")->type, "ext4");
	assert_null(pwc_mountinfo_at(&m, "/mnt"));
	pwc_mountinfo_fini(&m);
}

static void test_parse__nonsense(void **state)
{
	static const char *const bad[] = { "hello\n", "1 2 0:3 / /x rw - fuse.pagewire\n",
					   "1 2 x:y / /x rw - fuse.pagewire s rw\n", "\n" };
	struct pwc_mountinfos m;

	(void)state;
	for (size_t i = 0; i < PW_ARRAY_SIZE(bad); i++)
		assert_int_equal(parse(bad[i], NULL, &m), -EINVAL);
	assert_int_equal(parse("1 2 0:3 / /x rw - ext4 s rw", NULL, &m), 0);
	assert_int_equal(m.nr, 1);
	pwc_mountinfo_fini(&m);
}

static void test_path__links_and_slashes(void **state)
{
	char dir[] = "/tmp/pw-mountinfo-XXXXXX", real[PATH_MAX], path[PATH_MAX + 64], got[PATH_MAX];

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_non_null(realpath(dir, real));
	snprintf(path, sizeof(path), "%s/link", dir);
	assert_int_equal(symlink(dir, path), 0);
	assert_int_equal(pwc_mountinfo_path(path, got), 0);
	assert_string_equal(got, real);
	snprintf(path, sizeof(path), "%s///", dir);
	assert_int_equal(pwc_mountinfo_path(path, got), 0);
	assert_string_equal(got, real);
	assert_int_equal(pwc_mountinfo_path("/", got), 0);
	assert_string_equal(got, "/");
	snprintf(path, sizeof(path), "%s/none", dir);
	assert_int_equal(pwc_mountinfo_path(path, got), -ENOENT);
	snprintf(path, sizeof(path), "%s/link", dir);
	unlink(path);
	rmdir(dir);
}

static void test_read__this_machine(void **state)
{
	struct pwc_mountinfos m;

	(void)state;
	assert_int_equal(pwc_mountinfo_read(NULL, &m), 0);
	assert_non_null(pwc_mountinfo_at(&m, "/"));
	pwc_mountinfo_fini(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse__only_the_wanted_type),
		cmocka_unit_test(test_parse__escapes),
		cmocka_unit_test(test_at__the_topmost),
		cmocka_unit_test(test_parse__nonsense),
		cmocka_unit_test(test_path__links_and_slashes),
		cmocka_unit_test(test_read__this_machine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
