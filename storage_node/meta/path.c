/* SPDX-License-Identifier: Apache-2.0 */
/* path.c -- the path of an inode, for a log line that a person reads
 *
 * Files have no back-pointer but the hint of where they were last linked, so this walks the entries
 * of that directory, up to a limit. Slow and best effort: only for errors.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "storage_node/meta/meta.h"

#define ENTRIES_MAX 100000u
#define DEPTH_MAX 64u

static bool inode_read(struct pws_kv *kv, uint64_t ino, struct pws_inode *ret)
{
	struct pws_kv_fetch f = { .done = NULL };
	struct pws_kv_rec rec;
	struct pws_key k;

	pws_key_inode(&k, ino);
	return !kv->ops->get(kv, pws_key_slice(&k), &rec, &f) &&
	       !pws_inode_decode(rec.val, ret, NULL);
}

/* Copies the name of @ino in @parent. */
static bool name_find(struct pws_kv *kv, uint64_t parent, uint64_t ino, char *name)
{
	struct pws_kv_fetch f = { .done = NULL };
	struct pws_key begin, end;
	struct pws_dirent_val d;
	struct pws_kv_rec rec;
	const char *p;
	uint64_t cookie;
	uint32_t nr, len;

	pws_key_dirent_range(&begin, &end, parent, 0);
	for (nr = 0; nr < ENTRIES_MAX; nr++) {
		if (kv->ops->next(kv, pws_key_slice(&begin), pws_key_slice(&end), &rec, &f))
			return false;
		memcpy(begin.b, rec.key.p, rec.key.n);
		begin.b[rec.key.n] = 0;
		begin.n = rec.key.n + 1;
		if (rec.val.n != sizeof(d) ||
		    !pws_key_dirent_parse(rec.key, &cookie, &p, &len) || len > PW_NAME_MAX)
			return false;
		memcpy(&d, rec.val.p, sizeof(d));
		if (d.ino == ino) {
			memcpy(name, p, len);
			name[len] = 0;
			return true;
		}
	}
	return false;
}

void pws_meta_path(struct pws_meta *m, struct pws_kv *kv, uint64_t ino, char *buf, size_t len)
{
	char path[4096], name[PW_NAME_MAX + 1];
	size_t pos = sizeof(path) - 1, n;
	uint64_t at = ino;
	struct pws_inode i;
	uint32_t depth;

	(void)m;
	path[pos] = 0;
	for (depth = 0; at != PWS_ROOT_INO && depth < DEPTH_MAX; depth++) {
		if (!inode_read(kv, at, &i) || !name_find(kv, i.parent, at, name))
			break;
		n = strlen(name);
		if (n + 1 > pos)
			break;
		pos -= n;
		memcpy(path + pos, name, n);
		path[--pos] = '/';
		at = i.parent;
	}
	if (at == PWS_ROOT_INO)
		snprintf(buf, len, "%s", pos == sizeof(path) - 1 ? "/" : path + pos);
	else
		snprintf(buf, len, "inode %llu", (unsigned long long)ino);
}
