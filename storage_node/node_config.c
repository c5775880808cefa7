/* SPDX-License-Identifier: Apache-2.0 */
/* node_config.c -- the table, and checks of values that are more than a number */
#include "storage_node/node_config.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/auth.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/uuid.h"
#include "common/wire.h"

#define KEY(name_, type_, member) "node", name_, type_, offsetof(struct pws_node_config, member)
#define LISTEN_WANTED "want HOST:PORT, or up to 8 of them with commas between"
static_assert(PWS_LISTEN_MAX == 8, "in the text above");

#define STRING_KEY(name_, member)             \
	KEY(name_, PW_CONFIG_STRING, member), \
		.len = sizeof(((struct pws_node_config *)NULL)->member)

/* HOST:PORT, [V6]:PORT. */
static bool split_host(const char *s, char *host, size_t len, uint16_t *port)
{
	const char *colon = strrchr(s, ':');
	unsigned long n;
	size_t host_len;
	char *end;

	if (!colon || colon == s || colon[1] < '0' || colon[1] > '9')
		return false;
	n = strtoul(colon + 1, &end, 10);
	if (*end || n > UINT16_MAX)
		return false;
	host_len = (size_t)(colon - s);
	if (*s == '[' && colon[-1] == ']') {
		s++;
		host_len -= 2;
	} else if (memchr(s, ':', host_len)) {
		return false;
	}
	if (!host_len || host_len >= len)
		return false;
	memcpy(host, s, host_len);
	host[host_len] = 0;
	*port = (uint16_t)n;
	return true;
}

/* A list of them. Return: how many; 0 something is wrong. */
static uint32_t split_listen(const char *s, struct pws_listen_at *at)
{
	char buf[PW_CONFIG_VALUE_MAX], *save = NULL, *word;
	uint32_t nr = 0;

	snprintf(buf, sizeof(buf), "%s", s);
	for (word = strtok_r(buf, ",", &save); word; word = strtok_r(NULL, ",", &save)) {
		word += strspn(word, " \t");
		word[strcspn(word, " \t")] = '\0';
		if (nr == PWS_LISTEN_MAX ||
		    !split_host(word, at[nr].host, sizeof(at[nr].host), &at[nr].port))
			return 0;
		nr++;
	}
	return nr;
}

static bool parse_durability(const char *s, uint64_t *ret_ns)
{
	static const char interval[] = "interval:";
	char text[PW_CONFIG_VALUE_MAX + 2];
	const char *value = s + sizeof(interval) - 1;

	if (!strcmp(s, "always")) {
		*ret_ns = 0;
		return true;
	}
	if (strncmp(s, interval, sizeof(interval) - 1) || !*value)
		return false;
	/* a bare number means milliseconds */
	snprintf(text, sizeof(text), "%s%s", value,
		 strspn(value, "0123456789") == strlen(value) ? "ms" : "");
	if (pw_config_parse_time(text, ret_ns))
		return false;
	return *ret_ns >= PW_NS_PER_MS && *ret_ns <= 60 * PW_NS_PER_S;
}

static const char *check_listen(const char *value)
{
	struct pws_listen_at at[PWS_LISTEN_MAX];

	return split_listen(value, at) ? NULL : LISTEN_WANTED;
}

static const char *check_durability(const char *value)
{
	uint64_t ns;

	return parse_durability(value, &ns) ? NULL : "want always or interval:MS (1 to 60000)";
}

static const char *check_fsid(const char *value)
{
	uint8_t fsid[16];

	return !*value || !pw_uuid_parse(value, fsid) ? NULL : "want a UUID";
}

static const char *check_dir(const char *value)
{
	return *value == '/' ? NULL : "want an absolute path";
}

static const char *check_path(const char *value)
{
	return !*value || *value == '/' ? NULL : "want an absolute path";
}

