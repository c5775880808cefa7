/* SPDX-License-Identifier: Apache-2.0 */
/* reg_fault.c -- let the Nth allocation of one task fail */
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "reg_fault.h"

int fault_open(long tid)
{
	char path[64] = "/proc/thread-self/fail-nth";
	int fd;

	if (tid)
		snprintf(path, sizeof(path), "/proc/self/task/%ld/fail-nth", tid);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		err(1, "%s", path);
	return fd;
}

void fault_arm(int fd, unsigned int n)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%u", n);

	if (pwrite(fd, text, (size_t)len, 0) != len)
		err(1, "fail-nth");
}

bool fault_hit(int fd)
{
	char text[16] = "";

	if (pread(fd, text, sizeof(text) - 1, 0) <= 0)
		err(1, "fail-nth");
	fault_arm(fd, 0);
	return !strtoul(text, NULL, 10);
}
