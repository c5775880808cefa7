/* SPDX-License-Identifier: Apache-2.0 */
/* poller.c -- queues in memory: polled while they are busy, armed before the loop sleeps
 *
 *	hot:    on the loop's list, polled in every turn, no event comes
 *	armed:  on no list; its next entry makes a descriptor readable, whose owner calls
 *		pw_poller_wake()
 *
 * The end of a turn arms a hot one when nothing has come for its window, and polls once more: what
 * came before the arming brings no event. The window is zero until STREAK entries have come, each
 * within poll_us of the one before; then it is poll_us, until once nothing comes in it. So a queue
 * that is used now and then costs no CPU time, and one that is busy costs no wake-ups.
 *
 * What is polled for may be made by somebody who waits for this CPU: the application, a thread of
 * the device. The scheduler would let whoever polls go on to the end of its time slice, so the CPU
 * is offered between two looks. If somebody computes on it, it comes back a time slice later; then
 * nothing is polled for SHARED_NS: beside computing programs those who sleep have it sooner.
 *
 * What can fail: nothing here; arm() reports to its owner.
 */
#include <sched.h>

#include "common/loop_impl.h"

#define STREAK 4u
/* a yield costs about half a microsecond when nobody else is there (Linux 6.18) */
#define YIELD_NS (2 * PW_NS_PER_US)
#define SHARED_NS (100 * PW_NS_PER_MS)

void pw_poller_start(struct pw_loop *loop, struct pw_poller *p,
		     uint32_t (*poll)(struct pw_poller *p), bool (*arm)(struct pw_poller *p))
{
	pw_list_init(&p->node);
	p->poll = poll;
	p->arm = arm;
	p->last_ns = 0;
	p->streak = 0;
	pw_poller_wake(loop, p);
}

void pw_poller_stop(struct pw_poller *p)
{
	pw_list_del(&p->node);
}

void pw_poller_wake(struct pw_loop *loop, struct pw_poller *p)
{
	if (pw_list_empty(&p->node))
		pw_list_add_tail(&loop->hot, &p->node);
}

static void note_arrival(struct pw_loop *loop, struct pw_poller *p)
{
	if (loop->now_ns - p->last_ns > loop->poll_ns)
		p->streak = 0;
	else if (p->streak < STREAK)
		p->streak++;
	p->last_ns = loop->now_ns;
}

uint32_t pw_pollers_run(struct pw_loop *loop)
{
	struct pw_list *node;
	uint32_t n = 0, total = 0;

	if (loop->yielded && loop->now_ns - loop->yielded_ns > loop->poll_ns)
		loop->shared_until_ns = loop->now_ns + SHARED_NS;
	loop->yielded = false;
	/* one that is polled may stop itself or others */
	pw_list_splice_tail(&loop->polling, &loop->hot);
	while ((node = pw_list_pop(&loop->polling))) {
		struct pw_poller *p = pw_list_entry(node, struct pw_poller, node);

		pw_list_add_tail(&loop->hot, node);
		n = p->poll(p);
		if (n)
			note_arrival(loop, p);
		total += n;
	}
	return total;
}

bool pw_pollers_settle(struct pw_loop *loop)
{
	uint64_t longest = loop->now_ns < loop->shared_until_ns ? 0 : loop->poll_ns;
	struct pw_list *node;
	bool all = true;

	pw_list_splice_tail(&loop->polling, &loop->hot);
	while ((node = pw_list_pop(&loop->polling))) {
		struct pw_poller *p = pw_list_entry(node, struct pw_poller, node);
		uint64_t window = p->streak == STREAK ? longest : 0;

		pw_list_add_tail(&loop->hot, node);
		if (loop->now_ns - p->last_ns < window)
			continue;
		if (p->arm(p)) {
			pw_list_del(&p->node);
		} else {
			note_arrival(loop, p);
			all = false;
		}
	}
	return all;
}

void pw_pollers_give_way(struct pw_loop *loop)
{
	if (loop->now_ns - loop->yielded_ns < YIELD_NS) {
		pw_cpu_relax();
		return;
	}
	loop->yielded_ns = loop->now_ns;
	loop->yielded = true;
	sched_yield();
}
