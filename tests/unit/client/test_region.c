/* SPDX-License-Identifier: Apache-2.0 */
/* test_region.c -- the region table against files that are as they should be, files that are not,
 * applications that cheat, and a kernel that answers late or refuses */
#include <errno.h>
#include <fcntl.h>
#include <linux/udmabuf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "client_fs/region.h"
#include "common/mem.h"
#include "common/uring.h"

#define LEN	   (8u * 4096)
#define SIZE_SEALS (F_SEAL_SHRINK | F_SEAL_GROW)

static struct pw_loop *loop;
static struct pwc_regions t;
static struct pwc_region_owner app, other;
static char why[256];
static uint32_t nr_live, nr_idle;

/* A kernel that is told its answers. */
static struct {
	struct pwc_region *r; /* of the question that is out */
	uint32_t regs, unregs;
	int refuse; /* at once */
} kernel;

static int on_reg(void *owner, struct pwc_region *r)
{
	(void)owner;
	assert_true(fcntl(r->fd, F_GET_SEALS) > 0);
	if (kernel.refuse)
		return kernel.refuse;
	kernel.regs++;
	kernel.r = r;
	return 0;
}

static int on_unreg(void *owner, struct pwc_region *r)
{
	(void)owner;
	kernel.unregs++;
	kernel.r = r;
	return 0;
}

static const struct pwc_region_kernel table = { on_reg, on_unreg, NULL };

static void on_live(struct pwc_region_owner *o, struct pwc_region *r)
{
	assert_ptr_equal(r->owner, o);
	assert_int_equal(r->sm.state, PWC_REGION_LIVE);
	nr_live++;
}

static void on_idle(struct pwc_regions *regions)
{
	assert_ptr_equal(regions, &t);
	nr_idle++;
}

static void set_up_with(const struct pwc_region_kernel *k)
{
	struct pw_loop_opts o = { .sq_entries = 8, .max_ios = 8 };

	assert_int_equal(pw_loop_new(&loop, &o), 0);
	pwc_regions_init(&t, loop, k);
	t.on_idle = on_idle;
	app = (struct pwc_region_owner){ .uid = 1000, .pid = 42, .on_live = on_live };
	other = (struct pwc_region_owner){ .uid = 1000, .pid = 43, .on_live = on_live };
	memset(&kernel, 0, sizeof(kernel));
	nr_live = nr_idle = 0;
}

static int setup(void **state)
{
	(void)state;
	set_up_with(NULL);
	return 0;
}

static int setup_kernel(void **state)
{
	(void)state;
	set_up_with(&table);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	pwc_regions_fini(&t);
	pw_loop_free(loop);
	return 0;
}

static int file(size_t len, int seals, bool filled)
{
	int fd = memfd_create("app", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)len), 0);
	if (filled)
		assert_int_equal(fallocate(fd, 0, 0, (off_t)len), 0);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

static int add(struct pwc_region_owner *o, int fd, off_t off, size_t len, struct pwc_region **ret)
{
	struct pwc_region_ask ask = { fd, off, len };

	why[0] = '\0';
	return pwc_region_add(&t, o, &ask, ret, why, sizeof(why));
}

static struct pwc_region *must_add(struct pwc_region_owner *o, size_t len)
{
	int fd = file(len, SIZE_SEALS, true);
	struct pwc_region *r = NULL;

	assert_int_equal(add(o, fd, 0, len, &r), 0);
	close(fd);
	return r;
}

static void refused(int fd, off_t off, size_t len, int err, const char *word)
{
	struct pwc_region *r = NULL;

	assert_int_equal(add(&app, fd, off, len, &r), err);
	if (!strstr(why, word))
		fail_msg("\"%s\" does not say \"%s\"", why, word);
	assert_int_equal(t.nr, 0);
	close(fd);
}

static void turn_of_timer(void)
{
	assert_true(pw_timer_armed(&t.timer));
	pw_timer_cancel(loop, &t.timer);
	t.timer.fn(&t.timer);
}

