/* SPDX-License-Identifier: Apache-2.0 */
/* runs_copy.h -- between an application's memory and ours, where a copy cannot be avoided
 *
 * What is foreign (a dma-buf) may be a device's and go with it: whoever touches it then gets a
 * signal. So the kernel copies it, to which that is an error.
 * Thread: the loop's own.      Allocates: a small file, once.
 */
#ifndef PWC_RUNS_COPY_H
#define PWC_RUNS_COPY_H

#include "common/runs.h"

/* @len bytes from the beginning of the runs, and to it. Return: 0; foreign ones: -EFAULT, the
 * memory is not there; -ENOMEM. */
int pwc_runs_read(const struct pw_runs *r, void *to, uint64_t len) PW_WARN_UNUSED;
int pwc_runs_fill(const struct pw_runs *r, const void *from, uint64_t len) PW_WARN_UNUSED;

#endif
