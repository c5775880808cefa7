/* SPDX-License-Identifier: Apache-2.0 */
/* program.h -- finds and starts the other programs of pagewire
 *
 * Beside this one first (a build directory, or one bin directory), then where packages put them,
 * then in PATH.
 * Thread: one.
 */
#ifndef PWC_CLI_PROGRAM_H
#define PWC_CLI_PROGRAM_H

#include "common/compiler.h"

/* @ret: PATH_MAX bytes. Return: 0; -ENOENT. */
int pwc_program_find(const char *name, char *ret);

/* Becomes the program. @argv[0] is its name. Return: only when it cannot, -errno. */
int pwc_program_exec(const char *const *argv);

/**
 * pwc_program_run - start it and wait for its end; signals go to both
 * @ret_code: its exit code, or 128 + signal
 * Return: 0; -errno it was not started.
 */
int pwc_program_run(const char *const *argv, int *ret_code);

/**
 * pwc_program_capture - the same, with what it writes on stdout or stderr in a string
 * @fd:       STDOUT_FILENO or STDERR_FILENO; the other one is shared
 * @ret_text: the caller's to free
 */
int pwc_program_capture(const char *const *argv, int fd, char **ret_text, int *ret_code);

#endif
