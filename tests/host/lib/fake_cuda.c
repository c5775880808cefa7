/* SPDX-License-Identifier: Apache-2.0 */
/* fake_cuda.c -- the part of libcuda.so.1 that examples/gpu_copy.c uses, with a memfd for a GPU
 *
 * FAKE_CUDA: "" a GPU that exports its memory; "none" no GPU; "closed" one that exports nothing.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

#define ERROR_INVALID_VALUE 1
#define ERROR_NO_DEVICE	    100
#define DEVICE		    0

EXPORT int cuInit(unsigned int flags);
EXPORT int cuDeviceGet(int *ret, int ordinal);
EXPORT int cuDeviceGetCount(int *ret);
EXPORT int cuDeviceGetAttribute(int *ret, int attribute, int device);
EXPORT int cuDevicePrimaryCtxRetain(void **ret, int device);
EXPORT int cuCtxSetCurrent(void *context);
EXPORT int cuMemAlloc_v2(unsigned long long *ret, size_t len);
EXPORT int cuMemFree_v2(unsigned long long ptr);
EXPORT int cuPointerSetAttribute(const void *value, int attribute, unsigned long long ptr);
EXPORT int cuMemGetHandleForAddressRange(void *ret, unsigned long long ptr, size_t len, int type,
					 unsigned long long flags);
EXPORT int cuGetErrorName(int error, const char **ret);

static const unsigned long long address = 0x7f0000000000;

static int is(const char *what)
{
	const char *s = getenv("FAKE_CUDA");

	return s && !strcmp(s, what);
}

int cuInit(unsigned int flags)
{
	return flags ? ERROR_INVALID_VALUE : is("none") ? ERROR_NO_DEVICE : 0;
}

int cuDeviceGet(int *ret, int ordinal)
{
	*ret = DEVICE;
	return ordinal ? ERROR_NO_DEVICE : 0;
}

int cuDeviceGetCount(int *ret)
{
	*ret = 1;
	return 0;
}

int cuDeviceGetAttribute(int *ret, int attribute, int device)
{
	*ret = attribute == 124 && !is("closed");
	return device == DEVICE ? 0 : ERROR_INVALID_VALUE;
}

int cuDevicePrimaryCtxRetain(void **ret, int device)
{
	*ret = ret;
	return device == DEVICE ? 0 : ERROR_INVALID_VALUE;
}

int cuCtxSetCurrent(void *context)
{
	return context ? 0 : ERROR_INVALID_VALUE;
}

int cuMemAlloc_v2(unsigned long long *ret, size_t len)
{
	*ret = address;
	return len % 4096 ? ERROR_INVALID_VALUE : 0;
}

int cuMemFree_v2(unsigned long long ptr)
{
	return ptr == address ? 0 : ERROR_INVALID_VALUE;
}

int cuPointerSetAttribute(const void *value, int attribute, unsigned long long ptr)
{
	return *(const int *)value == 1 && attribute == 6 && ptr == address ? 0
									    : ERROR_INVALID_VALUE;
}

int cuMemGetHandleForAddressRange(void *ret, unsigned long long ptr, size_t len, int type,
				  unsigned long long flags)
{
	int fd;

	if (ptr != address || type != 1 || flags)
		return ERROR_INVALID_VALUE;
	fd = memfd_create("fake-gpu", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0 || ftruncate(fd, (off_t)len) ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW))
		return ERROR_INVALID_VALUE;
	*(int *)ret = fd;
	return 0;
}

int cuGetErrorName(int error, const char **ret)
{
	*ret = error == ERROR_NO_DEVICE ? "CUDA_ERROR_NO_DEVICE" : "CUDA_ERROR_INVALID_VALUE";
	return 0;
}
