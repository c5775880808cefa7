/* SPDX-License-Identifier: Apache-2.0 */
/* data_dir.c -- one step per part, each with the sentence that its failure deserves */
#include "storage_node/data_dir.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "common/mem.h"
#include "storage_node/node.h"

struct path {
	char s[PW_CONFIG_VALUE_MAX + 32];
};

static struct path path_of(const struct pws_data *d, const char *name)
{
	struct path p;

	snprintf(p.s, sizeof(p.s), "%s/%s", d->dir, name);
	return p;
}

static bool has_store_dat(const struct pws_data *d)
{
	return !strcmp(d->sb.store, "chunk");
}

static int open_superblock(struct pws_data *d, const struct pws_node_config *c,
			   struct pws_refusal *why)
{
	bool chunk = c->store == PWS_STORE_CHUNK;
	struct pws_superblock_want want = {
		.fsid = c->have_fsid ? c->fsid_bytes : NULL,
		.store = pws_store_kind_name(c->store),
		.journal_bytes = chunk ? c->journal : 0,
		.data_off = chunk ? c->journal : 0,
		.block_bytes = PWS_BLOCK,
		.new_identity = c->new_identity,
	};

	return pws_superblock_open(d->dir, &want, &d->sb, &d->lock_fd, why) ||
			       pws_identity_hold(d->dir, d->sb.node_id, &d->identity_fd, why)
		       ? -1
		       : 0;
}

/* What takes payloads from the network: for the transports that register it. */
static int announce_bufs(const struct pws_data *d, struct pws_refusal *why)
{
	void *base;
	size_t len;
	int err;

	pws_bufpool_area(d->bufs, &base, &len);
	err = pw_mem_announce(base, len);
	if (err)
		return pws_refuse(why, PW_EXIT_ERROR, "too many areas of memory: %s",
				  pw_err_text(err));
	return 0;
}

static int open_bufs(struct pws_data *d, const struct pws_node_config *c, struct pws_refusal *why)
{
	uint32_t nr = pws_node_bufs_needed(c->slots, c->max_clients);
	int err;

	if (c->store == PWS_STORE_MEMORY)
		nr += (uint32_t)PW_MIN(c->memory / c->max_io, (uint64_t)(UINT32_MAX / 2));
	err = pws_bufpool_new(nr, pws_node_buf_bytes((uint32_t)c->max_io), &d->bufs);
	if (err)
		return pws_refuse(why, PW_EXIT_ERROR, "no memory for %u buffers of %llu bytes: %s",
				  nr, (unsigned long long)c->max_io, pw_err_text(err));
	return announce_bufs(d, why);
}

static void withdraw_bufs(const struct pws_data *d)
{
	void *base;
	size_t len;

	pws_bufpool_area(d->bufs, &base, &len);
	pw_mem_withdraw(base);
}

/* A file that a formatted directory must have. */
static int check_there(const struct pws_data *d, const char *name, struct pws_refusal *why)
{
	struct path p = path_of(d, name);
	struct stat st;

	if (!d->sb.formatted || (!stat(p.s, &st) && (st.st_size || !S_ISREG(st.st_mode))))
		return 0;
	return pws_refuse(why, PW_EXIT_DAMAGED, "data directory %s: %s is missing or empty", d->dir,
			  name);
}

static int open_disk(struct pws_data *d, struct pw_loop *loop, struct pws_refusal *why)
{
	struct path p = path_of(d, "store.dat");
	void *base;
	size_t len;
	int err;

	if (check_there(d, "store.dat", why) || check_there(d, "index/data.mdb", why))
		return -1;
	err = pws_disk_open(loop, p.s, !d->sb.formatted, d->sb.formatted ? 0 : d->sb.data_off,
			    &d->disk);
	if (err == -EWOULDBLOCK)
		return pws_refuse(why, PW_EXIT_LOCKED, "%s: another node has it open", p.s);
	if (err == -EACCES || err == -EPERM)
		return pws_refuse(why, PW_EXIT_PERM, "%s: %s", p.s, pw_err_text(err));
	if (err)
		return pws_refuse(why, PW_EXIT_ERROR, "%s: %s", p.s, pw_err_text(err));
	if (d->sb.formatted && pws_disk_size(d->disk) < d->sb.data_off)
		return pws_refuse(why, PW_EXIT_DAMAGED,
				  "%s: cut off, it is shorter than its journal", p.s);
	pws_bufpool_area(d->bufs, &base, &len);
	err = pws_disk_register(d->disk, base, len);
	if (err)
		pw_log_warn("disk: buffers are not registered (%s), each transfer pins its pages",
			    pw_err_text(err));
	return 0;
}

static bool verify(void *arg, const struct pws_kv_mut *mut)
{
	struct pws_data *d = arg;

	return pws_store_verify_row(d->disk, d->sb.data_off, mut);
}

