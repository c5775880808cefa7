/* SPDX-License-Identifier: Apache-2.0 */
/* rdma_why.h -- why RDMA cannot be used here, and what to do about it, for people */
#ifndef PW_RDMA_WHY_H
#define PW_RDMA_WHY_H

#include <stddef.h>

/**
 * pw_rdma_why - the sentence for an error of pw_conn_connect() or pw_listener_new() over RDMA
 * @err: -errno as they returned it
 * @buf: filled, 0-terminated
 *
 * Return: @buf.      Thread: any.
 */
const char *pw_rdma_why(int err, char *buf, size_t len);

#endif
