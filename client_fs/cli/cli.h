/* SPDX-License-Identifier: Apache-2.0 */
/* cli.h -- the sub-commands of pagewire(1) and what they share
 *
 * The program holds no state of its own: mounts come from the kernel's list, everything else from
 * the control sockets of the daemons. It never asks a mount for anything that its daemon would
 * have to answer.
 * Thread: one.
 */
#ifndef PWC_CLI_H
#define PWC_CLI_H

#include <getopt.h>

#include "common/compiler.h"
#include "common/err.h"

struct pwc_cli {
	const char *command; /* "status" */
	bool json, quiet;
	bool color; /* stdout is a terminal, and nobody said no */
};

struct pwc_cli_command {
	const char *name, *args, *help;
	/* @argv[0] is the sub-command. Return: enum pw_exit. */
	int (*run)(struct pwc_cli *cli, int argc, char **argv);
};

/* Options that every sub-command has; codes of long options of its own begin at PWC_CLI_OWN. */
enum {
	PWC_CLI_JSON = 256,
	PWC_CLI_NO_COLOR,
	PWC_CLI_HELP,
	PWC_CLI_OWN
};
#define PWC_CLI_OPTIONS                                                                   \
	{ "json", no_argument, NULL, PWC_CLI_JSON }, { "quiet", no_argument, NULL, 'q' }, \
		{ "no-color", no_argument, NULL, PWC_CLI_NO_COLOR },                      \
		{ "help", no_argument, NULL, PWC_CLI_HELP },                              \
	{                                                                                 \
		NULL, 0, NULL, 0                                                          \
	}

/**
 * pwc_cli_option - one of the shared options
 * Return: true, it was seen to; false: help is wanted or the option is unknown, @ret_exit says
 * which.
 */
bool pwc_cli_option(struct pwc_cli *cli, int code, int *ret_exit);

/* "pagewire umount: TEXT" on stderr. */
void pwc_cli_error(const struct pwc_cli *cli, const char *fmt, ...) PW_PRINTF(2, 3);
/* On stdout unless -q or --json. */
void pwc_cli_say(const struct pwc_cli *cli, const char *fmt, ...) PW_PRINTF(2, 3);
/* Usage of one sub-command on stderr. Return: PW_EXIT_USAGE. */
int pwc_cli_usage(const struct pwc_cli *cli);

int pwc_cmd_mount(struct pwc_cli *cli, int argc, char **argv);
int pwc_cmd_umount(struct pwc_cli *cli, int argc, char **argv);
int pwc_cmd_status(struct pwc_cli *cli, int argc, char **argv);
int pwc_cmd_stats(struct pwc_cli *cli, int argc, char **argv);
int pwc_cmd_buffers(struct pwc_cli *cli, int argc, char **argv);
int pwc_cmd_doctor(struct pwc_cli *cli, int argc, char **argv);
int pwc_cmd_config(struct pwc_cli *cli, int argc, char **argv);

#endif
