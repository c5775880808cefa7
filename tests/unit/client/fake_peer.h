/* SPDX-License-Identifier: Apache-2.0 */
/* fake_peer.h -- a node in memory behind client_fs/peer.h, at link time
 *
 * It checks every command as a node would (pw_cmd_check()), keeps a small tree with data, and
 * answers from the loop. The test can hold answers back, make an operation fail, or look at what
 * was asked.
 */
#ifndef FAKE_PEER_H
#define FAKE_PEER_H

#include "client_fs/peer.h"

#define FAKE_NODES 64u
#define FAKE_FILE_MAX (4u << 20)

struct fake_inode {
	struct pw_attr attr; /* ino 0: free */
	uint64_t parent;
	char name[PW_NAME_MAX + 1];
	char *data; /* file contents, or the target of a symlink */
	uint32_t opens;
	uint64_t cookie;
};

struct fake_peer {
	struct fake_inode node[FAKE_NODES]; /* [0] is the root */
	uint32_t nr_calls[PW_OP_NR];
	struct pw_cmd last; /* of the newest call */
	char last_payload[8192];
	uint32_t bad_cmds; /* commands that a node would refuse */
	bool hold; /* calls wait for fake_peer_go() */
	int fail_op, fail_err; /* the next call of this op ends so */
	bool is_away; /* state WAITING: nothing is answered, aborted calls end */
	uint32_t max_io;
	uint64_t extra_changes; /* added to change counters by the next change: somebody else's */
	bool garble_readdir; /* answer pages that are no records */
};

extern struct fake_peer fake;

void fake_peer_reset(void);
/* Answers what is held, from the loop. */
void fake_peer_go(void);
uint32_t fake_peer_nr_held(void);
struct fake_inode *fake_peer_find(uint64_t ino);
struct fake_inode *fake_peer_add(uint64_t parent, const char *name, uint32_t mode);

#endif
