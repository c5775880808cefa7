/* SPDX-License-Identifier: Apache-2.0 */
/* config_value.c -- one value: text to number and back, units, limits */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "common/config_impl.h"

struct unit {
	const char *name;
	uint64_t factor;
};

/* In each table the first name of a factor is the one that is printed. */
static const struct unit size_units[] = {
	{ "TiB", 1024 * PW_GIB }, { "GiB", PW_GIB }, { "MiB", PW_MIB }, { "KiB", PW_KIB },
	{ "", 1 },		  { "B", 1 },	     { "T", 1024 * PW_GIB }, { "G", PW_GIB },
	{ "M", PW_MIB },	  { "K", PW_KIB },
};

static const struct unit time_units[] = {
	{ "h", 3600 * PW_NS_PER_S }, { "min", 60 * PW_NS_PER_S }, { "s", PW_NS_PER_S },
	{ "ms", PW_NS_PER_MS },	     { "us", PW_NS_PER_US },	  { "ns", 1 },
};

/* Decimal digits and nothing else; advances @s. */
static int parse_digits(const char **s, uint64_t *ret)
{
	const char *p = *s;
	uint64_t v = 0;

	if (*p < '0' || *p > '9')
		return -EINVAL;
	for (; *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v))
			return -EINVAL;
	*s = p;
	*ret = v;
	return 0;
}

static int parse_with_unit(const char *s, const struct unit *units, size_t nr, uint64_t *ret)
{
	uint64_t v;

	if (parse_digits(&s, &v))
		return -EINVAL;
	while (*s == ' ')
		s++;
	for (size_t i = 0; i < nr; i++)
		if (!strcmp(s, units[i].name))
			return __builtin_mul_overflow(v, units[i].factor, ret) ? -EINVAL : 0;
	return -EINVAL;
}

int pw_config_parse_size(const char *s, uint64_t *ret_bytes)
{
	return parse_with_unit(s, size_units, PW_ARRAY_SIZE(size_units), ret_bytes);
}

int pw_config_parse_time(const char *s, uint64_t *ret_ns)
{
	uint64_t v;

	/* zero is zero in every unit */
	if (!strcmp(s, "0")) {
		*ret_ns = 0;
		return 0;
	}
	if (parse_with_unit(s, time_units, PW_ARRAY_SIZE(time_units), &v))
		return -EINVAL;
	*ret_ns = v;
	return 0;
}

static void print_with_unit(uint64_t v, const struct unit *units, size_t nr, char *buf, size_t len)
{
	size_t i = 0;

	/* the largest unit that leaves no remainder; factor 1 always fits */
	while (i + 1 < nr && (!v || v % units[i].factor) && units[i].factor != 1)
		i++;
	snprintf(buf, len, "%" PRIu64 "%s", v / units[i].factor, units[i].name);
}

static int parse_bool(const char *s, bool *ret)
{
	static const char *const words[][2] = {
		{ "no", "yes" }, { "off", "on" }, { "false", "true" }, { "0", "1" }
	};

	for (size_t i = 0; i < PW_ARRAY_SIZE(words); i++)
		for (int v = 0; v < 2; v++)
			if (!strcmp(s, words[i][v])) {
				*ret = v;
				return 0;
			}
	return -EINVAL;
}

static int parse_choice(const char *s, const char *choices, uint32_t *ret)
{
	size_t len = strlen(s);
	uint32_t i = 0;

	for (const char *p = choices; p; i++) {
		const char *bar = strchr(p, '|');
		size_t n = bar ? (size_t)(bar - p) : strlen(p);

		if (n == len && !strncmp(p, s, n)) {
			*ret = i;
			return 0;
		}
		p = bar ? bar + 1 : NULL;
	}
	return -EINVAL;
}

static void print_choice(uint32_t v, const char *choices, char *buf, size_t len)
{
	const char *p = choices, *bar;

	for (; v && (bar = strchr(p, '|')); v--)
		p = bar + 1;
	snprintf(buf, len, "%.*s", (int)strcspn(p, "|"), p);
}

static int check_limits(const struct pw_config_key *key, uint64_t v, char *why, size_t why_len)
{
	struct pw_config_key limit = *key;
	char min[32], max[32];

	if (!key->max || (v >= key->min && v <= key->max))
		return 0;
	/* the limits in the words of the value */
	limit.offset = 0;
	if (key->type == PW_CONFIG_U32) {
		snprintf(min, sizeof(min), "%" PRIu64, key->min);
		snprintf(max, sizeof(max), "%" PRIu64, key->max);
	} else {
		struct pw_config c = { .dest = &limit.min };

		pw_config_text(&c, &limit, min, sizeof(min));
		c.dest = &limit.max;
		pw_config_text(&c, &limit, max, sizeof(max));
	}
	snprintf(why, why_len, "must be from %s to %s", min, max);
	return -EINVAL;
}

