/* SPDX-License-Identifier: Apache-2.0 */
/* ll_readdir.h -- READDIR and READDIRPLUS: the node's records become the kernel's
 *
 * Thread: the loop's own.
 */
#ifndef PWC_LL_READDIR_H
#define PWC_LL_READDIR_H

#include "client_fs/req.h"

/* r->ll is set. @size: bytes that the kernel has room for; @off: of the last entry that it has
 * seen. */
void pwc_ll_readdir(struct pwc_req *r, uint64_t ino, size_t size, uint64_t off, bool plus);

#endif
