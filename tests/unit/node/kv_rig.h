/* SPDX-License-Identifier: Apache-2.0 */
/* kv_rig.h -- an engine on the virtual clock and disk, commits that remember what they did, and a
 * model */
#ifndef KV_RIG_H
#define KV_RIG_H

#include "storage_node/meta_kv/journal_batch.h"

#include "index_map.h"
#include "vdisk.h"
#include "vloop.h"

#define RIG_JOURNAL_BYTES (2 * PW_ROUND_UP(PWS_BATCH_MAX_BYTES, PWS_BLOCK) + 65536ull)
#define RIG_DISK_BYTES	  (RIG_JOURNAL_BYTES + (64ull << 10))
#define RIG_KEYS	  64u
#define RIG_MUTS	  6u
#define RIG_VAL_MAX	  40000u

struct rig_commit {
	struct pws_kv_commit c;
	bool told;
	uint32_t nr;
	struct {
		uint32_t key; /* number */
		bool del;
		uint32_t len;
		uint8_t fill;
	} mut[RIG_MUTS];
};

struct rig_rec { /* of the model */
	bool live;
	uint32_t len;
	uint8_t fill;
	uint64_t seq;
};

struct rig {
	struct pw_loop *loop;
	struct pws_disk *disk;
	struct index_store *store;
	struct pws_kv_lmdb_opts o;
	struct pws_kv *kv;
	struct rig_commit **all; /* every commit of this life and of earlier ones that stands */
	uint32_t nr, max;
	bool stopped;
	int stop_err;
};

void rig_init(struct rig *r);
void rig_fini(struct rig *r);
/* Around one test: *@state is a rig of its own, and random numbers begin at @seed. */
int rig_set_up(void **state, uint64_t seed);
int rig_tear_down(void **state);
/* Opens the engine on what is there; checks that it opens. */
void rig_open(struct rig *r);
struct pws_kv_stats rig_stats(const struct rig *r);
/* pws_kv_stop(), close. Return: what stop said. */
int rig_stop(struct rig *r);
/* The process is killed, or the power goes; the engine is gone, disk and index are as after that.
 */
void rig_crash(struct rig *r, enum vdisk_cut cut);
/* A commit of nr random mutations; not waited for. */
struct rig_commit *rig_commit(struct rig *r, bool sync);
/* One put or delete of a key; not waited for. */
struct rig_commit *rig_put(struct rig *r, uint32_t key, uint32_t len);
struct rig_commit *rig_del(struct rig *r, uint32_t key);
void rig_wait(struct rig *r, struct rig_commit *c); /* until it was told */
struct pws_slice rig_key(uint32_t i, char buf[16]);
/* The state after commit @seq of the history. */
void rig_model(const struct rig *r, uint64_t seq, struct rig_rec model[RIG_KEYS]);
/* Engine and model agree, by get of every key and by a walk. */
void rig_check(struct rig *r);
/* Forgets the commits that are not part of history up to @seq: the engine came up without them. */
void rig_history_ends(struct rig *r, uint64_t seq);

#endif
