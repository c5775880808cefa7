/* SPDX-License-Identifier: Apache-2.0 */
/* mount_id.c -- "36 35 98:0 /root /mnt/dir rw master:1 - type source options", \040 */
#include "client_fs/mount_id.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static bool is_octal(const char *s)
{
	return s[0] >= '0' && s[0] <= '3' && s[1] >= '0' && s[1] <= '7' && s[2] >= '0' &&
	       s[2] <= '7';
}

/* In place; a blank in a name is written as \040. */
static void unescape(char *s)
{
	char *out = s;

	for (; *s; s++) {
		if (*s == '\\' && is_octal(s + 1)) {
			*out++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 3;
		} else {
			*out++ = *s;
		}
	}
	*out = '\0';
}

static bool matches(char *line, const char *dir, const char *source, struct pwc_mount_id *ret)
{
	char *save, *field[5], *type, *src, *tail = strstr(line, " - ");

	if (!tail)
		return false;
	*tail = '\0';
	for (size_t i = 0; i < PW_ARRAY_SIZE(field); i++) {
		field[i] = strtok_r(i ? NULL : line, " ", &save);
		if (!field[i])
			return false;
	}
	type = strtok_r(tail + 3, " ", &save);
	src = strtok_r(NULL, " ", &save);
	if (!type || !src || strcmp(type, PWC_FSTYPE))
		return false;
	unescape(field[4]);
	unescape(src);
	if (strcmp(field[4], dir) || (source && strcmp(src, source)))
		return false;
	return sscanf(field[0], "%" SCNu64, &ret->id) == 1 &&
	       sscanf(field[2], "%" SCNu32 ":%" SCNu32, &ret->major, &ret->minor) == 2;
}

int pwc_mount_id_scan(FILE *f, const char *dir, const char *source, struct pwc_mount_id *ret)
{
	struct pwc_mount_id found;
	char *line = NULL;
	size_t cap = 0;
	int err = -ENOENT;

	/* later lines lie on top of earlier ones */
	while (getline(&line, &cap, f) > 0) {
		if (!matches(line, dir, source, &found))
			continue;
		*ret = found;
		err = 0;
	}
	free(line);
	return err;
}

int pwc_mount_id_find(const char *dir, const char *source, struct pwc_mount_id *ret)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	int err;

	if (!f)
		return -errno;
	err = pwc_mount_id_scan(f, dir, source, ret);
	fclose(f);
	return err;
}
