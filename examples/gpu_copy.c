/* SPDX-License-Identifier: Apache-2.0 */
/* gpu_copy.c -- a file into the memory of an NVIDIA GPU and out of it again, past every CPU
 *
 *	gpu_copy FROM TO
 *
 * Happy path: allocate on the GPU -> export as a dma-buf -> pw_import() -> pw_pread(), pw_pwrite().
 * The bytes go between the network card and the GPU; this program never has them.
 * Can fail: no driver, a GPU that exports nothing (GeForce cards, the closed kernel modules), a
 * mount that cannot take it: over TCP, or with a device that does not register dma-bufs. Each is
 * said. The driver is loaded when the program runs: nothing of CUDA is needed to compile it.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "include/pagewire.h"

#define CHUNK ((size_t)4 << 20)

/* of cuda.h */
#define DEVICE_ATTRIBUTE_DMA_BUF_SUPPORTED 124
#define MEM_RANGE_HANDLE_TYPE_DMA_BUF_FD   1
#define POINTER_ATTRIBUTE_SYNC_MEMOPS	   6

struct gpu {
	int (*init)(unsigned int flags);
	int (*get_device)(int *ret, int ordinal);
	int (*get_attribute)(int *ret, int attribute, int device);
	int (*retain_context)(void **ret, int device);
	int (*set_context)(void *context);
	int (*alloc)(unsigned long long *ret, size_t len);
	int (*free)(unsigned long long ptr);
	int (*set_pointer_attribute)(const void *value, int attribute, unsigned long long ptr);
	int (*export)(void *ret, unsigned long long ptr, size_t len, int type,
		      unsigned long long flags);
	int (*error_name)(int error, const char **ret);
	unsigned long long ptr; /* owns: CHUNK bytes */
	int fd;			/* owns: them, as a dma-buf */
};

static bool load(struct gpu *g)
{
	void *lib = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
	const struct {
		void *function;
		const char *name;
	} symbols[] = {
		{ &g->init, "cuInit" },
		{ &g->get_device, "cuDeviceGet" },
		{ &g->get_attribute, "cuDeviceGetAttribute" },
		{ &g->retain_context, "cuDevicePrimaryCtxRetain" },
		{ &g->set_context, "cuCtxSetCurrent" },
		{ &g->alloc, "cuMemAlloc_v2" },
		{ &g->free, "cuMemFree_v2" },
		{ &g->set_pointer_attribute, "cuPointerSetAttribute" },
		{ &g->export, "cuMemGetHandleForAddressRange" },
		{ &g->error_name, "cuGetErrorName" },
	};

	if (!lib) {
		fprintf(stderr, "gpu_copy: no CUDA here: %s: install the driver of the GPU\n",
			dlerror());
		return false;
	}
	for (size_t i = 0; i < sizeof(symbols) / sizeof(*symbols); i++) {
		void **function = symbols[i].function;

		*function = dlsym(lib, symbols[i].name);
		if (!*function) {
			fprintf(stderr, "gpu_copy: the driver has no %s(): install one for CUDA "
					"11.7 or later\n", symbols[i].name);
			return false;
		}
	}
	return true;
}

static bool works(const struct gpu *g, int error, const char *what)
{
	const char *name = NULL;

	if (!error)
		return true;
	if (g->error_name(error, &name) || !name)
		name = "an unknown error";
	fprintf(stderr, "gpu_copy: %s: %s (%d)\n", what, name, error);
	return false;
}

/* CHUNK bytes of the first GPU, and a descriptor for them. */
static bool allocate(struct gpu *g)
{
	int device, can = 0, sync = 1;
	void *context;

	if (!works(g, g->init(0), "cuInit") || !works(g, g->get_device(&device, 0), "no GPU"))
		return false;
	if (g->get_attribute(&can, DEVICE_ATTRIBUTE_DMA_BUF_SUPPORTED, device) || !can) {
		fprintf(stderr, "gpu_copy: this GPU exports no dma-buf: it takes a data center or "
				"professional one, and the open kernel modules of its driver\n");
		return false;
	}
	if (!works(g, g->retain_context(&context, device), "cuDevicePrimaryCtxRetain") ||
	    !works(g, g->set_context(context), "cuCtxSetCurrent") ||
	    !works(g, g->alloc(&g->ptr, CHUNK), "cuMemAlloc"))
		return false;
	/* what the GPU does with it is in order with what the network card does */
	return works(g, g->set_pointer_attribute(&sync, POINTER_ATTRIBUTE_SYNC_MEMOPS, g->ptr),
		     "cuPointerSetAttribute") &&
	       works(g, g->export(&g->fd, g->ptr, CHUNK, MEM_RANGE_HANDLE_TYPE_DMA_BUF_FD, 0),
		     "cuMemGetHandleForAddressRange");
}

static bool import(pw_t *pw, const struct gpu *g, pw_region_t **ret)
{
	struct pw_info info = { .size = sizeof(info) };
	int err = pw_import(pw, g->fd, 0, CHUNK, 0, ret);

	if (!err)
		return true;
	pw_get_info(pw, &info);
	if (err == -EOPNOTSUPP && !*info.why)
		fprintf(stderr, "gpu_copy: the driver lets nobody map the memory of this GPU\n");
	else
		fprintf(stderr, "gpu_copy: the mount does not take the memory of the GPU: %s\n",
			*info.why ? info.why : strerror(-err));
	return false;
}

static bool copy(const char *from_path, const char *to_path, pw_region_t *r)
{
	int from = open(from_path, O_RDONLY | O_CLOEXEC);
	int to = open(to_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	ssize_t n = -1;
	off_t at = 0;

	if (from < 0 || to < 0) {
		perror(from < 0 ? from_path : to_path);
		return false;
	}
	while ((n = pw_pread(from, r, 0, CHUNK, at)) > 0) {
		n = pw_pwrite(to, r, 0, (size_t)n, at);
		if (n <= 0)
			break;
		at += n;
	}
	if (n)
		fprintf(stderr, "gpu_copy: %s\n", strerror((int)-n));
	close(from);
	return !close(to) && !n;
}

int main(int argc, char **argv)
{
	struct gpu g = { .fd = -1 };
	pw_region_t *r;
	bool ok = false;
	pw_t *pw;
	int err;

	if (argc != 3) {
		fprintf(stderr, "usage: gpu_copy FROM TO, two files of one pagewire mount\n");
		return 2;
	}
	err = pw_open(&pw, argv[1], 0);
	if (err) {
		fprintf(stderr, "gpu_copy: %s: %s\n", argv[1], strerror(-err));
		return 1;
	}
	if (load(&g) && allocate(&g) && import(pw, &g, &r))
		ok = copy(argv[1], argv[2], r);
	pw_close(pw); /* before the memory goes */
	if (g.fd >= 0)
		close(g.fd);
	if (g.ptr)
		g.free(g.ptr);
	return ok ? 0 : 1;
}
