/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_mount.c -- pagewire mount HOST:PORT:/ DIR [-o OPTIONS]
 *
 * pagewire-client does everything, messages and exit codes too: it returns when the mount is
 * usable.
 */
#include <stdio.h>
#include <string.h>

#include "client_fs/cli/cli.h"
#include "client_fs/cli/program.h"

int pwc_cmd_mount(struct pwc_cli *cli, int argc, char **argv)
{
	static const struct option longs[] = { { "options", required_argument, NULL, 'o' },
					       { "foreground", no_argument, NULL, 'f' },
					       PWC_CLI_OPTIONS };
	const char *args[16] = { "pagewire-client" };
	int c, code = PW_EXIT_OK, nr = 1, err;

	while ((c = getopt_long(argc, argv, "o:fq", longs, NULL)) != -1) {
		if (nr + 6 > (int)PW_ARRAY_SIZE(args)) {
			pwc_cli_error(cli, "too many options; put them into one list, -o a,b,c");
			return PW_EXIT_USAGE;
		}
		if (c == 'o') {
			args[nr++] = "-o";
			args[nr++] = optarg;
		} else if (c == 'f') {
			args[nr++] = "-f";
		} else if (!pwc_cli_option(cli, c, &code)) {
			return code;
		}
	}
	if (argc - optind != 2)
		return pwc_cli_usage(cli);
	args[nr++] = argv[optind];
	args[nr++] = argv[optind + 1];
	err = pwc_program_exec(args);
	pwc_cli_error(cli, "cannot start pagewire-client: %s", pw_err_text(err));
	return PW_EXIT_ERROR;
}
