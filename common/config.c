/* SPDX-License-Identifier: Apache-2.0 */
/* config.c -- the file: lines through inih, sections and keys against the table, errors with their
 * line
 *
 * inih tells no line numbers to its handler, cuts lines at 200 bytes and takes an indented line for
 * the rest of the one above. So the reader here counts lines, refuses those that would be cut, and
 * takes indentation off.
 */
#include "common/config.h"

#include <assert.h>
#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <string.h>

#include "common/config_impl.h"
#include "common/err.h"

#define COMMAND_LINE 0u

struct parse {
	struct pw_config *c;
	FILE *f;
	const char *path;
	uint32_t line; /* that the reader gave last, from 1 */
	uint32_t nr_errors;
	int read_err; /* 0 or -errno of the stream */
	FILE *out; /* config check: every error goes there; else NULL */
	char *err; /* else the first one here */
	size_t err_len;
	uint32_t err_line; /* of it */
	uint32_t set_on[PW_CONFIG_MAX_KEYS]; /* line of this file that set the key, 0: none */
};

static void report(struct parse *p, const char *fmt, ...) PW_PRINTF(2, 3);

static void report(struct parse *p, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (p->out) {
		fprintf(p->out, "%s:%u: %s\n", p->path, p->line, text);
	} else if (!p->nr_errors || p->line < p->err_line) {
		p->err_line = p->line;
		snprintf(p->err, p->err_len, "%s:%u: %s", p->path, p->line, text);
	}
	p->nr_errors++;
}

/* What may be wrong with a name: the sentence goes to @why. Return: key, or NULL. */
static const struct pw_config_key *find_key(const struct pw_config_table *t, const char *section,
					    const char *name, char *why, size_t why_len)
{
	const struct pw_config_key *best = NULL, *near_section = NULL, *elsewhere = NULL;
	uint32_t best_d = UINT32_MAX, near_d = UINT32_MAX;

	for (uint32_t i = 0; i < t->nr_keys; i++) {
		const struct pw_config_key *k = &t->keys[i];
		uint32_t d = pw_config_distance(section, k->section);

		if (d < near_d) {
			near_d = d;
			near_section = k;
		}
		if (!strcmp(name, k->name))
			elsewhere = k;
		if (strcmp(section, k->section))
			continue;
		d = pw_config_distance(name, k->name);
		if (!strcmp(name, k->name))
			return k;
		if (d < best_d) {
			best_d = d;
			best = k;
		}
	}
	if (!*section)
		snprintf(why, why_len, "'%s' stands before the first [section]", name);
	else if (!best)
		snprintf(why, why_len, "unknown section [%s], did you mean [%s]?", section,
			 near_section ? near_section->section : "");
	else if (elsewhere && best_d > 2)
		snprintf(why, why_len, "unknown key '%s' in [%s], it belongs to [%s]", name,
			 section, elsewhere->section);
	else
		snprintf(why, why_len, "unknown key '%s' in [%s], did you mean '%s'?", name,
			 section, best->name);
	return NULL;
}

static bool is_foreign(const struct pw_config_table *t, const char *section)
{
	for (const char *const *s = t->foreign_sections; s && *s; s++)
		if (!strcmp(section, *s))
			return true;
	return false;
}

static int on_pair(void *arg, const char *section, const char *name, const char *value)
{
	struct parse *p = arg;
	const struct pw_config_key *key;
	char why[400];
	size_t i;

	if (is_foreign(p->c->table, section))
		return 1;
	key = find_key(p->c->table, section, name, why, sizeof(why));
	if (!key) {
		report(p, "%s", why);
		return 1;
	}
	i = (size_t)(key - p->c->table->keys);
	if (p->set_on[i]) {
		report(p, "[%s] %s is set a second time, the first is line %u", section, name,
		       p->set_on[i]);
		return 1;
	}
	p->set_on[i] = p->line;
	if (pw_config_put(p->c->dest, key, value, why, sizeof(why))) {
		report(p, "[%s] %s = %s: %s", section, name, value, why);
		return 1;
	}
	p->c->origin[i] = (struct pw_config_origin){ .file = p->path, .line = p->line };
	return 1;
}

/* inih's fgets(): one whole line or an error of ours, indentation and line end taken off. */
static char *read_line(char *str, int num, void *stream)
{
	struct parse *p = stream;
	size_t len = 0, max = (size_t)num - 1;
	bool cut = false, nul = false;
	int ch;

	ch = getc(p->f);
	if (ch == EOF) {
		p->read_err = ferror(p->f) ? -errno : 0;
		return NULL;
	}
	p->line++;
	while (ch == ' ' || ch == '\t')
		ch = getc(p->f);
	for (; ch != EOF && ch != '\n'; ch = getc(p->f)) {
		nul = nul || !ch;
		cut = cut || len == max;
		if (len < max)
			str[len++] = (char)ch;
	}
	if (cut)
		report(p, "line is longer than %zu bytes", max);
	else if (nul)
		report(p, "line has a zero byte");
	/* reported already: inih is not to judge what is left of it */
	str[cut || nul ? 0 : len] = '\0';
	return str;
}

