/* SPDX-License-Identifier: Apache-2.0 */
/* options.c -- a table of options; each value has one reader and one sentence when it is wrong */
#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client_fs/options.h"
#include "common/auth.h"
#include "common/err.h"
#include "common/loop.h"
#include "common/uuid.h"

struct reader {
	struct pwc_options *o;
	const char *name, *value; /* value: NULL without '=' */
	char *why;
	size_t why_len;
};

struct option {
	const char *name;
	int (*read)(struct reader *r); /* NULL: accepted, means nothing here */
	bool wants_value;
};

static int complain(struct reader *r, const char *fmt, ...) PW_PRINTF(2, 3);
static int complain(struct reader *r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(r->why, r->why_len, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* A whole number with an optional unit; units are pairs of suffix and factor. */
static bool read_number(const char *s, uint64_t unit, uint64_t *ret)
{
	static const struct {
		const char *suffix;
		uint64_t factor;
	} units[] = {
		{ "", 0 },	   { "K", PW_KIB },   { "KiB", PW_KIB },
		{ "M", PW_MIB },   { "MiB", PW_MIB }, { "k", PW_KIB },
		{ "m", PW_MIB },
	};
	unsigned long long n;
	char *end;

	if (*s < '0' || *s > '9')
		return false;
	errno = 0;
	n = strtoull(s, &end, 10);
	if (errno)
		return false;
	for (size_t i = 0; i < PW_ARRAY_SIZE(units); i++) {
		uint64_t factor = units[i].factor ? units[i].factor : unit;

		if (strcmp(end, units[i].suffix) || n > UINT64_MAX / factor)
			continue;
		*ret = n * factor;
		return true;
	}
	return false;
}

/* Seconds, with a fraction or with "ms" behind; 0 is allowed. */
static bool read_time_ms(const char *s, uint32_t *ret)
{
	char *end;
	double d;

	if (*s < '0' || *s > '9')
		return false;
	d = strtod(s, &end);
	if (!strcmp(end, "") || !strcmp(end, "s"))
		d *= 1000;
	else if (strcmp(end, "ms"))
		return false;
	if (d > 86400e3)
		return false;
	*ret = (uint32_t)(d + 0.5);
	return true;
}

static int read_rw(struct reader *r)
{
	r->o->ro = !strcmp(r->name, "ro");
	return 0;
}

static int read_allow_other(struct reader *r)
{
	r->o->allow_other = !strcmp(r->name, "allow_other");
	r->o->allow_other_set = true;
	return 0;
}

static int read_kernel(struct reader *r)
{
	struct pwc_options *o = r->o;
	size_t len = strlen(o->kernel_opts);

	if (len + strlen(r->name) + 2 > sizeof(o->kernel_opts))
		return complain(r, "too many mount options");
	snprintf(o->kernel_opts + len, sizeof(o->kernel_opts) - len, ",%s", r->name);
	return 0;
}

static int read_timeout(struct reader *r)
{
	if (!read_time_ms(r->value, &r->o->timeout_ms))
		return complain(r, "timeout=%s: seconds are expected (0 waits for ever)", r->value);
	return 0;
}

static int read_attr_timeout(struct reader *r)
{
	if (!read_time_ms(r->value, &r->o->attr_timeout_ms))
		return complain(r, "attr_timeout=%s: seconds are expected", r->value);
	return 0;
}

static int read_io_uring(struct reader *r)
{
	if (!strcmp(r->value, "auto"))
		r->o->io_uring = PWC_IO_URING_AUTO;
	else if (!strcmp(r->value, "on"))
		r->o->io_uring = PWC_IO_URING_ON;
	else if (!strcmp(r->value, "off"))
		r->o->io_uring = PWC_IO_URING_OFF;
	else
		return complain(r, "io_uring=%s: auto, on or off is expected", r->value);
	return 0;
}

static int read_cache(struct reader *r)
{
	if (!strcmp(r->value, "auto"))
		r->o->cache = PWC_CACHE_AUTO;
	else if (!strcmp(r->value, "none"))
		r->o->cache = PWC_CACHE_NONE;
	else
		return complain(r, "cache=%s: auto or none is expected", r->value);
	return 0;
}

static int read_zc(struct reader *r)
{
	if (!strcmp(r->value, "auto"))
		r->o->zc = PWC_ZC_AUTO;
	else if (!strcmp(r->value, "require"))
		r->o->zc = PWC_ZC_REQUIRE;
	else if (!strcmp(r->value, "off"))
		r->o->zc = PWC_ZC_OFF;
	else
		return complain(r, "zc=%s: auto, require or off is expected", r->value);
	return 0;
}

static int read_transport(struct reader *r)
{
	if (!strcmp(r->value, "auto"))
		r->o->transport = PW_TRANSPORT_AUTO;
	else if (!strcmp(r->value, "tcp"))
		r->o->transport = PW_TRANSPORT_TCP;
	else if (!strcmp(r->value, "rdma"))
		r->o->transport = PW_TRANSPORT_RDMA;
	else
		return complain(r, "transport=%s: auto, tcp or rdma is expected", r->value);
	return 0;
}

/* ADDRESS or [V6ADDRESS], to @ret; what comes behind it, or NULL. */
static const char *read_address(const char *s, size_t len, char *ret, size_t ret_len)
{
	bool v6 = *s == '[';
	size_t n;
	uint8_t b[16];

	s += v6;
	len -= v6;
	n = strcspn(s, v6 ? "]" : ":/");
	n = PW_MIN(n, len);
	if (n >= ret_len || (v6 && (n == len || s[n] != ']')))
		return NULL;
	memcpy(ret, s, n);
	ret[n] = '\0';
	return inet_pton(v6 ? AF_INET6 : AF_INET, ret, b) == 1 ? s + n + v6 : NULL;
}

/* ADDRESS[:PORT][/LOCAL] */
static bool read_rail(const char *s, size_t len, struct pwc_rail_opt *ret)
{
	const char *end = s + len, *pos = read_address(s, len, ret->host, sizeof(ret->host));
	unsigned long port = 0;
	char *port_end;

	if (pos && *pos == ':' && pos[1] >= '0' && pos[1] <= '9') {
		port = strtoul(pos + 1, &port_end, 10);
		pos = port && port < UINT16_MAX ? port_end : NULL;
	}
	ret->port = (uint16_t)port;
	ret->local[0] = '\0';
	if (pos && *pos == '/' && pos < end)
		pos = read_address(pos + 1, (size_t)(end - pos - 1), ret->local,
				   sizeof(ret->local));
	return pos == end;
}

/* The list of options has commas of its own, so this one has plus signs. */
static int read_rails(struct reader *r)
{
	struct pwc_options *o = r->o;
	const char *pos = r->value;
	size_t len;

	if (!strcmp(pos, "auto") || !strcmp(pos, "off")) {
		o->rails_mode = *pos == 'a' ? PWC_RAILS_AUTO : PWC_RAILS_OFF;
		return 0;
	}
	o->rails_mode = PWC_RAILS_LIST;
	for (; pos; pos = pos[len] ? pos + len + 1 : NULL) {
		len = strcspn(pos, "+");
		if (o->nr_rails == PWC_RAIL_OPTS_MAX)
			return complain(r, "rails=: at most %u addresses", PWC_RAIL_OPTS_MAX);
		if (!read_rail(pos, len, &o->rails[o->nr_rails]))
			return complain(r, "rails=%s: auto, off, or ADDRESS[:PORT][/LOCAL] with + "
					"between them is expected", r->value);
		o->nr_rails++;
	}
	return 0;
}

static int read_bounded(struct reader *r, uint64_t unit, uint64_t min, uint64_t max, uint32_t *ret)
{
	uint64_t n;

	if (!read_number(r->value, unit, &n) || n < min || n > max)
		return complain(r, "%s=%s: a number from %llu to %llu is expected", r->name,
				r->value, (unsigned long long)min, (unsigned long long)max);
	*ret = (uint32_t)n;
	return 0;
}

static int read_max_io(struct reader *r)
{
	int err = read_bounded(r, 1, 4096, PW_MAX_IO, &r->o->max_io);

	if (!err && r->o->max_io % 4096)
		return complain(r, "max_io=%s: a multiple of 4096 is expected", r->value);
	return err;
}

static int read_slots(struct reader *r)
{
	return read_bounded(r, 1, 2, PW_MAX_SLOTS, &r->o->slots);
}

static int read_poll_us(struct reader *r)
{
	return read_bounded(r, 1, 0, PW_POLL_US_MAX, &r->o->poll_us);
}

static int read_queue_depth(struct reader *r)
{
	return read_bounded(r, 1, 1, 1024, &r->o->queue_depth);
}

static int read_readahead(struct reader *r)
{
	return read_bounded(r, 1, 0, 256 * PW_MIB, &r->o->readahead);
}

static int read_key_file(struct reader *r)
{
	if (strlen(r->value) >= sizeof(r->o->key_file))
		return complain(r, "key_file: the name is too long");
	strcpy(r->o->key_file, r->value);
	return 0;
}

static int read_fsid(struct reader *r)
{
	if (pw_uuid_parse(r->value, r->o->fsid))
		return complain(r, "fsid=%s: a UUID is expected: the node prints its own at its "
				"start", r->value);
	return 0;
}

static const struct option options[] = {
	{ "rw", read_rw },
	{ "ro", read_rw },
	{ "allow_other", read_allow_other },
	{ "noallow_other", read_allow_other },
	{ "default_permissions", NULL }, /* always on */
	{ "timeout", read_timeout, true },
	{ "attr_timeout", read_attr_timeout, true },
	{ "io_uring", read_io_uring, true },
	{ "cache", read_cache, true },
	{ "zc", read_zc, true },
	{ "transport", read_transport, true },
	{ "rails", read_rails, true },
	{ "max_io", read_max_io, true },
	{ "slots", read_slots, true },
	{ "queue_depth", read_queue_depth, true },
	{ "poll_us", read_poll_us, true },
	{ "readahead", read_readahead, true },
	{ "key_file", read_key_file, true },
	{ "fsid", read_fsid, true },
	{ "suid", read_kernel },
	{ "nosuid", read_kernel },
	{ "dev", read_kernel },
	{ "nodev", read_kernel },
	{ "exec", read_kernel },
	{ "noexec", read_kernel },
	{ "atime", read_kernel },
	{ "noatime", read_kernel },
	{ "sync", read_kernel },
	{ "async", read_kernel },
	{ "dirsync", read_kernel },
	/* for mount(8), fstab and systemd */
	{ "defaults", NULL },
	{ "_netdev", NULL },
	{ "nofail", NULL },
	{ "auto", NULL },
	{ "noauto", NULL },
	{ "user", NULL },
	{ "nouser", NULL },
	{ "users", NULL },
	{ "group", NULL },
	{ "owner", NULL },
	{ "relatime", NULL },
	{ "norelatime", NULL },
	{ "strictatime", NULL },
	{ "nostrictatime", NULL },
	{ "lazytime", NULL },
	{ "nolazytime", NULL },
	{ "diratime", NULL },
	{ "nodiratime", NULL },
	{ "silent", NULL },
	{ "loud", NULL },
	{ "nonempty", NULL },
	{ "comment", NULL },
};

/* Edits to turn @a into @b; names are short. */
static uint32_t distance(const char *a, const char *b)
{
	size_t la = strlen(a), lb = strlen(b);
	uint32_t row[32];

	if (lb >= PW_ARRAY_SIZE(row) || la >= PW_ARRAY_SIZE(row))
		return UINT32_MAX;
	for (size_t j = 0; j <= lb; j++)
		row[j] = (uint32_t)j;
	for (size_t i = 1; i <= la; i++) {
		uint32_t diag = row[0];

		row[0] = (uint32_t)i;
		for (size_t j = 1; j <= lb; j++) {
			uint32_t swap = diag + (a[i - 1] != b[j - 1]);

			diag = row[j];
			row[j] = PW_MIN(swap, PW_MIN(row[j], row[j - 1]) + 1);
		}
	}
	return row[lb];
}

static int complain_unknown(struct reader *r)
{
	uint32_t best = UINT32_MAX;
	const char *near = NULL;

	for (size_t i = 0; i < PW_ARRAY_SIZE(options); i++) {
		uint32_t d = distance(r->name, options[i].name);

		if (d < best) {
			best = d;
			near = options[i].name;
		}
	}
	if (near && best <= 1 + strlen(r->name) / 3)
		return complain(r, "unknown option \"%s\"; did you mean \"%s\"?", r->name, near);
	return complain(r, "unknown option \"%s\"", r->name);
}

static int read_option(struct reader *r)
{
	/* systemd's and mount(8)'s own: whatever comes behind the prefix */
	if (!strncmp(r->name, "x-", 2) || !strncmp(r->name, "X-", 2))
		return 0;
	for (size_t i = 0; i < PW_ARRAY_SIZE(options); i++) {
		const struct option *o = &options[i];

		if (strcmp(r->name, o->name))
			continue;
		if (!o->read)
			return 0;
		if (o->wants_value && (!r->value || !*r->value))
			return complain(r, "option %s needs a value", o->name);
		if (!o->wants_value && r->value)
			return complain(r, "option %s takes no value", o->name);
		return o->read(r);
	}
	return complain_unknown(r);
}

int pwc_options_parse_list(struct pwc_options *o, const char *list, char *ret_why, size_t why_len)
{
	char buf[PATH_MAX + 1024], *save, *word;

	if (strlen(list) >= sizeof(buf)) {
		snprintf(ret_why, why_len, "the option list is too long");
		return -EINVAL;
	}
	strcpy(buf, list);
	for (word = strtok_r(buf, ",", &save); word; word = strtok_r(NULL, ",", &save)) {
		char *value = strchr(word, '=');
		struct reader r = { o, word, NULL, ret_why, why_len };
		int err;

		if (value) {
			*value = '\0';
			r.value = value + 1;
		}
		err = read_option(&r);
		if (err)
			return err;
	}
	return 0;
}

int pwc_options_parse_source(struct pwc_options *o, const char *source, char *ret_why,
			     size_t why_len)
{
	const char *path = strstr(source, ":/"), *host = source, *host_end, *port = NULL;
	struct reader r = { o, NULL, NULL, ret_why, why_len };
	bool literal = source[0] == '[';

	if (!path)
		return complain(&r, "\"%s\": HOST:PORT:/ is expected", source);
	if (strcmp(path, ":/"))
		return complain(&r, "\"%s\": only the root \":/\" can be mounted yet", source);
	host += literal;
	host_end = literal ? strchr(host, ']') : memchr(host, ':', (size_t)(path - host));
	if (literal && (!host_end || host_end > path))
		return complain(&r, "\"%s\": no ] behind the address", source);
	if (!host_end)
		host_end = path;
	if (host_end + literal < path)
		port = host_end + literal;
	if (host_end == host || (size_t)(host_end - host) >= sizeof(o->host) ||
	    memchr(host, ',', (size_t)(host_end - host)))
		return complain(&r, "\"%s\": one host name or address is expected", source);
	o->port = PW_DEFAULT_PORT;
	if (port) {
		char *end;
		unsigned long n = strtoul(port + 1, &end, 10);

		if (*port != ':' || port[1] < '0' || port[1] > '9' || end != path || !n ||
		    n > UINT16_MAX)
			return complain(&r, "\"%s\": a port from 1 to 65535 is expected", source);
		o->port = (uint16_t)n;
	}
	memcpy(o->host, host, (size_t)(host_end - host));
	o->host[host_end - host] = '\0';
	/* as it was given: mount -a and umount compare it with fstab */
	if (strlen(source) >= sizeof(o->source))
		return complain(&r, "\"%s\": the name is too long", source);
	strcpy(o->source, source);
	return 0;
}

int pwc_options_load_key(struct pwc_options *o, char *ret_why, size_t why_len)
{
	int err;

	if (!*o->key_file)
		return 0;
	err = pw_auth_key_load(o->key_file, o->key, ret_why, why_len);
	o->have_key = !err;
	return err;
}

static int set_dir(struct reader *r, const char *dir)
{
	if (!realpath(dir, r->o->dir)) {
		if (errno == ENOTCONN)
			return complain(r, "%s: a dead mount is there; umount -l %s", dir, dir);
		return complain(r, "%s: %s", dir, pw_err_text(-errno));
	}
	return 0;
}

int pwc_options_parse(int argc, char **argv, struct pwc_options *ret, char *ret_why,
		      size_t why_len)
{
	static const char usage[] = "usage: pagewire-client HOST:PORT:/ DIR [-o opt,...] [-f]";
	const char *word[2] = { NULL, NULL };
	struct reader r = { ret, NULL, NULL, ret_why, why_len };
	int nr = 0, err;

	*ret = (struct pwc_options){
		.max_io = PWC_MAX_IO_DEFAULT,
		.slots = PWC_SLOTS_DEFAULT,
		.poll_us = PW_POLL_US_DEFAULT,
		.attr_timeout_ms = 1000,
		.readahead = PWC_READAHEAD_DEFAULT,
	};
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "-f")) {
			ret->foreground = true;
		} else if (!strncmp(argv[i], "-o", 2)) {
			const char *list = argv[i][2] ? argv[i] + 2 : argv[++i];

			if (!list)
				return complain(&r, "-o needs a list of options; %s", usage);
			err = pwc_options_parse_list(ret, list, ret_why, why_len);
			if (err)
				return err;
		} else if (argv[i][0] == '-' || nr == 2) {
			return complain(&r, "what is \"%s\"? %s", argv[i], usage);
		} else {
			word[nr++] = argv[i];
		}
	}
	if (nr != 2)
		return complain(&r, "%s", usage);
	err = pwc_options_parse_source(ret, word[0], ret_why, why_len);
	if (err)
		return err;
	if (!ret->allow_other_set)
		ret->allow_other = geteuid() == 0;
	if (ret->cache == PWC_CACHE_NONE)
		ret->attr_timeout_ms = 0;
	return set_dir(&r, word[1]);
}