static void test_add__mapped_shared_and_known_to_transports(void **state)
{
	struct pwc_region *r;
	int fd = file(LEN, SIZE_SEALS, true);
	uint8_t byte = 0x5a;
	uint32_t idx;

	(void)state;
	assert_int_equal(add(&app, fd, 4096, LEN - 4096, &r), 0);
	assert_int_equal(r->sm.state, PWC_REGION_LIVE);
	assert_int_equal(nr_live, 0);
	r->base[3] = 7;
	assert_int_equal(pread(fd, &byte, 1, 4096 + 3), 1);
	assert_int_equal(byte, 7);
	assert_non_null(pw_mem_find(r->base, r->len, &idx));
	pwc_region_end(r);
	assert_null(pw_mem_find(r->base, 1, &idx));
	assert_int_equal(r->sm.state, PWC_REGION_FREE);
	assert_int_equal(t.nr + t.bytes, 0);
	assert_int_equal(nr_idle, 1);
	close(fd);
}

static void test_add__says_what_to_do_with_a_file_that_is_not_as_it_should_be(void **state)
{
	char path[] = "/tmp/pw-region-XXXXXX";
	int disk = mkstemp(path);

	(void)state;
	assert_true(disk >= 0);
	unlink(path);
	refused(disk, 0, LEN, -EINVAL, "memfd");
	refused(file(LEN, 0, true), 0, LEN, -EPERM, "F_ADD_SEALS");
	refused(file(LEN, F_SEAL_GROW, true), 0, LEN, -EPERM, "F_ADD_SEALS");
	refused(file(LEN, F_SEAL_SHRINK, true), 0, LEN, -EPERM, "F_ADD_SEALS");
	refused(file(LEN, SIZE_SEALS | F_SEAL_WRITE, true), 0, LEN, -EPERM, "against writing");
	refused(file(LEN, SIZE_SEALS | F_SEAL_SEAL, true), 0, LEN, -EPERM, "F_SEAL_SEAL");
	refused(file(LEN, SIZE_SEALS, false), 0, LEN, -EINVAL, "fallocate");
	refused(file(LEN, F_SEAL_SEAL, true), 0, LEN, -EPERM, "cannot be sealed");
	refused(file(LEN, F_SEAL_SHRINK | F_SEAL_SEAL, true), 0, LEN, -EPERM, "cannot be sealed");
	assert_int_equal(t.refused, 9);
}

static void test_add__ranges_are_checked_without_overflow(void **state)
{
	(void)state;
	refused(file(LEN, SIZE_SEALS, true), 0, 0, -EINVAL, "whole pages");
	refused(file(LEN, SIZE_SEALS, true), 1, LEN - 4096, -EINVAL, "whole pages");
	refused(file(LEN, SIZE_SEALS, true), 0, LEN - 1, -EINVAL, "whole pages");
	refused(file(LEN, SIZE_SEALS, true), 0, LEN + 4096, -EINVAL, "whole pages");
	refused(file(LEN, SIZE_SEALS, true), 4096, LEN, -EINVAL, "whole pages");
	refused(file(LEN, SIZE_SEALS, true), -4096, LEN, -EINVAL, "whole pages");
	refused(file(LEN, SIZE_SEALS, true), 4096, (size_t)-4096, -ENOSPC, "MiB");
}

static void test_add__the_same_file_twice(void **state)
{
	int fd = file(LEN, SIZE_SEALS, true), again = dup(fd);
	struct pwc_region *r, *second;

	(void)state;
	assert_int_equal(add(&app, fd, 0, LEN, &r), 0);
	/* it is sealed by now: that is what is seen first */
	assert_int_equal(add(&app, again, 0, LEN, &second), -EPERM);
	assert_int_equal(t.nr, 1);
	pwc_region_end(r);
	close(fd);
	close(again);
}

static void test_add__pages_can_not_go_away_afterwards(void **state)
{
	int fd = file(LEN, SIZE_SEALS, true);
	uint8_t *p = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	struct pwc_region *r;

	(void)state;
	assert_ptr_not_equal(p, MAP_FAILED);
	assert_int_equal(add(&app, fd, 0, LEN, &r), 0);
	assert_int_equal(ftruncate(fd, 0), -1);
	assert_int_equal(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, LEN), -1);
	assert_int_equal(madvise(p, LEN, MADV_REMOVE), -1);
	p[5] = 9;
	assert_int_equal(r->base[5], 9);
	pwc_region_end(r);
	munmap(p, LEN);
	close(fd);
}

