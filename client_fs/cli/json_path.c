/* SPDX-License-Identifier: Apache-2.0 */
/* json_path.c -- see json_path.h */
#include "client_fs/cli/json_path.h"

#include <string.h>

json_t *pwc_json_at(const json_t *o, const char *path)
{
	char key[64];

	while (o) {
		size_t len = strcspn(path, ".");

		if (len >= sizeof(key))
			return NULL;
		memcpy(key, path, len);
		key[len] = '\0';
		o = json_object_get(o, key);
		if (!path[len])
			break;
		path += len + 1;
	}
	return (json_t *)(uintptr_t)o;
}

const char *pwc_json_text(const json_t *o, const char *path)
{
	const char *s = json_string_value(pwc_json_at(o, path));

	return s ? s : "";
}

uint64_t pwc_json_number(const json_t *o, const char *path)
{
	double d = json_number_value(pwc_json_at(o, path));
	json_int_t n = json_integer_value(pwc_json_at(o, path));

	if (n > 0)
		return (uint64_t)n;
	return d > 0 && d < 1e18 ? (uint64_t)d : 0;
}

bool pwc_json_true(const json_t *o, const char *path)
{
	return json_is_true(pwc_json_at(o, path));
}
