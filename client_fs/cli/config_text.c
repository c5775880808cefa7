/* SPDX-License-Identifier: Apache-2.0 */
/* config_text.c -- a line is "[section]", or "key = value ; origin", or "; key =  ; origin"
 * without a value */
#include "client_fs/cli/config_text.h"

#include <string.h>

/* Cuts blanks at both ends, in place. */
static char *trim(char *s)
{
	size_t len;

	s += strspn(s, " \t");
	len = strlen(s);
	while (len && (s[len - 1] == ' ' || s[len - 1] == '\t'))
		s[--len] = '\0';
	return s;
}

/* The last " ; ": a value has none, inih would take it for a comment. */
static char *cut_origin(char *line)
{
	char *last = NULL;

	for (char *p = strstr(line, " ; "); p; p = strstr(p + 1, " ; "))
		last = p;
	if (!last)
		return NULL;
	*last = '\0';
	return trim(last + 3);
}

static void put_key(json_t *section, char *line)
{
	char *origin, *eq;
	bool unset = !strncmp(line, "; ", 2);

	if (unset)
		line += 2;
	origin = cut_origin(line);
	eq = strchr(line, '=');
	if (!eq)
		return;
	*eq = '\0';
	json_object_set_new(section, trim(line),
			    json_pack("{s:s, s:s}", "value", unset ? "" : trim(eq + 1), "origin",
				      origin ? origin : ""));
}

json_t *pwc_config_text_json(char *text, const char *file)
{
	json_t *sections = json_object(), *section = NULL;
	char *save = NULL;

	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *end = strchr(line, ']');

		if (*line == '[' && end) {
			*end = '\0';
			section = json_object();
			json_object_set_new(sections, line + 1, section);
		} else if (section) {
			put_key(section, line);
		}
	}
	return json_pack("{s:s, s:s, s:o}", "schema", "pagewire.config/1", "file", file, "sections",
			 sections);
}
