/* SPDX-License-Identifier: Apache-2.0 */
/* loop_ctx.h -- what the tests of loop, pollers and ring share: a loop per test, what happens */
#ifndef LOOP_CTX_H
#define LOOP_CTX_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/uring.h"

struct ctx {
	struct pw_loop *loop;
	struct pw_ready a, b;
	struct pw_timer timer, other;
	struct pw_flush flush;
	struct pw_io io;
	struct pw_fd fd;
	uint64_t armed_ns, fired_ns;
	int nr_steps, nr_done, nr_ready, nr_closed, last_res;
	uint32_t last_flags;
	char order[32];
};

static PW_UNUSED struct ctx *cur; /* of the test that runs */

static PW_UNUSED void mark(char c)
{
	size_t n = strlen(cur->order);

	assert_true(n + 1 < sizeof(cur->order));
	cur->order[n] = c;
}

static PW_UNUSED int setup_opts(void **state, const struct pw_loop_opts *o)
{
	int err;

	cur = calloc(1, sizeof(*cur));
	err = pw_loop_new(&cur->loop, o);
	if (err) {
		fprintf(stderr, "no io_uring here: %s\n", strerror(-err));
		return -1;
	}
	*state = cur;
	return 0;
}

static PW_UNUSED int setup(void **state)
{
	return setup_opts(state, &(struct pw_loop_opts){ .sq_entries = 8, .max_ios = 4 });
}

static PW_UNUSED int teardown(void **state)
{
	pw_loop_free(cur->loop);
	free(cur);
	cur = NULL;
	return 0;
}

static PW_UNUSED void nop_done(struct pw_io *io, int res, uint32_t flags)
{
	mark('c');
	cur->nr_done++;
	cur->last_res = res;
	cur->last_flags = flags;
	pw_loop_ready(cur->loop, &cur->b);
}

static PW_UNUSED void start_nop(struct pw_io *io)
{
	struct io_uring_sqe *sqe = pw_io_sqe(cur->loop, io);

	io_uring_prep_nop(sqe);
	pw_io_sqe_data(sqe, io);
}

static PW_UNUSED void step_stop(struct pw_ready *r)
{
	mark('b');
	pw_loop_stop(cur->loop);
}

static PW_UNUSED void stop_on_timer(struct pw_timer *t)
{
	mark('t');
	cur->fired_ns = pw_loop_now(cur->loop);
	pw_loop_stop(cur->loop);
}

#endif
