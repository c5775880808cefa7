/* SPDX-License-Identifier: Apache-2.0 */
/* human.c -- see human.h */
#include "client_fs/cli/human.h"

#include <stdio.h>

const char *pwc_human_bytes(uint64_t n, char buf[PWC_HUMAN_LEN])
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	uint64_t whole = n, rest = 0;
	size_t u = 0;

	while (whole >= 1024 && u + 1 < PW_ARRAY_SIZE(units)) {
		rest = whole % 1024;
		whole /= 1024;
		u++;
	}
	if (u && whole < 10)
		snprintf(buf, PWC_HUMAN_LEN, "%llu.%llu %s", (unsigned long long)whole,
			 (unsigned long long)rest * 10 / 1024, units[u]);
	else
		snprintf(buf, PWC_HUMAN_LEN, "%llu %s", (unsigned long long)whole, units[u]);
	return buf;
}

const char *pwc_human_seconds(uint64_t s, char buf[PWC_HUMAN_LEN])
{
	unsigned long long n = s;

	if (n < 120)
		snprintf(buf, PWC_HUMAN_LEN, "%llu s", n);
	else if (n < 7200)
		snprintf(buf, PWC_HUMAN_LEN, "%llu min", n / 60);
	else if (n < 48 * 3600ull)
		snprintf(buf, PWC_HUMAN_LEN, "%llu h %llu min", n / 3600, n / 60 % 60);
	else
		snprintf(buf, PWC_HUMAN_LEN, "%llu d %llu h", n / 86400, n / 3600 % 24);
	return buf;
}
