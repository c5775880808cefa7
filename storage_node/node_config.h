/* SPDX-License-Identifier: Apache-2.0 */
/* node_config.h -- section [node] of the configuration: keys, defaults, and what follows from
 * them */
#ifndef PWS_NODE_CONFIG_H
#define PWS_NODE_CONFIG_H

#include "common/config.h"
#include "storage_node/listen.h"
#include "storage_node/superblock.h"

enum pws_store_kind {
	PWS_STORE_CHUNK,
	PWS_STORE_MEMORY,
	PWS_STORE_NULL
};

struct pws_node_config {
	/* as in the file */
	char dir[PW_CONFIG_VALUE_MAX];
	char listen[PW_CONFIG_VALUE_MAX];
	uint32_t store; /* enum pws_store_kind */
	uint32_t transport; /* enum pws_transports */
	char durability[PW_CONFIG_VALUE_MAX];
	char key_file[PW_CONFIG_VALUE_MAX];
	char fsid[PW_CONFIG_VALUE_MAX];
	uint32_t max_clients, slots;
	uint32_t poll_us;
	uint64_t max_io, memory, journal, index_map; /* bytes */
	uint64_t max_data;		 /* bytes of store.dat; 0: as much as there is */
	uint64_t lease, heartbeat, dead; /* ns */
	uint64_t scrub;			 /* bytes per second */
	char control[PW_CONFIG_VALUE_MAX];
	uint32_t log; /* position in "err|warn|info|debug" */

	bool new_identity; /* of the command line only */

	/* what follows */
	struct pws_listen_at at[PWS_LISTEN_MAX];
	uint32_t nr_at;
	uint64_t interval_ns; /* of durability; 0: always */
	bool have_fsid, have_key;
	uint8_t fsid_bytes[16], key[32];
};

extern const struct pw_config_table pws_node_config_table;

const char *pws_store_kind_name(uint32_t kind);
int pws_log_level_of(uint32_t log);

/* After the last value is set: splits listen, durability, fsid, fills control. 0, or -1 with
 * @why. */
int pws_node_config_finish(struct pws_node_config *c, struct pws_refusal *why);
/* Reads the key file, if there is one. 0, or -1 with @why. */
int pws_node_config_load_key(struct pws_node_config *c, struct pws_refusal *why);

#endif
