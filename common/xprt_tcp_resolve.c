/* SPDX-License-Identifier: Apache-2.0 */
/* xprt_tcp_resolve.c -- from a name to addresses without stopping the loop
 *
 * getaddrinfo() of a name may take many seconds and cannot be called off: it runs in a thread of
 * its own that posts its result to the loop. Either side may leave first, so they share one object:
 * whoever finds the other gone frees it. The lock is held for a few instructions, and never on a
 * data path.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/fault.h"
#include "common/xprt_tcp_impl.h"

#define THREAD_STACK (128u << 10)

struct pw_tcp_resolve {
	struct pw_loop_msg msg;
	pthread_mutex_t lock;
	bool posted, cancelled; /* under the lock; at most one becomes true */
	struct pw_loop *loop; /* not touched once cancelled */
	struct pw_xprt *x; /* not touched by the thread */
	char host[NI_MAXHOST];
	uint16_t port;
	int gai_err;
	struct addrinfo *addrs; /* owns until handed over */
};

static int look_up(const char *host, uint16_t port, int flags, struct addrinfo **ret)
{
	struct addrinfo hints = {
		.ai_flags = AI_NUMERICSERV | flags,
		.ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
	};
	char service[8];

	snprintf(service, sizeof(service), "%u", port);
	return getaddrinfo(host, service, &hints, ret);
}

int pw_tcp_resolve_literal(const char *host, uint16_t port, struct addrinfo **ret)
{
	switch (look_up(host, port, AI_NUMERICHOST, ret)) {
	case 0:
		return 0;
	case EAI_MEMORY:
		return -ENOMEM;
	default:
		return -ENOENT;
	}
}

static void resolve_free(struct pw_tcp_resolve *r)
{
	if (r->addrs)
		freeaddrinfo(r->addrs);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

static void on_posted(struct pw_loop_msg *m)
{
	struct pw_tcp_resolve *r = pw_container_of(m, struct pw_tcp_resolve, msg);
	struct pw_xprt *x = r->x;
	struct addrinfo *addrs = r->addrs;
	int gai_err = r->gai_err;

	r->addrs = NULL;
	/* the thread may still be inside its unlock */
	pthread_mutex_lock(&r->lock);
	pthread_mutex_unlock(&r->lock);
	resolve_free(r);
	x->resolve = NULL;
	pw_tcp_resolved(x, gai_err, addrs);
}

static void *resolve_thread(void *arg)
{
	struct pw_tcp_resolve *r = arg;
	bool cancelled;

	r->gai_err = look_up(r->host, r->port, AI_ADDRCONFIG, &r->addrs);
	if (r->gai_err)
		r->addrs = NULL;
	pthread_mutex_lock(&r->lock);
	cancelled = r->cancelled;
	if (!cancelled) {
		r->posted = true;
		/* in the lock: a loop that has seen the cancel may be gone */
		pw_loop_post(r->loop, &r->msg);
	}
	pthread_mutex_unlock(&r->lock);
	if (cancelled)
		resolve_free(r);
	return NULL;
}

/* Detached, small, and deaf: signals are for the threads of the programs. */
static int start_thread(struct pw_tcp_resolve *r)
{
	sigset_t all, old;
	pthread_attr_t attr;
	pthread_t thread;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, THREAD_STACK);
	err = pthread_create(&thread, &attr, resolve_thread, r);
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -err;
}

int pw_tcp_resolve_start(struct pw_xprt *x, const char *host, uint16_t port)
{
	int err = PW_FAULT_ERR("tcp.resolve", -ENOMEM);
	struct pw_tcp_resolve *r = err ? NULL : calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	pthread_mutex_init(&r->lock, NULL);
	r->msg.fn = on_posted;
	r->loop = x->loop;
	r->x = x;
	r->port = port;
	snprintf(r->host, sizeof(r->host), "%s", host);
	err = start_thread(r);
	if (err) {
		resolve_free(r);
		return err == -EAGAIN ? -ENOMEM : err;
	}
	x->resolve = r;
	return 0;
}

bool pw_tcp_resolve_cancel(struct pw_xprt *x)
{
	struct pw_tcp_resolve *r = x->resolve;
	bool posted;

	pthread_mutex_lock(&r->lock);
	posted = r->posted;
	r->cancelled = !posted;
	pthread_mutex_unlock(&r->lock);
	if (!posted)
		x->resolve = NULL;
	return !posted;
}
