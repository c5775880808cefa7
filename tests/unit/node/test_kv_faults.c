/* SPDX-License-Identifier: Apache-2.0 */
/* test_kv_faults.c -- disk, journal, index and transactions with one fault somewhere, on real files
 *
 * For PW_FAULT=N: whatever fails, nothing crashes, every transaction is answered, and what was
 * answered with success is there after the next start. Returns 0 if so, with a fault or without.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "common/uring.h"
#include "storage_node/meta_kv/txn.h"
#include "storage_node/store/disk.h"

#define RING_BYTES (4ull << 20)
#define NR_TXNS	   12u
#define NR_ROUNDS  10u
#define NR_KEYS	   (NR_TXNS * NR_ROUNDS)

struct job {
	struct pws_txn t;
	uint32_t key, value;
};

static struct {
	struct pw_loop *loop;
	char dir[64], index[80], data[96], lock[96], disk[80];
	uint32_t told;
	uint32_t durable[NR_KEYS]; /* last value that was answered with success */
	uint32_t tried[NR_KEYS];   /* last value that may be there */
	struct job job[NR_TXNS];
	bool stopped;
} w;

#define CHECK(cond)                                                                \
	do {                                                                       \
		if (!(cond)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
			exit(1);                                                   \
		}                                                                  \
	} while (0)

static struct pws_slice key_of(uint32_t i, char buf[16])
{
	return (struct pws_slice){ buf, (uint32_t)snprintf(buf, 16, "k%04u", i) };
}

static int attempt(struct pws_txn *t)
{
	struct job *j = pw_container_of(t, struct job, t);
	static uint8_t large[9000];
	struct pws_slice got, key, val;
	char buf[16];
	int err = pws_txn_get(t, key_of(j->key, buf), &got);

	if (err && err != -ENOENT)
		return err;
	err = pws_txn_next(t, (struct pws_slice){ "k", 1 }, (struct pws_slice){ "l", 1 }, &key,
			   &val);
	if (err && err != -ENOENT)
		return err;
	memcpy(large, &j->value, sizeof(j->value));
	pws_txn_put(t, key_of(j->key, buf), (struct pws_slice){ large, sizeof(large) });
	return 0;
}

static void on_done(struct pws_txn *t, int err)
{
	struct job *j = pw_container_of(t, struct job, t);

	if (!err)
		w.durable[j->key] = j->value;
	if (++w.told == NR_TXNS)
		pw_loop_stop(w.loop);
}

static void work(struct pws_kv *kv, uint32_t life)
{
	for (uint32_t round = 0; round < NR_ROUNDS; round++) {
		w.told = 0;
		for (uint32_t i = 0; i < NR_TXNS; i++) {
			struct job *j = &w.job[i];

			j->key = round * NR_TXNS + i;
			j->value = life + 1;
			w.tried[j->key] = j->value;
			pws_txn_init(&j->t, kv);
			pws_txn_start(&j->t, attempt, on_done);
		}
		CHECK(!pw_loop_run(w.loop));
		for (uint32_t i = 0; i < NR_TXNS; i++)
			pws_txn_fini(&w.job[i].t);
	}
}

static void on_stopped(void *arg, int err)
{
	(void)arg;
	(void)err;
	w.stopped = true;
	pw_loop_stop(w.loop);
}

static int open_both(struct pws_disk **disk, struct pws_kv **kv, uint64_t interval_ns)
{
	struct pws_kv_lmdb_opts o = {
		.index_dir = w.index,
		.journal_bytes = RING_BYTES,
		.interval_ns = interval_ns,
		.map_bytes = 64 * PW_MIB,
	};
	int err = pws_disk_open(w.loop, w.disk, true, RING_BYTES, disk);

	if (err)
		return err;
	o.disk = *disk;
	err = pws_kv_lmdb_open(w.loop, &o, kv);
	if (err)
		pws_disk_close(*disk);
	return err;
}

static void on_grown(void *arg, int err)
{
	(void)arg;
	(void)err;
	pw_loop_stop(w.loop);
}

static void live(uint32_t life)
{
	struct pws_disk *disk;
	struct pws_kv *kv;

	if (open_both(&disk, &kv, life % 2 ? 0 : 50 * PW_NS_PER_MS))
		return;
	work(kv, life);
	pws_disk_grow(disk, RING_BYTES + (life + 1) * PW_MIB, on_grown, NULL);
	CHECK(!pw_loop_run(w.loop));
	w.stopped = false;
	kv->ops->stop(kv, on_stopped, NULL);
	CHECK(!pw_loop_run(w.loop));
	CHECK(w.stopped);
	kv->ops->close(kv);
	pws_disk_close(disk);
}

static void check(void)
{
	struct pws_kv_rec rec;
	struct pws_disk *disk;
	struct pws_kv *kv;
	char buf[16];
	/* at most one fault is in the way */
	int err = open_both(&disk, &kv, 0);

	if (err)
		err = open_both(&disk, &kv, 0);
	CHECK(!err);
	for (uint32_t i = 0; i < NR_KEYS; i++) {
		uint32_t value = 0;

		err = kv->ops->get(kv, key_of(i, buf), &rec, NULL);
		if (err == -EIO)
			err = kv->ops->get(kv, key_of(i, buf), &rec, NULL);
		CHECK(!err || err == -ENOENT);
		if (!err)
			memcpy(&value, rec.val.p, sizeof(value));
		CHECK(value >= w.durable[i] && value <= w.tried[i]);
	}
	kv->ops->close(kv);
	pws_disk_close(disk);
}

int main(void)
{
	const char *tmp = getenv("TMPDIR");
	struct pw_loop_opts o = { .sq_entries = 64, .max_ios = 256 };

	pw_log_set_level(0);
	snprintf(w.dir, sizeof(w.dir), "%.40s/pw-fault-XXXXXX", tmp ? tmp : "/var/tmp");
	CHECK(mkdtemp(w.dir));
	snprintf(w.index, sizeof(w.index), "%s/index", w.dir);
	snprintf(w.data, sizeof(w.data), "%s/data.mdb", w.index);
	snprintf(w.lock, sizeof(w.lock), "%s/lock.mdb", w.index);
	snprintf(w.disk, sizeof(w.disk), "%s/disk", w.dir);
	if (pw_loop_new(&w.loop, &o)) {
		rmdir(w.dir);
		return 0; /* the fault came before all */
	}
	for (uint32_t life = 0; life < 4; life++)
		live(life);
	check();
	pw_loop_free(w.loop);
	unlink(w.data);
	unlink(w.lock);
	unlink(w.disk);
	rmdir(w.index);
	rmdir(w.dir);
	return 0;
}
