/* SPDX-License-Identifier: Apache-2.0 */
/* vdisk.h -- disk.h in memory, with the rules of real media: what is not flushed may be lost,
 * sector by sector */
#ifndef VDISK_H
#define VDISK_H

#include "storage_node/store/disk.h"

enum vdisk_cut { /* what becomes of each sector that was not flushed */
	VDISK_KEEP_ALL, /* kill -9: what was written stays */
	VDISK_KEEP_NONE,
	VDISK_KEEP_SOME, /* pw_random_below() decides for each */
};

struct pws_disk *vdisk_new(struct pw_loop *loop, uint64_t size);
/* A disk as it is found after a power cut at this instant; @from goes on. */
struct pws_disk *vdisk_after_cut(struct pws_disk *from, enum vdisk_cut cut);
/* Held: nothing completes but by vdisk_step(). */
void vdisk_hold(struct pws_disk *d, bool hold);
/* Completes the oldest one in flight; false when there is none. */
bool vdisk_step(struct pws_disk *d);
uint32_t vdisk_in_flight(const struct pws_disk *d);
/* The nth write or flush from now on (1: the next) fails with -EIO. 0: none. */
void vdisk_fail_write(struct pws_disk *d, uint32_t nth);
void vdisk_fail_flush(struct pws_disk *d, uint32_t nth);
/* Everything in flight and to come fails. */
void vdisk_break(struct pws_disk *d);
/* What a read would see. */
uint8_t *vdisk_mem(struct pws_disk *d);

#endif
