/* SPDX-License-Identifier: Apache-2.0 */
/* test_ask.c -- daemons that answer, that say nothing, that talk nonsense, that are gone */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "client_fs/cli/ask.h"
#include "client_fs/cli/json_path.h"

#define SHORT_MS 200u

struct server {
	char path[108];
	int fd;
	const char *answer; /* NULL: accepts nothing */
	size_t piece;	    /* bytes per send */
	bool stays;	    /* does not end the connection */
	char got[256];	    /* what it was asked */
	pthread_t thread;
};

static char dir[] = "/tmp/pw-ask-XXXXXX";

static void serve_one(struct server *s)
{
	int fd = accept(s->fd, NULL, NULL);
	size_t len = strlen(s->answer);
	char byte;

	if (fd < 0)
		return;
	(void)!recv(fd, s->got, sizeof(s->got) - 1, 0);
	for (size_t off = 0; off < len; off += s->piece)
		(void)!send(fd, s->answer + off, PW_MIN(s->piece, len - off), MSG_NOSIGNAL);
	if (s->stays)
		(void)!recv(fd, &byte, 1, 0); /* until the other side has enough */
	close(fd);
}

static void *run(void *arg)
{
	serve_one(arg);
	return NULL;
}

static void start(struct server *s, const char *name, const char *answer, size_t piece, bool stays)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	*s = (struct server){ .answer = answer, .piece = piece, .stays = stays };
	snprintf(s->path, sizeof(s->path), "%s/%s", dir, name);
	strcpy(a.sun_path, s->path);
	s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(s->fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(s->fd, 4), 0);
	if (answer)
		assert_int_equal(pthread_create(&s->thread, NULL, run, s), 0);
}

static void stop(struct server *s)
{
	if (s->answer)
		pthread_join(s->thread, NULL);
	close(s->fd);
	unlink(s->path);
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void test_run__answer_in_pieces(void **state)
{
	struct pwc_asks a = { .nr = 0 };
	struct server s[2];

	(void)state;
	/* one ends the connection behind its answer, the other one only the line */
	start(&s[0], "ends", "{\"pid\": 17}", 3, false);
	start(&s[1], "stays", "{\"pid\": 18}\n", 1, true);
	assert_int_equal(pwc_asks_add(&a, s[0].path), 0);
	assert_int_equal(pwc_asks_add(&a, s[1].path), 0);
	pwc_asks_run(&a, "status", 5000);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(a.ask[i].err, 0);
		assert_int_equal(pwc_json_number(a.ask[i].answer, "pid"), 17 + i);
		assert_int_equal(a.ask[i].pid, getpid());
	}
	pwc_asks_fini(&a);
	stop(&s[0]);
	stop(&s[1]);
	assert_string_equal(s[0].got, "{\"cmd\": \"status\"}\n");
}

static void test_run__silent_ones_cost_one_deadline(void **state)
{
	struct pwc_asks a = { .nr = 0 };
	struct server s[4];
	uint64_t start_ms, spent_ms;

	(void)state;
	for (int i = 0; i < 3; i++) {
		char name[16];

		snprintf(name, sizeof(name), "silent%d", i);
		start(&s[i], name, NULL, 1, false);
		assert_int_equal(pwc_asks_add(&a, s[i].path), 0);
	}
	start(&s[3], "good", "{}\n", 8, false);
	assert_int_equal(pwc_asks_add(&a, s[3].path), 0);
	start_ms = now_ms();
	pwc_asks_run(&a, "status", SHORT_MS);
	spent_ms = now_ms() - start_ms;
	assert_true(spent_ms >= SHORT_MS - 20);
	assert_true(spent_ms < 3 * SHORT_MS);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(a.ask[i].err, -ETIMEDOUT);
		assert_null(a.ask[i].answer);
		/* who does not answer is known all the same */
		assert_int_equal(a.ask[i].pid, getpid());
		assert_int_not_equal(a.ask[i].state, 0);
	}
	assert_int_equal(a.ask[3].err, 0);
	pwc_asks_fini(&a);
	for (int i = 0; i < 4; i++)
		stop(&s[i]);
}

static void test_run__nonsense(void **state)
{
	static const char *const answers[] = { "", "hello\n", "[1, 2]\n", "{\"pid\": 1", "17\n" };
	struct server s;

	(void)state;
	for (size_t i = 0; i < PW_ARRAY_SIZE(answers); i++) {
		struct pwc_asks a = { .nr = 0 };

		start(&s, "nonsense", answers[i], 64, false);
		assert_int_equal(pwc_asks_add(&a, s.path), 0);
		pwc_asks_run(&a, "status", 5000);
		assert_int_equal(a.ask[0].err, -EPROTO);
		assert_null(a.ask[0].answer);
		pwc_asks_fini(&a);
		stop(&s);
	}
}

static void test_run__nobody(void **state)
{
	struct pwc_asks a = { .nr = 0 };
	struct server s;

	(void)state;
	start(&s, "gone", NULL, 1, false);
	close(s.fd);
	assert_int_equal(pwc_asks_add(&a, s.path), 0);
	assert_int_equal(pwc_asks_add(&a, "/nonexistent/socket"), 0);
	pwc_asks_run(&a, "status", 5000);
	assert_int_equal(a.ask[0].err, -ECONNREFUSED);
	assert_int_equal(a.ask[1].err, -ENOENT);
	assert_int_equal(a.ask[0].pid, 0);
	pwc_asks_fini(&a);
	unlink(s.path);
}

static void test_add_dir__by_prefix(void **state)
{
	struct pwc_asks a = { .nr = 0 };
	struct server s[2];
	char file[128];
	FILE *f;

	(void)state;
	start(&s[0], "mount-x", NULL, 1, false);
	start(&s[1], "node-1", NULL, 1, false);
	snprintf(file, sizeof(file), "%s/mount-file", dir);
	f = fopen(file, "w");
	assert_non_null(f);
	fclose(f);
	assert_int_equal(pwc_asks_add_dir(&a, dir, "mount-"), 0);
	assert_int_equal(a.nr, 1);
	assert_string_equal(a.ask[0].path, s[0].path);
	assert_int_equal(pwc_asks_add_dir(&a, "/nonexistent", "mount-"), 0);
	assert_int_equal(a.nr, 1);
	pwc_asks_fini(&a);
	unlink(file);
	stop(&s[0]);
	stop(&s[1]);
}

static int make_dir(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	(void)state;
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_run__answer_in_pieces),
		cmocka_unit_test(test_run__silent_ones_cost_one_deadline),
		cmocka_unit_test(test_run__nonsense),
		cmocka_unit_test(test_run__nobody),
		cmocka_unit_test(test_add_dir__by_prefix),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
