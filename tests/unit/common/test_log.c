/* SPDX-License-Identifier: Apache-2.0 */
/* test_log.c -- what lands on stderr: prefix, level, one line each, rate limit, the kept errors */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/log.h"

static int real_stderr, captured;
static char text[1 << 16];

/* stderr is a memory file during a test: what was written is read back by stop_capture(). */
static void start_capture(void)
{
	fflush(stderr);
	real_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
	captured = memfd_create("stderr", MFD_CLOEXEC);
	assert_true(real_stderr >= 0 && captured >= 0);
	/* as a log file has it; without it two writers of a memfd share a position and no lock */
	assert_int_equal(fcntl(captured, F_SETFL, O_APPEND), 0);
	dup2(captured, STDERR_FILENO);
}

static const char *stop_capture(void)
{
	ssize_t n;

	dup2(real_stderr, STDERR_FILENO);
	n = pread(captured, text, sizeof(text) - 1, 0);
	assert_true(n >= 0);
	text[n] = '\0';
	close(captured);
	close(real_stderr);
	return text;
}

static unsigned int count(const char *s, const char *what)
{
	unsigned int n = 0;

	for (; (s = strstr(s, what)); s += strlen(what))
		n++;
	return n;
}

static int reset(void **state)
{
	unsetenv("JOURNAL_STREAM");
	unsetenv("PW_LOG");
	pw_log_set_level(PW_LOG_INFO);
	pw_log_init("prog");
	return 0;
}

static void test_log__has_time_name_level_and_text(void **state)
{
	int y, mo, d, h, mi, s, ms, end = 0;
	const char *t;

	start_capture();
	pw_log_warn("conn node%d: gone", 3);
	t = stop_capture();
	assert_int_equal(sscanf(t, "%d-%d-%d %d:%d:%d.%3d%n", &y, &mo, &d, &h, &mi, &s, &ms, &end),
			 7);
	assert_string_equal(t + end, " prog warn: conn node3: gone\n");
}

static void test_log__levels_from_environment(void **state)
{
	const char *t;

	setenv("PW_LOG", "warn", 1);
	pw_log_init("prog");
	start_capture();
	pw_log_info("hidden");
	pw_log_debug("hidden");
	pw_log_warn("seen");
	pw_log_err("seen");
	t = stop_capture();
	assert_int_equal(count(t, "hidden"), 0);
	assert_int_equal(count(t, "seen"), 2);
	setenv("PW_LOG", "debug", 1);
	pw_log_init("prog");
	start_capture();
	pw_log_debug("now seen");
	assert_int_equal(count(stop_capture(), "now seen"), 1);
}

static void test_log__unknown_level_is_said(void **state)
{
	setenv("PW_LOG", "loud", 1);
	start_capture();
	pw_log_init("prog");
	assert_non_null(strstr(stop_capture(), "PW_LOG is 'loud'"));
	assert_int_equal(pw_log_level(), PW_LOG_INFO);
}

static void test_log__journal_prefix_only_when_stderr_is_it(void **state)
{
	char id[64];
	struct stat st;
	const char *t;

	start_capture();
	fstat(STDERR_FILENO, &st);
	snprintf(id, sizeof(id), "%llu:%llu", (unsigned long long)st.st_dev,
		 (unsigned long long)st.st_ino);
	setenv("JOURNAL_STREAM", id, 1);
	pw_log_init("prog");
	pw_log_err("bad");
	pw_log_info("fine");
	t = stop_capture();
	assert_string_equal(t, "<3>bad\n<6>fine\n");
	/* stderr is another file now, as after a redirect */
	start_capture();
	pw_log_init("prog");
	pw_log_info("fine");
	t = stop_capture();
	assert_null(strchr(t, '<'));
}

static void test_log__percent_m_and_errno_survive(void **state)
{
	start_capture();
	errno = ENOSPC;
	pw_log_err("disk: %m");
	assert_int_equal(errno, ENOSPC);
	assert_non_null(strstr(stop_capture(), "disk: No space left on device\n"));
}

static void test_log__a_name_cannot_forge_a_line(void **state)
{
	const char *t;

	start_capture();
	pw_log_warn("file '%s'", "a\n<0>forged\x1b[31m");
	t = stop_capture();
	assert_non_null(strstr(t, "file 'a?<0>forged?[31m'\n"));
	assert_int_equal(count(t, "\n"), 1);
}

static void test_log__long_line_is_cut_and_ends(void **state)
{
	char big[4000];
	const char *t;

	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	start_capture();
	pw_log_err("%s", big);
	pw_log_err("next");
	t = stop_capture();
	assert_int_equal(count(t, "\n"), 2);
	assert_true(strlen(t) > 1000 && strlen(t) < 1200);
}

static void test_log_rl__ten_lines_then_says_how_many(void **state)
{
	struct pw_log_rate r = { 0 };
	const char *t;
	int ok = 0;

	for (int i = 0; i < 25; i++)
		ok += pw_log_rate_ok(&r);
	assert_int_equal(ok, 10);
	assert_int_equal(r.dropped, 15);
	/* a second later */
	r.window_ns -= PW_NS_PER_S;
	start_capture();
	assert_true(pw_log_rate_ok(&r));
	t = stop_capture();
	assert_non_null(strstr(t, "left out 15 lines"));
	assert_int_equal(r.dropped, 0);
	start_capture();
	for (int i = 0; i < 30; i++)
		pw_log_rl(PW_LOG_INFO, "limited");
	t = stop_capture();
	assert_int_equal(count(t, "limited"), 10);
}

static char seen[16][64];
static int nr_seen;

static void see(void *arg, uint64_t when_ns, const char *line)
{
	assert_ptr_equal(arg, seen);
	assert_true(when_ns > 0);
	snprintf(seen[nr_seen++], sizeof(seen[0]), "%s", line);
}

static void test_log_last_errors__newest_sixteen_in_order(void **state)
{
	start_capture();
	for (int i = 0; i < 20; i++) {
		pw_log_warn("event %d", i);
		pw_log_info("no event");
	}
	stop_capture();
	nr_seen = 0;
	pw_log_last_errors(see, seen);
	assert_int_equal(nr_seen, 16);
	assert_string_equal(seen[0], "event 4");
	assert_string_equal(seen[15], "event 19");
}

static void *log_many(void *arg)
{
	for (int i = 0; i < 100; i++) {
		pw_log_warn("thread line");
		pw_log_rl(PW_LOG_WARN, "limited");
	}
	return NULL;
}

static void test_log__threads_do_not_mix_lines(void **state)
{
	pthread_t t[2];
	const char *s;

	start_capture();
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&t[i], NULL, log_many, NULL), 0);
	nr_seen = 0;
	pw_log_last_errors(see, seen);
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	s = stop_capture();
	assert_int_equal(count(s, " prog warn: thread line\n"), 200);
}

#define T(name) cmocka_unit_test_setup(name, reset)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_log__has_time_name_level_and_text),
		T(test_log__levels_from_environment),
		T(test_log__unknown_level_is_said),
		T(test_log__journal_prefix_only_when_stderr_is_it),
		T(test_log__percent_m_and_errno_survive),
		T(test_log__a_name_cannot_forge_a_line),
		T(test_log__long_line_is_cut_and_ends),
		T(test_log_rl__ten_lines_then_says_how_many),
		T(test_log_last_errors__newest_sixteen_in_order),
		T(test_log__threads_do_not_mix_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