static int dmabuf(size_t len)
{
	struct udmabuf_create c = { .flags = UDMABUF_FLAGS_CLOEXEC, .size = len };
	int dev = open("/dev/udmabuf", O_RDWR | O_CLOEXEC), m = file(len, F_SEAL_SHRINK, true), fd;

	c.memfd = (uint32_t)m;
	fd = dev < 0 ? -1 : ioctl(dev, UDMABUF_CREATE, &c);
	close(dev);
	close(m);
	return fd;
}

/* A kernel without udmabuf has no dma-buf to offer; vm/regions-scatter has one that does. */
static void test_add__dmabuf(void **state)
{
	int fd = dmabuf(LEN);
	struct pwc_region *r, *second;
	uint32_t idx;

	(void)state;
	if (fd < 0)
		skip();
	refused(dup(fd), 4096, 4096, -EINVAL, "from its beginning");
	refused(dup(fd), 0, LEN + 4096, -EINVAL, "whole pages");
	assert_int_equal(add(&app, fd, 0, LEN, &r), 0);
	assert_true(r->dmabuf);
	assert_non_null(pw_mem_find(r->base, r->len, &idx));
	assert_true(pw_mem_area(idx)->dmabuf);
	assert_int_equal(pw_mem_area(idx)->fd, r->fd);
	/* its descriptor is needed as long as devices may come */
	assert_true(fcntl(r->fd, F_GETFD) >= 0);
	assert_int_equal(add(&other, fd, 0, LEN, &second), -EEXIST);
	pwc_region_end(r);
	assert_int_equal(r->sm.state, PWC_REGION_FREE);
	assert_int_equal(r->fd, -1);
	close(fd);
}

static void test_add__limits_of_one_and_of_all(void **state)
{
	struct pwc_region *r;

	(void)state;
	must_add(&app, LEN);
	must_add(&app, LEN);
	t.max_user = 2;
	assert_int_equal(add(&other, file(LEN, SIZE_SEALS, true), 0, LEN, &r), -ENOSPC);
	assert_non_null(strstr(why, "a user"));
	t.max_user = 50;
	t.max_owner = 2;
	r = NULL;
	assert_int_equal(add(&app, file(LEN, SIZE_SEALS, true), 0, LEN, &r), -ENOSPC);
	assert_non_null(strstr(why, "fewer"));
	t.max_bytes = 3 * LEN;
	must_add(&other, LEN);
	assert_int_equal(add(&other, file(LEN, SIZE_SEALS, true), 0, LEN, &r), -ENOSPC);
	t.max_bytes = 100 * LEN;
	t.max_bytes_owner = LEN;
	assert_int_equal(add(&other, file(LEN, SIZE_SEALS, true), 0, LEN, &r), -ENOSPC);
	pwc_regions_end_owner(&t, &app);
	assert_int_equal(t.nr, 1);
	pwc_regions_end_owner(&t, &other);
	assert_int_equal(t.nr, 0);
}

static void test_find__only_with_id_key_and_user(void **state)
{
	struct pwc_region *r = must_add(&app, LEN);
	uint64_t key = r->key;

	(void)state;
	assert_ptr_equal(pwc_region_find(&t, r->id, key, 1000), r);
	assert_null(pwc_region_find(&t, r->id, key ^ 1, 1000));
	assert_null(pwc_region_find(&t, r->id, key, 1001));
	assert_null(pwc_region_find(&t, r->id + 1, key, 1000));
	assert_null(pwc_region_find(&t, UINT32_MAX, key, 1000));
	pwc_region_end(r);
	assert_null(pwc_region_find(&t, r->id, key, 1000));
	r = must_add(&app, LEN);
	assert_true(r->key != key);
	pwc_region_end(r);
}

static void test_mem__range_is_checked_without_overflow(void **state)
{
	struct pwc_region *r = must_add(&app, LEN);

	(void)state;
	assert_ptr_equal(pwc_region_mem(r, 0, LEN), r->base);
	assert_ptr_equal(pwc_region_mem(r, LEN, 0), r->base + LEN);
	assert_null(pwc_region_mem(r, 1, LEN));
	assert_null(pwc_region_mem(r, UINT64_MAX, 2));
	assert_null(pwc_region_mem(r, 2, UINT64_MAX));
	pwc_region_end(r);
}

