/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_config.c -- any bytes as a configuration file: refused with a message, or shown and reloaded
 *
 * The first byte also picks a mode: the rest as a size, or as a time.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(cond)                                                                                 \
	do {                                                                                       \
		if (!(cond))                                                                       \
			abort();                                                                   \
	} while (0)

struct opts {
	uint64_t size, time;
	uint32_t number, choice;
	bool flag;
	char text[24];
};

static const struct pw_config_key keys[] = {
	{ "node", "number", PW_CONFIG_U32, offsetof(struct opts, number), .dflt = "7", .max = 99 },
	{ "node", "flag", PW_CONFIG_BOOL, offsetof(struct opts, flag) },
	{ "node", "choice", PW_CONFIG_CHOICE, offsetof(struct opts, choice), .dflt = "a",
	  .choices = "a|bb|ccc" },
	{ "io", "size", PW_CONFIG_SIZE, offsetof(struct opts, size), .dflt = "4KiB" },
	{ "io", "time", PW_CONFIG_TIME, offsetof(struct opts, time), .dflt = "1s" },
	{ "io", "text", PW_CONFIG_STRING, offsetof(struct opts, text), .len = 24 },
};
static const char *const foreign[] = { "client", NULL };
static const struct pw_config_table table = { keys, PW_ARRAY_SIZE(keys), foreign };

static int load(struct pw_config *c, struct opts *o, const void *text, size_t len, char *err,
		size_t err_len)
{
	FILE *f = fmemopen((void *)(uintptr_t)text, len, "r");
	int res;

	MUST(f);
	memset(o, 0, sizeof(*o));
	err[0] = '\0';
	pw_config_init(c, &table, o);
	res = pw_config_load_stream(c, f, "f.conf", err, err_len);
	fclose(f);
	MUST(!res == !err[0]);
	MUST(!res || !strncmp(err, "f.conf:", 7));
	return res;
}

static void check_file(const void *text, size_t len)
{
	struct opts o, again;
	struct pw_config c;
	char err[300], *shown = NULL;
	size_t shown_len;
	FILE *out;

	if (load(&c, &o, text, len, err, sizeof(err)))
		return;
	MUST(o.number <= 99 && o.choice <= 2);
	/* what INI cannot quote does not come back: a comment sign, white space at an end */
	if (strchr(o.text, ';') || strchr("\t\v\f\r ", o.text[0]))
		return;
	out = open_memstream(&shown, &shown_len);
	MUST(out);
	pw_config_show(&c, out, true);
	fclose(out);
	MUST(!load(&c, &again, shown, shown_len, err, sizeof(err)));
	MUST(o.size == again.size && o.time == again.time && o.number == again.number);
	MUST(o.choice == again.choice && o.flag == again.flag && !strcmp(o.text, again.text));
	free(shown);
}

static void check_value(const uint8_t *data, size_t size, bool time)
{
	char s[64];
	uint64_t v = 0;

	size = PW_MIN(size, sizeof(s) - 1);
	memcpy(s, data, size);
	s[size] = '\0';
	if (!(time ? pw_config_parse_time(s, &v) : pw_config_parse_size(s, &v)))
		MUST(s[0] >= '0' && s[0] <= '9');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* fmemopen() refuses nothing at all, which a file may be: it needs no test */
	if (size < 2)
		return 0;
	if (data[0] == 1 || data[0] == 2)
		check_value(data + 1, size - 1, data[0] == 2);
	else
		check_file(data, size);
	return 0;
}
