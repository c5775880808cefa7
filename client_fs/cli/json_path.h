/* SPDX-License-Identifier: Apache-2.0 */
/* json_path.h -- one value deep in an answer: "node.conn.bytes_tx"; what is missing has a default
 *
 * An answer comes from a daemon that may be of another version: nothing in it is taken for granted.
 * Thread: any.      Allocates: never.
 */
#ifndef PWC_CLI_JSON_PATH_H
#define PWC_CLI_JSON_PATH_H

#include <jansson.h>

#include "common/compiler.h"

json_t *pwc_json_at(const json_t *o, const char *path);	      /* borrowed; NULL: not there */
const char *pwc_json_text(const json_t *o, const char *path); /* "" when there is none */
uint64_t pwc_json_number(const json_t *o, const char *path);  /* 0; also for a real, cut */
bool pwc_json_true(const json_t *o, const char *path);

#endif
