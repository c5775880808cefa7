/* SPDX-License-Identifier: Apache-2.0 */
/* sim_oracle.h -- what may have been seen: names as one atomic object, file contents as registers
 *
 * Every operation is an interval [inv, resp] of ticks with a result; resp 0: it never ended (a
 * crashed client), unknown: it ended with an error that leaves open whether it happened.
 */
#ifndef SIM_ORACLE_H
#define SIM_ORACLE_H

#include "tests/sim/sim.h"

#define SIM_NAMES 6u

struct sim_ns_op { /* on names */
	enum pw_op op;
	uint64_t parent, parent2, ino; /* LINK: ino; RENAME: parent2 */
	uint8_t name, name2;
	uint32_t flags; /* as on the wire */
	bool is_dir; /* MKNODE */
	uint32_t client;
	uint64_t inv, resp, step;
	bool unknown;
	/* result */
	int err;
	uint64_t r_ino, r_change;
	uint32_t r_nlink;
	bool r_dir;
	bool has_data; /* GETATTR of a file: @data_changes are all changes of its contents */
	uint32_t data_changes;
	uint64_t r_ents[SIM_NAMES]; /* READDIR: 0: no such entry */
};

/* sim_names.c: linearizability of all operations on names together, judged when the run is over */
void sim_names_init(void);
void sim_names_fini(void);
struct sim_ns_op *sim_names_begin(void); /* the caller fills it; valid until sim_names_fini() */
/* What was not durable may be gone: any state since the last fsync that ended may be the one
 * now. */
void sim_names_power_cut(void);
void sim_names_synced(uint64_t inv); /* an fsync that began at @inv has ended well */
void sim_names_check(void);

/* sim_data.c: each 8-byte word of a file is a register whose values name their write */
struct sim_write;
void sim_data_init(void);
void sim_data_fini(void);
void sim_data_created(uint64_t ino); /* its number is used for the first time */
/* Fills @buf with what this write writes to [off, off + len). @len 0: a truncation to @off.
 * off SIM_APPEND: where the node says. */
#define SIM_APPEND UINT64_MAX
struct sim_write *sim_data_begin(uint64_t ino, uint64_t off, uint32_t len);
void sim_data_fill(const struct sim_write *w, void *buf);
/* @err 0: it happened, at @off, and was change number @change of the inode */
void sim_data_end(struct sim_write *w, int err, bool unknown, uint64_t off, uint64_t change);
/* What a read from @inv to now returned; @len bytes of the @want that were asked for. */
void sim_data_read(uint64_t ino, uint64_t off, uint32_t want, const void *buf, uint32_t len,
		   uint64_t inv);
void sim_data_power_cut(void);
void sim_data_synced(uint64_t inv);
/* Nothing is under way: checks the size. Return: changes of the contents, or -1 when that is not
 * known. */
int sim_data_final(uint64_t ino, uint64_t size);

#endif
