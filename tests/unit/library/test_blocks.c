/* SPDX-License-Identifier: Apache-2.0 */
/* test_blocks.c -- the arena of libpagewire-alloc.so, without malloc() in front of it */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "libpagewire/alloc/blocks.h"

#define MIB ((size_t)1 << 20)

/* Handlers of a library that was there first: they are called while it is not our turn. */
static uint8_t *of_library;

static void library_before(void)
{
	bool zero;

	assert_null(of_library ? pw_blocks_get(MIB, 1, &zero) : NULL);
}

static void library_in_child(void)
{
	if (!of_library)
		return;
	pw_blocks_discard(of_library, MIB);
	pw_blocks_put(of_library);
}

static int start(void **state)
{
	(void)state;
	pthread_atfork(library_before, NULL, library_in_child);
	setenv("PAGEWIRE_ALLOC_TOTAL", "192M", 1);
	assert_false(pw_blocks_have(&pw_blocks_min));
	pw_blocks_start();
	assert_int_equal(atomic_load(&pw_blocks_min), MIB);
	return 0;
}

static uint8_t *get(size_t len, bool *ret_zero)
{
	uint8_t *p = pw_blocks_get(len, 1, ret_zero);

	assert_non_null(p);
	assert_true(pw_blocks_have(p) && pw_blocks_size(p) >= len);
	return p;
}

static void test_get__until_the_total(void **state)
{
	uint8_t *p[4];
	bool zero;

	(void)state;
	/* each is more than the next chunk would be */
	p[0] = get(64 * MIB, &zero);
	p[1] = get(64 * MIB, &zero);
	p[2] = get(64 * MIB, &zero);
	assert_null(pw_blocks_get(MIB, 1, &zero));
	assert_null(pw_blocks_get(SIZE_MAX, 1, &zero));
	assert_null(pw_blocks_get(1, (size_t)1 << 62, &zero));
	pw_blocks_put(p[1]);
	p[3] = get(64 * MIB, &zero);
	assert_ptr_equal(p[1], p[3]);
	pw_blocks_put(p[0]);
	pw_blocks_put(p[2]);
	pw_blocks_put(p[3]);
}

static void test_get__zero_again(void **state)
{
	bool zero;

	(void)state;
	for (int i = 0; i < 3; i++) {
		uint8_t *p = get(2 * MIB, &zero);

		assert_true(zero);
		for (size_t k = 0; k < 2 * MIB; k += 512)
			assert_int_equal(p[k], 0);
		memset(p, 7, 2 * MIB);
		pw_blocks_discard(p + MIB, 4096);
		assert_int_equal(p[MIB - 1] + p[MIB] + p[MIB + 4095] + p[MIB + 4096], 14);
		assert_true(pw_blocks_resize(p, MIB));
		assert_true(pw_blocks_resize(p, 3 * MIB));
		assert_int_equal(p[MIB - 1], 7);
		assert_int_equal(p[MIB + 5000], 0);
		assert_false(pw_blocks_resize(p, 1000 * MIB));
		pw_blocks_put(p);
	}
}

static void test_fork__a_private_copy(void **state)
{
	bool zero;
	uint8_t *p = get(3 * MIB, &zero), *q;
	int status;
	pid_t pid;

	(void)state;
	memset(p, 1, 3 * MIB);
	pid = fork();
	if (!pid) {
		bool ok = p[0] == 1 && p[3 * MIB - 1] == 1;

		memset(p, 2, 3 * MIB);
		q = pw_blocks_get(2 * MIB, 1, &zero);
		ok = ok && q && q != p && pw_blocks_resize(p, MIB) && !pw_blocks_resize(p, 5 * MIB);
		pw_blocks_put(p);
		pw_blocks_put(q);
		_exit(ok && !pw_blocks_size(p) ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(p[0] + p[3 * MIB - 1], 2);
	pw_blocks_put(p);
}

static void test_fork__handlers_that_come_before_ours(void **state)
{
	bool zero;
	int status;
	pid_t pid;

	(void)state;
	of_library = get(2 * MIB, &zero);
	memset(of_library, 5, 2 * MIB);
	pid = fork();
	if (!pid)
		_exit(pw_blocks_size(of_library) ? 0 : 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	/* what it did in the child has done nothing to us */
	assert_int_equal(of_library[0] + of_library[2 * MIB - 1], 10);
	pw_blocks_put(of_library);
	of_library = NULL;
}

static void *churn(void *arg)
{
	uint32_t seed = (uint32_t)(uintptr_t)arg;
	size_t *held[4] = { NULL };

	for (int k = 0; k < 300; k++) {
		uint32_t s = (seed = seed * 1664525u + 1013904223u) >> 24 & 3;
		size_t len = ((seed >> 10) % 20 + 1) * PW_BLOCKS_GRANULE;
		bool zero;

		if (held[s]) { /* its first and last words say whose it is */
			size_t last = pw_blocks_size(held[s]) / sizeof(size_t) - 1;

			if (held[s][0] != (uintptr_t)arg || held[s][last] != (uintptr_t)arg)
				return (void *)(uintptr_t)__LINE__;
			pw_blocks_put(held[s]);
			held[s] = NULL;
		} else {
			held[s] = pw_blocks_get(len, 1, &zero);
			if (!held[s])
				return (void *)(uintptr_t)__LINE__;
			if (held[s][0] || !zero)
				return (void *)(uintptr_t)__LINE__;
			held[s][0] = (uintptr_t)arg;
			held[s][pw_blocks_size(held[s]) / sizeof(size_t) - 1] = (uintptr_t)arg;
		}
	}
	for (int s = 0; s < 4; s++) {
		if (held[s])
			pw_blocks_put(held[s]);
	}
	return NULL;
}

static void test_threads__each_has_its_own(void **state)
{
	pthread_t t[4];
	void *odd;

	(void)state;
	for (uintptr_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, churn, (void *)(i + 1)), 0);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(t[i], &odd), 0);
		assert_null(odd);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_get__until_the_total),
		cmocka_unit_test(test_get__zero_again),
		cmocka_unit_test(test_fork__a_private_copy),
		cmocka_unit_test(test_fork__handlers_that_come_before_ours),
		cmocka_unit_test(test_threads__each_has_its_own),
	};

	return cmocka_run_group_tests(tests, start, NULL);
}
