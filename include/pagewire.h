/* SPDX-License-Identifier: Apache-2.0 */
/* pagewire.h -- buffers that travel between a program and a pagewire mount without being copied
 *
 *	pw_t *pw;
 *	pw_region_t *r;
 *	int err = pw_open(&pw, "/mnt/data", 0);
 *
 *	if (!err)
 *		err = pw_alloc(pw, 1 << 30, PW_HUGE_2M, &r);
 *	if (!err)
 *		n = pw_pread(fd, r, 0, 1 << 20, 0);
 *
 * Functions return 0 or a count, or -errno. They may be called from several threads; a region must
 * not be released while another thread still uses it. There is no state but what pw_open() makes.
 * See libpagewire(3).
 */
#ifndef PAGEWIRE_H
#define PAGEWIRE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct pw pw_t;
typedef struct pw_region pw_region_t;

/* size is set by the caller to sizeof(struct pw_info): later versions have more fields. */
struct pw_info {
	uint32_t size;
	uint32_t version;  /* of the protocol with the mount; 0: no pagewire here (PW_OPTIONAL) */
	uint32_t features; /* PW_FEATURE_* */
	uint32_t max_regions; /* of one process */
	uint64_t max_bytes;   /* in them */
	uint64_t max_io;      /* bytes that one request moves; longer calls are several requests */
	uint64_t plain_io;    /* calls of pw_pread() and pw_pwrite() that had to copy */
	char fsid[40];	      /* text */
	char transport[16];   /* "tcp", "rdma" */
	char why[200];	      /* what the mount said when it last refused memory; "": it did not */
};

/* Regions are registered: pw_pread() and pw_pwrite() copy nothing. */
#define PW_FEATURE_REGIONS 1u
/* The kernel finds regions by itself: so do read(2) and write(2) with O_DIRECT. */
#define PW_FEATURE_KERNEL  2u

/* pw_open(): where there is no pagewire, succeed; memory is plain memory then. */
#define PW_OPTIONAL 1u
int pw_open(pw_t **ret, const char *path_on_mount, unsigned int flags);
/* Releases every region: no I/O may be under way. NULL is fine. */
void pw_close(pw_t *pw);
int pw_get_info(pw_t *pw, struct pw_info *info);

#define PW_HUGE_2M 1u /* pages of 2 MiB; -ENOMEM when the system has too few set aside */
#define PW_HUGE_1G 2u
#define PW_NOREG   4u /* memory only; nothing is told to the mount */
int pw_alloc(pw_t *pw, size_t len, unsigned int flags, pw_region_t **ret);
int pw_import(pw_t *pw, int fd, off_t off, size_t len, unsigned int flags, pw_region_t **ret);
void *pw_addr(const pw_region_t *r, size_t *ret_len, int *ret_fd);
/* -EBUSY: I/O is still under way after @timeout_ms (-1: for ever); call it again. */
int pw_release(pw_region_t *r, int timeout_ms);

ssize_t pw_pread(int fd, pw_region_t *r, size_t region_off, size_t len, off_t file_off);
ssize_t pw_pwrite(int fd, pw_region_t *r, size_t region_off, size_t len, off_t file_off);

#ifdef __cplusplus
}
#endif

#endif
