/* SPDX-License-Identifier: Apache-2.0 */
/* runs.h -- a payload that does not lie in one piece: a list of runs, in the order of its bytes
 *
 * Thread: any.      Allocates: never.      Must not know: whose memory it is.
 */
#ifndef PW_RUNS_H
#define PW_RUNS_H

#include <sys/uio.h>

#include "common/compiler.h"

/* As many as the kernel tells of one request. */
#define PW_RUNS_MAX 256u

struct pw_runs {
	const struct iovec *v; /* borrowed; none is empty */
	uint32_t nr;
	/* Memory of a device perhaps (a dma-buf): nobody in this process may touch it, devices and
	 * the kernel may. */
	bool foreign;
};

/* What has so many bytes at most may be copied by a transport that gathers, whatever it says. */
#define PW_RUNS_SHORT 4096u

/**
 * pw_runs_pick - the pieces that bytes [@at, @at + @len) consist of
 * @v:       at most @max of them; NULL: they are only counted
 * @ret_len: how many bytes they have; less than @len when @max did not do
 *
 * Return: how many pieces.
 */
uint32_t pw_runs_pick(const struct pw_runs *r, uint64_t at, uint64_t len, struct iovec *v,
		      uint32_t max, uint64_t *ret_len);

/* Copies between memory that has one piece, and the first @len bytes of the runs. */
void pw_runs_fill(const struct pw_runs *r, const void *from, uint64_t len);
void pw_runs_read(const struct pw_runs *r, void *to, uint64_t len);

#endif
