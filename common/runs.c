/* SPDX-License-Identifier: Apache-2.0 */
/* runs.c -- see runs.h */
#include "common/runs.h"

#include <string.h>

uint32_t pw_runs_pick(const struct pw_runs *r, uint64_t at, uint64_t len, struct iovec *v,
		      uint32_t max, uint64_t *ret_len)
{
	uint64_t sum = 0;
	uint32_t nr = 0;

	for (uint32_t i = 0; i < r->nr && sum < len && nr < max; i++) {
		uint64_t n = r->v[i].iov_len;

		if (at >= n) {
			at -= n;
			continue;
		}
		n = PW_MIN(n - at, len - sum);
		if (v)
			v[nr] = (struct iovec){ (uint8_t *)r->v[i].iov_base + at, n };
		nr++;
		sum += n;
		at = 0;
	}
	*ret_len = sum;
	return nr;
}

void pw_runs_fill(const struct pw_runs *r, const void *from, uint64_t len)
{
	const uint8_t *p = from;

	for (uint32_t i = 0; i < r->nr && len; i++) {
		uint64_t n = PW_MIN(r->v[i].iov_len, len);

		/* two reads into one memory: one may come in where the other guessed */
		memmove(r->v[i].iov_base, p, n);
		p += n;
		len -= n;
	}
}

void pw_runs_read(const struct pw_runs *r, void *to, uint64_t len)
{
	uint8_t *p = to;

	for (uint32_t i = 0; i < r->nr && len; i++) {
		uint64_t n = PW_MIN(r->v[i].iov_len, len);

		memcpy(p, r->v[i].iov_base, n);
		p += n;
		len -= n;
	}
}
