/* SPDX-License-Identifier: Apache-2.0 */
/* kv_index_lmdb.c -- the index in an LMDB environment
 *
 * One database. Stored value: u64 seq | u32 CRC32C of key, seq and value | value; LMDB has no
 * checksums of its own: index_check.c looks at its pages before it does. The state is a record
 * whose key no table has (first byte 0).
 *
 * An apply runs in a thread of its own: one write transaction, committed with LMDB's fdatasync,
 * then a look at how much room there is. The loop reads through one read transaction, renewed when
 * an apply is done.
 *
 * Room. map_bytes is policy; the real map is larger, because LMDB copies pages and reuses old ones
 * only two transactions later, so an apply that policy let in always fits. The file is allocated
 * some way ahead of what is used, so that removals work when the disk below is full.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <lmdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/crc32c.h"
#include "common/err.h"
#include "common/fault.h"
#include "common/log.h"
#include "common/uring.h"
#include "storage_node/meta_kv/index_check.h"
#include "storage_node/meta_kv/kv_commit.h"
#include "storage_node/meta_kv/kv_index.h"

#define HEAD_BYTES    12u
#define STATE_VERSION 1u
#define AHEAD_MIN     (4ull << 20)
#define AHEAD_MAX     (128ull << 20)

static const uint8_t state_key[] = { PWS_KV_OWN_PREFIX, 'i', 'n', 'd', 'e', 'x' };

struct disk_state { /* little-endian; golden bytes in tests/unit/node/test_kv_index_lmdb.c */
	uint32_t magic;
	uint32_t version;
	uint64_t salt, epoch, seq, pos;
	uint32_t crc, reserved;
	uint64_t ring_off, ring_bytes;
};
static_assert(sizeof(struct disk_state) == 64, "disk format");
#define STATE_MAGIC 0x31495750u /* "PWI1" */

struct pws_kv_index {
	struct pw_loop *loop;
	MDB_env *env; /* owns */
	MDB_dbi dbi;
	MDB_txn *read;	    /* owns; valid when read_err is 0 */
	MDB_cursor *cursor; /* owns; of read */
	int read_err;
	uint64_t map_bytes;  /* policy */
	uint64_t real_bytes; /* of LMDB's map: address space */
	struct pws_kv_index_state state;
	uint64_t room; /* told by the last apply */

	struct pws_kv_index_apply *apply; /* borrowed; NULL: none is running */
	pthread_t thread;
	struct pw_loop_msg msg;
	uint64_t new_room; /* the thread's */
	int new_err; /* the thread's */
	bool map_full;	   /* the thread's: the real map was too small after all */
};

static int from_mdb(int rc)
{
	switch (rc) {
	case MDB_SUCCESS:
		return 0;
	case MDB_NOTFOUND:
		return -ENOENT;
	case MDB_MAP_FULL:
		return -ENOSPC;
	case MDB_CORRUPTED:
	case MDB_PAGE_NOTFOUND:
	case MDB_PANIC:
		return -EBADMSG;
	case MDB_INVALID:
	case MDB_VERSION_MISMATCH:
		return -EINVAL;
	default:
		return rc > 0 ? -rc : -EIO;
	}
}

/* Stored values ------------------------------------------------------------------------------ */

static uint32_t value_crc(struct pws_slice key, uint64_t seq, struct pws_slice val)
{
	uint32_t crc = pw_crc32c(0, key.p, key.n);

	crc = pw_crc32c(crc, &seq, sizeof(seq));
	return val.n ? pw_crc32c(crc, val.p, val.n) : crc;
}

/* false: it is damaged */
static bool split(struct pws_slice key, struct pws_slice stored, struct pws_kv_rec *ret)
{
	const uint8_t *p = stored.p;
	struct pws_slice val;
	uint64_t seq;
	uint32_t crc;

	if (stored.n < HEAD_BYTES)
		return false;
	memcpy(&seq, p, sizeof(seq));
	memcpy(&crc, p + sizeof(seq), sizeof(crc));
	val = (struct pws_slice){ p + HEAD_BYTES, stored.n - HEAD_BYTES };
	if (crc != value_crc(key, seq, val))
		return false;
	*ret = (struct pws_kv_rec){ key, val, seq, seq };
	return true;
}

static bool is_row_right(struct pws_slice key, struct pws_slice stored)
{
	struct pws_kv_rec rec;

	return split(key, stored, &rec);
}

static int decode(const MDB_val *k, const MDB_val *v, struct pws_kv_rec *ret)
{
	struct pws_slice key = { k->mv_data, (uint32_t)k->mv_size };

	if (split(key, (struct pws_slice){ v->mv_data, (uint32_t)v->mv_size }, ret))
		return 0;
	pw_log_rl(PW_LOG_ERR, "index: a record of table '%c' is damaged",
		  key.n ? *(const char *)key.p : '?');
	return -EIO;
}

