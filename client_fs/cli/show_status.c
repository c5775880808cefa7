/* SPDX-License-Identifier: Apache-2.0 */
/* show_status.c -- one screen: each mount, each node, what is wrong and the command that helps */
#include <string.h>
#include <time.h>

#include "client_fs/cli/human.h"
#include "client_fs/cli/json_path.h"
#include "client_fs/cli/show.h"
#include "client_fs/cli/survey.h"

#define SHOWN_ERRORS  5u
#define SHOWN_CLIENTS 5u

struct screen {
	FILE *out;
	bool color;
};

enum tone {
	PLAIN,
	GOOD,
	BAD,
	LOUD,
	NR_TONES
};

static const char *begin(const struct screen *s, enum tone tone)
{
	static const char *const codes[NR_TONES] = { "", "\033[32m", "\033[31m", "\033[1;33m" };

	return s->color ? codes[tone] : "";
}

static const char *end(const struct screen *s, enum tone tone)
{
	return s->color && tone != PLAIN ? "\033[0m" : "";
}

/* Text of a daemon must not move the cursor. */
static void put_safe(const struct screen *s, const char *text)
{
	for (; *text; text++)
		fputc((unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text, s->out);
}

static void row(const struct screen *s, const char *name)
{
	fprintf(s->out, "  %-12s", name);
}

static void show_head(const struct screen *s, const char *kind, const json_t *e, const char *name,
		      const char *second)
{
	const char *state = pwc_json_text(e, "state");
	bool good = !json_array_size(json_object_get(e, "problems"));
	enum tone tone = good ? GOOD : BAD;
	char up[PWC_HUMAN_LEN];

	fprintf(s->out, "%s ", kind);
	put_safe(s, name);
	if (*second) {
		fputs("  ", s->out);
		put_safe(s, second);
	}
	fprintf(s->out, "  %s%s%s", begin(s, tone), *state ? state : "?", end(s, tone));
	if (pwc_json_number(e, "pid"))
		fprintf(s->out, "  process %llu", (unsigned long long)pwc_json_number(e, "pid"));
	if (pwc_json_at(e, "uptime_s"))
		fprintf(s->out, ", %s", pwc_human_seconds(pwc_json_number(e, "uptime_s"), up));
	fputc('\n', s->out);
}

static void show_findings(const struct screen *s, const json_t *e, const char *list, enum tone tone)
{
	json_t *f;
	size_t i;

	json_array_foreach(json_object_get(e, list), i, f) {
		const char *fix = pwc_json_text(f, "fix");

		fprintf(s->out, "  %s%-12s", begin(s, tone), tone == BAD ? "PROBLEM" : "note");
		put_safe(s, pwc_json_text(f, "text"));
		fprintf(s->out, "%s\n", end(s, tone));
		if (*fix) {
			row(s, "  fix:");
			put_safe(s, fix);
			fputc('\n', s->out);
		}
	}
}

static void show_errors(const struct screen *s, const json_t *e)
{
	const json_t *errors = json_object_get(e, "errors"), *line;
	size_t nr = json_array_size(errors), from = nr > SHOWN_ERRORS ? nr - SHOWN_ERRORS : 0;

	for (size_t i = from; i < nr; i++) {
		line = json_array_get(errors, i);
		row(s, i == from ? "last errors" : "");
		fprintf(s->out, "%s ", pwc_json_text(line, "time"));
		put_safe(s, pwc_json_text(line, "line"));
		fputc('\n', s->out);
	}
}

static void show_peers(const struct screen *s, const json_t *m)
{
	json_t *n;
	size_t i;

	json_array_foreach(json_object_get(m, "nodes"), i, n) {
		row(s, "node");
		fprintf(s->out,
			"%s over %s, %s; %llu calls under way, %llu waiting, %llu reconnects\n",
			pwc_json_text(n, "address"), pwc_json_text(n, "transport"),
			pwc_json_text(n, "state"),
			(unsigned long long)pwc_json_number(n, "inflight"),
			(unsigned long long)pwc_json_number(n, "waiting"),
			(unsigned long long)pwc_json_number(n, "reconnects"));
	}
}

/* One line for each way to the node, where there is more than the one that is in use. */
static void show_rails(const struct screen *s, const json_t *m)
{
	json_t *n, *r;
	size_t i, j;

	json_array_foreach(json_object_get(m, "nodes"), i, n) {
		const json_t *rails = json_object_get(n, "rails");

		json_array_foreach(rails, j, r) {
			const char *why = pwc_json_text(r, "why");
			const char *local = pwc_json_text(r, "local");
			bool down = !strcmp(pwc_json_text(r, "state"), "down");

			if (json_array_size(rails) < 2)
				break;
			row(s, j ? "" : "rails");
			put_safe(s, pwc_json_text(r, "address"));
			if (*local) {
				fputs(" from ", s->out);
				put_safe(s, local);
			}
			fprintf(s->out, ", %s: %s%s%s", pwc_json_text(r, "transport"),
				begin(s, down ? LOUD : PLAIN),
				pwc_json_true(r, "in_use") ? "in use" : pwc_json_text(r, "state"),
				end(s, down ? LOUD : PLAIN));
			if (pwc_json_true(r, "preferred"))
				fputs(", preferred", s->out);
			if (down && *why) {
				fputs(" (", s->out);
				put_safe(s, why);
				fputc(')', s->out);
			}
			fputc('\n', s->out);
		}
	}
}

/* Of a mount, and of a node: which, and why not RDMA. */
static void show_transport(const struct screen *s, const json_t *o)
{
	const char *why = pwc_json_text(o, "transport_reason");
	const char *device = pwc_json_text(o, "transport_device");

	if (!*pwc_json_text(o, "transport"))
		return;
	row(s, "transport");
	fputs(pwc_json_text(o, "transport"), s->out);
	if (*why)
		fprintf(s->out, " (no RDMA: %s)", why);
	else if (*device)
		fprintf(s->out, " (%s)", device);
	fputc('\n', s->out);
}

static void show_path(const struct screen *s, const json_t *m)
{
	const char *path = pwc_json_text(m, "path");

	row(s, "data path");
	if (!strcmp(path, "pool"))
		fprintf(s->out, "pool: FUSE over io_uring (%s, %llu queues of %llu)",
			pwc_json_text(m, "fuse.form"),
			(unsigned long long)pwc_json_number(m, "fuse.queues"),
			(unsigned long long)pwc_json_number(m, "fuse.depth"));
	else
		fprintf(s->out, "%s: /dev/fuse", path);
	fputc('\n', s->out);
	if (*pwc_json_text(m, "path_reason")) {
		row(s, "");
		put_safe(s, pwc_json_text(m, "path_reason"));
		fputc('\n', s->out);
	}
}

static void show_options(const struct screen *s, const json_t *m)
{
	char io[PWC_HUMAN_LEN], timeout[48] = "wait for ever";

	if (pwc_json_number(m, "timeout_ms"))
		snprintf(timeout, sizeof(timeout), "EIO after %.1f s",
			 (double)pwc_json_number(m, "timeout_ms") / 1000);
	row(s, "options");
	fprintf(s->out, "%s, requests up to %s, node away: %s",
		pwc_json_true(m, "read_only") ? "read-only" : "read-write",
		pwc_human_bytes(pwc_json_number(m, "fuse.max_io_bytes"), io), timeout);
	if (*pwc_json_text(m, "cache"))
		fprintf(s->out, ", cache %s", pwc_json_text(m, "cache"));
	fputc('\n', s->out);
}

static void show_mount(const struct screen *s, const json_t *m)
{
	char left[PWC_HUMAN_LEN], total[PWC_HUMAN_LEN];

	show_head(s, "mount", m, pwc_json_text(m, "dir"), pwc_json_text(m, "source"));
	if (pwc_json_at(m, "nodes")) {
		show_peers(s, m);
		show_transport(s, m);
		show_rails(s, m);
		show_path(s, m);
		show_options(s, m);
	}
	if (pwc_json_number(m, "space.total_bytes")) {
		row(s, "space");
		fprintf(s->out, "%s free of %s\n",
			pwc_human_bytes(pwc_json_number(m, "space.avail_bytes"), left),
			pwc_human_bytes(pwc_json_number(m, "space.total_bytes"), total));
	}
	show_findings(s, m, "problems", BAD);
	show_findings(s, m, "notes", LOUD);
	show_errors(s, m);
}

static void show_clients(const struct screen *s, const json_t *n)
{
	const json_t *clients = json_object_get(n, "clients"), *c;
	size_t nr = json_array_size(clients);

	row(s, "clients");
	fprintf(s->out, "%zu\n", nr);
	for (size_t i = 0; i < nr && i < SHOWN_CLIENTS; i++) {
		c = json_array_get(clients, i);
		row(s, "");
		fprintf(s->out, "%s %s%s%s, %llu open files, %llu requests under way",
			pwc_json_text(c, "state"), pwc_json_text(c, "address"),
			*pwc_json_text(c, "transport") ? " " : "", pwc_json_text(c, "transport"),
			(unsigned long long)pwc_json_number(c, "open_files"),
			(unsigned long long)pwc_json_number(c, "busy"));
		if (pwc_json_at(c, "lease_left_ms"))
			fprintf(s->out, ", released in %llu s",
				(unsigned long long)pwc_json_number(c, "lease_left_ms") / 1000);
		fputc('\n', s->out);
	}
	if (nr > SHOWN_CLIENTS) {
		row(s, "");
		fprintf(s->out, "and %zu more\n", nr - SHOWN_CLIENTS);
	}
}

static void show_receives(const struct screen *s, const json_t *n)
{
	const json_t *list = json_object_get(n, "rdma_receives"), *r;
	char bytes[PWC_HUMAN_LEN];

	for (size_t i = 0; i < json_array_size(list); i++) {
		unsigned long long sharing, own;

		r = json_array_get(list, i);
		sharing = pwc_json_number(r, "sharing");
		own = pwc_json_number(r, "own");
		if (!sharing && !own)
			continue;
		row(s, "receives");
		fprintf(s->out, "%s: %s", pwc_json_text(r, "device"),
			pwc_human_bytes(pwc_json_number(r, "bytes"), bytes));
		if (sharing)
			fprintf(s->out, "; %llu connections share %llu, %llu of them in reserve",
				sharing, (unsigned long long)pwc_json_number(r, "posted"),
				(unsigned long long)pwc_json_number(r, "reserve"));
		if (own)
			fprintf(s->out, "; %llu connections have their own (%s)", own,
				pwc_json_text(r, "why_own"));
		fputc('\n', s->out);
	}
}

static void show_store(const struct screen *s, const json_t *n)
{
	enum tone tone = pwc_json_true(n, "volatile") ? LOUD : PLAIN;
	char left[PWC_HUMAN_LEN], total[PWC_HUMAN_LEN], rate[PWC_HUMAN_LEN];

	row(s, "store");
	fprintf(s->out, "%s%s%s, durability %s\n", begin(s, tone), pwc_json_text(n, "store"),
		end(s, tone), pwc_json_text(n, "durability"));
	row(s, "space");
	fprintf(s->out, "%s free of %s\n", pwc_human_bytes(pwc_json_number(n, "space.free"), left),
		pwc_human_bytes(pwc_json_number(n, "space.total"), total));
	if (!pwc_json_number(n, "scrub.bytes_per_s"))
		return;
	row(s, "scrub");
	fprintf(s->out, "%s/s, %llu passes, %llu wrong checksums\n",
		pwc_human_bytes(pwc_json_number(n, "scrub.bytes_per_s"), rate),
		(unsigned long long)pwc_json_number(n, "scrub.passes"),
		(unsigned long long)pwc_json_number(n, "scrub.errors"));
}

static void show_node(const struct screen *s, const json_t *n)
{
	const char *name = pwc_json_text(n, "dir");

	show_head(s, "node", n, *name ? name : pwc_json_text(n, "socket"),
		  pwc_json_text(n, "listen"));
	if (*pwc_json_text(n, "store")) {
		show_transport(s, n);
		show_store(s, n);
		show_clients(s, n);
		show_receives(s, n);
	}
	show_findings(s, n, "problems", BAD);
	show_findings(s, n, "notes", LOUD);
	show_errors(s, n);
}

void pwc_show_status(const json_t *doc, FILE *out, bool color)
{
	const json_t *mounts = json_object_get(doc, "mounts"),
		     *nodes = json_object_get(doc, "nodes");
	struct screen s = { .out = out, .color = color };
	bool good = pwc_survey_is_good(doc);
	enum tone tone = good ? GOOD : BAD;

	for (size_t i = 0; i < json_array_size(mounts); i++)
		show_mount(&s, json_array_get(mounts, i));
	for (size_t i = 0; i < json_array_size(nodes); i++)
		show_node(&s, json_array_get(nodes, i));
	if (!json_array_size(mounts) && !json_array_size(nodes)) {
		fprintf(out, "nothing of pagewire runs here\n");
		return;
	}
	fprintf(out, "status: %s%s%s\n", begin(&s, tone), good ? "good" : "degraded",
		end(&s, tone));
}
