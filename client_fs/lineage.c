/* SPDX-License-Identifier: Apache-2.0 */
/* lineage.c -- see lineage.h; nothing here can fail */
#include "client_fs/lineage.h"

static bool continues(const struct pwc_lineage *known, const struct pw_body_welcome *w)
{
	uint64_t since = w->starts - known->starts, before;

	if (w->boot == known->boot || !w->starts || !known->starts)
		return true;
	if (w->starts <= known->starts)
		return false; /* older, or another one's start of the same number */
	if (since > PW_WELCOME_EARLIER)
		return true;
	before = w->earlier[since - 1];
	return !before || before == known->boot;
}

bool pwc_lineage_follow(struct pwc_lineage *known, const struct pw_body_welcome *w)
{
	if (!continues(known, w))
		return false;
	*known = (struct pwc_lineage){ w->starts, w->boot };
	return true;
}
