/* SPDX-License-Identifier: Apache-2.0 */
/* control.h -- the control socket: one JSON request line, one JSON answer, then the end
 *
 *	{"cmd":"ping"}  {"cmd":"status"}  {"cmd":"stats"}
 *
 * A UNIX stream socket of mode 0600; who is neither root nor of our uid is refused as well. At most
 * a few connections at once, each with a deadline, so nobody can make the node wait. Thread: loop
 * thread. Allocates: per connection.
 */
#ifndef PWS_CONTROL_H
#define PWS_CONTROL_H

#include "common/loop.h"
#include "storage_node/status.h"

struct pws_control;

/* @src: borrowed. Binds before the node is ready, so that two nodes cannot share a socket.
 * Return: 0; -EADDRINUSE somebody serves it; -ENAMETOOLONG; -errno. */
int pws_control_new(struct pw_loop *loop, const char *path, const struct pws_status_source *src,
		    struct pws_control **ret);
/* Ends everything; @closed from the loop, then free. Unlinks the socket. */
void pws_control_stop(struct pws_control *c, void (*closed)(void *arg), void *arg);
void pws_control_free(struct pws_control *c); /* stopped; NULL is fine */

#endif
