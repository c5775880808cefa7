/* SPDX-License-Identifier: Apache-2.0 */
/* fill_index.c -- many files in a data directory that no node has open, in seconds
 *
 *	pagewire-node --dir DIR ..., once, so that DIR is formatted; SIGTERM
 *	fill_index DIR FILES
 *
 * The rows are those that a node would have written: an inode, a name and one row of the chunk
 * index for each file (one block of zeros, with its checksum), 1000 files in a directory, and they
 * go through the engine that a node uses: journal, overlay, checkpoints. What is not there:
 * clients, replies, and bytes of data, which the blocks of a fresh file have already.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/crc32c.h"
#include "common/err.h"
#include "common/log.h"
#include "common/uring.h"
#include "storage_node/data_dir.h"
#include "storage_node/meta/meta.h"
#include "storage_node/meta/records.h"
#include "storage_node/store/disk.h"
#include "storage_node/store/segment.h"

#define DIR_FILES 1000u
#define BATCH	  1000u /* files in a commit */
#define MUTS	  (3u * BATCH + 5u)
#define TIME_NS	  1700000000000000000

struct row {
	struct pws_key key;
	union {
		struct pws_inode inode;
		struct pws_dirent_val dirent;
		uint8_t segment[PWS_SEGMENT_VAL_MAX];
		uint64_t next_ino;
	} val;
	uint32_t len;
};

struct fill {
	struct pw_loop *loop;
	struct pws_data data;
	uint64_t files, made, next_ino, next_block;
	struct pws_inode root;
	struct pws_kv_commit commit;
	struct pws_kv_mut muts[MUTS];
	struct row rows[MUTS];
	uint32_t zero_crc;
	int err;
};

static struct row *add_row(struct fill *f)
{
	return &f->rows[f->commit.nr_muts++];
}

static void add_inode(struct fill *f, uint64_t ino, const struct pws_inode *i)
{
	struct row *r = add_row(f);

	pws_key_inode(&r->key, ino);
	r->val.inode = *i;
	r->len = sizeof(*i);
}

static void add_name(struct fill *f, uint64_t parent, const char *name, uint64_t ino, uint32_t mode)
{
	struct row *r = add_row(f);

	pws_key_dirent(&r->key, f->data.sb.sip_key, parent, name, strlen(name));
	r->val.dirent = (struct pws_dirent_val){
		.version = PWS_RECORD_VERSION,
		.type = (uint8_t)((mode & S_IFMT) >> 12),
		.ino = ino,
	};
	r->len = sizeof(r->val.dirent);
}

static void add_block(struct fill *f, uint64_t ino)
{
	struct pws_segment s = { .present = 1 };
	struct row *r = add_row(f);

	s.block[0] = f->next_block++;
	s.crc[0] = f->zero_crc;
	pws_segment_key(&r->key, ino, 0);
	r->len = pws_segment_encode(&s, r->val.segment);
}

static void add_file(struct fill *f, uint64_t dir, uint64_t nr)
{
	struct pws_inode i = pws_meta_inode_new(S_IFREG | 0644, dir, TIME_NS);
	uint64_t ino = f->next_ino++;
	char name[32];

	snprintf(name, sizeof(name), "file.%07llu", (unsigned long long)nr);
	i.size = PWS_BLOCK;
	i.blocks = 1;
	add_inode(f, ino, &i);
	add_name(f, dir, name, ino, i.mode);
	add_block(f, ino);
}

/* A directory and what is in it: one commit. */
static void add_dir(struct fill *f)
{
	struct pws_inode d = pws_meta_inode_new(S_IFDIR | 0755, PWS_ROOT_INO, TIME_NS);
	uint64_t dir = f->next_ino++, nr = PW_MIN(f->files - f->made, (uint64_t)DIR_FILES);
	struct row *r;
	char name[32];

	f->commit.nr_muts = 0;
	snprintf(name, sizeof(name), "dir.%05llu", (unsigned long long)(f->made / DIR_FILES));
	for (uint64_t i = 0; i < nr; i++)
		add_file(f, dir, f->made + i);
	d.size = nr;
	add_inode(f, dir, &d);
	add_name(f, PWS_ROOT_INO, name, dir, d.mode);
	f->root.size++;
	f->root.nlink++;
	add_inode(f, PWS_ROOT_INO, &f->root);
	r = add_row(f);
	pws_key_alloc(&r->key);
	r->val.next_ino = f->next_ino;
	r->len = sizeof(r->val.next_ino);
	f->made += nr;
}

