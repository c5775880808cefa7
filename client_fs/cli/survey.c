/* SPDX-License-Identifier: Apache-2.0 */
/* survey.c -- list mounts and sockets, ask all sockets at once, join, judge */
#include "client_fs/cli/survey.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "client_fs/cli/json_path.h"
#include "client_fs/cli/probe.h"
#include "client_fs/control.h"
#include "common/err.h"

#define PROBE_MS 1000u

struct survey {
	const struct pwc_survey_want *want;
	struct pwc_mountinfos mounts; /* owns */
	struct pwc_asks asks;	      /* owns: clients first, then nodes */
	size_t nr_clients;
	json_t *ret_mounts, *ret_nodes; /* owns until they are in the document */
};

static bool is_asked(const struct survey *s, const char *path)
{
	for (size_t i = 0; i < s->asks.nr; i++)
		if (!strcmp(s->asks.ask[i].path, path))
			return true;
	return false;
}

static int list_clients(struct survey *s)
{
	int err = pwc_mountinfo_read(PWC_MOUNTINFO_TYPE, &s->mounts);

	/* also those that are in no list: detached, or in another mount namespace */
	if (!err && !s->want->dir)
		err = pwc_asks_add_dir(&s->asks, PWC_ASK_DIR, "mount-");
	for (size_t i = 0; !err && i < s->mounts.nr; i++) {
		char path[108];

		if (s->want->dir && strcmp(s->mounts.row[i].dir, s->want->dir))
			continue;
		pwc_control_path(s->mounts.row[i].dir, path, sizeof(path));
		if (!is_asked(s, path))
			err = pwc_asks_add(&s->asks, path);
	}
	s->nr_clients = s->asks.nr;
	if (!err && s->want->dir && !s->nr_clients)
		err = -ENOENT;
	return err;
}

static int list_nodes(struct survey *s)
{
	const char *node = s->want->node;
	char path[PATH_MAX];
	struct stat st;

	if (!node)
		return s->want->dir ? 0 : pwc_asks_add_dir(&s->asks, PWC_ASK_DIR, "node-");
	if (stat(node, &st) == 0 && S_ISDIR(st.st_mode))
		snprintf(path, sizeof(path), "%s/control.sock", node);
	else
		snprintf(path, sizeof(path), "%s", node);
	return pwc_asks_add(&s->asks, path);
}

/* When the answer did not come: what its entry says instead. */
static const char *state_without_answer(const struct pwc_ask *a)
{
	if (a->err == -ECONNREFUSED || a->err == -ENOENT)
		return "dead";
	if (a->err == -ETIMEDOUT && a->pid)
		return a->state == 'T' ? "stopped" : "silent";
	return a->err == -ETIMEDOUT ? "silent" : "unknown";
}

static void put_text(json_t *o, const char *key, const char *text)
{
	/* NULL is for text that is no UTF-8 */
	json_t *j = json_string(text);

	json_object_set_new(o, key, j ? j : json_string("?"));
}

/* An entry begins as a copy of the answer; without one it says why there is none. */
static json_t *make_entry(const struct pwc_ask *a)
{
	json_t *o = a->answer ? json_copy(a->answer) : json_object();

	if (!a->answer) {
		put_text(o, "state", state_without_answer(a));
		put_text(o, "why", pw_err_text(a->err));
		json_object_set_new(o, "pid", json_integer(a->pid));
	}
	json_object_del(o, "schema");
	return o;
}

/* Times of clients are seconds, those of nodes are text: text for both. */
static void set_times(json_t *entry)
{
	json_t *e;
	size_t i;

	json_array_foreach(json_object_get(entry, "errors"), i, e) {
		time_t when = (time_t)pwc_json_number(e, "when");
		char text[32];
		struct tm tm;

		if (!when || !gmtime_r(&when, &tm))
			continue;
		strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
		json_object_del(e, "when");
		put_text(e, "time", text);
	}
}

static const struct pwc_ask *client_of(const struct survey *s, const struct pwc_mountinfo *m)
{
	char path[108];

	pwc_control_path(m->dir, path, sizeof(path));
	for (size_t i = 0; i < s->nr_clients; i++)
		if (!strcmp(s->asks.ask[i].path, path))
			return &s->asks.ask[i];
	return NULL;
}

/* An answer may be of a mount that lies over this one. */
static bool is_for(const struct pwc_ask *a, const struct pwc_mountinfo *m)
{
	return !a->answer || !pwc_json_at(a->answer, "fuse.connection") ||
	       pwc_json_number(a->answer, "fuse.connection") == m->dev_minor;
}

