/* SPDX-License-Identifier: Apache-2.0 */
/* sim_check.c -- looks into the node when nothing is under way: do all rows and the free map fit
 * together?
 *
 * names <-> inodes <-> rows of blocks <-> free map; no orphan, no dead tail, nothing behind the end
 * of a file; sessions and their reply rows only for clients that are there.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "storage_node/node.h"
#include "storage_node/store/chunk.h"
#include "tests/sim/sim_node.h"

#define MAX_INODES 1024u

struct found {
	uint64_t ino;
	struct pws_inode i;
	uint64_t blocks, names, subdirs, entries;
};

static struct {
	struct found f[MAX_INODES];
	uint32_t nr;
	uint64_t nr_orphans, nr_blocks, nr_clients, nr_replies;
} ck;

static uint64_t get_be(const void *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return __builtin_bswap64(v);
}

static struct found *found(uint64_t ino)
{
	for (uint32_t i = 0; i < ck.nr; i++)
		if (ck.f[i].ino == ino)
			return &ck.f[i];
	return NULL;
}

static void on_inode(const struct pws_kv_rec *rec)
{
	struct found *f = &ck.f[ck.nr];

	if (ck.nr == MAX_INODES) {
		sim_fail("check: more than %u inodes", MAX_INODES);
		return;
	}
	memset(f, 0, sizeof(*f));
	f->ino = get_be((const uint8_t *)rec->key.p + 1);
	if (pws_inode_decode(rec->val, &f->i, NULL))
		sim_fail("check: inode %llu cannot be decoded", (unsigned long long)f->ino);
	ck.nr++;
}

static void on_dirent(const struct pws_kv_rec *rec)
{
	uint64_t parent = get_be((const uint8_t *)rec->key.p + 1);
	struct pws_dirent_val d;
	struct found *dir = found(parent), *f;

	memcpy(&d, rec->val.p, sizeof(d));
	f = found(d.ino);
	if (!dir || !S_ISDIR(dir->i.mode) || !f) {
		sim_fail("check: a name in inode %llu for inode %llu: one of them is not there",
			 (unsigned long long)parent, (unsigned long long)d.ino);
		return;
	}
	f->names++;
	dir->entries++;
	dir->subdirs += S_ISDIR(f->i.mode) != 0;
	if (S_ISDIR(f->i.mode) && f->i.parent != parent)
		sim_fail("check: directory %llu has another parent than its name",
			 (unsigned long long)d.ino);
}

static void on_segment(const struct pws_kv_rec *rec)
{
	struct pws_segment row;
	struct found *f;
	uint32_t chunk;
	uint8_t segment;
	uint64_t ino;

	if (!pws_key_segment_parse(rec->key, &ino, &chunk, &segment) ||
	    pws_segment_decode(rec->val, &row)) {
		sim_fail("check: a row of blocks cannot be decoded");
		return;
	}
	f = found(ino);
	if (!f) {
		sim_fail("check: blocks of inode %llu, which is not there",
			 (unsigned long long)ino);
		return;
	}
	for (uint32_t slot = 0; slot < PWS_SEGMENT_BLOCKS; slot++) {
		uint64_t off = pws_segment_off(chunk, segment) + slot * PWS_BLOCK;

		if (!(row.present & 1u << slot))
			continue;
		f->blocks++;
		ck.nr_blocks++;
		if (off >= f->i.size)
			sim_fail("check: inode %llu has a block at %llu, behind its end at %llu",
				 (unsigned long long)ino, (unsigned long long)off,
				 (unsigned long long)f->i.size);
	}
}

static void walk(void)
{
	struct pws_kv *kv = sim_node.kv;
	/* inodes first: the others are looked up among them */
	static const char tables[] = "IDBOCR";

	for (const char *t = tables; *t && !sim.failed; t++) {
		struct pws_key at = { .n = 1, .b = { (uint8_t)*t } };
		struct pws_key end = { .n = 1, .b = { (uint8_t)(*t + 1) } };
		struct pws_kv_rec rec;

		while (!kv->ops->next(kv, pws_key_slice(&at), pws_key_slice(&end), &rec, NULL)) {
			switch (*t) {
			case 'I':
				on_inode(&rec);
				break;
			case 'D':
				on_dirent(&rec);
				break;
			case 'B':
				on_segment(&rec);
				break;
			case 'O':
				ck.nr_orphans++;
				break;
			case 'C':
				ck.nr_clients++;
				break;
			default:
				ck.nr_replies++;
			}
			memcpy(at.b, rec.key.p, rec.key.n);
			at.b[rec.key.n] = 0;
			at.n = rec.key.n + 1;
			if (sim.failed)
				return;
		}
	}
}

