/* SPDX-License-Identifier: Apache-2.0 */
/* test_kv_index_lmdb.c -- the index in LMDB alone, then the whole engine on real files */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/uring.h"
#include "storage_node/meta_kv/kv_index.h"

#define RING_BYTES (4ull << 20)
#define NR_KEYS	   5000u

struct world {
	struct pw_loop *loop;
	char dir[64], index[80], data[80], lock[80], disk[80];
	struct pws_kv_index *x;
	uint32_t told, wanted;
	uint64_t map_bytes;
	bool may_fail;
	int err;
};

static struct world *w;

static int set_up(void **state)
{
	const char *tmp = getenv("TMPDIR");
	struct pw_loop_opts o = { .sq_entries = 64, .max_ios = 256 };

	(void)state;
	w = calloc(1, sizeof(*w));
	snprintf(w->dir, sizeof(w->dir), "%.40s/pw-index-XXXXXX", tmp ? tmp : "/var/tmp");
	assert_non_null(mkdtemp(w->dir));
	snprintf(w->index, sizeof(w->index), "%s/index", w->dir);
	snprintf(w->data, sizeof(w->data), "%s/index/data.mdb", w->dir);
	snprintf(w->lock, sizeof(w->lock), "%s/index/lock.mdb", w->dir);
	snprintf(w->disk, sizeof(w->disk), "%s/disk", w->dir);
	assert_int_equal(pw_loop_new(&w->loop, &o), 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	pws_kv_index_close(w->x);
	pw_loop_free(w->loop);
	unlink(w->data);
	unlink(w->lock);
	unlink(w->disk);
	rmdir(w->index);
	rmdir(w->dir);
	free(w);
	return 0;
}

static bool open_index(void)
{
	bool is_new;

	assert_int_equal(pws_kv_index_open(w->loop, w->index, PW_GIB, &w->x, &is_new), 0);
	return is_new;
}

static void close_index(void)
{
	pws_kv_index_close(w->x);
	w->x = NULL;
}

static struct pws_slice key_of(uint32_t i, char buf[16])
{
	return (struct pws_slice){ buf, (uint32_t)snprintf(buf, 16, "k%06u", i) };
}

/* @val NULL: deletes. */
static void put(struct pws_kv_map *m, uint32_t i, const char *val, uint64_t seq)
{
	char buf[16];
	struct pws_slice v = { val, val ? (uint32_t)strlen(val) : 0 };

	assert_int_equal(pws_kv_map_reserve(m, 1, 100), 0);
	pws_kv_map_put(m, key_of(i, buf), v, seq);
}

static void on_applied(struct pws_kv_index_apply *a)
{
	(void)a;
	pw_loop_stop(w->loop);
}

static const struct pws_kv_index_state golden_state = {
	.mark = { .salt = 0x0102030405060708, .epoch = 3, .seq = 0x11, .pos = 0x2000, .crc = 0x99 },
	.ring_off = 0x3000,
	.ring_bytes = 0x400000,
};

static int apply(struct pws_kv_map *m, bool blocking)
{
	struct pws_kv_index_apply a = { .map = m, .state = golden_state, .done = on_applied };

	if (blocking)
		return pws_kv_index_apply_now(w->x, &a);
	pws_kv_index_apply(w->x, &a);
	assert_int_equal(pw_loop_run(w->loop), 0);
	return a.err;
}

static void expect(uint32_t i, const char *val, uint64_t seq)
{
	struct pws_kv_rec rec;
	char buf[16];
	int err = pws_kv_index_get(w->x, key_of(i, buf), &rec);

	assert_int_equal(err, val ? 0 : -ENOENT);
	if (!val)
		return;
	assert_int_equal(rec.seq, seq);
	assert_int_equal(rec.seen_seq, seq);
	assert_int_equal(rec.val.n, strlen(val));
	assert_memory_equal(rec.val.p, val, rec.val.n);
}

static void test_apply__durable_and_atomic_with_its_state(void **state)
{
	struct pws_kv_index_state s;
	struct pws_kv_map *m;
	struct stat st;
	uint64_t room;

	(void)state;
	assert_true(open_index());
	assert_int_equal(stat(w->index, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	room = pws_kv_index_room(w->x);
	assert_true(room > PW_GIB / 2 && room <= PW_GIB);
	assert_int_equal(pws_kv_map_new(&m), 0);
	for (uint32_t i = 0; i < NR_KEYS; i++)
		put(m, i, i % 7 ? "value" : "", 100 + i);
	assert_int_equal(apply(m, true), 0);
	pws_kv_map_free(m);
	assert_true(pws_kv_index_room(w->x) < room);
	close_index();

	assert_false(open_index());
	pws_kv_index_get_state(w->x, &s);
	assert_memory_equal(&s, &golden_state, sizeof(s));
	for (uint32_t i = 0; i < NR_KEYS; i++)
		expect(i, i % 7 ? "value" : "", 100 + i);
	/* in the thread: old values until it is done, then new ones */
	assert_int_equal(pws_kv_map_new(&m), 0);
	put(m, 1, "new", 9000);
	put(m, 2, NULL, 9001);
	put(m, NR_KEYS, "more", 9002);
	put(m, NR_KEYS + 1, NULL, 9003); /* was never there */
	assert_int_equal(apply(m, false), 0);
	pws_kv_map_free(m);
	expect(1, "new", 9000);
	expect(2, NULL, 0);
	expect(3, "value", 103);
	expect(NR_KEYS, "more", 9002);
}

static void test_next__keys_in_order_own_record_unseen(void **state)
{
	struct pws_kv_map *m;
	struct pws_kv_rec rec;
	struct pws_slice begin = { "", 0 }, end = { "z", 1 };
	uint8_t after[32];
	uint32_t nr = 0;

	(void)state;
	assert_true(open_index());
	assert_int_equal(pws_kv_map_new(&m), 0);
	for (uint32_t i = 0; i < 300; i += 3)
		put(m, i, "v", i);
	assert_int_equal(apply(m, true), 0);
	pws_kv_map_free(m);
	for (; !pws_kv_index_next(w->x, begin, end, &rec); nr++) {
		char buf[16];
		struct pws_slice want = key_of(nr * 3, buf);

		assert_int_equal(pws_slice_cmp(rec.key, want), 0);
		memcpy(after, rec.key.p, rec.key.n);
		after[rec.key.n] = 0;
		begin = (struct pws_slice){ after, rec.key.n + 1 };
	}
	assert_int_equal(nr, 100);
	assert_int_equal(pws_kv_index_next(w->x, (struct pws_slice){ "k000001", 7 },
					   (struct pws_slice){ "k000003", 7 }, &rec),
			 -ENOENT);
}

/* Finds @what in the file and changes its byte @at. */
static void damage(const char *what, size_t n, size_t at, int how)
{
	int fd = open(w->data, O_RDWR | O_CLOEXEC);
	struct stat st;
	uint8_t *mem;
	uint32_t found = 0;

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	mem = malloc((size_t)st.st_size);
	assert_int_equal(pread(fd, mem, (size_t)st.st_size, 0), st.st_size);
	for (off_t i = 0; i + (off_t)n <= st.st_size; i++) {
		uint8_t b;

		if (memcmp(mem + i, what, n))
			continue;
		found++;
		b = (uint8_t)(mem[i + (off_t)at] ^ how);
		assert_int_equal(pwrite(fd, &b, 1, i + (off_t)at), 1);
	}
	assert_true(found > 0);
	free(mem);
	close(fd);
}

static void test_damage__is_never_returned_as_data(void **state)
{
	struct pws_kv_map *m;
	struct pws_kv_rec rec;
	bool is_new;

	(void)state;
	assert_true(open_index());
	assert_int_equal(pws_kv_map_new(&m), 0);
	put(m, 1, "a value that can be found", 7);
	put(m, 2, "another", 8);
	assert_int_equal(apply(m, true), 0);
	pws_kv_map_free(m);
	close_index();
	assert_false(open_index());
	damage("a value that can be found", 25, 10, 1);
	assert_int_equal(pws_kv_index_get(w->x, (struct pws_slice){ "k000001", 7 }, &rec), -EIO);
	assert_int_equal(pws_kv_index_next(w->x, (struct pws_slice){ "k", 1 },
					   (struct pws_slice){ "l", 1 }, &rec),
			 -EIO);
	expect(2, "another", 8);
	close_index();
	/* with it the index does not open any more */
	assert_int_equal(pws_kv_index_open(w->loop, w->index, PW_GIB, &w->x, &is_new), -EBADMSG);
	damage("a value th`t can be found", 25, 10, 1);
	assert_false(open_index());
	close_index();
	/* the state, too */
	damage("PWI1", 4, 20, 1);
	assert_int_equal(pws_kv_index_open(w->loop, w->index, PW_GIB, &w->x, &is_new), -EBADMSG);
	w->x = NULL;
}

static void test_open__what_is_not_ours(void **state)
{
	bool is_new;
	int fd;

	(void)state;
	assert_int_equal(mkdir(w->index, 0700), 0);
	fd = open(w->data, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	for (uint32_t i = 0; i < 8; i++)
		assert_int_equal(write(fd, w->dir, sizeof(w->dir)), sizeof(w->dir));
	assert_int_equal(ftruncate(fd, 65536), 0);
	close(fd);
	assert_int_equal(pws_kv_index_open(w->loop, w->index, PW_GIB, &w->x, &is_new), -EBADMSG);
	w->x = NULL;
}

/* Bytes of the state record as they are in the file: seq, CRC32C of key, seq and value, then the
 * value. */
static void test_state__golden(void **state)
{
	static const uint8_t golden[] = {
		0x11, 0,    0,	 0,   0, 0, 0, 0, 0x54, 0xde, 0xd3, 0x6e, /* head */
		'P',  'W',  'I', '1', 1, 0, 0, 0, 8,	7,    6,    5,
		4,    3,    2,	 1, /* version, salt */
		3,    0,    0,	 0,   0, 0, 0, 0, 0x11, 0,    0,    0,
		0,    0,    0,	 0, /* epoch, seq */
		0,    0x20, 0,	 0,   0, 0, 0, 0, 0x99, 0,    0,    0,
		0,    0,    0,	 0, /* pos, crc */
		0,    0x30, 0,	 0,   0, 0, 0, 0, 0,	0,    0x40, 0,
		0,    0,    0,	 0, /* ring */
	};
	struct pws_kv_map *m;

	(void)state;
	assert_true(open_index());
	assert_int_equal(pws_kv_map_new(&m), 0);
	assert_int_equal(apply(m, true), 0);
	pws_kv_map_free(m);
	close_index();
	damage((const char *)golden, sizeof(golden), 0, 0);
}

/* The whole engine --------------------------------------------------------------------------- */

struct commit {
	struct pws_kv_commit c;
	uint32_t i;
};

static void on_committed(struct pws_kv_commit *c)
{
	w->err = c->err;
	assert_true(!c->err || w->may_fail);
	if (++w->told == w->wanted)
		pw_loop_stop(w->loop);
}

static struct pws_kv *open_engine(struct pws_disk **disk, uint64_t interval_ns)
{
	struct pws_kv_lmdb_opts o = {
		.index_dir = w->index,
		.journal_bytes = RING_BYTES,
		.interval_ns = interval_ns,
		.map_bytes = w->map_bytes ? w->map_bytes : PW_GIB,
	};
	struct pws_kv *kv;

	assert_int_equal(pws_disk_open(w->loop, w->disk, true, RING_BYTES, disk), 0);
	o.disk = *disk;
	assert_int_equal(pws_kv_lmdb_open(w->loop, &o, &kv), 0);
	return kv;
}

/* Commits @nr values in groups of @group; commit i puts key i % 2000. */
static void fill(struct pws_kv *kv, uint32_t first, uint32_t nr, uint32_t group)
{
	static struct commit cs[256];
	static uint8_t val[1000];

	for (uint32_t i = first; i < first + nr; i += group) {
		w->told = 0;
		w->wanted = group;
		for (uint32_t k = 0; k < group; k++) {
			uint32_t n = i + k;
			struct pws_kv_mut mut;
			char buf[16];

			memcpy(val, &n, sizeof(n));
			mut.key = key_of(n % 2000, buf);
			mut.val = (struct pws_slice){ val, sizeof(val) };
			cs[k].c = (struct pws_kv_commit){ .muts = &mut,
							  .nr_muts = 1,
							  .done = on_committed };
			pw_list_init(&cs[k].c.node);
			kv->ops->commit(kv, &cs[k].c);
		}
		assert_int_equal(pw_loop_run(w->loop), 0);
	}
}

static void check(struct pws_kv *kv, uint32_t nr)
{
	struct pws_kv_rec rec;
	char buf[16];

	assert_int_equal(kv->ops->last_seq(kv), nr);
	for (uint32_t n = nr > 2000 ? nr - 2000 : 0; n < nr; n++) {
		uint32_t got;

		assert_int_equal(kv->ops->get(kv, key_of(n % 2000, buf), &rec, NULL), 0);
		memcpy(&got, rec.val.p, sizeof(got));
		assert_int_equal(got, n);
		assert_int_equal(rec.seq, n + 1);
	}
}

static void on_stopped(void *arg, int err)
{
	(void)arg;
	w->err = err;
	pw_loop_stop(w->loop);
}

static void stop_engine(struct pws_kv *kv, struct pws_disk *disk)
{
	kv->ops->stop(kv, on_stopped, NULL);
	assert_int_equal(pw_loop_run(w->loop), 0);
	assert_int_equal(w->err, 0);
	kv->ops->close(kv);
	pws_disk_close(disk);
}

static void test_engine__checkpoints_while_it_works(void **state)
{
	struct pws_kv_stats st;
	struct pws_disk *disk;
	struct pws_kv *kv = open_engine(&disk, PW_NS_PER_S);

	(void)state;
	fill(kv, 0, 12800, 256); /* three rings full */
	check(kv, 12800);
	pws_kv_get_stats(kv, &st);
	assert_true(st.checkpoints >= 3);
	stop_engine(kv, disk);
	kv = open_engine(&disk, 0);
	pws_kv_get_stats(kv, &st);
	assert_int_equal(st.replayed, 0);
	check(kv, 12800);
	fill(kv, 12800, 512, 64);
	check(kv, 13312);
	stop_engine(kv, disk);
	kv = open_engine(&disk, 0);
	check(kv, 13312);
	stop_engine(kv, disk);
}

static int commit_one(struct pws_kv *kv, uint32_t i, uint32_t len)
{
	static uint8_t val[PWS_KV_VAL_MAX];
	char buf[16];
	struct pws_kv_mut mut = { key_of(i, buf), { len ? val : NULL, len } };
	struct pws_kv_commit c = { .muts = &mut, .nr_muts = 1, .done = on_committed };

	pw_list_init(&c.node);
	w->told = 0;
	w->wanted = 1;
	kv->ops->commit(kv, &c);
	assert_int_equal(pw_loop_run(w->loop), 0);
	return w->err;
}

static void test_engine__full_index_lets_only_removals_in(void **state)
{
	struct pws_disk *disk;
	struct pws_kv_rec rec;
	struct pws_kv *kv;
	uint32_t n = 0, k;
	char buf[16];

	(void)state;
	w->map_bytes = 24 * PW_MIB;
	w->may_fail = true;
	kv = open_engine(&disk, PW_NS_PER_S);
	assert_true(kv->ops->has_room(kv));
	while (!commit_one(kv, n, 4000))
		n++;
	assert_int_equal(w->err, -ENOSPC);
	assert_in_range(n, 2000, 6000); /* 8 to 24 MB */
	assert_false(kv->ops->has_room(kv));
	assert_int_equal(commit_one(kv, 3, 4000), 0); /* replaces */
	/* removals, many checkpoints of them, on a full map */
	for (k = 0; k < n; k += 2)
		assert_int_equal(commit_one(kv, k, 0), 0);
	stop_engine(kv, disk);
	kv = open_engine(&disk, PW_NS_PER_S);
	assert_true(kv->ops->has_room(kv));
	for (k = 0; k < n / 4; k++)
		assert_int_equal(commit_one(kv, n + k, 4000), 0);
	for (k = 0; k < n; k++)
		assert_int_equal(kv->ops->get(kv, key_of(k, buf), &rec, NULL),
				 k % 2 ? 0 : -ENOENT);
	stop_engine(kv, disk);
}

/* The other process: commits, and tells how many are done, until it is killed. */
static int commit_for_ever(const char *dir, const char *fd, const char *interval)
{
	struct pw_loop_opts o = { .sq_entries = 64, .max_ios = 256 };
	struct pws_disk *disk;
	struct pws_kv *kv;
	uint32_t n;

	w = calloc(1, sizeof(*w));
	snprintf(w->index, sizeof(w->index), "%s/index", dir);
	snprintf(w->disk, sizeof(w->disk), "%s/disk", dir);
	assert_int_equal(pw_loop_new(&w->loop, &o), 0);
	kv = open_engine(&disk, strtoull(interval, NULL, 10));
	for (n = (uint32_t)kv->ops->last_seq(kv);; n += 8) {
		uint32_t told = n + 8;

		fill(kv, n, 8, 8);
		if (write(atoi(fd), &told, sizeof(told)) != sizeof(told))
			return 1;
	}
}

static pid_t spawn(const char *interval, int *ret_fd)
{
	char exe[256], n[16];
	char commit_word[] = "--commit";
	char *argv[] = { exe, commit_word, w->dir, n, (char *)interval, NULL };
	ssize_t len = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	int fds[2];
	pid_t pid;

	assert_true(len > 0);
	exe[len] = 0;
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(fcntl(fds[0], F_SETFD, FD_CLOEXEC), 0);
	snprintf(n, sizeof(n), "%d", fds[1]);
	assert_int_equal(posix_spawn(&pid, exe, NULL, NULL, argv, environ), 0);
	close(fds[1]);
	*ret_fd = fds[0];
	return pid;
}

static void kill_loop(const char *interval)
{
	uint32_t before = 0;

	for (uint32_t life = 0; life < 4; life++) {
		uint32_t told = 0;
		struct pws_disk *disk;
		struct pws_kv *kv;
		uint64_t last;
		pid_t pid;
		int fd;

		pid = spawn(interval, &fd);
		for (uint32_t i = 0; i < 20 + 60 * life; i++)
			assert_int_equal(read(fd, &told, sizeof(told)), sizeof(told));
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		while (read(fd, &told, sizeof(told)) == sizeof(told))
			;
		close(fd);
		assert_true(told > before);
		kv = open_engine(&disk, 0);
		last = kv->ops->last_seq(kv);
		assert_true(last >= told);
		check(kv, (uint32_t)last);
		before = (uint32_t)last;
		kv->ops->close(kv); /* without stop: as after a kill */
		pws_disk_close(disk);
	}
}

static void test_engine__kill_9_loses_nothing_that_was_told(void **state)
{
	(void)state;
	kill_loop("0");
}

static void test_engine__kill_9_in_interval_mode(void **state)
{
	(void)state;
	kill_loop("10000000000");
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
#define INDEX_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
		INDEX_TEST(test_apply__durable_and_atomic_with_its_state),
		INDEX_TEST(test_next__keys_in_order_own_record_unseen),
		INDEX_TEST(test_damage__is_never_returned_as_data),
		INDEX_TEST(test_open__what_is_not_ours),
		INDEX_TEST(test_state__golden),
		INDEX_TEST(test_engine__checkpoints_while_it_works),
		INDEX_TEST(test_engine__full_index_lets_only_removals_in),
		INDEX_TEST(test_engine__kill_9_loses_nothing_that_was_told),
		INDEX_TEST(test_engine__kill_9_in_interval_mode),
	};

	if (argc == 5 && !strcmp(argv[1], "--commit"))
		return commit_for_ever(argv[2], argv[3], argv[4]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
