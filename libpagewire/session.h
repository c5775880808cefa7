/* SPDX-License-Identifier: Apache-2.0 */
/* session.h -- the connection with a mount, as the files of libpagewire share it
 *
 * Thread: any; calls of one session take turns under its lock.      Allocates: in open.
 */
#ifndef LIBPAGEWIRE_SESSION_H
#define LIBPAGEWIRE_SESSION_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "common/region_wire.h"
#include "include/pagewire.h"

/* Part of the interface of the library. */
#define PW_API __attribute__((visibility("default")))

struct pw {
	pthread_mutex_t lock;	    /* of the socket and the list */
	int sock;		    /* owns; -1: no pagewire here, or the mount is gone */
	struct pw_region_info info; /* version 0: no pagewire here */
	struct pw_region *first;    /* owns */
	char why[sizeof(((struct pw_region_answer *)NULL)->text)]; /* under the lock */
	atomic_uint_fast64_t plain_io;
};

struct pw_region {
	struct pw *pw;
	struct pw_region *next;
	uint8_t *base; /* owns the mapping */
	size_t len;
	int fd; /* owns */
	bool registered;
	uint32_t id;
	uint64_t key;
};

/**
 * pw_session_ask - one question to the mount
 * @fd: goes with it, or -1
 *
 * Return: 0, @ret is the answer, whose err may say no; -ENOTCONN the mount is gone.
 */
int pw_session_ask(struct pw *pw, const struct pw_region_msg *m, int fd,
		   struct pw_region_answer *ret);

#endif
