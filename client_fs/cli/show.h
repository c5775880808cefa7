/* SPDX-License-Identifier: Apache-2.0 */
/* show.h -- the documents of survey.h as text for people
 *
 * Pure but for @out; anything may be missing in a document.
 */
#ifndef PWC_CLI_SHOW_H
#define PWC_CLI_SHOW_H

#include <jansson.h>
#include <stdio.h>

#include "common/compiler.h"

void pwc_show_status(const json_t *doc, FILE *out, bool color);
void pwc_show_stats(const json_t *doc, FILE *out);
/* Rates between two documents of `stats`, @ms apart: one line for each mount and node. */
void pwc_show_rates(const json_t *before, const json_t *after, uint32_t ms, FILE *out);

#endif
