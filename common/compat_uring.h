/* SPDX-License-Identifier: Apache-2.0 */
/* compat_uring.h -- io_uring constants that liburing 2.3 does not have; values are kernel ABI */
#ifndef PW_COMPAT_URING_H
#define PW_COMPAT_URING_H

#include <liburing.h>

/* Linux 5.19: the first try of a receive waits for readiness; a receive leaves bytes in the socket.
 *  */
#ifndef IORING_RECVSEND_POLL_FIRST
#define IORING_RECVSEND_POLL_FIRST (1U << 0)
#endif
#ifndef IORING_CQE_F_SOCK_NONEMPTY
#define IORING_CQE_F_SOCK_NONEMPTY (1U << 2)
#endif
/* Linux 6.2: the notification of a zero-copy send says whether the kernel copied after all. */
#ifndef IORING_SEND_ZC_REPORT_USAGE
#define IORING_SEND_ZC_REPORT_USAGE (1U << 3)
#endif
#ifndef IORING_NOTIF_USAGE_ZC_COPIED
#define IORING_NOTIF_USAGE_ZC_COPIED (1U << 31)
#endif

#endif
