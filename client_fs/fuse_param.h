/* SPDX-License-Identifier: Apache-2.0 */
/* fuse_param.h -- what this kernel's FUSE is set to, and why it offers no ring
 *
 * Thread: any.
 */
#ifndef PWC_FUSE_PARAM_H
#define PWC_FUSE_PARAM_H

#include "client_fs/mount_id.h"

/* fs.fuse.max_pages_limit: pages of one request; 256 where the kernel does not say. */
uint32_t pwc_fuse_param_max_pages(void);
/* One sentence: why the kernel did not offer FUSE over io_uring. */
void pwc_fuse_param_why_no_ring(char *ret, size_t len);
/* Is enable_uring set? true also when that cannot be read: INIT will tell. */
bool pwc_fuse_param_may_have_ring(void);
/* Readahead of a mount, bytes; needs root, and is a matter of speed only. */
void pwc_fuse_param_readahead(const struct pwc_mount_id *id, uint32_t bytes);

#endif
