/* SPDX-License-Identifier: Apache-2.0 */
/* fault.h -- a point where a test makes the world fail
 *
 *	err = PW_FAULT("disk.write");
 *	if (err)
 *		goto out;
 *
 * Compiled out unless PW_FAULT_POINTS is defined (meson -Dfault=true). PW_FAULT=count counts the
 * points that were passed and prints "fault points: N" at exit; PW_FAULT=N fails the Nth with -EIO
 * (or the point's own error); PW_FAULT=name:EIO[@FILE] fails the named one, while FILE exists if it
 * is given; PW_FAULT=name:kill kills the process there with SIGKILL (name:kill@FILE likewise).
 */
#ifndef PW_FAULT_H
#define PW_FAULT_H

#include "common/compiler.h"

#ifdef PW_FAULT_POINTS
int pw_fault_hit(const char *name, int err);
#define PW_FAULT(name) pw_fault_hit(name, 0)
#define PW_FAULT_ERR(name, err) pw_fault_hit(name, err)
#else
#define PW_FAULT(name) 0
#define PW_FAULT_ERR(name, err) 0
#endif

#endif