uint64_t sim_node_nr_orphans(void)
{
	memset(&ck, 0, sizeof(ck));
	walk();
	return ck.nr_orphans;
}

bool sim_node_idle(void)
{
	return sim_node_up() && !sim_node.node->nr_busy &&
	       pws_reclaim_idle(&sim_node.node->reclaim) && !sim_node.node->reclaim.nr;
}

void sim_node_explain(void)
{
	uint64_t ino, nr, orphans = sim_node_nr_orphans();
	uint32_t pos = 0;

	if (!sim_node.node)
		return;
	sim_trace("node: %u requests, %u reclaims, %llu orphans, %u inodes open",
		  sim_node.node->nr_busy, sim_node.node->reclaim.nr_running,
		  (unsigned long long)orphans, sim_node.node->opens.nr);
	while (pws_opens_next(&sim_node.node->opens, &pos, &ino, &nr))
		sim_trace("node: inode %llu is open %llu times", (unsigned long long)ino,
			  (unsigned long long)nr);
}

bool sim_node_knows(uint32_t nr_clients)
{
	return sim_node_idle() && sim_node.node->sessions.nr == nr_clients;
}

static void check_inode(const struct found *f)
{
	bool root = f->ino == PWS_ROOT_INO, dir = S_ISDIR(f->i.mode);
	uint64_t nlink = dir ? 2 + f->subdirs : f->names;
	unsigned long long ino = f->ino;

	if (!f->names && !root)
		sim_fail("check: inode %llu has no name", ino);
	else if (f->i.nlink != nlink)
		sim_fail("check: inode %llu has nlink %u, found %llu", ino, f->i.nlink,
			 (unsigned long long)nlink);
	else if (dir && f->i.size != f->entries)
		sim_fail("check: directory %llu counts %llu entries, has %llu", ino,
			 (unsigned long long)f->i.size, (unsigned long long)f->entries);
	else if (dir && f->names > 1)
		sim_fail("check: directory %llu has %llu names", ino, (unsigned long long)f->names);
	else if (f->i.blocks != f->blocks)
		sim_fail("check: inode %llu counts %llu blocks, has %llu", ino,
			 (unsigned long long)f->i.blocks, (unsigned long long)f->blocks);
	else if (f->i.dead_gen)
		sim_fail("check: inode %llu still has a dead tail", ino);
}

void sim_node_check(void)
{
	const struct pws_chunk *c = pws_chunk_of(sim_node.store);
	uint64_t free_blocks, limbo, all;

	if (sim_node_nr_orphans())
		sim_fail("check: %llu orphans are left", (unsigned long long)ck.nr_orphans);
	for (uint32_t i = 0; i < ck.nr && !sim.failed; i++)
		check_inode(&ck.f[i]);
	pws_alloc_counts(c->alloc, &free_blocks, &limbo, &all);
	if (!sim.failed && free_blocks + limbo + ck.nr_blocks != all)
		sim_fail(
			"check: %llu blocks free, %llu in limbo, %llu in rows: not the %llu "
			"that there are",
			(unsigned long long)free_blocks, (unsigned long long)limbo,
			(unsigned long long)ck.nr_blocks, (unsigned long long)all);
	if (sim_node.node->opens.nr)
		sim_fail("check: %u inodes count as open", sim_node.node->opens.nr);
	if (!sim.client[0].alive && (ck.nr_clients || ck.nr_replies))
		sim_fail("check: %llu sessions and %llu reply rows are left",
			 (unsigned long long)ck.nr_clients, (unsigned long long)ck.nr_replies);
}
