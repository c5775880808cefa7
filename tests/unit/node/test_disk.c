/* SPDX-License-Identifier: Apache-2.0 */
/* test_disk.c -- disk_uring.c on a real file: transfers, the queue, fixed buffers, growth, the lock
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/uring.h"
#include "storage_node/store/disk.h"

#define NR_IOS 500u

struct world {
	struct pw_loop *loop;
	struct pws_disk *disk;
	char dir[64], path[80];
	uint32_t told, wanted;
	int err;
};

static struct world *w;

static int set_up(void **state)
{
	const char *tmp = getenv("TMPDIR");
	struct pw_loop_opts o = { .sq_entries = 64, .max_ios = 256 };

	(void)state;
	w = calloc(1, sizeof(*w));
	snprintf(w->dir, sizeof(w->dir), "%.40s/pw-disk-XXXXXX", tmp ? tmp : "/var/tmp");
	assert_non_null(mkdtemp(w->dir));
	snprintf(w->path, sizeof(w->path), "%s/data", w->dir);
	assert_int_equal(pw_loop_new(&w->loop, &o), 0);
	assert_int_equal(pws_disk_open(w->loop, w->path, true, PW_MIB, &w->disk), 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	if (w->disk)
		pws_disk_close(w->disk);
	pw_loop_free(w->loop);
	unlink(w->path);
	rmdir(w->dir);
	free(w);
	return 0;
}

static void on_done(struct pws_disk_io *io)
{
	(void)io;
	if (++w->told == w->wanted)
		pw_loop_stop(w->loop);
}

static void run(uint32_t wanted)
{
	w->told = 0;
	w->wanted = wanted;
	assert_int_equal(pw_loop_run(w->loop), 0);
	assert_int_equal(w->told, wanted);
}

static int io(enum pws_disk_op op, void *buf, uint64_t off, uint32_t len)
{
	struct pws_disk_io r = { .op = op, .buf = buf, .off = off, .len = len, .done = on_done };

	pw_list_init(&r.node);
	w->told = 0;
	pws_disk_submit(w->disk, &r);
	assert_int_equal(w->told, 0);
	run(1);
	return r.err;
}

static uint8_t *block_mem(uint32_t blocks)
{
	uint8_t *p = aligned_alloc(PWS_BLOCK, blocks * PWS_BLOCK);

	assert_non_null(p);
	return p;
}

static void test_open__makes_and_allocates(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(stat(w->path, &st), 0);
	assert_int_equal(st.st_size, PW_MIB);
	assert_true((uint64_t)st.st_blocks * 512 >= PW_MIB);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(pws_disk_size(w->disk), PW_MIB);
	assert_true(pws_disk_growable(w->disk) > 0);
}

static void test_open__second_one_is_refused(void **state)
{
	struct pws_disk *d;

	(void)state;
	assert_int_equal(pws_disk_open(w->loop, w->path, false, 0, &d), -EWOULDBLOCK);
	pws_disk_close(w->disk);
	w->disk = NULL;
	assert_int_equal(pws_disk_open(w->loop, w->path, false, 0, &d), 0);
	pws_disk_close(d);
}

static void test_open__errors(void **state)
{
	struct pws_disk *d;
	char path[100];

	(void)state;
	snprintf(path, sizeof(path), "%s/none", w->dir);
	assert_int_equal(pws_disk_open(w->loop, path, false, 0, &d), -ENOENT);
	assert_int_equal(pws_disk_open(w->loop, w->dir, false, 0, &d), -EISDIR);
	assert_int_equal(pws_disk_open(w->loop, "/dev/null", false, 0, &d), -EINVAL);
}

static void test_transfer__what_was_written_is_read(void **state)
{
	uint8_t *a = block_mem(16), *b = block_mem(16);

	(void)state;
	for (uint32_t i = 0; i < 16 * PWS_BLOCK; i++)
		a[i] = (uint8_t)(i * 7 + i / PWS_BLOCK);
	assert_int_equal(io(PWS_DISK_WRITE, a, 8 * PWS_BLOCK, 16 * PWS_BLOCK), 0);
	assert_int_equal(io(PWS_DISK_FLUSH, NULL, 0, 0), 0);
	assert_int_equal(io(PWS_DISK_READ, b, 8 * PWS_BLOCK, 16 * PWS_BLOCK), 0);
	assert_memory_equal(a, b, 16 * PWS_BLOCK);
	memset(b, 0, PWS_BLOCK);
	assert_int_equal(pws_disk_do(w->disk, PWS_DISK_READ, b, 9 * PWS_BLOCK, PWS_BLOCK), 0);
	assert_memory_equal(a + PWS_BLOCK, b, PWS_BLOCK);
	assert_int_equal(pws_disk_do(w->disk, PWS_DISK_WRITE, a, 0, PWS_BLOCK), 0);
	assert_int_equal(pws_disk_do(w->disk, PWS_DISK_FLUSH, NULL, 0, 0), 0);
	assert_int_equal(io(PWS_DISK_READ, b, 0, PWS_BLOCK), 0);
	assert_memory_equal(a, b, PWS_BLOCK);
	free(a);
	free(b);
}

static void test_transfer__behind_the_end_fails(void **state)
{
	uint8_t *a = block_mem(2);

	(void)state;
	/* one block is there, one is not: never half an answer */
	assert_int_equal(io(PWS_DISK_READ, a, PW_MIB - PWS_BLOCK, 2 * PWS_BLOCK), -EIO);
	assert_int_equal(io(PWS_DISK_READ, a, 2 * PW_MIB, PWS_BLOCK), -EIO);
	assert_int_equal(pws_disk_do(w->disk, PWS_DISK_READ, a, PW_MIB - PWS_BLOCK, 2 * PWS_BLOCK),
			 -EIO);
	free(a);
}

