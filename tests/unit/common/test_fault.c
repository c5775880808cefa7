/* SPDX-License-Identifier: Apache-2.0 */
/* test_fault.c -- each form of PW_FAULT, seen from a child that runs with it
 *
 * The program runs itself: "test_fault child" passes five points and exits with which of them
 * failed.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/fault.h"

#ifndef PW_FAULT_POINTS

int main(void)
{
	puts("fault points are compiled out: nothing to test");
	return 77;
}

#else

/* Points 1..5; their errors go to stdout. */
static int child(void)
{
	int err[5];

	err[0] = PW_FAULT("one");
	err[1] = PW_FAULT_ERR("two", -ENOSPC);
	err[2] = PW_FAULT("three");
	err[3] = PW_FAULT("two");
	err[4] = PW_FAULT("five");
	for (int i = 0; i < 5; i++)
		printf("%d ", err[i]);
	return 0;
}

static char out[4096];

/* Return: the wait status; its stdout and stderr are in @out. */
static int run(const char *fault)
{
	char name[] = "test_fault", mode[] = "child", var[300];
	char *argv[] = { name, mode, NULL }, *envp[] = { var, NULL };
	posix_spawn_file_actions_t fa;
	size_t len = 0;
	int p[2], status;
	ssize_t n;
	pid_t pid;

	snprintf(var, sizeof(var), "PW_FAULT=%s", fault);
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_adddup2(&fa, p[1], 1);
	posix_spawn_file_actions_adddup2(&fa, p[1], 2);
	assert_int_equal(posix_spawn(&pid, "/proc/self/exe", &fa, NULL, argv, envp), 0);
	posix_spawn_file_actions_destroy(&fa);
	close(p[1]);
	while ((n = read(p[0], out + len, sizeof(out) - 1 - len)) > 0)
		len += (size_t)n;
	out[len] = '\0';
	close(p[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void expect(const char *fault, int e1, int e2, int e3, int e4, int e5)
{
	char want[128];

	assert_int_equal(run(fault), 0);
	snprintf(want, sizeof(want), "%d %d %d %d %d ", e1, e2, e3, e4, e5);
	assert_string_equal(out, want);
}

static void test_fault__unset_fails_nothing(void **state)
{
	expect("", 0, 0, 0, 0, 0);
}

static void test_fault__count(void **state)
{
	assert_int_equal(run("count"), 0);
	assert_non_null(strstr(out, "0 0 0 0 0 "));
	assert_non_null(strstr(out, "fault points: 5\n"));
}

static void test_fault__nth_with_eio_or_its_own_error(void **state)
{
	expect("1", -EIO, 0, 0, 0, 0);
	expect("2", 0, -ENOSPC, 0, 0, 0);
	expect("5", 0, 0, 0, 0, -EIO);
	expect("6", 0, 0, 0, 0, 0);
}

static void test_fault__named_fails_each_time(void **state)
{
	expect("two:ENOSPC", 0, -ENOSPC, 0, -ENOSPC, 0);
	expect("none:EIO", 0, 0, 0, 0, 0);
}

static void test_fault__while_the_file_exists(void **state)
{
	char path[] = "/tmp/pw-test-fault-XXXXXX", fault[300];
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	close(fd);
	snprintf(fault, sizeof(fault), "one:EACCES@%s", path);
	expect(fault, -EACCES, 0, 0, 0, 0);
	unlink(path);
	expect(fault, 0, 0, 0, 0, 0);
}

static void test_fault__kill(void **state)
{
	int status = run("three:kill");

	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	assert_string_equal(out, "");
	expect("three:kill@/nonexistent/file", 0, 0, 0, 0, 0);
}

static void test_fault__not_understood_ends_the_process(void **state)
{
	static const char *const bad[] = { "one",      "one:", ":EIO",	    "one:ENOTANERROR",
					   "one:EIO@", "12x",  "one:killed" };

	for (size_t i = 0; i < PW_ARRAY_SIZE(bad); i++) {
		int status = run(bad[i]);

		assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 2);
		assert_non_null(strstr(out, bad[i]));
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fault__unset_fails_nothing),
		cmocka_unit_test(test_fault__count),
		cmocka_unit_test(test_fault__nth_with_eio_or_its_own_error),
		cmocka_unit_test(test_fault__named_fails_each_time),
		cmocka_unit_test(test_fault__while_the_file_exists),
		cmocka_unit_test(test_fault__kill),
		cmocka_unit_test(test_fault__not_understood_ends_the_process),
	};

	if (argc == 2 && !strcmp(argv[1], "child"))
		return child();
	return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
