/* SPDX-License-Identifier: Apache-2.0 */
/* fuse_stats.c -- see fuse_stats.h; the file is short and made by the kernel, so it is read at once
 */
#include "client_fs/fuse_stats.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MISS "miss_"

/* "miss_unregistered 5\n": bytes of misses are no reason. */
static void take_line(const char *line, size_t len, json_t **ret)
{
	const char *name = line + strlen(MISS), *space = memchr(line, ' ', len);
	char word[32];
	size_t n;

	if (!space || len < strlen(MISS) || strncmp(line, MISS, strlen(MISS)))
		return;
	n = (size_t)(space - name);
	if (space <= name || n >= sizeof(word) || (n == 5 && !memcmp(name, "bytes", n)))
		return;
	memcpy(word, name, n);
	word[n] = '\0';
	if (!*ret)
		*ret = json_object();
	json_object_set_new(*ret, word, json_integer((json_int_t)strtoull(space, NULL, 10)));
}

json_t *pwc_fuse_stats_misses(const char *text)
{
	json_t *ret = NULL;

	while (*text) {
		size_t len = strcspn(text, "\n");

		take_line(text, len, &ret);
		text += len + (text[len] == '\n');
	}
	return ret;
}

json_t *pwc_fuse_stats_read(uint32_t connection)
{
	char path[64], text[4096];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/sys/fs/fuse/connections/%u/uring_stats", connection);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return NULL;
	text[n] = '\0';
	return pwc_fuse_stats_misses(text);
}
