/* SPDX-License-Identifier: Apache-2.0 */
/* status.h -- a mount described in JSON: schemas pagewire.mount-status/1 and pagewire.stats/1
 *
 * Thread: the loop's own.      Allocates: yes.
 */
#ifndef PWC_STATUS_H
#define PWC_STATUS_H

#include <jansson.h>

#include "common/wire.h"

struct pwc_shard;

/* @space: the node's answer; NULL: not known. NULL is returned when memory is short. */
json_t *pwc_status_json(const struct pwc_shard *sh, const struct pw_body_statfs *space);
json_t *pwc_stats_json(const struct pwc_shard *sh);
/* Memory of applications, one by one: "pagewire.regions/1". */
json_t *pwc_regions_json(const struct pwc_shard *sh);

#endif