static int run_parse(struct parse *p)
{
	int line = ini_parse_stream(read_line, p, on_pair, p);

	if (p->read_err)
		return p->read_err;
	if (line) {
		/* it tells its first one only when all is read: that may be before ours */
		p->line = line > 0 ? (uint32_t)line : 0;
		report(p, "neither [section], key = value nor a comment");
	}
	return p->nr_errors ? -EINVAL : 0;
}

int pw_config_load_stream(struct pw_config *c, FILE *f, const char *path, char *err, size_t err_len)
{
	struct parse p = { .c = c, .f = f, .path = path, .err = err, .err_len = err_len };
	int res = run_parse(&p);

	if (p.read_err)
		snprintf(err, err_len, "%s: %s", path, pw_err_text(res));
	return res;
}

int pw_config_load(struct pw_config *c, const char *path, char *err, size_t err_len)
{
	FILE *f = fopen(path, "re");
	int res;

	if (!f) {
		res = -errno;
		snprintf(err, err_len, "%s: %s", path, pw_err_text(res));
		return res;
	}
	res = pw_config_load_stream(c, f, path, err, err_len);
	fclose(f);
	return res;
}

int pw_config_check(struct pw_config *c, const char *path, FILE *out)
{
	struct parse p = { .c = c, .path = path, .out = out };
	int res;

	p.f = fopen(path, "re");
	if (!p.f) {
		res = -errno;
		fprintf(out, "%s: %s\n", path, pw_err_text(res));
		return res;
	}
	res = run_parse(&p);
	if (p.read_err)
		fprintf(out, "%s: %s\n", path, pw_err_text(res));
	fclose(p.f);
	return p.read_err ? res : (int)p.nr_errors;
}

int pw_config_set(struct pw_config *c, const char *section, const char *name, const char *value,
		  const char *origin, char *err, size_t err_len)
{
	const struct pw_config_key *key = find_key(c->table, section, name, err, err_len);
	char why[400];

	if (!key)
		return -EINVAL;
	if (pw_config_put(c->dest, key, value, why, sizeof(why))) {
		snprintf(err, err_len, "%s = %s: %s", name, value, why);
		return -EINVAL;
	}
	c->origin[key - c->table->keys] =
		(struct pw_config_origin){ .file = origin, .line = COMMAND_LINE };
	return 0;
}

static const char *default_text(const struct pw_config_key *key)
{
	if (key->dflt)
		return key->dflt;
	switch (key->type) {
	case PW_CONFIG_STRING:
		return "";
	case PW_CONFIG_CHOICE:
		assert(!"a choice needs a default");
		return "";
	default:
		return "0";
	}
}

void pw_config_init(struct pw_config *c, const struct pw_config_table *table, void *dest)
{
	char why[400];

	assert(table->nr_keys <= PW_CONFIG_MAX_KEYS);
	*c = (struct pw_config){ .table = table, .dest = dest };
	for (uint32_t i = 0; i < table->nr_keys; i++) {
		const struct pw_config_key *key = &table->keys[i];
		int err;

		/* "not set" need not be a value that a user may write */
		if (!key->dflt && key->type == PW_CONFIG_STRING) {
			*((char *)dest + key->offset) = '\0';
			continue;
		}
		err = pw_config_put(dest, key, default_text(key), why, sizeof(why));
		assert(!err);
		(void)err;
	}
}

static void show_key(const struct pw_config *c, uint32_t i, FILE *out, bool with_origin)
{
	const struct pw_config_key *key = &c->table->keys[i];
	const struct pw_config_origin *o = &c->origin[i];
	char value[PW_CONFIG_VALUE_MAX];

	pw_config_text(c, key, value, sizeof(value));
	/* an empty string cannot be told from a mistake when it is read again */
	fprintf(out, "%s%s = %s", *value ? "" : "; ", key->name, value);
	if (!with_origin)
		fputc('\n', out);
	else if (!o->file)
		fprintf(out, " ; default\n");
	else if (o->line)
		fprintf(out, " ; %s:%u\n", o->file, o->line);
	else
		fprintf(out, " ; %s\n", o->file);
}

static bool section_seen_before(const struct pw_config_table *t, uint32_t i)
{
	for (uint32_t j = 0; j < i; j++)
		if (!strcmp(t->keys[j].section, t->keys[i].section))
			return true;
	return false;
}

void pw_config_show(const struct pw_config *c, FILE *out, bool with_origin)
{
	const struct pw_config_table *t = c->table;

	for (uint32_t i = 0; i < t->nr_keys; i++) {
		if (section_seen_before(t, i))
			continue;
		fprintf(out, "%s[%s]\n", i ? "\n" : "", t->keys[i].section);
		for (uint32_t j = i; j < t->nr_keys; j++)
			if (!strcmp(t->keys[j].section, t->keys[i].section))
				show_key(c, j, out, with_origin);
	}
}
