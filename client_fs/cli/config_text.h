/* SPDX-License-Identifier: Apache-2.0 */
/* config_text.h -- what pw_config_show() prints, as JSON
 *
 * Pure.      Allocates: yes.
 */
#ifndef PWC_CLI_CONFIG_TEXT_H
#define PWC_CLI_CONFIG_TEXT_H

#include <jansson.h>

#include "common/compiler.h"

/**
 * pwc_config_text_json - {"schema": "pagewire.config/1", "file": @file, "sections": {"node":
 * {"dir": { "value": "/x", "origin": "FILE:3"}}}}
 * @text: with origins; cut in place
 *
 * Return: a new reference, or NULL.
 */
json_t *pwc_config_text_json(char *text, const char *file);

#endif
