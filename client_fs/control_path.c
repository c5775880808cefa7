/* SPDX-License-Identifier: Apache-2.0 */
/* control_path.c -- a mount's sockets: their names, and how one comes to be under its name */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "client_fs/control.h"

static bool is_plain(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_' || c == ':' || c == '.';
}

static void make_path(const char *prefix, const char *dir, char *ret, size_t len)
{
	static const char suffix[] = ".sock";
	const size_t max = PW_MIN(len, sizeof(((struct sockaddr_un *)NULL)->sun_path)) - 1;
	uint64_t hash = 0xcbf29ce484222325ull;
	size_t n = strlen(prefix);
	char name[4 * 4096 + 1];
	size_t k = 0;

	for (const char *p = dir; *p; p++)
		hash = (hash ^ (uint8_t)*p) * 0x100000001b3ull;
	while (*dir == '/')
		dir++;
	if (!*dir)
		name[k++] = '-';
	for (; *dir && k + 5 < sizeof(name); dir++) {
		if (*dir == '/')
			name[k++] = '-';
		else if (is_plain(*dir))
			name[k++] = *dir;
		else
			k += (size_t)sprintf(name + k, "\\x%02x", (uint8_t)*dir);
	}
	name[k] = '\0';
	if (n + k + sizeof(suffix) - 1 <= max)
		snprintf(ret, len, "%s%s%s", prefix, name, suffix);
	else
		snprintf(ret, len, "%s%.40s-%016llx%s", prefix, name, (unsigned long long)hash,
			 suffix);
}

void pwc_control_path(const char *dir, char *ret, size_t len)
{
	make_path(PWC_CONTROL_DIR "/mount-", dir, ret, len);
}

void pwc_control_region_path(const char *dir, char *ret, size_t len)
{
	make_path(PWC_CONTROL_DIR "/regions-", dir, ret, len);
}

int pwc_control_listen(const struct sockaddr_un *addr, int type, unsigned int mode, int backlog)
{
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), err;
	mode_t mask;

	if (fd < 0)
		return -errno;
	/* Left by a client that was killed; the mount point was checked to be free of a living
	 * one. */
	unlink(addr->sun_path);
	mask = umask(~mode & 0777);
	err = bind(fd, (const struct sockaddr *)addr, sizeof(*addr)) ? -errno : 0;
	umask(mask);
	if (!err && listen(fd, backlog))
		err = -errno;
	if (err) {
		close(fd);
		return err;
	}
	return fd;
}
