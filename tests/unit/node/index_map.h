/* SPDX-License-Identifier: Apache-2.0 */
/* index_map.h -- kv_index.h over a map that outlives the engine */
#ifndef INDEX_MAP_H
#define INDEX_MAP_H

#include "storage_node/meta_kv/kv_index.h"

struct index_store { /* "the directory": what open finds */
	struct pws_kv_map *map;
	struct pws_kv_index_state state;
	bool has_state;
	uint64_t room;
	bool hold; /* an apply stays under way until this is false and somebody turns the loop */
	int fail;  /* the next apply ends with this */
	uint32_t applies;
};

struct index_store *index_store_new(void);
struct index_store *index_store_copy(const struct index_store *from);
void index_store_free(struct index_store *s);
/* What the next pws_kv_index_open() opens. */
void index_store_use(struct index_store *s);

#endif
