/* SPDX-License-Identifier: Apache-2.0 */
/* loop.c -- the turns: completions, timers, ready list, flush, submit or sleep
 *
 *	turn:  reap completions -> hot pollers -> due timers -> ready list -> flush hooks
 *	       pollers whose window is over are armed
 *	       something is ready for the next turn: submit and poll
 *	       a poller stays hot: submit if there is anything, no system call if not
 *	       else: submit and sleep until a completion or a deadline
 *
 * An object that is made ready while the ready list runs is for the next turn, and so is a timer
 * that is armed into the past: every turn ends. Nothing is prepared and left unsubmitted when the
 * loop sleeps, because the sleep itself submits.
 */
#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "common/fault.h"
#include "common/loop_impl.h"
#include "common/sm.h"

static uint64_t read_clock(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * PW_NS_PER_S + (uint64_t)ts.tv_nsec;
}

uint64_t pw_loop_now(const struct pw_loop *loop)
{
	return loop->now_ns;
}

uint64_t pw_loop_realtime(const struct pw_loop *loop)
{
	(void)loop;
	return read_clock(CLOCK_REALTIME);
}

void pw_timer_init(struct pw_timer *t, void (*fn)(struct pw_timer *t))
{
	t->deadline_ns = 0;
	t->heap_idx = UINT32_MAX;
	t->fn = fn;
}

void pw_timer_arm(struct pw_loop *loop, struct pw_timer *t, uint64_t deadline_ns)
{
	pw_timer_heap_arm(&loop->timers, t, deadline_ns, loop->now_ns);
}

void pw_timer_cancel(struct pw_loop *loop, struct pw_timer *t)
{
	pw_timer_heap_cancel(&loop->timers, t);
}

void pw_ready_init(struct pw_ready *r, void (*step)(struct pw_ready *r))
{
	pw_list_init(&r->node);
	r->step = step;
}

void pw_loop_ready(struct pw_loop *loop, struct pw_ready *r)
{
	if (pw_list_empty(&r->node))
		pw_list_add_tail(&loop->ready, &r->node);
}

void pw_ready_cancel(struct pw_ready *r)
{
	pw_list_del(&r->node);
}

void pw_flush_init(struct pw_flush *f, void (*flush)(struct pw_flush *f))
{
	pw_list_init(&f->node);
	f->flush = flush;
}

void pw_loop_on_flush(struct pw_loop *loop, struct pw_flush *f)
{
	if (pw_list_empty(&f->node))
		pw_list_add_tail(&loop->flush, &f->node);
}

void pw_flush_cancel(struct pw_flush *f)
{
	pw_list_del(&f->node);
}

/* Messages of other threads: a stack that the loop takes whole and turns over. Who finds it empty
 * wakes. */
void pw_loop_post(struct pw_loop *loop, struct pw_loop_msg *m)
{
	struct pw_loop_msg *head = __atomic_load_n(&loop->posted, __ATOMIC_RELAXED);

	do
		m->next = head;
	while (!__atomic_compare_exchange_n(&loop->posted, &head, m, true, __ATOMIC_RELEASE,
					    __ATOMIC_RELAXED));
	if (!head) {
		int err = eventfd_write(loop->wake.fd, 1);

		assert(!err);
		(void)err;
	}
}

static void on_wake(struct pw_fd *f)
{
	struct pw_loop *loop = pw_container_of(f, struct pw_loop, wake);
	struct pw_loop_msg *m, *next, *in_order = NULL;
	eventfd_t n;

	/* Empties the counter before the stack: a message that comes in between wakes once more. */
	(void)!eventfd_read(f->fd, &n);
	m = __atomic_exchange_n(&loop->posted, NULL, __ATOMIC_ACQUIRE);
	for (; m; m = next) {
		next = m->next;
		m->next = in_order;
		in_order = m;
	}
	for (m = in_order; m; m = next) {
		next = m->next;
		m->fn(m);
	}
}

/* On the only CPU, who polls keeps those away that he waits for. */
static int nr_cpus(void)
{
	cpu_set_t set;

	/* more CPUs than the set has room for are an error, and many */
	return sched_getaffinity(0, sizeof(set), &set) ? CPU_SETSIZE : CPU_COUNT(&set);
}

