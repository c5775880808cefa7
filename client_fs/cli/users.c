/* SPDX-License-Identifier: Apache-2.0 */
/* users.c -- see users.h */
#include "client_fs/cli/users.h"

#include <dirent.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SHOWN 10u

static bool is_below(const char *link, const char *dir)
{
	char to[PATH_MAX];
	ssize_t n = readlink(link, to, sizeof(to) - 1);
	size_t len = strlen(dir);

	if (n < 0)
		return false;
	to[n] = '\0';
	return !strncmp(to, dir, len) && (!to[len] || to[len] == '/');
}

/* How process @pid holds @dir; NULL: it does not. */
static const char *holds(const char *pid, const char *dir, char *file, size_t file_len)
{
	static const char *const words[] = { "cwd", "root", "exe" };
	static const char *const texts[] = { "works in it", "has its root there", "runs from it" };
	char path[PATH_MAX];
	const char *how = NULL;
	struct dirent *e;
	DIR *d;

	*file = '\0';
	for (size_t i = 0; i < PW_ARRAY_SIZE(words); i++) {
		snprintf(path, sizeof(path), "/proc/%s/%s", pid, words[i]);
		if (is_below(path, dir))
			return texts[i];
	}
	snprintf(path, sizeof(path), "/proc/%s/fd", pid);
	d = opendir(path);
	while (d && !how && (e = readdir(d))) {
		snprintf(path, sizeof(path), "/proc/%s/fd/%.32s", pid, e->d_name);
		if (is_below(path, dir)) {
			ssize_t n = readlink(path, file, file_len - 1);

			file[n > 0 ? n : 0] = '\0';
			how = "has open";
		}
	}
	if (d)
		closedir(d);
	return how;
}

static void name_of(const char *pid, char *ret, size_t len)
{
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%.16s/comm", pid);
	f = fopen(path, "re");
	if (!f || !fgets(ret, (int)len, f))
		snprintf(ret, len, "?");
	ret[strcspn(ret, "\n")] = '\0';
	if (f)
		fclose(f);
}

uint32_t pwc_users_print(const char *dir, FILE *out)
{
	char file[PATH_MAX], name[64];
	DIR *proc = opendir("/proc");
	struct dirent *e;
	uint32_t nr = 0;

	while (proc && (e = readdir(proc))) {
		const char *how;

		if (e->d_name[0] < '1' || e->d_name[0] > '9' || atoi(e->d_name) == getpid())
			continue;
		how = holds(e->d_name, dir, file, sizeof(file));
		if (!how || nr++ >= SHOWN)
			continue;
		name_of(e->d_name, name, sizeof(name));
		fprintf(out, "  process %s (%s) %s%s%s\n", e->d_name, name, how, *file ? " " : "",
			file);
	}
	if (proc)
		closedir(proc);
	if (nr > SHOWN)
		fprintf(out, "  and %u more\n", nr - SHOWN);
	return nr;
}
