/* SPDX-License-Identifier: Apache-2.0 */
/* unmappable.c -- to preload: files of one size are dma-bufs of a driver that lets nobody map them
 *
 * It answers what such drivers answer, an error number that is not for user space.
 */
#undef _FILE_OFFSET_BITS /* with it mmap() would be mmap64() */

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define UNMAPPABLE_BYTES (7 * 4096)
#define KERNEL_ENOTSUPP	 524

#define EXPORT __attribute__((visibility("default")))

EXPORT void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	struct stat st;

	if (fd >= 0 && !fstat(fd, &st) && st.st_size == UNMAPPABLE_BYTES) {
		errno = KERNEL_ENOTSUPP;
		return MAP_FAILED;
	}
	return (void *)syscall(SYS_mmap, addr, len, prot, flags, fd, off);
}

EXPORT void *mmap64(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	return mmap(addr, len, prot, flags, fd, off);
}
