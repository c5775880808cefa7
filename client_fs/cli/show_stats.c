/* SPDX-License-Identifier: Apache-2.0 */
/* show_stats.c -- counters of mounts and nodes as text */
#include <string.h>

#include "client_fs/cli/human.h"
#include "client_fs/cli/json_path.h"
#include "client_fs/cli/show.h"

static void row(FILE *out, const char *name)
{
	fprintf(out, "  %-12s", name);
}

/* "LOOKUP 12, READ 3": what is zero is left out. */
static void show_counts(FILE *out, const char *name, const json_t *counts)
{
	const char *key, *comma = "";
	json_t *value;

	row(out, name);
	json_object_foreach((json_t *)(uintptr_t)counts, key, value) {
		uint64_t n = json_is_object(value) ? pwc_json_number(value, "total")
						   : (uint64_t)json_integer_value(value);
		uint64_t errors = pwc_json_number(value, "errors");

		if (!n)
			continue;
		fprintf(out, "%s%s %llu", comma, key, (unsigned long long)n);
		if (errors)
			fprintf(out, " (%llu failed)", (unsigned long long)errors);
		comma = ", ";
	}
	fprintf(out, "%s\n", *comma ? "" : "none");
}

static void show_copies(FILE *out, const json_t *e)
{
	uint64_t payload = pwc_json_number(e, "payload_bytes");
	uint64_t copied = pwc_json_number(e, "copied_bytes");
	char bytes[PWC_HUMAN_LEN];

	row(out, "copied");
	fprintf(out, "%s", pwc_human_bytes(copied, bytes));
	if (payload)
		fprintf(out, ", %.3f for each byte of payload", (double)copied / (double)payload);
	if (pwc_json_at(e, "user_copied_bytes"))
		fprintf(out, ", %s of it by the client itself",
			pwc_human_bytes(pwc_json_number(e, "user_copied_bytes"), bytes));
	fputc('\n', out);
}

static void show_mount(FILE *out, const json_t *m)
{
	char rd[PWC_HUMAN_LEN], wr[PWC_HUMAN_LEN];
	const char *name;
	json_t *path;

	fprintf(out, "mount %s\n", pwc_json_text(m, "dir"));
	show_counts(out, "requests", json_object_get(m, "requests"));
	json_object_foreach(json_object_get(m, "paths"), name, path) {
		row(out, "path");
		fprintf(out, "%s: %llu requests, %s read, %s written\n", name,
			(unsigned long long)pwc_json_number(path, "requests"),
			pwc_human_bytes(pwc_json_number(path, "read_bytes"), rd),
			pwc_human_bytes(pwc_json_number(path, "written_bytes"), wr));
	}
	show_copies(out, m);
	show_counts(out, "fallbacks", json_object_get(m, "fallbacks"));
	show_counts(out, "stalls", json_object_get(m, "stalls"));
	row(out, "node");
	fprintf(out, "%llu calls, %llu sent again, %llu reconnects, %llu timeouts\n",
		(unsigned long long)pwc_json_number(m, "node.calls"),
		(unsigned long long)pwc_json_number(m, "node.replays"),
		(unsigned long long)pwc_json_number(m, "node.reconnects"),
		(unsigned long long)pwc_json_number(m, "node.timeouts"));
}

static void show_node(FILE *out, const json_t *n)
{
	char rd[PWC_HUMAN_LEN], wr[PWC_HUMAN_LEN], up[PWC_HUMAN_LEN];

	fprintf(out, "node %s, up %s\n", pwc_json_text(n, "dir"),
		pwc_human_seconds(pwc_json_number(n, "uptime_ms") / 1000, up));
	show_counts(out, "requests", json_object_get(n, "requests"));
	show_counts(out, "failed", json_object_get(n, "errors"));
	row(out, "payload");
	fprintf(out, "%s read, %s written\n", pwc_human_bytes(pwc_json_number(n, "bytes_read"), rd),
		pwc_human_bytes(pwc_json_number(n, "bytes_written"), wr));
	show_copies(out, n);
	show_counts(out, "stalls", json_object_get(n, "stalls"));
	row(out, "disk");
	fprintf(out, "%llu flushes for %llu commits, %s read, %s written\n",
		(unsigned long long)pwc_json_number(n, "disk.flushes"),
		(unsigned long long)pwc_json_number(n, "kv.commits"),
		pwc_human_bytes(pwc_json_number(n, "disk.bytes_read"), rd),
		pwc_human_bytes(pwc_json_number(n, "disk.bytes_written"), wr));
}

void pwc_show_stats(const json_t *doc, FILE *out)
{
	const json_t *mounts = json_object_get(doc, "mounts"),
		     *nodes = json_object_get(doc, "nodes");

	for (size_t i = 0; i < json_array_size(mounts); i++)
		show_mount(out, json_array_get(mounts, i));
	for (size_t i = 0; i < json_array_size(nodes); i++)
		show_node(out, json_array_get(nodes, i));
	if (!json_array_size(mounts) && !json_array_size(nodes))
		fprintf(out, "nothing of pagewire answers here\n");
}

/* The entry of the same mount or node in the earlier document. */
static const json_t *same_entry(const json_t *list, const json_t *e)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *other = json_array_get(list, i);

		if (!strcmp(pwc_json_text(other, "dir"), pwc_json_text(e, "dir")))
			return other;
	}
	return NULL;
}

static uint64_t rate(const json_t *was, const json_t *is, const char *path, uint32_t ms)
{
	uint64_t a = pwc_json_number(was, path), b = pwc_json_number(is, path);

	/* it was started anew */
	return b < a || !ms ? 0 : (b - a) * 1000 / ms;
}

static void show_rate(const char *kind, const json_t *was, const json_t *is, uint32_t ms, FILE *out)
{
	static const char *const rd[] = { "counters.bytes_read_pool", "counters.bytes_read_dev",
					  "counters.bytes_read" };
	static const char *const wr[] = { "counters.bytes_written_pool",
					  "counters.bytes_written_dev", "counters.bytes_written" };
	uint64_t read_bytes = 0, written_bytes = 0;
	char a[PWC_HUMAN_LEN], b[PWC_HUMAN_LEN];

	for (size_t i = 0; i < PW_ARRAY_SIZE(rd); i++) {
		read_bytes += rate(was, is, rd[i], ms);
		written_bytes += rate(was, is, wr[i], ms);
	}
	fprintf(out, "%s %s  %llu requests/s, %s/s read, %s/s written, %llu stalls/s\n", kind,
		pwc_json_text(is, "dir"),
		(unsigned long long)rate(was, is, "counters.requests", ms),
		pwc_human_bytes(read_bytes, a), pwc_human_bytes(written_bytes, b),
		(unsigned long long)rate(was, is, "counters.stalls", ms));
}

void pwc_show_rates(const json_t *before, const json_t *after, uint32_t ms, FILE *out)
{
	static const char *const lists[] = { "mounts", "nodes" }, *const kinds[] = { "mount",
										     "node" };

	for (size_t k = 0; k < PW_ARRAY_SIZE(lists); k++) {
		const json_t *list = json_object_get(after, lists[k]);

		for (size_t i = 0; i < json_array_size(list); i++) {
			const json_t *is = json_array_get(list, i);
			const json_t *was = same_entry(json_object_get(before, lists[k]), is);

			if (was)
				show_rate(kinds[k], was, is, ms, out);
		}
	}
}
