/* SPDX-License-Identifier: Apache-2.0 */
/* counters.c -- the sums that benchmarks and monitoring want, flat and with names that stay */
#include <stdio.h>

#include "client_fs/cli/json_path.h"
#include "client_fs/cli/survey.h"

static void put(json_t *o, const char *key, uint64_t n)
{
	json_object_set_new(o, key, json_integer((json_int_t)n));
}

static uint64_t sum(const json_t *o)
{
	uint64_t n = 0;
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)o, key, value)
		n += json_is_object(value) ? pwc_json_number(value, "total")
					   : (uint64_t)json_integer_value(value);
	return n;
}

static uint64_t sum_errors(const json_t *requests)
{
	uint64_t n = 0;
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)requests, key, value)
		n += pwc_json_number(value, "errors");
	return n;
}

/* The same in an answer of both. */
static json_t *base(const json_t *a)
{
	json_t *o = json_object();

	put(o, "payload_bytes", pwc_json_number(a, "payload_bytes"));
	put(o, "copied_bytes", pwc_json_number(a, "copied_bytes"));
	put(o, "requests", sum(json_object_get(a, "requests")));
	put(o, "stalls", sum(json_object_get(a, "stalls")));
	return o;
}

json_t *pwc_survey_mount_counters(const json_t *a)
{
	json_t *o = base(a), *path;
	const char *name;
	char key[64];

	put(o, "user_copied_bytes", pwc_json_number(a, "user_copied_bytes"));
	put(o, "errors", sum_errors(json_object_get(a, "requests")));
	put(o, "fallbacks", sum(json_object_get(a, "fallbacks")));
	json_object_foreach(json_object_get(a, "paths"), name, path) {
		snprintf(key, sizeof(key), "bytes_read_%s", name);
		put(o, key, pwc_json_number(path, "read_bytes"));
		snprintf(key, sizeof(key), "bytes_written_%s", name);
		put(o, key, pwc_json_number(path, "written_bytes"));
	}
	return o;
}

json_t *pwc_survey_node_counters(const json_t *a)
{
	json_t *o = base(a);

	put(o, "errors", sum(json_object_get(a, "errors")));
	put(o, "bytes_read", pwc_json_number(a, "bytes_read"));
	put(o, "bytes_written", pwc_json_number(a, "bytes_written"));
	put(o, "flushes", pwc_json_number(a, "disk.flushes"));
	return o;
}
