/* SPDX-License-Identifier: Apache-2.0 */
/* config_impl.h -- what config.c (file, sections, keys) and config_value.c (values) share */
#ifndef PW_CONFIG_IMPL_H
#define PW_CONFIG_IMPL_H

#include "common/config.h"

/* Sets @key in @dest. Return: 0, or -EINVAL with the sentence for the user in @why. */
int pw_config_put(void *dest, const struct pw_config_key *key, const char *value, char *why,
		  size_t why_len);

/* Edits between two words: insert, delete, replace, swap neighbours. Words of up to 63 bytes. */
uint32_t pw_config_distance(const char *a, const char *b);

#endif
