/* SPDX-License-Identifier: Apache-2.0 */
/* control.h -- the UNIX socket of a mount: `pagewire status`, `stats`, `umount`
 *
 * /run/pagewire/mount-<NAME>.sock, mode 0600, where NAME is the mount point as systemd-escape
 * writes paths. One question per connection, a line of JSON: {"cmd": "status" | "stats" | "regions"
 * | "umount" | "abort"}; the answer is one line, then the connection ends. Nothing here waits for
 * the node but "status", for its numbers of space, and that only while the node is there and for
 * half a second at most.
 * Thread: the loop's own.      Allocates: per connection.
 */
#ifndef PWC_CONTROL_H
#define PWC_CONTROL_H

#include "common/compiler.h"

#define PWC_CONTROL_DIR "/run/pagewire"

struct pwc_control;
struct pwc_shard;

/* @ret: at least 108 bytes. Names that would not fit end with a hash instead. */
void pwc_control_path(const char *dir, char *ret, size_t len);
/* Of the socket of region_sock.h, beside it. */
void pwc_control_region_path(const char *dir, char *ret, size_t len);

struct sockaddr_un;

/* A listening socket of @type at @addr, in the folder that is there, with the rights @mode (0 to
 * 0666). Return: the descriptor, the caller's; -errno. */
int pwc_control_listen(const struct sockaddr_un *addr, int type, unsigned int mode, int backlog);

/* Listens. Return: 0 or -errno; a user without rights in /run has no socket, which is not an
 * error. */
int pwc_control_new(struct pwc_control **ret, struct pwc_shard *sh);
/* Takes the socket away and drops who is connected; is_stopped() some turns later. NULL is fine. */
void pwc_control_stop(struct pwc_control *c);
bool pwc_control_is_stopped(const struct pwc_control *c);
void pwc_control_free(struct pwc_control *c);

#endif