static int put_number(void *field, const struct pw_config_key *key, const char *value, char *why,
		      size_t why_len)
{
	const char *want, *end = value;
	uint64_t v = 0;
	int err;

	switch (key->type) {
	case PW_CONFIG_SIZE:
		want = "want a size like 4MiB";
		err = pw_config_parse_size(value, &v);
		break;
	case PW_CONFIG_TIME:
		want = "want a time with its unit, like 20us, 500ms or 5s";
		err = pw_config_parse_time(value, &v);
		break;
	default:
		want = "want a number";
		err = parse_digits(&end, &v);
		if (*end || v > UINT32_MAX)
			err = -EINVAL;
		break;
	}
	if (err) {
		snprintf(why, why_len, "%s", want);
		return err;
	}
	err = check_limits(key, v, why, why_len);
	if (err)
		return err;
	if (key->type == PW_CONFIG_U32)
		*(uint32_t *)field = (uint32_t)v;
	else
		*(uint64_t *)field = v;
	return 0;
}

static int put_string(char *field, const struct pw_config_key *key, const char *value, char *why,
		      size_t why_len)
{
	const char *bad;

	if (strlen(value) >= key->len) {
		snprintf(why, why_len, "longer than %zu bytes", key->len - 1);
		return -EINVAL;
	}
	bad = key->check ? key->check(value) : NULL;
	if (bad) {
		snprintf(why, why_len, "%s", bad);
		return -EINVAL;
	}
	memcpy(field, value, strlen(value) + 1);
	return 0;
}

int pw_config_put(void *dest, const struct pw_config_key *key, const char *value, char *why,
		  size_t why_len)
{
	void *field = (char *)dest + key->offset;
	int err;

	switch (key->type) {
	case PW_CONFIG_BOOL:
		err = parse_bool(value, field);
		if (err)
			snprintf(why, why_len, "want yes or no");
		return err;
	case PW_CONFIG_CHOICE:
		err = parse_choice(value, key->choices, field);
		if (err)
			snprintf(why, why_len, "want one of %s", key->choices);
		return err;
	case PW_CONFIG_STRING:
		return put_string(field, key, value, why, why_len);
	case PW_CONFIG_U32:
	case PW_CONFIG_SIZE:
	case PW_CONFIG_TIME:
		break;
	}
	return put_number(field, key, value, why, why_len);
}

void pw_config_text(const struct pw_config *c, const struct pw_config_key *key, char *buf,
		    size_t len)
{
	const void *field = (const char *)c->dest + key->offset;

	switch (key->type) {
	case PW_CONFIG_BOOL:
		snprintf(buf, len, "%s", *(const bool *)field ? "yes" : "no");
		break;
	case PW_CONFIG_U32:
		snprintf(buf, len, "%" PRIu32, *(const uint32_t *)field);
		break;
	case PW_CONFIG_SIZE:
		print_with_unit(*(const uint64_t *)field, size_units, PW_ARRAY_SIZE(size_units),
				buf, len);
		break;
	case PW_CONFIG_TIME:
		print_with_unit(*(const uint64_t *)field, time_units, PW_ARRAY_SIZE(time_units),
				buf, len);
		break;
	case PW_CONFIG_STRING:
		snprintf(buf, len, "%s", (const char *)field);
		break;
	case PW_CONFIG_CHOICE:
		print_choice(*(const uint32_t *)field, key->choices, buf, len);
		break;
	}
}

#define WORD_MAX 63u

uint32_t pw_config_distance(const char *a, const char *b)
{
	uint8_t row[3][WORD_MAX + 1]; /* of the table: two before, one before, this */
	size_t la = PW_MIN(strlen(a), WORD_MAX), lb = PW_MIN(strlen(b), WORD_MAX);

	for (size_t j = 0; j <= lb; j++)
		row[0][j] = (uint8_t)j;
	memcpy(row[1], row[0], sizeof(row[1]));
	for (size_t i = 1; i <= la; i++) {
		uint8_t *prev2 = row[(i + 1) % 3], *prev = row[(i - 1) % 3], *now = row[i % 3];

		now[0] = (uint8_t)i;
		for (size_t j = 1; j <= lb; j++) {
			uint32_t d = prev[j - 1] + (a[i - 1] != b[j - 1]);

			d = PW_MIN(d, prev[j] + 1u);
			d = PW_MIN(d, now[j - 1] + 1u);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				d = PW_MIN(d, prev2[j - 2] + 1u);
			now[j] = (uint8_t)d;
		}
	}
	return row[la % 3][lb];
}
