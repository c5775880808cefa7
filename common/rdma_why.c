/* SPDX-License-Identifier: Apache-2.0 */
/* rdma_why.c -- errno to advice */
#include "common/rdma_why.h"

#include <errno.h>
#include <stdio.h>

#include "common/err.h"
#include "common/verbs.h"

const char *pw_rdma_why(int err, char *buf, size_t len)
{
	switch (err) {
	case -ENOSYS:
		snprintf(buf, len, "%s", pw_verbs_why());
		break;
	case -ENODEV:
	case -ENOENT:
	case -ENXIO:
		/* no /dev/infiniband/rdma_cm, or no device that has the address */
		snprintf(buf, len, "no RDMA device here has that address (ibv_devices lists them, "
			 "deploy/softroce.sh up IFACE makes one in software)");
		break;
	case -EACCES:
	case -EPERM:
		snprintf(buf, len, "not allowed to use /dev/infiniband");
		break;
	case -ENOMEM:
		snprintf(buf, len, "memory cannot be registered: raise the limit of locked memory "
			 "(ulimit -l, LimitMEMLOCK=)");
		break;
	default:
		snprintf(buf, len, "%s", pw_err_text(err));
	}
	return buf;
}