static void test_end__waits_for_requests(void **state)
{
	struct pwc_region *r = must_add(&app, LEN);

	(void)state;
	pwc_region_hold(r);
	pwc_region_hold(r);
	pwc_regions_end_owner(&t, &app);
	assert_int_equal(r->sm.state, PWC_REGION_ENDING);
	assert_null(r->owner);
	r->base[0] = 1; /* still mapped */
	pwc_region_put(r);
	assert_int_equal(t.nr, 1);
	pwc_region_put(r);
	assert_int_equal(r->sm.state, PWC_REGION_FREE);
	assert_int_equal(t.nr, 0);
}

static void test_kernel__live_only_when_it_has_answered(void **state)
{
	struct pwc_region *r = must_add(&app, LEN);

	(void)state;
	assert_int_equal(r->sm.state, PWC_REGION_ADDING);
	/* a hit may come before the answer */
	assert_ptr_equal(pwc_region_of_kernel(&t, r->id), r);
	assert_null(pwc_region_find(&t, r->id, r->key, 1000));
	pwc_region_on_kernel(r, (int)r->id);
	assert_int_equal(nr_live, 1);
	assert_ptr_equal(pwc_region_find(&t, r->id, r->key, 1000), r);
	pwc_region_end(r);
	turn_of_timer();
	pwc_region_on_kernel(r, -ENOENT);
	assert_int_equal(t.nr, 0);
}

static void test_kernel__end_asks_until_it_has_forgotten(void **state)
{
	struct pwc_region *r = must_add(&app, LEN);

	(void)state;
	pwc_region_on_kernel(r, 0);
	pwc_region_end(r);
	turn_of_timer();
	pwc_region_on_kernel(r, 0); /* no new hits from now on */
	pwc_region_hold(r);	    /* one that was on its way */
	turn_of_timer();
	pwc_region_on_kernel(r, -EALREADY);
	assert_ptr_equal(pwc_region_of_kernel(&t, r->id), r);
	pwc_region_put(r);
	assert_int_equal(t.nr, 1);
	turn_of_timer();
	pwc_region_on_kernel(r, -ENOENT);
	assert_int_equal(kernel.unregs, 3);
	assert_int_equal(t.nr, 0);
	assert_null(pwc_region_of_kernel(&t, r->id));
	assert_false(pw_timer_armed(&t.timer));
}

static void test_kernel__refusal_leaves_a_region_without_it(void **state)
{
	struct pwc_region *r = must_add(&app, LEN);

	(void)state;
	pwc_region_on_kernel(r, -ENOMEM);
	assert_int_equal(r->sm.state, PWC_REGION_LIVE);
	assert_int_equal(r->kernel_err, -ENOMEM);
	assert_null(pwc_region_of_kernel(&t, r->id));
	pwc_region_end(r);
	assert_int_equal(t.nr, 0);

	kernel.refuse = -ENOSPC;
	r = must_add(&app, LEN);
	assert_int_equal(r->sm.state, PWC_REGION_LIVE);
	assert_int_equal(nr_live, 1); /* the first one's: this one was live at once */
	pwc_region_end(r);
}

static void test_kernel__death_before_the_answer(void **state)
{
	struct pwc_region *r = must_add(&app, LEN);

	(void)state;
	pwc_regions_end_owner(&t, &app);
	assert_int_equal(r->sm.state, PWC_REGION_ENDING);
	pwc_region_on_kernel(r, (int)r->id);
	assert_int_equal(nr_live, 0);
	turn_of_timer();
	pwc_region_on_kernel(r, -ENOENT);
	assert_int_equal(t.nr, 0);

	r = must_add(&app, LEN);
	pwc_regions_end_owner(&t, &app);
	pwc_region_on_kernel(r, -ENOMEM);
	assert_int_equal(t.nr, 0);
	assert_int_equal(kernel.unregs, 1);
}