static int put(MDB_txn *txn, MDB_dbi dbi, struct pws_slice key, struct pws_slice val, uint64_t seq)
{
	MDB_val k = { key.n, (void *)key.p };
	MDB_val v = { HEAD_BYTES + val.n, NULL };
	uint32_t crc = value_crc(key, seq, val);
	uint8_t *p;
	int rc = mdb_put(txn, dbi, &k, &v, MDB_RESERVE);

	if (rc)
		return rc;
	p = v.mv_data;
	memcpy(p, &seq, sizeof(seq));
	memcpy(p + sizeof(seq), &crc, sizeof(crc));
	if (val.n)
		memcpy(p + HEAD_BYTES, val.p, val.n);
	return 0;
}

static int put_state(MDB_txn *txn, MDB_dbi dbi, const struct pws_kv_index_state *s)
{
	struct disk_state d = {
		.magic = STATE_MAGIC,
		.version = STATE_VERSION,
		.salt = s->mark.salt,
		.epoch = s->mark.epoch,
		.seq = s->mark.seq,
		.pos = s->mark.pos,
		.crc = s->mark.crc,
		.ring_off = s->ring_off,
		.ring_bytes = s->ring_bytes,
	};

	return put(txn, dbi, (struct pws_slice){ state_key, sizeof(state_key) },
		   (struct pws_slice){ &d, sizeof(d) }, s->mark.seq);
}

static int get_state(struct pws_kv_index *x, struct pws_kv_index_state *ret)
{
	struct pws_slice key = { state_key, sizeof(state_key) };
	struct pws_kv_rec rec;
	struct disk_state d;
	int err = pws_kv_index_get(x, key, &rec);

	if (err)
		return err == -EIO ? -EBADMSG : err;
	if (rec.val.n != sizeof(d))
		return -EINVAL;
	memcpy(&d, rec.val.p, sizeof(d));
	if (d.magic != STATE_MAGIC || d.version != STATE_VERSION)
		return -EINVAL;
	*ret = (struct pws_kv_index_state){
		.mark = { d.salt, d.epoch, d.seq, d.pos, d.crc },
		.ring_off = d.ring_off,
		.ring_bytes = d.ring_bytes,
	};
	return 0;
}

/* Reads -------------------------------------------------------------------------------------- */

static int renew_read(struct pws_kv_index *x)
{
	int rc = PW_FAULT("kv.index.renew");

	if (!rc && !x->read)
		rc = mdb_txn_begin(x->env, NULL, MDB_RDONLY, &x->read);
	else if (!rc)
		rc = mdb_txn_renew(x->read);
	if (!rc && !x->cursor)
		rc = mdb_cursor_open(x->read, x->dbi, &x->cursor);
	else if (!rc)
		rc = mdb_cursor_renew(x->read, x->cursor);
	x->read_err = from_mdb(rc);
	return x->read_err;
}

int pws_kv_index_get(struct pws_kv_index *x, struct pws_slice key, struct pws_kv_rec *ret)
{
	MDB_val k = { key.n, (void *)key.p }, v;
	int err = x->read_err;

	if (!err)
		err = from_mdb(mdb_get(x->read, x->dbi, &k, &v));
	if (err)
		return err == -ENOENT ? err : -EIO;
	return decode(&k, &v, ret);
}

int pws_kv_index_next(struct pws_kv_index *x, struct pws_slice begin, struct pws_slice end,
		      struct pws_kv_rec *ret)
{
	static const uint8_t first_key[] = { PWS_KV_OWN_PREFIX + 1 };
	MDB_val k = { begin.n, (void *)begin.p }, v;
	int err = x->read_err;

	if (!begin.n || *(const uint8_t *)begin.p == PWS_KV_OWN_PREFIX)
		k = (MDB_val){ sizeof(first_key), (void *)first_key };
	if (!err)
		err = from_mdb(mdb_cursor_get(x->cursor, &k, &v, MDB_SET_RANGE));
	if (err)
		return err == -ENOENT ? err : -EIO;
	if (pws_slice_cmp((struct pws_slice){ k.mv_data, (uint32_t)k.mv_size }, end) >= 0)
		return -ENOENT;
	return decode(&k, &v, ret);
}

/* Room --------------------------------------------------------------------------------------- */

/* Pages that LMDB's free list holds. */
static int count_free(MDB_txn *txn, uint64_t *ret)
{
	MDB_cursor *c;
	MDB_val k, v;
	uint64_t nr = 0;
	int rc = mdb_cursor_open(txn, 0, &c);

	if (rc)
		return from_mdb(rc);
	while (!(rc = mdb_cursor_get(c, &k, &v, MDB_NEXT))) {
		size_t n; /* a list begins with its length */

		memcpy(&n, v.mv_data, sizeof(n));
		nr += n;
	}
	mdb_cursor_close(c);
	*ret = nr;
	return rc == MDB_NOTFOUND ? 0 : from_mdb(rc);
}

