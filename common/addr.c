/* SPDX-License-Identifier: Apache-2.0 */
/* addr.c -- see addr.h; names are resolved without stopping the loop
 *
 * getaddrinfo() of a name may take many seconds and cannot be called off: it runs in a thread of
 * its own that posts its result to the loop. Either side may leave first, so they share one object:
 * whoever finds the other gone frees it. The lock is held for a few instructions, and never on a
 * data path.
 */
#include "common/addr.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/fault.h"

#define THREAD_STACK (128u << 10)

struct pw_addr_lookup {
	struct pw_loop_msg msg;
	pthread_mutex_t lock;
	bool posted, cancelled; /* under the lock; at most one becomes true */
	struct pw_loop *loop; /* not touched once cancelled */
	/* not touched by the thread */
	void (*done)(void *owner, int gai_err, struct addrinfo *addrs);
	void *owner;
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

int pw_addr_literal(const char *host, uint16_t port, struct addrinfo **ret)
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

int pw_addr_local(const char *host, struct sockaddr_storage *ret, socklen_t *ret_len)
{
	struct addrinfo *a;
	int err;

	*ret = (struct sockaddr_storage){ .ss_family = AF_UNSPEC };
	*ret_len = 0;
	if (!*host)
		return 0;
	err = pw_addr_literal(host, 0, &a);
	if (err)
		return err == -ENOENT ? -EINVAL : err;
	memcpy(ret, a->ai_addr, a->ai_addrlen);
	*ret_len = a->ai_addrlen;
	freeaddrinfo(a);
	return 0;
}

/* "localhost" is the loopback address here, whatever a resolver says: the rule that only loopback
 * may listen without a key depends on it. Other names resolve while the program starts, where
 * waiting is right. */
int pw_addr_to_listen(const char *host, uint16_t port, struct addrinfo **ret)
{
	struct addrinfo hints = {
		.ai_flags = AI_PASSIVE | AI_NUMERICSERV,
		.ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
	};
	int err = pw_addr_literal(strcmp(host, "localhost") ? host : "127.0.0.1", port, ret);
	char service[8];

	if (err != -ENOENT)
		return err;
	snprintf(service, sizeof(service), "%u", port);
	switch (getaddrinfo(host, service, &hints, ret)) {
	case 0:
		return 0;
	case EAI_MEMORY:
		return -ENOMEM;
	default:
		return -EADDRNOTAVAIL;
	}
}

static void lookup_free(struct pw_addr_lookup *r)
{
	if (r->addrs)
		freeaddrinfo(r->addrs);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

static void on_posted(struct pw_loop_msg *m)
{
	struct pw_addr_lookup *r = pw_container_of(m, struct pw_addr_lookup, msg);
	void (*done)(void *owner, int gai_err, struct addrinfo *addrs) = r->done;
	struct addrinfo *addrs = r->addrs;
	void *owner = r->owner;
	int gai_err = r->gai_err;

	r->addrs = NULL;
	/* the thread may still be inside its unlock */
	pthread_mutex_lock(&r->lock);
	pthread_mutex_unlock(&r->lock);
	lookup_free(r);
	done(owner, gai_err, addrs);
}

static void *lookup_thread(void *arg)
{
	struct pw_addr_lookup *r = arg;
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
		lookup_free(r);
	return NULL;
}

/* Detached, small, and deaf: signals are for the threads of the programs. */
static int start_thread(struct pw_addr_lookup *r)
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
	err = pthread_create(&thread, &attr, lookup_thread, r);
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -err;
}

int pw_addr_lookup_start(struct pw_loop *loop, const char *host, uint16_t port,
			 void (*done)(void *owner, int gai_err, struct addrinfo *addrs),
			 void *owner, struct pw_addr_lookup **ret)
{
	int err = PW_FAULT_ERR("addr.lookup", -ENOMEM);
	struct pw_addr_lookup *r = err ? NULL : calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	pthread_mutex_init(&r->lock, NULL);
	r->msg.fn = on_posted;
	r->loop = loop;
	r->done = done;
	r->owner = owner;
	r->port = port;
	snprintf(r->host, sizeof(r->host), "%s", host);
	err = start_thread(r);
	if (err) {
		lookup_free(r);
		return err == -EAGAIN ? -ENOMEM : err;
	}
	*ret = r;
	return 0;
}

bool pw_addr_lookup_cancel(struct pw_addr_lookup *l)
{
	bool posted;

	pthread_mutex_lock(&l->lock);
	posted = l->posted;
	l->cancelled = !posted;
	pthread_mutex_unlock(&l->lock);
	return !posted;
}
