/* SPDX-License-Identifier: Apache-2.0 */
/* plant.h -- known bugs that a test plants, to prove that its oracles find them
 *
 *	if (PW_PLANT("ack-before-flush"))
 *		return false;
 *
 * Compiled out, as fault points are, unless PW_FAULT_POINTS is defined. The simulation chooses one
 * by name.
 * Thread: set before anything runs.
 */
#ifndef PW_PLANT_H
#define PW_PLANT_H

#ifdef PW_FAULT_POINTS
#include <string.h>

extern const char *pw_plant; /* NULL: none */
#define PW_PLANT(name) (pw_plant && !strcmp(pw_plant, (name)))
#else
#define PW_PLANT(name) 0
#endif

#endif
