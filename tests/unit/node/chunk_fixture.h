/* SPDX-License-Identifier: Apache-2.0 */
/* chunk_fixture.h -- one file in a chunk store, and the bytes that it should hold
 *
 * For test_store_*.c: each test gets a rig, or NULL when a numbered fault hit its making.
 */
#ifndef CHUNK_FIXTURE_H
#define CHUNK_FIXTURE_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/random.h"
#include "storage_node/store/chunk.h"

#include "store_rig.h"

#define INO 42u

/* Under a numbered fault a test ends where the fault made an operation fail. */
#define OK(expr)                           \
	do {                               \
		int err_ = (expr);         \
		if (err_ && sr_faults())   \
			return;            \
		assert_int_equal(err_, 0); \
	} while (0)

static uint8_t want[4 * RIG_MAX_IO]; /* what the file should hold */

static inline int setup_disk(void **state, uint64_t bytes)
{
	struct rig *rig;
	int err = sr_new(&rig,
			 &(struct rig_opts){ .kind = RIG_CHUNK, .seed = 7, .disk_bytes = bytes });

	*state = rig;
	if (err)
		return sr_faults() ? 0 : err;
	sr_make(rig, INO);
	memset(want, 0, sizeof(want));
	return 0;
}

static inline int setup(void **state)
{
	return setup_disk(state, 64 * PW_MIB);
}

static inline int setup_small(void **state)
{
	return setup_disk(state, 17 * PW_MIB);
}

static inline int teardown(void **state)
{
	sr_free(*state);
	return 0;
}

/* The same bytes into the file and into @want. */
static inline int put(struct rig *rig, uint64_t off, uint32_t len, uint64_t pattern)
{
	int err = sr_write(rig, INO, off, len, pattern);

	if (!err)
		sr_fill(want + off, pattern, 0, len);
	return err;
}

static inline int check(struct rig *rig, uint64_t off, uint32_t len)
{
	return sr_check(rig, INO, off, len, want + off);
}

static inline uint64_t blocks_of(struct rig *rig)
{
	struct pws_inode i;

	sr_inode(rig, INO, &i);
	return i.blocks;
}

static inline void stats(struct rig *rig, struct pws_store_stats *ret)
{
	rig->store->ops->get_stats(rig->store, ret);
}

#define T(f)	   cmocka_unit_test_setup_teardown(f, setup, teardown)
#define T_SMALL(f) cmocka_unit_test_setup_teardown(f, setup_small, teardown)

#endif
