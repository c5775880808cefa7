/* SPDX-License-Identifier: Apache-2.0 */
/* test_buf.c -- the pool of staging buffers */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "storage_node/buf.h"

/* NULL: a fault point failed, which is what it is there for. */
static struct pws_bufpool *new_pool(uint32_t nr, uint32_t size)
{
	struct pws_bufpool *p = NULL;
	int err = pws_bufpool_new(nr, size, &p);

	if (err && getenv("PW_FAULT"))
		assert_int_equal(err, -ENOMEM);
	else
		assert_int_equal(err, 0);
	return p;
}

static void test_new__aligned_and_apart(void **state)
{
	struct pws_bufpool *p = new_pool(3, 5000);
	struct pws_buf *b[3];
	size_t len;
	void *base;

	if (!p)
		return;
	pws_bufpool_area(p, &base, &len);
	assert_true(len >= 3 * 8192);
	assert_int_equal(pws_bufpool_nr_free(p), 3);
	for (uint32_t i = 0; i < 3; i++) {
		b[i] = pws_buf_get(p);
		assert_int_equal((uintptr_t)b[i]->mem % 4096, 0);
		assert_int_equal(b[i]->size, 8192);
		assert_true(b[i]->mem >= (uint8_t *)base);
		assert_true(b[i]->mem + b[i]->size <= (uint8_t *)base + len);
		memset(b[i]->mem, (int)i + 1, b[i]->size);
	}
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(b[i]->mem[0], i + 1);
		assert_int_equal(b[i]->mem[8191], i + 1);
		pws_buf_put(p, b[i]);
	}
	pws_bufpool_free(p);
}

static void test_get__empty_pool(void **state)
{
	struct pws_bufpool *p = new_pool(1, 4096);
	struct pws_buf *b;

	if (!p)
		return;
	b = pws_buf_get(p);
	assert_null(pws_buf_get(p));
	assert_int_equal(pws_bufpool_nr_free(p), 0);
	pws_buf_put(p, b);
	pws_buf_put(p, NULL);
	assert_ptr_equal(pws_buf_get(p), b);
	pws_buf_put(p, b);
	pws_bufpool_free(p);
}

static void test_new__refuses_nothing(void **state)
{
	struct pws_bufpool *p;

	assert_int_equal(pws_bufpool_new(0, 4096, &p), -EINVAL);
	assert_int_equal(pws_bufpool_new(1, 0, &p), -EINVAL);
	assert_int_equal(pws_bufpool_new(1, UINT32_MAX, &p), -EINVAL);
	pws_bufpool_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_new__aligned_and_apart),
		cmocka_unit_test(test_get__empty_pool),
		cmocka_unit_test(test_new__refuses_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
