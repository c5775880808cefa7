/* SPDX-License-Identifier: Apache-2.0 */
/* gone.h -- inodes that the kernel holds and the node may have no more: their last attributes
 *
 * fstat(2) works on a removed file for as long as somebody has it. The node keeps what is open in
 * files (opens.h), but it does not hear of the rest: directories (an OPEN for each opendir(3) would
 * cost `find` a second round trip per directory), a working directory, O_PATH, and special files,
 * whose opens FUSE does not see. All of these are known here instead:
 *
 *	removed by this mount	the answer to UNLINK, RMDIR and RENAME tells what lost its last
 *				name; it is kept until the kernel's FORGET, which comes when nobody
 *				has it any more, and that is at once as a rule
 *	open directories	kept from OPENDIR to RELEASEDIR, whoever removes them
 *
 * When the node then says ESTALE, these are the answer, with a link count of 0. What another
 * machine removes while it is held here by O_PATH or as a working directory stays ESTALE.
 * Thread: the loop's own.      Allocates: one entry each.      Must not know: FUSE.
 */
#ifndef PWC_GONE_H
#define PWC_GONE_H

#include "common/list.h"
#include "common/wire.h"

struct pwc_gone {
	struct pw_list *bucket; /* owns; nr_buckets is a power of two */
	uint32_t nr_buckets, nr;
};

int pwc_gone_init(struct pwc_gone *g); /* 0 or -ENOMEM */
void pwc_gone_fini(struct pwc_gone *g); /* accepts all zero */

/* A handle of a directory more, or less. Return: 0 or -ENOMEM. */
int pwc_gone_opendir(struct pwc_gone *g, const struct pw_attr *attr);
void pwc_gone_closedir(struct pwc_gone *g, uint64_t ino);

/* The answer to a removal of ours: nothing to do unless it tells of an inode without names. Without
 * memory it is forgotten: ESTALE is all that this costs. */
void pwc_gone_removed(struct pwc_gone *g, const struct pw_attr *attr);
/* The kernel does not hold it any more. */
void pwc_gone_forget(struct pwc_gone *g, uint64_t ino);

/* The node has told of it: where it is kept, this is now the last that is known. */
void pwc_gone_note(struct pwc_gone *g, const struct pw_attr *attr);
/* NULL: it is not kept. */
const struct pw_attr *pwc_gone_find(const struct pwc_gone *g, uint64_t ino);
/* The same, as of an inode that has no name any more. */
bool pwc_gone_last(const struct pwc_gone *g, uint64_t ino, struct pw_attr *ret);

#endif
