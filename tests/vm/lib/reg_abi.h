/* SPDX-License-Identifier: Apache-2.0 */
/* reg_abi.h -- registered regions, as kernel/patches adds them to FUSE: numbers and layouts
 *
 * The test has its own, so that a change of the kernel's or of the client's is seen.
 */
#ifndef PW_TEST_REG_ABI_H
#define PW_TEST_REG_ABI_H

#include <stdint.h>

#include "client_fs/fuse_uapi.h"

#define ABI_INIT_REG_FD (1ull << 60)
#define ABI_ENT_ZERO_COPY (1ull << 0)
#define ABI_ENT_REG (1ull << 16)
#define ABI_ENT_REG_SG (1ull << 17)
#define ABI_ID_SHIFT 48
#define ABI_MAX_SEGS 256u
#define ABI_ID_ANY (~(uint32_t)0)

enum { ABI_REG_FD = 64, ABI_UNREG_FD = 65, ABI_REG_ACTIVATE = 66 };
enum { ABI_F_RDONLY = 1, ABI_F_DMABUF = 2, ABI_F_INACTIVE = 4 };

struct abi_seg {
	uint64_t off;
	uint32_t len, id;
};

/* the command area of an SQE */
struct abi_reg_cmd {
	uint64_t flags, commit_id, qid;
	uint64_t off, len, uaddr;
	int32_t fd;
	uint32_t id;
	uint64_t reserved;
};

#endif /* PW_TEST_REG_ABI_H */
