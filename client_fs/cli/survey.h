/* SPDX-License-Identifier: Apache-2.0 */
/* survey.h -- everything of pagewire on this machine, as one JSON document
 *
 * The kernel's list of mounts joined with what the daemons answer, and what follows from both:
 * "problems" (degraded: something has to be done) and "notes" (works, and somebody may want to
 * know). Each is {"text", "fix"}; fix is a command, or "".
 *
 *	{ "schema": "pagewire.status/1", "good": true, "mounts": [ ... ], "nodes": [ ... ] }
 *
 * A mount has dir, source, state, pid, problems, notes, and what its client answered; a node has
 * socket, state, pid, problems, notes, and what it answered. Lasts PWC_ASK_DEADLINE_MS at most,
 * and a second more for mounts without a client.
 * Thread: one.      Allocates: yes.
 */
#ifndef PWC_CLI_SURVEY_H
#define PWC_CLI_SURVEY_H

#include <jansson.h>

#include "client_fs/cli/ask.h"
#include "client_fs/cli/mountinfo.h"

struct pwc_survey_want {
	const char *dir;  /* this mount only; NULL: all */
	const char *node; /* the node of this data directory, or of this socket, only; NULL: all */
};

/**
 * pwc_survey_status - the document of `pagewire status`
 * @ret_doc: new reference
 * Return: 0; -ENOENT @w->dir is no mount of pagewire; -errno.
 */
int pwc_survey_status(const struct pwc_survey_want *w, json_t **ret_doc);

/* The document of `pagewire stats`: "pagewire.stats/1", with a "counters" object of plain sums
 * for each. */
int pwc_survey_stats(const struct pwc_survey_want *w, json_t **ret_doc);

/* Was there anything to be said that means exit code 3? */
bool pwc_survey_is_good(const json_t *doc);

/* For survey_*.c: pure, exported for tests. They add "problems" and "notes" to an entry. */
void pwc_survey_judge_mount(json_t *mount);
void pwc_survey_judge_node(json_t *node);
/* Plain sums out of an answer to "stats". Return: a new reference. */
json_t *pwc_survey_mount_counters(const json_t *answer);
json_t *pwc_survey_node_counters(const json_t *answer);

#endif
