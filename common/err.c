/* SPDX-License-Identifier: Apache-2.0 */
/* err.c -- the only mapping between errno and the wire's errors; see err.h for the table */
#include "common/err.h"

#include <errno.h>
#include <string.h>

/* Not for user space, and yet what drivers answer: libc has no text for it. */
#define KERNEL_ENOTSUPP 524

uint32_t pw_err_to_wire(int err)
{
	switch (-(int64_t)err) {
#define X(name, num, errno_, text)                                                                 \
	case errno_:                                                                               \
		return PW_WERR_##name;
		PW_WERR_LIST(X)
#undef X
	default:
		return PW_WERR_IO;
	}
}

int pw_err_from_wire(uint32_t werr)
{
	switch (werr) {
#define X(name, num, errno_, text)                                                                 \
	case num:                                                                                  \
		return -(errno_);
		PW_WERR_LIST(X)
#undef X
	default:
		return -EPROTO;
	}
}

const char *pw_err_text(int err)
{
	const char *text;

	switch (-(int64_t)err) {
#define X(name, num, errno_, text_)                                                                \
	case errno_:                                                                               \
		return text_;
		PW_WERR_LIST(X)
#undef X
	case KERNEL_ENOTSUPP:
		return "not supported by the kernel or a driver";
	default:
		text = err < 0 && err > -4096 ? strerrordesc_np(-err) : NULL;
		return text ? text : "unknown error";
	}
}
