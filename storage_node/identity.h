/* SPDX-License-Identifier: Apache-2.0 */
/* identity.h -- a data directory that was copied is two nodes with one identity: tell them apart
 *
 *	on one machine	a node holds a name made of its node id for as long as it runs; the second
 *			one is refused
 *	anywhere	DIR/starts counts the starts on this data and remembers what the last of
 *			them were called; WELCOME tells, and a client that comes back sees whether
 *			this data is the continuation of what it has worked with
 *
 * DIR/starts is two text records of 512 bytes with a checksum each, written in turn and in place:
 * a torn one leaves the other, and a full disk is no reason not to start. A record that cannot be
 * read or written costs the comparison, and nothing else. Thread: start-up only, blocks.
 */
#ifndef PWS_IDENTITY_H
#define PWS_IDENTITY_H

#include "common/wire.h"
#include "storage_node/superblock.h"

#define PWS_STARTS_RECORD 512u /* bytes */

struct pws_starts {
	uint64_t count; /* this start included; 0: not known, nothing can be compared */
	uint64_t boot[1 + PW_WELCOME_EARLIER]; /* this start, then those before it; 0: none */
};

/**
 * pws_identity_hold - be the only node of this identity on this machine
 * @dir: for the message
 * @ret_fd: holds it until it is closed; -1 where a machine has no such names
 *
 * Return: 0, or -1 with @why: another node of this identity runs here (11).
 */
int pws_identity_hold(const char *dir, const uint8_t node_id[16], int *ret_fd,
		      struct pws_refusal *why);

/* Counts this start of @dir, whose lock is held. @ret: count 0 and a boot when that failed. */
void pws_starts_record(const char *dir, struct pws_starts *ret);

/* Text form, exported for tests; @buf: PWS_STARTS_RECORD bytes. decode: 0 or -EBADMSG. */
void pws_starts_encode(const struct pws_starts *s, char buf[PWS_STARTS_RECORD]);
int pws_starts_decode(const char buf[PWS_STARTS_RECORD], struct pws_starts *ret);

#endif