static void add_mount(struct survey *s, const struct pwc_mountinfo *m)
{
	const struct pwc_ask *a = client_of(s, m), none = { .err = -ENOENT };
	json_t *o = make_entry(a && is_for(a, m) ? a : &none);

	put_text(o, "dir", m->dir);
	put_text(o, "source", m->source);
	/* no socket is not yet a dead mount: a user's client has none */
	if (!strcmp(pwc_json_text(o, "state"), "dead")) {
		int err = pwc_probe_mount(m->dir, PROBE_MS);

		if (err == -ETIMEDOUT)
			put_text(o, "state", "hung");
		else if (err != -ENOTCONN && err != -ECONNABORTED)
			put_text(o, "state", "unknown");
		if (!err)
			put_text(o, "why", "it has no control socket");
	}
	set_times(o);
	pwc_survey_judge_mount(o);
	json_array_append_new(s->ret_mounts, o);
}

static bool is_listed(const struct survey *s, const struct pwc_ask *a)
{
	for (size_t i = 0; i < s->mounts.nr; i++)
		if (client_of(s, &s->mounts.row[i]) == a && is_for(a, &s->mounts.row[i]))
			return true;
	return false;
}

static void add_detached(struct survey *s)
{
	for (size_t i = 0; i < s->nr_clients; i++) {
		const struct pwc_ask *a = &s->asks.ask[i];
		json_t *o;

		/* a socket that nobody listens on is only a file */
		if (!a->answer || is_listed(s, a))
			continue;
		o = make_entry(a);
		json_object_set_new(o, "detached", json_true());
		set_times(o);
		pwc_survey_judge_mount(o);
		json_array_append_new(s->ret_mounts, o);
	}
}

static void add_nodes(struct survey *s)
{
	for (size_t i = s->nr_clients; i < s->asks.nr; i++) {
		const struct pwc_ask *a = &s->asks.ask[i];
		json_t *o;

		if (!s->want->node && !strcmp(state_without_answer(a), "dead") && !a->answer)
			continue;
		o = make_entry(a);
		put_text(o, "socket", a->path);
		pwc_survey_judge_node(o);
		json_array_append_new(s->ret_nodes, o);
	}
}

static void survey_fini(struct survey *s)
{
	pwc_mountinfo_fini(&s->mounts);
	pwc_asks_fini(&s->asks);
	json_decref(s->ret_mounts);
	json_decref(s->ret_nodes);
}

static int ask_all(struct survey *s, const struct pwc_survey_want *w, const char *cmd)
{
	int err = 0;

	*s = (struct survey){ .want = w, .ret_mounts = json_array(), .ret_nodes = json_array() };
	if (!w->node)
		err = list_clients(s);
	if (!err)
		err = list_nodes(s);
	if (!err)
		pwc_asks_run(&s->asks, cmd, PWC_ASK_DEADLINE_MS);
	/* only that node was asked for, and nobody is there */
	if (!err && w->node && s->asks.ask[0].err &&
	    strcmp(state_without_answer(s->asks.ask), "silent") &&
	    strcmp(state_without_answer(s->asks.ask), "stopped"))
		err = s->asks.ask[0].err;
	return err;
}

bool pwc_survey_is_good(const json_t *doc)
{
	static const char *const lists[] = { "mounts", "nodes" };
	json_t *entry;
	size_t i;

	for (size_t k = 0; k < PW_ARRAY_SIZE(lists); k++)
		json_array_foreach(json_object_get(doc, lists[k]), i, entry)
			if (json_array_size(json_object_get(entry, "problems")))
				return false;
	return true;
}

int pwc_survey_status(const struct pwc_survey_want *w, json_t **ret_doc)
{
	struct survey s;
	int err = ask_all(&s, w, "status");
	json_t *doc;

	if (!err) {
		for (size_t i = 0; i < s.mounts.nr; i++)
			if (!w->dir || !strcmp(s.mounts.row[i].dir, w->dir))
				add_mount(&s, &s.mounts.row[i]);
		add_detached(&s);
		add_nodes(&s);
		doc = json_pack("{s:s, s:O, s:O}", "schema", "pagewire.status/1", "mounts",
				s.ret_mounts, "nodes", s.ret_nodes);
		json_object_set_new(doc, "good", json_boolean(pwc_survey_is_good(doc)));
		*ret_doc = doc;
	}
	survey_fini(&s);
	return err;
}

static void add_stats(json_t *to, const struct pwc_ask *a, json_t *counters)
{
	json_t *o = json_copy(a->answer);

	json_object_del(o, "schema");
	json_object_set_new(o, "counters", counters);
	json_array_append_new(to, o);
}

int pwc_survey_stats(const struct pwc_survey_want *w, json_t **ret_doc)
{
	struct survey s;
	int err = ask_all(&s, w, "stats");

	if (!err) {
		for (size_t i = 0; i < s.asks.nr; i++) {
			const struct pwc_ask *a = &s.asks.ask[i];

			if (!a->answer)
				continue;
			if (i < s.nr_clients)
				add_stats(s.ret_mounts, a, pwc_survey_mount_counters(a->answer));
			else
				add_stats(s.ret_nodes, a, pwc_survey_node_counters(a->answer));
		}
		*ret_doc = json_pack("{s:s, s:O, s:O}", "schema", "pagewire.stats/1", "mounts",
				     s.ret_mounts, "nodes", s.ret_nodes);
	}
	survey_fini(&s);
	return err;
}
