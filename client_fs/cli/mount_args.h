/* SPDX-License-Identifier: Apache-2.0 */
/* mount_args.h -- the command line that mount(8) gives to its helpers
 *
 *	mount.pagewire SPEC DIR [-sfnv] [-N NAMESPACE] [-o OPTION,...] [-t TYPE]
 *
 * Pure.      Allocates: never.
 */
#ifndef PWC_CLI_MOUNT_ARGS_H
#define PWC_CLI_MOUNT_ARGS_H

#include <limits.h>

#include "common/compiler.h"

struct pwc_mount_args {
	const char *spec, *dir; /* borrowed from argv */
	const char *ns;		/* NULL: stay */
	bool sloppy, fake, verbose, help;
	bool remount;
	unsigned long flags; /* MS_*, for remount */
	char options[PATH_MAX +
		     1024]; /* for pagewire-client: without remount; sloppy: without unknown ones */
};

/* Return: 0; -EINVAL with the sentence for the user in @why. */
int pwc_mount_args_parse(int argc, char **argv, struct pwc_mount_args *ret, char *why, size_t len);

#endif