static void on_stopped(void *arg, int err)
{
	struct fill *f = arg;

	f->err = f->err ? f->err : err;
	pw_loop_stop(f->loop);
}

static void next(struct fill *f)
{
	if (f->err || f->made == f->files) {
		pws_data_stop(&f->data, on_stopped, f);
		return;
	}
	add_dir(f);
	for (uint32_t i = 0; i < f->commit.nr_muts; i++)
		f->muts[i] = (struct pws_kv_mut){ pws_key_slice(&f->rows[i].key),
						  { &f->rows[i].val, f->rows[i].len } };
	f->data.kv->ops->commit(f->data.kv, &f->commit);
}

static void on_committed(struct pws_kv_commit *c)
{
	struct fill *f = pw_container_of(c, struct fill, commit);

	f->err = c->err;
	next(f);
}

static void on_grown(void *arg, int err)
{
	struct fill *f = arg;

	f->err = err;
	next(f);
}

static int read_row(struct fill *f, const struct pws_key *k, void *ret, uint32_t len)
{
	struct pws_kv_rec rec;
	int err = f->data.kv->ops->get(f->data.kv, pws_key_slice(k), &rec, NULL);

	if (!err && rec.val.n != len)
		err = -EBADMSG;
	if (!err)
		memcpy(ret, rec.val.p, len);
	return err;
}

static int start(struct fill *f)
{
	static const uint8_t zeros[PWS_BLOCK];
	struct pws_key k;
	int err;

	pws_key_inode(&k, PWS_ROOT_INO);
	err = read_row(f, &k, &f->root, sizeof(f->root));
	pws_key_alloc(&k);
	if (!err)
		err = read_row(f, &k, &f->next_ino, sizeof(f->next_ino));
	if (!err && f->root.size)
		err = -ENOTEMPTY; /* blocks are counted from the first one on */
	if (err)
		return err;
	f->zero_crc = pw_crc32c(0, zeros, sizeof(zeros));
	f->commit.checks = NULL;
	f->commit.muts = f->muts;
	f->commit.done = on_committed;
	pw_list_init(&f->commit.node);
	pws_disk_grow(f->data.disk, f->data.sb.data_off + f->files * PWS_BLOCK, on_grown, f);
	return 0;
}

static int fill(struct fill *f, const char *dir)
{
	const struct pw_loop_opts o = { .sq_entries = 64, .max_ios = 1024 };
	static struct pws_node_config c;
	struct pw_config loaded;
	struct pws_refusal why = { 0 };
	int err;

	pw_config_init(&loaded, &pws_node_config_table, &c);
	if (pw_config_set(&loaded, "node", "dir", dir, "argument", why.text, sizeof(why.text)) ||
	    pw_config_set(&loaded, "node", "durability", "interval:1000", "here", why.text,
			  sizeof(why.text)) ||
	    pws_node_config_finish(&c, &why)) {
		fprintf(stderr, "fill_index: %s\n", why.text);
		return -EINVAL;
	}
	err = pw_loop_new(&f->loop, &o);
	if (err)
		return err;
	if (pws_data_open(&f->data, f->loop, &c, &why)) {
		fprintf(stderr, "fill_index: %s\n", why.text);
		err = -EINVAL;
	} else {
		err = start(f);
	}
	if (!err)
		err = pw_loop_run(f->loop);
	pws_data_close(&f->data);
	pw_loop_free(f->loop);
	return err ? err : f->err;
}

int main(int argc, char **argv)
{
	static struct fill f = { .data.lock_fd = -1, .data.identity_fd = -1 };
	int err;

	pw_log_init("fill_index");
	f.files = argc == 3 ? strtoull(argv[2], NULL, 10) : 0;
	if (!f.files) {
		fprintf(stderr, "usage: fill_index DIR FILES\n");
		return 2;
	}
	err = fill(&f, argv[1]);
	if (err)
		fprintf(stderr, "fill_index: %s\n", pw_err_text(err));
	return err ? 1 : 0;
}
