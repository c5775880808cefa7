/* SPDX-License-Identifier: Apache-2.0 */
/* err.h -- errno <-> wire error, and the exit codes of our programs
 *
 * Inside a program an error is 0 or -errno. On the wire it is enum pw_werr: raw errno never
 * crosses, its numbers differ between architectures. err.c is the only mapping.
 */
#ifndef PW_ERR_H
#define PW_ERR_H

#include "common/compiler.h"

/* Wire values are frozen: append only (common/PROTOCOL.md has the same table). */
#define PW_WERR_LIST(X)                                                                            \
	X(OK, 0, 0, "success")                                                                     \
	X(PERM, 1, EPERM, "operation not permitted")                                               \
	X(NOENT, 2, ENOENT, "no such file or directory")                                           \
	X(IO, 3, EIO, "input/output error")                                                        \
	X(ACCES, 4, EACCES, "permission denied")                                                   \
	X(EXIST, 5, EEXIST, "file exists")                                                         \
	X(XDEV, 6, EXDEV, "cross-device link")                                                     \
	X(NOTDIR, 7, ENOTDIR, "not a directory")                                                   \
	X(ISDIR, 8, EISDIR, "is a directory")                                                      \
	X(INVAL, 9, EINVAL, "invalid argument")                                                    \
	X(FBIG, 10, EFBIG, "file too large")                                                       \
	X(NOSPC, 11, ENOSPC, "no space left on device")                                            \
	X(ROFS, 12, EROFS, "read-only file system")                                                \
	X(MLINK, 13, EMLINK, "too many links")                                                     \
	X(NAMETOOLONG, 14, ENAMETOOLONG, "file name too long")                                     \
	X(NOTEMPTY, 15, ENOTEMPTY, "directory not empty")                                          \
	X(STALE, 16, ESTALE, "stale file handle")                                                  \
	X(NOTSUP, 17, EOPNOTSUPP, "operation not supported")                                       \
	X(PROTO, 18, EPROTO, "protocol error")                                                     \
	X(AGAIN, 19, EAGAIN, "try again")                                                          \
	X(BUSY, 20, EBUSY, "device or resource busy")                                              \
	X(NOMEM, 21, ENOMEM, "out of memory")                                                      \
	X(TIMEDOUT, 22, ETIMEDOUT, "timed out")                                                    \
	X(AUTH, 23, EKEYREJECTED, "cluster key rejected")                                          \
	X(VERSION, 24, EPROTONOSUPPORT, "protocol version not supported")                          \
	X(FSID, 25, EMEDIUMTYPE, "another filesystem")                                             \
	X(BADSUM, 26, EBADMSG, "checksum mismatch")                                                \
	X(SHUTDOWN, 27, ESHUTDOWN, "shutting down")                                                \
	X(LOOP, 28, ELOOP, "too many levels of symbolic links")                                    \
	X(DQUOT, 29, EDQUOT, "quota exceeded")                                                     \
	X(NODATA, 30, ENODATA, "no data available")                                                \
	X(RANGE, 31, ERANGE, "result too large")

enum pw_werr {
#define X(name, num, err, text) PW_WERR_##name = (num),
	PW_WERR_LIST(X)
#undef X
	PW_WERR_NR
};

/**
 * pw_err_to_wire - wire error of a local result
 * @err: 0 or -errno
 *
 * Return: PW_WERR_OK for 0; PW_WERR_IO for an errno that has no wire value.
 */
uint32_t pw_err_to_wire(int err);

/**
 * pw_err_from_wire - local result of a wire error
 * @werr: value as received, any 32 bits
 *
 * Return: 0 or -errno; -EPROTO for a value that this version does not know. -EBADMSG is for logs:
 * the client turns it into -EIO before an application sees it.
 */
int pw_err_from_wire(uint32_t werr);

/**
 * pw_err_text - static text of 0 or -errno, never NULL
 */
const char *pw_err_text(int err);

/* Exit codes, the same in every program; documented in the manual pages. Mount helpers use
 * mount(8)'s own (1 usage, 2 system, 32 failure) and print the code below in their message. */
enum pw_exit {
	PW_EXIT_OK = 0,
	PW_EXIT_ERROR = 1,	/* anything without a code of its own */
	PW_EXIT_USAGE = 2,	/* bad command line */
	PW_EXIT_DEGRADED = 3,	/* status: it works, but something needs attention */
	PW_EXIT_CONFIG = 4,	/* configuration file: unreadable, unknown key, bad value */
	PW_EXIT_PERM = 5,	/* not root, or a file may not be read */
	PW_EXIT_NO_FUSE = 6,	/* no /dev/fuse */
	PW_EXIT_PORT = 7,	/* the port is in use */
	PW_EXIT_KEY = 8,	/* wrong cluster key, or no key where one is needed */
	PW_EXIT_VERSION = 9,	/* protocol versions do not meet */
	PW_EXIT_FSID = 10,	/* the node serves another filesystem */
	PW_EXIT_LOCKED = 11,	/* another node runs on this data directory */
	PW_EXIT_UNREACHABLE = 12, /* nobody answers at the address within the deadline */
	PW_EXIT_NOT_OURS = 13,	/* data directory is not pagewire's, or of another format */
	PW_EXIT_DAMAGED = 14,	/* data directory is ours and cannot be opened as it is */
	PW_EXIT_NO_URING = 15,	/* io_uring is not available here */
	PW_EXIT_NO_RDMA = 16,	/* RDMA was demanded and is not available */
};

#endif
