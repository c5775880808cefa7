/* SPDX-License-Identifier: Apache-2.0 */
/* ll_ops.h -- the operations that libfuse decodes for us: directories, links, statfs
 *
 * Thread: the loop's own.      FUSE_USE_VERSION is set by who includes <fuse_lowlevel.h>.
 */
#ifndef PWC_LL_OPS_H
#define PWC_LL_OPS_H

#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>

/* userdata of the session is the shard */
extern const struct fuse_lowlevel_ops pwc_ll_ops;

#endif