static void test_kernel__end_of_the_connection_is_the_end_of_its_table(void **state)
{
	struct pwc_region *r = must_add(&app, LEN);

	(void)state;
	pwc_region_on_kernel(r, 0);
	pwc_region_end(r);
	turn_of_timer();
	pwc_region_on_kernel(r, -ENOTCONN);
	assert_int_equal(t.nr, 0);

	r = must_add(&app, LEN);
	pwc_region_on_kernel(r, 0);
	must_add(&other, LEN); /* this one's REG_FD is out */
	pwc_regions_end_owner(&t, &app);
	pwc_regions_end_owner(&t, &other);
	pwc_regions_end_all(&t);
	assert_int_equal(t.nr, 0);
	pwc_region_on_kernel(kernel.r, -ENOTCONN);
	assert_int_equal(t.nr, 0);
	assert_false(pw_timer_armed(&t.timer));
}

/* A transport that takes several steps to register anything. */
static uint32_t steps;

static bool on_announced(struct pw_mem_user *u, uint32_t idx)
{
	(void)u;
	(void)idx;
	return steps && steps--;
}

static void on_withdrawn(struct pw_mem_user *u, uint32_t idx)
{
	(void)u;
	(void)idx;
	steps = 0;
}

static void test_pinning__is_done_in_turns_of_its_own(void **state)
{
	struct pw_mem_user user;
	struct pwc_region *r;

	(void)state;
	pw_mem_user_add(&user, on_announced, on_withdrawn);
	steps = 4;
	r = must_add(&app, LEN);
	assert_int_equal(r->sm.state, PWC_REGION_ADDING);
	while (steps) {
		assert_null(pwc_region_find(&t, r->id, r->key, app.uid));
		assert_int_equal(nr_live, 0);
		turn_of_timer();
	}
	turn_of_timer();
	assert_int_equal(nr_live, 1);
	assert_ptr_equal(pwc_region_find(&t, r->id, r->key, app.uid), r);
	assert_false(pw_timer_armed(&t.timer));
	pwc_region_end(r);

	/* and nobody waits for it any more */
	steps = 100;
	must_add(&app, LEN);
	turn_of_timer();
	pwc_regions_end_owner(&t, &app);
	assert_int_equal(t.nr, 0);
	assert_int_equal(steps, 0);
	assert_int_equal(nr_live, 1);
	pw_mem_user_del(&user);
}

static void test_kernel__end_while_pinning_asks_it_to_forget(void **state)
{
	struct pw_mem_user user;
	struct pwc_region *r;

	(void)state;
	pw_mem_user_add(&user, on_announced, on_withdrawn);
	r = must_add(&app, LEN);
	steps = 100;
	pwc_region_on_kernel(r, 0);
	assert_int_equal(r->sm.state, PWC_REGION_ADDING);
	assert_int_equal(nr_live, 0);
	pwc_regions_end_owner(&t, &app);
	assert_int_equal(r->sm.state, PWC_REGION_ENDING);
	turn_of_timer();
	assert_int_equal(kernel.unregs, 1);
	pwc_region_on_kernel(r, -ENOENT);
	assert_int_equal(t.nr, 0);
	assert_int_equal(nr_live, 0);
	pw_mem_user_del(&user);
}

int main(void)
{
#define TEST(f)	  cmocka_unit_test_setup_teardown(f, setup, teardown)
#define KERNEL(f) cmocka_unit_test_setup_teardown(f, setup_kernel, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_add__mapped_shared_and_known_to_transports),
		TEST(test_add__says_what_to_do_with_a_file_that_is_not_as_it_should_be),
		TEST(test_add__ranges_are_checked_without_overflow),
		TEST(test_add__the_same_file_twice),
		TEST(test_add__pages_can_not_go_away_afterwards),
		TEST(test_add__dmabuf),
		TEST(test_add__limits_of_one_and_of_all),
		TEST(test_find__only_with_id_key_and_user),
		TEST(test_mem__range_is_checked_without_overflow),
		TEST(test_end__waits_for_requests),
		TEST(test_pinning__is_done_in_turns_of_its_own),
		KERNEL(test_kernel__live_only_when_it_has_answered),
		KERNEL(test_kernel__end_asks_until_it_has_forgotten),
		KERNEL(test_kernel__refusal_leaves_a_region_without_it),
		KERNEL(test_kernel__death_before_the_answer),
		KERNEL(test_kernel__end_while_pinning_asks_it_to_forget),
		KERNEL(test_kernel__end_of_the_connection_is_the_end_of_its_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
