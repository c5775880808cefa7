/* SPDX-License-Identifier: Apache-2.0 */
/* preload_open.c -- libpagewire-alloc.so: who opens a file with O_DIRECT may have met a mount
 *
 * That is where registered memory is worth something; programs that never do it cost a mount
 * nothing, and do not wait for one.
 */
#undef _FILE_OFFSET_BITS /* with it open() would be open64() */
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>

#include "libpagewire/alloc/blocks.h"
#include "libpagewire/alloc/next.h"

#define EXPORT __attribute__((visibility("default")))

/* what programs call that were compiled with _FORTIFY_SOURCE */
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int dir, const char *path, int flags);
int __openat64_2(int dir, const char *path, int flags);

static int met(int fd, int flags)
{
	if (fd >= 0 && flags & O_DIRECT)
		pw_blocks_meet(fd);
	return fd;
}

/* The third or fourth argument is there when a file may be made. */
#define MODE_AFTER(flags, mode)                                        \
	do {                                                           \
		if ((flags) & O_CREAT || ((flags) & O_TMPFILE) == O_TMPFILE) { \
			va_list args_;                                 \
			va_start(args_, flags);                        \
			(mode) = va_arg(args_, mode_t);                \
			va_end(args_);                                 \
		}                                                      \
	} while (0)

EXPORT int open(const char *path, int flags, ...)
{
	mode_t mode = 0;

	MODE_AFTER(flags, mode);
	return met(NEXT(open)(path, flags, mode), flags);
}

EXPORT int open64(const char *path, int flags, ...)
{
	mode_t mode = 0;

	MODE_AFTER(flags, mode);
	return met(NEXT(open64)(path, flags, mode), flags);
}

EXPORT int openat(int dir, const char *path, int flags, ...)
{
	mode_t mode = 0;

	MODE_AFTER(flags, mode);
	return met(NEXT(openat)(dir, path, flags, mode), flags);
}

EXPORT int openat64(int dir, const char *path, int flags, ...)
{
	mode_t mode = 0;

	MODE_AFTER(flags, mode);
	return met(NEXT(openat64)(dir, path, flags, mode), flags);
}

EXPORT int __open_2(const char *path, int flags)
{
	return met(NEXT(__open_2)(path, flags), flags);
}

EXPORT int __open64_2(const char *path, int flags)
{
	return met(NEXT(__open64_2)(path, flags), flags);
}

EXPORT int __openat_2(int dir, const char *path, int flags)
{
	return met(NEXT(__openat_2)(dir, path, flags), flags);
}

EXPORT int __openat64_2(int dir, const char *path, int flags)
{
	return met(NEXT(__openat64_2)(dir, path, flags), flags);
}

static int control(int rc, int fd, int what, uintptr_t arg)
{
	if (!rc && what == F_SETFL)
		met(fd, (int)arg);
	return rc;
}

EXPORT int fcntl(int fd, int what, ...)
{
	uintptr_t arg;
	va_list args;

	va_start(args, what);
	arg = va_arg(args, uintptr_t);
	va_end(args);
	return control(NEXT(fcntl)(fd, what, arg), fd, what, arg);
}

EXPORT int fcntl64(int fd, int what, ...)
{
	uintptr_t arg;
	va_list args;

	va_start(args, what);
	arg = va_arg(args, uintptr_t);
	va_end(args);
	return control(NEXT(fcntl64)(fd, what, arg), fd, what, arg);
}
