/* SPDX-License-Identifier: Apache-2.0 */
/* probe.h -- does a mount answer at all? Asked in a child, which is left behind when it hangs
 *
 * Only for mounts that no client answers for: of a dead one statfs(2) fails at once.
 * Thread: one.
 */
#ifndef PWC_CLI_PROBE_H
#define PWC_CLI_PROBE_H

#include "common/compiler.h"

/* Return: 0 it answers; -ENOTCONN its daemon is gone; -ETIMEDOUT; -errno. */
int pwc_probe_mount(const char *dir, uint32_t timeout_ms);

#endif
