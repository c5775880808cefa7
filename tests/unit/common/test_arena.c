/* SPDX-License-Identifier: Apache-2.0 */
/* test_arena.c -- mapping, carving up, what a child gets, re-attach of a memfd */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/arena.h"

static void test_arena_alloc__aligned_until_used_up(void **state)
{
	struct pw_arena a;
	uint8_t *p, *q;

	assert_int_equal(pw_arena_init(&a, 10000, 0, "t", NULL), 0);
	assert_int_equal(a.size, 12288);
	assert_int_equal(a.fd, -1);
	p = pw_arena_alloc(&a, 100, 8);
	q = pw_arena_alloc(&a, 4096, 4096);
	assert_ptr_equal(p, a.base);
	assert_ptr_equal(q, a.base + 4096);
	assert_null(pw_arena_alloc(&a, 4097, 1));
	assert_null(pw_arena_alloc(&a, SIZE_MAX, 1));
	assert_non_null(pw_arena_alloc(&a, 4096, 1));
	assert_null(pw_arena_alloc(&a, 1, 1));
	for (size_t i = 0; i < a.size; i++)
		assert_int_equal(a.base[i], 0);
	pw_arena_fini(&a);
	pw_arena_fini(&a);
}

static void test_arena_init__refuses_nothing_and_too_much(void **state)
{
	struct pw_arena a;

	assert_int_equal(pw_arena_init(&a, 0, 0, "t", NULL), -EINVAL);
	assert_int_equal(pw_arena_init(&a, SIZE_MAX, 0, "t", NULL), -EINVAL);
	assert_int_equal(pw_arena_init(&a, (size_t)1 << 60, PW_ARENA_HUGE, "t", NULL), -ENOMEM);
	pw_arena_fini(&a);
}

/* With or without huge pages set aside on this machine. */
static void test_arena_init__huge_or_not_works(void **state)
{
	for (uint32_t flags = PW_ARENA_HUGE; flags <= (PW_ARENA_HUGE | PW_ARENA_MEMFD);
	     flags += 2) {
		struct pw_arena a;

		assert_int_equal(pw_arena_init(&a, 3 << 20, flags, "t", NULL), 0);
		assert_true(a.size >= 3 << 20);
		if (a.huge)
			assert_int_equal(a.size % (2 << 20), 0);
		memset(a.base, 1, a.size);
		pw_arena_fini(&a);
	}
}

static void test_arena__child_does_not_inherit_it(void **state)
{
	struct pw_arena a;
	int status;
	pid_t pid;

	assert_int_equal(pw_arena_init(&a, 4096, 0, "t", NULL), 0);
	a.base[0] = 1;
	pid = fork();
	if (!pid) {
		unsigned char v;

		/* mincore() tells without touching it */
		_exit(mincore(a.base, 4096, &v) && errno == ENOMEM ? 7 : 8);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 7);
	pw_arena_fini(&a);
}

static void test_arena_attach__same_bytes_at_the_same_address(void **state)
{
	struct pw_arena a, b;
	uint8_t *base;
	int fd;

	assert_int_equal(pw_arena_init(&a, 1 << 20, PW_ARENA_MEMFD, "t", NULL), 0);
	assert_int_equal(fcntl(a.fd, F_GET_SEALS), F_SEAL_SHRINK | F_SEAL_GROW);
	memcpy(pw_arena_alloc(&a, 6, 1), "hello", 6);
	fd = fcntl(a.fd, F_DUPFD_CLOEXEC, 3);
	base = a.base;
	/* somebody sits at the address */
	assert_int_equal(pw_arena_attach(&b, fd, base), -EEXIST);
	pw_arena_fini(&a);
	assert_int_equal(pw_arena_attach(&b, fd, base), 0);
	assert_ptr_equal(b.base, base);
	assert_int_equal(b.size, 1 << 20);
	assert_string_equal((char *)b.base, "hello");
	pw_arena_fini(&b);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
}

static void test_arena_attach__not_a_memfd(void **state)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct pw_arena a;

	assert_int_equal(pw_arena_attach(&a, -1, NULL), -EBADF);
	assert_int_equal(pw_arena_attach(&a, fd, NULL), -EINVAL);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_arena_alloc__aligned_until_used_up),
		cmocka_unit_test(test_arena_init__refuses_nothing_and_too_much),
		cmocka_unit_test(test_arena_init__huge_or_not_works),
		cmocka_unit_test(test_arena__child_does_not_inherit_it),
		cmocka_unit_test(test_arena_attach__same_bytes_at_the_same_address),
		cmocka_unit_test(test_arena_attach__not_a_memfd),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