static const struct pw_config_key keys[] = {
	{ STRING_KEY("dir", dir), .dflt = "/var/lib/pagewire", .check = check_dir,
	  .help = "data directory" },
	{ STRING_KEY("listen", listen), .dflt = "127.0.0.1:7470", .check = check_listen,
	  .help = "addresses and ports for clients; beyond loopback only with a key_file" },
	{ KEY("transport", PW_CONFIG_CHOICE, transport), .dflt = "auto", .choices = "tcp|auto|rdma",
	  .help = "auto: TCP, and RDMA where a device has the address; rdma: nothing else" },
	{ KEY("store", PW_CONFIG_CHOICE, store), .dflt = "chunk", .choices = "chunk|memory|null",
	  .help = "where the data goes; memory and null forget it and are for benchmarks" },
	{ STRING_KEY("durability", durability), .dflt = "always", .check = check_durability,
	  .help = "always: an answer means on media; interval:MS: on media at most MS later" },
	{ STRING_KEY("key_file", key_file), .check = check_path,
	  .help = "cluster key, the same on every node and client" },
	{ STRING_KEY("fsid", fsid), .check = check_fsid,
	  .help = "filesystem that the data directory has to belong to" },
	{ KEY("max_clients", PW_CONFIG_U32, max_clients), .dflt = "8", .min = 1, .max = 1024,
	  .help = "clients at once; slots x max_clients x max_io is the buffer arena" },
	{ KEY("slots", PW_CONFIG_U32, slots), .dflt = "32", .min = 2, .max = PW_MAX_SLOTS,
	  .help = "requests that one client may have under way" },
	{ KEY("poll_us", PW_CONFIG_U32, poll_us), .dflt = "50",
	  .max = PW_POLL_US_MAX,
	  .help = "microseconds that a busy RDMA connection is polled before it is waited for" },
	{ KEY("max_io", PW_CONFIG_SIZE, max_io), .dflt = "1MiB", .min = 4096, .max = PW_MAX_IO,
	  .help = "largest read or write, a multiple of 4KiB" },
	{ KEY("memory", PW_CONFIG_SIZE, memory), .dflt = "1GiB", .min = 16 * PW_MIB,
	  .max = UINT64_MAX, .help = "size of store = memory" },
	{ KEY("journal", PW_CONFIG_SIZE, journal), .dflt = "128MiB", .min = 8 * PW_MIB,
	  .max = 16 * PW_GIB, .help = "journal of a new data directory" },
	{ KEY("index_map", PW_CONFIG_SIZE, index_map), .dflt = "16GiB", .min = 64 * PW_MIB,
	  .max = 16384 * PW_GIB, .help = "largest index" },
	{ KEY("max_data", PW_CONFIG_SIZE, max_data), .dflt = "0",
	  .help = "largest store.dat; 0: no limit" },
	{ KEY("lease", PW_CONFIG_TIME, lease), .dflt = "45s", .min = 100 * PW_NS_PER_MS,
	  .max = 3600 * PW_NS_PER_S,
	  .help = "opens of a client that is gone are released after this" },
	{ KEY("heartbeat", PW_CONFIG_TIME, heartbeat), .dflt = "1s", .min = 10 * PW_NS_PER_MS,
	  .max = 60 * PW_NS_PER_S, .help = "silence after which a connection is probed" },
	{ KEY("dead", PW_CONFIG_TIME, dead), .dflt = "5s", .min = 20 * PW_NS_PER_MS,
	  .max = 600 * PW_NS_PER_S, .help = "silence after which a connection is ended" },
	{ KEY("scrub", PW_CONFIG_SIZE, scrub), .dflt = "4MiB",
	  .help = "bytes per second that the background check of checksums reads; 0: none" },
	{ STRING_KEY("control", control), .check = check_path,
	  .help = "control socket; empty: control.sock in the data directory" },
	{ KEY("log", PW_CONFIG_CHOICE, log), .dflt = "info", .choices = "err|warn|info|debug",
	  .help = "what is logged" },
};

static const char *const foreign[] = { "client", "mount", NULL };

const struct pw_config_table pws_node_config_table = {
	.keys = keys,
	.nr_keys = PW_ARRAY_SIZE(keys),
	.foreign_sections = foreign,
};

const char *pws_store_kind_name(uint32_t kind)
{
	static const char *const names[] = { "chunk", "memory", "null" };

	return names[kind];
}

int pws_log_level_of(uint32_t log)
{
	static const int levels[] = { PW_LOG_ERR, PW_LOG_WARN, PW_LOG_INFO, PW_LOG_DEBUG };

	return levels[log];
}

int pws_node_config_finish(struct pws_node_config *c, struct pws_refusal *why)
{
	c->nr_at = split_listen(c->listen, c->at);
	if (!c->nr_at)
		return pws_refuse(why, PW_EXIT_CONFIG, "listen = %s: " LISTEN_WANTED, c->listen);
	if (!parse_durability(c->durability, &c->interval_ns))
		return pws_refuse(why, PW_EXIT_CONFIG,
				  "durability = %s: want always or interval:MS", c->durability);
	if (c->max_io % 4096)
		return pws_refuse(why, PW_EXIT_CONFIG, "max_io: want a multiple of 4KiB");
	if (c->journal % PW_MIB)
		return pws_refuse(why, PW_EXIT_CONFIG, "journal: want a multiple of 1MiB");
	if (c->dead < 2 * c->heartbeat)
		return pws_refuse(why, PW_EXIT_CONFIG, "dead: want at least twice the heartbeat");
	if (c->lease < c->dead)
		return pws_refuse(why, PW_EXIT_CONFIG, "lease: want at least dead");
	c->have_fsid = *c->fsid;
	if (c->have_fsid && pw_uuid_parse(c->fsid, c->fsid_bytes))
		return pws_refuse(why, PW_EXIT_CONFIG, "fsid = %s: want a UUID", c->fsid);
	if (!*c->control && (size_t)snprintf(c->control, sizeof(c->control), "%s/control.sock",
					     c->dir) >= sizeof(c->control))
		return pws_refuse(why, PW_EXIT_CONFIG, "dir: too long for a control socket in it");
	return 0;
}

int pws_node_config_load_key(struct pws_node_config *c, struct pws_refusal *why)
{
	char text[400];
	int err;

	if (!*c->key_file)
		return 0;
	err = pw_auth_key_load(c->key_file, c->key, text, sizeof(text));
	if (err == -EACCES)
		return pws_refuse(why, PW_EXIT_PERM, "%s", text);
	if (err)
		return pws_refuse(why, PW_EXIT_KEY, "%s", text);
	c->have_key = true;
	return 0;
}
