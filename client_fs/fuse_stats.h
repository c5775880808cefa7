/* SPDX-License-Identifier: Apache-2.0 */
/* fuse_stats.h -- what the kernel counts of a connection: why data of direct I/O was copied
 *
 * Kernels with registered regions (kernel/README.md) have the file uring_stats in the directory of
 * each connection, one name and one number in a line.
 */
#ifndef PWC_FUSE_STATS_H
#define PWC_FUSE_STATS_H

#include <jansson.h>
#include <stdint.h>

/* Return: {"unregistered": 5, ...} by "miss_unregistered 5"; NULL: no line is about misses. */
json_t *pwc_fuse_stats_misses(const char *text);
/* The same of a connection; NULL: its kernel does not tell. */
json_t *pwc_fuse_stats_read(uint32_t connection);

#endif
