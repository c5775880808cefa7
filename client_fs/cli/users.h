/* SPDX-License-Identifier: Apache-2.0 */
/* users.h -- which processes hold a mount: working directories, open files, programs
 *
 * Reads the names of links in /proc only, so no mount is asked for anything.
 * Thread: one.
 */
#ifndef PWC_CLI_USERS_H
#define PWC_CLI_USERS_H

#include <stdio.h>

#include "common/compiler.h"

/* A line for each of the first ten on @out. Return: how many processes there are. */
uint32_t pwc_users_print(const char *dir, FILE *out);

#endif