/* Bytes that the index may grow by; allocates the file some way ahead. Any thread. */
static int measure_room(struct pws_kv_index *x, uint64_t *ret)
{
	uint64_t ahead = PW_MIN(PW_MAX(x->map_bytes / 10, AHEAD_MIN), AHEAD_MAX);
	uint64_t free_pages = 0, used, end;
	MDB_envinfo info;
	MDB_stat stat;
	mdb_filehandle_t fd;
	MDB_txn *txn;
	int err = from_mdb(mdb_txn_begin(x->env, NULL, MDB_RDONLY, &txn));

	if (err)
		return err;
	err = count_free(txn, &free_pages);
	mdb_txn_abort(txn);
	if (err)
		return err;
	mdb_env_info(x->env, &info);
	mdb_env_stat(x->env, &stat);
	end = (info.me_last_pgno + 1) * (uint64_t)stat.ms_psize;
	used = end - free_pages * stat.ms_psize;
	*ret = x->map_bytes > used ? x->map_bytes - used : 0;
	mdb_env_get_fd(x->env, &fd);
	err = PW_FAULT_ERR("kv.index.allocate", -ENOSPC);
	if (!err && fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)(end + ahead)))
		err = -errno;
	if (err == -ENOSPC || err == -EDQUOT) {
		struct stat st;
		uint64_t have = fstat(fd, &st) ? 0 : (uint64_t)st.st_blocks * 512;

		/* what is allocated already, and free pages inside */
		have = have > used ? have - used : 0;
		*ret = PW_MIN(*ret, have);
	}
	return 0; /* a filesystem without fallocate has to do without the allowance */
}

/* Apply -------------------------------------------------------------------------------------- */

static int apply_in(struct pws_kv_index *x, MDB_txn *txn, const struct pws_kv_index_apply *a)
{
	const struct pws_kv_ent *e = pws_kv_map_seek(a->map, (struct pws_slice){ "", 0 });
	int rc = 0;

	for (; e && !rc; e = pws_kv_map_after(e)) {
		MDB_val k = { e->key_len, (void *)e->key };

		if (e->val) {
			rc = put(txn, x->dbi, pws_kv_ent_key(e), pws_kv_ent_val(e), e->seq);
		} else {
			rc = mdb_del(txn, x->dbi, &k, NULL);
			if (rc == MDB_NOTFOUND)
				rc = 0;
		}
	}
	return rc ? rc : put_state(txn, x->dbi, &a->state);
}

/* Any thread; only one at a time. */
static int apply_all(struct pws_kv_index *x, const struct pws_kv_index_apply *a)
{
	MDB_txn *txn;
	int err = PW_FAULT("kv.index.apply"), rc;

	if (!err)
		err = from_mdb(mdb_txn_begin(x->env, NULL, 0, &txn));
	if (err)
		return err;
	rc = apply_in(x, txn, a);
	if (rc)
		mdb_txn_abort(txn);
	else
		rc = mdb_txn_commit(txn);
	x->map_full = rc == MDB_MAP_FULL;
	err = from_mdb(rc);
	if (!err)
		err = PW_FAULT("kv.index.commit");
	return err ? err : measure_room(x, &x->new_room);
}

/* The loop's thread again: what was applied becomes what is read. */
static int adopt(struct pws_kv_index *x, const struct pws_kv_index_apply *a, int err)
{
	if (x->map_full) {
		/* the next try has more; what is too much for policy is refused before it comes
		 * here */
		x->map_full = false;
		mdb_txn_reset(x->read);
		x->real_bytes += x->real_bytes / 2;
		mdb_env_set_mapsize(x->env, x->real_bytes);
		renew_read(x);
	}
	if (err)
		return err;
	x->state = a->state;
	x->room = x->new_room;
	mdb_txn_reset(x->read);
	return renew_read(x);
}

static void on_applied(struct pw_loop_msg *m)
{
	struct pws_kv_index *x = pw_container_of(m, struct pws_kv_index, msg);
	struct pws_kv_index_apply *a = x->apply;

	pthread_join(x->thread, NULL);
	x->apply = NULL;
	a->err = adopt(x, a, x->new_err);
	a->done(a);
}

/* No thread could be made. */
static void on_refused(struct pw_loop_msg *m)
{
	struct pws_kv_index *x = pw_container_of(m, struct pws_kv_index, msg);
	struct pws_kv_index_apply *a = x->apply;

	x->apply = NULL;
	a->done(a);
}

static void *apply_thread(void *arg)
{
	struct pws_kv_index *x = arg;

	x->new_err = apply_all(x, x->apply);
	pw_loop_post(x->loop, &x->msg);
	return NULL;
}

