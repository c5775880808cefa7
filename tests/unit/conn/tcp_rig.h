/* SPDX-License-Identifier: Apache-2.0 */
/* tcp_rig.h -- the other end may be a plain socket, so that a test decides about every byte */
#ifndef TCP_RIG_H
#define TCP_RIG_H

#include "xprt_rig.h"

/* Bytes as they travel: command and payload. Return: how many. */
size_t put_message(uint8_t *to, const struct pw_cmd *cmd);
/* The client is ours, the node a plain socket. Return: the socket. */
int rig_connect_raw(void);
void raw_send(int fd, const void *buf, size_t len);

#endif
