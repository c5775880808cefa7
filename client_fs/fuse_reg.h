/* SPDX-License-Identifier: Apache-2.0 */
/* fuse_reg.h -- the kernel's table of regions: REG_FD and UNREG_FD, and what a request says of one
 *
 * A kernel with registered regions (kernel/README.md) pins the pages of a region and looks at the
 * pages of each direct READ and WRITE: when all of them lie in one region, nothing is copied, and
 * the request says where they are, as one run or as a list of runs. A kernel that does not offer
 * FUSE_URING_REG_FD copies, as before.
 * Thread: the loop's own.      Allocates: in init.
 */
#ifndef PWC_FUSE_REG_H
#define PWC_FUSE_REG_H

#include "client_fs/fuse_uapi.h"
#include "client_fs/region.h"
#include "common/runs.h"
#include "common/uring.h"

/* Of the kernel's interface; numbers far from those that others are given next. */
#define FUSE_URING_REG_FD (1ULL << 60) /* INIT */
#define FUSE_URING_ENT_REG (1ULL << 16) /* fuse_uring_ent_in_out.flags */
#define FUSE_URING_ENT_REG_SG (1ULL << 17)
#define FUSE_URING_REG_ID_SHIFT 48
#define FUSE_URING_REG_MAX_SEGS 256u
#define FUSE_IO_URING_CMD_REG_FD 64u
#define FUSE_IO_URING_CMD_UNREG_FD 65u
#define FUSE_URING_REG_F_DMABUF (1u << 1)

struct fuse_uring_reg_seg {
	uint64_t off; /* in the region */
	uint32_t len;
	uint32_t id;
};

/* In place of struct fuse_uring_cmd_req. */
struct fuse_uring_reg_cmd {
	uint64_t flags;
	uint64_t commit_id;
	uint16_t qid;
	uint8_t padding[6];
	uint64_t off, len; /* of the file */
	uint64_t uaddr;
	int32_t fd;
	uint32_t id;
	uint64_t reserved;
};

struct pwc_reg;

struct pwc_reg_cmd {
	struct pw_io io;
	struct pwc_reg *reg;
	struct pwc_region *r; /* NULL: it is not out */
};

struct pwc_reg {
	struct pw_loop *loop; /* NULL: never made */
	struct pwc_region_kernel kernel; /* for pwc_regions */
	int fd; /* /dev/fuse, borrowed */
	uint32_t nr_out, nr_ios;
	struct pwc_reg_cmd cmd[PWC_REGIONS_MAX]; /* by id of the region */
};

/* Return: 0; -ENOSPC the loop has too few pw_ios. */
int pwc_reg_init(struct pwc_reg *reg, struct pw_loop *loop, int fd);
/* nr_out must be 0. Accepts all zero. */
void pwc_reg_fini(struct pwc_reg *reg);

/* Where the payload of a request is. */
struct pwc_reg_hit {
	struct pwc_region *region;
	uint32_t nr_runs;
	bool listed; /* the kernel told them in a list */
};

/**
 * pwc_reg_find - what the kernel says, checked
 * @ent:  flags have FUSE_URING_ENT_REG
 * @len:  bytes that the request moves
 * @list: where a list of runs would be, in memory that nobody else writes to
 * @v:    where its runs are put, FUSE_URING_REG_MAX_SEGS at most
 *
 * Return: true, @ret is set, and every run lies in its region; false: the kernel does not make
 * sense.
 */
bool pwc_reg_find(struct pwc_regions *t, const struct fuse_uring_ent_in_out *ent, uint32_t len,
		  const struct fuse_uring_reg_seg *list, struct iovec *v,
		  struct pwc_reg_hit *ret);

#endif
