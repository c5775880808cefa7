/* SPDX-License-Identifier: Apache-2.0 */
/* test_start.c -- what a shard makes at its start, and undoes when a step fails (fault sweep) */
#include <stdio.h>

#include "common/arena.h"
#include "common/uring.h"

static struct pw_loop *loop;
static bool ran;

static void on_timer(struct pw_timer *t)
{
	ran = true;
	pw_loop_stop(loop);
}

int main(void)
{
	struct pw_loop_opts o = { .sq_entries = 8, .max_ios = 1 };
	struct pw_timer t;
	struct pw_arena a;
	int err;

	err = pw_arena_init(&a, 1 << 20, PW_ARENA_HUGE | PW_ARENA_MEMFD, "test", NULL);
	if (err) {
		printf("arena: %d\n", err);
		return 0;
	}
	err = pw_loop_new(&loop, &o);
	if (err) {
		printf("loop: %d\n", err);
		pw_arena_fini(&a);
		return 0;
	}
	pw_timer_init(&t, on_timer);
	pw_timer_arm(loop, &t, 0);
	err = pw_loop_run(loop);
	pw_loop_free(loop);
	pw_arena_fini(&a);
	/* whatever failed at the start was told: what started works */
	return err || !ran;
}
