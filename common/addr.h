/* SPDX-License-Identifier: Apache-2.0 */
/* addr.h -- from what a user wrote to socket addresses, and back to text
 *
 * Thread: loop thread.      Allocates: a result each.      Must not know: connections.
 */
#ifndef PW_ADDR_H
#define PW_ADDR_H

#include <netdb.h>
#include <sys/socket.h>

#include "common/uring.h"

struct pw_addr_lookup;

/* "10.0.0.1:7470" or "[fe80::1]:7470" */
void pw_addr_text(const struct sockaddr *sa, char *buf, size_t len);
/* The same of a host, an address or a name, and a port. */
void pw_addr_host_port(const char *host, uint16_t port, char *buf, size_t len);

/* @host as an address, no name. Return: 0; -ENOENT it is none; -ENOMEM. freeaddrinfo(@ret). */
int pw_addr_literal(const char *host, uint16_t port, struct addrinfo **ret);

/* The address to connect from, "" for any: family 0 then. Return: 0; -EINVAL it is no address;
 * -ENOMEM. */
int pw_addr_local(const char *host, struct sockaddr_storage *ret, socklen_t *ret_len);

/* For a listener: waits for a resolver if @host is a name. Return: 0; -EADDRNOTAVAIL; -ENOMEM. */
int pw_addr_to_listen(const char *host, uint16_t port, struct addrinfo **ret);

/**
 * pw_addr_lookup_start - resolve a name in a thread of its own
 * @done: from the loop, unless it is cancelled before; takes over the addresses; @gai_err: 0 or
 *	  what getaddrinfo() said; the lookup is gone by then
 *
 * Return: 0; -ENOMEM.
 */
int pw_addr_lookup_start(struct pw_loop *loop, const char *host, uint16_t port,
			 void (*done)(void *owner, int gai_err, struct addrinfo *addrs),
			 void *owner, struct pw_addr_lookup **ret);
/* Return: true, @l is gone and done() will not come; false, the result is on its way and must be
 * waited for. */
bool pw_addr_lookup_cancel(struct pw_addr_lookup *l);

#endif
