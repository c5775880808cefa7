/* SPDX-License-Identifier: Apache-2.0 */
/* main.c -- pagewire: one program, a sub-command for each thing to do */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client_fs/cli/cli.h"

static int run_version(struct pwc_cli *cli, int argc, char **argv);
static int run_help(struct pwc_cli *cli, int argc, char **argv);

static const struct pwc_cli_command commands[] = {
	{ "mount", "HOST:PORT:/ DIR [-o OPTION,...]",
	  "mount a filesystem; returns when it is usable", pwc_cmd_mount },
	{ "umount", "[-f] [-l] DIR", "unmount; -f gives up what waits, -l detaches at once",
	  pwc_cmd_umount },
	{ "status", "[--node DIR] [DIR]", "what runs here, and what to do where something is wrong",
	  pwc_cmd_status },
	{ "stats", "[--watch SECONDS] [--node DIR] [DIR]", "counters of mounts and nodes",
	  pwc_cmd_stats },
	{ "buffers", "[DIR]", "memory that programs have registered, and who uses it",
	  pwc_cmd_buffers },
	{ "doctor", "", "what zero copies take, and what of it this machine has",
	  pwc_cmd_doctor },
	{ "config", "check FILE | show [--origin] FILE",
	  "read a configuration file as a node would", pwc_cmd_config },
	{ "version", "", "version of this program", run_version },
	{ "help", "[COMMAND]", "this text", run_help },
};

static const struct pwc_cli_command *find_command(const char *name)
{
	for (size_t i = 0; i < PW_ARRAY_SIZE(commands); i++)
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	return NULL;
}

static void print_usage(FILE *out)
{
	fprintf(out, "usage: pagewire COMMAND [ARGUMENT...]\n\n");
	for (size_t i = 0; i < PW_ARRAY_SIZE(commands); i++)
		fprintf(out, "  %-8s%-40s %s\n", commands[i].name, commands[i].args,
			commands[i].help);
	fprintf(out,
		"\nEvery command takes --json, -q (--quiet), --no-color, --help. Exit codes: 0 "
		"good, 1 error, 2 usage,\n3 degraded; others are in pagewire(1).\n");
}

int pwc_cli_usage(const struct pwc_cli *cli)
{
	const struct pwc_cli_command *c = find_command(cli->command);

	fprintf(stderr, "usage: pagewire %s %s\n", c->name, c->args);
	return PW_EXIT_USAGE;
}

bool pwc_cli_option(struct pwc_cli *cli, int code, int *ret_exit)
{
	const struct pwc_cli_command *c = find_command(cli->command);

	switch (code) {
	case PWC_CLI_JSON:
		cli->json = true;
		return true;
	case 'q':
		cli->quiet = true;
		return true;
	case PWC_CLI_NO_COLOR:
		cli->color = false;
		return true;
	case PWC_CLI_HELP:
		printf("usage: pagewire %s %s\n%s; see pagewire(1)\n", c->name, c->args, c->help);
		*ret_exit = PW_EXIT_OK;
		return false;
	default: /* getopt_long() has said what it does not know */
		*ret_exit = pwc_cli_usage(cli);
		return false;
	}
}

void pwc_cli_error(const struct pwc_cli *cli, const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fprintf(stderr, "pagewire %s: ", cli->command);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

void pwc_cli_say(const struct pwc_cli *cli, const char *fmt, ...)
{
	va_list ap;

	if (cli->quiet || cli->json)
		return;
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
}

static int run_version(struct pwc_cli *cli, int argc, char **argv)
{
	static const struct option longs[] = { PWC_CLI_OPTIONS };
	int c, code = PW_EXIT_OK;

	while ((c = getopt_long(argc, argv, "q", longs, NULL)) != -1)
		if (!pwc_cli_option(cli, c, &code))
			return code;
	if (argc != optind)
		return pwc_cli_usage(cli);
	if (cli->json)
		printf("{\"schema\": \"pagewire.version/1\", \"version\": \"%s\"}\n", PW_VERSION);
	else
		printf("pagewire %s\n", PW_VERSION);
	return PW_EXIT_OK;
}

static int run_help(struct pwc_cli *cli, int argc, char **argv)
{
	const struct pwc_cli_command *c;

	if (argc < 2) {
		print_usage(stdout);
		return PW_EXIT_OK;
	}
	c = find_command(argv[1]);
	if (!c) {
		pwc_cli_error(cli, "there is no command \"%s\"", argv[1]);
		return PW_EXIT_USAGE;
	}
	printf("usage: pagewire %s %s\n%s\n", c->name, c->args, c->help);
	return PW_EXIT_OK;
}

int main(int argc, char **argv)
{
	const char *no_color = getenv("NO_COLOR"); /* no-color.org: set and not empty */
	const struct pwc_cli_command *c;
	char name[32];
	struct pwc_cli cli = { .color = isatty(STDOUT_FILENO) && !(no_color && *no_color) };

	if (argc < 2) {
		print_usage(stderr);
		return PW_EXIT_USAGE;
	}
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V"))
		c = find_command("version");
	else if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
		c = find_command("help");
	else
		c = find_command(argv[1]);
	if (!c) {
		fprintf(stderr, "pagewire: there is no command \"%s\"; pagewire help lists them\n",
			argv[1]);
		return PW_EXIT_USAGE;
	}
	cli.command = c->name;
	snprintf(name, sizeof(name), "pagewire %s", c->name);
	argv[1] = name; /* getopt_long() puts it before its messages */
	return c->run(&cli, argc - 1, argv + 1);
}