void pws_kv_index_apply(struct pws_kv_index *x, struct pws_kv_index_apply *a)
{
	sigset_t all, old;
	int err = PW_FAULT_ERR("kv.index.thread", -EAGAIN);

	assert(!x->apply);
	x->apply = a;
	x->msg.fn = on_applied;
	if (!err) {
		/* signals are the main thread's */
		sigfillset(&all);
		pthread_sigmask(SIG_SETMASK, &all, &old);
		err = -pthread_create(&x->thread, NULL, apply_thread, x);
		pthread_sigmask(SIG_SETMASK, &old, NULL);
	}
	if (!err)
		return;
	a->err = err;
	x->msg.fn = on_refused;
	pw_loop_post(x->loop, &x->msg);
}

int pws_kv_index_apply_now(struct pws_kv_index *x, struct pws_kv_index_apply *a)
{
	a->err = adopt(x, a, apply_all(x, a));
	return a->err;
}

/* Life --------------------------------------------------------------------------------------- */

static int sync_dir(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), err = 0;

	if (fd < 0)
		return -errno;
	if (fsync(fd))
		err = -errno;
	close(fd);
	return err;
}

/* The directory's own entry has to survive, too. */
static int make_dir(const char *dir)
{
	char *parent;
	char *slash;
	int err;

	if (mkdir(dir, 0700))
		return errno == EEXIST ? 0 : -errno;
	parent = strdup(dir);
	if (!parent)
		return -ENOMEM;
	slash = strrchr(parent, '/');
	if (slash == parent)
		slash[1] = 0;
	else if (slash)
		*slash = 0;
	err = sync_dir(slash ? parent : ".");
	free(parent);
	return err;
}

/* Before LMDB believes what is in it. */
static int check_file(const char *dir)
{
	char path[PATH_MAX], why[128];
	int err;

	if ((size_t)snprintf(path, sizeof(path), "%s/data.mdb", dir) >= sizeof(path))
		return -ENAMETOOLONG;
	err = pws_index_check(path, is_row_right, why, sizeof(why));
	if (err == -EBADMSG || err == -EINVAL)
		pw_log_err("%s: %s", path, why);
	return err == -ENOENT ? 0 : err;
}

static int open_env(struct pws_kv_index *x, const char *dir)
{
	/* copies of pages until they may be reused, and what policy leaves to removals */
	MDB_txn *txn;
	int rc = mdb_env_create(&x->env);

	x->real_bytes = PW_ROUND_UP(x->map_bytes + x->map_bytes / 2 + 64 * PW_MIB, PW_MIB);
	if (!rc)
		rc = mdb_env_set_mapsize(x->env, x->real_bytes);
	if (!rc)
		rc = mdb_env_open(x->env, dir, MDB_NOTLS | MDB_NORDAHEAD, 0600);
	if (!rc)
		rc = mdb_txn_begin(x->env, NULL, 0, &txn);
	if (rc)
		return from_mdb(rc);
	rc = mdb_dbi_open(txn, NULL, 0, &x->dbi);
	if (rc) {
		mdb_txn_abort(txn);
		return from_mdb(rc);
	}
	return from_mdb(mdb_txn_commit(txn));
}

int pws_kv_index_open(struct pw_loop *loop, const char *dir, uint64_t map_bytes,
		      struct pws_kv_index **ret, bool *ret_new)
{
	struct pws_kv_index *x;
	bool is_new = false;
	int err = PW_FAULT("kv.index.open");

	if (!err)
		err = make_dir(dir);
	if (err)
		return err;
	x = calloc(1, sizeof(*x));
	if (!x)
		return -ENOMEM;
	x->loop = loop;
	x->map_bytes = map_bytes;
	err = check_file(dir);
	if (!err)
		err = open_env(x, dir);
	if (!err)
		err = sync_dir(dir);
	if (!err)
		err = renew_read(x);
	if (!err)
		err = measure_room(x, &x->room);
	if (!err) {
		err = get_state(x, &x->state);
		is_new = err == -ENOENT;
		if (is_new)
			err = 0;
	}
	if (err) {
		pws_kv_index_close(x);
		return err;
	}
	*ret_new = is_new;
	*ret = x;
	return 0;
}

void pws_kv_index_close(struct pws_kv_index *x)
{
	if (!x)
		return;
	assert(!x->apply);
	if (x->cursor)
		mdb_cursor_close(x->cursor);
	if (x->read)
		mdb_txn_abort(x->read);
	if (x->env)
		mdb_env_close(x->env);
	free(x);
}

void pws_kv_index_get_state(const struct pws_kv_index *x, struct pws_kv_index_state *ret)
{
	*ret = x->state;
}

uint64_t pws_kv_index_room(const struct pws_kv_index *x)
{
	return x->room;
}
