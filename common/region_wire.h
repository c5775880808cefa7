/* SPDX-License-Identifier: Apache-2.0 */
/* region_wire.h -- what libpagewire and a mount say to each other about regions
 *
 * Any path of a mount leads to it: PW_IOC_INFO on a descriptor there names the socket of the mount,
 * SOCK_SEQPACKET. One connection is one application: its regions end with it. A message is one
 * struct pw_region_msg, answered by one struct pw_region_answer; PW_REGION_ADD carries the memfd as
 * SCM_RIGHTS. PW_IOC_IO on an open file moves bytes between that file and a region; it returns how
 * many. Both ends are on one machine: numbers are as the machine has them, errors are -errno.
 * Thread: any.      Must not know: either end.
 */
#ifndef PW_REGION_WIRE_H
#define PW_REGION_WIRE_H

#include <assert.h>
#include <linux/ioctl.h>
#include <stdint.h>

#define PW_REGION_VERSION   1u
#define PW_REGION_IOC_MAGIC 0xb5

struct pw_region_info {
	uint32_t version;
	uint32_t flags;	      /* PW_REGION_INFO_* */
	uint32_t max_io;      /* bytes of one PW_IOC_IO */
	uint32_t max_regions; /* of one application */
	uint64_t max_bytes;   /* in them */
	uint8_t fsid[16];
	char transport[16]; /* "tcp" */
	char socket[108];
	uint32_t reserved;
};
static_assert(sizeof(struct pw_region_info) == 168, "ABI");

/* The kernel finds regions by itself: read(2) and write(2) with O_DIRECT copy nothing. */
#define PW_REGION_INFO_KERNEL 1u

enum pw_region_dir {
	PW_REGION_READ = 1, /* file to region */
	PW_REGION_WRITE = 2,
};

struct pw_region_io {
	uint32_t id;
	uint32_t dir; /* enum pw_region_dir */
	uint64_t key;
	uint64_t region_off, file_off;
	uint32_t len;	   /* bytes, at most max_io */
	uint32_t reserved; /* 0 */
};
static_assert(sizeof(struct pw_region_io) == 40, "ABI");

#define PW_IOC_INFO _IOR(PW_REGION_IOC_MAGIC, 1, struct pw_region_info)
#define PW_IOC_IO   _IOW(PW_REGION_IOC_MAGIC, 2, struct pw_region_io)

enum pw_region_op {
	PW_REGION_ADD = 1, /* off, len, and a descriptor */
	PW_REGION_END = 2, /* id, key; -EBUSY: not gone yet, ask again */
};

struct pw_region_msg {
	uint32_t version;
	uint32_t op; /* enum pw_region_op */
	uint64_t off, len;
	uint64_t key;
	uint32_t id;
	uint32_t reserved; /* 0 */
};
static_assert(sizeof(struct pw_region_msg) == 40, "ABI");

struct pw_region_answer {
	int32_t err; /* 0 or -errno */
	uint32_t id;
	uint64_t key;
	uint32_t in_kernel; /* of ADD: the kernel has taken it, too */
	int32_t kernel_err; /* why not */
	char text[200];	    /* for the user when err is set: what is wrong, and what to do */
};
static_assert(sizeof(struct pw_region_answer) == 224, "ABI");

#endif