static void test_submit__more_than_the_queue_holds(void **state)
{
	static struct pws_disk_io ios[NR_IOS];
	uint8_t *mem = block_mem(NR_IOS);
	struct pws_disk_stats st;

	(void)state;
	for (uint32_t pass = 0; pass < 2; pass++) {
		for (uint32_t i = 0; i < NR_IOS; i++) {
			uint32_t at = i * 37 % 256;

			if (!pass)
				memset(mem + i * PWS_BLOCK, (int)at, PWS_BLOCK);
			ios[i] = (struct pws_disk_io){
				.op = pass ? PWS_DISK_READ : PWS_DISK_WRITE,
				.buf = mem + i * PWS_BLOCK,
				.off = at * PWS_BLOCK,
				.len = PWS_BLOCK,
				.done = on_done,
			};
			pw_list_init(&ios[i].node);
			pws_disk_submit(w->disk, &ios[i]);
		}
		run(NR_IOS);
		for (uint32_t i = 0; i < NR_IOS; i++) {
			assert_int_equal(ios[i].err, 0);
			assert_int_equal(mem[i * PWS_BLOCK + 100], i * 37 % 256);
		}
	}
	pws_disk_get_stats(w->disk, &st);
	assert_int_equal(st.writes, NR_IOS);
	assert_int_equal(st.reads, NR_IOS);
	assert_int_equal(st.bytes_read, NR_IOS * PWS_BLOCK);
	assert_true(st.stall_queue > 0);
	free(mem);
}

static void test_register__fixed_and_other_buffers(void **state)
{
	uint8_t *area = block_mem(64), *other = block_mem(4);

	(void)state;
	assert_int_equal(pws_disk_register(w->disk, area, 64 * PWS_BLOCK), 0);
	memset(area + 60 * PWS_BLOCK, 0x5a, 4 * PWS_BLOCK);
	assert_int_equal(io(PWS_DISK_WRITE, area + 60 * PWS_BLOCK, 0, 4 * PWS_BLOCK), 0);
	assert_int_equal(io(PWS_DISK_READ, other, 0, 4 * PWS_BLOCK), 0);
	assert_memory_equal(other, area + 60 * PWS_BLOCK, 4 * PWS_BLOCK);
	memset(other, 0xa5, PWS_BLOCK);
	assert_int_equal(io(PWS_DISK_WRITE, other, PWS_BLOCK, PWS_BLOCK), 0);
	assert_int_equal(io(PWS_DISK_READ, area, PWS_BLOCK, PWS_BLOCK), 0);
	assert_memory_equal(other, area, PWS_BLOCK);
	pws_disk_close(w->disk);
	w->disk = NULL;
	free(area);
	free(other);
}

static void on_grown(void *arg, int err)
{
	(void)arg;
	w->err = err;
	w->told++;
	pw_loop_stop(w->loop);
}

static void test_grow__allocates_and_can_be_used(void **state)
{
	uint8_t *a = block_mem(1);
	struct stat st;

	(void)state;
	pws_disk_grow(w->disk, 3 * PW_MIB + 1, on_grown, NULL);
	run(1);
	assert_int_equal(w->err, 0);
	assert_int_equal(pws_disk_size(w->disk), 3 * PW_MIB + PWS_BLOCK);
	assert_int_equal(stat(w->path, &st), 0);
	assert_true((uint64_t)st.st_blocks * 512 >= 3 * PW_MIB);
	memset(a, 1, PWS_BLOCK);
	assert_int_equal(io(PWS_DISK_WRITE, a, 3 * PW_MIB, PWS_BLOCK), 0);
	pws_disk_grow(w->disk, PW_MIB, on_grown, NULL); /* it is larger already */
	run(1);
	assert_int_equal(w->err, 0);
	assert_int_equal(pws_disk_size(w->disk), 3 * PW_MIB + PWS_BLOCK);
	free(a);
}

static void test_grow__no_space_leaves_it_as_it_was(void **state)
{
	struct stat before, after;

	(void)state;
	assert_int_equal(stat(w->path, &before), 0);
	pws_disk_grow(w->disk, pws_disk_growable(w->disk) * 4, on_grown, NULL);
	run(1);
	assert_true(w->err == -ENOSPC || w->err == -EFBIG);
	assert_int_equal(pws_disk_size(w->disk), PW_MIB);
	assert_int_equal(stat(w->path, &after), 0);
	assert_int_equal(after.st_size, before.st_size);
	assert_int_equal(after.st_blocks, before.st_blocks);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
#define DISK_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
		DISK_TEST(test_open__makes_and_allocates),
		DISK_TEST(test_open__second_one_is_refused),
		DISK_TEST(test_open__errors),
		DISK_TEST(test_transfer__what_was_written_is_read),
		DISK_TEST(test_transfer__behind_the_end_fails),
		DISK_TEST(test_submit__more_than_the_queue_holds),
		DISK_TEST(test_register__fixed_and_other_buffers),
		DISK_TEST(test_grow__allocates_and_can_be_used),
		DISK_TEST(test_grow__no_space_leaves_it_as_it_was),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
