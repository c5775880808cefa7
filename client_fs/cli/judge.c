/* SPDX-License-Identifier: Apache-2.0 */
/* judge.c -- what is wrong with a mount or a node, and the command that helps; no I/O */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "client_fs/cli/json_path.h"
#include "client_fs/cli/survey.h"

#define NOTE	     "notes"
#define PROBLEM	     "problems"
#define LITTLE_SPACE 20u /* less than one of so many parts is free */

struct finding {
	json_t *entry;	  /* borrowed */
	const char *list; /* NOTE or PROBLEM */
	char text[600], fix[600];
};

static void say(char *buf, size_t len, const char *fmt, ...) PW_PRINTF(3, 4);
static void say(char *buf, size_t len, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(buf, len, fmt, ap);
	va_end(ap);
}

#define TEXT(f, ...) say((f)->text, sizeof((f)->text), __VA_ARGS__)
#define FIX(f, ...)  say((f)->fix, sizeof((f)->fix), __VA_ARGS__)

static void add(const struct finding *f)
{
	json_array_append_new(json_object_get(f->entry, f->list),
			      json_pack("{s:s, s:s}", "text", f->text, "fix", f->fix));
}

static void make_lists(json_t *entry)
{
	json_object_set_new(entry, PROBLEM, json_array());
	json_object_set_new(entry, NOTE, json_array());
}

static void add_plain(json_t *entry, const char *list, const char *text, const char *fix)
{
	struct finding f = { .entry = entry, .list = list };

	TEXT(&f, "%s", text);
	FIX(&f, "%s", fix);
	add(&f);
}

/* Nobody answered for it. Return: false: somebody did. */
static bool judge_silence(json_t *m, const char *state, const char *dir)
{
	struct finding f = { .entry = m, .list = PROBLEM };
	int pid = (int)pwc_json_number(m, "pid");

	if (!strcmp(state, "stopped")) {
		TEXT(&f,
		     "the client, process %d, is stopped by a signal: calls into the mount hang",
		     pid);
		FIX(&f, "kill -CONT %d", pid);
	} else if (!strcmp(state, "silent")) {
		TEXT(&f, "the client, process %d, does not answer: calls into the mount may hang",
		     pid);
		FIX(&f, "pagewire umount -f %s", dir);
	} else if (!strcmp(state, "dead")) {
		TEXT(&f, "the client is gone: every call into the mount fails with ENOTCONN");
		FIX(&f, "pagewire umount -f %s", dir);
	} else if (!strcmp(state, "hung")) {
		TEXT(&f, "no control socket, and the mount does not answer");
		FIX(&f, "pagewire umount -f %s", dir);
	} else if (!strcmp(state, "unknown")) {
		f.list = NOTE;
		TEXT(&f, "its client cannot be asked (%s)", pwc_json_text(m, "why"));
	} else {
		return false;
	}
	add(&f);
	return true;
}

static void judge_peer(json_t *m, const json_t *node, const char *dir)
{
	struct finding f = { .entry = m, .list = PROBLEM };
	const char *state = pwc_json_text(node, "state"), *why = pwc_json_text(node, "why");
	uint64_t down_ms = pwc_json_number(node, "down_ms"),
		 timeout = pwc_json_number(m, "timeout_ms");

	if (!strcmp(state, "up"))
		return;
	if (!strcmp(state, "reclaiming")) {
		TEXT(&f, "node %s is back, what was open is being claimed again",
		     pwc_json_text(node, "address"));
	} else if (!strcmp(state, "dead")) {
		TEXT(&f, "node %s refuses this client for good: %s", pwc_json_text(node, "address"),
		     why);
		FIX(&f, "pagewire umount -f %s", dir);
	} else {
		TEXT(&f, "node %s is not reachable for %llu.%llu s%s%s; calls %s",
		     pwc_json_text(node, "address"), (unsigned long long)down_ms / 1000,
		     (unsigned long long)down_ms % 1000 / 100, *why ? ": " : "", why,
		     timeout ? "end with EIO after timeout=" : "wait, a signal ends them");
		FIX(&f, "start the node; or give up what waits: pagewire umount -f %s", dir);
	}
	add(&f);
}

static void judge_data_path(json_t *m, const char *dir)
{
	struct finding f = { .entry = m, .list = NOTE };
	const char *path = pwc_json_text(m, "path"), *why = pwc_json_text(m, "path_reason");
	const char *command = strstr(why, "echo Y >");

	/* without a remedy the reason alone is told, with the data path */
	if (strcmp(path, "dev") || !command)
		return;
	TEXT(&f, "requests travel through /dev/fuse, the ring would be faster");
	FIX(&f, "%s; then mount again: pagewire umount %s", command, dir);
	add(&f);
}

void pwc_survey_judge_mount(json_t *m)
{
	const char *state = pwc_json_text(m, "state"), *dir = pwc_json_text(m, "dir");
	struct finding f = { .entry = m, .list = PROBLEM };
	json_t *node;
	size_t i;

	make_lists(m);
	if (judge_silence(m, state, dir))
		return;
	if (pwc_json_true(m, "detached"))
		add_plain(m, NOTE,
			  "it is not in this list of mounts: detached and still in use, or of "
			  "another mount namespace",
			  "");
	else if (strcmp(state, "serving")) {
		TEXT(&f, "it is %s", state);
		add(&f);
	}
	json_array_foreach(json_object_get(m, "nodes"), i, node)
		judge_peer(m, node, dir);
	if (pwc_json_number(m, "fuse.entries_lost")) {
		f.fix[0] = '\0';
		TEXT(&f, "the kernel refused %llu answers on the ring",
		     (unsigned long long)pwc_json_number(m, "fuse.entries_lost"));
		add(&f);
	}
	judge_data_path(m, dir);
}

static void judge_space(json_t *n)
{
	uint64_t total = pwc_json_number(n, "space.total"), left = pwc_json_number(n, "space.free");
	struct finding f = { .entry = n, .list = NOTE };

	if (pwc_json_true(n, "space.full")) {
		add_plain(n, PROBLEM, "the disk is full: writes fail with ENOSPC, deleting works",
			  "");
	} else if (total && left < total / LITTLE_SPACE) {
		TEXT(&f, "less than 1/%u of the disk is free", LITTLE_SPACE);
		add(&f);
	}
}

void pwc_survey_judge_node(json_t *n)
{
	const char *state = pwc_json_text(n, "state");
	struct finding f = { .entry = n, .list = PROBLEM };
	uint64_t bad = pwc_json_number(n, "scrub.errors");
	int pid = (int)pwc_json_number(n, "pid");

	make_lists(n);
	if (!strcmp(state, "stopped")) {
		TEXT(&f, "the node, process %d, is stopped by a signal", pid);
		FIX(&f, "kill -CONT %d", pid);
		add(&f);
		return;
	}
	if (!strcmp(state, "silent")) {
		TEXT(&f, "the node, process %d, does not answer", pid);
		add(&f);
		return;
	}
	if (!strcmp(state, "unknown")) {
		f.list = NOTE;
		TEXT(&f, "it cannot be asked (%s)", pwc_json_text(n, "why"));
		add(&f);
		return;
	}
	if (strcmp(state, "serving")) {
		TEXT(&f, "it is %s", state);
		add(&f);
	}
	if (pwc_json_true(n, "volatile"))
		add_plain(n, NOTE, "THIS NODE KEEPS NOTHING: everything is gone when it stops", "");
	judge_space(n);
	if (bad) {
		TEXT(&f,
		     "the background check found %llu blocks with wrong checksums; its log names "
		     "the files",
		     (unsigned long long)bad);
		add(&f);
	}
}