static int open_index(struct pws_data *d, struct pw_loop *loop, const struct pws_node_config *c,
		      struct pws_refusal *why)
{
	struct path dir = path_of(d, "index");
	struct pws_kv_lmdb_opts o = {
		.index_dir = dir.s,
		.disk = d->disk,
		.journal_bytes = d->sb.journal_bytes,
		.interval_ns = c->interval_ns,
		.map_bytes = c->index_map,
		.verify = verify,
		.verify_arg = d,
	};
	int err;

	if (mkdir(dir.s, 0700) && errno != EEXIST)
		return pws_refuse(why, PW_EXIT_ERROR, "%s: %s", dir.s, strerror(errno));
	err = pws_kv_lmdb_open(loop, &o, &d->kv);
	if (!err)
		return 0;
	if (err == -EBADMSG)
		return pws_refuse(why, PW_EXIT_DAMAGED,
				  "data directory %s: its index or journal is damaged, the line "
				  "before says where; nothing was changed in it. Put back a copy "
				  "of the whole directory that was made while no node ran on it",
				  d->dir);
	if (err == -EINVAL)
		return pws_refuse(why, PW_EXIT_NOT_OURS,
				  "data directory %s: journal or index is of another version, or "
				  "not ours",
				  d->dir);
	return pws_refuse(why, PW_EXIT_ERROR, "data directory %s: cannot open the index: %s",
			  d->dir, pw_err_text(err));
}

static void bad_block(void *arg, uint64_t ino, uint64_t chunk, uint32_t block)
{
	struct pws_data *d = arg;

	if (d->on_bad_block)
		d->on_bad_block(d->bad_arg, ino, chunk, block);
}

static int open_store(struct pws_data *d, struct pw_loop *loop, const struct pws_node_config *c,
		      struct pws_refusal *why)
{
	struct pws_store_opts o = {
		.kv = d->kv,
		.bufs = d->bufs,
		.max_io = (uint32_t)c->max_io,
		.max_inflight = c->slots * c->max_clients + PWS_RECLAIM_JOBS,
		.disk = d->disk,
		.data_off = d->sb.data_off,
		.max_bytes = c->max_data,
		.memory_bytes = c->memory,
		.on_bad_block = bad_block,
		.arg = d,
	};
	int err;

	if (c->store == PWS_STORE_CHUNK)
		err = pws_store_open_chunk(loop, &o, &d->store);
	else if (c->store == PWS_STORE_MEMORY)
		err = pws_store_open_memory(loop, &o, &d->store);
	else
		err = pws_store_open_null(loop, &o, &d->store);
	if (!err)
		return 0;
	if (err == -EBADMSG)
		return pws_refuse(why, PW_EXIT_DAMAGED,
				  "data directory %s: the index names blocks that cannot be: it or "
				  "store.dat is damaged, or they do not belong together",
				  d->dir);
	return pws_refuse(why, PW_EXIT_ERROR, "data directory %s: cannot open the store: %s",
			  d->dir, pw_err_text(err));
}

int pws_data_open(struct pws_data *d, struct pw_loop *loop, const struct pws_node_config *c,
		  struct pws_refusal *why)
{
	int err;

	*d = (struct pws_data){ .dir = c->dir, .lock_fd = -1, .identity_fd = -1 };
	if (open_superblock(d, c, why) || open_bufs(d, c, why))
		return -1;
	pws_starts_record(d->dir, &d->starts);
	if (has_store_dat(d))
		return open_disk(d, loop, why) || open_index(d, loop, c, why) ||
				       open_store(d, loop, c, why)
			       ? -1
			       : 0;
	err = pws_kv_mem_open(loop, &d->kv);
	if (err)
		return pws_refuse(why, PW_EXIT_ERROR, "cannot make an index: %s", pw_err_text(err));
	return open_store(d, loop, c, why);
}

int pws_data_formatted(struct pws_data *d, struct pws_refusal *why)
{
	if (d->sb.formatted)
		return 0;
	return pws_superblock_set_formatted(d->dir, &d->sb, why);
}

static void kv_stopped(void *arg, int err)
{
	struct pws_data *d = arg;

	d->stopped(d->stop_arg, err);
}

static void store_stopped(void *arg)
{
	struct pws_data *d = arg;

	d->kv->ops->stop(d->kv, kv_stopped, d);
}

void pws_data_stop(struct pws_data *d, void (*stopped)(void *arg, int err), void *arg)
{
	d->stopped = stopped;
	d->stop_arg = arg;
	d->store->ops->stop(d->store, store_stopped, d);
}

void pws_data_close(struct pws_data *d)
{
	if (d->store)
		d->store->ops->close(d->store);
	if (d->kv)
		d->kv->ops->close(d->kv);
	if (d->disk)
		pws_disk_close(d->disk);
	if (d->bufs)
		withdraw_bufs(d);
	pws_bufpool_free(d->bufs);
	if (d->identity_fd >= 0)
		close(d->identity_fd);
	if (d->lock_fd >= 0)
		close(d->lock_fd);
	*d = (struct pws_data){ .lock_fd = -1, .identity_fd = -1 };
}
