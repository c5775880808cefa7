/* SPDX-License-Identifier: Apache-2.0 */
/* status.h -- what a node tells about itself: "pagewire.node-status/1" and "pagewire.stats/1" as
 * JSON
 *
 * Pure: reads counters, changes nothing.      Allocates: the JSON tree.
 */
#ifndef PWS_STATUS_H
#define PWS_STATUS_H

#include <jansson.h>

#include "storage_node/data_dir.h"
#include "storage_node/node.h"

struct pws_status_source {
	struct pws_node *node;
	struct pws_data *data;
	const struct pws_node_config *config;
	uint64_t started_ns; /* wall clock */
};

/* New references, or NULL when there is no memory. */
json_t *pws_status_json(const struct pws_status_source *s);
json_t *pws_stats_json(const struct pws_status_source *s);

#endif
