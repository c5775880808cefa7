/* SPDX-License-Identifier: Apache-2.0 */
/* test_region_pages.c -- which files the region table takes, and what it leaves of those that it
 * does not; how much of them
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "client_fs/region.h"
#include "common/uring.h"

#define LEN	   (8u * 4096)
#define SIZE_SEALS (F_SEAL_SHRINK | F_SEAL_GROW)

static struct pw_loop *loop;
static struct pwc_regions t;
static struct pwc_region_owner app, again, other;
static char why[256];

/* The system has transparent huge pages for shared memory. */
static bool huge_shmem;

int fstat(int fd, struct stat *st)
{
	int err = fstatat(fd, "", st, AT_EMPTY_PATH);

	if (!err && huge_shmem)
		st->st_blksize = 2 << 20;
	return err;
}

static int setup(void **state)
{
	struct pw_loop_opts o = { .sq_entries = 8, .max_ios = 8 };

	(void)state;
	assert_int_equal(pw_loop_new(&loop, &o), 0);
	pwc_regions_init(&t, loop, NULL);
	app = again = (struct pwc_region_owner){ .uid = 1000, .pid = 42 };
	other = (struct pwc_region_owner){ .uid = 1000, .pid = 43 };
	huge_shmem = false;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	pwc_regions_end_owner(&t, &app);
	pwc_regions_end_owner(&t, &again);
	pwc_regions_end_owner(&t, &other);
	pwc_regions_fini(&t);
	pw_loop_free(loop);
	return 0;
}

static int file(size_t len, int seals)
{
	int fd = memfd_create("app", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)len), 0);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

static int add_of(struct pwc_region_owner *o, int fd, size_t len)
{
	struct pwc_region_ask ask = { fd, 0, len };
	struct pwc_region *r;

	why[0] = '\0';
	return pwc_region_add(&t, o, &ask, &r, why, sizeof(why));
}

static int add(int fd, size_t len)
{
	return add_of(&app, fd, len);
}

/* A region of @o; with @word there is no room for it, and that is in the reason. */
static void some(struct pwc_region_owner *o, const char *word)
{
	int fd = file(LEN, SIZE_SEALS);

	assert_int_equal(fallocate(fd, 0, 0, LEN), 0);
	assert_int_equal(add_of(o, fd, LEN), word ? -ENOSPC : 0);
	if (word && !strstr(why, word))
		fail_msg("\"%s\" does not say \"%s\"", why, word);
	close(fd);
}

/* Whoever is told what to do can do it. */
static void test_refusal__does_not_use_up_the_file(void **state)
{
	int fd = file(LEN, SIZE_SEALS);

	(void)state;
	assert_int_equal(add(fd, LEN), -EINVAL);
	assert_non_null(strstr(why, "fallocate"));
	assert_int_equal(fcntl(fd, F_GET_SEALS), SIZE_SEALS);
	assert_int_equal(fallocate(fd, 0, 0, LEN), 0);
	assert_int_equal(add(fd, LEN), 0);
	assert_int_equal(fcntl(fd, F_GET_SEALS), SIZE_SEALS | F_SEAL_FUTURE_WRITE);
	close(fd);
}

/* As many as if all of its own were there. */
static void test_pages__beyond_the_end_stand_for_none(void **state)
{
	int fd = file(LEN, 0);

	(void)state;
	assert_int_equal(fallocate(fd, FALLOC_FL_KEEP_SIZE, LEN, LEN), 0);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, SIZE_SEALS), 0);
	assert_int_equal(add(fd, LEN), -EINVAL);
	assert_non_null(strstr(why, "fallocate"));
	assert_int_equal(fallocate(fd, 0, 0, LEN), 0);
	assert_int_equal(add(fd, LEN), 0);
	close(fd);
}

static void test_pages__small_ones_where_the_system_prefers_huge_ones(void **state)
{
	int fd = file(3 * 4096, SIZE_SEALS);

	(void)state;
	assert_int_equal(fallocate(fd, 0, 0, 3 * 4096), 0);
	huge_shmem = true;
	assert_int_equal(add(fd, 2 * 4096), 0);
	assert_false(t.region[0].huge);
	close(fd);
}

/* A process is one, however often it connects. */
static void test_limits__of_a_process_with_two_connections(void **state)
{
	(void)state;
	t.max_owner = 2;
	some(&app, NULL);
	some(&again, NULL);
	some(&again, "a process can have 2");
	t.max_owner = 16;
	t.max_bytes_owner = 2 * LEN;
	some(&app, "a process");
	some(&other, NULL);
	/* what ends is there as long as a request uses it */
	pwc_region_hold(&t.region[0]);
	pwc_regions_end_owner(&t, &app);
	some(&again, "a process");
	pwc_region_put(&t.region[0]);
	some(&again, NULL);
	/* processes that cannot be told from each other are connections */
	app.pid = again.pid = t.region[1].pid = 0;
	t.region[0].pid = 0;
	some(&app, NULL);
	some(&app, NULL);
	some(&app, "a process");
}

/* All that there is is not for one. */
static void test_limits__of_a_user_in_bytes(void **state)
{
	(void)state;
	assert_true(t.max_bytes_user >= t.max_bytes_owner && t.max_bytes_user < t.max_bytes);
	t.max_bytes_user = 2 * LEN;
	some(&app, NULL);
	some(&other, NULL);
	some(&other, "a user");
	other.uid = 1001;
	some(&other, NULL);
	/* root has no limit but that of all */
	app.uid = 0;
	some(&app, NULL);
	t.max_bytes = 4 * LEN;
	some(&app, "all processes");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_refusal__does_not_use_up_the_file),
		TEST(test_pages__beyond_the_end_stand_for_none),
		TEST(test_pages__small_ones_where_the_system_prefers_huge_ones),
		TEST(test_limits__of_a_process_with_two_connections),
		TEST(test_limits__of_a_user_in_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
