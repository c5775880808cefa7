/* SPDX-License-Identifier: Apache-2.0 */
/* attr.h -- attributes of the wire as the kernel and libfuse want them
 *
 * Thread: any.      Allocates: never.
 */
#ifndef PWC_ATTR_H
#define PWC_ATTR_H

#include "client_fs/fuse_uapi.h"
#include "common/wire.h"

struct stat;

/* What st_blksize says: programs read and write in units of it. */
#define PWC_ATTR_BLKSIZE (128u << 10)

void pwc_attr_to_fuse(const struct pw_attr *a, struct fuse_attr *ret);
void pwc_attr_to_stat(const struct pw_attr *a, struct stat *ret);

/* "major << 20 | minor" of the wire, and dev_t's low 32 bits that FUSE and stat(2) use. */
uint32_t pwc_attr_rdev_from_wire(uint32_t rdev);
uint32_t pwc_attr_rdev_to_wire(uint32_t dev);

/* Seconds and nanoseconds to the wire's nanoseconds; clamped where they do not fit. */
int64_t pwc_attr_time(int64_t sec, uint32_t nsec);

#endif
