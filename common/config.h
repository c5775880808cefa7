/* SPDX-License-Identifier: Apache-2.0 */
/* config.h -- INI configuration into a struct, by a table of keys that the program gives
 *
 *	static const struct pw_config_key keys[] = {
 *		{ "node", "port", PW_CONFIG_U32, offsetof(struct opts, port), .dflt = "7470",
 *		  .min = 1, .max = 65535, .help = "TCP port" },
 *		{ "node", "store", PW_CONFIG_CHOICE, offsetof(struct opts, store), .dflt = "disk",
 *		  .choices = "disk|memory|null", .help = "where the data goes" },
 *	};
 *
 * What is not understood is an error, with file, line and the nearest valid key; nothing is skipped
 * silently. Sizes have binary units (4KiB, 64MiB; K, M, G, T mean the same), times need one (20us,
 * 500ms, 5s, 1min, 1h).
 * Thread: any; a table is constant.      Allocates: never.
 */
#ifndef PW_CONFIG_H
#define PW_CONFIG_H

#include <stdio.h>

#include "common/compiler.h"

#define PW_CONFIG_MAX_KEYS 128u
#define PW_CONFIG_VALUE_MAX 200u /* with the final zero; inih's lines are not longer */

enum pw_config_type {
	PW_CONFIG_BOOL, /* bool: yes|no, on|off, true|false, 1|0 */
	PW_CONFIG_U32, /* uint32_t */
	PW_CONFIG_SIZE, /* uint64_t, bytes */
	PW_CONFIG_TIME, /* uint64_t, ns */
	PW_CONFIG_STRING, /* char[len] */
	PW_CONFIG_CHOICE, /* uint32_t: position in choices */
};

struct pw_config_key {
	const char *section, *name;
	enum pw_config_type type;
	size_t offset; /* in the program's struct */
	size_t len; /* STRING: sizeof the member */
	const char *dflt; /* as text; NULL: "", 0, no */
	uint64_t min, max; /* U32, SIZE, TIME; max 0: no limits */
	const char *choices; /* "always|never" */
	/* STRING, optional: NULL when the value is good, else the mistake ("want HOST:PORT") */
	const char *(*check)(const char *value);
	const char *help;
};

struct pw_config_table {
	const struct pw_config_key *keys;
	uint32_t nr_keys; /* at most PW_CONFIG_MAX_KEYS */
	/* sections of other programs, skipped; ends with NULL; may be NULL */
	const char *const *foreign_sections;
};

/* Where the value of a key came from. */
struct pw_config_origin {
	const char *file; /* borrowed; NULL: the default; line 0: not a file ("command line") */
	uint32_t line;
};

struct pw_config {
	const struct pw_config_table *table; /* borrowed for life */
	void *dest; /* borrowed for life: the program's struct */
	struct pw_config_origin origin[PW_CONFIG_MAX_KEYS]; /* by key */
};

/* Puts the defaults into @dest; asserts that they are good. */
void pw_config_init(struct pw_config *c, const struct pw_config_table *table, void *dest);

/**
 * pw_config_load - read a file over what is there; later files win
 * @path: borrowed for the life of @c (origin)
 * @err: the first error, as "FILE:LINE: what is wrong"
 *
 * Return: 0; -ENOENT, -EACCES...; -EINVAL something in it is wrong: @dest is then half changed, do
 * not run.
 */
int pw_config_load(struct pw_config *c, const char *path, char *err, size_t err_len);

/* The same for a stream that is open (a test, stdin); @path is for messages. */
int pw_config_load_stream(struct pw_config *c, FILE *f, const char *path, char *err,
			  size_t err_len);

/**
 * pw_config_check - `config check`: prints every error of a file to @out, a line each
 * Changes @c as pw_config_load() does. Return: number of errors, or -errno when it cannot be read.
 */
int pw_config_check(struct pw_config *c, const char *path, FILE *out);

/* One value, from the command line or -o; @origin is borrowed. Return: 0; -EINVAL with @err. */
int pw_config_set(struct pw_config *c, const char *section, const char *name, const char *value,
		  const char *origin, char *err, size_t err_len);

/* Value of @key as text, in a form that loads again. */
void pw_config_text(const struct pw_config *c, const struct pw_config_key *key, char *buf,
		    size_t len);

/* `config show`: a complete configuration file, with a comment where each value came from. */
void pw_config_show(const struct pw_config *c, FILE *out, bool with_origin);

/* Values alone, for other texts of users (a mount option). Return: 0; -EINVAL. */
int pw_config_parse_size(const char *s, uint64_t *ret_bytes);
int pw_config_parse_time(const char *s, uint64_t *ret_ns);

#endif
