/* SPDX-License-Identifier: Apache-2.0 */
/* region_sock.h -- the socket by which applications hand memory to a mount
 *
 * /run/pagewire/regions-<NAME>.sock, for everybody who may use the mount; messages are those of
 * common/region_wire.h. A connection is an application; when it ends, so do its regions.
 * Thread: the loop's own.      Allocates: per connection.
 */
#ifndef PWC_REGION_SOCK_H
#define PWC_REGION_SOCK_H

#include "common/compiler.h"

struct pwc_region_sock;
struct pwc_shard;

/* Listens. Return: 0 or -errno; a user without rights in /run has no socket, which is not an
 * error: then *ret is NULL, and who asks is told. */
int pwc_region_sock_new(struct pwc_region_sock **ret, struct pwc_shard *sh);
/* The end of every application's regions; is_stopped() some turns later. NULL is fine. */
void pwc_region_sock_stop(struct pwc_region_sock *s);
bool pwc_region_sock_is_stopped(const struct pwc_region_sock *s);
void pwc_region_sock_free(struct pwc_region_sock *s);
/* Where it listens; "": nowhere. */
const char *pwc_region_sock_path(const struct pwc_region_sock *s);

#endif
