/* SPDX-License-Identifier: Apache-2.0 */
/* index_check.h -- is the file of the index as its last commit left it?
 *
 * LMDB's pages have no checksums: a flipped bit in one of them makes it miss rows, or read where
 * nothing is. So before LMDB is let near the file, its pages are walked here, from the newest of
 * the two meta pages on, with nothing believed: bounds, order, counts, that no page is used twice
 * or is in use and free at once, and what the caller knows about a row. What passes holds every row
 * that it ever held, at a place where it is found.
 * Thread: start-up only, blocks; reads the whole tree.      Allocates: pages, and a bit for each.
 * Must not know: tables, the journal.
 */
#ifndef PWS_INDEX_CHECK_H
#define PWS_INDEX_CHECK_H

#include "storage_node/meta_kv/meta_kv.h"

/* Is this stored record intact? */
typedef bool (*pws_index_row_fn)(struct pws_slice key, struct pws_slice val);

/**
 * pws_index_check - walk all pages of an LMDB file that nobody has open
 * @why: a text for what is wrong; set with -EBADMSG and -EINVAL
 *
 * Return: 0; -ENOENT there is no file, or an empty one; -EBADMSG damaged; -EINVAL not LMDB's, or of
 * another version; -errno.
 */
int pws_index_check(const char *path, pws_index_row_fn row_fn, char *why, size_t why_len);

#endif
