/* SPDX-License-Identifier: Apache-2.0 */
/* mount_id.h -- which mount of ours is at a directory, from /proc/self/mountinfo
 *
 * Never touches the mount itself, which may be dead.
 * Thread: any; also used by the watcher process.      Allocates: a line buffer while it reads.
 */
#ifndef PWC_MOUNT_ID_H
#define PWC_MOUNT_ID_H

#include <stdio.h>

#include "common/compiler.h"

#define PWC_FSTYPE "fuse.pagewire"

struct pwc_mount_id {
	uint64_t id;
	/* st_dev; minor names the connection below /sys/fs/fuse/connections */
	uint32_t major, minor;
};

/**
 * pwc_mount_id_find - the newest pagewire mount at a directory
 * @dir: absolute; @source: NULL for any
 * Return: 0; -ENOENT none; -errno /proc cannot be read.
 */
int pwc_mount_id_find(const char *dir, const char *source, struct pwc_mount_id *ret);

/* The same from an open file of that format; for tests. */
int pwc_mount_id_scan(FILE *f, const char *dir, const char *source, struct pwc_mount_id *ret);

#endif
