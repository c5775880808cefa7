/* SPDX-License-Identifier: Apache-2.0 */
/* test_sm.c -- allowed and forbidden moves, the trace and its dump */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/sm.h"

enum { A, B, C, NR };

static const struct pw_sm_state states[NR] = {
	[A] = { "start", PW_SM_TO(B) | PW_SM_TO(C) },
	[B] = { "middle", PW_SM_TO(C) },
	[C] = { "end", 0 },
};
static const struct pw_sm_type type = PW_SM_TYPE("test", states);

static char text[1 << 20];

static const char *dump(uint32_t max)
{
	int fd = memfd_create("dump", MFD_CLOEXEC);
	ssize_t n;

	pw_sm_dump(fd, max);
	n = pread(fd, text, sizeof(text) - 1, 0);
	assert_true(n >= 0);
	text[n] = '\0';
	close(fd);
	return text;
}

static void test_sm_can__is_the_table(void **state)
{
	for (uint32_t from = 0; from < NR; from++)
		for (uint32_t to = 0; to < NR; to++) {
			struct pw_sm sm;

			pw_sm_init(&sm, &type, from);
			assert_int_equal(pw_sm_can(&sm, to),
					 !!(states[from].allowed & PW_SM_TO(to)));
		}
	struct pw_sm sm;

	pw_sm_init(&sm, &type, A);
	/* also numbers that a shift of 32 bits would take for others */
	for (uint32_t to = NR; to < 200; to++)
		assert_false(pw_sm_can(&sm, to));
}

static void test_sm_move__stamps_and_traces(void **state)
{
	char want[128];
	struct pw_sm sm;

	pw_sm_set_now(1000);
	pw_sm_init(&sm, &type, A);
	assert_int_equal(sm.since_ns, 1000);
	pw_sm_set_now(2500);
	pw_sm_move(&sm, B, 42);
	assert_int_equal(sm.state, B);
	assert_int_equal(sm.since_ns, 2500);
	assert_string_equal(pw_sm_state_name(&sm), "middle");
	pw_sm_move(&sm, C, 7);
	assert_int_equal(sm.moves, 2);
	snprintf(want, sizeof(want),
		 "2500 test %p start -> middle 42\n2500 test %p middle -> end 7\n", (void *)&sm,
		 (void *)&sm);
	assert_string_equal(dump(2), want);
}

static void test_sm_dump__keeps_the_newest(void **state)
{
	static const struct pw_sm_state loop_states[] = { { "x", PW_SM_TO(0) } };
	static const struct pw_sm_type loop_type = PW_SM_TYPE("loop", loop_states);
	unsigned int lines = 0;
	struct pw_sm sm;
	const char *s;

	pw_sm_init(&sm, &loop_type, 0);
	for (uint32_t i = 0; i < 10000; i++)
		pw_sm_move(&sm, 0, i);
	s = dump(0);
	for (const char *p = s; *p; p++)
		lines += *p == '\n';
	assert_int_equal(lines, 8192);
	assert_non_null(strstr(s, "x -> x 1808\n"));
	assert_null(strstr(s, "x -> x 1807\n"));
	assert_non_null(strstr(s, "x -> x 9999\n"));
}

/* Return: what a child wrote to stderr that makes the move; it has to die by SIGABRT. */
static const char *move_in_child(uint32_t from, uint32_t to)
{
	int p[2], status;
	size_t len = 0;
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	pid = fork();
	if (!pid) {
		struct pw_sm sm;

		dup2(p[1], STDERR_FILENO);
		/* cmocka catches SIGABRT: here it is to be ours alone */
		signal(SIGABRT, SIG_DFL);
		pw_sm_dump_on_abort();
		pw_sm_init(&sm, &type, from);
		pw_sm_move(&sm, to, 99);
		_exit(0);
	}
	close(p[1]);
	while ((n = read(p[0], text + len, sizeof(text) - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	close(p[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	return text;
}

static void test_sm_move__forbidden_asserts_and_dumps(void **state)
{
	const char *s = move_in_child(B, A);

	assert_non_null(strstr(s, "pw_sm_can"));
	assert_non_null(strstr(s, "middle -> start 99\n"));
	/* a state that is not in the table: named, not followed */
	assert_non_null(strstr(move_in_child(A, 200), "start -> ? 99\n"));
}

static void *move_many(void *arg)
{
	for (int i = 0; i < 5000; i++) {
		struct pw_sm sm;

		pw_sm_init(&sm, &type, A);
		pw_sm_move(&sm, B, 1);
		pw_sm_move(&sm, C, 2);
	}
	return NULL;
}

static void test_sm_move__threads_share_the_ring(void **state)
{
	pthread_t t[2];

	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&t[i], NULL, move_many, NULL), 0);
	dump(100);
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	assert_non_null(strstr(dump(0), "middle -> end 2\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sm_can__is_the_table),
		cmocka_unit_test(test_sm_move__stamps_and_traces),
		cmocka_unit_test(test_sm_dump__keeps_the_newest),
		cmocka_unit_test(test_sm_move__forbidden_asserts_and_dumps),
		cmocka_unit_test(test_sm_move__threads_share_the_ring),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
