/* SPDX-License-Identifier: Apache-2.0 */
/* entry.h -- what the kernel is told of an inode, and for how long it may believe it
 *
 * The kernel may answer stat(2) from what it was told for attr_timeout. An open must not: it asks
 * the node, and where the answer is newer than what the kernel was told, the kernel's copy is
 * thrown away first (close-to-open). The memory of that is a small table by inode number; a miss
 * costs one notification.
 * Thread: the loop's own.
 */
#ifndef PWC_ENTRY_H
#define PWC_ENTRY_H

#include "client_fs/attr.h"

struct pwc_shard;

#define PWC_ENTRY_TOLD_NR 4096u /* power of two */

/* How long the kernel may keep it. */
void pwc_entry_valid(const struct pwc_shard *sh, uint64_t *ret_sec, uint32_t *ret_nsec);
void pwc_entry_fill(struct pwc_shard *sh, const struct pw_attr *attr, struct fuse_entry_out *ret);

/* The kernel is being told these attributes. */
void pwc_entry_note(struct pwc_shard *sh, const struct pw_attr *attr);
/* The last that it was told; NULL when that is not remembered. */
const struct pw_attr *pwc_entry_last(const struct pwc_shard *sh, uint64_t ino);
/* Does the kernel know this or a later state of the inode? false: maybe not. */
bool pwc_entry_is_told(const struct pwc_shard *sh, uint64_t ino, uint64_t change);

#endif
