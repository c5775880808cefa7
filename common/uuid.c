/* SPDX-License-Identifier: Apache-2.0 */
/* uuid.c -- pure conversions */
#include "common/uuid.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

void pw_hex_text(const uint8_t *p, size_t n, char *buf)
{
	for (size_t i = 0; i < n; i++)
		snprintf(buf + 2 * i, 3, "%02x", p[i]);
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int pw_hex_parse(const char *s, uint8_t *ret, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int hi = hex_digit(s[2 * i]);
		int lo = hi < 0 ? -1 : hex_digit(s[2 * i + 1]);

		if (lo < 0)
			return -EINVAL;
		ret[i] = (uint8_t)(hi << 4 | lo);
	}
	return 0;
}

void pw_uuid_text(const uint8_t uuid[16], char buf[PW_UUID_TEXT])
{
	char hex[33];

	pw_hex_text(uuid, 16, hex);
	snprintf(buf, PW_UUID_TEXT, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16,
		 hex + 20);
}

int pw_uuid_parse(const char *s, uint8_t ret[16])
{
	char hex[33];
	size_t n = 0;

	if (strlen(s) != PW_UUID_TEXT - 1)
		return -EINVAL;
	for (size_t i = 0; i < PW_UUID_TEXT - 1; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash != (s[i] == '-'))
			return -EINVAL;
		if (!dash)
			hex[n++] = s[i];
	}
	hex[n] = 0;
	return pw_hex_parse(hex, ret, 16);
}
