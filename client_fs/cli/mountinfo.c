/* SPDX-License-Identifier: Apache-2.0 */
/* mountinfo.c -- a line is "ID PARENT MAJ:MIN ROOT DIR OPTIONS [TAG...] - TYPE SOURCE
 * SUPER-OPTIONS" */
#include "client_fs/cli/mountinfo.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* \040 and the like, in place: octal for blank, tab, newline and backslash. */
static void unescape(char *s)
{
	char *to = s;

	for (; *s; to++) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' &&
		    s[3] >= '0' && s[3] <= '7') {
			*to = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 4;
		} else {
			*to = *s++;
		}
	}
	*to = '\0';
}

static void row_fini(struct pwc_mountinfo *m)
{
	free(m->dir);
	free(m->type);
	free(m->source);
	free(m->options);
	*m = (struct pwc_mountinfo){ .dir = NULL };
}

static int copy_word(const char *word, char **ret)
{
	*ret = strdup(word);
	if (!*ret)
		return -ENOMEM;
	unescape(*ret);
	return 0;
}

/* Cuts @line. Return: 1 a row; 0 another type; -errno. */
static int parse_line(char *line, const char *type, struct pwc_mountinfo *ret)
{
	enum {
		DEV = 2,
		DIR = 4,
		OPTIONS = 5,
		NR_FIRST
	};
	char *first[NR_FIRST], *rest[2], *save = NULL, *word = strtok_r(line, " \n", &save);
	int nr = 0, err;

	for (; word && strcmp(word, "-"); word = strtok_r(NULL, " \n", &save))
		if (nr < NR_FIRST)
			first[nr++] = word;
	rest[0] = word ? strtok_r(NULL, " \n", &save) : NULL;
	rest[1] = rest[0] ? strtok_r(NULL, " \n", &save) : NULL;
	if (nr < NR_FIRST || !rest[1] ||
	    sscanf(first[DEV], "%u:%u", &ret->dev_major, &ret->dev_minor) != 2)
		return -EINVAL;
	if (type && strcmp(rest[0], type))
		return 0;
	err = copy_word(first[DIR], &ret->dir);
	if (!err)
		err = copy_word(first[OPTIONS], &ret->options);
	if (!err)
		err = copy_word(rest[0], &ret->type);
	if (!err)
		err = copy_word(rest[1], &ret->source);
	return err ? err : 1;
}

static int append(struct pwc_mountinfos *m, const struct pwc_mountinfo *row)
{
	struct pwc_mountinfo *grown = reallocarray(m->row, m->nr + 1, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	m->row = grown;
	m->row[m->nr++] = *row;
	return 0;
}

int pwc_mountinfo_parse(FILE *f, const char *type, struct pwc_mountinfos *ret)
{
	struct pwc_mountinfos m = { .nr = 0 };
	char *line = NULL;
	size_t cap = 0;
	int err = 0;

	while (!err && getline(&line, &cap, f) > 0) {
		struct pwc_mountinfo row = { .dir = NULL };
		int n = parse_line(line, type, &row);

		err = n < 0 ? n : 0;
		if (n == 1)
			err = append(&m, &row);
		if (n < 0 || err)
			row_fini(&row);
	}
	if (!err && ferror(f))
		err = -EIO;
	free(line);
	if (err) {
		pwc_mountinfo_fini(&m);
		return err;
	}
	*ret = m;
	return 0;
}

int pwc_mountinfo_read(const char *type, struct pwc_mountinfos *ret)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	int err;

	if (!f)
		return -errno;
	err = pwc_mountinfo_parse(f, type, ret);
	fclose(f);
	return err;
}

void pwc_mountinfo_fini(struct pwc_mountinfos *m)
{
	for (size_t i = 0; i < m->nr; i++)
		row_fini(&m->row[i]);
	free(m->row);
	*m = (struct pwc_mountinfos){ .nr = 0 };
}

const struct pwc_mountinfo *pwc_mountinfo_at(const struct pwc_mountinfos *m, const char *dir)
{
	const struct pwc_mountinfo *top = NULL;

	for (size_t i = 0; i < m->nr; i++)
		if (!strcmp(m->row[i].dir, dir))
			top = &m->row[i];
	return top;
}

int pwc_mountinfo_path(const char *dir, char *ret)
{
	char name[PATH_MAX];
	size_t len = strlen(dir);

	if (len >= sizeof(name))
		return -ENAMETOOLONG;
	memcpy(name, dir, len + 1);
	/* realpath(3) checks a component with a slash behind it, and that asks the mount */
	while (len > 1 && name[len - 1] == '/')
		name[--len] = '\0';
	return realpath(name, ret) ? 0 : -errno;
}
