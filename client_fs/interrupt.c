/* SPDX-License-Identifier: Apache-2.0 */
/* interrupt.c -- find the request, look at its caller, abort its call */
#include "client_fs/interrupt.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client_fs/shard.h"

#define LOOK_AGAIN_NS (200 * PW_NS_PER_MS)
#define EARLY_NS PW_NS_PER_S

static uint64_t pending_of(const char *text, const char *field)
{
	const char *p = strstr(text, field);

	return p ? strtoull(p + strlen(field), NULL, 16) : 0;
}

bool pwc_interrupt_is_fatal(const char *status_text)
{
	static const int fatal[] = { SIGKILL, SIGTERM, SIGINT, SIGQUIT, SIGHUP };
	uint64_t pending = pending_of(status_text, "\nSigPnd:") |
			   pending_of(status_text, "\nShdPnd:");

	for (size_t i = 0; i < PW_ARRAY_SIZE(fatal); i++)
		if (pending & 1ull << (fatal[i] - 1))
			return true;
	return false;
}

/* A caller that cannot be looked at (another pid namespace, gone) gets what it asked for. */
static bool caller_gives_up(uint32_t pid)
{
	char path[32], text[4096];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%u/status", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return true;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return true;
	text[n] = '\0';
	return pwc_interrupt_is_fatal(text);
}

/* Return: true when the request has to be looked at again. */
static bool look_at(struct pwc_interrupts *i, struct pwc_req *r)
{
	if (pwc_req_is_free(r) || !r->interrupted || !r->calling || r->call.aborted)
		return false;
	if (!caller_gives_up(r->pid))
		return true;
	i->sh->stats.aborted++;
	pwc_call_abort(i->sh->peer, &r->call);
	return false;
}

static void arm(struct pwc_interrupts *i)
{
	if (!pw_timer_armed(&i->timer))
		pw_timer_arm(i->sh->loop, &i->timer, pw_loop_now(i->sh->loop) + LOOK_AGAIN_NS);
}

static void on_timer(struct pw_timer *t)
{
	struct pwc_interrupts *i = pw_container_of(t, struct pwc_interrupts, timer);
	bool again = false;

	for (uint32_t k = 0; k < i->sh->nr_reqs; k++)
		if (i->sh->reqs[k]->interrupted)
			again |= look_at(i, i->sh->reqs[k]);
	if (again)
		arm(i);
}

static void interrupt(struct pwc_interrupts *i, struct pwc_req *r)
{
	r->interrupted = true;
	/* While the node is there, the answer comes sooner than a look at the caller is worth. */
	if (pwc_peer_state(i->sh->peer) == PWC_PEER_UP || look_at(i, r))
		arm(i);
}

static void drop_old(struct pwc_interrupts *i)
{
	uint64_t now = pw_loop_now(i->sh->loop);
	uint32_t n = 0;

	for (uint32_t k = 0; k < i->nr_early; k++)
		if (now - i->early[k].when_ns < EARLY_NS)
			i->early[n++] = i->early[k];
	i->nr_early = n;
}

void pwc_interrupt_on(struct pwc_interrupts *i, uint64_t unique)
{
	i->sh->stats.interrupts++;
	for (uint32_t k = 0; k < i->sh->nr_reqs; k++) {
		struct pwc_req *r = i->sh->reqs[k];

		if (!pwc_req_is_free(r) && r->unique == unique) {
			interrupt(i, r);
			return;
		}
	}
	drop_old(i);
	if (i->nr_early < PWC_INTERRUPT_EARLY) {
		i->early[i->nr_early].unique = unique;
		i->early[i->nr_early++].when_ns = pw_loop_now(i->sh->loop);
	}
}

void pwc_interrupt_check_early(struct pwc_interrupts *i, struct pwc_req *r)
{
	drop_old(i);
	for (uint32_t k = 0; k < i->nr_early; k++) {
		if (i->early[k].unique != r->unique)
			continue;
		i->early[k] = i->early[--i->nr_early];
		r->interrupted = true;
		arm(i);
		return;
	}
}

void pwc_interrupt_init(struct pwc_interrupts *i, struct pwc_shard *sh)
{
	*i = (struct pwc_interrupts){ .sh = sh };
	pw_timer_init(&i->timer, on_timer);
}

void pwc_interrupt_fini(struct pwc_interrupts *i)
{
	pw_timer_cancel(i->sh->loop, &i->timer);
}
