/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_config.c -- pagewire config check FILE, pagewire config show [--origin] FILE
 *
 * The keys are the node's, so pagewire-node reads the file; here its words are only put into form.
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client_fs/cli/cli.h"
#include "client_fs/cli/config_text.h"
#include "client_fs/cli/program.h"

#define NODE "pagewire-node"

static int cannot_start(const struct pwc_cli *cli, int err)
{
	pwc_cli_error(cli, "cannot start " NODE ": %s", pw_err_text(err));
	return PW_EXIT_ERROR;
}

static int print_json(json_t *doc)
{
	if (!doc || json_dumpf(doc, stdout, JSON_INDENT(2)) < 0 || putchar('\n') == EOF)
		fprintf(stderr, "pagewire config: cannot write the answer\n");
	json_decref(doc);
	return PW_EXIT_OK;
}

static int check(const struct pwc_cli *cli, char *file)
{
	const char *argv[] = { NODE, "--check-config", "-c", file, NULL };
	char *text, *save = NULL;
	json_t *errors = json_array();
	int code, err = pwc_program_capture(argv, STDERR_FILENO, &text, &code);

	if (err) {
		json_decref(errors);
		return cannot_start(cli, err);
	}
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		static const char prefix[] = NODE ": ";

		if (!strncmp(line, prefix, strlen(prefix)))
			line += strlen(prefix);
		if (code)
			json_array_append_new(errors, json_string(line));
		if (code && !cli->json)
			fprintf(stderr, "%s\n", line);
	}
	free(text);
	if (cli->json) {
		print_json(json_pack("{s:s, s:s, s:b, s:O}", "schema", "pagewire.config-check/1",
				     "file", file, "good", !code, "errors", errors));
	} else if (!code) {
		pwc_cli_say(cli, "%s is good", file);
	}
	json_decref(errors);
	return code;
}

static int show(const struct pwc_cli *cli, char *file, bool with_origin)
{
	const char *argv[] = { NODE,
			       with_origin || cli->json ? "--show-config=origin" : "--show-config",
			       "-c", file, NULL };
	char *text;
	int code, err;

	if (!cli->json) {
		err = pwc_program_run(argv, &code);
		return err ? cannot_start(cli, err) : code;
	}
	err = pwc_program_capture(argv, STDOUT_FILENO, &text, &code);
	if (err)
		return cannot_start(cli, err);
	if (!code)
		print_json(pwc_config_text_json(text, file));
	free(text);
	return code;
}

int pwc_cmd_config(struct pwc_cli *cli, int argc, char **argv)
{
	static const struct option longs[] = { { "origin", no_argument, NULL, PWC_CLI_OWN },
					       PWC_CLI_OPTIONS };
	bool with_origin = false;
	int c, code = PW_EXIT_OK;

	while ((c = getopt_long(argc, argv, "q", longs, NULL)) != -1) {
		if (c == PWC_CLI_OWN)
			with_origin = true;
		else if (!pwc_cli_option(cli, c, &code))
			return code;
	}
	if (argc - optind != 2)
		return pwc_cli_usage(cli);
	if (!strcmp(argv[optind], "check"))
		return check(cli, argv[optind + 1]);
	if (!strcmp(argv[optind], "show"))
		return show(cli, argv[optind + 1], with_origin);
	pwc_cli_error(cli, "config %s: check or show is expected", argv[optind]);
	return pwc_cli_usage(cli);
}
