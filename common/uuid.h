/* SPDX-License-Identifier: Apache-2.0 */
/* uuid.h -- identities as people read and write them */
#ifndef PW_UUID_H
#define PW_UUID_H

#include "common/compiler.h"

#define PW_UUID_TEXT 37u /* bytes of the text, with the final zero */

/* "01234567-89ab-cdef-0123-456789abcdef" */
void pw_uuid_text(const uint8_t uuid[16], char buf[PW_UUID_TEXT]);
/* Exactly that form, either case. Return: 0 or -EINVAL; @ret may have been written. */
int pw_uuid_parse(const char *s, uint8_t ret[16]);

/* 2 * @n digits and a zero */
void pw_hex_text(const uint8_t *p, size_t n, char *buf);
/* Reads 2 * @n digits, what follows is not looked at. Return: 0 or -EINVAL. */
int pw_hex_parse(const char *s, uint8_t *ret, size_t n);

#endif
