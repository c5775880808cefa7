/* SPDX-License-Identifier: Apache-2.0 */
/* fuse_param.c -- small files of /proc and /sys */
#include "client_fs/fuse_param.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/log.h"

#define ENABLE_URING "/sys/module/fuse/parameters/enable_uring"

static bool read_word(const char *path, char *buf, size_t len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return false;
	n = read(fd, buf, len - 1);
	close(fd);
	if (n <= 0)
		return false;
	buf[n] = '\0';
	return true;
}

uint32_t pwc_fuse_param_max_pages(void)
{
	char buf[32];
	unsigned long n;

	if (!read_word("/proc/sys/fs/fuse/max_pages_limit", buf, sizeof(buf)))
		return 256;
	n = strtoul(buf, NULL, 10);
	return n >= 1 && n <= UINT16_MAX ? (uint32_t)n : 256;
}

void pwc_fuse_param_why_no_ring(char *ret, size_t len)
{
	char buf[32];

	if (!read_word(ENABLE_URING, buf, sizeof(buf)))
		snprintf(ret, len, "this kernel has no FUSE over io_uring (Linux 6.14 has)");
	else if (buf[0] == 'N' || buf[0] == '0')
		snprintf(ret, len, "fuse.enable_uring is N: echo Y > " ENABLE_URING);
	else
		snprintf(ret, len, "the kernel did not offer FUSE over io_uring");
}

bool pwc_fuse_param_may_have_ring(void)
{
	char buf[32];

	return !read_word(ENABLE_URING, buf, sizeof(buf)) || (buf[0] != 'N' && buf[0] != '0');
}

void pwc_fuse_param_readahead(const struct pwc_mount_id *id, uint32_t bytes)
{
	char path[64], text[16];
	int fd, n;

	snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb", id->major, id->minor);
	n = snprintf(text, sizeof(text), "%u", bytes / 1024);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0) {
		pw_log_debug("fuse: %s: %m", path);
		return;
	}
	if (write(fd, text, (size_t)n) != n)
		pw_log_debug("fuse: %s: %m", path);
	close(fd);
}
