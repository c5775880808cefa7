/* SPDX-License-Identifier: Apache-2.0 */
/* ask.h -- one question to the control sockets of daemons, all at once, with one deadline for all
 *
 * A daemon that is stopped, or that hangs, costs the deadline and no more. Who listens on a socket
 * is known from the kernel, also when it does not answer.
 * Thread: one.      Allocates: yes.
 */
#ifndef PWC_CLI_ASK_H
#define PWC_CLI_ASK_H

#include <jansson.h>

#include "common/compiler.h"

#define PWC_ASK_DIR	    "/run/pagewire"
#define PWC_ASK_DEADLINE_MS 2000u

struct pwc_ask {
	char *path;	/* owns: the socket */
	json_t *answer; /* owns; NULL: see err */
	/* 0; -ECONNREFUSED nobody listens any more; -ETIMEDOUT; -EPROTO no JSON; -EACCES... */
	int err;
	pid_t pid;  /* who listens; 0: unknown */
	char state; /* of that process, as in /proc/PID/stat: 'T' is stopped; 0: unknown */

	/* the exchange */
	int fd;	   /* -1: over */
	char *buf; /* owns */
	size_t len, cap;
	size_t sent;
};

struct pwc_asks {
	struct pwc_ask *ask; /* owns */
	size_t nr;
};

/* Adds @path. Return: 0; -ENOMEM. */
int pwc_asks_add(struct pwc_asks *a, const char *path);
/* Adds every socket of @dir whose name begins with @prefix; no such directory is no socket. */
int pwc_asks_add_dir(struct pwc_asks *a, const char *dir, const char *prefix);
/* Sends {"cmd": @cmd} to all; returns when all have answered or @deadline_ms are over. */
void pwc_asks_run(struct pwc_asks *a, const char *cmd, uint32_t deadline_ms);
void pwc_asks_fini(struct pwc_asks *a);

#endif
