/* SPDX-License-Identifier: Apache-2.0 */
/* fault_file.h -- a fault point that fails while a file exists, for one test of a program
 *
 * Fault points are read once, when a program meets the first; the file is how a test says when.
 */
#ifndef FAULT_FILE_H
#define FAULT_FILE_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Before anything else of the program. @fault: "point:ERROR"; @path: as mkstemp(3) wants it. */
static inline void fault_file_arm(const char *fault, char *path)
{
	char value[128];
	int fd = mkstemp(path);

	if (fd < 0)
		abort();
	close(fd);
	unlink(path);
	snprintf(value, sizeof(value), "%s@%s", fault, path);
	setenv("PW_FAULT", value, 1);
}

/* It fails from now on, until unlink(@path). */
static inline void fault_file_on(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		abort();
	close(fd);
}

#endif