int pw_loop_new(struct pw_loop **ret, const struct pw_loop_opts *o)
{
	struct pw_loop *loop = calloc(1, sizeof(*loop));
	int err, fd;

	if (!loop)
		return -ENOMEM;
	pw_list_init(&loop->ready);
	pw_list_init(&loop->running);
	pw_list_init(&loop->flush);
	pw_list_init(&loop->flushing);
	loop->now_ns = read_clock(CLOCK_MONOTONIC);
	pw_list_init(&loop->hot);
	pw_list_init(&loop->polling);
	loop->poll_ns = nr_cpus() > 1 ? o->poll_us * PW_NS_PER_US : 0;
	err = pw_timer_heap_init(&loop->timers);
	if (err)
		goto free_loop;
	err = pw_ring_init(loop, o);
	if (err)
		goto fini_timers;
	err = PW_FAULT("loop.eventfd");
	fd = err ? -1 : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0) {
		err = err ? err : -errno;
		goto fini_ring;
	}
	err = pw_fd_start(loop, &loop->wake, fd, on_wake);
	assert(!err);
	*ret = loop;
	return 0;

fini_ring:
	pw_ring_fini(loop);
fini_timers:
	pw_timer_heap_fini(&loop->timers);
free_loop:
	free(loop);
	return err;
}

void pw_loop_free(struct pw_loop *loop)
{
	if (!loop)
		return;
	/* the eventfd's poll is all that may be out; it ends with the ring */
	assert(loop->ring_err || loop->nr_pending == loop->wake.io.pending);
	pw_ring_fini(loop);
	close(loop->wake.fd);
	pw_timer_heap_fini(&loop->timers);
	free(loop);
}

static uint32_t run_timers(struct pw_loop *loop)
{
	struct pw_timer *t;
	uint32_t n = 0;

	while ((t = pw_timer_heap_pop_due(&loop->timers, loop->now_ns))) {
		t->fn(t);
		n++;
	}
	return n;
}

static uint32_t run_ready(struct pw_loop *loop)
{
	struct pw_list *node;
	uint32_t n = 0;

	pw_list_splice_tail(&loop->running, &loop->ready);
	while ((node = pw_list_pop(&loop->running))) {
		struct pw_ready *r = pw_list_entry(node, struct pw_ready, node);

		r->step(r);
		n++;
	}
	return n;
}

static uint32_t run_flush(struct pw_loop *loop)
{
	struct pw_list *node;
	uint32_t n = 0;

	pw_list_splice_tail(&loop->flushing, &loop->flush);
	while ((node = pw_list_pop(&loop->flushing))) {
		struct pw_flush *f = pw_list_entry(node, struct pw_flush, node);

		f->flush(f);
		n++;
	}
	return n;
}

/* The next turn has work already; a timer that was armed into the past is due in a nanosecond. */
static bool is_due_again(const struct pw_loop *loop)
{
	return loop->stop || !pw_list_empty(&loop->ready) || !pw_list_empty(&loop->flush) ||
	       pw_timer_heap_next(&loop->timers) <= loop->now_ns + 1;
}

static void run_turn(struct pw_loop *loop)
{
	uint32_t n;
	bool settled;

	loop->stats.turns++;
	loop->now_ns = read_clock(CLOCK_MONOTONIC);
	pw_sm_set_now(loop->now_ns);
	n = pw_ring_reap(loop);
	n += pw_pollers_run(loop);
	n += run_timers(loop);
	n += run_ready(loop);
	n += run_flush(loop);
	settled = pw_pollers_settle(loop);
	/* After work a poll of its own would be a system call for nothing: the sleep submits first
	 * and sleeps only if nothing has completed by then (10 % of a loopback round trip). */
	if (!settled || is_due_again(loop)) {
		pw_ring_poll(loop);
	} else if (!pw_list_empty(&loop->hot)) {
		loop->stats.idle_polls += !n;
		if (pw_ring_wants_enter(loop))
			pw_ring_poll(loop);
		else
			pw_pollers_give_way(loop);
	} else {
		pw_ring_sleep(loop, pw_timer_heap_next(&loop->timers));
	}
}

int pw_loop_run(struct pw_loop *loop)
{
	do
		run_turn(loop);
	while (!loop->stop && !loop->ring_err);
	loop->stop = false;
	return loop->ring_err;
}

void pw_loop_stop(struct pw_loop *loop)
{
	loop->stop = true;
}

void pw_loop_get_stats(const struct pw_loop *loop, struct pw_loop_stats *ret)
{
	*ret = loop->stats;
}
