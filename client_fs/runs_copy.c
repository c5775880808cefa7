/* SPDX-License-Identifier: Apache-2.0 */
/* runs_copy.c -- see runs_copy.h
 *
 * Foreign memory is copied by write(2) to a memfd and by read(2) from it: through it in steps, the
 * other half of which is our own memory.
 */
#include "client_fs/runs_copy.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/fault.h"

#define STEP (256u << 10)

static int stage = -1;

static int stage_open(void)
{
	int err = PW_FAULT_ERR("runs_copy.stage", -ENOMEM);

	if (err || stage >= 0)
		return err;
	stage = memfd_create("pagewire-stage", MFD_CLOEXEC);
	return stage < 0 ? -ENOMEM : 0;
}

/* One step from @from to @to. Return: 0; -errno. */
static int through_stage(const void *from, void *to, size_t n)
{
	ssize_t put = pwrite(stage, from, n, 0), got;

	if (put < 0)
		return -errno;
	got = pread(stage, to, n, 0);
	if (got < 0)
		return -errno;
	/* the rest of it was not there */
	return put == (ssize_t)n && got == (ssize_t)n ? 0 : -EFAULT;
}

static int copy_foreign(const struct pw_runs *r, uint8_t *mem, uint64_t len, bool in)
{
	int err = stage_open();

	for (uint64_t at = 0, n; !err && at < len; at += n) {
		struct iovec v = { .iov_len = 0 };

		if (!pw_runs_pick(r, at, PW_MIN(len - at, (uint64_t)STEP), &v, 1, &n))
			return -EFAULT;
		err = in ? through_stage(mem + at, v.iov_base, n) :
			   through_stage(v.iov_base, mem + at, n);
	}
	return err;
}

int pwc_runs_read(const struct pw_runs *r, void *to, uint64_t len)
{
	if (r->foreign)
		return copy_foreign(r, to, len, false);
	pw_runs_read(r, to, len);
	return 0;
}

int pwc_runs_fill(const struct pw_runs *r, const void *from, uint64_t len)
{
	if (r->foreign)
		return copy_foreign(r, (uint8_t *)(uintptr_t)from, len, true);
	pw_runs_fill(r, from, len);
	return 0;
}
