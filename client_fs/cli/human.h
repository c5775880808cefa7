/* SPDX-License-Identifier: Apache-2.0 */
/* human.h -- numbers as people read them
 *
 * Each writes to @buf and returns it.
 */
#ifndef PWC_CLI_HUMAN_H
#define PWC_CLI_HUMAN_H

#include "common/compiler.h"

#define PWC_HUMAN_LEN 32

/* "0 B", "17 KiB", "1.5 GiB" */
const char *pwc_human_bytes(uint64_t n, char buf[PWC_HUMAN_LEN]);
/* "42 s", "3 min", "5 h 12 min", "3 d 4 h" */
const char *pwc_human_seconds(uint64_t s, char buf[PWC_HUMAN_LEN]);

#endif
