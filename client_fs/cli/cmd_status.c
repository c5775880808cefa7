/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_status.c -- pagewire status [--node DIR] [DIR], pagewire stats [--watch SECONDS] [--node
 * DIR] [DIR] */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client_fs/cli/cli.h"
#include "client_fs/cli/mountinfo.h"
#include "client_fs/cli/show.h"
#include "client_fs/cli/survey.h"

enum {
	OPT_NODE = PWC_CLI_OWN,
	OPT_WATCH
};

struct query {
	struct pwc_cli *cli;
	struct pwc_survey_want want;
	char dir[PATH_MAX];
	uint32_t watch_ms; /* 0: once */
};

static int parse_watch(struct query *q, const char *text)
{
	char *end;
	double s = strtod(text, &end);

	if (*text < '0' || *text > '9' || *end || s < 0.1 || s > 3600) {
		pwc_cli_error(q->cli, "--watch %s: seconds are expected", text);
		return PW_EXIT_USAGE;
	}
	q->watch_ms = (uint32_t)(s * 1000);
	return 0;
}

/* -1: go on; else the exit code. */
static int parse(struct query *q, int argc, char **argv, const struct option *longs)
{
	int c, code = PW_EXIT_OK, err;

	while ((c = getopt_long(argc, argv, "q", longs, NULL)) != -1) {
		if (c == OPT_NODE)
			q->want.node = optarg;
		else if (c == OPT_WATCH)
			code = parse_watch(q, optarg);
		else if (!pwc_cli_option(q->cli, c, &code))
			return code;
		if (code)
			return code;
	}
	if (argc - optind > 1 || (argc - optind && q->want.node))
		return pwc_cli_usage(q->cli);
	if (argc == optind)
		return -1;
	err = pwc_mountinfo_path(argv[optind], q->dir);
	/* a dead mount has no name that can be resolved, and may be written as the kernel has it */
	if (err && strlen(argv[optind]) < sizeof(q->dir))
		strcpy(q->dir, argv[optind]);
	q->want.dir = q->dir;
	return -1;
}

static int failed(const struct query *q, int err)
{
	if (q->want.node) {
		pwc_cli_error(q->cli, "%s: no node answers there: %s", q->want.node,
			      pw_err_text(err));
		return err == -EACCES ? PW_EXIT_PERM : PW_EXIT_UNREACHABLE;
	}
	if (err == -ENOENT)
		pwc_cli_error(q->cli, "%s is no mount of pagewire", q->dir);
	else
		pwc_cli_error(q->cli, "%s", pw_err_text(err));
	return PW_EXIT_ERROR;
}

static void print_json(const json_t *doc)
{
	json_dumpf(doc, stdout, JSON_INDENT(2));
	putchar('\n');
	fflush(stdout);
}

/* -1: @ret_doc holds the answer, printed as JSON if that is wanted; else the exit code. */
static int ask(struct query *q, int argc, char **argv, const struct option *longs,
	       int (*survey)(const struct pwc_survey_want *w, json_t **ret_doc), json_t **ret_doc)
{
	int code = parse(q, argc, argv, longs), err;

	if (code >= 0)
		return code;
	err = survey(&q->want, ret_doc);
	if (err)
		return failed(q, err);
	if (q->cli->json)
		print_json(*ret_doc);
	return -1;
}

int pwc_cmd_status(struct pwc_cli *cli, int argc, char **argv)
{
	static const struct option longs[] = { { "node", required_argument, NULL, OPT_NODE },
					       PWC_CLI_OPTIONS };
	struct query q = { .cli = cli };
	json_t *doc;
	int code = ask(&q, argc, argv, longs, pwc_survey_status, &doc);

	if (code >= 0)
		return code;
	if (!cli->json && !cli->quiet)
		pwc_show_status(doc, stdout, cli->color);
	code = pwc_survey_is_good(doc) ? PW_EXIT_OK : PW_EXIT_DEGRADED;
	json_decref(doc);
	return code;
}

static void sleep_ms(uint32_t ms)
{
	struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };

	while (nanosleep(&ts, &ts) < 0 && errno == EINTR)
		;
}

/* Until a signal, or until nobody reads any more. */
static int watch(struct query *q, json_t *before)
{
	int err = 0;

	while (!err && !ferror(stdout)) {
		json_t *after = NULL;

		sleep_ms(q->watch_ms);
		err = pwc_survey_stats(&q->want, &after);
		if (err)
			break;
		if (q->cli->json)
			print_json(after);
		else
			pwc_show_rates(before, after, q->watch_ms, stdout);
		fflush(stdout);
		json_decref(before);
		before = after;
	}
	json_decref(before);
	return err ? failed(q, err) : PW_EXIT_OK;
}

int pwc_cmd_stats(struct pwc_cli *cli, int argc, char **argv)
{
	static const struct option longs[] = { { "node", required_argument, NULL, OPT_NODE },
					       { "watch", required_argument, NULL, OPT_WATCH },
					       PWC_CLI_OPTIONS };
	struct query q = { .cli = cli };
	json_t *doc;
	int code = ask(&q, argc, argv, longs, pwc_survey_stats, &doc);

	if (code >= 0)
		return code;
	if (!cli->json && !cli->quiet)
		pwc_show_stats(doc, stdout);
	if (q.watch_ms)
		return watch(&q, doc);
	json_decref(doc);
	return PW_EXIT_OK;
}
