/* SPDX-License-Identifier: Apache-2.0 */
/* fake_disk.h -- a disk in memory behind storage_node/store/disk.h, for tests of what stands on it
 *
 * Completions come from the loop in an order drawn by pw_random_below(). Sectors that were not
 * flushed are kept or lost at a power cut, each by itself.
 */
#ifndef FAKE_DISK_H
#define FAKE_DISK_H

#include "storage_node/store/disk.h"

/* @size now, @max after growth. */
struct pws_disk *fake_disk_new(struct pw_loop *loop, uint64_t size, uint64_t max);
/* As the disk reads now; may be changed by the test (bit rot). */
uint8_t *fake_disk_mem(struct pws_disk *d);
/* Nothing completes until it is off again. */
void fake_disk_hold(struct pws_disk *d, bool on);
uint32_t fake_disk_pending(const struct pws_disk *d);
/* The @nth (from 1) @op from now on ends in @err; 0 takes it back. */
void fake_disk_fail(struct pws_disk *d, enum pws_disk_op op, uint32_t nth, int err);
/* The next read has one wrong bit. */
void fake_disk_flip_next_read(struct pws_disk *d);
/* Others fill the filesystem below: so much growth fails. */
void fake_disk_set_max(struct pws_disk *d, uint64_t max);
/* More in one step fails with -ENOSPC, whatever growable() says. */
void fake_disk_grow_at_most(struct pws_disk *d, uint64_t bytes);
/* Everything in flight and to come ends in -EIO. */
void fake_disk_break(struct pws_disk *d);
/* What a reboot would find, in a new disk; @d stays as it is. */
struct pws_disk *fake_disk_after_power_cut(struct pws_disk *d);
/* Called for every write, before it completes; may be NULL. */
void fake_disk_on_write(struct pws_disk *d, void (*fn)(void *arg, uint64_t off, uint32_t len),
			void *arg);

#endif
